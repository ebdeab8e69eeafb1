"""Words as the index knows them: folded to one spelling, expanded, compared by their letters."""

from __future__ import annotations

import re
import unicodedata

from .terms import ABBREVIATIONS, CANONICAL, CASED, JOINED_PREFIXES, PHRASES, WEAK_WORDS, words_of

__all__ = ["folded", "grams_of", "normalise", "opposed"]

_WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_BRITISH = (
    ("aemia", "emia"), ("haem", "hem"), ("oedema", "edema"), ("oesoph", "esoph"),
    ("tumour", "tumor"), ("rrhoea", "rrhea"), ("paed", "ped"), ("gynaec", "gynec"),
    ("ischaem", "ischem"), ("anaes", "anes"), ("faec", "fec"), ("caec", "cec"),
    ("foet", "fet"), ("orthopaed", "orthoped"), ("labour", "labor"), ("leukaem", "leukem"),
    ("fibre", "fiber"), ("coeliac", "celiac"), ("haema", "hema"),
)  # fmt: skip
_ROMAN = {"i": "1", "v": "5"}
_OPPOSING = words_of(
    """
    a ab an in un non dis hypo hyper im ir anti micro macro
    """
)


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def normalise(text: str) -> list[str]:
    """The words of a text as the index knows them: folded, expanded, in order."""
    plain = unicodedata.normalize("NFKD", text)
    cased = {w for w in re.findall(r"[A-Za-z0-9]+", plain) if w.isupper()}
    low = plain.encode("ascii", "ignore").decode().lower().replace("'s", "")
    for british, american in _BRITISH:
        if british in low:
            low = low.replace(british, american)
    words: list[str] = []
    for token in _WORD.findall(low):
        words.extend(part for part in _split(token) if WEAK_WORDS.get(part) != 0.0)
    out: list[str] = []
    for i, word in enumerate(words):
        if word in _ROMAN and i and words[i - 1] in ("type", "stage", "grade", "class"):
            out.append(_ROMAN[word])
        elif word in ABBREVIATIONS and (word not in CASED or word.upper() in cased):
            out.extend(folded(ABBREVIATIONS[word]))
        else:
            out.extend(_canonical(word))
    return _replace_phrases(out)


def _split(token: str) -> list[str]:
    parts = token.split("-")
    out: list[str] = []
    for part in parts:
        if out and out[-1] in JOINED_PREFIXES:
            out[-1] += part
        else:
            out.append(part)
    return out


def _canonical(word: str) -> list[str]:
    stemmed = _stem(word)
    value = CANONICAL.get(word) or CANONICAL.get(stemmed)
    return [_stem(w) for w in value.split()] if value else [stemmed]


def folded(text: str) -> list[str]:
    """The words of a text that holds no abbreviations or phrases to replace."""
    parts = [part for token in _WORD.findall(text) for part in _split(token)]
    return [w for part in parts if WEAK_WORDS.get(part) != 0.0 for w in _canonical(part)]


_PHRASES: dict[tuple[str, ...], list[str]] = {
    tuple(folded(key)): folded(value) for key, value in PHRASES.items()
}
_LONGEST = max(len(key) for key in _PHRASES)


def _replace_phrases(words: list[str]) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(words):
        for n in range(min(_LONGEST, len(words) - i), 0, -1):
            replacement = _PHRASES.get(tuple(words[i : i + n]))
            if replacement is not None:
                out.extend(replacement)
                i += n
                break
        else:
            out.append(words[i])
            i += 1
    return out


def grams_of(word: str) -> list[str]:
    """The character 3- and 4-grams of a word with its ends marked."""
    padded = f"<{word}>"
    return [padded[i : i + n] for n in (3, 4) for i in range(len(padded) - n + 1)]


def _shared_start(a: str, b: str) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def opposed(a: str, b: str) -> bool:
    """Whether two similar words differ by a prefix that turns the meaning."""
    shared = _shared_start(a, b)
    if shared >= 4:
        return False
    long, short = (a, b) if len(a) >= len(b) else (b, a)
    if long.endswith(short):
        return long[: -len(short)] in _OPPOSING
    return shared < 2 or a[:4] in ("hype", "hypo") or b[:4] in ("hype", "hypo")

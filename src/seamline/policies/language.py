"""Which script and which language a text is written in, from letters and small words alone.

Reads at most three samples of 20,000 characters: head, middle and tail.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

__all__ = ["language_of", "sample", "script_of"]

SAMPLE_CHARS = 20_000
UNKNOWN = "unknown"

# Function words and everyday verbs, at least 30 a language, in no field of knowledge.
_WORDS: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "English": """the of and to in is was for on with as by at from that this it he she his
            her they be are were been has have had not but or which who will would can could
            should may an if no all any more there their its than then also when while after
            before during without out up over about into do does did you your we our my i
            each other such only under between because within""",
        "Spanish": """el la los las de del y en que un una por con para se su sus al es fue como
            más pero no lo le les ha han está este esta estos estas era son desde sin sobre
            entre tras durante también donde cuando muy ya hasta ser tiene todo otra otro
            cada si nos quien cual ante según mi tu""",
        "French": """le la les de des du et en un une que qui dans pour par sur avec au aux est
            été ce cette ces il elle ils elles son sa ses ne pas plus mais ou où se sont était
            sans sous entre après avant pendant comme leur leurs nous vous je on tout très
            être avoir ont fait si cet""",
        "German": """der die das und in den von zu mit ist des dem ein eine einer eines einem
            einen nicht auch auf für als es an werden aus er hat dass sie nach wird bei um am
            sind noch wie über so zum war haben nur oder aber vor zur bis mehr durch man sein
            wurde sei seit keine kein ohne unter wenn ich wir ihr sich im""",
        "Portuguese": """o a os as de do da dos das e em no na nos nas que um uma por com para se
            seu sua seus suas ao à às é foi como mais mas não lhe pelo pela pelos pelas este
            esta isso era são desde sem sobre entre após durante também onde quando muito já
            até ser tem foram há está ou nem num numa""",
        "Italian": """il lo la i gli le di del della dei delle degli e in che un una per con da
            dal dalla si suo sua suoi al alla ai alle è fu come più ma non ha hanno questo
            questa nel nella nei sul sulla era sono senza sotto tra fra dopo prima durante
            anche dove quando molto già essere stato stata ed o se ci""",
        "Dutch": """de het een en van in is op te dat die voor met zijn niet aan er om ook als
            bij maar door naar uit over dan nog werd was heeft hebben had deze dit wordt worden
            geen tot tegen na sinds onder tussen zonder wel zo of meer hij zij ze wij u ik je
            haar hun kan zal moet al""",
    }.items()
}
# How many of the languages share a word: one that all share says nothing.
_SHARED = Counter(word for words in _WORDS.values() for word in words)
_MIN_TOKENS = 4
_MIN_SHARE = 0.08  # of the tokens: telegraphic notes stand near 0.1, word lists near 0
_LEAD = 1.15
_TOKEN = re.compile(r"[^\W\d_]+")

_SCRIPTS = {
    "CJK": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana", "HANGUL": "Hangul",
    "LATIN": "Latin", "CYRILLIC": "Cyrillic", "GREEK": "Greek", "ARABIC": "Arabic",
    "HEBREW": "Hebrew", "DEVANAGARI": "Devanagari", "THAI": "Thai", "BENGALI": "Bengali",
    "TAMIL": "Tamil", "TELUGU": "Telugu", "GEORGIAN": "Georgian", "ARMENIAN": "Armenian",
    "ETHIOPIC": "Ethiopic", "GUJARATI": "Gujarati", "GURMUKHI": "Gurmukhi",
    "KANNADA": "Kannada", "MALAYALAM": "Malayalam", "SINHALA": "Sinhala", "KHMER": "Khmer",
    "LAO": "Lao", "MYANMAR": "Myanmar", "TIBETAN": "Tibetan",
}  # fmt: skip
_ONE_LANGUAGE = {
    "Hangul": "Korean", "Greek": "Greek", "Hebrew": "Hebrew", "Thai": "Thai",
    "Armenian": "Armenian", "Georgian": "Georgian", "Tamil": "Tamil", "Telugu": "Telugu",
}  # fmt: skip


def sample(text: str) -> str:
    """The text, or head, middle and tail of it where it is long."""
    if len(text) <= 3 * SAMPLE_CHARS:
        return text
    middle = (len(text) - SAMPLE_CHARS) // 2
    return "\n".join(
        (text[:SAMPLE_CHARS], text[middle : middle + SAMPLE_CHARS], text[-SAMPLE_CHARS:])
    )


def script_of(text: str) -> str:
    """`Latin`, `Cyrillic`, …; `mixed` when none has 60 % of the letters, or `unknown`."""
    scripts = _scripts(sample(text))
    total = sum(scripts.values())
    if not total:
        return UNKNOWN
    name, count = min(scripts.items(), key=lambda item: (-item[1], item[0]))
    return name if count >= 0.6 * total else "mixed"


def language_of(text: str) -> str:
    """`English`, `Spanish`, …, `Cyrillic script` where letters tell no more, or `unknown`.

    Told apart by words: English, Spanish, French, German, Portuguese, Italian, Dutch. A
    text without small words (a list of terms) is `unknown`.
    """
    part = sample(text)
    scripts = _scripts(part)
    total = sum(scripts.values())
    if not total:
        return UNKNOWN
    east_asian = scripts["Han"] + scripts["Kana"]
    if east_asian >= 0.5 * total:
        # Japanese mixes kana into Han; Chinese has none.
        return "Japanese" if scripts["Kana"] >= 0.1 * east_asian else "Chinese"
    script = script_of(part)
    if script in (UNKNOWN, "mixed"):
        return UNKNOWN
    if script != "Latin":
        return _ONE_LANGUAGE.get(script, f"{script} script")
    return _by_words(part)


def _by_words(text: str) -> str:
    tokens = Counter(token.lower() for token in _TOKEN.findall(text))
    total = sum(tokens.values())
    if total < _MIN_TOKENS:
        return UNKNOWN
    scores = sorted(
        (
            (sum(tokens[word] / _SHARED[word] for word in words if word in tokens), name)
            for name, words in _WORDS.items()
        ),
        reverse=True,
    )
    (best, name), (second, _) = scores[0], scores[1]
    return name if best >= _MIN_SHARE * total and best >= _LEAD * second else UNKNOWN


def _scripts(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for char, count in Counter(text).items():
        if char.isalpha():
            word = unicodedata.name(char, "").split(" ")[0].split("-")[0]
            found[_SCRIPTS.get(word, "other")] += count
    return found

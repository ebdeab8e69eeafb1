"""Every check, on plain and on hostile text."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seamline.errors import PolicyError
from seamline.policies import Policy, run_checks

Guard = Callable[..., Policy]

LANGUAGES = {
    "English": "The reader was here before noon and asked for the two books that we had kept.",
    "Spanish": "El lector estuvo aquí antes de las doce y pidió los dos libros que le guardamos.",
    "French": "Le lecteur est venu avant midi et il a demandé les deux livres que nous avons.",
    "German": "Der Leser war vor dem Mittag hier und hat nach den zwei Büchern gefragt.",
    "Portuguese": "O leitor esteve aqui antes do meio-dia e pediu os dois livros que não tem.",
    "Italian": "Il lettore è venuto prima di mezzogiorno e ha chiesto i due libri che sono qui.",
    "Dutch": "De lezer was hier voor de middag en heeft om de twee boeken gevraagd die wij hebben.",
    "Chinese": "读者中午之前来过这里借了两本书。",
    "Japanese": "読者は正午前にここに来て、二冊の本を頼みました。",
    "Korean": "독자는 정오 전에 여기에 와서 책 두 권을 부탁했다.",
    "Greek": "αναγνώστης ήταν εδώ πριν το μεσημέρι και ζήτησε δύο βιβλία.",
    "Cyrillic script": "Читатель был здесь до полудня и попросил две книги.",
    "Arabic script": "كان القارئ هنا قبل الظهر وطلب كتابين.",
    "unknown": "12345 67890 !!! ???",
}


def value(policy: Policy, text: str) -> str | int:
    (result,) = run_checks(policy, text)
    return result.value


def test_a_check_yields_a_fact(guard: Guard) -> None:
    policy = guard("{kind: word_count}", "{kind: language}", "{kind: pii}")
    facts = [result.fact for result in run_checks(policy, "The cat is on the mat at home.")]
    assert facts == ["words: 8", "language: English", "personal data: none"]


def test_word_count(guard: Guard) -> None:
    count = guard("{kind: word_count}")
    assert [value(count, text) for text in ("", " \n\t ", "one", "a b\u00a0c\nd")] == [0, 0, 1, 4]
    bounded = guard("{kind: word_count, min: 2, max: 3}")
    assert [value(bounded, "x " * n) for n in (1, 2, 3, 4)] == [
        "too few", "enough", "enough", "too many",
    ]  # fmt: skip


def test_max_chars(guard: Guard) -> None:
    policy = guard("{kind: max_chars, max: 3}")
    assert [value(policy, text) for text in ("", "abc", "abcd")] == ["no", "no", "yes"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Plain words, with 3 numbers.\n", "yes"),
        ("हिन्दी में लिखा हुआ पाठ", "yes"),
        ("", "no"),
        (" \n\n ", "no"),
        ("\x00\x01\x02PNG\x89\x00\x10", "no"),
        ("\ufffd" * 50 + "abc", "no"),
        ("3.14 " * 50, "no"),
        ("!!! ??? ###", "no"),
        ("Glucose 5.4 mmol/l (3.9-5.5); HbA1c 41; Na 140; K 4.1", "yes"),
        ("words " * 50_000 + "\x00" * 300_000 + "words " * 50_000, "no"),
    ],
    ids=range(10),
)
def test_control_chars(guard: Guard, text: str, expected: str) -> None:
    assert value(guard("{kind: control_chars}"), text) == expected


@pytest.mark.parametrize("name", LANGUAGES)
def test_language(guard: Guard, name: str) -> None:
    assert value(guard("{kind: language}"), LANGUAGES[name]) == name
    assert value(guard("{kind: language}"), LANGUAGES[name].upper()) == name


def test_language_of_terms_alone_is_unknown(guard: Guard) -> None:
    policy = guard("{kind: language}")
    for text in ("", "x", "Catalogue; shelf; owl; lamp", "lorem ipsum dolor amet", "\x00" * 99):
        assert value(policy, text) == "unknown"


def test_script(guard: Guard) -> None:
    policy = guard("{kind: script}")
    assert value(policy, LANGUAGES["French"]) == "Latin"
    assert value(policy, LANGUAGES["Cyrillic script"]) == "Cyrillic"
    assert value(policy, LANGUAGES["Chinese"]) == "Han"
    assert value(policy, "abcd абвг") == "mixed"
    assert value(policy, "12 34") == "unknown"


def test_pattern(guard: Guard) -> None:
    policy = guard(r"{kind: pattern, name: p, pattern: 'ignore (all|your) \w+'}")
    (result,) = run_checks(policy, "Please ignore all rules.")
    assert (result.value, result.spans) == ("found", ((7, 23),))
    assert value(policy, "IGNORE ALL rules") == "none"
    ignoring = guard(r"{kind: pattern, name: p, pattern: 'ignore all', ignore_case: true}")
    assert value(ignoring, "IGNORE ALL rules") == "found"
    (many,) = run_checks(guard("{kind: pattern, name: p, pattern: x}"), "x" * 1000)
    assert len(many.spans) == 20


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){25}b"])
def test_a_pattern_that_explodes_is_stopped(
    guard: Guard, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seamline.policies import checks

    monkeypatch.setattr(checks, "PATTERN_SECONDS", 0.3)
    policy = guard(f"{{kind: pattern, name: p, pattern: '{pattern}'}}")
    with pytest.raises(PolicyError, match="check 'p': the pattern takes too long"):
        run_checks(policy, "a" * 5000 + "!")


def test_allow_list(guard: Guard) -> None:
    whole = guard("{kind: allow_list, name: known, values: ['yes', 'no'], ignore_case: true}")
    assert [value(whole, text) for text in (" Yes\n", "no", "maybe", "")] == [
        "yes", "yes", "no", "no",
    ]  # fmt: skip
    links = guard(
        r"{kind: allow_list, name: links, values: [a.org], pattern: 'https?://([^/\s]+)'}"
    )
    assert value(links, "see https://a.org/x and http://a.org") == "yes"
    assert value(links, "no link") == "yes"
    (result,) = run_checks(links, "see https://evil.test/x")
    assert (result.value, result.spans) == ("no", ((12, 21),))


PII = {
    "email": ["a@b.org", "Mail: jo.doe+x@mail.example.co.uk.", "<x_y@z.io>"],
    "phone": ["+1 (415) 555-2671", "415-555-2671", "(415) 555-2671", "+44 20 7946 0958",
              "01 23 45 67 89", "+49 30 1234567", "tel:415.555.2671,"],
    "ssn": ["123-45-6789", "SSN 123 45 6789."],
    "mrn": ["MRN: 00123456", "mrn 1234567", "Patient ID: AB-123456", "Record no. #12345-678"],
    "credit_card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005."],
}  # fmt: skip
NOT_PII = {
    "email": ["a@b", "@home", "a @ b.org", "x@.org", "me@-a.org", "a@b.c1"],
    "phone": ["2024-01-15", "12.5 to 17.3", "120 140 160", "A10.5", "1234567890123456789",
              "ICD 250.00", "10/12/2024 14:30", "5 000 000"],
    "ssn": ["000-12-3456", "666-12-3456", "912-12-3456", "123-45-67890", "123-456-789",
            "1123-45-6789", "123-00-4567"],
    "mrn": ["record of 12345", "patient 70 years", "order 12345678", "MRN: 12"],
    "credit_card": ["4111 1111 1111 1112", "0000 0000 0000 0000", "1234", "41111111111111111111"],
}  # fmt: skip


@pytest.mark.parametrize("kind", PII)
def test_pii(guard: Guard, kind: str) -> None:
    policy = guard(f"{{kind: pii, kinds: [{kind}]}}")
    for text in PII[kind]:
        (result,) = run_checks(policy, f"before {text} after")
        assert result.value == "found", text
        assert text not in repr(result)
    for text in NOT_PII[kind]:
        assert value(policy, f"before {text} after") == "none", text


def test_pii_spans_stand_where_the_data_does(guard: Guard) -> None:
    text = "x 123-45-6789 y a@b.org z 4111 1111 1111 1111; +44 20 7946 0958"
    (result,) = run_checks(guard("{kind: pii}"), text)
    found = [text[start:end] for start, end in result.spans]
    assert found == ["123-45-6789", "a@b.org", "4111 1111 1111 1111", "+44 20 7946 0958"]


EVERY = [
    "{kind: word_count}", "{kind: max_chars, max: 9}", "{kind: control_chars}",
    "{kind: language}", "{kind: script}", "{kind: pii}",
    r"{kind: pattern, name: p, pattern: '(?:disregard|ignore) (?:all )?(?:prior|earlier)'}",
    r"{kind: allow_list, name: links, values: [a.org], pattern: 'https?://([^/\s]+)'}",
]  # fmt: skip
HOSTILE = ["a", "1", "@", "\x00", "a@", "a@a.", "1-", "555-", "(2", "+1 ", "mrn: 1-", "12345 ", " ",
           "é", "字", "http://", ": 12345"]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_length_and_no_faster(guard: Guard, piece: str) -> None:
    policy = guard(*EVERY)

    def seconds(length: int) -> float:
        started = time.process_time()
        run_checks(policy, piece * (length // len(piece)))
        return time.process_time() - started

    # Processor time, so that other work on the machine does not count. What grows with the
    # square of the length takes minutes at this one.
    assert seconds(300_000) < 5


@given(st.text())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_checked(guard: Guard, text: str) -> None:
    for result in run_checks(guard(*EVERY), text):
        assert "\n" not in result.fact
        assert all(0 <= start <= end <= len(text) for start, end in result.spans)

"""The index on the real tables, and the mentions it finds in notes written for these tests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seamline.errors import ToolCallError
from seamline.loading import load_module
from seamline.models.embedders import Embedder
from seamline.tools import Tool, call_tool

Context: Any = load_module(Path(__file__).with_name("contexts.py")).Context
NOTE = """CHIEF COMPLAINT

Swollen left knee.

PAST MEDICAL HISTORY
1. Hypertension.
2. Type 2 diabetes.
3. History of gout.

FAMILY HISTORY
Breast cancer.

REVIEW OF SYSTEMS
Denies chest pain, shortness of breath or fever. Her mother had a stroke.

ASSESSMENT AND PLAN
Iron deficiency anemia; start oral iron. Possible pneumonia, chest film ordered.
Appendicitis was ruled out. CKD stage 3, followed by Dr. Okafor.
"""


def run(tool: Tool, context: Any, **values: Any) -> Any:
    return asyncio.run(call_tool(tool, values, context))


def found(tool: Tool, cache: Path, text: str, **values: Any) -> Any:
    output: Any = run(tool, Context(tool.spec, cache), text=text, **values)
    return output


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("type 2 diabetes", "E11.9"),
        ("type II diabetes", "E11.9"),
        ("hypertension", "I10"),
        ("high blood pressure", "I10"),
        ("HTN", "I10"),
        ("CHF", "I50.9"),
        ("COPD exacerbation", "J44.1"),
        ("AFib", "I48.91"),
        ("heart attack", "I21.9"),
        ("UTI", "N39.0"),
        ("GERD", "K21.9"),
        ("acute renal failure", "N17.9"),
        ("right shoulder pain", "M25.511"),
        ("shoulder pain", "M25.519"),
        ("coronary artery disease", "I25.10"),
        ("hypothyroidism", "E03.9"),
        ("anaemia", "D64.9"),
        ("depression", "F32.A"),
        ("hip fracture", "S72.009"),
        ("aspiration pneumonia", "J69.0"),
        ("upper GI bleed", "K92.2"),
        ("Tylenol overdose", "T39.1X1"),
        ("s/p CABG", "Z95.1"),
    ],
)
def test_a_common_diagnosis_leads_its_candidates(index: Any, text: str, code: str) -> None:
    assert index.candidates(text, 8)[0].code == code


def test_every_term_of_the_glossary_leads_to_its_code(index: Any, glossary_module: Any) -> None:
    terms = glossary_module.glossary()
    assert len(terms) > 1500
    assert len({term.lower() for term, _ in terms}) == len(terms), "a term stands for two codes"
    found = [index.candidates(term, 8)[0] for term, _ in terms]
    wrong = {
        term: (code, hit.code)
        for (term, code), hit in zip(terms, found, strict=True)
        if hit.code != index.default(code) and hit.score < 0.99
    }
    assert wrong == {}


def test_synonyms_of_a_user_are_indexed(search_tool: Tool, index: Any, tmp_path: Path) -> None:
    before = index.candidates("blue frog illness", 8)
    assert "J45.909" not in {hit.code for hit in before}
    file = tmp_path / "own.jsonl"
    file.write_text('{"term": "blue frog illness", "code": "j45.909", "note": "ours"}\n\n')
    spec = search_tool.spec.model_copy(update={"settings": {"synonyms": str(file)}})
    output: Any = run(search_tool, Context(spec, tmp_path), text="blue frog illness")
    assert output.mentions[0].candidates[0].code == "J45.909"
    assert index.candidates("blue frog illness", 8) == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", r"own.jsonl, line 2: expected .*, got 'nonsense'"),
        ('{"term": "x"}', "line 2"),
        ('["x"]', "line 2"),
        ('{"term": " ", "code": "I10"}', "line 2"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_synonyms_file_is_named(
    search_tool: Tool, index_cache: Path, tmp_path: Path, line: str | None, said: str
) -> None:
    file = tmp_path / "own.jsonl"
    if line is not None:
        file.write_text(f'{{"term": "x", "code": "I10"}}\n{line}\n')
    spec = search_tool.spec.model_copy(update={"settings": {"synonyms": str(file)}})
    with pytest.raises(ToolCallError, match=said):
        run(search_tool, Context(spec, index_cache), text="asthma")


@pytest.mark.slow
def test_an_embedder_ranks_with_the_words_and_its_vectors_are_kept(
    index: Any, index_module: Any, index_cache: Path, tmp_path: Path,
    root: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tiny = load_module(root / "tests" / "models" / "tiny_embedder.py")
    embedder = Embedder(tiny.pulled(tmp_path, monkeypatch), cache=tmp_path)
    for file in index_cache.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    steps: list[str] = []
    made = index_module.Icd10Index.open(
        tmp_path, embedder=embedder, progress=lambda done, total, what: steps.append(what)
    )
    assert set(steps) == {"embedding"}
    again = index_module.Icd10Index.open(
        tmp_path, embedder=embedder, progress=lambda *_: pytest.fail("embedded again")
    )
    words = [index_module.normalise(text) for text in ("kidney failure", "hip fracture right", "")]
    found = made.candidates_of(words, 20, headings=True)
    assert again.candidates_of(words, 20, headings=True) == found
    assert made.candidates_of([], 20) == []
    by_words = {hit.code: hit.score for hit in index.candidates("kidney failure", 20)}
    by_meaning = made._likeness([words[0]])[0]
    share, compared = index_module._MEANING, 0
    for hit in found[0]:
        assert 0.0 <= hit.score <= 1.0
        near = float(by_meaning[made.position[hit.code]])
        if hit.code in by_words and near > 0.0:
            mean = (1 - share) * by_words[hit.code] + share * near
            assert hit.score == pytest.approx(mean, abs=1e-3)
            compared += 1
    assert compared
    for file in tmp_path.glob("*.vectors.npy"):
        file.write_bytes(file.read_bytes()[:-100])
    steps.clear()
    index_module.Icd10Index.open(
        tmp_path, embedder=embedder, progress=lambda done, total, what: steps.append(what)
    )
    assert steps, "a damaged file is made again"


def test_without_a_pulled_embedder_words_alone_rank_and_the_output_says_so(
    search_tool: Tool, index_cache: Path
) -> None:
    assert search_tool.spec.settings["embedder"] == "all-minilm-l6-v2"
    output: Any = found(search_tool, index_cache, "asthma")
    assert output.embedder is None


def test_a_category_follows_the_leaf_that_stands_for_it(index: Any) -> None:
    plain = [hit.code for hit in index.candidates("acute kidney failure", 8)]
    assert plain[0] == "N17.9"
    assert "N17" not in plain
    headed = [hit.code for hit in index.candidates("acute kidney failure", 8, headings=True)]
    assert headed[:2] == ["N17.9", "N17"]


def test_context_decides_between_what_the_phrase_leaves_open(index: Any) -> None:
    def first(context: str) -> str:
        return str(index.candidates("obstruction", 8, context=context)[0].title.lower())

    assert "bile duct" in first("bile duct")
    assert "bile duct" not in first("")


def test_an_entry_of_a_pick_list_is_one_mention(
    search_tool: Tool, index_cache: Path, mentions_module: Any
) -> None:
    text = " pulmonary|airway disease|asthma|with acute exacerbation\n"
    output: Any = found(search_tool, index_cache, text)
    [mention] = output.mentions
    assert mention.text == "asthma|with acute exacerbation"
    assert text[mention.start : mention.end] == mention.text
    assert mention.candidates[0].code == "J45.901"
    for other in ("asthma | gout", "asthma|", "asthma", "asthma|gout\nasthma|gout"):
        assert mentions_module.pick_list_entry(other) is None


def test_the_index_holds_the_release_named(index: Any) -> None:
    assert index.release == "April 2026"
    assert len(index.codes) == 46_881
    assert index.title("E11.9") == "Type 2 diabetes mellitus without complications"


def test_misspelt_words_and_compounds_find_their_look_alikes(index: Any) -> None:
    assert index.candidates("hypertention", 1)[0].code == "I10"
    assert "N45.1" in {hit.code for hit in index.candidates("orchiepididymitis", 8)}


def test_opposites_are_not_look_alikes(index: Any) -> None:
    assert "I10" not in {hit.code for hit in index.candidates("hypotension", 20)}
    assert "E05.90" not in {hit.code for hit in index.candidates("hypothyroidism", 20)}


@pytest.mark.parametrize(
    ("code", "proposed"),
    [
        ("E11", "E11.9"),
        ("I10", "I10"),
        ("K21", "K21.9"),
        ("S72.001A", "S72.001"),
        ("T14.8XXA", "T14.8"),
        ("I25.1", "I25.10"),
        ("Q99.99", None),
        ("", None),
    ],
)
def test_a_category_leads_to_its_unspecified_leaf(
    index: Any, code: str, proposed: str | None
) -> None:
    assert index.default(code) == proposed


def test_candidates_are_distinct_ordered_and_no_more_than_asked(index: Any) -> None:
    hits = index.candidates("chronic kidney disease", 20)
    assert len(hits) == 20
    assert len({hit.code for hit in hits}) == 20
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0.0 < hit.score <= 1.0 for hit in hits)


def test_a_cached_index_is_loaded_and_a_damaged_one_is_built_again(
    index: Any, index_module: Any, index_cache: Path, tmp_path: Path
) -> None:
    for file in index_cache.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    again = index_module.Icd10Index.open(tmp_path, progress=lambda *_: pytest.fail("rebuilt"))
    assert again.candidates("asthma", 5) == index.candidates("asthma", 5)
    [arrays] = tmp_path.glob("*.npz")
    data = bytearray(arrays.read_bytes())
    data[len(data) // 2] ^= 0xFF
    arrays.write_bytes(bytes(data))
    steps: list[str] = []
    rebuilt = index_module.Icd10Index.open(
        tmp_path, progress=lambda done, total, what: steps.append(what)
    )
    assert steps
    assert rebuilt.candidates("asthma", 5) == index.candidates("asthma", 5)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".npz"]


def test_mentions_come_with_what_the_text_says_of_them(
    search_tool: Tool, index: Any, index_cache: Path
) -> None:
    output: Any = found(search_tool, index_cache, NOTE)
    said = {m.text.lower(): (m.assertion, m.candidates[0].code) for m in output.mentions}
    assert said["hypertension"] == ("present", "I10")
    assert said["type 2 diabetes"] == ("present", "E11.9")
    assert said["gout"] == ("historical", "M10.9")
    assert said["breast cancer"][0] == "family"
    assert said["iron deficiency anemia"] == ("present", "D50.9")
    assert said["possible pneumonia" if "possible pneumonia" in said else "pneumonia"][0] == (
        "possible"
    )
    codable = [m for m in output.mentions if m.assertion not in ("negated", "family")]
    codes = {m.candidates[0].code for m in codable}
    assert not codes & {"R07.9", "R06.02", "R50.9", "K37", "I63.9", "C50.9"}
    assert output.facts()["mentions found"] == len(output.mentions)
    assert output.release == "April 2026"


@pytest.mark.parametrize(
    ("text", "word", "assertion"),
    [
        ("Denies nausea, vomiting, or diarrhea.", "diarrhea", "negated"),
        ("No evidence of pneumonia.", "pneumonia", "negated"),
        ("Pulmonary embolism was ruled out.", "Pulmonary embolism", "negated"),
        ("Denies fever but has a cough.", "cough", "present"),
        ("His white blood cell count was within normal limits.", "white blood cell", "negated"),
        ("Her father had asthma.", "asthma", "family"),
        ("The family reported vomiting and hematuria.", "hematuria", "present"),
        ("Her mother also denies any fever.", "fever", "negated"),
        ("His mother reported that her sister had asthma.", "asthma", "family"),
        ("History of asthma.", "asthma", "historical"),
        ("Suspected cellulitis of the left leg.", "cellulitis", "possible"),
        ("He has asthma.", "asthma", "present"),
        ("No change in the asthma.", "asthma", "present"),
    ],
)
def test_assertion(mentions_module: Any, text: str, word: str, assertion: str) -> None:
    [sentence] = mentions_module.sentences(text)
    at = text.index(word)
    assert mentions_module.assertion_of(text, sentence, at, at + len(word)) == assertion


def test_a_family_history_ends_where_another_section_opens(mentions_module: Any) -> None:
    text = (
        "Family history:\nMother: breast cancer.\nThe father died of a stroke.\n"
        "Examination: a murmur.\nFamily history: gout.\nSkin and nails: a rash.\nDVT in 2019."
    )
    found = [(text[s.start : s.end], s.section) for s in mentions_module.sentences(text)]
    assert found == [
        ("Mother: breast cancer.", "family"),
        ("The father died of a stroke.", "family"),
        ("a murmur.", "exam"),
        ("gout.", "family"),
        ("Skin and nails: a rash.", "story"),
        ("DVT in 2019.", "story"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "She has gastroesophageal reflux disease without esophagitis.",
            [("gastroesophageal reflux disease", "present"), ("esophagitis", "negated")],
        ),
        ("She has migraine without aura.", [("migraine without aura", "present")]),
    ],
)
def test_what_is_absent_makes_no_condition(
    index: Any, mentions_module: Any, text: str, expected: list[tuple[str, str]]
) -> None:
    found = mentions_module.find_mentions(text, index, limit=30)
    assert [(text[m.start : m.end], m.assertion) for m in found] == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("She got her COVID-19 vaccine last week, and feels much safer about traveling now.", []),
        ("He had COVID-19, vaccine given later.", ["COVID-19"]),
        ("Referred for breast cancer screening because of obesity.", ["obesity"]),
    ],
)
def test_what_guards_against_a_condition_does_not_name_it(
    search_tool: Tool, index_cache: Path, text: str, named: list[str]
) -> None:
    output: Any = found(search_tool, index_cache, text)
    assert [mention.text for mention in output.mentions] == named


def test_numbers_titles_and_lists_do_not_break_sentences(mentions_module: Any) -> None:
    text = "Seen by Dr. Stone. Hb 9.5 today.\n1. Asthma.\n2. Gout."
    parts = [text[s.start : s.end] for s in mentions_module.sentences(text)]
    assert parts[:2] == ["Seen by Dr. Stone.", "Hb 9.5 today."]
    assert parts[2:] == ["1. Asthma.", "2. Gout."]


def test_a_short_text_is_one_mention(search_tool: Tool, index: Any, index_cache: Path) -> None:
    output: Any = found(search_tool, index_cache, "type 2 diabetes")
    [mention] = output.mentions
    assert (mention.start, mention.end) == (0, 15)
    assert len(mention.candidates) == 8
    assert mention.candidates[0].billable


def test_a_text_without_a_condition_has_no_mention(
    search_tool: Tool, index: Any, index_cache: Path
) -> None:
    for text in ("Lorem ipsum dolor sit amet.", "   ", "12345 67890", "会议纪要", "x" * 5000):
        output: Any = found(search_tool, index_cache, text)
        assert output.mentions == []


def test_a_long_note_has_no_more_mentions_than_the_limit(
    search_tool: Tool, index: Any, index_cache: Path
) -> None:
    limit = search_tool.spec.settings["max_mentions"]
    found_in: Any = found(search_tool, index_cache, NOTE * 10)
    assert 5 <= len(found_in.mentions) <= limit
    assert len({m.text.lower() for m in found_in.mentions}) == len(found_in.mentions)


FRAGMENTS = st.sampled_from([
    "hypertension", "Type 2 diabetes", " and ", ", ", ". ", "\n", "\r\n", "denies ", "History of ",
    "asthma", "ASSESSMENT:", "1. ", "• ", "chest pain", "é", "\u2019s", "\u2028", "😀", "\t", "; ",
    "acute kidney injury", "|", "No ", "Dr. ", "(", ")", "mother had ", "\x00", "ﬁbrosis",
])  # fmt: skip
TEXTS = st.one_of(st.text(max_size=200), st.lists(FRAGMENTS, max_size=20).map("".join))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS)
def test_offsets_map_to_the_text_exactly(mentions_module: Any, index: Any, text: str) -> None:
    last = 0
    for sentence in mentions_module.sentences(text):
        assert last <= sentence.start < sentence.end <= len(text)
        last = sentence.end
    last = 0
    for mention in mentions_module.find_mentions(text, index, limit=14):
        assert last <= mention.start < mention.end <= len(text)
        assert mention.sentence_start <= mention.start < mention.end <= mention.sentence_end
        piece = text[mention.start : mention.end]
        assert piece == piece.strip()
        context = mentions_module.around(text, mention)
        assert piece in context
        last = mention.end

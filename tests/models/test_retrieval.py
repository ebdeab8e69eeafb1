"""The nearest texts, against the definition of BM25; and with an embedder, by meaning too."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamline.loading import load_module
from seamline.models.embedders import Embedder
from seamline.models.retrieval import Retriever


@settings(deadline=None)
@given(st.lists(st.text("ab c", max_size=8), max_size=6), st.text("abc ", max_size=6))
def test_without_an_embedder_it_is_bm25(texts: list[str], query: str) -> None:
    documents = [Counter(text.split()) for text in texts]
    lengths = [sum(document.values()) for document in documents]
    mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
    scores = []
    for document, length in zip(documents, lengths, strict=True):
        score = 0.0
        for word in set(query.split()):
            n = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            norm = document[word] + 1.5 * (0.25 + 0.75 * length / mean)
            score += idf * document[word] * 2.5 / norm
        scores.append(score)
    found = Retriever(texts).nearest(query, 3)
    wanted = sorted((s for s in scores if s > 0), reverse=True)[:3]
    assert [scores[i] for i in found] == pytest.approx(wanted)


def test_equal_texts_come_in_their_order() -> None:
    assert Retriever(["a b", "c", "a b"]).nearest("B?", 3) == [0, 2]


def test_with_an_embedder_a_text_that_shares_no_word_is_found_after_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = load_module(Path(__file__).with_name("tiny_embedder.py"))
    embedder = Embedder(tiny.pulled(tmp_path, monkeypatch), cache=tmp_path)
    texts = ["heart attack", "kidney", "lung"]
    assert Retriever(texts).nearest("kidney", 3) == [1]
    both = Retriever(texts, embedder=embedder).nearest("kidney", 3)
    assert both[0] == 1, "first by words and by meaning"
    assert set(both) > {1}
    assert Retriever([], embedder=embedder).nearest("kidney", 3) == []

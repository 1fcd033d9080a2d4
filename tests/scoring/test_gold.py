"""Gold from inside the predictions and from a corpus: what joins, what does not, what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_file import PredictionFile
from longbel_cli.scoring.alignment import align
from longbel_cli.scoring.background import training_facts
from longbel_cli.scoring.evaluation import evaluate_files
from longbel_cli.scoring.gold import GoldMention, Joined, gold_inside, gold_of_corpus
from longbel_cli.scoring.joining import join
from longbel_cli.scoring.request import ScoreRequest
from longbel_cli.scoring.signature import gold_hash
from longbel_cli.types import Document, Mention, Passage, Prediction, Span
from tests.support.score_cases import bigbio, prediction


def file(*predictions: Prediction, **facts: bool) -> PredictionFile:
    return PredictionFile(Path("p.jsonl"), predictions, **facts)


def gold(
    location: str, code: str | None, identifier: str = "", group: str = "Disorders"
) -> GoldMention:
    document, start = location.split(":")
    spans = (Span(int(start), int(start) + 1),)
    return GoldMention(document, identifier or f"T{start}", "text", group, spans, code)


def told(result: Joined, words: str) -> bool:
    return any(words in note for note in result.notes)


def outcomes(result: Joined) -> list[tuple[str, str, str | None]]:
    return [
        (
            f"{m.document_id}:{m.spans[0].start}",
            m.gold,
            "missing" if m.missing else m.top.concept_code if m.top else None,
        )
        for m in result.mentions
    ]


# Inside ---------------------------------------------------------------------------------------


def test_no_code_and_no_gold_are_left_out_and_counted() -> None:
    result = gold_inside(
        file(
            prediction("a:0", "X", gold="X"),
            prediction("a:1", "X", gold="NO_CODE"),
            prediction("a:2", "X", gold="NO_CODE+Y"),
            prediction("a:3", "X"),
            prediction("a:4", gold="Z"),
        )
    )
    assert outcomes(result) == [("a:0", "X", "X"), ("a:4", "Z", None)]
    assert (result.n_no_code, result.n_without_gold) == (2, 1)
    assert told(result, "1 mention(s) have no gold")


def test_a_gold_of_separators_alone_is_none() -> None:
    mentions = tuple(
        Mention(f"T{at}", (Span(at, at + 1),), "x", "Disorders", gold=(code,))
        for at, code in enumerate((" + ", "Y+X"))
    )
    document = Document("a", (Passage("xx"),), mentions)
    assert [result.gold for result in gold_of_corpus([document])] == [None, "X+Y"]
    assert training_facts([document]).codes == {"X+Y"}


@pytest.mark.parametrize("code", [None, "NO_CODE"])
def test_nothing_to_score(code: str | None) -> None:
    with pytest.raises(LongbelError, match="nothing to score") as caught:
        gold_inside(file(prediction("a:0", "X", gold=code)))
    assert caught.value.exit_code == 3
    assert "--gold" in caught.value.hint


# From a corpus --------------------------------------------------------------------------------


def test_mentions_join_by_id() -> None:
    corpus = [gold("a:0", "X"), gold("a:1", "Y"), gold("b:0", "NO_CODE"), gold("b:1", None)]
    predictions = [
        prediction(location, "X", gold="other") for location in ("b:1", "b:0", "a:1", "a:0")
    ]
    result = join(corpus, file(*predictions))
    assert outcomes(result) == [("a:0", "X", "X"), ("a:1", "Y", "X")]
    assert (result.n_no_code, result.n_without_gold) == (1, 1)
    assert not told(result, "missing")


def test_missing_mentions_are_wrong_and_said() -> None:
    result = join(
        [gold("a:0", "X"), gold("a:1", "Y"), gold("b:0", "Z")], file(prediction("a:0", "X"))
    )
    assert outcomes(result) == [("a:0", "X", "X"), ("a:1", "Y", "missing"), ("b:0", "Z", "missing")]
    assert told(result, "2 gold mention(s) have no prediction and count as wrong")


def test_predictions_outside_the_gold_do_not_count_and_are_said() -> None:
    result = join([gold("a:0", "X")], file(prediction("a:0", "X"), prediction("c:0", "X")))
    assert len(result.mentions) == 1
    assert told(result, "1 prediction(s) are in no gold mention")


def test_other_ids_join_by_spans_and_group() -> None:
    corpus = [
        gold("a:0", "X", "E1"),
        gold("a:0", "Y", "E2", group="Anatomy"),
        gold("a:5", "Z", "E3"),
    ]
    predictions = [
        replace(prediction("a:0", "Y"), semantic_group="anatomy"),
        prediction("a:0", "X"),
        replace(prediction("a:5", "Z"), semantic_group="Anatomy"),
    ]
    result = join(corpus, file(*predictions))
    assert outcomes(result) == [("a:0", "X", "X"), ("a:0", "Y", "Y"), ("a:5", "Z", "missing")]
    assert [mention.mention_id for mention in result.mentions] == ["E1", "E2", "E3"]
    assert told(result, "2 mention(s) joined by spans and group")


def test_one_corpus_has_one_gold_hash_whatever_the_predictions_call_its_mentions() -> None:
    corpus = [gold("a:0", "X"), gold("a:1", "Y"), gold("b:0", "Z")]
    ours = [prediction(location, "X") for location in ("a:0", "a:1", "b:0")]
    renumbered = [replace(ours[0], mention_id="T99"), *ours[1:]]
    first, other, empty = (join(corpus, file(*rows)) for rows in (ours, renumbered, ours[:1]))
    assert len({gold_hash(result.mentions) for result in (first, other, empty)}) == 1
    aligned = align([("first", first), ("other", other)])
    assert [len(result.mentions) for result in aligned] == [3, 3]


def test_an_id_with_other_spans_is_another_mention() -> None:
    # The corpus numbers its mentions anew: T1 and T0 have changed places.
    corpus = [gold("a:0", "X", "T1"), gold("a:1", "Y", "T0")]
    result = join(corpus, file(prediction("a:0", "X"), prediction("a:1", "Y")))
    assert outcomes(result) == [("a:0", "X", "X"), ("a:1", "Y", "Y")]
    assert told(result, "2 mention(s) share an id but not the spans")


def test_a_table_with_the_extent_of_a_mention_of_two_fragments() -> None:
    corpus = [replace_spans(gold("a:0", "X", "E1"), (Span(0, 2), Span(5, 9)))]
    whole = replace(prediction("a:0", "X"), spans=(Span(0, 9),))
    assert outcomes(join(corpus, file(whole))) == [("a:0", "X", "X")]


def replace_spans(mention: GoldMention, spans: tuple[Span, ...]) -> GoldMention:
    return mention._replace(spans=spans)


def test_without_documents_an_id_must_be_unique() -> None:
    corpus = [gold("a:0", "X", "m1"), gold("a:1", "Y", "m2"), gold("b:0", "Z", "m2")]
    rows = [
        replace(prediction("x:0", "X"), mention_id=identifier, spans=())
        for identifier in ("m1", "m2")
    ]
    result = join(corpus, file(*rows, has_documents=False))
    assert outcomes(result) == [("a:0", "X", "X"), ("a:1", "Y", "missing"), ("b:0", "Z", "missing")]


def test_a_missing_mention_gets_the_group_as_predictions_spell_it() -> None:
    corpus = [gold("a:0", "X", group="DISO"), gold("a:1", "Y", group="DISO")]
    result = join(corpus, file(prediction("a:0", "X")))
    assert {mention.semantic_group for mention in result.mentions} == {"Disorders"}


def test_another_corpus_is_an_error() -> None:
    with pytest.raises(LongbelError, match="no mention of it is in the gold corpus"):
        join([gold("z:0", "X")], file(prediction("a:0", "X")))


def test_a_corpus_without_codes_is_an_error() -> None:
    with pytest.raises(LongbelError, match="no mention with a concept code"):
        join([gold("a:0", None)], file(prediction("a:0", "X")))


# Through the corpus readers -------------------------------------------------------------------


def test_gold_and_training_corpus_in_bigbio(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "gold.jsonl"
    documents = [
        bigbio("d1", ("e1", 0, "fever", "DISO", ["C1"]), ("e2", 10, "cold", "DISO", ["C2"])),
        bigbio("d2", ("e1", 0, "ache", "DISO", ["C4", "C3"])),
    ]
    corpus.write_text("".join(json.dumps(document) + "\n" for document in documents))
    train = tmp_path / "train.jsonl"
    train.write_text(json.dumps(bigbio("t", ("e1", 0, "Fever", "DISO", ["C2"]))) + "\n")
    preds = tmp_path / "preds.jsonl"
    rows = [
        replace(prediction("d1:0", "C1"), spans=(Span(0, 5),)),  # another id: by spans
        replace(prediction("d2:0", "C3+C4"), mention_id="e1", spans=(Span(0, 4),)),
    ]
    preds.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    request = ScoreRequest(preds, gold=(corpus,), train=(train,))
    result = evaluate_files(request).first.score
    assert result.n_mentions == 3
    assert result.overall["recall@1"].value == pytest.approx(2 / 3)
    seen = {name: part.n for name, part in result.by["seen"].items()}
    assert seen == {"seen": 1, "unseen": 2}
    assert {name: part.n for name, part in result.by["mention_seen"].items()} == {
        "seen": 1,
        "unseen": 2,
    }
    assert any("1 mention(s) joined by spans" in note for note in caplog.messages)
    assert any("1 gold mention(s) have no prediction" in note for note in caplog.messages)


def test_what_the_corpus_reader_leaves_out_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "gold.jsonl"
    bad = bigbio("d1", ("e1", 0, "fever", "DISO", ["C1"]), ("e2", 8, "cold", "DISO", ["C2"]))
    bad["entities"][1]["offsets"] = [[800, 804]]
    corpus.write_text(json.dumps(bad) + "\n")
    preds = tmp_path / "preds.jsonl"
    row = replace(prediction("d1:0", "C1"), mention_id="e1", spans=(Span(0, 5),))
    preds.write_text(json.dumps(row.to_json()) + "\n")
    evaluate_files(ScoreRequest(preds, gold=(corpus,)))
    assert any(
        "1 document(s) or mention(s) of the gold corpus left out" in note
        for note in caplog.messages
    )

"""What a link job keeps of its options, goes on with, and plans. With a tiny random model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora import read_corpus
from longbel_cli.linking.engine import LinkingEngine
from longbel_cli.linking.job import LinkJob, link_to_stream
from longbel_cli.linking.job_options import JobOptions
from longbel_cli.linking.linker import Linker
from longbel_cli.linking.options import LinkOptions
from longbel_cli.linking.plan import plan
from longbel_cli.linking.reading import CorpusOptions, CorpusReader
from longbel_cli.model.decoders import MAX_NEW_TOKENS, OutOfMemoryError
from longbel_cli.model.decoders.packed import PackedDecoder
from longbel_cli.progress import Progress
from longbel_cli.prompting.formats import DocumentPrompts
from longbel_cli.runs.configuration import difference
from longbel_cli.runs.signals import Stopped, StopSignals

LINK = LinkOptions(language="en", device="cpu", dtype="float32", max_batch_tokens=512)
JOB = JobOptions(Path("p.jsonl"), window_documents=1, threads=1)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Documents of 1, 2, ... 10 sentences before the one mention of each."""
    lines = []
    for index in range(1, 11):
        text = "She had a cough. " * index + "Fever."
        lines.append(
            {
                "id": f"d{index}", "document_id": f"d{index}",
                "passages": [{"id": "p", "type": "t", "text": [text], "offsets": [[0, len(text)]]}],
                "entities": [{"id": "T1", "type": "DISO", "text": ["Fever"],
                              "offsets": [[len(text) - 6, len(text) - 1]], "normalized": []}],
                "events": [], "coreferences": [], "relations": [],
            }
        )  # fmt: skip
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def folders(model_folder: Path, kb_folder: Path) -> tuple[Path, Path]:
    return model_folder, kb_folder


def job_of(
    folders: tuple[Path, Path],
    corpus: Path,
    link: LinkOptions = LINK,
    job: JobOptions = JOB,
    **reading: Any,
) -> LinkJob:
    linker = Linker.open(*folders, link)
    reader = CorpusReader(CorpusOptions((corpus,), **reading), linker.knowledge_base.groups)
    return LinkJob(linker, reader, job)


CHANGES: dict[str, dict[str, Any]] = {
    "beams": {"link": replace(LINK, beams=4)},
    "context_format": {"link": replace(LINK, context_format="long")},
    "language": {"link": replace(LINK, language="fr")},
    "composite": {"link": replace(LINK, composite=True)},
    "decoder": {"link": replace(LINK, decoder="reference")},
    "device_type": {"link": replace(LINK, device="cuda:1")},
    "dtype": {"link": replace(LINK, dtype="bfloat16")},
    "max_batch_tokens": {"link": replace(LINK, max_batch_tokens=256)},
    "threads": {"job": replace(JOB, threads=2)},
    "min_score": {"job": replace(JOB, min_score=0.5)},
    "window_documents": {"job": replace(JOB, window_documents=2)},
    "window_mentions": {"job": replace(JOB, window_mentions=9)},
    "format": {"format": "bigbio"},
    "type_map": {"type_map": {"DISO": "Anatomy"}},
    "on_error": {"on_error": "fail"},
    "unknown_group": {"unknown_group": "skip"},
    "limit": {"limit": 3},
}


@pytest.mark.parametrize("setting", CHANGES)
def test_a_run_knows_whatever_can_change_predictions(
    folders: tuple[Path, Path], corpus: Path, setting: str
) -> None:
    kept = job_of(folders, corpus).configuration([]).resolved()
    asked = job_of(folders, corpus, **CHANGES[setting]).configuration([]).compared()
    assert [line.split(":")[0] for line in difference(kept, asked)] == [setting]


def test_a_run_goes_on_with_the_budget_it_was_left_with(
    folders: tuple[Path, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After running out of memory once, a later start does not begin with too much again."""
    budgets: list[int] = []
    whole = LinkingEngine.link_window

    def scarce(self: LinkingEngine, documents: Any, on_step: Any) -> Any:
        budgets.append(self.token_budget)
        if len(budgets) == 2:
            raise Stopped("a test", 75)
        made = whole(self, documents, on_step)
        self.token_budget = 128
        return made

    monkeypatch.setattr(LinkingEngine, "link_window", scarce)
    options = replace(JOB, out=tmp_path / "p.jsonl")
    with StopSignals() as stop:
        with pytest.raises(Stopped):
            job_of(folders, corpus, job=options).run([], stop)
        assert budgets == [512, 128]
        job_of(folders, corpus, job=options).run([], stop)
    assert budgets == [512, 128, *[128] * 9]


def test_a_lowered_budget_stays_low_without_a_run(
    folders: tuple[Path, Path], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--out -` and `Linker.link` link with one engine, which runs out of memory once."""
    made: list[int] = []
    runs_out = iter([True])

    def step(self: PackedDecoder) -> Any:
        if next(runs_out, False):
            raise OutOfMemoryError
        return stepped(self)

    def linked(self: LinkingEngine, *arguments: Any) -> Any:
        predictions = whole(self, *arguments)
        made.append(self.token_budget)
        return predictions

    stepped, whole = PackedDecoder.step, LinkingEngine.link_window
    monkeypatch.setattr(PackedDecoder, "step", step)
    monkeypatch.setattr(LinkingEngine, "link_window", linked)
    linker = Linker.open(*folders, LINK)
    reader = CorpusReader(CorpusOptions((corpus,)), linker.knowledge_base.groups)
    job = replace(JOB, window_documents=2)
    link_to_stream(linker, reader, job, lambda line: None)
    assert len(made) == 5 and {*made} == {made[0]} and made[0] <= 256
    made.clear()
    runs_out = iter([True])
    monkeypatch.setattr("longbel_cli.linking.linker._WINDOW", 4)
    assert len(list(linker.link(read_corpus([corpus])))) == 10
    assert len(made) == 3 and {*made} == {made[0]} and made[0] <= 256


def test_progress_knows_what_is_left(
    folders: tuple[Path, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on counts what it has still to link, and reads no corpus for it."""
    totals: list[int | None] = []

    class Told(Progress):
        def __init__(self, task: str, unit: str, total: int | None) -> None:
            totals.append(total)
            super().__init__(task, unit, total)

        def advance(self, units: int = 1) -> None:
            self.told = getattr(self, "told", 0) + units
            if len(totals) == 1 and self.told == 4:
                raise Stopped("a test", 75)

    monkeypatch.setattr("longbel_cli.linking.job.Progress", Told)
    job = replace(JOB, out=tmp_path / "p.jsonl")
    linker = Linker.open(*folders, LINK)
    reader = CorpusReader(CorpusOptions((corpus,)), linker.knowledge_base.groups)
    reader.survey()
    with StopSignals() as stop:
        with pytest.raises(Stopped):
            LinkJob(linker, reader, job).run([], stop)
        job_of(folders, corpus, job=job).run([], stop)
    assert totals == [10, 7]


def prompt_lengths(linker: Linker, corpus: Path) -> list[int]:
    """Tokens of each document's prompt, the shortest first."""
    lengths = []
    for document in read_corpus([corpus]):
        (mention,) = document.mentions
        mention = replace(mention, semantic_group="Disorders")
        prompt = DocumentPrompts(document, linker.form).render(mention, [])
        lengths.append(len(linker.checkpoint.encode(prompt)))
    return sorted(lengths)


def test_a_plan_measures_the_prompts(folders: tuple[Path, Path], corpus: Path) -> None:
    linker = Linker.open(*folders, replace(LINK, context_format="hybrid_medium"))
    reader = CorpusReader(CorpusOptions((corpus,)), linker.knowledge_base.groups)
    result, expected = plan(linker, reader, JOB), prompt_lengths(linker, corpus)
    assert (result.documents, result.mentions, result.windows) == (10, 10, 10)
    assert result.by_group == {"Disorders": 10} and result.over_context == 0
    assert result.tokens_median == expected[5]
    assert result.tokens_p95 == result.tokens_longest == expected[9]
    assert result.batch_tokens == 512 and result.mentions_per_second > 0


@pytest.mark.parametrize(
    ("job", "windows"),
    [(replace(JOB, window_documents=4), 3),
     (replace(JOB, window_documents=64, window_mentions=3), 4)],
)  # fmt: skip
def test_a_plan_cuts_windows_and_prompts_as_a_run_does(
    folders: tuple[Path, Path], corpus: Path, job: JobOptions, windows: int
) -> None:
    """An answer has its place in the context: all but the three shortest are over."""
    options = replace(LINK, context_format="hybrid_medium")
    lengths = prompt_lengths(Linker.open(*folders, options), corpus)
    linker = Linker.open(*folders, replace(options, context_tokens=lengths[2] + MAX_NEW_TOKENS))
    reader = CorpusReader(CorpusOptions((corpus,)), linker.knowledge_base.groups)
    result = plan(linker, reader, job)
    assert (result.windows, result.over_context) == (windows, 7)


@pytest.mark.parametrize("options", [{"window_documents": 0}, {"threads": 0}])
def test_options_of_nothing(options: dict[str, int]) -> None:
    with pytest.raises(LongbelError, match="at least 1"):
        JobOptions(Path("p"), **options)  # type: ignore[arg-type]  # one of the integers

"""Everything about a link job but how to link and what to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kb_builder.files import real_path
from longbel_cli.detecting.detector import Detector, mention_line, with_detected
from longbel_cli.linking.checks import at_least_one, can_be_made, finite
from longbel_cli.linking.protocols import EntityLinker
from longbel_cli.runs.layout import Layout, written_for
from longbel_cli.runs.run import Auto, Bounds, Shard
from longbel_cli.runs.windows import Window
from longbel_cli.types import Marks

_MENTIONS_OF_A_TEXT = 32  # about; a window closes by them


@dataclass(frozen=True)
class JobOptions:
    """Everything about a job but how to link and what to read. None for the bounds of a window: as
    suits the linker and its device. `detector`: finds the mentions to link, in texts."""

    out: Path
    shard: Shard = field(default_factory=Shard)
    window_documents: int | None = None
    window_mentions: int | None = None
    restart: bool = False
    overwrite: bool = False
    min_score: float | None = None
    nil_score: float | None = None
    prompts: Path | None = None
    stats: Path | None = None
    saliency: Path | None = None
    threads: int | None = None
    detector: Detector | None = None

    def __post_init__(self) -> None:
        at_least_one("--window", self.window_documents)
        at_least_one("--window-mentions", self.window_mentions)
        at_least_one("--threads", self.threads)
        finite("--min-score", self.min_score)
        finite("--nil-score", self.nil_score)
        can_be_made("--prompts", self.prompts)
        can_be_made("--stats", self.stats)

    def in_formats(self, linkers: Sequence[EntityLinker]) -> list[JobOptions]:
        """The options of each run of an ensemble; none where a single linker runs."""
        names = [linker.settings()["context_format"] for linker in linkers] if linkers[1:] else ()
        return [self.in_format(name) for name in names]

    def in_format(self, name: str) -> JobOptions:
        """The options of one format's run of an ensemble, whose files are its own.

        Marks are left to the fusion, since they are about the scores that are fused.
        """
        return replace(
            self,
            out=self.out.with_suffix(f".{name}.jsonl"),
            min_score=None,
            nil_score=None,
            prompts=_labelled(self.prompts, name),
            stats=_labelled(self.stats, name),
            saliency=None if self.saliency is None else self.saliency / name,
        )

    @property
    def marks(self) -> Marks:
        """What is said of answers by their scores."""
        return Marks(self.min_score, self.nil_score)

    @property
    def written(self) -> tuple[tuple[str, Path | None], ...]:
        """What the job writes, with the flags that name it."""
        return (
            *written_for(self.out),
            ("--prompts", self.own_prompts),
            ("--stats", self.own_stats),
            ("--saliency", self.saliency),
            ("--out", self.mentions),
        )

    @property
    def mentions(self) -> Path | None:
        """The file of detected mentions; None where none are detected, or there is no run."""
        keeps = self.detector is not None and str(self.out) != "-"
        return Layout(self.out).mentions if keeps else None

    @property
    def own_files(self) -> frozenset[Path]:
        """Files of this job that are no corpus, should they lie in its folder."""
        paths = (
            self.prompts, self.own_prompts, self.stats, self.own_stats, self.saliency,
            self.mentions,
        )  # fmt: skip
        return frozenset(real_path(path) for path in paths if path is not None)

    def window_bounds(self, linker: EntityLinker) -> tuple[int | Auto, int | Auto]:
        """After how many documents, and mentions, a window closes."""
        return (
            self.window_documents or Auto(lambda: self._window_size(linker)[0]),
            self.window_mentions or Auto(lambda: self._window_size(linker)[1]),
        )

    def _window_size(self, linker: EntityLinker) -> tuple[int, int]:
        """As suits the linker; where mentions are detected in a window that was read, its documents
        alone can close it."""
        documents, mentions = linker.window_size()
        if self.detector is None:
            return documents, mentions
        return max(1, min(documents, mentions // _MENTIONS_OF_A_TEXT)), mentions

    def detected(self, pending: Iterable[Window]) -> Iterator[Window]:
        """The windows with the mentions that are detected in them, where mentions are detected."""
        for window in pending:
            if self.detector is not None:
                documents = tuple(with_detected(each, self.detector) for each in window.documents)
                window = replace(window, documents=documents)
            yield window

    def mention_lines(self, window: Window) -> list[str]:
        """The lines of the file of detected mentions, of one window."""
        return [] if self.detector is None else list(map(mention_line, window.documents))

    def bounds(self, linker: EntityLinker, limit: int | None) -> Bounds:
        """Where windows are cut in a corpus read to `limit` documents (may load the model)."""
        documents, mentions = self._window_size(linker)
        return Bounds(self.window_documents or documents, self.window_mentions or mentions, limit)

    @property
    def own_prompts(self) -> Path | None:
        """The file of prompts of this shard; shards write side by side."""
        return self._of_shard(self.prompts)

    @property
    def own_stats(self) -> Path | None:
        """The file of statistics of this shard."""
        return self._of_shard(self.stats)

    def _of_shard(self, path: Path | None) -> Path | None:
        return path if self.shard.count == 1 else _labelled(path, self.shard.name)


def _labelled(path: Path | None, label: str) -> Path | None:
    """`prompts.jsonl` as `prompts.LABEL.jsonl`."""
    return None if path is None else path.with_suffix(f".{label}{path.suffix}")

"""Where the files of a run lie, all derived from the path of its result.

`preds.jsonl` is the result, `preds.jsonl.run/` its folder. A run of one process grows its result as
`preds.jsonl.part`; shards grow theirs in the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kb_builder.errors import LongbelError
from longbel_cli.runs.shards import Shard

SAVED_INPUT = "input-"  # how names of saved inputs begin


@dataclass(frozen=True)
class StreamPaths:
    """The files that one shard writes: predictions, quarantined records, ledger, and the documents
    with the mentions that were detected in them, where mentions are detected."""

    name: str
    data: Path
    errors: Path
    ledger: Path
    mentions: Path


@dataclass(frozen=True)
class Layout:
    """The paths of the run whose result is `out`."""

    out: Path

    def __post_init__(self) -> None:
        """LongbelError where no file can be meant: `.`, `/`, nothing."""
        if not self.out.name:
            raise LongbelError(
                f"{self.out}: not a file name", "Give the path of link's --out.", exit_code=2
            )

    @property
    def folder(self) -> Path:
        return self.out.with_name(self.out.name + ".run")

    def is_saved_input(self, path: Path) -> bool:
        """Whether a path is that of standard input, saved in the folder, which is no output."""
        return path.parent == self.folder and path.name.startswith(SAVED_INPUT)

    @property
    def part(self) -> Path:
        return self.out.with_name(self.out.name + ".part")

    @property
    def mentions(self) -> Path:
        """The documents with the mentions that were detected on the way to the result."""
        return self.out.with_name(self.out.name + ".mentions.jsonl")

    @property
    def configuration(self) -> Path:
        return self.folder / "run.json"

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs.jsonl"

    @property
    def corpus_end(self) -> Path:
        return self.folder / "corpus_end.json"

    @property
    def finished(self) -> Path:
        return self.folder / "finished.json"

    @property
    def errors(self) -> Path:
        return self.folder / "errors.jsonl"

    @property
    def replaced(self) -> Path:
        """A file of another origin that `--overwrite` replaces, until the run is finished."""
        return self.folder / "replaced"

    @property
    def fusion_record(self) -> Path:
        """What a fusion under the same name says of itself; never there beside a run.json."""
        return self.out.with_name(self.out.name + ".fusion.json")

    @property
    def leases(self) -> Path:
        return self.folder / "claims"

    @property
    def lock(self) -> Path:
        return self.folder / "setup.lock"

    def stream(self, shard: Shard) -> StreamPaths:
        """The files of one shard; those of the only one bear the run's plain names."""
        if shard.count == 1:
            ledger, mentions = self.folder / "ledger.jsonl", self.folder / "mentions.jsonl"
            return StreamPaths(shard.name, self.part, self.errors, ledger, mentions)
        return self._named(shard.name)

    @property
    def stream_of_one(self) -> StreamPaths:
        """The files of a run of one process."""
        return self.stream(Shard(1, 1))

    def streams(self) -> list[StreamPaths]:
        """Every stream that has a ledger, the plain one first."""
        plain = self.stream_of_one
        streams = [plain] if plain.ledger.exists() else []
        names = sorted(path.stem.removeprefix("ledger-") for path in self._shard_ledgers())
        return streams + [self._named(name) for name in names]

    def _shard_ledgers(self) -> list[Path]:
        return list(self.folder.glob("ledger-*.jsonl"))

    def _named(self, name: str) -> StreamPaths:
        return StreamPaths(
            name,
            self.folder / f"predictions-{name}.jsonl",
            self.folder / f"errors-{name}.jsonl",
            self.folder / f"ledger-{name}.jsonl",
            self.folder / f"mentions-{name}.jsonl",
        )


def written_for(out: Path) -> tuple[tuple[str, Path], ...]:
    """What a command may replace or move aside for its `--out`, folders with all that is in them;
    nothing for the stream `-`."""
    if str(out) == "-":
        return ()
    layout = Layout(out)
    paths = (out, layout.part, layout.folder, layout.fusion_record)
    return tuple(("--out", path) for path in paths)

"""How a job ended, and what `link --stats` writes: speed, counts and memory of one process."""

from __future__ import annotations

import json
import logging
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kb_builder.files import write_whole
from longbel_cli.runs.windows import Window

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """How a job ended: `already` says that an earlier process finished it, `finished` is False
    while other shards' windows are missing. `quarantined` is of the whole run."""

    already: bool = False
    finished: bool = False
    windows: int = 0
    documents: int = 0
    without_mentions: int = 0
    mentions: int = 0
    quarantined: int = 0
    truncated: int = 0
    seconds: float = 0.0
    stats: dict[str, Any] | None = None

    def add(self, window: Window, truncated: int) -> None:
        """Count a window that was committed, and how many of its documents were shortened."""
        self.windows += 1
        self.documents += len(window.documents)
        self.without_mentions += sum(not document.mentions for document in window.documents)
        self.mentions += window.mentions
        self.truncated += truncated

    def log(self, out: Path) -> None:
        """Log how the job that writes `out` ended: speed, what was truncated or quarantined."""
        if self.already:
            log.info("%s: already finished, nothing to do", out)
        elif not self.finished:
            log.info("this shard is done; `longbel merge %s` joins them when all are", out)
        elif self.mentions:
            rate = self.mentions / max(self.seconds, 1e-9)
            log.info("%d mentions in %.1f s (%.2f/s)", self.mentions, self.seconds, rate)
        if self.without_mentions:
            log.info("%d of %d documents have no mentions", self.without_mentions, self.documents)
        if self.truncated:
            log.info(
                "%d documents were longer than the context: their prompts were truncated "
                "(see Limits in the README)",
                self.truncated,
            )
        if self.quarantined:
            listed = "" if str(out) == "-" else f", listed in {out}.run/errors.jsonl"
            log.info("%d documents or mentions quarantined%s", self.quarantined, listed)


def statistics(stats: Any, outcome: Outcome) -> dict[str, Any]:
    """The object of `--stats`; model loading is left out."""
    tokens = stats.prefill_tokens + stats.tree_tokens
    model, trie = stats.seconds_model, stats.seconds_trie
    return {
        "mentions": outcome.mentions,
        "seconds_total": round(outcome.seconds, 3),
        "mentions_per_second": round(outcome.mentions / max(outcome.seconds, 1e-9), 3),
        "prefill_tokens": stats.prefill_tokens,
        "reused_tokens": stats.reused_tokens,
        "tree_tokens": stats.tree_tokens,
        "forwards": stats.forwards,
        "decode_forwards_per_mention": round(stats.decode_forwards / max(stats.mentions, 1), 3),
        "forced_token_share": round(stats.forced_tokens / max(stats.tree_tokens, 1), 4),
        "padding_share": round(stats.padding_tokens / max(tokens, 1), 4),
        "peak_memory_bytes": peak_memory(),
        "shortened_documents": outcome.truncated,
        "self_check": None if stats.self_check is None else asdict(stats.self_check),
        "seconds": {
            "model": round(model, 3),
            "trie": round(trie, 3),
            "host": round(max(outcome.seconds - model - trie, 0.0), 3),
        },
    }


def write_statistics(stats: Mapping[str, Any] | None, path: Path | None) -> None:
    """The file of `--stats`, where one was asked for and something was linked."""
    if path is not None and stats is not None:
        write_whole(path, (json.dumps(stats, indent=2, allow_nan=False) + "\n").encode("utf-8"))


def peak_memory() -> int:
    """Bytes: of the CUDA device where one is used, else of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

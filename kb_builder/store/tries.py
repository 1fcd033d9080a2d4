"""Where tries are kept: beside their knowledge base or in the user's cache."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kb_builder.errors import LongbelError
from kb_builder.files import drafted, share_like, whole_file
from kb_builder.store.tables import read_mapped, read_stored, write_mapped
from kb_builder.trie.trie import Trie

TRIE_FORMAT_VERSION = 1
_DELETE = "Delete the file; the trie is built again when it is needed."


def save_trie(trie: Trie, folder: Path, digest: str, signature: str) -> None:
    """Write a trie's two files, each of which appears whole."""
    columns = {name: getattr(trie, name) for name in Trie.ARRAYS}
    arrays = {
        name: pa.LargeListArray.from_arrays(pa.array([0, len(values)]), pa.array(values))
        for name, values in columns.items()
    }
    meta = {
        "format_version": TRIE_FORMAT_VERSION,
        "tokenizer_hash": digest,
        "kb_signature": signature,
        "roots": trie.roots,
        "answer_prefix": trie.answer_prefix,
        "too_long": trie.too_long,
        "indistinct": trie.indistinct,
    }
    table = pa.table(arrays).replace_schema_metadata({"longbel": json.dumps(meta)})
    writers = {
        "parquet": lambda path: pq.write_table(
            table, path, compression="zstd", use_dictionary=False, write_statistics=False
        ),
        "arrow": lambda path: write_mapped(table, path),
    }
    for suffix, write in writers.items():
        with whole_file(folder / f"{digest}.{suffix}") as draft:
            write(draft)
            share_like(draft, _described_by(folder))


def _described_by(folder: Path) -> Path:
    """The file whose readers are to read the tries of a folder: the knowledge base's own."""
    return folder.parent / "kb.json"


def load_trie(folder: Path, digest: str, signature: str) -> Trie | None:
    """The trie of a tokenizer from a folder, None where it has none."""
    mapped, stored = folder / f"{digest}.arrow", folder / f"{digest}.parquet"
    if mapped.is_file():
        path, table = mapped, read_mapped(mapped, _DELETE)
    elif stored.is_file():
        path, table = stored, read_stored(stored, _DELETE)
    else:
        return None
    meta = json.loads((table.schema.metadata or {}).get(b"longbel", b"{}"))
    version = meta.get("format_version")
    if version != TRIE_FORMAT_VERSION:
        raise LongbelError(
            f"{path}: trie format {version}; this program reads {TRIE_FORMAT_VERSION}", _DELETE
        )
    if meta.get("tokenizer_hash") != digest:
        raise LongbelError(
            f"{path}: made for tokenizer {meta.get('tokenizer_hash')}, not {digest}", _DELETE
        )
    if meta.get("kb_signature") != signature:
        raise LongbelError(f"{path}: made for another knowledge base", _DELETE)
    arrays = {name: table[name].chunk(0).values.to_numpy() for name in Trie.ARRAYS}
    return Trie(
        roots=meta["roots"],
        answer_prefix=meta["answer_prefix"],
        too_long=meta["too_long"],
        indistinct=meta["indistinct"],
        **arrays,
    )


def cache_folder() -> Path:
    """The user's cache, where what cannot be written beside a KB goes."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "longbel"
    except RuntimeError:  # a user without a home folder, as containers have
        return _own_folder(Path(tempfile.gettempdir()) / f"longbel-{os.getuid()}")


def _own_folder(folder: Path) -> Path:
    """A folder where all may write would take another user's tries for one's own."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise LongbelError(
            f"{folder}: there is no home folder, and this one is another user's",
            "Set XDG_CACHE_HOME to a folder of your own.",
        )
    return folder


def is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with drafted(folder / "probe") as probe:
            probe.touch()
    except OSError:
        return False
    return True

"""Files that appear whole, drafts and their sweep, locks, SHA-256: one of each."""

from kb_builder.files.hashes import blocks_of, new_sha256, sha256_of, sha256_of_file
from kb_builder.files.overwriting import refuse_inputs, refuse_same
from kb_builder.files.permissions import owner_only, share_like
from kb_builder.files.whole import (
    DISK,
    Disk,
    create_whole,
    drafted,
    flush,
    flush_folder,
    is_draft,
    put_in_place,
    real_path,
    sweep,
    whole_file,
    whole_folder,
    write_whole,
)

__all__ = [
    "DISK",
    "Disk",
    "blocks_of",
    "create_whole",
    "drafted",
    "flush",
    "flush_folder",
    "is_draft",
    "new_sha256",
    "owner_only",
    "put_in_place",
    "real_path",
    "refuse_inputs",
    "refuse_same",
    "sha256_of",
    "sha256_of_file",
    "share_like",
    "sweep",
    "whole_file",
    "whole_folder",
    "write_whole",
]

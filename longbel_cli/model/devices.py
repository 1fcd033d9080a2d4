"""What a model computes on: the device as asked for, its number type, threads and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError
from longbel_cli.runs.configuration import Auto

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# As torchrun and accelerate, MPI, and srun tell it; the first that is set counts.
_LOCAL_RANKS = (
    "LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "SLURM_LOCALID",
)
_CPU_BUDGET = 8_192
_CUDA_BUDGET = 131_072

# Types of the weights a model computes with, and is saved with.
DTYPES = {"auto": "bfloat16 on CUDA, else float32", "float32": "", "bfloat16": ""}
SAVED_DTYPES = {**DTYPES, "auto": "as it was trained", "float16": ""}


def resolve_device(device: str) -> str:
    """`auto` is this process's share of the machine's accelerators, else the CPU.

    Asks no other process: linking goes on where those that were launched beside it are done. What
    this process does on an accelerator from then on is done on the one that is found here.
    """
    import torch

    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device == "auto":
        if kind is None or _asked_for_cpu():
            return "cpu"
        device = f"{kind.type}:{_local_rank() % torch.accelerator.device_count()}"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LongbelError(
            f"the device {device!r} is not available here", "Use --device auto or cpu.", 2
        ) from error
    chosen = torch.device(device)
    if kind is not None and chosen.type == kind.type and chosen.index is not None:
        torch.accelerator.set_device_index(chosen.index)
    return device


def _asked_for_cpu() -> bool:
    """Whether this process was started by `accelerate launch --cpu`."""
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")


def _local_rank() -> int:
    """This process's number among those of its launch on this machine, from 0."""
    for name in _LOCAL_RANKS:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def resolve_dtype(dtype: str, device: str) -> str:
    """`auto` is bfloat16 on a CUDA device that supports it, else float32."""
    if dtype != "auto":
        return dtype
    import torch

    if device.startswith("cuda") and torch.cuda.is_bf16_supported():
        return "bfloat16"
    return "float32"


def device_type(device: str, resolved: Callable[[], dict[str, Any]]) -> Any:
    """The kind of device as asked for; `auto` is what `found` says, once a run begins."""
    return Auto(lambda: resolved()["device_type"]) if device == "auto" else device.split(":")[0]


def pin_threads(threads: int) -> None:
    """torch computes on that many threads from now on."""
    import torch

    torch.set_num_threads(threads)


def weight_bytes(model: PreTrainedModel) -> int:
    """The memory of a model's weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def automatic_budget(model: PreTrainedModel, bytes_per_token: int) -> int:
    """Prompt tokens in flight: half of the free memory for keys and values, within a cap beyond
    which more documents at once gain nothing."""
    if model.device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(model.device)
        cap = _CUDA_BUDGET
    else:
        import psutil

        free = psutil.virtual_memory().available
        cap = _CPU_BUDGET
    budget = min(cap, int(free // 2 // bytes_per_token))
    return max(budget // 256 * 256, 256)

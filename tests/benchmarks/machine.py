"""Where a benchmark runs."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """Versions, cores, chip and GPU of this machine, in a line."""
    import pyarrow
    import torch
    import transformers

    from longbel_cli import __version__

    chip = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else ():
        if line.startswith("model name"):
            chip = line.split(":", 1)[1].strip()
            break
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"longbel {__version__}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, pyarrow {pyarrow.__version__}; {os.cpu_count()} cores, "
        f"{chip}, {device}"
    )

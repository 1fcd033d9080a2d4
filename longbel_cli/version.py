"""This package's version, those of the libraries that results depend on, and the device."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"


def package_version(package: str) -> str:
    """The installed version of a package, or `not installed`; of longbel, this code's own."""
    if package == "longbel":
        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def version_text() -> str:
    """One line a package, this one first."""
    packages = ("longbel", "torch", "transformers", "tokenizers", "pyarrow", "numpy")
    lines = [f"{package} {package_version(package)}" for package in packages]
    return "\n".join([*lines, f"device {device_text()}"])


def device_text() -> str:
    """What `link` would run on: the CUDA devices by name, else the CPU. Loads torch."""
    try:
        import torch
    except ImportError:
        return "none: torch cannot be loaded"
    if torch.cuda.is_available():
        names = (torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))
        return "cuda " + ", ".join(names)
    return f"cpu, {torch.get_num_threads()} threads"

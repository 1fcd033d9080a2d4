"""This package's version and those of the libraries that results depend on. Loads none of them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version(package: str) -> str:
    """The installed version of a package, or `not installed`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def version_text() -> str:
    """One line a package, this one first."""
    packages = ("longbel", "torch", "transformers", "tokenizers", "pyarrow", "numpy")
    return "\n".join(f"{package} {package_version(package)}" for package in packages)

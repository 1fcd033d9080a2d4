"""HTML pages of one file that load nothing: rendered from a template, written whole.

Style and script stand inside the page and are allowed by their hashes alone; all other text goes
through autoescaping or JSON. Knows nothing of what a page shows.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of, write_whole
from kb_builder.text import visible

TEMPLATES = Path(__file__).parent / "templates"
_START = b"<!doctype html"


def rendered(name: str, **values: Any) -> str:
    """A template of that name with values."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_without_controls,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A script cannot read the NaN that Python would write.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    return environment.get_template(name).render(**values)


def _without_controls(value: Any) -> Any:
    """Text with its controls spelled out; markup of the templates' own as it is."""
    return visible(value) if type(value) is str else value


def rendered_page(name: str, more_styles: Sequence[str] = (), **values: Any) -> str:
    """The page `name`.html with the script and the style of that name inside; `more_styles` names
    others that go with it."""
    from markupsafe import Markup

    style = "".join(_style(each) for each in (name, *more_styles))
    script = (TEMPLATES / f"{name}.js").read_text(encoding="utf-8")
    return rendered(
        f"{name}.html",
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        **values,
    )


def rendered_svg(name: str, style_names: Sequence[str], **values: Any) -> str:
    """The template `name`.svg as a file of its own, with styles inside, in light colours."""
    from markupsafe import Markup

    styles = "".join(_style(each) for each in style_names)
    light = "".join(line for line in styles.splitlines(True) if "prefers-color-scheme" not in line)
    return rendered(f"{name}.svg", plot_style=Markup(light), **values)


def _style(name: str) -> str:
    return (TEMPLATES / f"{name}.css").read_text(encoding="utf-8")


def _csp_hash(content: str) -> str:
    digest = bytes.fromhex(sha256_of(content.encode("utf-8")))
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def check_page_path(path: Path) -> None:
    """Raise LongbelError where no page can be written, or something else is there already."""
    if path.is_dir():
        raise LongbelError(
            f"{path}: is a folder, but a page is one file", "Name a file.", exit_code=2
        )
    try:
        with path.open("rb") as file:
            start = file.read(len(_START)).lower()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise _unwritable(path, "no such folder") from None
        return
    except OSError as error:
        raise _unwritable(path, str(error.strerror)) from error
    if start != _START:
        raise LongbelError(f"{path}: exists and is not a page", "Choose another name.", exit_code=4)


def write_page(page: str, path: Path) -> None:
    """Write a page, where there is none or an older one; no half of it ever has that name."""
    check_page_path(path)
    try:
        write_whole(path, page.encode("utf-8"))
    except OSError as error:
        raise _unwritable(path, str(error.strerror)) from error


def _unwritable(path: Path, why: str) -> LongbelError:
    return LongbelError(
        f"{path}: the page cannot be written ({why})",
        "Name a file in an existing folder that you may write to.",
    )

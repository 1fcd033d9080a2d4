"""One call of a source: the files, what is wanted of them, and where bad rows and progress go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kb_builder.errors import LongbelError
from kb_builder.sources.progress import Progress, ignore
from kb_builder.sources.selection import BadRows, Selection


@dataclass(frozen=True)
class Reading:
    """What a source's reader is given."""

    paths: tuple[Path, ...]
    selection: Selection
    bad: BadRows
    progress: Progress = ignore

    @property
    def path(self) -> Path:
        """The path, of a source that takes one."""
        return self.paths[0]


# Languages as OBO, JSON and the user may write them, and as UMLS does.
_UMLS_LANGUAGES = {
    "ar": "ARA", "cs": "CZE", "da": "DAN", "de": "GER", "el": "GRE", "en": "ENG", "es": "SPA",
    "et": "EST", "fi": "FIN", "fr": "FRE", "he": "HEB", "hr": "SCR", "hu": "HUN", "it": "ITA",
    "ja": "JPN", "ko": "KOR", "lv": "LAV", "nl": "DUT", "no": "NOR", "pl": "POL", "pt": "POR",
    "ru": "RUS", "sv": "SWE", "tr": "TUR", "uk": "UKR", "zh": "CHI",
}  # fmt: skip
DEFAULT_LANGUAGES = ("ENG", "FRE", "SPA")


def umls_language(text: str) -> str:
    """UMLS's code for a language tag: `FRE` for `fr`, `fr-CA` and `FRE`."""
    primary = text.strip().replace("_", "-").partition("-")[0]
    return _UMLS_LANGUAGES.get(primary.casefold(), primary.upper())


def chosen_languages(held: Sequence[str], selection: Selection) -> tuple[str, ...]:
    """The languages to take names from, in order of preference; `held` are the source's."""
    if selection.languages is None:
        return tuple(code for code in DEFAULT_LANGUAGES if code in held)
    chosen = tuple(dict.fromkeys(map(umls_language, selection.languages)))
    for code in chosen:
        if code not in held:
            raise LongbelError(
                f"the source has no name in language {code}",
                hint=f"It has {', '.join(sorted(held)) or 'none'}.",
            )
    return chosen

"""The rules of a knowledge base in plain Python, one step after the other, for tests to compare.

As simple as the rules read, and slow. It shares with the program only the cleaner and the table
of semantic types; the rest is written a second time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from kb_builder.semantics import GROUP_NAMES, SEMANTIC_TYPES
from kb_builder.text import clean

DEFAULT = ("ENG", "FRE", "SPA")


@dataclass
class Result:
    """`names`: (group, name, code, language, preferred); `audit`: (rule, group, name, code, to)."""

    names: set[tuple[str, str, str, str | None, bool]] = field(default_factory=set)
    audit: set[tuple[str, str, str, str, str | None]] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Options:
    languages: tuple[str, ...] | None = None
    vocabularies: tuple[str, ...] | None = None
    group_codes: tuple[str, ...] | None = None
    tuis: tuple[str, ...] | None = None
    tree_prefixes: tuple[str, ...] = ()
    keep_suppressed: bool = False
    ambiguous: str = "drop"


def tidied(text: str) -> str:
    text = text.replace("\u00a0", " ")
    text = re.sub(r"\s*\(NOS\)\s*\Z", "", text, count=1)
    text = re.sub(r", NOS\s*\Z", "", text, count=1)
    text = re.sub(r" NOS\s*\Z", "", text, count=1)
    text = re.sub(r"\s*\(SAI\)\s*\Z", "", text, count=1)
    text = re.sub(r", SAI\s*\Z", "", text, count=1)
    text = re.sub(r" SAI\s*\Z", "", text, count=1)
    if text and text[0].islower():
        text = text[0].upper() + text[1:]
    text = clean(text)
    return text if text.strip() else ""


def build(folder: Path, options: Options | None = None) -> Result:
    options = options or Options()
    types, groups = _types(folder, options)
    languages = options.languages or DEFAULT
    name_pairs: dict[tuple[str, str], set[str]] = defaultdict(set)
    language_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    titles: dict[str, list] = defaultdict(list)
    result = Result()
    for row in (folder / "MRCONSO.RRF").read_bytes().decode().split("\n")[:-1]:
        cui, lat, ts, *_ = fields = row.split("|")
        sab, tty, text, suppress = fields[11], fields[12], fields[14], fields[16]
        if cui not in groups or not (options.keep_suppressed or suppress == "N"):
            continue
        if options.vocabularies and sab not in options.vocabularies and sab != "MTH":
            continue
        rank = _title_rank(lat, ts, sab, tty)
        if rank is not None:
            capital = text[:1].isupper() and text[1:] == text[1:].lower()
            titles[cui].append((rank, len(text), not capital, text, lat))
        if lat not in languages and sab != "MTH":
            continue
        name = tidied(text)
        for group in groups[cui]:
            if name:
                name_pairs[group, name].add(cui)
                language_of[cui, name].add(lat)
            else:
                result.audit.add(("empty", group, "", cui, None))
    _rules(result, name_pairs, language_of, titles, languages, types, groups, options.ambiguous)
    return result


def _types(folder: Path, options: Options):
    types: dict[str, set[str]] = defaultdict(set)
    for row in (folder / "MRSTY.RRF").read_bytes().decode().split("\n")[:-1]:
        cui, tui, tree = row.split("|")[:3]
        code = SEMANTIC_TYPES[tui].group_code
        if options.group_codes and code not in options.group_codes:
            continue
        if options.tuis and tui not in options.tuis:
            continue
        if options.tree_prefixes and not tree.startswith(options.tree_prefixes):
            continue
        types[cui].add(tui)
    groups = {
        cui: sorted({GROUP_NAMES[SEMANTIC_TYPES[tui].group_code] for tui in tuis})
        for cui, tuis in types.items()
    }
    return types, groups


def _title_rank(lat: str, ts: str, sab: str, tty: str) -> int | None:
    if tty == "PN":
        return 0
    if sab == "MTH":
        return 1
    return 2 + DEFAULT.index(lat) if ts == "P" and lat in DEFAULT else None


def _rules(result, name_pairs, language_of, titles, languages, types, groups, ambiguous) -> None:
    kept: dict[tuple[str, str], str] = {}
    has_pairs = {cui for cuis in name_pairs.values() for cui in cuis}
    # Rule 3, in its three steps.
    for key, cuis in name_pairs.items():
        if len(cuis) == 1:
            kept[key] = next(iter(cuis))
    nameless = has_pairs - set(kept.values())
    only = {}
    for key, cuis in name_pairs.items():
        if key not in kept and len(cuis & nameless) == 1:
            only[key] = next(iter(cuis & nameless))
    still = nameless - set(only.values())
    smallest = {}
    for key, cuis in name_pairs.items():
        if key not in kept and key not in only and cuis & still:
            smallest[key] = min(cuis & still)
    for key, cuis in name_pairs.items():
        if key in kept:
            continue
        rule, to = "ambiguous", None
        if key in only:
            rule, to = "only-nameless", only[key]
        if key in smallest:
            rule, to = "smallest-code", smallest[key]
        for cui in cuis:
            result.audit.add((rule, *key, cui, to))
    kept |= only | smallest
    # Rule 4.
    title_of = {}
    title_language = {}
    for cui, candidates in titles.items():
        best = min(candidates)
        if tidied(best[3]):
            title_of[cui] = tidied(best[3])
            same = [each for each in candidates if each[:4] == best[:4]]
            title_language[cui] = {each[4] for each in same}
    texts = {name for _, name in kept}
    added: dict[tuple[str, str], set[str]] = defaultdict(set)
    for group, cui in {(group, cui) for (group, _), cui in kept.items()}:
        title = title_of.get(cui)
        if title is None:
            continue
        if title not in texts:
            added[group, title].add(cui)
        elif kept.get((group, title)) != cui:
            result.audit.add(("title-exists", group, title, cui, kept.get((group, title))))
    from_title = set()
    for key, cuis in added.items():
        kept[key] = min(cuis)
        from_title.add(key)
        for cui in cuis - {min(cuis)}:
            result.audit.add(("title-smallest-code", *key, cui, min(cuis)))
    # Rule 5.
    spelled = defaultdict(set)
    for (_, name), cui in kept.items():
        if not _all_caps(name):
            spelled[cui].add(name.lower())
    for (group, name), cui in list(kept.items()):
        if _all_caps(name) and name.lower() in spelled[cui]:
            del kept[group, name]
            result.audit.add(("all-caps", group, name, cui, None))
    result.nameless = has_pairs - set(kept.values())
    qualified = {}
    if ambiguous != "drop":
        every = ambiguous == "qualify-all"
        qualified = _qualify(result, kept, name_pairs, title_of, types, every)
    for (group, name), cui in kept.items():
        source = (
            title_language[cui]
            if (group, name) in from_title
            else language_of[cui, qualified.get((group, name), name)]
        )
        language = _first(source, languages)
        result.names.add((group, name, cui, language, title_of.get(cui) == name))


def _first(actual: set[str], languages: tuple[str, ...]) -> str:
    order = {language: location for location, language in enumerate(languages)}
    return min(actual, key=lambda language: (order.get(language, len(order)), language))


def _all_caps(name: str) -> bool:
    return name == name.upper() and name != name.lower()


def _qualify(result, kept, name_pairs, title_of, types, every) -> dict[tuple[str, str], str]:
    qualified = {}
    lost = sorted(
        (cui, group, name)
        for (group, name), cuis in name_pairs.items()
        for cui in cuis
        if cui in result.nameless or (every and len(cuis) > 1)
    )
    for cui, group, name in lost:
        of_group = [
            SEMANTIC_TYPES[tui].name
            for tui in sorted(types[cui])
            if GROUP_NAMES[SEMANTIC_TYPES[tui].group_code] == group
        ]
        title = title_of.get(cui)
        options = ([title] if title not in (None, name) else []) + of_group[:1] + [cui]
        for option in options:
            form = f"{name} ({option})"
            if (group, form) not in kept:
                kept[group, form] = cui
                qualified[group, form] = name
                result.audit.add(("qualified", group, name, cui, cui))
                break
    result.nameless -= set(kept.values())
    return qualified

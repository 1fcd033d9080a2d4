"""A seeded generator of MRCONSO and MRSTY as large as wanted, shaped like a UMLS release.

Languages, vocabularies, term types, suppress flags, ambiguous names, ALL-CAPS variants, NOS
endings and brackets occur about as often as they do there. The text means nothing.

    python -m tests.benchmarks.kb_generate --atoms 1000000 --out .bench/release-1m
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kb_builder.semantics import SEMANTIC_TYPES
from tests.support.paths import SAMPLE

ATOMS_PER_CONCEPT = 3.3
# Language, share of atoms.
LANGUAGES = {
    "ENG": 0.71, "SPA": 0.10, "POR": 0.03, "FRE": 0.04, "GER": 0.03, "JPN": 0.03, "CZE": 0.02,
    "DUT": 0.02, "ITA": 0.02,
}  # fmt: skip
VOCABULARIES = (
    "SNOMEDCT_US", "MSH", "RXNORM", "NCI", "LNC", "MDR", "ICD10CM", "CHV", "MEDCIN", "OMIM", "GO",
)  # fmt: skip
TERM_TYPES = ("PT", "SY", "ET", "LLT", "FN", "AB", "MH", "PM", "N1", "OP")
SUPPRESS = ("N", "O", "Y", "E")
SUPPRESS_SHARES = (0.87, 0.08, 0.04, 0.01)
_SYLLABLE_TEXT = """
    a al an ar bi bra ca car ce chro cir cor cu cy da der di do dys e ec en ep er fe fi fla ga
    gen glo gly go he hem hy i im in is ka ki la le li lo lu ly ma me mi mo my na ne ni no nu o
    oc op or os pa pe phe pho pi pla pneu po pro py ra re rha ri ro sa sca se si spi sta ste su
    sy ta te the thy ti to tra tri tu ul u ur va ve vi vo xan xe zo zy
"""
_ENDING_TEXT = """
    itis osis oma emia pathy algia ectomy ase ine ol ide ate um us ic al ary ous ity tion ment ia
"""
_SYLLABLES, _ENDINGS = _SYLLABLE_TEXT.split(), _ENDING_TEXT.split()
_RELEASE = SAMPLE / "release"
_ACCENTED = {"a": "á", "e": "é", "i": "í", "o": "ó", "u": "ú"}


class Words:
    """Words as often as the sample release's English names use them, and rare made-up ones."""

    def __init__(self, n_made_up: int, seed: int) -> None:
        draw = np.random.default_rng(seed)
        used = []
        with (_RELEASE / "MRCONSO.RRF").open(encoding="utf-8", newline="\n") as rows:
            for row in rows:
                fields = row.split("|")
                if fields[1] == "ENG":
                    used += fields[14].split()
        self.used = np.array(used, dtype=object)
        self.made_up = np.array([_made_up(draw) for _ in range(n_made_up)], dtype=object)

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`n` words: names of things nobody has heard of are 2 in 100."""
        words = self.used[rng.integers(0, len(self.used), n)]
        rare = rng.random(n) < 0.02
        words[rare] = self.made_up[rng.integers(0, len(self.made_up), int(rare.sum()))]
        return words


def _made_up(draw: np.random.Generator) -> str:
    parts = [_SYLLABLES[k] for k in draw.integers(0, len(_SYLLABLES), int(draw.integers(1, 4)))]
    return "".join(parts) + _ENDINGS[int(draw.integers(0, len(_ENDINGS)))]


def generate(out: Path, n_atoms: int, seed: int = 0) -> None:
    """Write MRCONSO.RRF and MRSTY.RRF of about `n_atoms` rows; the same for the same seed."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    words = Words(20_000 + n_atoms // 50, seed)
    tuis = sorted(SEMANTIC_TYPES)
    weights = rng.dirichlet(np.full(len(tuis), 0.4))
    n_concepts = int(n_atoms / ATOMS_PER_CONCEPT)
    common: list[str] = []
    with (
        (out / "MRCONSO.RRF").open("w", encoding="utf-8", newline="") as conso,
        (out / "MRSTY.RRF").open("w", encoding="utf-8", newline="") as sty,
    ):
        for start in range(0, n_concepts, 20_000):
            size = min(20_000, n_concepts - start)
            conso.writelines(_concepts(rng, words, start, size, common))
            sty.writelines(_types(rng, tuis, weights, start, size))


def _types(rng: np.random.Generator, tuis: list[str], weights: np.ndarray, start: int, size: int):
    first = rng.choice(len(tuis), size, p=weights)
    second = rng.choice(len(tuis), size, p=weights)
    has_second = rng.random(size) < 0.08
    for location in range(size):
        kinds = {tuis[first[location]]} | (
            {tuis[second[location]]} if has_second[location] else set()
        )
        for tui in sorted(kinds):
            name = SEMANTIC_TYPES[tui].name
            code = start + location
            yield f"C{code:07d}|{tui}|A1.{int(tui[1:])}|{name}|AT{code:08d}||\n"


def _concepts(rng: np.random.Generator, words: Words, start: int, size: int, common: list[str]):
    counts = rng.geometric(1 / ATOMS_PER_CONCEPT, size)
    n = int(counts.sum())
    lengths = rng.choice((1, 2, 3, 4), size, p=(0.25, 0.36, 0.28, 0.11))
    drawn = words.draw(rng, int(lengths.sum()) + 8 * n)
    extends = rng.random(size) < 0.4  # "Fracture of femur" among "Fracture of ..."
    position = 0
    language = rng.choice(list(LANGUAGES), n, p=list(LANGUAGES.values())).tolist()
    suppress = rng.choice(SUPPRESS, n, p=SUPPRESS_SHARES).tolist()
    source = rng.integers(0, len(VOCABULARIES), n).tolist()
    kind = rng.integers(0, len(TERM_TYPES), n).tolist()
    variant = rng.random(n).tolist()
    is_mth = rng.random(n).tolist()
    shared = rng.random(size)
    atom = 0
    family: list[list[str]] = []
    for location in range(size):
        base = list(drawn[position : position + lengths[location]])
        position += lengths[location]
        if extends[location] and family and len(family[-1 - location % len(family)]) < 5:
            base = family[-1 - location % len(family)] + base[:2]
        family.append(base)
        del family[:-500]
        name = " ".join(base)
        if shared[location] < 0.03 and common:
            name = common[int(shared[location] * 1e9) % len(common)]
            base = name.split(" ")
        elif shared[location] < 0.06:
            common.append(name)
            if len(common) > 50_000:
                del common[:25_000]
        for index in range(int(counts[location])):
            tag = language[atom]
            text = name
            if index:
                extra = drawn[position + atom % 7]
                text = _variant(variant[atom], base, str(extra))
            elif variant[atom] < 0.8:
                text = name[:1].upper() + name[1:]
            if tag not in ("ENG", "JPN"):
                text = "".join(
                    _ACCENTED.get(c, c) if k % 11 == 2 else c for k, c in enumerate(text)
                )
            mth = is_mth[atom] < 0.04
            sab = "MTH" if mth else VOCABULARIES[source[atom]]
            tty = "PN" if mth and is_mth[atom] < 0.03 else TERM_TYPES[kind[atom]]
            status = "P" if index == 0 or variant[atom] > 0.9 else "S"
            yield (
                f"C{start + location:07d}|{tag}|{status}|L{atom:07d}|PF|S{atom:08d}|Y|A{atom:08d}||"
                f"M{location}||{sab}|{tty}|D{location:06d}|{text}|0|{suppress[atom]}|256|\n"
            )
            atom += 1


def _variant(draw: float, base: list[str], extra: str) -> str:
    """Another name of the concept: the same, inverted, capitals, NOS, in brackets, other words."""
    name = " ".join(base)
    if draw < 0.16:
        return name[:1].upper() + name[1:]
    if draw < 0.24:
        return name.upper()
    if draw < 0.30:
        return f"{name[:1].upper()}{name[1:]} {('NOS', '(NOS)', '[X]', '{D}')[int(draw * 1e6) % 4]}"
    if draw < 0.33:
        return f"{name}, NOS"
    if draw < 0.45 and len(base) > 1:
        return f"{base[-1]}, {' '.join(base[:-1])}"
    if draw < 0.85:
        return f"{' '.join(base[: max(1, len(base) - 1)])} {extra}"
    return f"{extra} {name} ({base[0]})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, default=100_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generate(arguments.out, arguments.atoms, arguments.seed)


if __name__ == "__main__":
    main()

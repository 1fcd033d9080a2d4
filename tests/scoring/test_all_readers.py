"""Of every corpus format: perfect predictions score 100 % however gold is spelled, what says that
there is no concept or nothing is kept apart, and distinct codes stay distinct."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.codes import DATABASES, NO_CODE, Database
from longbel_cli.corpora import read_corpus
from longbel_cli.corpora.formats import CORPUS_FORMATS
from longbel_cli.scoring.evaluation import evaluate_files
from longbel_cli.scoring.metrics import ScoreOptions
from longbel_cli.scoring.request import ScoreRequest
from tests.support.examples import some
from tests.support.files import stored
from tests.support.gold_files import GOLD_FORMS, WITHOUT_GOLD

OPTIONS = ScoreOptions(n_boot=2)
UNKNOWN = ("", "-", "-1", "NA", "n/a", "nan", "null", "None", "<NA>")
NO_CONCEPT = ("NO_CODE", "CUI-less", "CUILESS", "NIL", "NOMAP", "UNK", "0")
WORDS = ("C0011849", "D003920", "HP:0001250", "DOID:162", "E11.9", "8140/3", "MONDO:0005148",
         "p|SUB|P|799|L;CorrespondingGene:59341", "c|SUB|G|IVS14+2|A")  # fmt: skip
NUMBERS = ("22298006", "95660", "100800", "48194001")
CASES: tuple[Callable[[str], str], ...] = (str, str.lower, str.upper, str.title)
NUMBERED = tuple(base for base in DATABASES if base.plain_numbers)
LETTERED = tuple(base for base in DATABASES if not base.plain_numbers)
# Blanks and marks inside are none of a database's name.
SPACED = {"SNOMEDCT": "SNOMED CT", "NCBIGene": "NCBI Gene", "NCBITaxID": "NCBI_TaxID",
          "MeSH": "MeSH ID", "ICD10": "ICD-10", "OMIM": "OMIM", "UMLS": "UMLS CUI"}  # fmt: skip


class Gold(NamedTuple):
    """What a mention's gold says, as a corpus spells it and as predictions do."""

    code: str | None
    database: str | None
    spelled: str
    predicted: str

    def read(self, databases_stay: bool) -> str | None:
        """As it has to be read."""
        return f"{self.database}:{self.code}" if databases_stay and self.database else self.code


@st.composite
def prefixes(draw: st.DrawFn, base: Database) -> str:
    """A database's name in any spelling, with its colon and perhaps a blank."""
    spelling = draw(st.sampled_from((*base.spellings, base.name, SPACED.get(base.name, base.name))))
    return draw(st.sampled_from(CASES))(spelling) + ":" + draw(st.sampled_from(["", " "]))


@st.composite
def states(draw: st.DrawFn) -> Gold:
    """No concept, or nothing, perhaps behind a database."""
    unknown = draw(st.booleans())
    word = draw(st.sampled_from(UNKNOWN if unknown else NO_CONCEPT))
    text = draw(st.sampled_from(CASES))(word)
    if text and draw(st.booleans()):
        text = draw(prefixes(draw(st.sampled_from(DATABASES)))) + text
    return Gold(None if unknown else NO_CODE, None, text, draw(st.sampled_from(WORDS)))


@st.composite
def words(draw: st.DrawFn) -> Gold:
    """A code with letters: whatever database is named before it, it is the same code."""
    code = draw(st.sampled_from(WORDS))
    spelled, predicted = (
        draw(st.just("") | prefixes(draw(st.sampled_from(LETTERED)))) + code for _ in range(2)
    )
    return Gold(code, None, spelled, predicted)


@st.composite
def indices(draw: st.DrawFn, bases: Sequence[Database]) -> Gold:
    code, base = draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(bases))
    spelled, predicted = draw(prefixes(base)) + code, draw(prefixes(base)) + code
    if len(bases) == 1 and draw(st.booleans()):
        predicted = code  # where all numbers are of one database it goes without saying
    return Gold(code, base.name, spelled, predicted)


@st.composite
def several(draw: st.DrawFn) -> Gold:
    """Codes of one mention, each behind a database or not; predictions have them in any order."""
    parts = draw(st.lists(words().filter(_is_no_variant), min_size=2, max_size=3))
    spelled = draw(st.sampled_from(["|", "+", ";", ",", " | "])).join(
        each.spelled for each in parts
    )
    predicted = "+".join(each.predicted for each in draw(st.permutations(parts)))
    return Gold("+".join(sorted({each.code or "" for each in parts})), None, spelled, predicted)


def _is_no_variant(gold: Gold) -> bool:
    return "|" not in gold.spelled


@st.composite
def corpora(draw: st.DrawFn) -> list[Gold]:
    """Mentions in all states, at least one of them with a code; numbers are of one database or of
    several."""
    bases = draw(st.lists(st.sampled_from(NUMBERED), min_size=1, max_size=3, unique=True))
    golds = draw(st.lists(states() | words() | several() | indices(bases), max_size=6))
    return draw(st.permutations([*golds, draw(words() | indices(bases))]))


def scored(folder: Path, source: Path, golds: Sequence[Gold]) -> tuple[float, int, int]:
    """Recall@1 of perfect predictions, how many mentions it is of, and how many have no concept."""
    path = folder / "preds.jsonl"
    records = [
        {
            "document_id": "d",
            "mention_id": f"T{index}",
            "semantic_group": "DISO",
            "spans": [[6 * index, 6 * index + 5]],
            "beams": [{"rank": 1, "pred_concept_code": gold.predicted, "beam_score": 0.5}],
        }
        for index, gold in enumerate(golds)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    score = evaluate_files(ScoreRequest(path, gold=(source,), options=OPTIONS)).first.score
    return score.overall["recall@1"].value, score.n_mentions, score.n_no_code


def test_every_corpus_format_is_tested() -> None:
    """A new format needs a row of GOLD_FORMS (tests/support/gold_files.py)."""
    assert {form.format for form in GOLD_FORMS.values()} | WITHOUT_GOLD == CORPUS_FORMATS.keys()


@pytest.mark.parametrize("form", GOLD_FORMS)
@settings(max_examples=some(20), deadline=None)
@given(golds=corpora())
def test_gold_means_the_same_however_it_is_spelled(
    form: str, golds: list[Gold], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gold")
    files = GOLD_FORMS[form].files([gold.spelled for gold in golds])
    source = stored(files, folder / "corpus")
    stay = len({gold.database for gold in golds} - {None}) > 1
    expected = [gold.read(stay) for gold in golds]
    (document,) = read_corpus([source])
    read = sorted(document.mentions, key=lambda mention: mention.start)
    assert [mention.gold_code for mention in read] == expected
    codes = [code for code in expected if code not in (None, NO_CODE)]
    assert scored(folder, source, golds) == (1.0, len(codes), expected.count(NO_CODE))


@pytest.mark.parametrize("base", NUMBERED, ids=lambda base: base.name)
@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.__name__)
def test_two_databases_meet_in_every_spelling(
    tmp_path: Path, base: Database, case: Callable[[str], str]
) -> None:
    other = next(known for known in NUMBERED if known is not base)
    for index, spelling in enumerate((*base.spellings, SPACED.get(base.name, base.name))):
        files = GOLD_FORMS["pubtator"].files([f"{case(spelling)}:9606", f"{other.name}:9606"])
        (document,) = read_corpus([stored(files, tmp_path / str(index))])
        first, second = (mention.gold_code for mention in document.mentions)
        assert (first, second) == (f"{base.name}:9606", f"{other.name}:9606")

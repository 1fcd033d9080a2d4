"""The pages: the front page is short, links lead somewhere, nothing is said twice."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kb_builder.sources.tables import COLUMNS
from longbel_cli import __version__
from longbel_cli.app import COMMANDS, app
from longbel_cli.corpora.formats import CORPUS_FORMATS, writers
from longbel_cli.corpora.outputs import FILE_OUTPUTS
from longbel_cli.explaining.methods import METHODS
from longbel_cli.linking.baselines import BASELINES
from longbel_cli.prompting.formats import PROMPT_FORMATS
from longbel_cli.scoring.partitions import PARTITIONS
from tests.benchmarks import renew
from tests.support.command_reference import BLOCK, REFERENCE, help_texts
from tests.support.paths import ROOT
from tests.test_rooms import FLOOR

FRONT = ROOT / "README.md"
FRONT_BYTES = 12_288
REPEATED_WORDS = 60
FOLDERS = ("kb_builder", "longbel_cli", "sample_data", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(p for name in FOLDERS for p in (ROOT / name).rglob("*.md"))])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
COMMAND_HELP = dict(BLOCK.findall(REFERENCE.read_text(encoding="utf-8")))

FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
SOURCE_PATH = re.compile(r"\b(?:kb_builder|longbel_cli|tests|sample_data)/[\w./-]*\w")


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def prose_of(page: Path) -> str:
    """A page without its blocks of code, in which `#` and brackets mean something else."""
    return FENCE.sub("", text_of(page))


def links(page: Path) -> list[str]:
    """The targets of a page's links inside the repository, as written."""
    targets = LINK.findall(INLINE_CODE.sub("", prose_of(page)))
    return [target for target in targets if not re.match(r"https?:", target)]


def slug(title: str) -> str:
    """The anchor that the host gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


@cache
def sections(page: Path) -> dict[str, str]:
    """The text under each heading, with the headings below it, by anchor."""
    text = FENCE.sub(lambda block: block[0].replace("\n#", "\n\x00"), text_of(page))
    headings = list(HEADING.finditer(text))
    result: dict[str, str] = {}
    for index, heading in enumerate(headings):
        level = len(heading[1])
        ends = (later.start() for later in headings[index + 1 :] if len(later[1]) <= level)
        result[slug(heading[2])] = text[heading.start() : next(ends, len(text))].replace(
            "\x00", "#"
        )
    return result


def resolved(page: Path, target: str) -> tuple[Path, str]:
    """The file and the anchor that a link leads to."""
    path, _, anchor = target.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


def leads_somewhere(page: Path, target: str) -> bool:
    path, anchor = resolved(page, target)
    inside = path.is_relative_to(ROOT) and path.exists() and not target.startswith("/")
    return inside and (not anchor or anchor in sections(path))


def words(page: Path) -> list[str]:
    return re.findall(r"[^\W_]+", text_of(page).lower())


def landings(steps: int) -> Iterator[str]:
    """What a reader sees who follows so many links from the front page at most."""
    seen, front = {(FRONT, "")}, [FRONT]
    yield text_of(FRONT)
    for _ in range(steps):
        reached = {resolved(page, target) for page in front for target in links(page)} - seen
        seen |= reached
        front = sorted({page for page, _ in reached if page.suffix == ".md"})
        for page, anchor in sorted(reached):
            if page.suffix == ".md":
                yield sections(page)[anchor] if anchor else text_of(page)


def test_the_front_page_is_short() -> None:
    assert len(FRONT.read_bytes()) <= FRONT_BYTES


def test_every_room_has_a_page() -> None:
    rooms = [path.parent for path in (ROOT / "longbel_cli").glob("*/__init__.py")]
    assert [room.name for room in rooms if not (room / "README.md").exists()] == []
    assert (ROOT / "kb_builder/README.md").exists()


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    assert [target for target in links(page) if not leads_somewhere(page, target)] == []


@pytest.mark.parametrize("name", NAMES)
def test_anchors_of_a_page_are_unique(name: str) -> None:
    anchors = [slug(title) for _, title in HEADING.findall(prose_of(ROOT / name))]
    if name != "CHANGELOG.md":  # each version has its Added and Fixed; nothing links to them
        assert sorted(anchors) == sorted(set(anchors))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])
def test_files_of_the_repository_that_a_page_names_exist(name: str) -> None:
    named = set(SOURCE_PATH.findall(text_of(ROOT / name)))
    sources = {path for path in named if path.endswith((".py", ".md", ".toml"))}
    assert sorted(path for path in sources if not (ROOT / path).exists()) == []


ROOM_PAGES = [name for name in NAMES if re.match(r"(kb_builder|longbel_cli/\w+)/README", name)]


@pytest.mark.parametrize("name", ROOM_PAGES)
def test_modules_that_a_room_lists_exist(name: str) -> None:
    """In the first column of `The modules`: `job.py`, `decoders/search.py`, `rules/`."""
    listed = sections(ROOT / name).get("the-modules", "")
    first_cells = re.findall(r"^\| (`[^|]*) \|", listed, re.MULTILINE)
    modules = [module for cell in first_cells for module in re.findall(r"`([^`]+)`", cell)]
    folder = (ROOT / name).parent
    assert [module for module in modules if not (folder / module).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_python_examples_import_exists(name: str) -> None:
    for block in PYTHON.findall(text_of(ROOT / name)):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize(
    ("page", "section", "rows"),
    [
        ("longbel_cli/prompting/README.md", "formats", PROMPT_FORMATS),
        ("longbel_cli/corpora/README.md", "formats", CORPUS_FORMATS),
        (
            "longbel_cli/corpora/README.md",
            "formats-that-are-written",
            [*writers(), *FILE_OUTPUTS],
        ),
        ("longbel_cli/linking/README.md", "baselines", BASELINES),
        ("longbel_cli/scoring/README.md", "partitions", PARTITIONS),
        ("longbel_cli/explaining/README.md", "methods", METHODS),
    ],
)
def test_a_table_names_every_row_of_its_source(
    page: str, section: str, rows: Iterable[str]
) -> None:
    named = set(re.findall(r"^\| `([^`]+)`", sections(ROOT / page)[section], re.MULTILINE))
    assert set(rows) <= named


def test_the_columns_of_a_table_of_names_are_those_that_are_read() -> None:
    section = sections(ROOT / "kb_builder/README.md")["a-table-of-names"]
    named = {
        tuple(re.findall(r"`([^`]+)`", columns))
        for columns in re.findall(r"^\| (`[^|]* \| [^|]*) \|", section, re.MULTILINE)
    }
    assert named == set(COLUMNS.values())


def test_the_order_of_rooms_is_the_one_that_is_tested() -> None:
    section = sections(ROOT / "CONTRIBUTING.md")["the-order-of-the-rooms"]
    line = re.search(r"^ {4}(.*)$", section, re.MULTILINE)
    assert line is not None
    written = [set(floor.split(", ")) for floor in line[1].split(" > ")]
    order = {room.removeprefix("longbel_cli."): ordinal for room, ordinal in FLOOR.items()}
    floors = [order[room] for floor in written[:-1] for room in sorted(floor)]
    assert floors == sorted(floors, reverse=True)
    assert len(set(floors)) == len(written) - 1
    folders = {path.parent.name for path in (ROOT / "longbel_cli").glob("*/__init__.py")}
    assert folders <= set().union(*written)


def test_the_slurm_script_is_the_one_that_is_printed() -> None:
    section = sections(ROOT / "longbel_cli/runs/README.md")["slurm"]
    command = re.search(r"^ {4}(longbel slurm (?s:.*?)) > link\.sbatch$", section, re.MULTILINE)
    script = re.search(r"^```bash\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert command is not None
    assert script is not None
    printed = CliRunner().invoke(app, shlex.split(command[1].replace("\\\n", ""))[1:])
    assert printed.stdout.strip() == script[1].strip()


def test_nothing_is_said_twice() -> None:
    said: dict[tuple[str, ...], Path] = {}
    twice = []
    for page in PAGES:
        all_words = words(page)
        for start in range(len(all_words) - REPEATED_WORDS + 1):
            run = tuple(all_words[start : start + REPEATED_WORDS])
            if said.setdefault(run, page) != page:
                twice.append((str(said[run]), str(page), " ".join(run[:8])))
                break
    assert twice == []


@pytest.mark.parametrize(
    ("sought", "words_there"),
    [
        ("the columns of a table of names", r"`code`, `name`(?: and|,) `group`"),
        ("what exit code 5 means", r"\| 5 \| done, but"),
        ("what to look at then", r"`OUT\.run/errors\.jsonl`"),
        ("how to add a corpus format", r"^#+ A corpus format\n"),
        ("what memory gains", r"^#+ What document memory gains\n"),
        ("what memory gains, with an interval", r"−0\.9 \[−3\.5, \+1\.6\]"),
        ("the Slurm script", r"#SBATCH --requeue"),
        ("a container under Slurm", r"longbel slurm --tasks 16 --setup"),
        ("which files hold patient text", r"`preds\.jsonl\.run/input-\*\.jsonl`"),
        ("plain notes", r"link notes/ --detector dictionary"),
        ("linking with an OBO file", r"build-kb hp\.obo .*\n.*link corpus/ --kb kb"),
        ("installing offline", r"pip install --no-index"),
        ("comparing systems", r"--paired tfidf\.jsonl"),
    ],
)
def test_two_steps_from_the_front_page_lead_to(sought: str, words_there: str) -> None:
    assert any(re.search(words_there, text, re.MULTILINE) for text in landings(2)), sought


def test_the_sample_score_is_that_of_the_bundled_knowledge_base() -> None:
    signature = re.search(r"^R@1,5\|kb:(\w+)\|.*\|v:(\S+)$", text_of(FRONT), re.MULTILINE)
    assert signature is not None
    card = json.loads((ROOT / "sample_data/kb/kb.json").read_text(encoding="utf-8"))
    assert signature.groups() == (card["signature"], __version__)


def test_every_command_has_its_help() -> None:
    names = {entry.name for entry in COMMANDS} - {"kb"} | {
        "longbel",
        "kb info",
        "kb search",
        "kb diff",
    }
    assert set(COMMAND_HELP) == names


@pytest.mark.parametrize("command", sorted(COMMAND_HELP))
def test_help_is_as_printed(command: str) -> None:
    assert COMMAND_HELP[command].split() == help_texts()[command].split(), (
        "Run: python -m tests.support.command_reference"
    )


def test_benchmark_tables_are_linked() -> None:
    page = ROOT / "tests/benchmarks/README.md"
    linked = {resolved(page, target)[0] for target in links(page)}
    tables = set(renew.RESULTS.glob("*.md"))
    assert {renew.RESULTS / f"{name}.md" for name in renew.COMMANDS} <= tables
    assert tables <= linked

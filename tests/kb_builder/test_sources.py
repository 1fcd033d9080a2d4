"""Where terms come from: archives and parts, rows that cannot be read, tables, candidate sets."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.sources.archives import Release
from kb_builder.sources.rrf import split_rows, whole_rows
from tests.support.kb_cases import build, conso_row, names_of, short_names, sty_row, write_release

CONSO = "".join(conso_row(f"C{index}", f"Name {index}") for index in range(40)).encode()
STY = "".join(sty_row(f"C{index}", "T047") for index in range(40)).encode()
EXPECTED = {"Disorders": {f"Name {index}": f"C{index}" for index in range(40)}}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def cut(data: bytes, n: int) -> list[bytes]:
    size = -(-len(data) // n)
    return [data[start : start + size] for start in range(0, len(data), size)]


def parts(name: str, pieces: list[bytes]) -> dict[str, bytes]:
    return {name.format(f"a{chr(97 + location)}"): piece for location, piece in enumerate(pieces)}


PLAIN = {"MRCONSO.RRF": CONSO, "MRSTY.RRF": STY}
# A release's own name, which the knowledge base keeps.
PLAIN["release.dat"] = b"umls.release.name=2017AA\numls.release.date=20170508\n"
META = {f"2017AA/META/{name}": data for name, data in PLAIN.items()}
SPLIT = {
    **parts("2017AA/META/MRCONSO.RRF.{}.gz", [gzip.compress(each) for each in cut(CONSO, 3)]),
    "2017AA/META/MRSTY.RRF.gz": gzip.compress(STY),
}
# name of the source, its files (for a folder) or its bytes
LAYOUTS: dict[str, tuple[str, dict[str, bytes] | bytes]] = {
    "folder": ("release", PLAIN),
    "folder with META": ("release", META),
    "compressed": ("release", {f"{name}.gz": gzip.compress(data) for name, data in PLAIN.items()}),
    "parts, each compressed": ("release", SPLIT),
    "compressed, then in parts": (
        "release",
        parts("MRCONSO.RRF.gz.{}", cut(gzip.compress(CONSO), 4)) | {"MRSTY.RRF": STY},
    ),
    "plain parts": ("release", parts("MRCONSO.RRF.{}", cut(CONSO, 4)) | {"MRSTY.RRF": STY}),
    "zip": ("release.zip", zipped(PLAIN)),
    "full-release zip": ("2017AA.zip", zipped(META | {"2017AA/META/MRDEF.RRF": b""})),
    "nlm": ("2017aa-1-meta.nlm", zipped(SPLIT)),
    "nlm in a zip": (
        "2017AA-full.zip",
        zipped({"2017AA-full/mmsys.zip": zipped({"x.txt": b"x"}),
                "2017AA-full/2017aa-1-meta.nlm": zipped(SPLIT)}),
    ),
    "nlm in a folder": ("full", {"2017aa-1-meta.nlm": zipped(SPLIT), "README.txt": b"read me"}),
    "in two nlm files": (
        "full",
        {"1.nlm": zipped({"META/MRCONSO.RRF": CONSO}), "2.nlm": zipped({"META/MRSTY.RRF": STY})},
    ),
}  # fmt: skip


def laid_out(folder: Path, name: str, content: dict[str, bytes] | bytes) -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
        return path
    for file, data in content.items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(data)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_release(tmp_path: Path, layout: str) -> None:
    report = build(laid_out(tmp_path, *LAYOUTS[layout]), tmp_path / "kb")
    assert short_names(tmp_path / "kb") == EXPECTED
    with_name = ("folder", "folder with META", "compressed", "zip", "full-release zip")
    assert report.info["source"]["release"] == ("2017AA" if layout in with_name else None)


def test_the_file_itself_stands_for_its_folder(tmp_path: Path) -> None:
    build(laid_out(tmp_path, "release", PLAIN) / "MRCONSO.RRF", tmp_path / "kb")
    assert short_names(tmp_path / "kb") == EXPECTED


@pytest.mark.parametrize("name", ["MRCONSO_small.RRF", "MRCONSO.RRF.bak", "my_MRCONSO.RRF"])
def test_another_file_does_not_stand_for_its_folder(tmp_path: Path, name: str) -> None:
    release = laid_out(tmp_path, "release", PLAIN | {name: CONSO[:100]})
    with pytest.raises(LongbelError, match="the name does not tell which kind"):
        build(release / name, tmp_path / "kb")


def test_a_folder_may_be_called_as_the_file(tmp_path: Path) -> None:
    build(laid_out(tmp_path, "MRCONSO_2017", PLAIN), tmp_path / "kb")
    assert short_names(tmp_path / "kb") == EXPECTED


BROKEN: dict[str, tuple[str, dict[str, bytes] | bytes, str]] = {
    "no MRCONSO": ("release", {"MRSTY.RRF": STY}, "no MRCONSO.RRF in it"),
    "no MRSTY": ("release", {"MRCONSO.RRF": CONSO}, "no MRSTY.RRF in it"),
    "no zip": ("release.zip", b"PK nothing", "not a readable zip"),
    "cut gzip": ("release", {"MRCONSO.RRF.gz": gzip.compress(CONSO)[:-20], "MRSTY.RRF": STY},
                 "broken after"),
    "no gzip": ("release", {"MRCONSO.RRF.gz": b"not compressed", "MRSTY.RRF": STY}, "broken after"),
    "empty MRSTY": ("release", {"MRCONSO.RRF": CONSO, "MRSTY.RRF": b""}, "no readable rows"),
    "two releases": (
        "releases", {f"{year}/META/{name}": data for year in ("2014AA", "2017AA")
                     for name, data in PLAIN.items()},
        "MRCONSO.RRF in 2014AA/META and in 2017AA/META",
    ),
    "parts with a hole": (
        "release",
        {**{f"MRCONSO.RRF.{part}": CONSO for part in ("aa", "ac")}, "MRSTY.RRF": STY},
        "MRCONSO.RRF is in parts, and part .ab is missing",
    ),
    "compressed parts without the first": (
        "release", {"META/MRCONSO.RRF.ab.gz": gzip.compress(CONSO), "META/MRSTY.RRF": STY},
        "part .aa is missing",
    ),
    "a pickle": ("candidate_trie.pkl", b"\x80\x04", "pickles are never read"),
    "something else": ("notes.docx", b"", "the name does not tell which kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_sources_that_cannot_be_read(tmp_path: Path, case: str) -> None:
    name, content, message = BROKEN[case]
    with pytest.raises(LongbelError, match=message):
        build(laid_out(tmp_path, name, content), tmp_path / "kb")
    assert not (tmp_path / "kb").exists()


def test_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(LongbelError, match="no such file"):
        build(tmp_path / "nowhere", tmp_path / "kb")


def test_an_archive_may_not_unpack_to_more_than_its_cap(tmp_path: Path) -> None:
    path = laid_out(tmp_path, "release.zip", zipped({"MRCONSO.RRF": b"x" * 100_000}))
    with Release(path, max_bytes=50_000) as release:
        file = release.find("MRCONSO.RRF")
        assert file is not None
        with pytest.raises(LongbelError, match="no release file is that large"):
            list(file.blocks())
    nested = laid_out(tmp_path, "full.zip", zipped({"a.nlm": zipped(PLAIN) + b"x" * 100_000}))
    with pytest.raises(LongbelError, match="no release file is that large"):
        Release(nested, max_bytes=50_000)


# Rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'a "quoted" name', '"', "it's", "NA", "null", "nan", "a\rb", "a\u0085b", "a\u2028b",
        "a\tb", "a\\b", "a,b", "\ufeffa", "a\u00a0b", "\x1fa", "🧬",
    ],
)  # fmt: skip
def test_what_csv_parsers_trip_over_is_text(tmp_path: Path, text: str) -> None:
    rows = [conso_row("C1", f"x{text}"), conso_row("C2", f"y{text}"), conso_row("C3", "z")]
    sty = [sty_row(f"C{index}", "T047") for index in (1, 2, 3)]
    build(write_release(tmp_path / "release", rows, sty), tmp_path / "kb")
    names = short_names(tmp_path / "kb")["Disorders"]
    tidied = text.replace("\u00a0", " ")
    assert names == {f"X{tidied}": "C1", f"Y{tidied}": "C2", "Z": "C3"}


@given(
    st.lists(st.text('ab\r"é\u2028', max_size=4), min_size=3, max_size=3).map(
        lambda fields: "|".join(fields) + "|\n"
    ),
    st.lists(st.text("ab|\r", max_size=6).map(lambda text: text + "\n"), max_size=6),
    st.integers(1, 9),
)
def test_rows_split_as_a_plain_split_does(good: str, others: list[str], size: int) -> None:
    data = "".join([good, *others, good]).encode()
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    fields, bad = [], []
    for block in whole_rows(blocks, "file"):
        rows, unreadable = split_rows(block, 3)
        columns = [rows.column(field).to_pylist() for field in range(3)]
        fields += list(zip(rows.lines.tolist(), *columns, strict=True))
        bad += [row.line for row in unreadable]
    expected, expected_bad = [], []
    for index, line in enumerate(data.decode().split("\n")[:-1], 1):
        parts = line.removesuffix("\r").split("|")
        if len(parts) == 4 and parts[3] == "":
            expected.append((index, *(part.encode() for part in parts[:3])))
        else:
            expected_bad.append(index)
    assert (fields, bad) == (expected, expected_bad)


def test_line_ends_of_windows_and_a_last_line_without_one(tmp_path: Path) -> None:
    release = laid_out(
        tmp_path,
        "release",
        {"MRCONSO.RRF": CONSO.replace(b"\n", b"\r\n").rstrip(), "MRSTY.RRF": STY.rstrip()},
    )
    build(release, tmp_path / "kb")
    assert short_names(tmp_path / "kb") == EXPECTED


def bad_release(folder: Path, n_bad: int, n_good: int) -> Path:
    good = [conso_row(f"C{index}", f"Name {index}") for index in range(n_good)]
    bad = ["C1|ENG|too|short|\n"] * n_bad
    sty = [sty_row(f"C{index}", "T047") for index in range(n_good)]
    return write_release(folder, good[:2] + bad + good[2:], sty)


def test_unreadable_rows_are_left_out_with_file_and_line(tmp_path: Path) -> None:
    rows = [
        conso_row("C1", "One"),
        "C1|ENG|P|too|few|\n",
        conso_row("C1", "extra|column"),
        conso_row("C1", "broken \udcff bytes"),
        conso_row("C1", "two").replace("|256|\n", "|256|more\n"),
        "\n",
        conso_row("C\udcff", "Broken code"),
        conso_row("C9", "Untyped"),
        conso_row("C9", "Untyped too"),
    ]
    sty = [
        sty_row("C1", "T047"), "C1|T047|\n", "C1|T000|A1|No Type|AT1||\n",
        sty_row("C\udcff", "T047"),
    ]  # fmt: skip
    report = build(write_release(tmp_path / "release", rows, sty), tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [
        ("MRSTY.RRF", 2, "2 columns instead of 6"),
        ("MRSTY.RRF", 4, "not UTF-8"),
        ("MRSTY.RRF", 3, "unknown semantic type"),
        ("MRCONSO.RRF", 2, "5 columns instead of 18"),
        ("MRCONSO.RRF", 3, "19 columns instead of 18"),
        ("MRCONSO.RRF", 5, "text after the last of 18 columns"),
        ("MRCONSO.RRF", 6, "0 columns instead of 18"),
        ("MRCONSO.RRF", 7, "not UTF-8"),
        ("MRCONSO.RRF", 4, "not UTF-8"),
        ("MRCONSO.RRF", 8, "concept without a semantic type"),
    ]
    assert (report.n_unreadable, report.n_untyped) == (9, 1)
    told = (tmp_path / "kb" / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(told[-1]) == {
        "file": "MRCONSO.RRF", "line": 8, "reason": "concept without a semantic type",
    }  # fmt: skip
    assert short_names(tmp_path / "kb") == {"Disorders": {"One": "C1"}}


@pytest.mark.parametrize(
    ("n_bad", "n_good", "allowed", "stops"),
    [
        (10, 40, None, False),  # ten are allowed in any case
        (11, 40, None, True),
        (11, 10_989, None, False),  # 0.1 % of 11,000
        (11, 10_988, None, True),
        (11, 40, 11, False),
        (1, 40, 0, True),
        (0, 40, 0, False),
    ],
)
def test_too_many_unreadable_rows_stop_the_build(
    tmp_path: Path, n_bad: int, n_good: int, allowed: int | None, stops: bool
) -> None:
    release = bad_release(tmp_path / "release", n_bad, n_good)
    if stops:
        with pytest.raises(LongbelError, match=r"MRCONSO.RRF:3: 4 columns instead of 18"):
            build(release, tmp_path / "kb", max_bad_rows=allowed)
    else:
        assert build(release, tmp_path / "kb", max_bad_rows=allowed).n_unreadable == n_bad


def test_concepts_without_a_type_never_stop_it(tmp_path: Path) -> None:
    conso = [conso_row(f"C{index}", f"Name {index}") for index in range(100)]
    report = build(write_release(tmp_path / "r", conso, [sty_row("C5", "T047")]), tmp_path / "kb")
    assert (report.n_untyped, report.n_unreadable) == (99, 0)


def mrfiles(conso_rows: int = 40, columns: int = 18, n_bytes: int = len(CONSO)) -> bytes:
    return (
        f"MRCONSO.RRF|Names|CUI,LAT|{columns}|{conso_rows}|{n_bytes}|\n"
        f"MRSTY.RRF|Types|CUI,TUI|6|40|{len(STY)}|\n"
    ).encode()


@pytest.mark.parametrize(
    ("contents", "compress", "message"),
    [
        (mrfiles(), False, None),
        (mrfiles(), True, None),
        (mrfiles(conso_rows=41), False, "40 rows, but MRFILES.RRF says 41"),
        (mrfiles(conso_rows=41), True, "40 rows, but MRFILES.RRF says 41"),
        (mrfiles(n_bytes=5), False, "bytes, but MRFILES.RRF says 5"),
        (mrfiles(columns=17), False, "17 columns, not 18"),
        (b"MRSTY.RRF|x|y|6|1|1|\n", False, "no row for MRCONSO.RRF"),
        (b"MRCONSO.RRF|x|y|many|1|1|\n", False, "counts that are not numbers"),
    ],
)
def test_mrfiles_is_held_against_the_files(
    tmp_path: Path, contents: bytes, compress: bool, message: str | None
) -> None:
    conso = {"MRCONSO.RRF.gz": gzip.compress(CONSO)} if compress else {"MRCONSO.RRF": CONSO}
    files = conso | {"MRSTY.RRF": STY, "MRFILES.RRF": contents}
    release = laid_out(tmp_path, "release", files)
    if message is None:
        build(release, tmp_path / "kb")
        assert short_names(tmp_path / "kb") == EXPECTED
    else:
        with pytest.raises(LongbelError, match=message):
            build(release, tmp_path / "kb")


# Tables -----------------------------------------------------------------------------------------

GAZETTEER = (
    b"code\tlanguage\tterm\tsemantic_tag\tmainterm\n"
    b'0123\tes\tdolor "agudo"\tSINTOMA\t0\n'
    b"0123\tes\tDolor agudo\tSINTOMA\t1\n"
    b"0123\tes\tAlgia, SAI\tSINTOMA\t0\n"
    b"45\tes\tNA\tENFERMEDAD\t1\n"
    b"45\tes\tAlgia\tENFERMEDAD\t0\n"
    b"6\tes\tAlgia\tSINTOMA\t1\n"
    b"NO_CODE\tes\tnada\tSINTOMA\t0\n"
    b"\tes\tnada\tSINTOMA\t0\n"
)
GAZETTEER_NAMES = {
    ("SINTOMA", 'Dolor "agudo"', "0123", "es", False),
    ("SINTOMA", "Dolor agudo", "0123", "es", True),
    ("SINTOMA", "Algia", "6", "es", True),  # rule 3: 6 has no other name
    ("ENFERMEDAD", "NA", "45", "es", True),
    ("ENFERMEDAD", "Algia", "45", "es", False),
}


def as_csv(data: bytes) -> bytes:
    lines = data.decode().splitlines()
    quoted = (
        ",".join('"' + each.replace('"', '""') + '"' for each in line.split("\t")) for line in lines
    )
    return "\r\n".join(quoted).encode()


def as_parquet(data: bytes) -> bytes:
    header, *lines = (line.split("\t") for line in data.decode().splitlines())
    columns = {name: [line[location] for line in lines] for location, name in enumerate(header)}
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    table = table.set_column(4, "mainterm", table["mainterm"].cast(pa.int64()).cast(pa.bool_()))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


TABLES: dict[str, Callable[[bytes], bytes]] = {
    "g.tsv": bytes,
    "g.txt": lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
    "g.tsv.gz": gzip.compress,
    "g.csv": as_csv,
    "g.csv.gz": lambda data: gzip.compress(as_csv(data)),
    "g.parquet": as_parquet,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_gazetteer_in_every_form(tmp_path: Path, name: str) -> None:
    report = build(laid_out(tmp_path, name, TABLES[name](GAZETTEER)), tmp_path / "kb")
    assert names_of(tmp_path / "kb") == GAZETTEER_NAMES
    assert report.info["counts"]["without_code"] == 2


def test_a_table_is_read_as_it_is_meant(tmp_path: Path) -> None:
    """Blanks around codes and groups, its own spelling of languages, capitals in its name."""
    data = (
        b"code\tname\tgroup\tlang\n"
        b"C1 \tFever\tDISO\ten\nC1\tPyrexia\tDISO \ten\nC1\tFi\xc3\xa8vre\tDISO\tfr\n"
    )
    packed = laid_out(tmp_path, "T.TSV.GZ", gzip.compress(data))
    build(packed, tmp_path / "kb")
    names = {"Fever": "C1", "Pyrexia": "C1", "Fi\u00e8vre": "C1"}
    assert short_names(tmp_path / "kb") == {"DISO": names}
    build(packed, tmp_path / "french", languages=("FR",))
    assert short_names(tmp_path / "french") == {"DISO": {"Fi\u00e8vre": "C1"}}
    with pytest.raises(LongbelError, match="no group CHEMM"):
        build(packed, tmp_path / "none", semantic_groups=("DISO", "CHEMM"))
    folder = laid_out(tmp_path, "2024.gz_unpacked", {"terms.gz-unpacked.tsv": data})
    build(folder / "terms.gz-unpacked.tsv", tmp_path / "plain")
    assert short_names(tmp_path / "plain") == {"DISO": names}


def test_a_release_may_lie_behind_a_link(tmp_path: Path) -> None:
    real = laid_out(tmp_path, "2024.gz_unpacked", PLAIN)
    release = tmp_path / "release"
    release.mkdir()
    (release / "META").symlink_to(real)
    (release / "again").symlink_to(release)  # goes round
    build(release, tmp_path / "kb")
    assert short_names(tmp_path / "kb") == EXPECTED


def test_a_plain_table_and_its_options(tmp_path: Path) -> None:
    table = laid_out(
        tmp_path, "t.tsv",
        b"Group\tName\tCode\tlang\nDISO\tFlu\tC1\tENG\nDISO\tGrippe\tC1\tFRE\nX\tFlu\tC2\tENG\n",
    )  # fmt: skip
    build(table, tmp_path / "all")
    assert short_names(tmp_path / "all") == {
        "DISO": {"Flu": "C1", "Grippe": "C1"},
        "X": {"Flu": "C2"},
    }
    build(table, tmp_path / "french", languages=("FRE",))
    assert short_names(tmp_path / "french") == {"DISO": {"Grippe": "C1"}}
    build(table, tmp_path / "disorders", semantic_groups=("Disorders",))
    assert short_names(tmp_path / "disorders") == {"DISO": {"Flu": "C1", "Grippe": "C1"}}
    for options in ({"vocabularies": ("MSH",)}, {"preset": "quaero"}, {"semantic_types": ("T047",)},
                    {"semantic_groups": ("GENE",)}, {"languages": ("GER",)}):  # fmt: skip
        with pytest.raises(LongbelError):
            build(table, tmp_path / "kb", **options)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.tsv", b"code\tname\nC1\tFlu\n", "no column for the group"),
        ("t.csv", b"code,name\nC1,Flu\n", "no column for the group"),
        ("t.tsv", b"", "empty"),
        ("t.parquet", b"PAR", "not a Parquet file"),
        ("t.csv", b"code,name,group,\xff\na,b,c,d\n", "not a CSV file in UTF-8"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(LongbelError, match=message):
        build(laid_out(tmp_path, name, data), tmp_path / "kb")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("code", [1.0, None], "column for the code is of type double: codes are text"),
        ("code", [Decimal("1.50"), None], "codes are text"),
        ("name", [["Flu"], ["Cold"]], "column for the name is of type list"),
        ("group", [b"\xff", b"DISO"], "column for the group is of type binary"),
    ],
)
def test_parquet_columns_that_are_no_text(
    tmp_path: Path, column: str, values: list, message: str
) -> None:
    columns = {"code": ["1", "2"], "name": ["Flu", "Cold"], "group": ["DISO", "DISO"]}
    pq.write_table(pa.table({**columns, column: values}), tmp_path / "t.parquet")
    with pytest.raises(LongbelError, match=message):
        build(tmp_path / "t.parquet", tmp_path / "kb")


def test_parquet_codes_may_be_integers(tmp_path: Path) -> None:
    columns = {"code": [7, 12], "name": ["Flu", "Cold"], "group": ["DISO", "DISO"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    build(tmp_path / "t.parquet", tmp_path / "kb")
    assert short_names(tmp_path / "kb") == {"DISO": {"Flu": "7", "Cold": "12"}}


@pytest.mark.parametrize("separator", ["\t", ","])
def test_rows_of_a_table_that_cannot_be_read(tmp_path: Path, separator: str) -> None:
    lines = ["code,name,group", "C1,Flu,DISO", "C1,Grippe", "C2,Cold,DISO", "C3,Lost,"]
    name = "t.csv" if separator == "," else "t.tsv"
    data = "\n".join(lines).replace(",", separator).encode()
    report = build(laid_out(tmp_path, name, data), tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [
        (name, 3, "2 columns instead of 3"),
        (name, 5, "no group"),
    ]
    assert short_names(tmp_path / "kb") == {"DISO": {"Flu": "C1", "Cold": "C2"}}


# Candidate sets ---------------------------------------------------------------------------------


def test_a_published_candidate_set_is_taken_as_it_stands(tmp_path: Path) -> None:
    names = {
        "Disorders": {"flu, NOS": "C2", "FLU": "C1", "Flu": "C1", "Cold [x]": "C3"},
        "ENFERMEDAD": {"Flu": "10+9"},
    }
    path = laid_out(tmp_path, "model", {"text_to_code.json": json.dumps(names).encode()})
    build(path, tmp_path / "kb")
    assert short_names(tmp_path / "kb") == names
    build(path / "text_to_code.json", tmp_path / "again", semantic_groups=("ENFERMEDAD",))
    assert short_names(tmp_path / "again") == {"ENFERMEDAD": names["ENFERMEDAD"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not readable JSON"),
        (b"[]", "not an object of groups"),
        (b"{}", "not an object of groups"),
        (b'{"DISO": ["Flu"]}', "group 'DISO' is not"),
        (b'{"DISO": {"Flu": 7}}', "group 'DISO' is not"),
        (rb'{"DISO": {"Flu \ud83e": "C1"}}', "group 'DISO' holds half of a surrogate pair"),
        (rb'{"DISO": {"Flu": "C\udd1a"}}', "half of a surrogate pair"),
        (rb'{"D\ud83e": {"Flu": "C1"}}', "half of a surrogate pair"),
    ],
)
def test_candidate_sets_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(LongbelError, match=message):
        build(laid_out(tmp_path, "text_to_code.json", content), tmp_path / "kb")

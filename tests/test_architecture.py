"""The shape of the code base: imports point one way, and help costs no torch."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.sources import (
    MODULES,
    NAMES,
    PACKAGES,
    calls_of,
    imports,
    package_of,
    packages_of,
    tree_of,
)

PRINTERS = (
    "longbel_cli/commands/",
    "longbel_cli/app.py",
    "longbel_cli/progress.py",
    "longbel_cli/runs/signals.py",  # the last word of a process that does not stop in time
    "longbel_cli/explaining/notebook.py",  # shows an explanation to whoever calls it from Python
)
EXITERS = (
    "longbel_cli/__main__.py",
    "longbel_cli/app.py",
    "longbel_cli/commands/",
    "longbel_cli/runs/signals.py",
)
HEAVY = ("torch", "transformers", "accelerate")
NOT_IN_KB_BUILDER = (*HEAVY, "typer", "rich", "tqdm", "longbel_cli")

# May import torch when they are imported themselves: nothing light imports them at its top.
WITH_TORCH = (
    "longbel_cli/model/decoders/row_pools.py",
    "longbel_cli/model/decoders/attention.py",
    "longbel_cli/model/decoders/backends.py",
    "longbel_cli/model/decoders/cascade.py",
    "longbel_cli/model/decoders/flash.py",
    "longbel_cli/model/decoders/masked.py",
    "longbel_cli/model/decoders/norms.py",
    "longbel_cli/model/decoders/packed.py",
    "longbel_cli/model/decoders/pool.py",
    "longbel_cli/model/plain.py",
    "longbel_cli/model/reference_mode.py",
    "longbel_cli/model/self_check.py",
    "longbel_cli/model/windows.py",
    "longbel_cli/model/decoders/reference.py",
    "longbel_cli/model/decoders/scoring.py",
    "longbel_cli/model/decoders/staging.py",
    "longbel_cli/training/",
    "longbel_cli/explaining/attribution.py",
    "longbel_cli/explaining/batches.py",
    "longbel_cli/explaining/aggregation.py",
)
NAMESPACES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")


def imports_at_the_top(tree: ast.Module) -> Iterator[str]:
    """Imports that run when the module is imported; not those for type checkers alone."""
    for node in tree.body:
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or typing_only:
            continue
        yield from imports(node)


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 40
    assert {Path(name).parts[0] for name in NAMES} == set(PACKAGES)


# Each rule is one test over all modules, which names those that break it.


def test_a_module_says_what_it_is() -> None:
    docstrings = {name: ast.get_docstring(tree_of(name)) or "" for name in NAMES}
    assert [name for name, said in docstrings.items() if len(said) <= 15] == []


def test_no_module_reads_or_writes_pickles() -> None:
    assert [name for name in NAMES if packages_of(name) & set(NAMESPACES)] == []
    loads = [
        f"{name}:{call.lineno}"
        for name in NAMES
        for call in calls_of(name)
        if ast.unparse(call.func) in ("torch.load", "np.load", "numpy.load")
        and not any(word.arg in ("weights_only", "allow_pickle") for word in call.keywords)
    ]
    assert loads == []


def test_only_the_command_line_prints() -> None:
    prints = [
        f"{name}:{call.lineno}"
        for name in NAMES
        for call in calls_of(name)
        if ast.unparse(call.func) == "print" and not name.startswith(PRINTERS)
    ]
    assert prints == []


def test_only_the_command_line_exits() -> None:
    words = {"sys.exit", "exit", "quit", "os._exit", "typer.Exit"}
    exits = [
        f"{name}:{node.lineno}"
        for name in NAMES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Attribute | ast.Name)
        and ast.unparse(node) in words
        and not name.startswith(EXITERS)
    ]
    assert exits == []


def test_notes_are_logged_and_not_handed_to_callbacks() -> None:
    """By loggers that bear their module's name; what is done with notes is decided in one place."""
    handing = {"tell", "say", "notify", "on_warning", "watch"}
    parameters = [
        f"{name}:{node.lineno} {node.arg}"
        for name in NAMES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.arg) and node.arg in handing
    ]
    assert parameters == []
    setting_up = ("basicConfig", "dictConfig", "fileConfig", "addHandler", "setLevel")
    own = "logging.getLogger(__name__)"
    allowed = (own, f"{own}.addHandler(logging.NullHandler())")
    others = [
        f"{name}:{call.lineno}"
        for name in NAMES
        for call in calls_of(name)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in (*setting_up, "getLogger")
        and ast.unparse(call) not in allowed
    ]
    assert {location.partition(":")[0] for location in others} == {"longbel_cli/commands/notes.py"}


def test_one_module_shows_progress() -> None:
    assert [name for name in NAMES if "tqdm" in packages_of(name)] == ["longbel_cli/progress.py"]


def test_kb_builder_knows_no_model_and_no_command_line() -> None:
    builder = [name for name in NAMES if name.startswith("kb_builder")]
    assert [name for name in builder if packages_of(name) & set(NOT_IN_KB_BUILDER)] == []


def test_torch_is_imported_where_it_is_needed() -> None:
    early = {name: set(map(package_of, imports_at_the_top(tree_of(name)))) for name in NAMES}
    heavy = [name for name, packages in early.items() if packages & set(HEAVY)]
    assert [name for name in heavy if not name.startswith(WITH_TORCH)] == []
    assert heavy  # else nothing was looked at


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    """Downward within longbel_cli: commands at the top, then what they call."""
    top = ("longbel_cli/commands/", "longbel_cli/app.py", "longbel_cli/__main__")
    upward = [
        f"{name}: {imported}"
        for name in NAMES
        for imported in imports(tree_of(name))
        if not name.startswith(top)
        and (
            imported in ("typer", "longbel_cli.app") or imported.startswith("longbel_cli.commands")
        )
    ]
    assert upward == []


def test_imports_are_absolute_and_names_say_something() -> None:
    relative = [name for name in NAMES if any(each[0] == "." for each in imports(tree_of(name)))]
    assert relative == []
    mute = ("utils", "helpers", "common", "misc")
    assert [name for name in NAMES if Path(name).stem in mute] == []


def test_options_are_built_by_keyword() -> None:
    """Of more than three fields nobody knows the order."""
    records = ("Options", "Request", "Sources", "Choice", "Computing", "SlurmJob")
    by_order = [
        f"{name}:{call.lineno}"
        for name in NAMES
        for call in calls_of(name)
        if ast.unparse(call.func).endswith(records) and len(call.args) > 3
    ]
    assert by_order == []


# Modules that know neither torch nor transformers, and do their work without.
LOW = (
    "types",
    "prompting/formats",
    "prompting/sentences",
    "linking/engine",
    "model/decoders/__init__",
    "model/decoders/search",
    "runs/run",
)


def test_the_engine_and_what_it_stands_on_know_no_torch() -> None:
    low = [f"longbel_cli/{module}.py" for module in LOW]
    assert [name for name in low if packages_of(name) & {*HEAVY, "tokenizers", "safetensors"}] == []


def modules_after(code: str) -> set[str]:
    """The heavy packages that a fresh process has loaded after `code`."""
    code = f"{code}\nimport sys\nprint('LOADED', *[n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_modules_after_can_tell() -> None:
    assert modules_after("import sys, types\nsys.modules['torch'] = types") == {"torch"}


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from longbel_cli.app import COMMANDS, main\n"
        "for command in ([], ['kb', 'search'], *([entry.name] for entry in COMMANDS)):\n"
        "    sys.argv = ['longbel', *command, '--help']\n"
        "    try:\n        main()\n"
        "    except SystemExit as stop:\n        assert not stop.code, (command, stop.code)\n"
        f"    assert not set({HEAVY!r}) & set(sys.modules), command"
    )
    assert modules_after(code) == set()


def test_importing_the_library_and_opening_a_kb_loads_no_torch(kb_folder: Path) -> None:
    code = (
        "import longbel_cli, longbel_cli.linking.linker, longbel_cli.linking.job\n"
        "from longbel_cli import Linker\n"
        "from kb_builder.store.knowledge_base import KnowledgeBase\n"
        f"base = KnowledgeBase.open({str(kb_folder)!r})\n"
        "assert base.name(0) and base.code(0)"
    )
    assert modules_after(code) == set()


def test_a_knowledge_base_reads_without_longbel_cli(kb_folder: Path) -> None:
    code = (
        "import sys\n"
        "from kb_builder.store.knowledge_base import KnowledgeBase\n"
        f"KnowledgeBase.open({str(kb_folder)!r})\n"
        "assert not [name for name in sys.modules if name.startswith(('longbel_cli', 'typer'))]"
    )
    assert modules_after(code) == set()


def test_the_version_names_the_libraries_and_the_device() -> None:
    from longbel_cli import __version__
    from longbel_cli.version import version_text

    lines = dict(line.split(" ", 1) for line in version_text().splitlines())
    assert lines["longbel"] == __version__
    assert lines["torch"] == importlib.metadata.version("torch")
    assert {"transformers", "pyarrow", "device"} <= lines.keys()
    assert lines["device"].startswith(("cpu", "cuda"))

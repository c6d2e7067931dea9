"""Who imports whom: arrows point down, and what is pure has nothing to do with the world."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import avcheck
from avcheck.scanners.rows import SCANNERS

PACKAGE = Path(avcheck.__file__).parent

# From the ground up.  A module imports what is below it, or beside it in its own layer;
# imports for the type checker count like any other.
LAYERS: tuple[tuple[str, set[str]], ...] = (
    ("words for everybody", {"__init__", "exits", "patterns", "printable", "unix", "verdict"}),
    (
        "what a message is to be done with",
        {"address", "header", "mime", "policy", "rendering", "scanners.rows", "seen", "settings"},
    ),
    ("the operating system", {"caller", "directory", "files", "incoming", "process", "spool"}),
    ("one message's own", {"run"}),
    (
        "connections and programs",
        {"child", "conn", "dial", "order", "program", "stream", "tls"},
    ),
    ("the scanners' protocols", {"scanners", "scanners.*"}),
    (
        "the steps of a message",
        {
            "ask",
            "report",
            "deliver",
            "deliver.*",
            "handle",
            "quarantine",
            "draft",
            "entry",
            "act",
            "state",
            "state.*",
        },
    ),
    ("the command line", {"options", "options.*"}),
    ("one message", {"main"}),
    ("one connection", {"smtpd", "smtpd.*"}),
    ("programs", {"__main__", "smtpd.__main__", "loading", "uchroot", "admin", "admin.*"}),
)

# A scanner imports the tables, its package, and its own parts; one that is a program runs it,
# and may be one of ClamAV's, whose names mean what its daemon's do.
GROUND = {"verdict", "exits", "printable"}
CALLS = {"unix"}
SCANNER = {"scanners", "scanners.rows", "patterns"}
PROGRAM = {"scanners", "scanners.rows", "patterns", "child", "scanners.clamd"}
PROGRAM_PART = {"directory", "patterns", "process"}  # it makes a file
TYPES = {"conn", "settings", "spool"}  # what scan and run are given

PURE = {
    *("options.reading", "options.rows", "options.arguments", "settings", "policy", "address"),
    *("deliver.smtp_dialogue", "deliver.smtp_replies", "deliver.smtp_words", "state.waitfile"),
    *("scanners.rows", "seen", "header", "mime", "rendering", *GROUND),
    *("smtpd.commands", "smtpd.content", "smtpd.dialogue", "smtpd.events", "smtpd.kept"),
    "smtpd.lines",
}

# What the delivery path may import of the standard library when it is loaded, and in a
# branch that is rarely taken.  What is not here costs more than it is worth.
# (The import system has posix and _thread already.)
CHEAP = {"gc", "marshal", "posix", "_stat", "sys", "time", "errno", "fcntl", "select", "_thread"}
DEARER = {"select", "time", "re", "hashlib", "json", "binascii", "fcntl", "warnings", "pwd"}
DEARER |= {"_frozen_importlib_external"}  # it is loaded already, under no other name
DEARER |= {"site"}  # where a scanner of the administrator's is not beside avcheck
DEARER |= {"termios"}  # one number, for a message that is streamed
DEARER |= {"shutil"}  # a directory that a program has made beside its copy
# What has to do with paths, and is loaded for infected mail or for what has imported os before.
OS = {"os", "stat"}
OF_PATHS = {"draft", "entry", "handle", "quarantine", "deliver.injector", "options.asked"}
OF_PATHS |= {"scanners.command_copy"}
# The C halves, and the whole modules where there are no such halves.
HALVES = {"_socket": "socket", "_signal": "signal"}

FOR_PEOPLE = {"options.help", "uchroot"}


class Import:
    """An import of a module: where in the text it is."""

    def __init__(self, module: str, lazy: bool, fallback: bool, typing: bool) -> None:
        self.module = module
        self.lazy = lazy  # in a function
        self.fallback = fallback  # where another one failed
        self.typing = typing  # for the type checker


def imports(path: Path) -> list[Import]:
    """What the module imports when it runs; what is for the type checker is left out."""
    return [each for each in all_imports(path) if not each.typing]


def all_imports(path: Path) -> list[Import]:
    """What the module imports, for the type checker included."""
    return list(_imports(ast.parse(path.read_text("utf-8")), False, False, False))


def _imports(node: ast.AST, lazy: bool, fallback: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, lazy, fallback, typing)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "relative"
            assert child.module
            for alias in child.names:
                yield Import(imported(child.module, alias.name), lazy, fallback, typing)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from _imports(ast.Module(child.body, []), lazy, fallback, True)
            yield from _imports(ast.Module(child.orelse, []), lazy, fallback, typing)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            other = (
                isinstance(child, ast.ExceptHandler)
                and child.type is not None
                and ast.unparse(child.type) == "ImportError"
            )
            yield from _imports(child, lazy or function, fallback or other, typing)


def imported(module: str, name: str) -> str:
    """The module that `from module import name` needs."""
    inside = PACKAGE.parent.joinpath(*module.split("."), name)
    return f"{module}.{name}" if inside.with_suffix(".py").exists() or inside.is_dir() else module


def name_of(path: Path) -> str:
    """The module's name without the package's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts == ("__init__",):
        return "__init__"
    return ".".join(parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
SCANNER_MODULES = {
    name: path
    for name, path in MODULES.items()
    if name.startswith("scanners.") and name != "scanners.rows"
}
ADMIN = {name: path for name, path in MODULES.items() if name.split(".")[0] == "admin"}
PATH = {name: path for name, path in MODULES.items() if name not in ADMIN}


def ours(path: Path) -> set[str]:
    """What it imports of ours, for the type checker included."""
    return {
        each.module.removeprefix("avcheck").removeprefix(".") or "__init__"
        for each in all_imports(path)
        if each.module.split(".")[0] == "avcheck"
    }


def layer_of(name: str) -> int:
    """The number of its layer; a name of its own comes before its folder's."""
    for pattern in (name, f"{name.split('.')[0]}.*"):
        found = [number for number, (_, members) in enumerate(LAYERS) if pattern in members]
        if found:
            (number,) = found
            return number
    raise AssertionError(f"{name} is in no layer")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_is_below_it(name: str) -> None:
    for module in ours(MODULES[name]):
        assert layer_of(module) <= layer_of(name), f"{name} imports {module}"


def test_no_layer_names_what_is_not_there() -> None:
    for _, members in LAYERS:
        for member in members:
            assert any(name == member or name.startswith(member[:-1]) for name in MODULES), member


@pytest.mark.parametrize("name", SCANNER_MODULES)
def test_a_scanner_imports_the_ground_and_the_names_of_the_ways(name: str) -> None:
    rows = [row for row in SCANNERS.values() if "scanners." + row.module == name]
    allowed = PROGRAM if any(row.program for row in rows) else SCANNER
    programs = [f"scanners.{row.module}_" for row in SCANNERS.values() if row.program]
    if name.startswith(tuple(programs)):
        allowed = PROGRAM_PART
    parts = {
        module for module in SCANNER_MODULES if module.startswith(name.partition("_")[0] + "_")
    }
    assert ours(MODULES[name]) <= GROUND | CALLS | TYPES | allowed | parts


def test_there_is_no_circle() -> None:
    """There is an order in which every module comes before all that it imports."""
    edges = {name: ours(path) - {name} for name, path in MODULES.items()}
    below: set[str] = set()
    while len(below) < len(edges):
        next_ = {name for name in edges if name not in below and edges[name] <= below}
        assert next_, f"a circle among {sorted(set(edges) - below)}"
        below |= next_


def test_nobody_imports_the_way_in_nor_the_administrator_s_tool() -> None:
    for name, path in MODULES.items():
        for module in ours(path):
            # The other way in leaves by the same way out, and does the same with each message.
            assert module != "__main__" or name == "smtpd.__main__"
            assert module != "main" or name in ("__main__", "smtpd.message")
            assert not module.startswith("admin") or name in ADMIN, name


@pytest.mark.parametrize("name", sorted(PURE))
def test_what_is_pure_imports_nothing_that_touches_the_world(name: str) -> None:
    foreign = {each.module for each in imports(MODULES[name])} - {"__future__"}
    foreign = {module for module in foreign if not module.startswith("avcheck")}
    assert foreign <= {"errno"}
    assert "unix" not in ours(MODULES[name])


@pytest.mark.parametrize("name", SCANNER_MODULES)
def test_parsing_is_pure(name: str) -> None:
    """No parse function, nor what it calls, uses a module that touches the world."""
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    bodies = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    world = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if touches_the_world(node.module if isinstance(node, ast.ImportFrom) else alias.name)
        or touches_the_world(alias.name)
    }
    reached, left = set[str](), {each for each in bodies if each.startswith("parse")}
    assert left or "_" in name, "only a part may leave parsing to others"
    while left:
        function = left.pop()
        reached.add(function)
        names = {each.id for each in ast.walk(bodies[function]) if isinstance(each, ast.Name)}
        assert not names & world, f"{name}.{function}"
        left |= (names & set(bodies)) - reached


def touches_the_world(module: str | None) -> bool:
    return module in ("os", "unix", "sys", "time", "socket", "select", "subprocess", "child")


@pytest.mark.parametrize("name", sorted({*PATH} - FOR_PEOPLE - {"tls"}))
def test_the_delivery_path_imports_what_is_cheap(name: str) -> None:
    for each in imports(MODULES[name]):
        if each.module.startswith("avcheck") or each.module == "__future__":
            continue
        if each.module in HALVES:
            continue
        cheap = CHEAP | OS if name in OF_PATHS else CHEAP
        if each.fallback:
            assert each.module in HALVES.values(), each.module
        else:
            assert each.module in (cheap | DEARER if each.lazy else cheap), each.module


def test_whole_modules_are_only_a_fallback_for_their_halves() -> None:
    for name in set(PATH) - FOR_PEOPLE:
        found = [each for each in imports(MODULES[name]) if each.module in HALVES.values()]
        assert all(each.fallback for each in found), name


DEAR = {"click", "clamd", "filelock", "rich"}


def test_one_module_draws_on_terminals() -> None:
    """All that rich is given has been made printable there, and is no markup."""
    found = {
        name
        for name, path in MODULES.items()
        if any(each.module.split(".")[0] == "rich" for each in imports(path))
    }
    assert found == {"admin.output"}
    assert all(each.lazy for each in imports(MODULES["admin.output"]) if "rich" in each.module)


def test_nobody_uses_what_is_click_s_own() -> None:
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text("utf-8"))
        private = [
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and ast.unparse(node.value).split(".")[0] in ("click", "context", "ctx", "parameter")
        ]
        assert not private, name


def test_what_a_person_waits_for_is_imported_by_his_tools_only() -> None:
    for name, path in MODULES.items():
        dear = {each.module.split(".")[0] for each in imports(path)} & DEAR
        assert not dear or name == "options.help" or name in ADMIN, name

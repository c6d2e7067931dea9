"""Who imports whom: arrows point down, and what is pure has nothing to do with the world."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import avcheck
from avcheck.scanners import SCANNERS

PACKAGE = Path(avcheck.__file__).parent

# May be imported by everybody; they import nothing of ours but each other, downwards.
GROUND = {"verdict", "exits", "printable"}

# Module: what it imports of ours, and what only a branch of it that is rarely taken imports.
ARROWS: dict[str, tuple[set[str], set[str]]] = {
    "__main__": (set(), {"main"}),
    "main": (
        {"act", "ask", "deliver", "hold", "options", "policy", "report", "spool", "stop"},
        {"usage", "config"},
    ),
    "options": ({"address", "arguments", "policy", "settings"}, set()),
    "arguments": ({"address", "policy", "scanners", "settings"}, set()),
    "settings": ({"scanners"}, set()),
    "config": (set(), set()),
    "hold": (set(), {"waitfile"}),
    "waitfile": (set(), set()),
    "spool": ({"stop"}, set()),
    "ask": ({"conn", "policy", "scanners", "settings", "stop"}, {"attempts", "slots", "canary"}),
    "attempts": (set(), set()),
    "slots": (set(), set()),
    "canary": ({"spool"}, set()),
    "policy": (set(), set()),
    "act": ({"deliver", "policy", "stop"}, {"handle", "quarantine", "attempts"}),
    "deliver": ({"stop"}, {"deliver_smtp", "deliver_sendmail"}),
    "deliver_smtp": ({"conn", "smtp", "stop"}, set()),
    "deliver_sendmail": ({"child", "stop"}, set()),
    "handle": ({"child", "injector", "spool", "stop"}, set()),
    "quarantine": ({"injector", "spool", "stop"}, set()),
    "injector": ({"smtp"}, set()),
    "report": ({"policy", "stop"}, {"metrics"}),
    "metrics": (set(), set()),
    "scanners": (set(), set()),
    "conn": (set(), {"stop", "tls"}),
    "tls": (set(), set()),
    "child": ({"spool", "stop"}, set()),
    "stop": (set(), set()),
    "smtp": (set(), set()),
    "address": (set(), set()),
    "verdict": (set(), set()),
    "exits": (set(), set()),
    "printable": (set(), set()),
    # For a person.
    "usage": ({"config", "options", "settings", "__init__"}, set()),
    "__init__": (set(), set()),
    # Programs of their own.
    "uchroot": ({"stop"}, set()),
}

# A scanner imports the ground, the constants of its package, and its own parts; one that is a
# program runs it, and may be one of ClamAV's, whose names mean what its daemon's do.
SCANNER = {"scanners"}
PROGRAM = {"scanners", "child", "scanners.clamd"}
PROGRAM_PART = {"spool", "stop"}  # it makes a file

PURE = {"options", "arguments", "settings", "policy", "address", "smtp", "waitfile"} | GROUND

# What the delivery path may import of the standard library when it is loaded, and in a
# branch that is rarely taken.  What is not here costs more than it is worth.
# (os has stat already, and the import system _thread.)
CHEAP = {"os", "sys", "time", "errno", "fcntl", "select", "stat", "_thread"}
DEARER = {"select", "time", "re", "hashlib", "json", "binascii", "fcntl", "warnings", "pwd"}
DEARER |= {"site"}  # where a scanner of the administrator's is not beside avcheck
DEARER |= {"termios"}  # one number, for a message that is streamed
# The C halves, and the whole modules where there are no such halves.
HALVES = {"_socket": "socket", "_signal": "signal"}

FOR_PEOPLE = {"usage", "uchroot"}


class Import:
    """An import of a module: where in the text it is."""

    def __init__(self, module: str, lazy: bool, fallback: bool) -> None:
        self.module = module
        self.lazy = lazy  # in a function
        self.fallback = fallback  # where another one failed


def imports(path: Path) -> list[Import]:
    """What the module imports when it runs; what is for the type checker is left out."""
    return list(_imports(ast.parse(path.read_text("utf-8")), lazy=False, fallback=False))


def _imports(node: ast.AST, lazy: bool, fallback: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, lazy, fallback)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "relative"
            assert child.module
            for alias in child.names:
                yield Import(imported(child.module, alias.name), lazy, fallback)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for statement in child.orelse:
                yield from _imports(ast.Module([statement], []), lazy, fallback)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            other = (
                isinstance(child, ast.ExceptHandler)
                and child.type is not None
                and ast.unparse(child.type) == "ImportError"
            )
            yield from _imports(child, lazy or function, fallback or other)


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
SCANNER_MODULES = {name: path for name, path in MODULES.items() if name.startswith("scanners.")}
ADMIN = {name: path for name, path in MODULES.items() if name.split(".")[0] == "admin"}
PATH = {name: path for name, path in MODULES.items() if name in ARROWS}


def ours(path: Path) -> Iterator[tuple[str, bool]]:
    """What it imports of ours, and whether only in a function."""
    for each in imports(path):
        if each.module == "avcheck":
            yield "__init__", each.lazy
        elif each.module.startswith("avcheck."):
            yield each.module.removeprefix("avcheck."), each.lazy


def test_every_module_has_its_place() -> None:
    assert set(MODULES) - set(SCANNER_MODULES) - set(ADMIN) == set(ARROWS)


@pytest.mark.parametrize("name", ARROWS)
def test_a_module_imports_what_is_drawn_and_no_other(name: str) -> None:
    always, rarely = ARROWS[name]
    assert {module for module, lazy in ours(MODULES[name]) if not lazy} - GROUND == always
    assert {module for module, lazy in ours(MODULES[name]) if lazy} - GROUND - always == rarely


@pytest.mark.parametrize("name", SCANNER_MODULES)
def test_a_scanner_imports_the_ground_and_the_names_of_the_ways(name: str) -> None:
    rows = [row for row in SCANNERS.values() if "scanners." + row.module == name]
    allowed = PROGRAM if any(row.program for row in rows) else SCANNER
    programs = [f"scanners.{row.module}_" for row in SCANNERS.values() if row.program]
    if name.startswith(tuple(programs)):
        allowed = PROGRAM_PART
    parts = {module for module in SCANNER_MODULES if module.startswith(name + "_")}
    assert {module for module, _ in ours(MODULES[name])} <= GROUND | allowed | parts


def test_arrows_point_down() -> None:
    """There is an order in which every module comes before all that it imports."""
    edges = {name: {module for module, _ in ours(path)} for name, path in MODULES.items()}
    below: set[str] = set()
    while len(below) < len(edges):
        next_ = {name for name in edges if name not in below and edges[name] <= below}
        assert next_, f"a circle among {sorted(set(edges) - below)}"
        below |= next_


def test_nobody_imports_the_way_in_nor_the_administrator_s_tool() -> None:
    for name, path in MODULES.items():
        for module, _ in ours(path):
            assert module != "__main__", name
            assert module != "main" or name == "__main__"
            assert not module.startswith("admin") or name in ADMIN, name


@pytest.mark.parametrize("name", sorted(PURE))
def test_what_is_pure_imports_nothing_that_touches_the_world(name: str) -> None:
    foreign = {each.module for each in imports(MODULES[name])} - {"__future__"}
    foreign = {module for module in foreign if not module.startswith("avcheck")}
    assert foreign <= {"errno"}


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
    return module in ("os", "sys", "time", "socket", "select", "subprocess", "child")


@pytest.mark.parametrize("name", sorted({*PATH, *SCANNER_MODULES} - FOR_PEOPLE - {"tls"}))
def test_the_delivery_path_imports_what_is_cheap(name: str) -> None:
    for each in imports(MODULES[name]):
        if each.module.startswith("avcheck") or each.module == "__future__":
            continue
        if each.module in HALVES:
            continue
        if each.fallback:
            assert each.module in HALVES.values(), each.module
        else:
            assert each.module in (CHEAP | DEARER if each.lazy else CHEAP), each.module


def test_whole_modules_are_only_a_fallback_for_their_halves() -> None:
    for name in set(PATH) - FOR_PEOPLE:
        found = [each for each in imports(MODULES[name]) if each.module in HALVES.values()]
        assert all(each.fallback for each in found), name


def test_what_a_person_waits_for_is_imported_by_his_tools_only() -> None:
    for name, path in MODULES.items():
        dear = {each.module for each in imports(path)} & {"click", "clamd", "filelock"}
        assert not dear or name == "usage" or name in ADMIN, name

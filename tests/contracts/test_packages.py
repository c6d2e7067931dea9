"""The Debian packages that `make check` installs are those that the tests need."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

import pytest

from tests.support.servers import packages
from tests.support.tree import ROOT

# A shell that is on every Debian.
ESSENTIAL = {"bash"}

MISSING = "no-such-package"


@functools.cache
def calls() -> list[tuple[str, ast.Call]]:
    """Every call of something that is in something, anywhere in the tests, and its name."""
    return [
        (ast.unparse(call.func), call)
        for path in (ROOT / "tests").rglob("*.py")
        if re.search("packages|unpacked", text := path.read_text())
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    ]


def named(function: str) -> set[str]:
    """The packages that calls of this function name, anywhere in the tests."""
    return {word for name, call in calls() if name == function for word in _strings(call.args)}


def _strings(arguments: list[ast.expr]) -> Iterator[str]:
    for argument in arguments:
        if isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Tuple):
            yield from _strings(argument.value.elts)
        elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value


def test_what_a_test_needs_is_installed_before_all_of_them() -> None:
    assert named("packages.need") - ESSENTIAL <= set(packages.TESTS)
    assert set(packages.TESTS) - named("packages.need") <= {"dash"}


def test_what_is_unpacked_has_its_libraries() -> None:
    assert named("unpacked.unpack") == set(packages.UNPACKED)


def test_a_package_that_is_missing_is_named_and_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packages, "become_root", list)
    with pytest.raises(packages.MissingError, match=f"apt-get install {MISSING}"):
        packages.need(MISSING, commands=["no-such-command"])


def test_without_root_a_test_that_needs_one_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "become_root", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(packages.NotRootError, match=MISSING):
        packages.need(MISSING, commands=["no-such-command"])

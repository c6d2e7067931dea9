"""What __main__ asks of modules that it does not import, because they may be what is broken."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from avcheck import __main__ as way_out
from avcheck import run
from avcheck.directory import remove_leftovers
from avcheck.program import end_all
from avcheck.run import Run

TREE = ast.parse(Path(way_out.__file__).read_text("utf-8"))


def strings(function: str) -> set[tuple[str, ...]]:
    """The words that are given to each call of the function."""
    return {
        tuple(
            each.value
            for each in node.args
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )
        for node in ast.walk(TREE)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function
    }


def test_the_last_things_done_are_functions_that_there_are() -> None:
    last = strings("_last")
    assert last == {
        (end_all.__module__, end_all.__name__),
        (remove_leftovers.__module__, remove_leftovers.__name__),
    }
    for module, function in last:
        assert callable(getattr(importlib.import_module(module), function))


def test_what_is_asked_of_the_current_run_is_there() -> None:
    assert strings("sys.modules.get") == {(run.__name__,), ()}
    assert strings("getattr") == {("current",), ("handed_over",), ("in_doubt",), ()}
    assert hasattr(run, "current")
    assert all(hasattr(Run(), name) for name in ("handed_over", "in_doubt"))


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        ("", 75, "4.3.0 avcheck: bug or broken installation: ValueError: x\n"),
        ("commit", 75, "4.3.0 avcheck: possible duplicate: bug or broken installation"),
        ("mark_handed_over", 0, "handed on; then: bug or broken installation"),
        ("mark_in_doubt", 75, "4.3.0 avcheck: possible duplicate: bug or broken installation"),
    ],
)
def test_a_bug_leaves_with_what_the_current_run_has_come_to(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    state: str,
    status: int,
    said: str,
) -> None:
    older, this = Run(), Run()
    older.mark_handed_over(10)
    if state == "commit":
        this.commit()
    elif state:
        this.mark_handed_over(0)
    if state == "mark_in_doubt":
        this.mark_in_doubt()
    for each in (older, this):
        monkeypatch.setattr(run, "current", each)
    assert way_out._after(ValueError("x")) == status
    assert capfd.readouterr().err.startswith(said)


def test_without_a_run_a_bug_keeps_the_message(capfd: pytest.CaptureFixture[str]) -> None:
    assert run.current is None
    assert way_out._after(ValueError("x")) == 75
    assert capfd.readouterr().err.startswith("4.3.0 avcheck: bug or broken installation")

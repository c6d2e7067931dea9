"""docs/security.md names tests as its evidence: they exist, and every promise has some."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.tree import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def section(title: str) -> str:
    """The text of the section of that title."""
    found = re.search(rf"^## \d+\. {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, title
    return found[1]


def promises() -> dict[str, str]:
    """Each promise of README.md, in its words, with what the page says after it."""
    readme = (ROOT / "README.md").read_text()
    words = re.findall(r"^\d\. \*\*(.*?)\*\*", readme, re.M)
    evidence = re.split(
        r"^\*\*(.*?)\*\*$", section("The promises, and the tests that guard them"), flags=re.M
    )
    by_promise = dict(zip(evidence[1::2], evidence[2::2], strict=True))
    return {promise: by_promise.get(promise, "") for promise in words}


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall(PAGE)
    assert named
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        assert name in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}, file


def test_no_file_of_tests_is_named_in_another_form() -> None:
    """Or nobody would notice when it is gone."""
    assert len(re.findall(r"tests/[\w/]+\.py", PAGE)) == len(NAMED.findall(PAGE))


@pytest.mark.parametrize("promise", promises())
def test_every_promise_is_guarded(promise: str) -> None:
    assert len(NAMED.findall(promises()[promise])) >= 3


@pytest.mark.parametrize(
    "who", ["The sender", "The scanner", "Somebody with an account", "The server that takes"]
)
def test_every_attacker_is_looked_at(who: str) -> None:
    assert f"### {who}" in section("Who could attack, and what he gets")

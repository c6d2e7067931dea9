"""What README.md and the pages of docs/ say of each other, and of the code, is so."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from avcheck import policy, report
from avcheck.admin import pages
from avcheck.options import reading
from avcheck.options.reading import CLIENT
from avcheck.options.rows import OPTIONS
from avcheck.run import Record
from avcheck.scanners.command_programs import PROGRAMS
from avcheck.verdict import CLEAN, Answer, Finding
from tests.command.test_guard import MAPPED
from tests.contracts.test_tables import section
from tests.support.environment import SUCCESS
from tests.support.tree import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

LINK = re.compile(r"\]\(([^):#]*)(?:#([^)]*))?\)")


def service(text: str) -> list[str]:
    """The lines of the first pipe(8) service of a text, without what they are indented by."""
    found = re.search(r"^ *avcheck +unix .*pipe\n(?: +\S.*\n)+", text, re.MULTILINE)
    assert found
    return [line.strip() for line in found[0].splitlines()]


def test_the_service_is_the_same_wherever_it_is_shown() -> None:
    documented = service((ROOT / "docs" / "postfix.md").read_text("utf-8"))
    assert "flags=q user=avclient:avgroup null_sender=" in documented
    assert service(README) == documented
    assert service(section("EXAMPLES")) == documented


def test_the_first_way_that_is_shown_goes_through_the_guard() -> None:
    [argv] = [line for line in service(README) if line.startswith("argv=")]
    guard, avcheck = argv.removeprefix("argv=").split()
    new = f"{guard}.new"
    steps = [f"install -m 755 {avcheck}-guard.sh {new}", f"sync {new}", f"mv -f {new} {guard}"]
    assert "".join(f"        {step}\n" for step in steps) in README


@pytest.mark.parametrize("name", ["install", "programs", "main.cf"])
def test_the_readme_shows_what_the_page_has(name: str) -> None:
    documented = pages.blocks((ROOT / "docs" / "postfix.md").read_text("utf-8"))[name]
    assert textwrap.indent(documented, "    ") in README


def test_every_page_is_named() -> None:
    names = {path.stem for path in (ROOT / "docs").glob("*.md")}
    [line] = re.findall(r"^ +docs/ .*$", README, re.MULTILINE)
    linked = {Path(target).stem for target, _ in LINK.findall(README)}
    assert names == (linked & names) | set(re.findall(r"\w+", line)) & names


def test_the_programs_are_counted() -> None:
    unproved = [program for program in PROGRAMS.values() if program.unproved]
    assert (
        f"{len(PROGRAMS)} are known by name, {len(unproved)} of them by the status alone" in README
    )
    page = (ROOT / "docs" / "scanners.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \| (.*?) \|", page, re.MULTILINE)
    told = ", ".join(names for names, words in rows if "status alone" in words).split(", ")
    unknown = [name.decode() for name, program in PROGRAMS.items() if program.unproved]
    assert sorted(told) == sorted(f"`{name}`" for name in unknown)


def anchors(page: Path) -> set[str]:
    """What a link into a page may name: its headings, as they are spelled in an address."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text("utf-8")):
        other = page.parent / target if target else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), f"{target}#{anchor}"


def test_the_manual_page_says_what_counts_with_c() -> None:
    found = re.search(
        r"It takes\n(.*?)\nwith it\.\nEvery other option is ignored", section("OPTIONS"), re.DOTALL
    )
    assert found
    said = set(re.findall(r"[\w-]+", re.sub(r"\b(?:Fl|and)\b", "", found[1])))
    rows = {row.attribute: row.letter or row.name for row in OPTIONS}
    assert said == {rows[attribute] for attribute in CLIENT} - {"c"}


def test_the_manual_page_names_the_statuses_that_the_guard_keeps() -> None:
    said = re.search(r"it cannot be (\d+), (\d+), (\d+), or (\d+) and above", section("OPTIONS"))
    assert said
    *single, first = map(int, said.groups())
    assert {*single, *range(first, 256)} == (MAPPED | {SUCCESS}) - {0}


def test_the_map_of_the_tests_has_every_folder_and_what_they_stand_on() -> None:
    tests = ROOT / "tests"
    named = set(re.findall(r"`([\w/.]+)`", (tests / "README.md").read_text("utf-8")))
    folders = {f"{path.name}/" for path in tests.iterdir() if (path / "__init__.py").exists()}
    assert folders <= named
    support = {
        path.name if path.is_file() else f"{path.name}/"
        for path in (tests / "support").iterdir()
        if not path.name.startswith("__")
    }
    assert support <= named
    files = {name for name in named if name.endswith(".py") and "/" not in name}
    assert files <= support


def test_the_line_of_the_log_is_as_it_is_shown() -> None:
    page = (ROOT / "docs" / "policy.md").read_text("utf-8")
    found = re.search(r"^    avcheck\[311\]: (.*\n(?: {8}.*\n)+)", page, re.MULTILINE)
    assert found
    shown = " ".join(found[1].split())
    record = Record()
    record.settings = reading.read(
        [b"-c", b"-f", b"anna@example.com", b"bert@example.net"], lambda _: b""
    )
    record.settings.queue_id = b"3FA52"
    record.size, record.action = 1234, policy.DELIVER
    record.answer = Answer("clamd", "", Finding(CLEAN))
    record.answers = [record.answer]
    [said] = re.findall(r"status=0 \((.*)\)$", shown)
    line = report.line_of(record, said, 0)
    assert re.sub(r"\d+\.\d{3}", "N", line) == re.sub(r"\d+\.\d{3}", "N", shown)
    keys = set(re.findall(r"\b(\w+)=", re.sub(r"\(.*", "", line).replace("clamd=", "")))
    table = page[page.index("| before the first key |") :].partition("\n\n")[0]
    assert keys <= set(re.findall(r"`(\w+)`", table))

"""The table of README.md, the manual page, the rows and the tests say the same of a scanner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import pytest

from avcheck.scanners.command_programs import PROGRAMS
from avcheck.scanners.rows import SCANNERS
from tests.contracts.test_tables import PAGE, page_of_scanners
from tests.live import test_emulators, test_rspamd_emulators
from tests.support.tree import ROOT

STATES = ("alive", "superseded", "discontinued")

HEADS = ["`-s`", "product", "state", "usual place", "how the message gets there", "tested with"]


def table() -> dict[str, dict[str, str]]:
    """The README's table of scanners: for each type the cells of its line, by their head."""
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    start = lines.index(f"| {' | '.join(HEADS)} |")
    found: dict[str, dict[str, str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for type_ in re.findall(r"`([^`]+)`", cells[0]):
            found[type_] = dict(zip(HEADS, cells, strict=True))
    return found


TABLE = table()
TYPES = sorted(SCANNERS)
# What the page says of one name of a type counts for the others: those say "Another name".
DAEMONS = [type_ for type_ in TYPES if not SCANNERS[type_].program]


def page(type_: str) -> str:
    return page_of_scanners()[type_]


def test_the_table_has_every_type_and_no_other() -> None:
    assert set(TABLE) == {*SCANNERS, "your.module"}


@pytest.mark.parametrize("type_", TYPES)
def test_the_ways_are_those_of_the_row_in_their_order(type_: str) -> None:
    row = SCANNERS[type_]
    assert TABLE[type_]["how the message gets there"] == ", ".join(row.ways)
    said = re.search(r"Ways: ([^.]+)\.", page(type_))
    if said:  # an other name of the type before it has no such line
        words = re.findall(r"\b(descriptor|stream|path)\b", said[1])
        assert tuple(words[: len(row.ways)]) == row.ways


@pytest.mark.parametrize("type_", TYPES)
def test_the_usual_place_is_that_of_the_row(type_: str) -> None:
    row, cell = SCANNERS[type_], TABLE[type_]["usual place"]
    first = row.where.decode().partition(",")[0]
    assert (f"`{first}`" in cell) if first else ("/" not in cell)
    if row.port:
        assert row.port.decode() in cell


@pytest.mark.parametrize("type_", [type_ for type_ in DAEMONS if type_ != "sock"])
def test_the_page_and_the_table_agree_on_whether_it_is_alive(type_: str) -> None:
    state = TABLE[type_]["state"].partition(",")[0]
    assert state in STATES
    said = re.findall(r"\b(Alive|Superseded|Discontinued)\b", page(type_))
    if said or type_ not in ("icaps",):
        assert [word.lower() for word in said] == [state]


@pytest.mark.parametrize("type_", TYPES)
def test_the_page_and_the_table_agree_on_how_it_was_tested(type_: str) -> None:
    cell, text = TABLE[type_]["tested with"], page(type_)
    if type_ in ("icaps", "trophie"):
        assert "Tested" not in text  # "the same", as the page says
        return
    (said,) = re.findall(r"Tested with (.*)", text)
    assert ("real" in cell) is ("real" in said)
    assert ("emulator only" in cell) is ("emulator only" in said)
    if "real" not in cell:
        for client in ("Exim", "amavisd-new", "rspamd"):
            assert (client in cell) is (client in said), client


class Peer(Protocol):
    """What a test asks beside another's client."""

    @property
    def avcheck(self) -> str:
        """How avcheck is told to ask it."""


def asked(peers: Mapping[str, Peer]) -> set[str]:
    """The types that avcheck is asked by beside another's client."""
    return {re.split(r"[:+]", peer.avcheck)[0] for peer in peers.values()}


@pytest.mark.parametrize(
    ("client", "types"),
    [
        ("Exim", asked(test_emulators.EXIM) | {"clamd", "drweb"}),
        ("amavisd-new", asked(test_emulators.AMAVIS) | {"clamd", "command"}),
        ("rspamd", asked(test_rspamd_emulators.PEERS) | {"icap", "kse"}),
        ("python-clamd", {"clamd"}),
    ],
)
def test_a_client_that_is_named_has_been_asked_and_no_other(client: str, types: set[str]) -> None:
    named = {SCANNERS[type_].module for type_ in SCANNERS if client in TABLE[type_]["tested with"]}
    assert named == {SCANNERS[type_].module for type_ in types}


def test_an_emulator_only_is_one_that_no_other_client_has_been_asked_about() -> None:
    alone = {type_ for type_ in SCANNERS if TABLE[type_]["tested with"] == "an emulator only"}
    others = asked(test_emulators.EXIM) | asked(test_emulators.AMAVIS)
    others |= asked(test_rspamd_emulators.PEERS)
    assert alone == {"avp", "kavdaemon", "aveserver", "mksd"}
    assert not alone & others


def test_the_page_names_every_program_that_is_known_and_no_other() -> None:
    (names,) = re.findall(r"one of the names (.*?), whose exit statuses", page("command"))
    assert set(re.split(r", | and ", names)) == {name.decode() for name in PROGRAMS}


def test_every_type_of_a_place_that_has_to_be_named_says_so() -> None:
    for type_ in ("kse", "savapi", "sock", "icaps"):
        assert "has to be named" in page(type_) or "have to be named" in page(type_), type_
        assert not SCANNERS[type_].where
    assert ".Ql icap+tls" in PAGE


def test_the_document_says_of_every_program_what_proves_clean_or_that_nothing_does() -> None:
    section = (
        (ROOT / "docs" / "scanners.md")
        .read_text()
        .partition("\n## Programs\n")[2]
        .partition("\n## ")[0]
    )
    told = {}
    for names, proof, _ in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) ?\|$", section, re.MULTILINE):
        for name in re.findall(r"`(\w[\w-]*)`", names):
            told[name.encode()] = proof
    assert set(told) == set(PROGRAMS)
    for name, row in PROGRAMS.items():
        assert told[name] == row.unproved or not row.unproved, name
        assert bool(row.unproved) is ("not known" in told[name]), name

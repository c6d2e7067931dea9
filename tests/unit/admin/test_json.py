"""The keys of JSON are those of the table in avcheckctl(8), whichever command prints them."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avcheck.state import metrics
from avcheck.verdict import CLEAN, Answer, Finding
from tests.contracts.test_avcheckctl_manual import commands, page
from tests.support.admin import ENTRY, KnowingClamd, avcheckctl, ctl, entry


def table() -> dict[str, set[str]]:
    """The keys on the page, by command, or by command and the key that they are in."""
    found: dict[str, set[str]] = {}
    part = page().partition(".Sh JSON")[2].partition(".Sh ")[0]
    for item in part.split("\n.It Cm ")[1:]:
        title, _, text = item.partition("\n")
        lines = re.findall(r"^\.Va (.*)$", text.partition(".Pp")[0], re.MULTILINE)
        keys = {word for line in lines for word in line.split() if word != ","}
        first, *others = title.split(" , ")
        group = first.rpartition(" ")[0]
        if group:  # commands of a group
            found |= {f"{group} {each}": keys for each in [first.split()[1], *others]}
        else:
            found[" ".join([first, *others])] = keys
    return found


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What every command prints, where there is something to print."""
    tmp_path.chmod(0o700)
    place = tmp_path / "quarantine"
    entry(place)
    ctl(place, "release", ENTRY, "-S", "unix:/nowhere")
    quarantine = {what: ctl(place, what, "--json").facts for what in ("list", "log")}
    quarantine["show"] = ctl(place, "show", "2", "--json").facts
    quarantine["release"] = ctl(place, "release", "--json", "2", "-S", "unix:/nowhere").facts
    quarantine["expire"] = ctl(place, "expire", "--older", "0s", "--dry-run", "--json").facts
    quarantine["delete"] = ctl(place, "delete", "--yes", "2", "--json").facts
    answer = Answer("clamd", "", Finding(CLEAN), tested=True)
    metrics.add(bytes(tmp_path / "metrics"), "clean", "deliver", [answer])
    scanner = ("-s", f"clamd:{tmp_path}/clamd")
    spool = ("-d", str(tmp_path))
    directory = os.open(tmp_path, os.O_RDONLY)
    with KnowingClamd(tmp_path / "clamd"):
        fcntl.flock(directory, fcntl.LOCK_SH)
        (tmp_path / canary_of(tmp_path)).write_bytes(b"+")
        yield {
            "doctor": avcheckctl("doctor", *scanner, *spool, "--json").facts,
            "ping": avcheckctl("ping", *scanner, "--json").facts,
            "probe": avcheckctl("probe", *scanner, *spool, "--only", "plain", "--json").facts,
            "pause": avcheckctl("pause", "-w", tmp_path / "other", "--json").facts,
            "resume": avcheckctl("resume", "-w", tmp_path / "wait", "--json").facts,
            "status": avcheckctl("status", *scanner, *spool, "--canary", "9", "--json").facts,
            "stats": avcheckctl("stats", "--metrics", tmp_path / "metrics", "--json").facts,
            **{f"quarantine {what}": each for what, each in quarantine.items()},
        }
    os.close(directory)


def canary_of(place: Path) -> str:
    from avcheck.admin.services import settings_from
    from avcheck.options import reading
    from avcheck.state import canary

    settings = settings_from(reading.parse_options([b"-s", f"clamd:{place}/clamd".encode()])[0], [])
    (scanner,) = settings.scanners
    return os.fsdecode(canary.state_file(scanner, scanner.targets[0]))


def keys(facts: Any) -> set[str]:
    """The keys of the object, or of every object in the list, which all have the same."""
    objects = facts if isinstance(facts, list) else [facts]
    assert objects
    (found,) = {frozenset(each) for each in objects}
    return set(found)


def test_the_table_has_every_key_that_is_printed_and_no_other(facts: dict[str, Any]) -> None:
    printed = {command: keys(each) for command, each in facts.items()}
    (state,) = facts["status"]
    printed["status in_flight"] = keys(state["in_flight"])
    printed["status canaries"] = keys(state["canaries"])
    printed["stats latency"] = keys(list(facts["stats"]["latency"].values()))
    assert printed == table()
    assert keys(state["scanners"]) == table()["ping"]
    assert keys(facts["quarantine show"]["acts"]) == table()["quarantine log"]


def test_the_table_has_every_command_with_json() -> None:
    with_json = {name for name, each in commands() if "as_json" in {p.name for p in each.params}}
    assert with_json == {name for name in table() if name.split()[-1] not in INSIDE}


# Keys whose values are objects with a line of their own in the table.
INSIDE = {"in_flight", "canaries", "latency"}


def test_times_are_in_utc(facts: dict[str, Any]) -> None:
    times = [each["time"] for what in ("list", "log") for each in facts[f"quarantine {what}"]]
    times += [each["time"] for each in facts["status"][0]["canaries"]]
    assert times
    assert all(each.endswith(("Z", "+00:00")) for each in times)

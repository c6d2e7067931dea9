"""Parameters that a scanner cannot use are wrong usage, told before a message is read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from avcheck import scanners
from avcheck.exits import Usage
from avcheck.options import arguments
from avcheck.scanners import rows
from avcheck.scanners.rows import SCANNERS
from tests.support.admin import avcheckctl
from tests.support.mta import KEEP, TEMPFAIL, Site
from tests.support.wire import settings

# Type, what follows it, and what is said about it.
WRONG = [
    ("savapi", ":/run/s", "which product?"),
    ("savapi", ":/run/s?product=x", "which product?"),
    ("savapi", ":/run/s?product=1&set=A%0AB", "a line end"),
    ("sock", ":/run/s", "clean is required"),
    ("sock", ":/run/s?clean=(", "clean: missing ), unterminated subpattern"),
    ("sock", ":/run/s?clean=OK&name=*", "name: nothing to repeat"),
    ("sock", ":/run/s?clean=OK&end=crlf", "end is one of"),
    ("sock", ":/run/s?clean=OK&send=SCAN", "send has no {path}"),
    ("sock", ":/run/s?clean=OK,/run/t", "clean is required"),
    ("command", ":/opt/scan", "clean is required"),
    ("command", ":/opt/scan?clean=0", "args has no {path}"),
    ("command", ":/opt/scan?clean=0&args={path}&infected=x", "infected: x is no exit status"),
    ("command", ":/opt/scan?clean=0&args={path}&found=(", "found: missing )"),
    ("command", ":clamscan?name=[", "name: unterminated character set"),
    ("command", ":clamscan?classes=sophos", "only clamav's"),
    ("command", ":/opt/scan?clean=0&args=x&stdin=path", "stdin=path: only message"),
    ("command", ":/opt/scan?clean=0&args=x&stdin=message&passed={path}", "passed has a {path}"),
    ("command", ":nonesuch?clean=0&args={path}", "neither the path of a program"),
    ("kse", ":/run/k?timeout=soon", "timeout=soon: a whole number"),
    ("kse", ":/run/k?timeout=", "timeout=: a whole number"),
    ("kse", ":/run/k?token-header=A%0D%0AB", "the name of a header"),
    ("drweb", ":/run/d?zero=Clean", "zero=Clean: only zero=clean"),
]

RIGHT = {
    "savapi": ":/run/s?product=10776&set=A%201;B%202",
    "sock": ":/run/s?clean=OK.*&end=nul&send=SCAN%20{path}%00",
    "command": ":/opt/scan?clean=0&args={path}&found=virus",
    "kse": ":/run/k?timeout=30&token-header=X-Token",
    "drweb": ":/run/d?zero=clean",
}


@pytest.mark.parametrize(("type_", "where", "what"), WRONG)
def test_wrong_parameters_are_wrong_usage(type_: str, where: str, what: str) -> None:
    with pytest.raises(Usage) as why:
        settings(b"-s", f"{type_}{where}".encode())
    assert what in why.value.text
    assert why.value.text.startswith(f"-s: {type_}: ")


@pytest.mark.parametrize("type_", RIGHT)
def test_right_ones_are_not(type_: str) -> None:
    assert settings(b"-s", f"{type_}{RIGHT[type_]}".encode()).scanners[-1].type == type_


def test_every_row_that_says_so_is_checked_and_no_other() -> None:
    checked = {type_ for type_, row in SCANNERS.items() if row.checked}
    assert checked == set(RIGHT) == {type_ for type_, _, _ in WRONG}
    for type_, row in SCANNERS.items():
        assert hasattr(scanners.load(row), "check") is row.checked, type_


@pytest.mark.parametrize(("type_", "where", "what"), WRONG)
def test_a_backup_is_checked_when_it_is_asked_and_by_whoever_asks_for_it(
    type_: str, where: str, what: str
) -> None:
    (backup,) = settings(b"--backup", f"{type_}{where}".encode()).backups
    with pytest.raises(Usage) as why:
        arguments.check(backup)
    assert what in why.value.text


@pytest.mark.parametrize("words", [["-s", "sock:/run/s?clean=("], ["--backup", "sock:/s"]])
def test_the_administrator_s_tool_looks_at_all_of_them(words: list[str]) -> None:
    said = avcheckctl("ping", "-s", "clamd", *words)
    assert said.status == 2
    assert "sock: " in said.err


def test_a_module_that_is_missing_is_for_who_asks_it_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(row: rows.Row) -> None:
        raise ImportError(row.module)

    monkeypatch.setattr(scanners, "load", load)
    assert settings(b"-s", b"sock:/run/s").scanners[-1].type == "sock"


LOADED = """
import sys
from avcheck.options import reading
words = [b"-f", b"", b"-d", b"/", *(word.encode() for word in sys.argv[1:]), b"r@example.org"]
before = set(sys.modules)
reading.read(words, None)
print(*sorted(set(sys.modules) - before))
"""


def loaded(*words: str) -> set[str]:
    """The modules that reading these options has loaded."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED, *words], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_only_the_scanner_that_will_be_asked_is_loaded_to_check_it() -> None:
    backups = [word for type_, where in RIGHT.items() for word in ("--backup", f"{type_}{where}")]
    assert loaded("-s", "clamd", *backups) == set()
    assert loaded("-s", "drweb", *backups) == {"avcheck.scanners.drweb"}
    assert "avcheck.scanners.sock" in loaded("-s", f"sock{RIGHT['sock']}")


def test_it_is_said_before_the_message_is_read(site: Site) -> None:
    words = site.words("-n", scanners=["savapi:/run/s"])
    run = site.start(words)
    ended = run.end(b"")
    assert ended.status == TEMPFAIL
    assert KEEP.match(ended.output)
    assert ended.output.startswith(b"4.3.5 avcheck: -s: savapi: which product?"), ended


def test_a_wrong_scanner_is_not_made_up_for_by_a_policy_that_lets_pass(site: Site) -> None:
    """One that could not be asked would be FAILED, which --on may take for good."""
    words = site.words("-n", "--on", "failed=deliver", scanners=["sock:/run/s?clean=("])
    assert site.start(words).end(b"Subject: x\n\nx\n").status == TEMPFAIL

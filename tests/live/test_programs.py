"""Programs that `command` knows, played as they are documented, and amavisd-new's word for them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avcheck.scanners import command_programs
from tests.support.emulators import programs
from tests.support.emulators.amavis import Amavis
from tests.support.emulators.asking import Answer, Avcheck
from tests.support.emulators.content import mark

MESSAGE = b"Received: from there\nSubject: a test\nFrom: a@example.org\n\n%b\n"

KINDS: dict[str, tuple[bytes, str, tuple[str, ...]]] = {
    "clean": (b"", "clean", ()),
    "infected": (mark("infected", "EICAR-Test"), "infected", ("EICAR-Test",)),
    "two": (
        mark("infected", "EICAR-Test") + mark("infected", "W32/Other"),
        "infected",
        ("EICAR-Test", "W32/Other"),
    ),
    "infected and encrypted": (
        mark("encrypted") + mark("infected", "EICAR-Test"),
        "infected",
        ("EICAR-Test",),
    ),
    "suspicious": (mark("suspicious", "Type_X"), "suspicious", ("Type_X",)),
    "encrypted": (mark("encrypted"), "encrypted", ()),
    "limits": (mark("limits"), "unscannable", ()),
    "error": (mark("error"), "failed", ()),
    "licence": (mark("licence"), "failed", ()),
}

# What a program has no status for.
NO_SUSPICION = ("savscan", "sweep", "avscanner", "esets_cli", "ecls", "odscan", "uvscan")
OTHERWISE = {
    **{(name, "suspicious"): "infected" for name in (*NO_SUSPICION, "bdscan", "avastcmd")},
    # Counted as what could not be read.
    ("bdscan", "encrypted"): "failed",
    ("bdscan", "limits"): "failed",
}
# And no words either, as far as is known: what it leaves out nobody can tell.
SILENT = {
    (name, kind) for name in ("drweb", "uvscan", "avastcmd") for kind in ("encrypted", "limits")
}

NAMES = sorted(programs.PROGRAMS)
CASES = [(name, kind) for name in NAMES for kind in KINDS if (name, kind) not in SILENT]


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="avcheck-programs-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def ours(command: Path, directory: Path) -> Avcheck:
    return Avcheck(command, directory)


@pytest.fixture(scope="module")
def amavis(directory: Path) -> Iterator[Amavis]:
    with Amavis(directory) as asking:
        yield asking


@pytest.fixture(scope="module")
def mine(ours: Avcheck, directory: Path) -> Callable[[str, str], Answer]:
    """What avcheck makes of a message of that kind by that program; each is asked once."""

    @functools.cache
    def ask(name: str, kind: str) -> Answer:
        program = programs.install(name, directory)
        return ours.ask(f"command:{program}", MESSAGE % KINDS[kind][0])

    return ask


def expected(name: str, kind: str) -> tuple[str, tuple[str, ...]]:
    _, verdict, names = KINDS[kind]
    return OTHERWISE.get((name, kind), verdict), names


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_program_that_does_as_its_manual_says(
    name: str, kind: str, mine: Callable[[str, str], Answer]
) -> None:
    answer = mine(name, kind)
    assert (answer.verdict, answer.names) == expected(name, kind), answer


def test_every_program_that_is_known_is_played_but_for_the_real_ones() -> None:
    known = {name.decode() for name in command_programs.PROGRAMS}
    assert known == {*NAMES, "clamscan", "clamdscan"}


# The other client.

# Not in Debian's list, or not to be asked by it: -path={} goes to drweb as it is written.
NO_ENTRY = ("avscanner", "ecls", "odscan", "drweb")
# What amavisd-new takes for clean: to be left to "one may prefer", a comment there says.
LENIENT = {
    "savscan": ("encrypted", "limits", "error", "licence"),
    "kavscanner": ("encrypted", "limits"),
    "aveclient": ("encrypted", "limits"),
    "fpscan": ("encrypted", "limits"),
    "bdscan": ("encrypted", "limits", "error"),
}


# What it takes for trouble of the program's: a sum of statuses that is not in its list.
STRICT = {("fpscan", "infected and encrypted")}
# Other names of one that is asked.
SAME = ("sweep", "kav4fs-kavscanner")
ASKED = [case for case in CASES if case[0] not in (*NO_ENTRY, *SAME)]


@pytest.mark.parametrize(("name", "kind"), ASKED)
def test_amavis_and_avcheck_agree_on_a_program(
    name: str,
    kind: str,
    mine: Callable[[str, str], Answer],
    amavis: Amavis,
    directory: Path,
) -> None:
    ours = mine(name, kind)
    other = amavis.ask_program(programs.install(name, directory), MESSAGE % KINDS[kind][0])
    if kind in LENIENT.get(name, ()):
        assert ours.verdict in ("encrypted", "unscannable", "failed"), ours
        assert other.verdict == "clean", other
    elif (name, kind) in STRICT:
        assert (ours.verdict, other.verdict) == ("infected", "failed"), (ours, other)
    elif ours.verdict in ("infected", "suspicious"):
        assert other.verdict == "infected", (ours, other)
        for known, theirs in zip(ours.names, other.names, strict=True):
            assert theirs.split()[0] == known, (ours, other)
    else:
        assert (ours.verdict == "clean") is (other.verdict == "clean"), (ours, other)

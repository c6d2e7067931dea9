"""avcheckctl, run by root, in directories of an account that is hostile.

Whatever that account does there, before or meanwhile: no file of root's is made, changed,
read, given away or removed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck.admin import account, pausing, places
from avcheck.state.waitfile import Note
from tests.support.admin import ENTRY, avcheckctl, ctl, entry
from tests.support.hostile import NOBODY, Facts, Stage, staged
from tests.support.installed import interpreter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be betrayed")


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


# Links, and directories in the place of others.

COMMANDS = {
    "pause": ["pause", "-w", "@/new"],
    "pause where there is one": ["pause", "-w", "@/wait"],
    "resume": ["resume", "-w", "@/wait"],
    "status of the waitfile": ["status", "-w", "@/wait"],
    "status of the spool": ["status", "-d", "@"],
    "wait": ["pause", "-w", "@/new", "-d", "@", "--wait", "--limit", "0s"],
    "stats": ["stats", "--metrics", "@/secret"],
    "config": ["status", "--config", "@/secret"],
    "list": ["quarantine", "list", "--directory", "@/quarantine"],
    "show": ["quarantine", "show", "--directory", "@/quarantine", "2"],
    "release": ["quarantine", "release", "--directory", "@/quarantine", "-S", "/bin/true", "2"],
    "delete": ["quarantine", "delete", "--directory", "@/quarantine", "--yes", "2"],
    "expire": ["quarantine", "expire", "--directory", "@/quarantine", "--older", "0s"],
    "log": ["quarantine", "log", "--directory", "@/quarantine"],
}


def filled(command: str, place: Path) -> list[str]:
    return [word.replace("@", str(place)) for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_leads_root_nowhere(stage: Stage, command: str) -> None:
    link = stage.link("run", stage.roots)
    before = stage.intact()
    said = avcheckctl(*filled(command, link))
    assert said.status == 2
    assert "symbolic link" in said.err
    assert stage.intact() == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_of_roots_that_was_moved_is_not_worked_in(stage: Stage, command: str) -> None:
    """As the account may do with lost+found, where the spool directory is a file system."""
    moved = Stage(stage.spool / "moved", stage.spool)
    stage.roots.rename(moved.roots)
    before = moved.intact()
    said = avcheckctl(*filled(command, moved.roots))
    assert said.status == 2
    assert "could put another directory in its place" in said.err
    assert moved.intact() == before


def test_a_quarantine_that_is_a_link_is_not_worked_in(stage: Stage) -> None:
    link = stage.link("quarantine", stage.roots / "quarantine")
    before = stage.intact()
    for words in (["expire", "--older", "0s"], ["delete", "--yes", "2"], ["list"]):
        said = ctl(link, words[0], *words[1:])
        assert said.status == 2
        assert "symbolic link" in said.err
    assert stage.intact() == before


@pytest.mark.parametrize("kind", ["entry", "about.json", "message"])
def test_an_entry_that_is_a_link_shows_nothing_of_roots(stage: Stage, kind: str) -> None:
    place = stage.spool / "quarantine"
    made = entry(place)
    target = stage.roots / "quarantine" / ENTRY
    if kind == "entry":
        made.rename(place / "old")
        made.symlink_to(target)
    else:
        (made / kind).unlink()
        (made / kind).symlink_to(stage.roots / "secret")
    stage.give()
    before = stage.intact()
    for words in (["list"], ["show", "2"], ["show", "2", "--raw"], ["expire", "--older", "0s"]):
        said = ctl(place, words[0], *words[1:])
        assert "definitions" not in said.out + said.err
    assert stage.intact() == before


@pytest.mark.parametrize("name", [".log", ".lock", ".new"])
def test_what_belongs_to_the_quarantine_may_be_a_link(stage: Stage, name: str) -> None:
    place = stage.spool / "quarantine"
    entry(place)
    target = stage.roots / ("quarantine" if name == ".new" else "secret")
    (place / name).symlink_to(target)
    stage.give()
    before = stage.intact()
    for words in (["list"], ["log"], ["expire", "--older", "0s"]):
        ctl(place, words[0], *words[1:])
    assert stage.intact() == before


@pytest.mark.parametrize("name", ["wait", "wait.new", "wait.lock"])
def test_what_belongs_to_the_waitfile_may_be_a_link(stage: Stage, name: str) -> None:
    stage.link(name, stage.roots / "secret")
    before = stage.intact()
    for command in ("pause", "status", "resume"):
        avcheckctl(command, "-w", stage.spool / "wait")
    assert stage.intact() == before


def test_what_root_makes_belongs_to_the_owner_of_the_directory(stage: Stage) -> None:
    wait = stage.spool / "wait"
    assert avcheckctl("pause", "-w", wait, "-d", stage.spool).status == 0
    made = {path.name: path.stat().st_uid for path in stage.spool.iterdir()}
    assert made == {"wait": NOBODY, "wait.lock": NOBODY}
    assert b"\nheld " in wait.read_bytes()


def test_a_waitfile_of_roots_is_not_given_away(stage: Stage) -> None:
    """Those who are held back cannot add to it, so it does not count them."""
    wait = stage.roots / "new"
    said = avcheckctl("pause", "-w", wait, "-d", stage.spool, "--reason", "a new disk")
    assert said.status == 0
    assert wait.stat().st_uid == 0
    assert b"held" not in wait.read_bytes()
    assert "not counted" in avcheckctl("resume", "-w", wait).out


# The same at the worst moment.


@pytest.fixture
def swapped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The spool directory is looked at, and is a link of the account's when it is used."""
    real = account.account
    above = stage.spool.parent

    def swap(user: int) -> object:
        if not (above / "old").exists():
            stage.spool.rename(above / "old")
            stage.spool.symlink_to(stage.roots)
            os.chown(stage.spool, NOBODY, NOBODY, follow_symlinks=False)
        return real(user)

    monkeypatch.setattr(places, "account", swap)
    return stage


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_looked_at_is_what_is_used(swapped: Stage, command: str) -> None:
    entry(swapped.spool / "quarantine")
    (swapped.spool / "wait").write_bytes(Note("x").render())
    swapped.give()
    before = swapped.intact()
    avcheckctl(*filled(command, swapped.spool))
    assert (swapped.spool.parent / "old").exists()
    assert swapped.intact() == before


def test_what_is_made_is_made_in_what_was_looked_at(swapped: Stage) -> None:
    swapped.roots.chmod(0o777)  # where the account itself might write, it is not led either
    pausing.write(pausing.Place(bytes(swapped.spool / "new"), b""), Note("x"))
    assert (swapped.spool.parent / "old" / "new").exists()
    assert not (swapped.roots / "new").exists()


SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
print("ready", flush=True)
while True:
    libc.renameat2(-100, b"one", -100, b"two", 2)  # RENAME_EXCHANGE
"""


@pytest.mark.parametrize("other", ["link", "moved"])
def test_a_race_is_not_won(stage: Stage, other: str) -> None:
    """Directory and link, or directory and directory of root's, change places all the time."""
    (stage.spool / "one").mkdir(mode=0o700)
    if other == "link":
        stage.link("two", stage.roots)
    stage.give()
    his = stage
    if other == "moved":
        his = Stage(stage.spool / "two", stage.spool)
        stage.roots.rename(his.roots)
    before = inside(his)
    swapper = subprocess.Popen(
        [interpreter(), "-c", SWAP, str(stage.spool)],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        stdout=subprocess.PIPE,
    )
    try:
        assert swapper.stdout is not None
        assert swapper.stdout.readline() == b"ready\n"
        statuses = set()
        for _ in range(50):
            for command in ("pause", "resume", "status of the spool", "expire", "stats"):
                statuses.add(avcheckctl(*filled(command, stage.spool / "one")).status)
    finally:
        swapper.kill()
        swapper.communicate()
    assert 2 in statuses
    if other == "moved":
        roots = next(path for path in stage.spool.iterdir() if path.stat().st_uid == 0)
        his = Stage(roots, stage.spool)
    assert inside(his) == before


def inside(stage: Stage) -> dict[str, Facts]:
    """What is in root's directory, wherever that is now."""
    facts = {name.removeprefix(str(stage.roots)): each for name, each in stage.intact().items()}
    del facts[""]
    return facts


def test_a_lock_is_the_owners(stage: Stage) -> None:
    with pausing.alone(pausing.Place(bytes(stage.spool / "wait"), b"")):
        assert os.geteuid() == 0
        code = "import sys; from avcheck.admin import main; main()"
        words = [sys.executable, "-c", code, "pause", "-w", str(stage.spool / "wait")]
        second = subprocess.run(words, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "another avcheckctl" in second.stderr
    assert (stage.spool / "wait.lock").stat().st_uid == NOBODY

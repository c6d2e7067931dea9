"""avcheckctl, run by root, where the account of avcheck or of the scanner is hostile.

Whatever that account does in its own directories, before or meanwhile: no file of root's
is made, changed, read, given away or removed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from avcheck import options
from avcheck.admin import account, checks, clamdconf, given, hold, peer, places, postfix, stats
from avcheck.admin.checks import Look
from avcheck.admin.output import Trouble
from avcheck.waitfile import Note
from tests.admin import Said, avcheckctl
from tests.fakes import Program
from tests.live.installed import interpreter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be betrayed")

NOBODY = 65534
ENTRY = "20260102T030405Z-0123456789ab"

Facts = tuple[str, int, int, int, int, bytes]


@dataclass(frozen=True)
class Stage:
    """A directory of root's, a spool directory of the account's, and what root's was at first."""

    roots: Path
    spool: Path

    def intact(self) -> dict[str, Facts]:
        """All of root's files: kind and mode, owner, group, links, time of change, content."""
        found: dict[str, Facts] = {}
        for path in [self.roots, *sorted(self.roots.rglob("*"))]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (
                oct(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_nlink,
                status.st_ctime_ns,
                content,
            )
        return found

    def link(self, name: str, target: Path) -> Path:
        """A symbolic link that the account has made."""
        made = self.spool / name
        made.symlink_to(target)
        os.chown(made, NOBODY, NOBODY, follow_symlinks=False)
        return made

    def give(self) -> None:
        """All in the spool directory belongs to the account."""
        for path in (self.spool, *self.spool.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="avcheck-test-", dir="/var/tmp") as name:
        base = Path(name)
        base.chmod(0o755)
        made = Stage(base / "roots", base / "spool")
        made.roots.mkdir(mode=0o755)
        made.spool.mkdir(mode=0o710)
        entry(made.roots / "quarantine")
        (made.roots / "secret").write_text("MaxThreads 3\nvirus definitions\n")
        (made.roots / "secret").chmod(0o600)
        (made.roots / "wait").write_bytes(Note("root's own", "", "root").render())
        (made.roots / "slot.0").touch()
        (made.roots / "canary.00").write_bytes(b"+")
        made.give()
        yield made


def entry(quarantine: Path, sendmail: str = "") -> Path:
    """An entry, in a quarantine that is made where it is not there."""
    quarantine.mkdir(mode=0o700, exist_ok=True)
    place = quarantine / ENTRY
    place.mkdir(mode=0o700)
    (place / "message").write_text("Subject: x\n\nx\n")
    facts = {
        "time": "2026-01-02T03:04:05Z",
        "verdict": "infected",
        "sender": "a@example.org",
        "recipients": ["b@example.org"],
        "sendmail": sendmail,
    }
    (place / "about.json").write_text(json.dumps(facts))
    return place


def ctl(directory: Path, what: str, *words: str) -> Said:
    return avcheckctl("quarantine", what, "--directory", directory, *words)


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
        for _ in range(100):
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


# Files that root is led to read.


@pytest.mark.parametrize("kind", ["pipe", "link", "zero", "sparse", "directory"])
def test_the_metrics_are_a_file_of_the_account_or_nothing(stage: Stage, kind: str) -> None:
    file = stage.spool / "metrics"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    elif kind == "sparse":
        file.touch()
        os.truncate(file, 1 << 40)
    else:
        file.symlink_to("/dev/zero" if kind == "zero" else stage.roots / "secret")
    stage.give()
    said = avcheckctl("stats", "--metrics", file)
    assert said.status == 2
    assert "metrics" in said.err


def test_root_reads_the_metrics_as_the_account(stage: Stage) -> None:
    os.link(stage.roots / "secret", stage.spool / "metrics")
    with pytest.raises(Trouble, match="Permission denied"):
        stats.gather([bytes(stage.spool / "metrics")])


def scanner_named(path: Path) -> peer.Peer:
    return peer.Peer(7, NOBODY, (NOBODY,), "/", ("clamd", "-c", str(path)))


@pytest.mark.parametrize("kind", ["secret", "pipe", "zero", "sparse"])
def test_the_file_that_a_scanner_names_is_read_as_the_scanner(stage: Stage, kind: str) -> None:
    file = stage.roots / "secret"
    if kind != "secret":
        file = stage.spool / "conf"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "sparse":
        file.touch()
        os.truncate(file, 1 << 40)
    stage.give()
    assert clamdconf.of("", scanner_named(file)) is None


def test_the_file_of_an_honest_scanner_is_read(stage: Stage) -> None:
    file = stage.spool / "conf"
    file.write_text("MaxThreads 3\n")
    stage.give()
    conf = clamdconf.of("", scanner_named(file))
    assert conf is not None
    assert conf.number("MaxThreads") == 3
    assert clamdconf.of("", scanner_named(Path("conf"))) is None


LISTEN = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    listener.accept()[0].close()
"""


@pytest.mark.parametrize("honest", [False, True])
def test_whoever_listens_names_no_file_of_roots(stage: Stage, honest: bool) -> None:
    where = stage.spool / "clamd"
    script = stage.spool / "listen"
    script.write_text(LISTEN)
    (stage.spool / "conf").write_text("MaxThreads 3\n")
    stage.give()
    conf = stage.spool / "conf" if honest else stage.roots / "secret"
    words = [str(each) for each in (interpreter(), script, where, f"--config-file={conf}")]
    with subprocess.Popen(
        words, user=NOBODY, group=NOBODY, extra_groups=[], stdout=subprocess.PIPE
    ) as listener:
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"ready\n"
            look = looking(stage, where)
            (_, target), *_ = look.targets
            found = look.peer(target)
            assert found is not None
            assert (found.uid, clamdconf.from_argv(found.argv)) == (NOBODY, str(conf))
            assert (look.conf is not None) == honest
        finally:
            listener.kill()


def looking(stage: Stage, socket: Path) -> Look:
    words = [b"-d", bytes(stage.spool), b"-s", b"clamd:" + bytes(socket)]
    return Look(given.Service("x", given.settle(options.split(words)[0], [])))


def test_a_clamconf_that_is_asked_is_asked_as_the_scanner(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = stage.roots / "bin"
    programs.mkdir()
    out = stage.spool / "who"
    (programs / "clamconf").write_text(f"#!/bin/sh\nid -u > {out}\n")
    (programs / "clamconf").chmod(0o755)
    (stage.spool / "clamd.conf").write_text("MaxThreads 3\n")
    stage.give()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert clamdconf.of("", scanner_named(stage.spool / "clamd.conf")) is not None
    assert out.read_text() == f"{NOBODY}\n"


def test_a_postfix_of_somebody_else_is_read_as_somebody_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = stage.roots / "bin"
    programs.mkdir()
    (programs / "postconf").write_text("#!/bin/sh\nid -u\n")
    (programs / "postconf").chmod(0o755)
    monkeypatch.setattr(postfix, "PLACES", str(programs))
    assert postfix.ask(str(stage.spool), "-M") == f"{NOBODY}\n"
    assert postfix.ask(str(stage.roots), "-M") == "0\n"
    assert postfix.ask("", "-M") == "0\n"


def test_a_socket_is_connected_to_as_the_account(stage: Stage) -> None:
    """Through a link it would be one that only root may talk to."""
    where = stage.roots / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where))
        listener.listen()
        where.chmod(0o600)
        stage.link("s", where)
        look = looking(stage, stage.spool / "s")
        (_, target), *_ = look.targets
        assert look.peer(target) is None
        assert peer.listener(bytes(stage.spool / "s")) == os.getpid()


def test_doctor_looks_at_a_spool_that_is_not_safe_as_nobody_in_particular(stage: Stage) -> None:
    link = stage.link("run", stage.roots)
    before = stage.intact()
    words = ["-d", str(link), "-w", f"{link}/wait", "-s", "clamd:/nowhere", "-S", "unix:/nowhere"]
    said = avcheckctl("doctor", "--json", *words)
    assert said.status == 1
    found = {each["check"]: each for each in said.facts}
    for name in ("spool_usable", "spool_left_behind", "waitfile", "scanner_knows_virus"):
        assert found[name]["level"] == checks.ERROR
        assert "symbolic link" in found[name]["text"]
    assert stage.intact() == before


# What is recorded is not run by root.


@pytest.mark.parametrize("where", ["about.json", ".log"])
def test_a_recorded_command_is_run_as_the_owner_of_the_quarantine(stage: Stage, where: str) -> None:
    out = stage.spool / "who"
    program = stage.spool / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\ngrep -E '^Uid' /proc/$$/status > {out}\n")
    program.chmod(0o755)
    place = stage.spool / "quarantine"
    entry(place, str(program) if where == "about.json" else "")
    if where == ".log":
        act = {"time": "t", "what": "released", "entry": "e", "by": "b", "sendmail": str(program)}
        (place / ".log").write_text(json.dumps(act) + "\n")
    stage.give()
    said = ctl(place, "release", "2")
    assert said.status == 0, said.err
    assert "released as nobody" in said.out
    assert out.read_text().split() == ["Uid:", *[str(NOBODY)] * 4]


def test_an_entry_of_somebody_else_in_roots_quarantine_is_none(
    stage: Stage, tmp_path: Path
) -> None:
    program = Program(tmp_path / "sendmail")
    place = stage.roots / "own"
    made = entry(place, str(program.path))
    os.chown(made, NOBODY, NOBODY)
    said = ctl(place, "release", "2")
    assert said.status == 2
    assert "no such entry" in said.err
    assert program.calls == 0


def test_a_lock_is_the_owners(stage: Stage) -> None:
    with hold.alone(hold.Place(bytes(stage.spool / "wait"), b"")):
        assert os.geteuid() == 0
        code = "import sys; from avcheck.admin import main; main()"
        words = [sys.executable, "-c", code, "pause", "-w", str(stage.spool / "wait")]
        second = subprocess.run(words, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "another avcheckctl" in second.stderr
    assert (stage.spool / "wait.lock").stat().st_uid == NOBODY

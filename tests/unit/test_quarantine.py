"""The action quarantine: the message is in the directory, whole and on disk, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import traced
from tests.support.mta import MAIL, RECIPIENT, SENDER, Running, Site, until
from tests.support.servers import packages
from tests.support.traced import Call
from tests.support.tree import ROOT
from tests.unit.test_policy_table import first_column

HANDLER = ROOT / "scripts" / "infected.sh"

FOUND = b"Eicar-Test-Signature FOUND"

# Addresses as strangers choose them; a line break and NUL are refused at the door.
HOSTILE = [
    b"-rf",
    b"'; touch oops; '",
    b'"quoted \\" local part"@example.org',
    b"\x01\x07\x1b[31m\x7f\t@example.org",
    "jürgen@müller.example \U0001f600 \u20ac \ud7ff \U0010ffff".encode(),
    # Not UTF-8: overlong, a surrogate, too high, cut off, Latin-1.
    b"\xc0\x80 \xe0\x80\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xf5 \xe2\x82",
    "jürgen@müller.example".encode("latin-1"),
    bytes(set(range(1, 256)) - {0x0A, 0x0D}),
]


class Quarantine:
    """A quarantine directory and what can be seen in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def action(self) -> str:
        return f"infected=quarantine:{self.path}"

    @property
    def entries(self) -> list[Path]:
        """What can be seen."""
        if not self.path.is_dir():
            return []
        return [path for path in self.path.iterdir() if path.name != ".new"]

    @property
    def unfinished(self) -> list[Path]:
        new = self.path / ".new"
        return list(new.iterdir()) if new.is_dir() else []

    @property
    def about(self) -> dict[str, Any]:
        """The sidecar of the only entry."""
        (entry,) = self.entries
        about: dict[str, Any] = json.loads((entry / "about.json").read_bytes().decode("ascii"))
        return about

    def assert_whole(self, count: int = 1, message: bytes = MAIL) -> None:
        """So many entries can be seen, and each is complete."""
        assert len(self.entries) == count
        for entry in self.entries:
            assert sorted(path.name for path in entry.iterdir()) == ["about.json", "message"]
            assert (entry / "message").read_bytes() == message
            about = json.loads((entry / "about.json").read_text())
            assert about["sha256"] == hashlib.sha256(message).hexdigest()
            assert about["entry"] == entry.name

    def assert_nothing(self) -> None:
        assert self.entries == []
        assert self.unfinished == []


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine")


@pytest.fixture
def infected(site: Site) -> Site:
    """A site where every message is infected."""
    site.clamd(says=FOUND)
    return site


# What is stored.


def test_the_message_and_what_is_known_about_it_are_stored(
    infected: Site, quarantine: Quarantine
) -> None:
    before = int(time.time())
    ended = infected.deliver("--on", quarantine.action, "--queue-id", "4abc")
    after = time.time()
    quarantine.assert_whole()
    (entry,) = quarantine.entries
    about = quarantine.about
    assert about == {
        "entry": entry.name,
        "time": about["time"],
        "host": os.uname().nodename,
        "queue_id": "4abc",
        "verdict": "infected",
        "virus": "Eicar-Test-Signature",
        "scanner": "clamd",
        "text": "fd[10]: Eicar-Test-Signature FOUND",
        "sha256": hashlib.sha256(MAIL).hexdigest(),
        "sender": SENDER.decode(),
        "sendmail": about["sendmail"],
        "recipients": [RECIPIENT.decode()],
        "size": len(MAIL),
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", about["time"])
    assert re.fullmatch(r"/.*/avcheck -c -S 127\.0\.0\.1:\d+", about["sendmail"])
    stamp = time.strptime(about["time"] + " UTC", "%Y-%m-%dT%H:%M:%SZ %Z")
    assert before <= time.mktime(stamp) - time.timezone <= after
    compact = re.sub("[-:]", "", about["time"])
    assert re.fullmatch(rf"{compact}-[0-9a-f]{{12}}", entry.name)
    words = f"infected: Eicar-Test-Signature; quarantined as {entry.name}\n"
    assert (ended.status, ended.output.decode()) == (0, words)
    assert infected.left == []
    assert infected.delivered == []
    assert quarantine.unfinished == []


def test_the_findings_of_several_scanners_are_in_the_sidecar(
    site: Site, quarantine: Quarantine
) -> None:
    scanners = [f"clamd:{site.clamd(says=name + b' FOUND').where}" for name in (b"One", b"Two")]
    assert site.deliver("--on", quarantine.action, scanners=scanners).status == 0
    assert quarantine.about["virus"] == "One, Two"
    assert quarantine.about["scanner"] == "clamd"
    assert quarantine.about["text"] == "fd[10]: One FOUND; fd[10]: Two FOUND"


def test_what_no_scanner_looked_at_can_be_kept_too(site: Site, quarantine: Quarantine) -> None:
    action = f"failed=quarantine:{quarantine.path}"
    assert site.deliver("--on", action, scanners=["clamd:/nonexistent"]).status == 0
    quarantine.assert_whole()
    assert quarantine.about["verdict"] == "failed"
    assert quarantine.about["virus"] == ""
    assert "/nonexistent" in quarantine.about["text"]


def test_the_page_has_every_key(infected: Site, quarantine: Quarantine) -> None:
    assert infected.deliver("--on", quarantine.action).status == 0
    assert set(first_column("The quarantine")) == quarantine.about.keys()


def test_every_byte_of_an_envelope_can_be_had_back(infected: Site, quarantine: Quarantine) -> None:
    for number, sender in enumerate((b"", *HOSTILE)):
        ended = infected.deliver("--on", quarantine.action, sender=sender, recipients=HOSTILE)
        assert ended.status == 0, ended
        about = quarantine.about
        assert os.fsencode(about["sender"]) == sender
        assert [os.fsencode(recipient) for recipient in about["recipients"]] == HOSTILE
        quarantine.path.rename(infected.directory / f"done{number}")


@pytest.mark.parametrize(
    "message",
    [b"", b"\0", b"no newline at the end", b"\r\n" * 3, os.urandom(3_000_000)],
    ids=["empty", "NUL", "no newline", "CRLF", "large"],
)
def test_any_bytes_are_a_message(infected: Site, quarantine: Quarantine, message: bytes) -> None:
    assert infected.deliver("--on", quarantine.action, message=message).status == 0
    quarantine.assert_whole(message=message)
    assert quarantine.about["size"] == len(message)


def test_it_is_private_whatever_the_umask_of_the_caller(
    infected: Site, quarantine: Quarantine
) -> None:
    words = infected.words("--on", quarantine.action)
    permissive = ["/bin/sh", "-c", 'umask 0; exec "$0" "$@"']
    assert infected.start([*permissive, *words]).end(MAIL).status == 0
    for path in [quarantine.path, *quarantine.path.rglob("*")]:
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600), path


def test_the_sidecar_is_the_one_of_infected_sh(infected: Site, quarantine: Quarantine) -> None:
    """Whoever reads the one reads the other: same keys in the same order, same values."""
    handler = infected.directory / "infected.sh"
    text = HANDLER.read_text()
    for name, value in (("settings", f"{infected.directory}/none"), ("notify", "")):
        text, changed = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", text)
        assert changed == 1
    handler.write_text(text)
    handler.chmod(0o700)
    by_handler = Quarantine(infected.spool / "quarantine")

    words = ("--queue-id", "4abc\x07\xff", "-i", str(handler))
    for more in ((), ("--on", quarantine.action)):
        ended = infected.deliver(*words, *more, sender=HOSTILE[-1], recipients=HOSTILE)
        assert ended.status == 0, ended
    ours, theirs = quarantine.about, by_handler.about
    assert list(ours) == list(theirs)
    # The same message with the same queue id: a site may change from one to the other.
    assert ours["entry"].partition("-")[2] == theirs["entry"].partition("-")[2]
    for key in ("entry", "time"):
        shape = r"[^0-9a-f]|(?<=-)[0-9a-f]{12}"
        assert re.findall(shape, ours.pop(key))[:-1] == re.findall(shape, theirs.pop(key))[:-1]
    assert ours == theirs
    names = [
        sorted(path.name for path in each.entries[0].iterdir()) for each in (quarantine, by_handler)
    ]
    assert names[0] == names[1]


def test_fifty_at_once_have_fifty_names(infected: Site, quarantine: Quarantine) -> None:
    """The first of them make the directory, all at once."""
    words = infected.words("--on", quarantine.action)
    running = [infected.start(words).feed() for _ in range(50)]
    ended = [each.end() for each in running]
    assert [each.status for each in ended] == [0] * 50
    quarantine.assert_whole(50)
    said = {each.output.decode().split()[-1] for each in ended}
    assert said == {entry.name for entry in quarantine.entries}
    assert quarantine.unfinished == []


# Durable.


def steps(site: Site, quarantine: Quarantine, *more: str) -> list[Call]:
    """The system calls of a run that have to do with the quarantine."""
    everything = traced.calls(site, site.words("--on", quarantine.action, *more))
    # (The launcher's are not avcheck's: there is a second exec where a path has blanks in it.)
    return [
        call for call in everything if str(quarantine.path) in call.words and call.name != "execve"
    ]


def at(calls: list[Call], name: str, words: str) -> int:
    """The place of the only such call among the calls."""
    (place,) = [
        number
        for number, call in enumerate(calls)
        if re.fullmatch(name, call.name) and re.search(words, call.words)
    ]
    return place


@pytest.mark.parametrize("slash", ["", "/"])
def test_it_is_on_disk_before_the_exit(infected: Site, quarantine: Quarantine, slash: str) -> None:
    words = infected.words("--on", quarantine.action + slash)
    everything = traced.calls(infected, words)
    quarantine.assert_whole()
    calls = [call for call in everything if str(infected.directory) in call.words]
    path, (entry,) = re.escape(str(quarantine.path)), quarantine.entries
    rename = at(calls, "rename(at2?)?", entry.name)
    message = at(calls, "fsync", rf"^\d+<{path}/\.new/{entry.name}/message>$")
    sidecar = at(calls, "fsync", rf"^\d+<{path}/\.new/{entry.name}/about\.json>$")
    inside = at(calls, "fsync", rf"^\d+<{path}/\.new/{entry.name}>$")
    writes = [
        number
        for number, call in enumerate(calls)
        if call.name == "write" and f"/{entry.name}/" in call.words
    ]
    syncs = [
        number
        for number, call in enumerate(calls)
        if call.name == "fsync" and re.fullmatch(rf"\d+<{path}>", call.words)
    ]
    assert max(writes) < max(message, sidecar)
    assert max(message, sidecar, inside) < rename < syncs[-1]
    # The directory is new: its own name, and .new in it, have to be on disk as well.
    made = [number for number, call in enumerate(calls) if call.name.startswith("mkdir")]
    parent = at(calls, "fsync", rf"^\d+<{re.escape(str(quarantine.path.parent))}>$")
    assert made[0] < parent < rename
    assert made[1] < syncs[0] < rename


MUST_WORK = ("fsync", "write", "rename", "renameat", "mkdir", "mkdirat", "openat")


def test_whatever_fails_it_is_stored_whole_or_not_at_all(
    infected: Site, quarantine: Quarantine
) -> None:
    calls = steps(infected, quarantine)
    # A directory that was only read cannot fail to close.
    end = f"<{quarantine.path}>"
    calls = [call for call in calls if call.name != "close" or not call.words.endswith(end)]
    assert {"fsync", "write", "openat"} <= {call.name for call in calls}
    failures = [(call, "EIO") for call in calls]
    failures += [(call, "ENOSPC") for call in calls if call.name in ("write", "mkdir", "mkdirat")]
    for number, (call, error) in enumerate(failures):
        each = Quarantine(infected.directory / f"q{number:09d}")
        ended = traced.failing(infected, infected.words("--on", each.action), call, error)
        if call.name in MUST_WORK:
            assert ended.status == 75, (call, error, ended)
        if ended.status == 75:
            assert re.match(rb"4\.3\.[01] avcheck: ", ended.output), (call, error, ended)
            assert b"bug" not in ended.output, (call, error, ended)
            assert (error == "ENOSPC") == ended.output.startswith(b"4.3.1 "), (call, ended)
            assert each.entries == [], (call, error)
            assert each.unfinished == [], (call, error)
        else:
            assert ended.status == 0, (call, error, ended)
            each.assert_whole()
        assert infected.left == []
        # It was nothing that a later run could not do better.
        if ended.status == 75:
            assert infected.deliver("--on", each.action).status == 0
            each.assert_whole()


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_wherever_it_is_stopped_only_whole_entries_can_be_seen(
    infected: Site, quarantine: Quarantine, signal: str
) -> None:
    for number, call in enumerate(steps(infected, quarantine)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        ended = traced.signalled(infected, infected.words("--on", each.action), call, signal)
        assert ended.status in ((-9, 0) if signal == "KILL" else (75, 0)), (call, ended)
        each.assert_whole(len(each.entries))
        assert len(each.entries) <= 1
        if ended.status == 0:
            each.assert_whole()
        if signal == "TERM":
            assert (ended.status == 0) == bool(each.entries), (call, ended)
            assert each.unfinished == [], call
        assert infected.left == []
        # What is left behind is in nobody's way.
        seen = len(each.entries)
        assert infected.deliver("--on", each.action).status == 0
        each.assert_whole(seen + 1)


# Another try of the same run.

TRY = ("--queue-id", "4abc")


def test_what_is_stored_is_found_by_the_next_try(infected: Site, quarantine: Quarantine) -> None:
    said = {infected.deliver("--on", quarantine.action, *TRY).output for _ in range(3)}
    quarantine.assert_whole()
    (entry,) = quarantine.entries
    assert said == {f"infected: Eicar-Test-Signature; quarantined as {entry.name}\n".encode()}


@pytest.mark.parametrize("other", ["queue id", "sender", "recipients", "bytes"])
def test_what_differs_is_another_message(
    infected: Site, quarantine: Quarantine, other: str
) -> None:
    assert infected.deliver("--on", quarantine.action, *TRY).status == 0
    ended = infected.deliver(
        *("--on", quarantine.action, "--queue-id", "4ab" if other == "queue id" else "4abc"),
        sender=b"mallory@example.org" if other == "sender" else SENDER,
        recipients=[RECIPIENT, *([b"bob@example.org"] if other == "recipients" else [])],
        message=MAIL + b"." * (other == "bytes"),
    )
    assert ended.status == 0
    assert len(quarantine.entries) == 2


@pytest.mark.parametrize("bytes_", [b"", MAIL[:-1], MAIL + b"."], ids=["none", "less", "more"])
def test_an_entry_with_other_bytes_does_not_stand_for_it(
    infected: Site, quarantine: Quarantine, bytes_: bytes
) -> None:
    assert infected.deliver("--on", quarantine.action, *TRY).status == 0
    (entry,) = quarantine.entries
    (entry / "message").write_bytes(bytes_)
    old = entry.rename(quarantine.path / f"20260102T030405Z-{entry.name.partition('-')[2]}")
    assert infected.deliver("--on", quarantine.action, *TRY).status == 0
    (new,) = (each for each in quarantine.entries if each != old)
    assert (old / "message").read_bytes() == bytes_
    assert (new / "message").read_bytes() == MAIL


def test_of_two_entries_of_one_message_the_first_stays(
    infected: Site, quarantine: Quarantine
) -> None:
    assert infected.deliver("--on", quarantine.action, *TRY).status == 0
    (entry,) = quarantine.entries
    first = quarantine.path / f"20260102T030405Z-{entry.name.partition('-')[2]}"
    shutil.copytree(entry, first)
    ended = infected.deliver("--on", quarantine.action, *TRY)
    assert quarantine.entries == [first]
    assert first.name.encode() in ended.output
    assert quarantine.unfinished == []


def test_fifty_tries_at_once_leave_one_entry(infected: Site, quarantine: Quarantine) -> None:
    words = infected.words("--on", quarantine.action, *TRY)
    running = [infected.start(words).feed() for _ in range(50)]
    assert [each.end().status for each in running] == [0] * 50
    quarantine.assert_whole()
    assert quarantine.unfinished == []


def test_the_next_try_needs_no_room(infected: Site, small: Quarantine) -> None:
    assert infected.deliver("--on", small.action, *TRY).status == 0
    with open(small.path / ".new" / "filler", "wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    (small.path / ".new" / "filler").rename(small.path / ".filler")
    assert infected.deliver("--on", small.action, *TRY).status == 0
    (small.path / ".filler").unlink()
    small.assert_whole()


def test_a_try_that_was_overtaken_leaves_one_entry(infected: Site, quarantine: Quarantine) -> None:
    """It has looked and found nothing; when it has stored its own, there are two."""
    calls = steps(infected, quarantine, *TRY)
    [rename] = [number for number, call in enumerate(calls) if call.name.startswith("rename")]
    last = calls[rename - 1]  # before it appears
    assert last.name == "fsync"
    shutil.rmtree(quarantine.path)
    words = infected.words("--on", quarantine.action, *TRY)
    inject = f"inject={last.name}:signal=STOP:when={last.number}"
    slow = infected.start(["strace", "-qq", "-o", "/dev/null", "-e", inject, *words]).feed()
    try:
        until(lambda: any(quarantine.path.glob(".new/*/about.json")))
        second = int(time.time())
        until(lambda: int(time.time()) > second)
        fast = infected.deliver("--on", quarantine.action, *TRY)
        assert fast.status == 0
        quarantine.assert_whole()
        until(lambda: goes_on(slow))
    finally:
        tell(slow, signal.SIGKILL)  # or it would stay, stopped, without its strace
    ended = slow.end()
    assert ended.status == 0
    quarantine.assert_whole()
    assert quarantine.unfinished == []
    # The older name is the smaller one.
    assert ended.output.split()[-1].decode() == quarantine.entries[0].name
    assert fast.output.split()[-1] != ended.output.split()[-1]


def goes_on(running: Running) -> bool:
    """Whether it has ended; it is told to go on, which it may not have stopped for yet."""
    tell(running, signal.SIGCONT)
    return running.process.poll() is not None


def tell(running: Running, number: signal.Signals) -> None:
    """Send a signal to what strace runs, if that is still there."""
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    with suppress(ProcessLookupError, FileNotFoundError):
        for child in children.read_text().split():
            os.kill(int(child), number)


def test_whatever_fails_the_next_try_leaves_one_entry(
    infected: Site, quarantine: Quarantine
) -> None:
    seen = set()
    for number, call in enumerate(steps(infected, quarantine, *TRY)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        words = ("--on", each.action, *TRY)
        ended = traced.failing(infected, infected.words(*words), call, "EIO")
        assert ended.status in (0, 75), (call, ended)
        seen.add((ended.status, len(each.entries)))
        assert b"bug" not in ended.output, (call, ended)
        each.assert_whole(len(each.entries))
        if ended.status == 0:
            each.assert_whole()
        assert each.unfinished == [], call
        assert infected.deliver(*words).status == 0
        each.assert_whole()
    # What can be seen already stays: another try may have counted on it.
    assert seen == {(0, 1), (75, 0), (75, 1)}


def test_wherever_it_is_killed_the_next_try_leaves_one_entry(
    infected: Site, quarantine: Quarantine
) -> None:
    seen = set()
    for number, call in enumerate(steps(infected, quarantine, *TRY)):
        each = Quarantine(infected.directory / f"q{number:09d}")
        words = ("--on", each.action, *TRY)
        traced.signalled(infected, infected.words(*words), call, "KILL")
        seen.add(len(each.entries))
        assert infected.deliver(*words).status == 0
        each.assert_whole()
    assert seen == {0, 1}


def test_what_a_kill_has_left_is_removed_after_a_day(
    infected: Site, quarantine: Quarantine
) -> None:
    assert infected.deliver("--on", quarantine.action).status == 0
    left = []
    for age in (25, 23):
        left.append(quarantine.path / ".new" / f"left{age}")
        left[-1].mkdir()
        for name in ("message", "about.json"):
            (left[-1] / name).write_bytes(b"half")
        then = time.time() - age * 3600
        os.utime(left[-1], (then, then))
    assert infected.deliver("--on", quarantine.action).status == 0
    assert quarantine.unfinished == left[1:]
    quarantine.assert_whole(2)


def test_nothing_is_stored_for_a_caller_that_is_gone(
    infected: Site, quarantine: Quarantine
) -> None:
    """The message may have been cut short: pipe(8) that dies looks like the end of it."""
    infected.clamd(says=FOUND, hold="asked")
    mta = ["/bin/sh", "-c", 'exec 3<&0; "$0" "$@" <&3 3<&- & exec 3<&-; wait']
    running = infected.start([*mta, *infected.words("--on", quarantine.action)]).feed()
    infected.scanner.arrived()
    running.process.kill()
    running.process.wait()
    infected.scanner.release()
    assert b"the mail system that called is gone" in running.output()
    quarantine.assert_nothing()


# The directory.


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o702, 0o704, 0o720, 0o777, 0o1777])
def test_a_quarantine_open_to_others_is_refused(
    infected: Site, quarantine: Quarantine, mode: int
) -> None:
    quarantine.path.mkdir()
    quarantine.path.chmod(mode)
    ended = infected.deliver("--on", quarantine.action)
    infected.assert_kept(ended, "4.3.5", str(quarantine.path), "chmod")
    quarantine.assert_nothing()


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o2750, 0o710])
def test_a_group_may_look_into_it(infected: Site, quarantine: Quarantine, mode: int) -> None:
    quarantine.path.mkdir()
    quarantine.path.chmod(mode)
    assert infected.deliver("--on", quarantine.action).status == 0
    quarantine.assert_whole()


def test_the_quarantine_of_somebody_else_is_refused(unprivileged: Site) -> None:
    unprivileged.clamd(says=FOUND)
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    quarantine = Quarantine(unprivileged.directory / "quarantine")
    quarantine.path.mkdir(0o700)
    os.chown(quarantine.path, 12345, 12345)
    ended = unprivileged.deliver("--on", quarantine.action)
    unprivileged.assert_kept(ended, "4.3", str(quarantine.path))
    quarantine.assert_nothing()


@pytest.mark.parametrize("what", ["file", "link", "dangling", "no parent"])
def test_only_a_directory_is_a_quarantine(
    infected: Site, quarantine: Quarantine, what: str
) -> None:
    real = infected.directory / "real"
    real.mkdir(mode=0o700)
    if what == "file":
        quarantine.path.touch()
    elif what == "no parent":
        quarantine = Quarantine(quarantine.path / "below")
    else:
        quarantine.path.symlink_to(real if what == "link" else infected.directory / "none")
    ended = infected.deliver("--on", quarantine.action)
    infected.assert_kept(ended, "4.3", f"quarantine {quarantine.path}: ")
    assert list(real.iterdir()) == []


def test_an_unprivileged_account_makes_its_own(unprivileged: Site) -> None:
    unprivileged.clamd(says=FOUND)
    quarantine = Quarantine(unprivileged.spool / "quarantine")
    assert unprivileged.deliver("--on", quarantine.action).status == 0
    quarantine.assert_whole()
    assert unprivileged.left == ["quarantine"]


def test_an_unprivileged_account_that_may_not_make_it_defers(unprivileged: Site) -> None:
    unprivileged.clamd(says=FOUND)
    closed = unprivileged.directory / "closed"
    closed.mkdir(mode=0o755)
    ended = unprivileged.deliver("--on", f"infected=quarantine:{closed}/quarantine")
    unprivileged.assert_kept(ended, "4.3.0", "Permission denied")


@pytest.fixture
def small(quarantine: Quarantine) -> Iterator[Quarantine]:
    """A quarantine with room for 64 kB, on a file system of its own."""
    packages.need_root("a file system of 64 kB is mounted by root only")
    quarantine.path.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(quarantine.path)]
    subprocess.run(mount, check=True)
    yield quarantine
    subprocess.run(["umount", quarantine.path], check=True)


def test_a_full_disk_leaves_nothing(infected: Site, small: Quarantine) -> None:
    ended = infected.deliver("--on", small.action, message=b"x" * 100_000)
    infected.assert_kept(ended, "4.3.1", str(small.path), "No space left")
    small.assert_nothing()


def test_a_disk_without_room_for_the_sidecar_leaves_nothing(
    infected: Site, small: Quarantine
) -> None:
    # tmpfs gives out whole pages: 15 of 16 for the message, one for about.json and no more.
    many = [b"bert%03d@example.net" % number for number in range(300)]
    ended = infected.deliver("--on", small.action, message=b"x" * 15 * 4096, recipients=many)
    infected.assert_kept(ended, "4.3.1", str(small.path), "No space left")
    small.assert_nothing()


@pytest.mark.parametrize("inodes", range(1, 6))
def test_a_disk_that_fills_up_on_the_way_leaves_all_or_nothing(
    infected: Site, small: Quarantine, inodes: int
) -> None:
    subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", small.path], check=True)
    ended = infected.deliver("--on", small.action)
    if ended.status == 0:
        small.assert_whole()
    else:
        infected.assert_kept(ended, "4.3.1", str(small.path), "No space left")
        small.assert_nothing()

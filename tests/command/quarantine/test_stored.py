"""The action quarantine: what is stored of a message."""

from __future__ import annotations

import hashlib
import os
import re
import time

import pytest

from tests.support import traced
from tests.support.documents import first_column
from tests.support.mta import MAIL, RECIPIENT, SENDER, Site
from tests.support.quarantine import FOUND, HOSTILE, Quarantine, at
from tests.support.tree import ROOT

HANDLER = ROOT / "scripts" / "infected.sh"


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

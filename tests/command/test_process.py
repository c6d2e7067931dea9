"""What the command inherits: descriptors 0, 1 and 2, an environment, a caller that may go."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.test_pipe import FOUND, wire
from tests.support.mta import CLOSING, MAIL, TEMPFAIL, Site

# Descriptors 0, 1 and 2.


@pytest.mark.parametrize("closed", CLOSING)
def test_closed_descriptors_change_nothing(site: Site, closed: str) -> None:
    """Neither the spool file nor a socket becomes descriptor 1, where our words go."""
    running = site.start([*CLOSING[closed], *site.words()])
    if "0" in closed:
        kept = running.end()
        assert kept.status == TEMPFAIL
        assert "2" in closed or kept.output.startswith(b"4.3.0 avcheck: standard input is closed")
        assert site.left == []
        assert site.delivered == []
        return
    assert running.end(MAIL).status == 0
    assert site.delivered == [wire(MAIL)]
    sendmail = site.sendmail("echo to 1; echo to 2 >&2")
    assert site.start([*CLOSING[closed], *site.words()]).end(MAIL).status == 0
    assert sendmail.stdin == MAIL
    site.clamd(says=FOUND)
    handler = site.handler()
    assert site.start([*CLOSING[closed], *site.words()]).end(MAIL).status == 0
    assert handler.note("message") == MAIL
    assert site.left == []


@pytest.mark.parametrize("closed", CLOSING)
def test_closed_descriptors_make_no_failure_a_success(site: Site, closed: str) -> None:
    site.clamd(reply=b"")
    ended = site.start([*CLOSING[closed], *site.words()]).end()
    assert ended.status == TEMPFAIL
    assert bool(ended.output) == ("2" not in closed)
    assert site.left == []
    assert site.delivered == []


OUTPUTS = [
    *("read at the end", "closed", "full device", "full pipe", "full pipe that blocks"),
    "pipe without reader",
]


@pytest.fixture
def output(request: pytest.FixtureRequest) -> Iterator[dict[str, int]]:
    """A descriptor for each of OUTPUTS but the first two."""
    full, blocking, nobody = os.pipe(), os.pipe(), os.pipe()
    os.close(nobody[0])
    for _, pipe in (full, blocking):
        os.set_blocking(pipe, False)
        for size in (65536, 1):
            with pytest.raises(BlockingIOError):
                while True:
                    os.write(pipe, b"x" * size)
    os.set_blocking(blocking[1], True)
    device = os.open("/dev/full", os.O_WRONLY)
    yield {
        "full device": device,
        "full pipe": full[1],
        "full pipe that blocks": blocking[1],
        "pipe without reader": nobody[1],
    }
    for fd in (device, *full, *blocking, nobody[1]):
        os.close(fd)


@pytest.mark.parametrize("err", OUTPUTS)
@pytest.mark.parametrize("out", OUTPUTS)
def test_output_that_nobody_takes_changes_nothing(
    site: Site, output: dict[str, int], out: str, err: str
) -> None:
    closed = ("1" if out == "closed" else "") + ("2" if err == "closed" else "")

    def status() -> int:
        words = [*CLOSING[closed], *site.words("-v")]
        running = site.start(words, stdout=output.get(out), stderr=output.get(err))
        return running.end(MAIL).status

    assert status() == 0
    assert site.delivered == [wire(MAIL)]
    site.clamd(reply=b"")
    assert status() == TEMPFAIL
    assert len(site.delivered) == 1
    assert site.left == []


# Environment.

HOSTILE: dict[str, dict[str, str]] = {
    "no environment": {},
    "nonsense for a locale": {"LANG": "nonsense", "LC_ALL": "xx_YY.ZZ"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "warnings are errors": {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
    "a startup file": {"PYTHONSTARTUP": "/nonexistent", "PYTHONINSPECT": "1"},
    "no asserts, no docstrings": {"PYTHONOPTIMIZE": "2"},
    "no home": {"HOME": "/nonexistent", "TMPDIR": "/nonexistent", "PATH": "/nonexistent"},
    "a caller that is no number": {"AVCHECK_CALLER": "-1; rm"},
    "a caller that is no process": {"AVCHECK_CALLER": "0"},
}


@pytest.mark.parametrize("environment", HOSTILE.values(), ids=HOSTILE)
def test_the_environment_changes_nothing(site: Site, environment: dict[str, str]) -> None:
    site.surround(environment)
    umlaut = "j\u00fcrgen@example.net".encode("latin-1")
    site.smtp(offers=(b"8BITMIME", b"SMTPUTF8"))
    assert site.deliver("-h", "here", recipients=(umlaut,)).status == 0
    assert len(site.delivered) == 1
    site.clamd(says=FOUND)
    handler = site.handler()
    assert site.deliver(recipients=(umlaut,)).status == 0
    assert handler.argv[-1] == umlaut
    site.clamd(reply=b"gar\xffbage\0")
    kept = site.deliver(recipients=(umlaut,))
    assert kept.status == TEMPFAIL
    assert b"4.4.2 avcheck: clamd " in kept.output
    assert site.left == []


@pytest.mark.parametrize("text", ["raise SystemExit(0)", "syntax error", "import nonesuch"])
def test_a_foreign_package_of_our_name_bounces_nothing(
    site: Site, tmp_path: Path, text: str
) -> None:
    (tmp_path / "foreign" / "avcheck").mkdir(parents=True)
    (tmp_path / "foreign" / "avcheck" / "__init__.py").write_text(text)
    site.surround({"PYTHONPATH": str(tmp_path / "foreign")})
    ended = site.deliver()
    assert ended.status == TEMPFAIL
    assert ended.output.startswith(b"4.3.5 avcheck: broken installation: ")
    assert site.scanner.questions == []


def test_a_working_directory_that_is_gone_changes_nothing(site: Site, tmp_path: Path) -> None:
    site.surround({})  # coverage would ask where it is
    gone = ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$0" "$@"']
    for says, handled in ((b"OK", 0), (FOUND, 1)):
        (tmp_path / "gone").mkdir()
        site.clamd(says=says)
        handler = site.handler()
        ended = site.start([*gone, *site.words()], cwd=tmp_path / "gone").end(MAIL)
        assert ended.status == 0
        assert handler.calls == handled
    assert site.delivered == [wire(MAIL)]


@pytest.mark.parametrize("signals", ["--ignore-signal", "--block-signal"])
def test_signals_that_the_caller_ignores_or_blocks_change_nothing(site: Site, signals: str) -> None:
    """CHLD, for instance: an ignored one makes waitpid(2) fail after sendmail has succeeded."""
    command = ["/usr/bin/env", signals, *site.words()]
    assert site.start(command).end(MAIL).status == 0
    sendmail = site.sendmail()
    ended = site.start(["/usr/bin/env", signals, *site.words()]).end(MAIL)
    assert ended.status == 0, ended
    assert sendmail.stdin == MAIL
    # The deadline is a signal, too: standard input never ends here.
    stuck = site.start(["/usr/bin/env", signals, *site.words("--deadline", "0.2")])
    site.assert_deferred(stuck.wait(), "4.4.7")


# The caller.


@pytest.mark.parametrize("to", ["smtp", "sendmail", "handler"])
def test_nothing_is_delivered_for_a_caller_that_is_gone(site: Site, to: str) -> None:
    """When pipe(8) dies, our standard input ends in the middle of the message."""
    if to == "sendmail":
        site.sendmail()
    site.handler()
    site.clamd(hold="asked", says=FOUND if to == "handler" else b"OK")
    # A shell stands for the MTA.  What it runs in the background has no standard input.
    mta = ["/bin/sh", "-c", 'exec 3<&0; "$0" "$@" <&3 3<&- & exec 3<&-; wait']
    running = site.start([*mta, *site.words()])
    running.feed()
    site.scanner.arrived()
    running.process.kill()
    os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    site.scanner.release()
    text = running.output()
    assert re.match(rb"4\.3\.0 avcheck: .*the mail system that called is gone", text), text
    assert site.delivered == []
    assert site.calls == 0
    assert site.left == []


@pytest.mark.parametrize("stage", ["asked", "dot"])
def test_a_caller_of_the_guard_whom_nobody_waits_for_is_gone(site: Site, stage: str) -> None:
    """A zombie: what is left of the mail system in a container without an init.

    After the final dot the message is delivered, and the log is to say that it comes again.
    """
    scanner = site.clamd(hold="asked" if stage == "asked" else "")
    server = site.smtp(hold="dot" if stage == "dot" else "")
    site.command = [str(Path(site.command[0]).with_name("avcheck-guard.sh"))]
    mta = ["/bin/sh", "-c", 'exec 3<&0; "$0" "$@" <&3 3<&- & exec 3<&-; wait']
    running = site.start([*mta, *site.words()]).feed()
    player = scanner if stage == "asked" else server
    player.arrived()
    running.process.kill()
    os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)
    player.release()
    text = running.output()
    assert b"the mail system that called is gone" in text, text
    assert (b"possible duplicate" in text) == (stage == "dot")
    assert len(site.delivered) == (stage == "dot")
    assert site.left == []


def test_nothing_is_delivered_when_the_caller_of_the_guard_is_gone(site: Site) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as mta:
        words, told = site.words(), {"AVCHECK_CALLER": str(mta.pid)}
        assert site.start(words, environment=told).end(MAIL).status == 0
    assert len(site.delivered) == 1
    site.smtp()
    ended = site.start(site.words(), environment=told).end(MAIL)
    assert ended.status == TEMPFAIL
    assert b"the mail system that called is gone" in ended.output
    assert len(site.delivered) == 1
    sendmail = site.sendmail()
    assert site.start(site.words(), environment=told).end(MAIL).status == TEMPFAIL
    assert sendmail.calls == 0

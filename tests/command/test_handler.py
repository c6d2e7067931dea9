"""The handler: what it is told, what its status means, and what it cannot do to the mail."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.environment import SCRIPT as GUARD
from tests.support.mta import MAIL, RECIPIENT, SENDER, TEMPFAIL, Ended, Site
from tests.support.program import STOP, STOP_WITH_CHILD, Program

FOUND = b"Eicar-Test-Signature FOUND"
WIRE = MAIL.replace(b"\n", b"\r\n")

# What a process has from its parent, as shell words that note it down.
INHERITED = r"""
readlink "/proc/$$/cwd" >"$notes/cwd"
umask >"$notes/umask"
cat /proc/self/status >"$notes/status"
cut -d ' ' -f 6 "/proc/$$/stat" >"$notes/session"
echo $$ >"$notes/pid"
ls -l /proc/self/fd >"$notes/descriptors"
rm "$1"
"""


@pytest.fixture
def infected(site: Site) -> Site:
    """A site where clamd finds something in every message."""
    site.clamd(says=FOUND)
    site.handler()
    return site


def test_it_is_told_everything_and_no_more(infected: Site) -> None:
    handler = infected.handler()
    recipients = ["-v@example.net", "two words@x", "*", "caf\udce9@x", ""][:4]
    ended = infected.deliver("--queue-id", "4XYZ\n\x1b", sender="", recipients=recipients)
    assert ended.status == 0
    program, file, said, sender, *rest = handler.argv
    assert program == os.fsencode(handler.path)
    assert os.path.dirname(file) == os.fsencode(infected.spool)
    assert said == b"fd[10]: Eicar-Test-Signature FOUND"
    assert (sender, rest) == (b"", list(map(os.fsencode, recipients)))
    assert handler.environment == {
        b"PATH": b"/bin:/usr/bin",
        b"SENDMAIL": os.fsencode(f"{infected.command[0]} -c -S {infected.hop[1]}"),
        b"AVCHECK_VERDICT": b"infected",
        b"AVCHECK_VIRUS": b"Eicar-Test-Signature",
        b"AVCHECK_SCANNER": b"clamd",
        b"AVCHECK_QUEUE_ID": b"4XYZ ?",
        b"AVCHECK_SHA256": hashlib.sha256(MAIL).hexdigest().encode(),
        b"AVCHECK_SENDER": b"",
    }
    assert handler.stdin == b""


def test_it_inherits_nothing(infected: Site) -> None:
    handler = infected.handler(INHERITED)
    # Descriptors that the MTA forgot to close, and signals that it ignores or blocks.
    # (Number 900 is above the limit that is set after that.)
    script = 'exec 7</dev/null 8>/dev/null 900</; ulimit -n 256; exec "$0" "$@"'
    shell = ["/bin/bash", "-c", script]
    env = ["/usr/bin/env", "--ignore-signal", "--block-signal"]
    assert infected.start([*shell, *env, *infected.words()]).end(MAIL).status == 0
    assert os.fsdecode(handler.note("cwd")).rstrip() == str(infected.spool)
    assert handler.note("umask") == b"0077\n"
    assert handler.note("session") == handler.note("pid")
    status = dict(
        line.split(":\t", 1)
        for line in handler.note("status").decode().splitlines()
        if "\t" in line
    )
    # Signals 32 and 33 are the C library's, and not for programs to change.
    assert int(status["SigIgn"], 16) & ~(0b11 << 31) == 0
    assert int(status["SigBlk"], 16) == 0
    # What ls(1) had open: what the shell was given, and the directory that it was reading.
    lines = handler.note("descriptors").decode().splitlines()[1:]
    files = {line.split(" -> ")[0].split()[-1]: line.split(" -> ")[1] for line in lines}
    assert files.keys() == {"0", "1", "2", "3"}, files
    assert files["0"] == os.devnull
    assert files["2"].startswith("pipe:")
    assert files["3"].startswith("/proc/")


@pytest.mark.parametrize("status", [1, 2, 3, 63, 79, 99, 111, 120, 126, 127, 128, 137, 255])
def test_a_status_that_would_bounce_by_accident_defers(infected: Site, status: int) -> None:
    handler = infected.handler(f"echo '5.7.1 bounce me'; exit {status}")
    infected.assert_kept(
        infected.deliver(), "4.3.0 avcheck: ", str(handler.path), f"status {status}", "bounce me"
    )


# The enhanced status code that Postfix gives each (sys_exits.c); 71 and 75 defer.
CODES = {
    **dict.fromkeys(range(64, 79), b"5."),
    71: b"4.3.0",
    75: b"4.3.0",
}


@pytest.mark.parametrize("status", CODES)
def test_a_status_of_sysexits_is_passed_on(infected: Site, status: int) -> None:
    handler = infected.handler(f"exit {status}")
    ended = infected.deliver()
    assert ended.status == status
    assert ended.output.startswith(CODES[status])
    assert os.fsencode(handler.path) in ended.output
    assert infected.left == []
    assert infected.delivered == []


WORDS = {
    "its own code and text": ("5.7.1 not wanted here", 77, b"5.7.1 avcheck: not wanted here\n"),
    "a temporary code": ("4.7.1 not now", 77, b"4.7.1 avcheck: not now\n"),
    "a success": ("2.0.0 fine", 77, b"5.7.0 avcheck: handler "),
    "no code": ("no", 77, b"5.7.0 avcheck: handler "),
    "a code too long": ("5.7.1000 no", 77, b"5.7.0 avcheck: handler "),
    "a bounce with a deferral": ("5.7.1 no", 75, b"4.3.0 avcheck: handler "),
    "several lines": ("5.7.1 one\n2.0.0 two\x07", 77, b"5.7.1 avcheck: one 2.0.0 two?\n"),
}


@pytest.mark.parametrize(("said", "status", "output"), WORDS.values(), ids=WORDS)
def test_its_words_lead_only_where_they_fit_its_status(
    infected: Site, said: str, status: int, output: bytes
) -> None:
    infected.handler(f"printf '%s\\n' '{said}'; exit {status}")
    ended = infected.deliver()
    assert ended.status == status
    assert ended.output.startswith(output), ended
    assert infected.left == []


def test_its_words_are_reported_with_success(infected: Site) -> None:
    handler = infected.handler('rm "$1"; echo 5.7.1 kept as 17')
    assert infected.deliver() == Ended(
        0,
        b"infected: Eicar-Test-Signature; %b 5.7.1 kept as 17\n" % os.fsencode(handler.path.name),
    )


def test_a_file_that_it_keeps_is_its_own(infected: Site) -> None:
    handler = infected.handler("exit 0")
    assert infected.deliver().status == 0
    (left,) = infected.left
    file = infected.spool / left
    assert os.fsencode(file) == handler.argv[1]
    assert file.read_bytes() == MAIL
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_it_moved_and_then_failed_is_not_looked_for(infected: Site) -> None:
    infected.handler('mv "$1" "$notes/kept"; exit 1')
    infected.assert_kept(infected.deliver(), "status 1")


def test_killed(infected: Site) -> None:
    infected.handler("kill -SEGV $$")
    infected.assert_kept(infected.deliver(), f"killed by signal {signal.SIGSEGV}")


def test_hanging_until_the_deadline_it_is_killed_with_all_it_started(infected: Site) -> None:
    handler = infected.handler(STOP_WITH_CHILD)
    running = infected.start(infected.words("--deadline", "0.5")).feed()
    handler.arrived()
    infected.assert_kept(running.end(), "did not end in time and was killed")
    handler.ended()


def test_what_it_leaves_in_the_background_is_not_waited_for(infected: Site) -> None:
    """pipe(8) waits for everybody who has our output, and bounces the message at the end."""
    handler = infected.handler(f'rm "$1"; ({STOP}) & exit 0')
    assert infected.start(infected.words()).end(MAIL).status == 0
    handler.arrived()
    handler.release()
    handler.ended()


def test_a_background_that_writes_for_ever_is_not_listened_to(infected: Site) -> None:
    handler = infected.handler('rm "$1"; exec 9>"$notes/reached"; yes 5.7.1 & exit 0')
    assert infected.deliver().status == 0
    handler.ended()  # of SIGPIPE


@pytest.mark.parametrize("status", [0, 77])
def test_megabytes_of_words_are_read_and_cut(infected: Site, status: int) -> None:
    infected.handler(f'rm "$1"; head -c 5000000 /dev/zero | tr "\\0" x; exit {status}')
    ended = infected.deliver()
    assert ended.status == status
    assert len(ended.output) < 1000
    assert infected.left == []


@pytest.mark.parametrize("kind", ["missing", "not executable", "a directory", "no program"])
def test_a_handler_that_cannot_be_run(infected: Site, tmp_path: Path, kind: str) -> None:
    program = tmp_path / "none"
    if kind == "a directory":
        program.mkdir()
    elif kind != "missing":
        program.write_bytes(b"\x7fELF")
        program.chmod(0o755 if kind == "no program" else 0o644)
    infected.infected = str(program)
    infected.assert_kept(infected.deliver(), str(program))


def test_an_interpreter_that_is_missing(infected: Site) -> None:
    handler = infected.handler()
    handler.path.write_text("#!/nonexistent/sh\n")
    infected.assert_kept(infected.deliver(), str(handler.path), "No such file")


# Its place.


@pytest.fixture
def elsewhere(infected: Site, tmp_path: Path) -> Site:
    """avcheck called by a link in a directory of its own, without -i."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "avcheck").symlink_to(infected.command[0])
    infected.command = [str(tmp_path / "bin" / "avcheck")]
    infected.infected = ""
    return infected


def beside(site: Site, name: str) -> Program:
    """A handler of this name beside avcheck."""
    handler = site.handler()
    handler.path.rename(Path(site.command[0]).with_name(name))
    site.infected = ""
    return handler


def test_without_i_it_is_beside_avcheck(elsewhere: Site) -> None:
    second = beside(elsewhere, "infected.sh")
    assert elsewhere.deliver().status == 0
    assert second.calls == 1
    first = beside(elsewhere, "infected")
    assert elsewhere.deliver().status == 0
    assert (first.calls, second.calls) == (1, 1)
    assert first.environment[b"SENDMAIL"].startswith(os.fsencode(elsewhere.command[0]) + b" -c ")


def test_one_that_is_not_executable_is_passed_over(elsewhere: Site) -> None:
    Path(elsewhere.command[0]).with_name("infected").write_text("#!/bin/sh\nexit 77\n")
    second = beside(elsewhere, "infected.sh")
    assert elsewhere.deliver().status == 0
    assert second.calls == 1


def test_without_any_the_message_is_kept(elsewhere: Site) -> None:
    ended = elsewhere.deliver()
    elsewhere.assert_kept(
        ended, "4.3.5", os.path.dirname(elsewhere.command[0]), "infected.sh", "-i"
    )


def test_called_by_a_relative_path(elsewhere: Site, tmp_path: Path) -> None:
    handler = beside(elsewhere, "infected")
    elsewhere.command = ["bin/avcheck"]
    assert elsewhere.start(elsewhere.words(), cwd=tmp_path).end(MAIL).status == 0
    assert handler.environment[b"SENDMAIL"].startswith(os.fsencode(tmp_path / "bin/avcheck -c "))


# Its way to send mail.

REPORT = r"""
rm "$1"
printf 'Subject: found\n\nReport.\n.\n' | $SENDMAIL -f "" -- postmaster@example.org
"""


@pytest.mark.parametrize("unix", [False, True], ids=["TCP", "Unix"])
def test_sendmail_injects_past_the_scanner_by_smtp(infected: Site, unix: bool) -> None:
    smtp = infected.smtp(unix=unix)
    infected.handler(REPORT)
    ended = infected.deliver()
    assert ended.status == 0, ended
    assert b"injected: " in ended.output
    (letter,) = smtp.messages
    assert letter.recipients == (b"postmaster@example.org",)
    assert letter.data == b"Subject: found\r\n\r\nReport.\r\n.\r\n"
    assert len(infected.scanner.questions) == 1


@pytest.fixture
def guarded(infected: Site, tmp_path: Path) -> Path:
    """avcheck in an environment of its own, which is returned, and run by the guard."""
    opt = tmp_path / "opt"
    lib = "lib/python{}.{}/site-packages".format(*sys.version_info[:2])
    (opt / lib).mkdir(parents=True)
    (opt / lib / "avcheck").symlink_to(Path(sysconfig.get_path("purelib")) / "avcheck")
    (opt / "bin").mkdir()
    python = Path(sys.executable).resolve()
    (opt / "bin" / "python3").symlink_to(python)
    (opt / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    shutil.copy(infected.command[0], opt / "bin" / "avcheck")
    guard = tmp_path / "avcheck-guard"
    shutil.copy(GUARD, guard)
    infected.command = [str(guard), str(opt / "bin" / "avcheck")]
    return opt


# What pip does to an installation for a moment, and what the report becomes then.
UPGRADES = {
    "nothing": (":", 0),
    "a launcher that is empty": (": >{opt}/bin/avcheck", 0),
    "a launcher that is missing": ("rm {opt}/bin/avcheck", 0),
    "a package that is missing": ("rm {opt}/lib/*/site-packages/avcheck", TEMPFAIL),
}


@pytest.mark.parametrize(("meanwhile", "status"), UPGRADES.values(), ids=UPGRADES)
def test_an_upgrade_loses_no_mail_of_the_handler(
    infected: Site, guarded: Path, meanwhile: str, status: int
) -> None:
    smtp = infected.smtp()
    report = REPORT.strip() + '; echo "$?" >"$notes/status"'
    handler = infected.handler(f"{meanwhile.format(opt=guarded)}\n{report}")
    assert infected.deliver().status == 0
    assert handler.note("status") == b"%d\n" % status
    assert len(smtp.messages) == (1 if status == 0 else 0)
    # So its caller, as far as the guard knows, is the handler.
    assert not {b"AVCHECK_CALLER", b"AVCHECK_GUARD"} & handler.environment.keys()


def test_sendmail_is_the_program_of_s(infected: Site) -> None:
    sendmail = infected.sendmail()
    infected.hop = [*infected.hop, "-S", "-G -i"]
    handler = infected.handler(REPORT)
    assert infected.deliver().status == 0
    assert handler.environment[b"SENDMAIL"] == os.fsencode(f"{sendmail.path} -G -i")
    assert sendmail.argv[1:] == [b"-G", b"-i", b"-f", b"", b"--", b"postmaster@example.org"]
    assert sendmail.stdin == b"Subject: found\n\nReport.\n.\n"


def test_a_message_that_could_not_be_handled_is_kept_whole(infected: Site) -> None:
    """The same message can be handled by the next try."""
    infected.handler("exit 75")
    assert infected.deliver().status == TEMPFAIL
    handler = infected.handler()
    assert infected.deliver().status == 0
    assert handler.note("message") == MAIL
    assert handler.argv[3:] == [SENDER, RECIPIENT]
    assert WIRE not in infected.delivered

"""Real mail through a real Postfix, with the lines of docs/postfix.md."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

from tests.live.recipe import MailSystem
from tests.live.through import unchanged
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import packages
from tests.support.servers.clamd import TESTFILES
from tests.support.servers.daemon import suspend
from tests.support.servers.postfix import Postfix
from tests.support.tree import ROOT

README = ROOT / "README.md"

# Of the package in Debian 12.
TESTFILE_COUNT = 44

# One of them hides its content just as deep as clamd looks, and as an attachment a
# step deeper.  Without AlertExceedsMax clamd would call it OK.  A name is cut where the entry's
# would be pushed out of what Postfix logs.
FOUND = re.compile(r"ClamAV-Test-File|Limits\.Exceeded\.MaxR(ecursion|\.\.\.);")


def sent(postfix: Postfix, queue_id: str) -> list[str]:
    """What the log says of avcheck's run on a message that must be out of its hands."""
    outcomes = postfix.wait_for_outcomes(queue_id, relay="avcheck")
    assert all("status=sent" in line for line in outcomes), outcomes
    return outcomes


def deferred(postfix: Postfix, queue_id: str) -> str:
    """The reason why a message is deferred, which it must be; as `postqueue -j` gives it."""
    outcomes = postfix.wait_for_outcomes(queue_id, relay="avcheck")
    assert "status=deferred" in outcomes[-1], outcomes
    postfix.wait_until(
        lambda: any(
            each.queue_id == queue_id and each.queue == "deferred" for each in postfix.queue()
        ),
        f"{queue_id} in the deferred queue",
    )
    [entry] = [each for each in postfix.queue() if each.queue_id == queue_id]
    return entry.reasons[0]


def test_fifty_recipients_have_a_run_each(mail_system: MailSystem, postfix: Postfix) -> None:
    recipients = tuple(f"bert{number}@example.net" for number in range(50))
    message = letter()
    sent(postfix, mail_system.submit(postfix, message, recipients=recipients))
    mail_system.settle(postfix)
    copies = mail_system.delivered(message)
    reached = [[each.decode() for each in copy.recipients] for copy in copies]
    assert sorted(reached) == sorted([each] for each in recipients)
    for copy in copies:
        unchanged(message, copy.data)


def test_a_virus_goes_to_the_quarantine(mail_system: MailSystem, postfix: Postfix) -> None:
    message = with_attachment(EICAR, "eicar.com")
    recipients = ("bert@example.net", "carl@example.net")
    queue_id = mail_system.submit(postfix, message, "", recipients)
    lines = postfix.wait_for_outcomes(queue_id, 2, relay="avcheck")
    assert all("Eicar-Test-Signature" in line and "status=sent" in line for line in lines)
    unix = message.replace(b"\r\n", b"\n")
    abouts = []
    for entry in mail_system.quarantined(message):
        stored = (entry / "message").read_bytes()
        assert stored.endswith(unix)
        assert re.fullmatch(rb"Received: .*\n(\s.*\n)*", stored[: -len(unix)])
        abouts.append(json.loads((entry / "about.json").read_text()))
    assert {(about["queue_id"], about["sender"]) for about in abouts} == {(queue_id, "")}
    assert sorted(about["recipients"] for about in abouts) == [[each] for each in recipients]
    mail_system.settle(postfix)
    assert mail_system.delivered(message) == []
    [report] = [each for each in mail_system.sink.messages if queue_id.encode() in each.data]
    assert report.sender == b""
    assert [each.partition(b"@")[0] for each in report.recipients] == [b"postmaster"]


def test_every_file_of_clamav_testfiles_goes_to_the_quarantine(
    mail_system: MailSystem, postfix: Postfix
) -> None:
    packages.need("clamav-testfiles", files=[str(TESTFILES / "clam.exe")])
    files = sorted(TESTFILES.iterdir())
    assert len(files) == TESTFILE_COUNT
    letters = {file.name: with_attachment(file.read_bytes(), file.name) for file in files}
    ids = {name: mail_system.submit(postfix, each) for name, each in letters.items()}
    for name, queue_id in ids.items():
        [line] = sent(postfix, queue_id)
        assert FOUND.search(line), (name, line)
    mail_system.settle(postfix)
    assert [name for name, each in letters.items() if len(mail_system.quarantined(each)) != 1] == []
    assert [name for name, each in letters.items() if mail_system.delivered(each)] == []


def test_the_log_has_the_lines_that_the_readme_shows(
    mail_system: MailSystem, postfix: Postfix
) -> None:
    shown = re.findall(r"^ +(dsn=\S+ status=.*)$", README.read_text(), re.MULTILINE)
    assert len(shown) == 3
    logged = sent(postfix, mail_system.submit(postfix, letter()))
    logged += sent(postfix, mail_system.submit(postfix, with_attachment(EICAR)))
    mail_system.settle(postfix)
    mail_system.clamd.stop()
    try:
        queue_id = mail_system.submit(postfix, letter())
        deferred(postfix, queue_id)
        logged += postfix.outcomes(queue_id, relay="avcheck")
    finally:
        mail_system.clamd.start()
    postfix.flush()
    postfix.wait_for_outcomes(queue_id, 2, relay="avcheck")
    assert [without_numbers(line, mail_system) for line in logged] == [
        without_numbers(line, mail_system) for line in shown
    ]


def without_numbers(line: str, mail_system: MailSystem) -> str:
    """The end of a line of the log, with nothing in it that differs from time to time."""
    line = mail_system.adapted(line[line.index("dsn=") :]).replace(".UNOFFICIAL", "")
    return re.sub(r"\d+ms|127\.0\.0\.1:\d+|queued as \w+|\d+T\d+Z-\w+", "N", line)


def test_mail_waits_while_there_is_a_waitfile(mail_system: MailSystem, postfix: Postfix) -> None:
    message = letter()
    mail_system.shell("hold")
    try:
        queue_id = mail_system.submit(postfix, message)
        assert str(mail_system.waitfile) in deferred(postfix, queue_id)
    finally:
        mail_system.shell("release", postfix)
    postfix.wait_for_outcomes(queue_id, 2, relay="avcheck")
    mail_system.settle(postfix)
    assert len(mail_system.delivered(message)) == 1


def test_the_trial_messages_of_the_page(mail_system: MailSystem, postfix: Postfix) -> None:
    packages.need("clamav-testfiles", files=[str(TESTFILES / "clam.exe")])
    mail_system.shell("clean", postfix)
    mail_system.shell("infected", postfix)

    def arrived(subject: bytes) -> int:
        return sum(subject in each.data for each in mail_system.sink.messages)

    postfix.wait_until(lambda: arrived(b"Subject: avcheck, clean") == 1, "the clean message")
    postfix.wait_until(
        lambda: any(
            b"Subject: avcheck, infected" in message.read_bytes()
            for message in mail_system.quarantine.glob("[!.]*/message")
        ),
        "the infected one",
    )
    mail_system.settle(postfix)
    assert arrived(b"\r\nSubject: avcheck, infected") == 0


def test_a_wrong_option_defers(mail_system: MailSystem) -> None:
    with mail_system.postfix("wrong", ("-s clamd", "--nonsense -s clamd")) as postfix:
        queue_id = mail_system.submit(postfix, letter())
        assert "nonsense" in deferred(postfix, queue_id)
        mail_system.account_for(postfix)


def handler(directory: Path, name: str, *commands: str) -> Path:
    """A handler with these commands of the shell."""
    file = directory / "handlers" / name
    file.parent.mkdir(exist_ok=True)
    file.parent.chmod(0o755)
    file.write_text("\n".join(("#!/bin/sh", *commands, "")))
    file.chmod(0o755)
    return file


def alive(pid: str) -> bool:
    """Whether a process still runs; one that nobody has waited for yet does not."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_handler_that_hangs_defers(mail_system: MailSystem, open_directory: Path) -> None:
    # The one in the background holds the output open as well, and ignores SIGTERM.
    pids = mail_system.spool / "pids"
    program = handler(
        open_directory,
        "hangs",
        "(trap '' TERM; exec sleep 1000) &",
        f"echo $! $$ >{pids}",
        "exec sleep 1000",
    )
    changes = (
        ("--queue-id", f"-i {program} --queue-id"),
        ("--deadline 450", "--deadline 3"),
        ("_time_limit = 600s", "_time_limit = 20s"),
    )
    with mail_system.postfix("hangs", *changes) as postfix:
        queue_id = mail_system.submit(postfix, with_attachment(EICAR))
        assert "did not end in time and was killed" in deferred(postfix, queue_id)
        running = [pid for pid in pids.read_text().split() if alive(pid)]
        pids.unlink()
        assert running == []
        assert mail_system.left_behind() == []
        mail_system.account_for(postfix)


def test_a_handler_that_leaves_its_output_open_is_not_waited_for(
    mail_system: MailSystem, open_directory: Path
) -> None:
    pid = mail_system.spool / "pid"
    program = handler(
        open_directory,
        "leaves",
        "quarantine=quarantine/entry-$AVCHECK_QUEUE_ID",
        'mkdir -p "$quarantine"',
        'mv "$1" "$quarantine/message"',
        """printf '{"recipients": ["%s"]}' "$4" >"$quarantine/about.json\"""",
        f"setsid sleep 1000 & echo $! >{pid}",
        "exit 0",
    )
    changes = (("--queue-id", f"-i {program} --queue-id"),)
    with mail_system.postfix("leaves", *changes) as postfix:
        message = with_attachment(EICAR)
        queue_id = mail_system.submit(postfix, message)
        sent(postfix, queue_id)
        os.kill(int(pid.read_text()), signal.SIGKILL)
        pid.unlink()
        assert len(mail_system.quarantined(message)) == 1
        mail_system.account_for(postfix)


def test_the_net_catches_a_python_that_does_not_start(
    mail_system: MailSystem, open_directory: Path
) -> None:
    # The last argument is the recipient, and its first word the status.
    broken = handler(
        open_directory,
        "broken",
        "for last; do :; done",
        "echo ImportError >&2",
        'exit "${last%%@*}"',
    )
    change = (f"argv={mail_system.guarded}", f"argv={broken}")
    with mail_system.postfix("broken", change) as postfix:
        for status in (1, 2, 126, 127, 255):
            recipients = (f"{status}@example.net",)
            queue_id = mail_system.submit(postfix, letter(), recipients=recipients)
            assert f"died with status {status}: " in deferred(postfix, queue_id)
        mail_system.account_for(postfix)


def test_mail_waits_for_a_guard_that_is_missing(mail_system: MailSystem) -> None:
    guard = mail_system.guarded.split()[0]
    with mail_system.postfix("unguarded", (f"argv={guard}", f"argv={guard}-missing")) as postfix:
        queue_id = mail_system.submit(postfix, letter())
        assert f"{guard}-missing: No such file or directory" in deferred(postfix, queue_id)
        mail_system.account_for(postfix)


def test_the_net_catches_a_run_that_postfix_kills(mail_system: MailSystem) -> None:
    suspend(mail_system.clamd.pid)
    try:
        with mail_system.postfix("slow", ("_time_limit = 600s", "_time_limit = 2s")) as postfix:
            queue_id = mail_system.submit(postfix, letter())
            assert "time limit exceeded" in deferred(postfix, queue_id)
            assert mail_system.left_behind() == []
            mail_system.account_for(postfix)
    finally:
        os.kill(mail_system.clamd.pid, signal.SIGCONT)


def test_it_is_undone_as_the_page_says(mail_system: MailSystem) -> None:
    with mail_system.postfix("undone") as postfix:
        waiting, later = letter(), letter()
        mail_system.waitfile.touch()
        try:
            deferred(postfix, mail_system.submit(postfix, waiting))
            mail_system.shell("undo", postfix)
            mail_system.submit(postfix, later)
            postfix.wait_until(
                lambda: all(map(mail_system.delivered, (waiting, later))), "both delivered"
            )
            mail_system.account_for(postfix)
        finally:
            mail_system.waitfile.unlink()
        mail_system.shell("remove", postfix)
        assert "avcheck_" not in postfix.command("postconf", "-n")
        assert "avcheck" not in postfix.command("postconf", "-M")


def test_every_accepted_message_is_accounted_for(mail_system: MailSystem, postfix: Postfix) -> None:
    """Must stay the last test of this module that uses `postfix`."""
    mail_system.account_for(postfix)
    assert postfix.queue() == []
    assert mail_system.left_behind() == []

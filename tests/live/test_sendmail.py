"""Real mail through two real sendmails, with the lines of docs/sendmail.md."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from avcheck.admin import guide
from avcheck.admin.commands import setup
from tests.live.recipe import MailSystem, blocks
from tests.live.through import Through, arrives, replaced
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.daemon import suspend
from tests.support.servers.fresh import fresh
from tests.support.servers.ports import free_port
from tests.support.servers.sendmail import Program, Sendmail
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "sendmail.md"


@pytest.fixture(scope="module")
def program(open_directory: Path) -> Program:
    return Program.unpack(open_directory / "sendmail-package")


def names_of(mail_system: MailSystem, directory: Path, front: int, behind: int) -> dict[str, str]:
    """What stands in this directory, at these ports, for the names of the page."""
    return {
        **mail_system.names,
        setup.PORT: str(behind),
        "Port=25'": f"Port={front}'",
        "Port=587,": f"Port={free_port()},",
        "/var/spool/mqueue-avcheck": f"{directory}/front/queue",
        "/run/sendmail-avcheck.pid": f"{directory}/front/pid",
    }


@contextmanager
def pair(
    mail_system: MailSystem,
    program: Program,
    directory: Path,
    ports: tuple[int, int],
    mc: str,
    options: str,
    rules: str = "",
) -> Iterator[tuple[Sendmail, Sendmail]]:
    """Two sendmails in a new directory: mc is of the first, options and rules of the second."""
    front, behind = ports
    fresh(directory)
    with (
        Sendmail.delivering(
            directory / "behind",
            program,
            relayhost=mail_system.sink.address,
            port=behind,
            options=options,
            more=rules,
        ) as second,
        Sendmail(directory / "front", program, port=front, mc=mc) as first,
    ):
        yield first, second


@contextmanager
def started(
    mail_system: MailSystem,
    program: Program,
    name: str,
    *changes: tuple[str, str],
    behind: int = 0,
    rules: str = "",
) -> Iterator[Through]:
    """Two sendmails with the documented lines; each change replaces words of the first.

    `rules` are rule sets of the second.
    """
    directory = mail_system.directory / name
    ports = free_port(), behind or free_port()
    parts = guide.configuration("sendmail", names_of(mail_system, directory, *ports))
    mc = replaced(parts["avcheck.mc"], *changes)
    with pair(mail_system, program, directory, ports, mc, parts["sendmail.mc"], rules) as halves:
        yield Through(mail_system, *halves)


@pytest.fixture(scope="module")
def sendmail(mail_system: MailSystem, program: Program) -> Iterator[Through]:
    """The two with exactly the documented lines."""
    with started(mail_system, program, "sendmail") as through:
        yield through


def test_each_of_ten_recipients_gets_the_message_once(sendmail: Through) -> None:
    arrives(sendmail, letter(), recipients=tuple(f"bert{n}@example.net" for n in range(10)))


def test_with_m_fifty_recipients_share_one_run(mail_system: MailSystem, program: Program) -> None:
    message = letter()
    recipients = tuple(f"bert{number}@example.net" for number in range(50))
    with started(mail_system, program, "sendmail-m", ("F=nuh8", "F=nuh8m")) as shared:
        arrives(shared, message, recipients=recipients)
        infected = with_attachment(EICAR)
        shared.submit(infected, recipients=recipients)
        shared.run()
        assert len(mail_system.quarantined(infected)) == 1
        shared.account_for()


def test_a_run_waits_for_a_message_that_is_locked_for_a_moment(sendmail: Through) -> None:
    """Who has received it may have it locked still; a queue run would pass over it."""
    assert isinstance(sendmail.front, Sendmail)
    message = letter()
    queued = sendmail.front.directory / "queue" / f"qf{sendmail.submit(message)}"
    waiting = re.compile(rf"-> FLOCK .* {os.getpid()} .*:{queued.stat().st_ino} ")
    with queued.open("rb") as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(file, fcntl.LOCK_EX)
        run = pool.submit(sendmail.run)
        while not run.done() and not waiting.search(Path("/proc/locks").read_text()):
            time.sleep(0.02)
        fcntl.flock(file, fcntl.LOCK_UN)
        run.result()
    assert len(sendmail.delivered(message)) == 1


def test_it_is_seen_as_the_page_says(sendmail: Through) -> None:
    assert isinstance(sendmail.front, Sendmail)
    said = sendmail.front.command("-bv", "root")
    assert "mailer avcheck, host scan" in said


WRONG = {
    "a wrong option": ("--deadline", "--nonsense --deadline"),
    "no avcheck": ("/bin/avcheck -d", "/broken/bin/avcheck -d"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_mail_waits_whatever_goes_wrong(
    mail_system: MailSystem, program: Program, wrong: str
) -> None:
    message = letter()
    name = f"sendmail with {wrong}".replace(" ", "-")
    with started(mail_system, program, name, WRONG[wrong]) as mended_later:
        mended_later.submit(message)
        mended_later.run()
        assert len(mended_later.waiting(message)) == 1
        mended_later.account_for()


def test_a_scanner_that_hangs_is_asked_again_later(
    mail_system: MailSystem, program: Program
) -> None:
    message = letter()
    suspend(mail_system.clamd.pid)
    try:
        with started(
            mail_system, program, "sendmail-slow", ("--deadline 450", "--deadline 2")
        ) as slow:
            slow.submit(message)
            slow.run()
            assert len(slow.waiting(message)) == 1
            slow.account_for()
    finally:
        os.kill(mail_system.clamd.pid, signal.SIGCONT)


def test_a_rejected_virus_bounces_with_avchecks_words(
    mail_system: MailSystem, program: Program
) -> None:
    virus = with_attachment(EICAR)
    change = ("--refused bounce", "--refused bounce --on infected=reject")
    with started(mail_system, program, "sendmail-reject", change) as rejecting:
        rejecting.front.submit("anna@example.com", ["bert@example.net"], virus)
        rejecting.run()
        rejecting.run()  # the bounce is scanned as well
        [bounce] = rejecting.bounces(virus)
        assert bounce.recipients == [b"anna@example.com"]
        assert b"5.7.1" in bounce.data
        assert b"Eicar" in bounce.data
        assert rejecting.front.queue() == []
    mail_system.sink.messages.remove(bounce)


# The sendmail that delivers knows who exists.
KNOWS_USERS = """\
LOCAL_RULESETS
SLocal_check_rcpt
R$* nobody @ $*\t\t$#error $@ 5.1.1 $: "550 no such user here"
"""


def test_a_recipient_that_is_refused_bounces_at_once_and_alone(
    mail_system: MailSystem, program: Program
) -> None:
    message = letter()
    with started(mail_system, program, "sendmail-knows", rules=KNOWS_USERS) as knowing:
        knowing.front.submit(
            "anna@example.com", ["bert@example.net", "nobody@example.net"], message
        )
        knowing.run()
        knowing.run()  # the bounce is scanned as well
        [received] = knowing.delivered(message)
        assert received.recipients == [b"bert@example.net"]
        [bounce] = knowing.bounces(message)
        assert bounce.recipients == [b"anna@example.com"]
        assert b"nobody@example.net" in bounce.data
        assert b"no such user here" in bounce.data
        assert knowing.front.queue() == []
    mail_system.sink.messages.remove(bounce)


def test_without_refused_bounce_it_waits(mail_system: MailSystem, program: Program) -> None:
    message = letter()
    change = (" --refused bounce", "")
    with started(mail_system, program, "sendmail-patient", change, rules=KNOWS_USERS) as patient:
        patient.submit(message, recipients=("nobody@example.net",))
        patient.run()
        assert len(patient.waiting(message)) == 1
        patient.account_for()


def test_it_is_undone_as_the_page_says(mail_system: MailSystem, program: Program) -> None:
    message = letter()
    with started(mail_system, program, "sendmail-undone") as undone:
        front, behind = undone.front, undone.behind
        assert isinstance(front, Sendmail)
        assert isinstance(behind, Sendmail)
        mail_system.waitfile.touch()
        try:
            undone.submit(message, recipients=("bert@example.net", "carl@example.net"))
            undone.run()
            assert len(undone.waiting(message)) == 1
            front.stop()
            name, *words = blocks(DOCUMENT)["undo-queue"].split()
            assert name == "sendmail"
            documented = "/var/spool/mqueue-avcheck"
            behind.command(
                *(word.replace(documented, f"{front.directory}/queue") for word in words)
            )
            assert front.queue() == behind.queue() == []
            undone.account_for()
        finally:
            mail_system.waitfile.unlink()
        # Mail for the former front door waits at its senders; nothing of it is lost.
        assert sorted(to for each in undone.delivered(message) for to in each.recipients) == [
            b"bert@example.net",
            b"carl@example.net",
        ]


@pytest.mark.parametrize(
    ("words", "outcome"), [("-n", "gone"), ("-n -g 10", "bounced"), ("-n -g 75", "waiting")]
)
def test_n_is_not_for_a_mailer(
    mail_system: MailSystem, program: Program, words: str, outcome: str
) -> None:
    """As the page says: there is no status that means "go on"."""
    message = letter()
    name = "sendmail" + words.replace(" ", "")
    change = ("--refused bounce", f"--refused bounce {words}")
    with started(mail_system, program, name, change) as alone:
        alone.front.submit("anna@example.com", ["bert@example.net"], message)
        alone.run()
        assert alone.delivered(message) == []
        waiting = alone.waiting(message)
        assert bool(waiting) == (outcome == "waiting")
        # The bounce itself has nowhere to go here, either.
        assert ("unknown mailer error 10" in alone.front.log) == (outcome == "bounced")


def test_smrsh_runs_what_is_linked_as_the_page_says(
    mail_system: MailSystem, program: Program
) -> None:
    # /etc is a copy, which only this command sees.
    copy = mail_system.directory / "etc"
    names = mail_system.names
    link = mail_system.adapted(blocks(DOCUMENT)["smrsh"])
    commands = (
        f"cp -a /etc {copy} && mount --bind {copy} /etc && mkdir -p /etc/mail/smrsh && {link}"
        'exec "$@"'
    )
    avcheck = [
        *(
            "avcheck-guard",
            f"{names['/opt/avcheck']}/bin/avcheck",
            "-d",
            str(mail_system.spool),
            "-s",
            f"clamd:{mail_system.clamd.socket}",
        ),
        *("-S", mail_system.sink.address, "-f", "anna@example.com", "--", "bert@example.net"),
    ]
    message = letter()
    done = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-euc", commands, "sh"),
            *("setpriv", f"--reuid={mail_system.client}", f"--regid={mail_system.group}"),
            *("--clear-groups", str(program.smrsh), "-c", " ".join(avcheck)),
        ],
        input=message.replace(b"\r\n", b"\n"),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), done
    [received] = mail_system.delivered(message)
    assert received.data == message


def test_smrsh_refuses_a_program_that_it_does_not_know(program: Program) -> None:
    # With 69, at which sendmail bounces: the page says to link the program first.
    done = subprocess.run(
        [program.smrsh, "-c", "avcheck-guard -n -f x@example.com -- y@example.net"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 69
    assert b"not available for sendmail programs" in done.stdout + done.stderr


def test_every_accepted_message_is_accounted_for(sendmail: Through) -> None:
    """Must stay the last test of this module that uses `sendmail`."""
    sendmail.account_for()
    assert sendmail.front.queue() == []

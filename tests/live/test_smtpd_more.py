"""avcheck-smtp before the queue beside the pipe, and with clients that nobody here wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.live.recipe import MailSystem
from tests.live.smtpd import Way, way
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import packages


@pytest.fixture(scope="module")
def combined(mail_system: MailSystem) -> Iterator[Way]:
    """Before the queue for the network, and the pipe for the rest, with one listener."""
    pipe = mail_system.blocks["master.cf"]
    service = pipe[: pipe.index("127.0.0.1:10026 inet")]
    main = mail_system.blocks["main.cf"].replace("pipe_delivery_status_filter", "#")
    with way(mail_system, "before", main=main, master=service, label="smtpd-combined") as found:
        yield found


def arrives(system: MailSystem, way: Way, message: bytes) -> None:
    way.postfix.wait_until(lambda: bool(system.delivered(message)), "the message")
    system.settle(way.postfix)
    assert len(system.delivered(message)) == 1


def test_mail_of_the_network_is_scanned_before_the_queue_and_other_mail_by_the_pipe(
    mail_system: MailSystem, combined: Way
) -> None:
    theirs, ours = letter(), letter()
    assert combined.send(theirs).code == 250
    arrives(mail_system, combined, theirs)
    assert " relay=avcheck, " not in combined.postfix.log
    sendmail = ("sendmail", "-i", "-f", "anna@example.com", "bert@example.net")
    combined.postfix.command(*sendmail, stdin=ours.replace(b"\r\n", b"\n"))
    arrives(mail_system, combined, ours)
    assert " relay=avcheck, " in combined.postfix.log


def test_a_virus_of_the_network_is_refused_and_another_is_kept(
    mail_system: MailSystem, combined: Way
) -> None:
    theirs, ours = with_attachment(EICAR), with_attachment(EICAR)
    assert combined.send(theirs).code == 550
    sendmail = ("sendmail", "-i", "-f", "anna@example.com", "bert@example.net")
    combined.postfix.command(*sendmail, stdin=ours.replace(b"\r\n", b"\n"))
    combined.postfix.wait_until(lambda: bool(mail_system.quarantined(ours)), "the quarantine")
    mail_system.settle(combined.postfix)
    assert mail_system.quarantined(theirs) == []
    assert mail_system.delivered(theirs) == mail_system.delivered(ours) == []


@pytest.mark.parametrize("infected", [False, True], ids=["clean", "infected"])
def test_swaks_speaks_with_avcheck_smtp(
    mail_system: MailSystem, combined: Way, infected: bool
) -> None:
    packages.need("swaks", commands=["swaks"])
    message = with_attachment(EICAR) if infected else letter("x\n.\n..\n")
    file = mail_system.directory / "swaks"
    file.write_bytes(message)
    words = [
        "swaks",
        "--server",
        f"127.0.0.1:{combined.filter}",
        "--pipeline",
        "--data",
        f"@{file}",
    ]
    words += ["--from", "anna@example.com", "--to", "bert@example.net,carl@example.net"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode == 0) is not infected, done.stdout
    if infected:
        assert "550 5.7.1 message refused: infected: Eicar-Test-Signature" in done.stdout
    else:
        arrives(mail_system, combined, message)


def test_smtp_source_sends_many_messages(mail_system: MailSystem, combined: Way) -> None:
    """Postfix's own generator of load: a hundred messages, none lost, none twice."""
    packages.need("postfix", commands=["smtp-source"])
    mail_system.sink.take()
    words = ["smtp-source", "-s", "3", "-m", "100", "-l", "4000", "-N", "-t", "bert@example.net"]
    subprocess.run([*words, f"127.0.0.1:{combined.filter}"], check=True, timeout=120)
    mail_system.sink.wait_for(100)
    mail_system.settle(combined.postfix)
    received = mail_system.sink.take()
    assert len({each.recipients[0] for each in received}) == len(received) == 100

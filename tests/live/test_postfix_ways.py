"""Other ways through Postfix than that of docs/postfix.md: by port, by recipient, by a script."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.recipe import MailSystem
from tests.live.through import replaced
from tests.support.letters import EICAR, letter, token, with_attachment
from tests.support.servers.daemon import suspend
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.queue import submit
from tests.support.servers.sink import Received

BOUNCE = re.compile(rb"^Content-Type: multipart/report", re.M | re.I)

BOARD, OTHER = "board@example.net", "bert@example.net"


def bounces(mail_system: MailSystem, message: bytes) -> list[Received]:
    """The notices to a sender that a message could not be delivered."""
    sign = (token(message) or "").encode()
    return [
        each for each in mail_system.sink.messages if BOUNCE.search(each.data) and sign in each.data
    ]


def arrives(mail_system: MailSystem, postfix: Postfix, message: bytes, *recipients: str) -> None:
    """Wait until the message is with all recipients; it is there once."""
    postfix.wait_until(lambda: bool(mail_system.delivered(message)), "the message")
    mail_system.settle(postfix)
    reached = [to.decode() for each in mail_system.delivered(message) for to in each.recipients]
    assert sorted(reached) == sorted(recipients)


# By the port.


@pytest.fixture(scope="module")
def submission(mail_system: MailSystem) -> Iterator[tuple[Postfix, int]]:
    """A Postfix with another filter on the submission port, and that port."""
    port = free_port()
    names = {"submission inet": f"127.0.0.1:{port} inet"}
    more = {
        "master.cf": mail_system.blocks["submission"],
        "main.cf": mail_system.blocks["main-own"],
        "avcheck-own.conf": mail_system.blocks["avcheck-own.conf"],
    }
    # Nobody has a password here: who comes by that port is let in as on the other one.
    changes = (
        ("    -o smtpd_tls_security_level=encrypt\n", ""),
        ("    -o smtpd_sasl_auth_enable=yes\n", ""),
        ("    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n", ""),
    )
    with mail_system.postfix("submission", *changes, more=more, names=names) as postfix:
        yield postfix, port


def test_a_virus_of_an_own_user_bounces_and_one_of_the_world_does_not(
    mail_system: MailSystem, submission: tuple[Postfix, int]
) -> None:
    postfix, port = submission
    ours, theirs = with_attachment(EICAR), with_attachment(EICAR)
    submit(port, "anna@example.com", [OTHER], ours)
    mail_system.submit(postfix, theirs)
    postfix.wait_until(lambda: bool(bounces(mail_system, ours)), "the bounce")
    mail_system.settle(postfix)
    [bounce] = bounces(mail_system, ours)
    assert (bounce.sender, bounce.recipients) == (b"", [b"anna@example.com"])
    assert b"5.7.1" in bounce.data
    assert b"Eicar-Test-Signature" in bounce.data
    # The header of the message, and not its body.
    assert base64.encodebytes(EICAR).splitlines()[0] not in bounce.data
    assert mail_system.quarantined(ours) == []
    assert len(mail_system.quarantined(theirs)) == 1
    assert bounces(mail_system, theirs) == []
    assert mail_system.delivered(ours) == mail_system.delivered(theirs) == []


def test_clean_mail_arrives_by_both_ports(
    mail_system: MailSystem, submission: tuple[Postfix, int]
) -> None:
    postfix, port = submission
    ours, theirs = letter(), letter()
    submit(port, "anna@example.com", [OTHER], ours)
    mail_system.submit(postfix, theirs)
    for message in (ours, theirs):
        arrives(mail_system, postfix, message, OTHER)
    assert " relay=avcheck-own, " in postfix.log
    assert " relay=avcheck, " in postfix.log


def test_mail_of_both_ports_waits_for_clamd(
    mail_system: MailSystem, submission: tuple[Postfix, int]
) -> None:
    postfix, port = submission
    messages = [letter(), with_attachment(EICAR)]
    mail_system.clamd.stop()
    try:
        for message in messages:
            submit(port, "anna@example.com", [OTHER], message)
        postfix.wait_until(
            lambda: [each.queue for each in postfix.queue()] == ["deferred"] * 2, "both deferred"
        )
    finally:
        mail_system.clamd.start()
    postfix.flush()
    arrives(mail_system, postfix, messages[0], OTHER)
    postfix.wait_until(lambda: bool(bounces(mail_system, messages[1])), "the bounce")
    assert mail_system.delivered(messages[1]) == []


# By the recipient.


OWN_SERVICE = re.compile(r"^avcheck-own unix.*\n(?:    .*\n)*", re.M)


def own_service(mail_system: MailSystem) -> str:
    """The lines of the service avcheck-own in master.cf."""
    found = OWN_SERVICE.search(mail_system.blocks["submission"])
    assert found
    return found[0]


@pytest.fixture(scope="module")
def filtering(mail_system: MailSystem) -> Iterator[Postfix]:
    """A Postfix with FILTER for one recipient; avcheck-own rejects and marks what is clean."""
    more = {
        "master.cf": own_service(mail_system),
        "main.cf": mail_system.blocks["main-own"] + mail_system.blocks["main-recipients"],
        "avcheck_recipients": mail_system.blocks["avcheck_recipients"]
        + "careless@example.net FILTER smtp:[127.0.0.1]:10026\n",
        "avcheck-own.conf": mail_system.blocks["avcheck-own.conf"] + "header own\n",
    }
    port = free_port()
    names = {"127.0.0.1:10026": f"127.0.0.1:{port}", "[127.0.0.1]:10026": f"[127.0.0.1]:{port}"}
    with mail_system.postfix("filtering", more=more, names=names) as postfix:
        yield postfix


def test_filter_is_for_mail_to_that_recipient(mail_system: MailSystem, filtering: Postfix) -> None:
    board, other = letter(), letter()
    mail_system.submit(filtering, board, recipients=(BOARD,))
    mail_system.submit(filtering, other, recipients=(OTHER,))
    arrives(mail_system, filtering, board, BOARD)
    arrives(mail_system, filtering, other, OTHER)
    assert b"X-AV-Checked: " in mail_system.delivered(board)[0].data
    assert b"X-AV-Checked: " not in mail_system.delivered(other)[0].data


def test_filter_is_for_all_recipients_of_a_message(
    mail_system: MailSystem, filtering: Postfix
) -> None:
    """As the page says: not for one of them alone."""
    message = letter()
    mail_system.submit(filtering, message, recipients=(OTHER, BOARD))
    arrives(mail_system, filtering, message, OTHER, BOARD)
    for received in mail_system.delivered(message):
        assert b"X-AV-Checked: " in received.data


def test_of_several_filters_the_last_counts_and_so_none_may_lead_past_the_scanner(
    mail_system: MailSystem, filtering: Postfix
) -> None:
    """The mistake that the page warns of: an unfiltered recipient opens the door for all."""
    virus = with_attachment(EICAR)
    careful = (BOARD, "careless@example.net")
    submit(filtering.port, "anna@example.com", careful, virus)
    arrives(mail_system, filtering, virus, *careful)
    mail_system.sink.messages.remove(mail_system.delivered(virus)[0])
    again = with_attachment(EICAR)
    submit(filtering.port, "anna@example.com", careful[::-1], again)
    filtering.wait_until(lambda: bool(bounces(mail_system, again)), "the bounce")
    assert mail_system.delivered(again) == []


def test_the_transport_map_makes_a_run_for_each_rule(mail_system: MailSystem) -> None:
    port = free_port()
    behind = mail_system.directory / "delivering"
    listener = mail_system.block("master.cf", {"127.0.0.1:10026": f"127.0.0.1:{port}"})
    with Postfix(
        behind,
        relayhost=mail_system.sink.address,
        master=listener[listener.index(f"127.0.0.1:{port} inet") :],
    ) as delivering:
        more = {
            "master.cf": own_service(mail_system),
            "main.cf": mail_system.blocks["main-own"],
            "avcheck_transport": mail_system.blocks["avcheck_transport"],
            "avcheck-own.conf": mail_system.blocks["avcheck-own.conf"] + "header own\n",
        }
        own = mail_system.blocks["main-transport"]
        names = {"127.0.0.1:10026": f"127.0.0.1:{port}"}
        config = {"/etc/postfix": f"{mail_system.directory}/front/config"}
        changes = (
            ("content_filter = avcheck:dummy\n", mail_system.adapted(own, config)),
            (listener[listener.index(f"127.0.0.1:{port} inet") :], ""),
        )
        with mail_system.postfix("front", *changes, more=more, names=names) as front:
            message, virus = letter(), with_attachment(EICAR)
            recipients = (BOARD, OTHER, "carl@example.net")
            mail_system.submit(front, message, recipients=recipients)
            delivering.wait_until(lambda: len(mail_system.delivered(message)) == 3, "three copies")
            mail_system.settle(front)
            marked = {
                to.decode(): b"X-AV-Checked" in each.data
                for each in mail_system.delivered(message)
                for to in each.recipients
            }
            assert marked == {BOARD: True, OTHER: False, "carl@example.net": False}
            # One bounces, one is in the quarantine; nobody gets it.
            submit(front.port, "anna@example.com", recipients[:2], virus)
            front.wait_until(lambda: bool(mail_system.quarantined(virus)), "the quarantine")
            front.wait_until(lambda: "status=bounced" in front.log, "the bounce")
            # A bounce goes through the map as well, and would be found infected with its virus.
            front.wait_until(lambda: bool(bounces(mail_system, virus)), "the bounce")
            assert mail_system.delivered(virus) == []
            [entry] = mail_system.quarantined(virus)
            assert OTHER in (entry / "about.json").read_text()
            assert BOARD not in (entry / "about.json").read_text()
            assert front.queue() == []


# A script.


OWN_FILTER = """#!/bin/sh
echo 'X-Own: yes'
exec cat
"""


@contextmanager
def scripted(
    mail_system: MailSystem, name: str, *changes: tuple[str, str], own: str = OWN_FILTER
) -> Iterator[Postfix]:
    """A Postfix whose filter is the script of the page; changes replace words in the script."""
    programs = mail_system.directory / f"{name}-bin"
    store = Path(f"{mail_system.spool}-own")
    for directory in (programs, store):
        directory.mkdir(exist_ok=True)
    programs.chmod(0o755)
    store.chmod(0o700)
    shutil.chown(store, mail_system.client, mail_system.group)
    port = free_port()
    names = {"127.0.0.1:10026": f"127.0.0.1:{port}", "/usr/local/bin": str(programs)}
    script = replaced(mail_system.block("avcheck-own", names), *changes)
    for file, text in (("avcheck-own", script), ("own-filter", own)):
        (programs / file).write_text(text)
        (programs / file).chmod(0o755)
    listener = mail_system.block("master.cf", names)
    service = listener[: listener.index("\n127.0.0.1:") + 1]
    master = (service, mail_system.block("master-script", names))
    limit = ("avcheck_time_limit = 600s", "avcheck_time_limit = 2000s")
    with mail_system.postfix(name, master, limit, names=names) as postfix:
        yield postfix
    assert list(store.iterdir()) == []
    assert mail_system.left_behind() == []


def test_a_script_has_its_say_in_between(mail_system: MailSystem) -> None:
    with scripted(mail_system, "scripted") as postfix:
        for message, sender in (
            (letter(".\n..\nGr\xfc\xdfe\n"), "anna@example.com"),
            (letter(), ""),
        ):
            queue_id = mail_system.submit(postfix, message, sender, (OTHER, '"a b"@example.net'))
            [outcome, *_] = postfix.wait_for_outcomes(queue_id, relay="avcheck")
            assert "status=sent (delivered via avcheck service (injected: " in outcome
            mail_system.settle(postfix)
            assert len(mail_system.delivered(message)) == 2
            for received in mail_system.delivered(message):
                assert received.data.endswith(message)
                assert re.search(rb"\r\nX-Own: yes\r\n", received.data)
                assert received.sender.decode() == sender
        virus = with_attachment(EICAR)
        queue_id = mail_system.submit(postfix, virus)
        [outcome] = postfix.wait_for_outcomes(queue_id, relay="avcheck")
        assert "status=sent (delivered via avcheck service (infected: Eicar" in outcome
        mail_system.account_for(postfix)
        assert len(mail_system.quarantined(virus)) == 1


def test_a_script_keeps_what_the_scanner_has_not_seen(mail_system: MailSystem) -> None:
    with scripted(mail_system, "scripted-waiting") as postfix:
        message = letter()
        mail_system.clamd.stop()
        try:
            queue_id = mail_system.submit(postfix, message)
            [outcome] = postfix.wait_for_outcomes(queue_id, relay="avcheck")
            assert "dsn=4.4.1, status=deferred" in outcome
            assert str(mail_system.clamd.socket) in outcome
        finally:
            mail_system.clamd.start()
        postfix.flush()
        arrives(mail_system, postfix, message, OTHER)
        mail_system.account_for(postfix)


BROKEN = {
    "the filter is killed": "#!/bin/sh\nkill -9 $$\n",
    "no such interpreter": "#!/nonexistent/python\n",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_script_keeps_what_its_filter_has_not_done(mail_system: MailSystem, broken: str) -> None:
    name = "scripted-" + broken.replace(" ", "-")
    with scripted(mail_system, name, own=BROKEN[broken]) as postfix:
        queue_id = mail_system.submit(postfix, letter())
        [outcome] = postfix.wait_for_outcomes(queue_id, relay="avcheck")
        # The shell says by itself that somebody was killed; that does not bounce the mail.
        assert "dsn=4.3.0, status=deferred" in outcome
        assert "avcheck-own: own-filter: status" in outcome
        mail_system.account_for(postfix)


def test_a_script_keeps_what_a_broken_avcheck_has_not_seen(mail_system: MailSystem) -> None:
    # It leaves as a Python that finds no modules does.
    change = (f"{mail_system.guarded} ", "/bin/false ")
    with scripted(mail_system, "scripted-broken", change) as postfix:
        queue_id = mail_system.submit(postfix, letter())
        [outcome] = postfix.wait_for_outcomes(queue_id, relay="avcheck")
        assert "status=deferred (avcheck-own: avcheck: status 1 )" in outcome
        mail_system.account_for(postfix)


def running(*words: str) -> list[int]:
    """The processes with all of these among the words of their command lines."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # gone
            line = Path("/proc", pid, "cmdline").read_text(errors="replace")
            if set(words) <= set(line.split("\0")):
                found.append(int(pid))
    return found


def parent(pid: int) -> int:
    """The process that has started this one, or that has inherited it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def test_a_script_hands_on_nothing_that_was_cut_short(mail_system: MailSystem) -> None:
    """pipe(8) is killed while the scanner looks: the script goes on, and must not deliver."""
    with scripted(mail_system, "scripted-alone") as postfix:
        # master(8) starts a pipe(8) that has died without work done a minute later.
        first, message = letter(), letter()
        mail_system.submit(postfix, first)
        arrives(mail_system, postfix, first, OTHER)
        suspend(mail_system.clamd.pid)
        try:
            queue_id = mail_system.submit(postfix, message)
            postfix.wait_until(lambda: bool(running("-n", queue_id)), "the scan")
            script = str(mail_system.directory / "scripted-alone-bin" / "avcheck-own")
            [shell] = running(script, queue_id)
            os.kill(parent(shell), signal.SIGKILL)
        finally:
            os.kill(mail_system.clamd.pid, signal.SIGCONT)
        postfix.wait_until(lambda: not running(script, queue_id), "the end of the script")
        # A delivery now would be one that Postfix does not know of.
        assert mail_system.delivered(message) == []
        postfix.flush()
        arrives(mail_system, postfix, message, OTHER)
        mail_system.account_for(postfix)

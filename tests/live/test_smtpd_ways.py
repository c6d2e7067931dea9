"""Real mail by avcheck-smtp through a real Postfix, after the queue and before it."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator

import pytest

from tests.live.recipe import MailSystem
from tests.live.smtpd import Way, way
from tests.live.test_refused import REFUSING
from tests.live.through import unchanged
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.postfix import PATIENCE

REFUSED = ("never@example.net", "another@example.net", "third@example.net")

# The second server refuses these, and keeps mail of one sender where it can be looked at.
RESTRICTIONS = REFUSING.replace(
    "{another@", "{third@example.net = 550 5.1.1 gone}, {another@"
).replace(
    "permit_mynetworks", "check_sender_access inline:{held@example.com=HOLD}, permit_mynetworks"
)
CHANGES = (
    ("    -o smtpd_recipient_restrictions=permit_mynetworks,reject\n", ""),
    ("    -o smtpd_end_of_data_restrictions=\n", RESTRICTIONS),
)


@pytest.fixture(scope="module", params=["after", "before"])
def found(request: pytest.FixtureRequest, mail_system: MailSystem) -> Iterator[Way]:
    with way(mail_system, request.param, *CHANGES) as each:
        yield each
    assert mail_system.left_behind() == []


def arrives(system: MailSystem, way: Way, message: bytes, *recipients: str) -> None:
    """Wait until the message is there, once for each recipient, and unchanged."""
    way.postfix.wait_until(lambda: bool(system.delivered(message)), "the message")
    system.settle(way.postfix)
    received = system.delivered(message)
    for each in received:
        if way.before:  # the one queue that it was in has put a line before it
            assert re.fullmatch(rb"(Received: .*\n(\s.*\n)*){2}", each.data[: -len(message)])
            assert each.data.endswith(message)
        else:
            unchanged(message, each.data)
    reached = [to.decode() for each in received for to in each.recipients]
    assert sorted(reached) == sorted(recipients or ("bert@example.net",))


def waits(way: Way, message: bytes, words: str) -> str:
    """Send what cannot be checked now: it is still in the queue, or the client's.  The queue id."""
    sent = way.send(message)
    if way.before:
        assert sent.code == 451, sent
        return ""
    outcome = way.postfix.wait_for_outcomes(sent.queue_id)[-1]
    assert "status=deferred" in outcome
    assert words in outcome
    return sent.queue_id


def comes_back(system: MailSystem, way: Way, message: bytes) -> None:
    """What had to wait is tried again, and arrives once."""
    if way.before:
        assert way.send(message).code == 250
    else:
        way.postfix.flush()
    arrives(system, way, message)


def test_of_fifty_recipients_the_three_that_are_refused_bounce_alone(
    found: Way, mail_system: MailSystem
) -> None:
    fine = [f"bert{number}@example.net" for number in range(47)]
    message = letter()
    sent = found.send(message, *fine[:20], REFUSED[0], *fine[20:], *REFUSED[1:])
    if found.before:  # Postfix has answered for all by then, and cannot say it for one
        assert set(sent.recipients.values()) == {250}
        assert sent.code // 100 in (4, 5)
        assert mail_system.delivered(message) == []
        return
    outcomes = found.postfix.wait_for_outcomes(sent.queue_id, 50)
    bounced = [each for each in outcomes if "status=bounced" in each]
    assert sorted(re.findall(r"to=<(.*?)>", " ".join(bounced))) == sorted(REFUSED)
    assert all("dsn=5.1.1" in each and "gone" in each for each in bounced)
    arrives(mail_system, found, message, *fine)


def test_before_the_queue_without_speed_adjust_each_recipient_has_its_answer(
    mail_system: MailSystem,
) -> None:
    changes = (*CHANGES, ("    -o smtpd_proxy_options=speed_adjust\n", ""))
    with way(mail_system, "before", *changes, label="smtpd-at-once") as found:
        message = letter()
        sent = found.send(message, "bert@example.net", *REFUSED)
        assert list(sent.recipients.values()) == [250, 550, 550, 550]
        assert sent.code == 250
        arrives(mail_system, found, message)


def test_a_virus_is_kept_after_the_queue_and_refused_before_it(
    found: Way, mail_system: MailSystem
) -> None:
    message = with_attachment(EICAR)
    sent = found.send(message, sender="")
    if found.before:
        assert (sent.code, sent.words[:5]) == (550, "5.7.1")
        assert "infected: Eicar-Test-Signature" in sent.words
        assert mail_system.quarantined(message) == []
    else:
        (outcome,) = found.postfix.wait_for_outcomes(sent.queue_id)
        assert "status=sent (250 2.0.0 infected: Eicar-Test-Signature" in outcome
        assert len(mail_system.quarantined(message)) == 1
    mail_system.settle(found.postfix)
    assert mail_system.delivered(message) == []


def test_the_second_server_sees_the_dsn_parameters(found: Way) -> None:
    with smtplib.SMTP("127.0.0.1", found.port, timeout=PATIENCE) as client:
        client.ehlo()
        client.mail("held@example.com", ["RET=HDRS", "ENVID=QQ+2B314159"])
        client.rcpt("bert@example.net", ["NOTIFY=DELAY,FAILURE", "ORCPT=rfc822;a+2Bb@example.org"])
        code, words = client.data(letter())
    assert code == 250, words
    queue_id = words.decode().rpartition("queued as ")[2]
    if not found.before:
        (outcome,) = found.postfix.wait_for_outcomes(queue_id)
        queue_id = re.findall(r"queued as (\w+)", outcome)[0]
    try:
        envelope = found.postfix.command("postcat", "-e", "-q", queue_id)
    finally:
        found.postfix.command("postsuper", "-d", queue_id)
    for line in (
        "envelope_id=QQ+314159",
        "dsn_orig_rcpt=rfc822;a+b@example.org",
        "ret_flags=2",  # DSN_RET_HDRS
        "notify_flags=12",  # DSN_NOTIFY_FAILURE | _DELAY
    ):
        assert f"named_attribute: {line}\n" in envelope


def test_the_second_server_logs_the_client_of_the_first(
    found: Way, mail_system: MailSystem
) -> None:
    message = letter()
    sent = found.send(message)
    arrives(mail_system, found, message)
    if found.before:
        assert re.search(rf"{sent.queue_id}: client=.*orig_client=localhost", found.postfix.log)
    else:
        assert f"orig_queue_id={sent.queue_id}" in found.postfix.log


def test_a_bounce_keeps_its_empty_sender(found: Way, mail_system: MailSystem) -> None:
    message = letter()
    assert found.send(message, sender="").code == 250
    arrives(mail_system, found, message)
    assert [each.sender for each in mail_system.delivered(message)] == [b""]


def test_addresses_in_utf8(found: Way, mail_system: MailSystem) -> None:
    sender, recipient = "j\u00f6rg@example.com", "\u65e5\u672c@example.net"
    message = letter("x\n", "X-Name: J\u00f6rg")
    with smtplib.SMTP("127.0.0.1", found.port, timeout=PATIENCE) as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        assert client.mail(sender, ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
        assert client.rcpt(recipient)[0] == 250
        assert client.data(message)[0] == 250
    arrives(mail_system, found, message, recipient)
    assert [each.sender.decode() for each in mail_system.delivered(message)] == [sender]


def test_thirty_megabytes(found: Way, mail_system: MailSystem) -> None:
    message = with_attachment(bytes(range(256)) * (22 * 4096))
    assert len(message) > 30_000_000
    assert found.send(message).code == 250
    arrives(mail_system, found, message)
    del mail_system.sink.messages[:]


def test_without_clamd_mail_waits_and_then_arrives(found: Way, mail_system: MailSystem) -> None:
    message = letter()
    mail_system.clamd.stop()
    try:
        waits(found, message, "said: 451 4.4.1")
        assert mail_system.delivered(message) == []
    finally:
        mail_system.clamd.start()
    comes_back(mail_system, found, message)


def test_mail_waits_for_the_end_of_a_pause(found: Way, mail_system: MailSystem) -> None:
    message = letter()
    mail_system.shell("hold")
    try:
        waits(found, message, "451 4.3.2")
    finally:
        mail_system.waitfile.unlink()
    comes_back(mail_system, found, message)


def test_without_the_next_hop_mail_waits_and_then_arrives(
    found: Way, mail_system: MailSystem
) -> None:
    master = found.postfix.config / "master.cf"
    text = master.read_text()
    message = letter()
    master.write_text(text.replace(f"127.0.0.1:{found.behind} inet", "127.0.0.1:1 inet"))
    found.postfix.reload()
    try:
        waits(found, message, "421 4.4.1")
    finally:
        master.write_text(text)
        found.postfix.reload()
    comes_back(mail_system, found, message)


def test_after_the_queue_and_not_before_it_a_connection_is_kept_for_the_next_message(
    found: Way, mail_system: MailSystem
) -> None:
    messages = [letter() for _ in range(6)]
    for message in messages:
        found.postfix.wait_for_outcomes(found.send(message).queue_id)
    mail_system.settle(found.postfix)
    kept = re.search(rf":{found.filter}, conn_use=[2-6], .*status=sent", found.postfix.log)
    assert bool(kept) is not found.before
    assert all(len(mail_system.delivered(message)) == 1 for message in messages)


# What may go wrong with a program, and says so on standard error, which is the connection.
BROKEN: dict[str, str] = {
    "it ends": "#!/bin/false\n",
    "no such interpreter": "#!/nonexistent/python\n",
    "words of Python": "#!/bin/sh\necho 'Traceback (most recent call last):' >&2\nexit 1\n",
    "words of a loader": "#!/bin/sh\necho '/x: cannot open shared object file' >&2\nexit 127\n",
    "it is killed": "#!/bin/sh\nkill -9 $$\n",
}


@pytest.mark.parametrize("name", ["after", "before"])
def test_mail_waits_while_the_program_is_broken(mail_system: MailSystem, name: str) -> None:
    program = mail_system.directory / f"smtpd-broken-{name}-program"
    command = mail_system.adapted("argv=/opt/avcheck/bin/avcheck-smtp")
    change = (command, f"argv={program}")
    with way(mail_system, name, change, label=f"smtpd-broken-{name}") as found:
        waits(found, letter(), "")  # there is none
        for text in BROKEN.values():
            program.write_text(text)
            program.chmod(0o755)
            waits(found, letter(), "")


def test_the_way_after_the_queue_is_undone_as_the_page_says(mail_system: MailSystem) -> None:
    with way(mail_system, "after", label="smtpd-undone") as found:
        message = letter()
        mail_system.waitfile.touch()
        try:
            waits(found, message, "451 4.3.2")
            mail_system.shell("undo-smtp", found.postfix)
            arrives(mail_system, found, message)
        finally:
            mail_system.waitfile.unlink()
        mail_system.shell("remove-smtp", found.postfix)
        assert "avcheck" not in found.postfix.command("postconf", "-M")


def test_the_way_before_the_queue_is_undone_as_the_page_says(mail_system: MailSystem) -> None:
    with way(mail_system, "before", label="smtpd-before-undone") as found:
        mail_system.shell("remove-before", found.postfix)
        assert "avcheck" not in found.postfix.command("postconf", "-M")

"""docs/sendmail.md on a machine with Debian's sendmail as it is installed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.live.debian import COMMON, wheels
from tests.live.debian_sendmail import (
    ANNA,
    BERT,
    BLOCKED,
    CONFIGURATION,
    DOCUMENT,
    DOOR_QUEUE,
    MANY,
    QUARANTINE,
    QUEUE,
    SendmailDebian,
    mail,
)
from tests.live.recipe import DOCUMENT as POSTFIX
from tests.live.recipe import blocks
from tests.support.letters import token
from tests.support.servers.machine import Layer

GUARD = "/usr/local/libexec/avcheck-guard"
SCAN = f"/bin/sh {GUARD} "
DEAD_LETTER = "/var/lib/sendmail/dead.letter"


@pytest.fixture(scope="module")
def machine() -> Iterator[SendmailDebian]:
    with (
        Layer(*COMMON, "sendmail", purge="postfix") as layer,
        SendmailDebian(layer, wheels()) as place,
    ):
        yield place


def accepted(replies: list[tuple[int, str]]) -> None:
    assert {code for code, _ in replies} == {250}, replies


def test_it_listens_where_debian_does(machine: SendmailDebian) -> None:
    assert machine.listening() == {"127.0.0.1:25", "127.0.0.1:587", "127.0.0.1:10026"}


def test_it_is_seen_as_the_page_says(machine: SendmailDebian) -> None:
    # And nothing else is said, such as that a directory does not exist.
    said = machine.follow(DOCUMENT, "seen")
    assert said == "root... deliverable: mailer avcheck, host scan, user root\n"
    machine.wait_until(lambda: b"avcheck, clean" in b"".join(machine.mailbox("root")), "mail")
    assert "host_status" not in machine.log
    assert re.search(r"verdict=clean.*Message accepted for delivery", machine.log)


def test_mail_from_this_host_arrives(machine: SendmailDebian) -> None:
    message = mail()
    machine.submit(message, "bert")
    machine.arrives(message)


BODIES: dict[str, str | bytes] = {
    "dots": ".\n..\n>From x\n blank \n\n\n.\n",
    "8-bit": "Gr\u00fc\u00dfe\n",
    "no UTF-8": b"\xe4\xff\n",
    "a line of 3000": "x" * 3000 + "\n",
}

ODD = [
    "Subject: \u00fcber",
    "Subject:",
    "X-Empty:",
    "X-Long: " + "y" * 1200,
    "X-\u00fc: z",
    "Received: from nowhere",
]


def test_mail_from_the_network_arrives_unchanged(machine: SendmailDebian) -> None:
    messages = [mail(body) for body in BODIES.values()]
    accepted(machine.send(*messages, to=[MANY]))
    machine.arrives(*messages, user="many")
    for message, body in zip(messages, BODIES.values(), strict=True):
        [copy] = machine.copies(message, "many")
        raw = body.encode() if isinstance(body, str) else body
        assert copy.endswith(b"\n\n" + raw + b"\n"), copy


def test_odd_headers_arrive(machine: SendmailDebian) -> None:
    message = mail("Hello.\n", *ODD)
    accepted(machine.send(message))
    machine.arrives(message)
    [copy] = machine.copies(message)
    for line in ODD:
        assert line.encode() in copy.replace(b"\n\t", b" ").splitlines(), line


def test_addresses_with_utf_8_are_refused_at_once(machine: SendmailDebian) -> None:
    """Debian's sendmail has no SMTPUTF8: nobody could deliver it."""
    odd = "j\u00fcrgen@mail.example.test"
    for sender, to in ((ANNA, odd), (odd, BERT), (ANNA, "bert@m\u00fcller.example")):
        [(code, said)] = machine.send(mail(), sender=sender, to=[to])
        assert (code, said[:5]) == (553, "5.6.7"), said
    done = machine.attempt("sendmail", odd, data=b"Subject: to nobody\n\n")
    assert done.returncode == 67  # EX_NOUSER; and root gets a bounce
    machine.wait_until(lambda: b"553 5.6.7" in b"".join(machine.mailbox("root")), "bounce")
    assert machine.queue() == []


def test_other_odd_addresses_are_taken(machine: SendmailDebian) -> None:
    message = mail()
    accepted(machine.send(message, sender='"a b\\"c"@mail.example.test', to=[MANY]))
    accepted(machine.send(bounce := mail(), sender="", to=[MANY]))
    machine.arrives(message, bounce, user="many")


def test_postmaster_hears_of_a_virus(machine: SendmailDebian) -> None:
    machine.follow(POSTFIX, "infected")
    report = rb"^To: postmaster@mail\.example\.test\nSubject: avcheck on .*: infected: Eicar"
    machine.wait_until(
        lambda: re.search(report, b"".join(machine.mailbox("root")), re.M), "report to postmaster"
    )
    [entry] = [each for each in machine.path(QUARANTINE).iterdir() if each.name[0] != "."]
    about = json.loads((entry / "about.json").read_text())
    assert about["sendmail"] == f"{GUARD} /opt/avcheck/bin/avcheck -c -S 127.0.0.1:10026"
    # And what is released from there arrives.
    before = len(machine.mailbox("root"))
    machine.run("avcheckctl", "quarantine", "release", entry.name)
    machine.wait_until(lambda: len(machine.mailbox("root")) > before, "the released message")


def test_the_checks_of_debian_are_at_the_front_door(machine: SendmailDebian) -> None:
    [(code, said)] = machine.send(mail(), sender=BLOCKED)
    assert (code, said) == (550, f"5.7.1 <{BERT}>... Access denied")


def test_port_587_asks_for_a_password_and_is_scanned(machine: SendmailDebian) -> None:
    assert machine.send(mail(), port=587) == [(530, "5.7.0 Authentication required")]
    text = machine.read("/etc/mail/avcheck.mc")
    assert "Port=587, M=Ea'" in text
    machine.put("/etc/mail/avcheck.mc", text.replace("Port=587, M=Ea'", "Port=587, M=E'"))
    restart(machine)
    message = mail()
    accepted(machine.send(message, port=587))
    machine.arrives(message)
    [copy] = machine.copies(message)
    [queue_id] = re.findall(r"(\w+): from=.*daemon=MSP-v4", machine.log)
    assert re.search(rf"avcheck\[.*{queue_id}: .*verdict=clean", machine.log)
    assert copy.count(b"Received: ") == 2
    machine.put("/etc/mail/avcheck.mc", text)
    restart(machine)


def restart(machine: SendmailDebian) -> None:
    """The front door, with the configuration that is there now."""
    machine.run("systemctl", "stop", "sendmail-avcheck")
    machine.wait_until(lambda: not machine.listens(25), "end of the front door")
    machine.shell("m4 /etc/mail/avcheck.mc > /etc/mail/avcheck.cf")
    machine.run("systemctl", "start", "sendmail-avcheck")
    machine.wait_until(lambda: machine.listens(25), "front door")


def test_a_hundred_at_once_are_not_held_up_on_the_way_back(machine: SendmailDebian) -> None:
    since = len(machine.log)
    messages = [mail() for _ in range(100)]
    accepted(machine.send(*messages, to=[MANY]))
    machine.arrives(*messages, user="many")

    def ends() -> int:  # what a run logs may come after what it has handed on
        return len(re.findall(r"verdict=clean.* status=0 ", machine.log[since:]))

    machine.wait_until(lambda: ends() >= 100, "end of a hundred runs")
    assert ends() == 100
    log = machine.log[since:]
    assert "status=75" not in log
    assert not re.search(r"(deferring|rejecting) connections on daemon MTA:", log)


def test_idle_clients_do_not_stop_mail(machine: SendmailDebian) -> None:
    message = mail()
    with machine.idle(20):
        accepted(machine.send(message))
        machine.arrives(message)


def test_mail_waits_for_clamd(machine: SendmailDebian) -> None:
    since = len(machine.log)
    message = mail()
    machine.run("systemctl", "stop", "clamav-daemon.socket", "clamav-daemon")
    accepted(machine.send(message))
    machine.waits("clamd.ctl", since)
    machine.run("systemctl", "start", "clamav-daemon")
    machine.wait_until(machine.path("/run/clamav/clamd.ctl").is_socket, "clamd")
    machine.flush()
    machine.arrives(message)


def test_sendmail_killed_during_a_scan_loses_nothing(machine: SendmailDebian) -> None:
    since = len(machine.log)
    message = mail()
    machine.suspend("clamd")
    accepted(machine.send(message))
    machine.wait_until(lambda: machine.running(SCAN), "a scan")
    machine.kill_all("sendmail: avcheck: ")
    machine.shell('kill -CONT "$(busybox pidof clamd)"')
    machine.wait_until(lambda: not machine.running(SCAN), "the end of avcheck")
    assert re.search(r"status=75 .*the mail system that called is gone", machine.log[since:])
    machine.run("systemctl", "restart", "sendmail-avcheck")
    machine.wait_until(lambda: machine.listens(25), "front door")
    machine.flush()
    machine.arrives(message)


def test_a_missing_guard_is_what_the_page_says(machine: SendmailDebian) -> None:
    message = mail()
    machine.run("mv", GUARD, f"{GUARD}.away")
    accepted(machine.send(message))
    mark = token(message) or ""
    machine.wait_until(lambda: mark in machine.read(DEAD_LETTER), "a dead letter")
    machine.run("mv", f"{GUARD}.away", GUARD)
    assert f"Cannot exec {GUARD}" in machine.log
    assert "Service unavailable" in machine.log
    for words in ("`Cannot exec ...`", "`Service unavailable`", "`dead.letter`", DEAD_LETTER):
        assert words in DOCUMENT.read_text()


def test_doctor_has_nothing_to_correct(machine: SendmailDebian) -> None:
    """But for the date of signatures, which only freshclam brings."""
    done = machine.attempt(*blocks(DOCUMENT)["doctor"].split(), "--json")
    found = {each["check"]: each for each in json.loads(done.stdout) if each["level"] != "ok"}
    assert (done.returncode, list(found)) == (0, ["scanner_signatures"]), found


def test_another_account_is_told_to_ask_root(machine: SendmailDebian) -> None:
    done = machine.attempt("runuser", "-u", "nobody", "--", "avcheckctl", "doctor", "--sendmail-cf")
    assert done.returncode == 2
    assert b"run this as root" in done.stdout


def test_it_is_upgraded_as_the_page_says(machine: SendmailDebian) -> None:
    since = len(machine.log)
    message = mail()
    guard = machine.path(GUARD).stat().st_ino
    machine.follow(DOCUMENT, "upgrade-hold")
    accepted(machine.send(message))
    machine.waits("held back while", since)
    machine.follow(POSTFIX, "install", "programs")
    machine.follow(DOCUMENT, "upgrade-release")
    machine.arrives(message)
    assert machine.path(GUARD).stat().st_ino != guard


def test_it_is_undone_as_the_page_says(machine: SendmailDebian) -> None:
    """Must stay the last test of this module."""
    since = len(machine.log)
    message = mail()
    machine.shell(blocks(POSTFIX)["hold"])
    accepted(machine.send(message))
    queue_id = machine.waits("held back while", since)
    machine.follow(DOCUMENT, "undo")
    machine.wait_until(lambda: machine.listens(25), "Debian's own port")
    machine.follow(DOCUMENT, "undo-queue")
    machine.arrives(message)
    assert f"{queue_id}: to=<{BERT}>" in machine.log
    machine.follow(DOCUMENT, "remove")
    assert machine.listening() == {"127.0.0.1:25", "127.0.0.1:587"}
    assert settings(machine.files(*CONFIGURATION)) == settings(machine.before)
    assert not machine.path(DOOR_QUEUE).exists()
    own = mail()
    accepted(machine.send(own))
    machine.arrives(own)
    assert machine.queue(QUEUE) == []
    machine.follow(POSTFIX, "accounts-removed")
    left = machine.files("/var/spool/avcheck")
    assert "/var/spool/avcheck/wait" not in left
    assert {(uid, gid) for _, uid, gid, _ in left.values()} == {(0, 0)}


def settings(
    files: dict[str, tuple[int, int, int, bytes]],
) -> dict[str, tuple[int, int, int | None, bytes]]:
    """What matters of the files: mode, owner, group and content.

    When, where and by whom make(1) was run is in comments of those that it makes.  One of
    them gets the group of the directory when it is made again, whatever was changed.
    """
    written = re.compile(rb"^##### (by:|on:|in:|built by|in ).*\n", re.MULTILINE)
    return {
        name: (
            mode,
            owner,
            None if name == "/etc/mail/databases" else group,
            written.sub(b"", text),
        )
        for name, (mode, owner, group, text) in files.items()
    }

"""docs/postfix.md followed to the letter on Debian: nothing gets past, and nothing is lost."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator

import pytest

from tests.live.debian import wheels
from tests.live.postfix_debian import BRIEF, WAYS, PostfixMachine, layer
from tests.live.recipe import DOCUMENT
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.machine import HOSTNAME

BAD = "shop@exa_mple..test"
BOB = f"bob@{HOSTNAME}"


@pytest.fixture(scope="module")
def machine() -> Iterator[PostfixMachine]:
    with layer() as packages, PostfixMachine(packages, wheels()) as place:
        yield place


def delivered(machine: PostfixMachine, subject: str) -> bool:
    return any(each["Subject"] == subject for each in machine.mail("root"))


def test_doctor_has_nothing_to_correct(machine: PostfixMachine) -> None:
    """But for the date of signatures, which only freshclam brings."""
    done = machine.attempt("avcheckctl", "doctor", "--postfix", "--json")
    found = {each["check"]: each for each in json.loads(done.stdout) if each["level"] != "ok"}
    assert (done.returncode, list(found)) == (0, ["scanner_signatures"]), found
    assert "no date" in found["scanner_signatures"]["text"]


def test_another_account_is_told_to_ask_root(machine: PostfixMachine) -> None:
    words = ("runuser", "-u", "bob", "--", "avcheckctl", "doctor", "--postfix", "--json")
    done = machine.attempt(*words)
    found = json.loads(done.stdout)
    assert done.returncode == 2
    assert {each["level"] for each in found} == {"ok", "skipped"}
    assert {each["remedy"] for each in found if each["level"] == "skipped"} == {"run this as root"}


def test_a_clamd_conf_that_is_not_there_is_told(machine: PostfixMachine) -> None:
    done = machine.attempt(
        *("avcheckctl", "doctor", "--postfix", "--json", "--clamd-conf", "/nonexist")
    )
    assert done.returncode == 1
    errors = [each for each in json.loads(done.stdout) if each["level"] == "error"]
    assert all(each["check"].startswith("clamd_") for each in errors)
    # It is shown once.
    assert {(each["text"], each["remedy"]) for each in errors} == {
        ("--clamd-conf /nonexist: no file that can be read", "ls -lL /nonexist")
    }


def test_the_trial_messages_of_the_page(machine: PostfixMachine) -> None:
    machine.follow(DOCUMENT, "clean", "infected")
    machine.settle()
    machine.follow(DOCUMENT, "waiting")
    machine.wait_until(lambda: delivered(machine, "avcheck, waiting"), "the message that waited")
    machine.settle()
    assert delivered(machine, "avcheck, clean")
    assert not delivered(machine, "avcheck, infected")
    assert any("Eicar" in str(each["Subject"]) for each in machine.mail("root"))


def encrypted_zip() -> bytes:
    """An archive whose member says that it has a password (APPNOTE 4.4.4, bit 0), and looks it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("eicar.com", bytes(byte ^ 0xA5 for byte in EICAR))
    made = bytearray(file.getvalue())
    for magic, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        made[made.index(magic) + flags] |= 1
    return bytes(made)


@pytest.mark.parametrize("way", WAYS)
def test_what_nobody_can_look_into_is_not_delivered(machine: PostfixMachine, way: str) -> None:
    message = with_attachment(encrypted_zip(), "a.zip")
    assert WAYS[way](machine, message, BOB)
    machine.wait_until(lambda: machine.quarantined(message), "the entry")
    machine.settle()
    (about,) = machine.quarantined(message)
    assert about["verdict"] == "encrypted"
    assert machine.copies("bob", message) == []


def test_a_bad_recipient_takes_nobody_with_it(machine: PostfixMachine) -> None:
    message = letter()
    with machine.settings(**BRIEF):
        assert machine.by_sendmail(message, BOB, BAD)
        wait_for_bounce(machine, message)
        machine.settle()
    (bounce,) = bounces(machine, message)
    assert BAD in bounce
    assert "bob" not in bounce.partition("X-Token")[0]
    assert len(machine.copies("bob", message)) == 1
    first = machine.queue_ids(message)[0]
    ends = {(to, status) for to, status in machine.outcomes(first) if status != "deferred"}
    assert (BOB, "sent") in ends
    assert {to for to, status in ends if status != "sent"} <= {BAD}


def wait_for_bounce(machine: PostfixMachine, message: bytes) -> None:
    def has_come() -> bool:
        machine.flush()
        return bool(bounces(machine, message))

    machine.wait_until(has_come, "the bounce")


def bounces(machine: PostfixMachine, message: bytes) -> list[str]:
    """What anna was told of a message of hers."""
    mark = re.search(rb"X-Token: \w+", message)
    assert mark is not None
    return [
        each.as_string()
        for each in machine.mail("anna")
        if each["X-Token"] is None and mark[0].decode() in each.as_string()
    ]


def test_a_virus_for_several_is_kept_for_each_and_told_once(machine: PostfixMachine) -> None:
    message = with_attachment(EICAR, "eicar.com")
    recipients = [f"bob+{number}@{HOSTNAME}" for number in range(5)]
    assert machine.by_sendmail(message, *recipients, BAD)
    machine.settle()
    entries = machine.quarantined(message)
    assert sorted(entry["recipients"] for entry in entries) == sorted(
        [each] for each in [*recipients, BAD]
    )
    (queue_id,) = {entry["queue_id"] for entry in entries}
    assert len(machine.reports(queue_id)) == 1
    assert machine.copies("bob", message) == []


def test_what_was_never_scanned_does_not_go_out_in_a_bounce(machine: PostfixMachine) -> None:
    message = with_attachment(EICAR, "eicar.com")
    with machine.settings(**BRIEF), machine.without_clamd():
        assert machine.by_smtp(message, BOB)
        wait_for_bounce(machine, message)
    (bounce,) = bounces(machine, message)
    assert "eicar.com" not in bounce  # the body's first header has it
    assert "text/rfc822-headers" in bounce
    machine.settle()
    assert machine.copies("bob", message) == []


LIMIT = 300_000


def of_size(size: int) -> bytes:
    """A message of that many bytes, with CRLF, in long lines."""
    head = letter("")
    line = b"x" * 900 + b"\r\n"
    whole, rest = divmod(size - len(head), len(line))
    return head + line * whole + b"y" * rest


@pytest.mark.parametrize("way", WAYS)
def test_what_just_fits_comes_back_too(machine: PostfixMachine, way: str) -> None:
    taken, sizes = [], {}
    fits, too_large = LIMIT - 20_000, LIMIT + 2_000
    with machine.settings(message_size_limit=str(LIMIT)):
        for size in (LIMIT - 1, LIMIT, LIMIT + 1):
            sizes[size] = of_size(size)
        while too_large - fits > 10:
            size = (fits + too_large) // 2
            message = sizes.setdefault(size, of_size(size))
            if WAYS[way](machine, message, BOB):
                fits = size
                taken.append(message)
            else:
                too_large = size
        for size in (LIMIT - 1, LIMIT, LIMIT + 1):
            if WAYS[way](machine, sizes[size], BOB):
                taken.append(sizes[size])
        assert taken
        assert LIMIT - 20_000 < fits < LIMIT + 2_000 - 10
        machine.settle()
    arrived = [message for message in taken if machine.copies("bob", message)]
    assert arrived
    for message in taken:
        if message not in arrived:  # cleanup(8) is stricter than postdrop(1), and bounces it
            assert way == "sendmail"
            assert len(bounces(machine, message)) == 1
            assert machine.outcomes(machine.queue_ids(message)[0]) == [(BOB, "bounced")]


LISTENER = "127.0.0.1:10026/inet"
FAULTS = {
    "reinjection_answers": f"postconf -P {LISTENER}/smtpd_recipient_restrictions=reject",
    "reinjection_size": f"postconf -P {LISTENER}/message_size_limit=10240000",
    "message_size": "postconf -e message_size_limit=0",
    "pipe_once": "grep -A6 '^avcheck ' /etc/postfix/master.cf >/tmp/again\n"
    "cat /tmp/again >>/etc/postfix/master.cf",
    "quarantine": "chown root: /var/spool/avcheck/quarantine",
    "bounces": "postconf -X bounce_size_limit",
    "scanner_socket": "chmod 666 /run/clamav/clamd.ctl",
    "spool_owner": "chown bob: /var/spool/avcheck",
}
SAVE = "cp -a /etc/postfix /tmp/saved; chmod 660 /run/clamav/clamd.ctl"
MEND = """\
cp -a /tmp/saved/. /etc/postfix
rm -rf /tmp/saved
chown avclient:avgroup /var/spool/avcheck
chown avclient: /var/spool/avcheck/quarantine
chmod 660 /run/clamav/clamd.ctl
postfix reload
"""


@pytest.mark.parametrize("check", FAULTS)
def test_doctor_sees_what_was_spoilt(machine: PostfixMachine, check: str) -> None:
    machine.shell("install -d -o avclient -m 700 /var/spool/avcheck/quarantine")
    machine.shell(SAVE)
    try:
        machine.shell(f"{FAULTS[check]}\npostfix reload")
        done = machine.attempt("avcheckctl", "doctor", "--postfix", "--json")
    finally:
        machine.shell(MEND)
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert found[check]["level"] in ("warning", "error"), found[check]
    assert "root" not in found[check]["remedy"]

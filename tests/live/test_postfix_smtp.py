"""avcheck-smtp under a real Postfix, by spawn(8): after the queue, and before it."""

from __future__ import annotations

import os
import smtplib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes import FakeClamd
from tests.support.installed import install
from tests.support.letters import EICAR, letter
from tests.support.servers import packages
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Sink

NOBODY = 65534

MASTER = """\
127.0.0.1:{filter} inet n n n - 10 spawn
    user=nobody argv={command} -d {directory}/spool -s clamd:{directory}/clamd
    -S 127.0.0.1:{back} --on infected=reject --on unscannable=reject
scan unix - - n - 10 smtp
    -o smtp_send_xforward_command=yes -o disable_mime_output_conversion=yes
127.0.0.1:{back} inet n - n - - smtpd
    -o content_filter= -o smtpd_authorized_xforward_hosts=127.0.0.0/8
    -o receive_override_options=no_unknown_recipient_checks,no_header_body_checks
127.0.0.1:{before} inet n - n - - smtpd
    -o content_filter= -o smtpd_proxy_filter=127.0.0.1:{filter}
"""

MAIN = "content_filter = scan:[127.0.0.1]:{filter}\n"


class Filtered:
    """A Postfix with both ways, and where its mail goes in the end."""

    def __init__(self, postfix: Postfix, sink: Sink, before: int) -> None:
        self.postfix = postfix
        self.sink = sink
        self.before = before


@pytest.fixture(scope="module")
def filtered() -> Iterator[Filtered]:
    packages.need_root("Postfix is started by root only")
    with tempfile.TemporaryDirectory(prefix="avcheck-smtp-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        home = install(directory / "avcheck")
        (directory / "spool").mkdir(mode=0o700)
        os.chown(directory / "spool", NOBODY, NOBODY)
        ports = {each: free_port() for each in ("filter", "back", "before")}
        master = MASTER.format(command=home / "bin" / "avcheck-smtp", directory=directory, **ports)

        def says(content: bytes) -> bytes:
            return b"Eicar FOUND" if EICAR in content else b"OK"

        with Sink() as sink, FakeClamd(directory / "clamd", says=says):
            (directory / "clamd").chmod(0o777)
            postfix = Postfix(
                directory / "postfix",
                relayhost=f"127.0.0.1:{sink.port}",
                main=MAIN.format(**ports),
                master=master,
            )
            with postfix:
                yield Filtered(postfix, sink, ports["before"])
            assert os.listdir(directory / "spool") == []


def test_after_the_queue_a_message_passes_with_both_queue_ids(filtered: Filtered) -> None:
    message = letter("Hello.\n.\n..\n").replace(b"\n", b"\r\n")
    queue_id = filtered.postfix.submit("a@example.com", ["b@example.net", "c@example.net"], message)
    outcomes = filtered.postfix.wait_for_outcomes(queue_id, 2, "127.0.0.1")
    assert all("status=sent (250 2.0.0 Ok: queued as " in line for line in outcomes)
    [received] = filtered.sink.wait_for(1)
    assert received.data.endswith(message.partition(b"\r\n\r\n")[2])
    assert sorted(received.recipients) == [b"b@example.net", b"c@example.net"]
    # XFORWARD: the second smtpd logs the client of the first, and the queue ID there.
    assert f"orig_queue_id={queue_id}" in filtered.postfix.log


def test_after_the_queue_a_virus_bounces_as_it_was_asked_for(filtered: Filtered) -> None:
    filtered.sink.take()
    message = letter(EICAR.decode() + "\n").replace(b"\n", b"\r\n")
    queue_id = filtered.postfix.submit("a@example.com", ["b@example.net"], message)
    [outcome] = filtered.postfix.wait_for_outcomes(queue_id)
    assert "status=bounced" in outcome
    assert "550 5.7.1 message refused: infected: Eicar" in outcome


def test_before_the_queue_a_virus_is_refused_and_other_mail_is_not(filtered: Filtered) -> None:
    filtered.sink.take()
    with smtplib.SMTP("127.0.0.1", filtered.before, timeout=60) as client:
        with pytest.raises(smtplib.SMTPDataError) as why:
            client.sendmail("a@example.com", ["b@example.net"], letter(EICAR.decode() + "\n"))
        assert why.value.smtp_code == 550
        assert b"infected: Eicar" in why.value.smtp_error
        refused = client.sendmail("a@example.com", ["b@example.net"], letter("before\n"))
        assert refused == {}
    filtered.postfix.wait_until(
        lambda: any(b"before" in each.data for each in filtered.sink.take()), "the message"
    )

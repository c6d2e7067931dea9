"""Exim, sendmail and OpenSMTPD with avcheck-smtp, by the lines of their pages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avcheck.admin import guide
from avcheck.admin.commands import setup
from tests.live.recipe import MailSystem, blocks
from tests.live.smtpd import activated
from tests.live.test_exim import PARTS
from tests.live.test_sendmail import names_of, pair
from tests.live.through import Through, arrives, replaced
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import unpacked
from tests.support.servers.exim import Exim
from tests.support.servers.ports import free_port
from tests.support.servers.sendmail import Program
from tests.support.tree import ROOT

DOCS = ROOT / "docs"


@contextmanager
def filtering(mail_system: MailSystem, filter_: int, behind: int) -> Iterator[None]:
    """avcheck-smtp listens on one port, and passes mail on to the other."""
    options = mail_system.directory / f"smtp-{filter_}.conf"
    options.write_text(mail_system.block("smtp.conf", {setup.PORT: str(behind)}))
    options.chmod(0o644)
    command = mail_system.adapted("/opt/avcheck/bin/avcheck-smtp --config").split()
    with activated(mail_system, [*command, str(options)], filter_):
        yield


@pytest.fixture(scope="module")
def exim(mail_system: MailSystem, open_directory: Path) -> Iterator[Through]:
    program = Exim.unpack(open_directory / "smtpd-exim-package")
    front, filter_, behind = free_port(), free_port(), free_port()
    names = {
        **mail_system.names,
        "0.0.0.0 ; ::0": f"127.0.0.1.{front}",
        setup.PORT: str(behind),
        "10025": str(filter_),
    }
    parts = guide.configuration("exim", names)
    parts["transport"] = guide.adapted(blocks(DOCS / "exim.md")["transport-smtp"], names)
    server = Exim(
        mail_system.directory / "smtpd-exim",
        program,
        relayhost=mail_system.sink.address,
        port=front,
        parts={part: parts[part] for part in PARTS},
    )
    with server, filtering(mail_system, filter_, behind):
        yield Through(mail_system, server, server)


@pytest.fixture(scope="module")
def sendmail(mail_system: MailSystem, open_directory: Path) -> Iterator[Through]:
    program = Program.unpack(open_directory / "smtpd-sendmail-package")
    directory = mail_system.directory / "smtpd-sendmail"
    front, filter_, behind = free_port(), free_port(), free_port()
    names = {**names_of(mail_system, directory, front, behind), "10025": str(filter_)}
    parts = guide.configuration("sendmail", names)
    door = parts["avcheck.mc"]
    mailer = door[door.index("Mavcheck,") : door.index("SAvcheckFrom\n")]
    by_smtp = guide.adapted(blocks(DOCS / "sendmail.md")["avcheck.mc-smtp"], names)
    door = replaced(door, (mailer, by_smtp), ("$@ scan", "$@ [127.0.0.1]"))
    with (
        pair(
            mail_system, program, directory, (front, behind), door, parts["sendmail.mc"]
        ) as halves,
        filtering(mail_system, filter_, behind),
    ):
        yield Through(mail_system, *halves)


@pytest.fixture(params=["exim", "sendmail"])
def through(request: pytest.FixtureRequest) -> Through:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Through)
    return found


def test_mail_arrives(through: Through) -> None:
    recipients = tuple(f"bert{number}@example.net" for number in range(10))
    arrives(through, letter(".\n..\nx\n"), recipients=recipients)
    arrives(through, letter(), sender="")
    through.account_for()


def test_a_virus_goes_to_the_quarantine(through: Through) -> None:
    virus = with_attachment(EICAR)
    through.submit(virus)
    through.account_for()
    assert len(through.shared.quarantined(virus)) == 1


def test_without_clamd_mail_waits_and_then_arrives(through: Through) -> None:
    message = letter()
    through.shared.clamd.stop()
    try:
        through.submit(message)
        through.run()
        assert len(through.waiting(message)) == 1
    finally:
        through.shared.clamd.start()
    through.account_for()
    assert len(through.delivered(message)) == 1


def test_opensmtpd_takes_the_lines(open_directory: Path) -> None:
    """It cannot be run here beside the real one: its directories are built in."""
    program = unpacked.unpack(open_directory / "opensmtpd", "opensmtpd") / "usr/sbin/smtpd"
    lines = blocks(DOCS / "other-mtas.md")["smtpd.conf-smtp"]
    file = open_directory / "smtpd.conf"
    for text, good in ((lines, True), (lines.replace("relay host", "relay hosts"), False)):
        file.write_text(text)
        done = subprocess.run([program, "-n", "-f", file], capture_output=True, text=True)
        assert (done.returncode == 0) is good, done

"""avcheckctl doctor at a Postfix with avcheck-smtp, after the queue and before it."""

from __future__ import annotations

import smtplib
from contextlib import suppress

import pytest

from tests.live.doctor.findings import doctor
from tests.live.recipe import MailSystem
from tests.live.smtpd import Way, way
from tests.support.letters import EICAR, letter, with_attachment


def follow(found: Way, remedy: str) -> None:
    """Give the service of the first line the options below it."""
    service, *options = remedy.splitlines()
    name, type_, *_ = service.split()
    for option in options:
        parameter = option.strip().removeprefix("-o ")
        found.postfix.command("postconf", "-P", f"{name}/{type_}/{parameter}")
    found.postfix.reload()


def send(port: int, message: bytes) -> None:
    """Send it; it may be refused."""
    with suppress(smtplib.SMTPException), smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail("anna@example.com", ["bert@example.net"], message)


@pytest.mark.parametrize("name", ["after", "before"])
def test_what_the_page_says_is_right(mail_system: MailSystem, name: str) -> None:
    """And the doors of the tests that are not scanned behind are the only fault."""
    clean, virus = letter(), with_attachment(EICAR)
    with way(mail_system, name, label=f"doctor-{name}") as found:
        said = doctor(f"--postfix={found.postfix.config}")
        errors = [each for each in said if each.level == "error"]
        assert {each.check for each in errors} == {"front_doors"}
        assert any(str(found.unfiltered) in each.text for each in errors)
        for each in errors:
            follow(found, each.remedy)
        for message in (clean, virus):
            send(found.unfiltered, message)
        found.postfix.wait_until(lambda: bool(mail_system.delivered(clean)), "the clean one")
        mail_system.settle(found.postfix)
        assert not mail_system.delivered(virus)
    named = {each.check: each.level for each in said if each.check.startswith("smtp_")}
    checks = ["smtp_loop", "smtp_processes", "smtp_times", "smtp_used", "smtp_xforward"]
    checks += ["smtp_refuses"] if found.before else []
    assert named == dict.fromkeys(sorted(checks), "ok"), said

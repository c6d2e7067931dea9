"""avcheckctl doctor at a Postfix with avcheck-smtp, after the queue and before it."""

from __future__ import annotations

import smtplib
from contextlib import suppress

import pytest

from tests.live.doctor.findings import doctor, finding
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
    checks = ["smtp_answers", "smtp_loop", "smtp_processes", "smtp_times", "smtp_used"]
    checks += ["smtp_refuses"] if found.before else ["smtp_client"]
    checks.append("smtp_xforward")
    assert named == dict.fromkeys(sorted(checks), "ok"), said


def test_what_is_sent_elsewhere_while_nobody_scans(mail_system: MailSystem) -> None:
    """By a fallback relay, as soon as somebody holds mail back."""
    clean, virus, second = letter(), with_attachment(EICAR), with_attachment(EICAR)
    with way(mail_system, "after", label="doctor-fallback") as found:
        postfix, option = found.postfix, f"--postfix={found.postfix.config}"
        relay = f"[127.0.0.1]:{found.unfiltered}"
        postfix.command("postconf", "-P", f"scan/unix/smtp_fallback_relay={relay}")
        postfix.reload()
        error = finding(doctor(option), "smtp_client", "error", f"sends mail to {relay}")
        mail_system.waitfile.touch()
        try:
            send(found.port, virus)
            postfix.wait_until(lambda: bool(mail_system.delivered(virus)), "a virus that passes")
            follow(found, error.remedy)
            for message in (second, clean):
                send(found.port, message)
            postfix.wait_until(lambda: len(postfix.queue()) == 2, "what waits")
        finally:
            mail_system.waitfile.unlink()
        postfix.command("postqueue", "-f")
        postfix.wait_until(lambda: bool(mail_system.delivered(clean)), "the clean one")
        mail_system.settle(postfix)
        assert not mail_system.delivered(second)


def test_what_goes_round_behind_the_queue_bounces(mail_system: MailSystem) -> None:
    with way(mail_system, "after", label="doctor-round") as found:
        postfix, message = found.postfix, letter()
        option = f"content_filter=scan:[127.0.0.1]:{found.filter}"
        postfix.command("postconf", "-P", f"127.0.0.1:{found.behind}/inet/{option}")
        postfix.reload()
        said = doctor(f"--postfix={postfix.config}")
        error = finding(said, "smtp_loop", "error", "until it bounces")
        assert finding(said, "smtp_answers", "skipped")
        send(found.port, message)
        postfix.wait_until(lambda: "status=bounced" in postfix.log, "a bounce")
        assert "too many hops" in postfix.log
        assert not mail_system.delivered(message)
        follow(found, error.remedy)
        message = letter()
        send(found.port, message)
        postfix.wait_until(lambda: bool(mail_system.delivered(message)), "a message")

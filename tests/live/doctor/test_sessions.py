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
    clean, virus, other = letter(), with_attachment(EICAR), with_attachment(EICAR)
    with way(mail_system, "after", label="doctor-fallback") as found:
        postfix, option = found.postfix, f"--postfix={found.postfix.config}"
        relay = f"[127.0.0.1]:{found.unfiltered}"
        postfix.command("postconf", "-P", f"scan/unix/smtp_fallback_relay={relay}")
        postfix.reload()
        error = finding(doctor(option), "smtp_client", "error", f"sends mail to {relay}")
        several = f"scan:[127.0.0.1]:{found.filter}, {relay}"
        postfix.command("postconf", "-e", f"content_filter={several}")
        second = finding(doctor(option), "smtp_client", "error", f"sends it to {relay}")
        assert second.remedy == f"content_filter = scan:[127.0.0.1]:{found.filter}"
        postfix.command("postconf", "-e", second.remedy)
        mail_system.waitfile.touch()
        try:
            send(found.port, virus)
            postfix.wait_until(lambda: bool(mail_system.delivered(virus)), "a virus that passes")
            follow(found, error.remedy)
            for message in (other, clean):
                send(found.port, message)
            postfix.wait_until(lambda: len(postfix.queue()) == 2, "what waits")
        finally:
            mail_system.waitfile.unlink()
        postfix.command("postqueue", "-f")
        postfix.wait_until(lambda: bool(mail_system.delivered(clean)), "the clean one")
        mail_system.settle(postfix)
        assert not mail_system.delivered(other)


def test_a_proxy_at_the_wrong_port(mail_system: MailSystem) -> None:
    clean, virus = letter(), with_attachment(EICAR)
    with way(mail_system, "before", label="doctor-proxy") as found:
        door = f"127.0.0.1:{found.port}/inet"
        found.postfix.command("postconf", "-P", f"{door}/smtpd_proxy_filter=127.0.0.1:1")
        error = finding(doctor(f"--postfix={found.postfix.config}"), "smtp_used", "error")
        assert "content_filter" not in error.remedy
        follow(found, error.remedy)
        for message in (virus, clean):
            send(found.port, message)
        found.postfix.wait_until(lambda: bool(mail_system.delivered(clean)), "the clean one")
        mail_system.settle(found.postfix)
        assert not mail_system.delivered(virus)


def test_what_makes_mail_wait_or_bounce_around_a_session(mail_system: MailSystem) -> None:
    """Many faults at once, none of which hides another."""
    with way(mail_system, "after", label="doctor-faults") as found:
        postfix, option = found.postfix, f"--postfix={found.postfix.config}"
        replies = postfix.config / "replies"
        replies.write_text("/^4(.*)/ 5$1\n")
        for each in (
            f"smtp_reply_filter=regexp:{replies}",
            "smtp_tls_security_level=encrypt",
            "smtp_generic_maps=texthash:/nowhere",
        ):
            postfix.command("postconf", "-P", f"scan/unix/{each}")
        postfix.command("postconf", "-e", "defer_transports=scan", "maximal_queue_lifetime=0")
        postfix.command("postconf", "-F", f"127.0.0.1:{found.filter}/inet/chroot=y")
        master = postfix.config / "master.cf"
        master.write_text(master.read_text().replace(f"user={mail_system.client}", "user=root"))
        said = doctor(option)
        for check, words in (
            ("smtp_client", "smtp_reply_filter: '451"),
            ("smtp_client", "wants TLS"),
            ("smtp_client", "rewrites addresses"),
            ("queue_runs", "defer_transports has scan"),
            ("queue_lifetime", "bounces at once"),
            ("pipe_columns", "chroot is y"),
            ("pipe_user", "spawn(8) refuses that"),
        ):
            assert finding(said, check, "error", words).remedy
        master.write_text(master.read_text().replace("user=root", f"user={mail_system.client}"))
        postfix.command("postconf", "-F", "scan/unix/command=lmtp")
        # smtpd(8) does not start with that, and master(8) waits for a minute then.
        door = f"127.0.0.1:{found.unfiltered}"
        postfix.command("postconf", "-P", f"{door}/inet/smtpd_timeout=soon")
        postfix.reload()
        said = doctor(option)
        assert finding(said, "smtp_client", "error", "LHLO")
        assert finding(said, "front_answers", "error", f"{door} takes no mail")


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

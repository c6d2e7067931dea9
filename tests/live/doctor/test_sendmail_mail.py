"""What passes, bounces or waits at a sendmail's mailer and its rules, with faults side by side.

Each is found, with a remedy that is then followed to the letter: a clean message arrives
after that, and no virus does.
"""

from __future__ import annotations

import re
import smtplib

import pytest

from tests.live.doctor.findings import finding
from tests.live.doctor.seeded_sendmail import SeededSendmail
from tests.live.doctor.test_sendmail import site, whole
from tests.support.letters import letter

__all__ = ["site", "whole"]  # fixtures


def arrives(site: SeededSendmail) -> bool:
    """Whether a clean message does."""
    message = letter()
    site.front.submit("anna@example.com", ["bert@example.net"], message)
    site.run()
    site.clear()
    return bool(site.system.delivered(message))


def test_a_rule_for_some_addresses_before_the_documented_ones(site: SeededSendmail) -> None:
    """Whom /parse is asked about is not among them, and what comes after the rules stays."""
    mailer = re.search(r"^Monward.*\n", site.behind.mc, re.M)
    assert mailer
    site.change("Mavcheck,", f"{mailer[0]}Mavcheck,")
    host = site.system.sink.address.rpartition(":")[0]
    rule = f"Rbert < @ $* > $*\t$#onward $@ [{host}] $: bert < @ $1 > $2\n"
    site.change("LOCAL_RULE_0\n", f"LOCAL_RULE_0\n{rule}")
    site.front.mc += "LOCAL_RULESETS\nSMine\nR$*\t$@ ok\n"
    site.make()
    site.restart()
    assert site.virus_passes()
    site.clear()
    found = site.finding("sendmail_routes", "error", "Rbert < @ $* > $* comes before")
    site.follow(found.remedy)
    site.finding("sendmail_routes", "ok")
    assert "SMine\nR$*\t$@ ok\n" in site.front.mc
    assert not site.virus_passes()
    assert site.only_clean_arrives()


def test_what_bounces(site: SeededSendmail) -> None:
    site.change("F=nuh8", "F=nuh8w")
    site.restart()
    with pytest.raises(smtplib.SMTPException):
        arrives(site)
    site.change("F=nuh8w, ", "F=nuh8w, M=200, ")
    site.define("confTO_QUEUERETURN_URGENT", "2h")
    site.define("confMAX_MESSAGE_SIZE", "200", "sendmail")
    site.restart()
    said = site.doctor()
    faults = [
        ("sendmail_keeps", "error", "M=200: what is larger bounces"),
        ("sendmail_keeps", "error", "w refuses mail"),
        ("sendmail_keeps", "warning", "bounces after 2 h"),
        ("reinjection_answers", "error", "takes 200 at most, and what is larger bounces"),
    ]
    for fault in faults:
        site.follow(finding(said, *fault).remedy)
    checks = {check for check, _, _ in faults}
    assert not [each for each in site.doctor() if each.check in checks and each.level != "ok"]
    assert site.only_clean_arrives()

"""avcheckctl doctor at a Postfix with avcheck-smtp, after the queue and before it."""

from __future__ import annotations

import json

import pytest

from tests.live.recipe import MailSystem
from tests.live.smtpd import way
from tests.live.test_avcheckctl import avcheckctl


@pytest.mark.parametrize("name", ["after", "before"])
def test_what_the_page_says_is_right(mail_system: MailSystem, name: str) -> None:
    with way(mail_system, name, label=f"doctor-{name}") as found:
        said = json.loads(avcheckctl("doctor", f"--postfix={found.postfix.config}", "--json"))
    named = {each["check"]: each["level"] for each in said if each["check"].startswith("smtp_")}
    checks = ["smtp_loop", "smtp_processes", "smtp_times", "smtp_used", "smtp_xforward"]
    checks += ["smtp_refuses"] if found.before else []
    assert named == dict.fromkeys(sorted(checks), "ok"), said
    assert [each for each in said if each["level"] == "error"] == []

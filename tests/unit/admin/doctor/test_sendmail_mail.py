"""avcheckctl doctor: what goes past a sendmail's avcheck, bounces, or waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avcheck.admin.look import ERROR, OK, WARNING
from avcheck.admin.sendmail_options import options, untold
from avcheck.admin.sendmail_rules import before, rules
from tests.support.doctor_site import expect, found, levels
from tests.support.sendmail_site import SendmailSite

ALL = "R$* < @ $* > $*\t\t$#avcheck $@ scan $: $1 < @ $2 > $3\nR$+\t$#avcheck $@ scan $: $1\n"
SOME = "Rbert < @ $* > $*\t$#esmtp $@ [192.0.2.1] $: bert < @ $1 > $2\n"
HEAD = "SParse1\nR$*\t$#local $: $1\nSParseLocal=98\n"
AFTER = "R$* < @ x . > $*\t$#esmtp $@ x\nSMine\nR$*\t$#esmtp $@ x\n"

# The rules of LOCAL_RULE_0, and the mailers of those before avcheck's.
RULES = {
    "documented": (ALL, []),
    "what cannot be reached": (ALL + AFTER, []),
    "one catches all": ("R$*\t$#avcheck $@ scan $: $1\n" + SOME, []),
    "refuses": ("R$* < @ x . > $*\t$#error $@ 5.7.1 $: no\n" + ALL, []),
    "some": (SOME + ALL, ["esmtp"]),
    "in between": (ALL.replace("R$+", "Rroot\t$#esmtp $@ x $: root\nR$+"), ["esmtp"]),
    "in a ruleset": ("R$*\t$: $>Mine $1\n" + ALL + AFTER, ["esmtp"]),
    "calls itself": ("R$*\t$: $>Other $1\n" + ALL + "SOther\nR$*\t$>Other $1\n", []),
    "lost": ("Rbert\t$#discard $: $1\n" + ALL, ["discard"]),
}  # fmt: skip


@pytest.mark.parametrize("which", RULES)
def test_the_rules_before_those_for_all(which: str) -> None:
    text, mailers = RULES[which]
    assert [name for _, name in before(rules(HEAD + text), {"avcheck"})] == mailers
    assert [*before(rules("R$*\t$#local\n" + text), {"avcheck"})] == []  # in no ruleset


def test_a_rule_that_comes_before_is_told_and_nothing_is_thrown_away() -> None:
    site = SendmailSite().change("front", rules=rules(HEAD + SOME + ALL))
    (result,) = found("sendmail_routes", site.look())
    assert result.level == ERROR
    assert "Rbert < @ $* > $* comes before" in result.text
    assert "to the mailer esmtp, unscanned" in result.text
    assert "LOCAL_RULE_0.*/&\\nR$* < @ $* > $*\\t$#avcheck" in result.remedy
    assert ",$d" not in result.remedy
    site.change("front", rules=rules(HEAD + ALL))
    assert levels("sendmail_routes", site.look()) == {OK}


# What is changed; how bad it is, words of it, and of its remedy.
Fault = tuple[Callable[[SendmailSite], object], str, str, str]
KEEPS: dict[str, Fault] = {
    "small": (lambda site: site.equate(M="200"), ERROR, "M=200: what is larger bounces", "M=0"),
    "account": (lambda site: site.equate(F="8hnuw"), ERROR, "w refuses mail", "F=nuh8"),
    "-f": (lambda site: site.equate(F="8hnuf"), ERROR, "f puts another -f before", "F=nuh8"),
    "aliases": (lambda site: site.equate(F="8hnuA"), ERROR, "A has aliases expanded", "F=nuh8"),
    "ETRN": (lambda site: site.equate(F="8hnu%"), ERROR, "% keeps mail until", "F=nuh8"),
    "a root": (lambda site: site.equate(**{"/": "/j"}), ERROR, "/=/j: there is", "take /=/j out"),
    "urgent": (
        lambda site: site.option("front", "Timeout.queuereturn.urgent", "2h"),
        WARNING, "bounces after 2 h", "define(`confTO_QUEUERETURN_URGENT', `5d')dnl avcheck.mc",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", KEEPS)
def test_what_bounces_or_waits(fault: str) -> None:
    seed, level, said, remedy = KEEPS[fault]
    site = SendmailSite()
    seed(site)
    expect(site.look(), "sendmail_keeps", level, said, remedy)


def test_what_is_large_enough() -> None:
    site = SendmailSite().equate(M="52428800")
    assert levels("sendmail_keeps", site.look()) == {OK}
    site.option("front", "MaxMessageSize", "0")
    assert levels("sendmail_keeps", site.look()) == {ERROR}


def test_what_no_sendmail_tells_is_in_its_file() -> None:
    text = "Mavcheck, P=/x, F=8, W=5,\n\tD=$z:/, /=/j, A=x D=/no W=7\nMother,P=/y,W=9\n"
    assert untold(text) == {"avcheck": {"W": "5", "/": "/j"}, "other": {"W": "9"}}
    said = "setoption Timeout (r).queuereturn.non-urgent=2h\nsetoption Timeout (r).queuereturn=5d\n"
    assert options(said) == {
        "Timeout.queuereturn.non-urgent": "2h",
        "Timeout.queuereturn": "5d",
    }

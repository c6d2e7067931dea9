"""avcheckctl doctor: what of an Exim's mail goes past avcheck, bounces, or does not come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avcheck.admin.exim_session import FROZEN, LOST, ODD, QUEUED, Session, session
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING
from tests.support.doctor_site import expect, found, levels, text
from tests.support.exim_site import BACK, EximSite


def change(site: EximSite, part: str, **values: str) -> EximSite:
    getattr(site, part).update(values)
    return site


# What is changed; the check, how bad it is, words of it, and words of its remedy.
Fault = tuple[Callable[[EximSite], object], str, str, str, str]
FAULTS: dict[str, Fault] = {
    "a header": (
        lambda site: change(site, "router", condition="${if and{{!eq{$received_port}{10026}}"
                            "{!def:h_X-Scanned:}}}"),
        "exim_router", ERROR, "condition = ${if and{{!eq{", "driver = accept",
    ),
    "forced": (
        lambda site: change(site, "router", set="r_x = ${if eq{a}{b}{c}fail}"),
        "exim_router", ERROR, "set = r_x", "driver = accept",
    ),
    "sender": (
        lambda site: change(site, "router", errors_to="x@y"),
        "exim_router", ERROR, "errors_to changes the sender", "remove errors_to from the router",
    ),
    "refuses": (
        lambda site: site.say(Session("550 no")),
        "exim_takes", ERROR, "takes no message, and clean mail waits: 550 no",
        "acl_smtp_data = ${if eq{$received_port}{10026}{accept}{${if eq{$received_port}{10026}",
    ),
    "refuses at once": (
        lambda site: site.say(Session("550 no", whole=False)),
        "exim_takes", ERROR, "550 no", "see acl_smtp_data",
    ),
    "freezes": (
        lambda site: site.say(Session(fate=FROZEN, acl="acl_avcheck")),
        "exim_takes", ERROR, "waits for a person (ACL acl_avcheck)",
        "acl_smtp_rcpt = ${if eq{$received_port}{10026}{accept hosts = 127.0.0.1}{${if",
    ),
    "queues": (
        lambda site: site.say(Session(fate=QUEUED)),
        "exim_takes", WARNING, "the next run of the queue", "acl_smtp_data = ",
    ),
    "refuses some": (
        lambda site: site.sessions.update({(BACK, ODD): Session("550 long")}),
        "exim_takes", WARNING, "does not take all mail of this host", "acl_smtp_data = ",
    ),
    "a return path": (
        lambda site: site.command("$message_exim_id", "$message_exim_id -f ${return_path}"),
        "exim_command", ERROR, "$return_path in the command",
        "--deadline 450 --queue-id $message_exim_id -- $pipe_addresses",
    ),
    "quoted": (
        lambda site: site.command("--deadline", "-f ${lc:$sender_address} --deadline"),
        "exim_command", ERROR, "$sender_address in", "10026 --deadline 450",
    ),
    "before taint": (
        lambda site: change(site, "main", exim_version="4.94.2").command(
            "--deadline", "-f $sender_address --deadline"
        ),
        "exim_command", WARNING, "from 4.96 on", "",
    ),
    "a limit": (
        lambda site: change(site, "transport", message_size_limit="50M"),
        "exim_command", ERROR, "limit = 50M: what is larger bounces", "message_size_limit = 0",
    ),
    "a limit that depends": (
        lambda site: change(site, "transport", message_size_limit="${lookup{x}lsearch{/y}}"),
        "exim_command", ERROR, "message_size_limit = ${lookup", "message_size_limit = 0",
    ),
    "no output": (
        lambda site: change(site, "transport", max_output="1"),
        "exim_command", ERROR, "max_output = 1", "max_output = 20K",
    ),
    "nowhere to be": (
        lambda site: change(site, "transport", current_directory="relative"),
        "exim_command", ERROR, "cannot go there", "current_directory = /",
    ),
    "held": (
        lambda site: change(site, "main", hold_domains="x : *"),
        "exim_delivers", ERROR, "hold_domains has *", "hold_domains =",
    ),
    "never": (
        lambda site: change(site, "main", never_users="root : avclient : x"),
        "exim_delivers", ERROR, "never_users has avclient", "never_users = root : x",
    ),
    "a wrapper": (
        lambda site: change(site, "main", mua_wrapper="yes"),
        "exim_delivers", ERROR, "mail bounces at once", "mua_wrapper = false",
    ),
    "no privilege": (
        lambda site: change(site, "main", deliver_drop_privilege="yes"),
        "exim_delivers", ERROR, "all mail waits", "deliver_drop_privilege = false",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_a_time(fault: str) -> None:
    seed, check, level, said, remedy = FAULTS[fault]
    site = EximSite()
    seed(site)
    expect(site.look(), check, level, said, remedy)


def test_what_may_come_before_avcheck() -> None:
    site = EximSite()
    site.before = {
        "aliases": {"driver": "redirect"},
        "callouts": {"driver": "accept", "verify_only": "yes", "transport": "x"},
        "senders": {"driver": "accept", "transport": "avcheck"},
    }
    assert levels("exim_router", site.look()) == {OK}
    site.before["mine"] = {
        "driver": "accept",
        "condition": "${if eq{$received_port}{10026}}",
        "transport": "x",
    }
    site.before["aliases"]["redirect_router"] = "senders"
    assert levels("exim_router", site.look()) == {OK}
    site.before["aliases"]["redirect_router"] = "onward"
    assert "aliases comes before senders" in text("exim_router", site.look())
    del site.before["aliases"]["redirect_router"]
    site.before["senders"]["unseen"] = "yes"
    assert "router senders: with unseen mail goes on, too" in text("exim_router", site.look())
    del site.before["senders"]["unseen"]
    site.before["senders"]["condition"] = "${if def:sender_host_authenticated}"
    site.before["senders"], site.before["mine"] = site.before.pop("senders"), site.before["mine"]
    assert levels("exim_router", site.look()) == {OK}
    site.before["mine"]["condition"] = "${if eq{$received_port}{25}}"
    assert "mine comes before avcheck" in text("exim_router", site.look())
    site.before["senders"] = {"driver": "accept", "transport": "avcheck"}
    site.before["aliases"]["pipe_transport"] = "address_pipe"
    assert "aliases comes before senders" in text("exim_router", site.look())


def test_limits_that_are_large_enough() -> None:
    site = EximSite()
    site.transport |= {"message_size_limit": "51M", "max_output": "100K", "current_directory": "$h"}
    assert levels("exim_command", site.look()) == {OK}


def test_what_is_not_said_of_the_way_back_is_skipped() -> None:
    site = EximSite()
    site.sessions = {}
    assert levels("exim_takes", site.look()) == {SKIPPED}
    site.main["local_interfaces"] = "<; 0.0.0.0"
    assert found("exim_takes", site.look()) == []


# What exim -bh prints.

BEFORE = "220 x\r\n250-x\r\n250 x\r\n250 OK\r\n250 Accepted\r\n"


@pytest.mark.parametrize(
    ("replies", "log", "became"),
    [
        ("354 x\r\n250 OK id=1\r\n221 x\r\n", "", Session()),
        ("354 x\r\n550 no\r\n", "", Session("550 no")),
        ("554 no\r\n", "", Session("554 no", whole=False)),
        (
            "354 x\r\n250 OK\r\n",
            '>>> using ACL "a"\n>>> using ACL "b"\n>>> end of ACL "b"\n'
            ">>> check control = freeze\n",
            Session(fate=FROZEN, acl="a"),
        ),
        ("354 x\r\n250 OK\r\n", ">>> check control = queue/x\n", Session(fate=QUEUED)),
        ("503 x\r\n", ">>> discard: condition test succeeded in ACL", Session(fate=LOST)),
    ],
)
def test_what_becomes_of_a_message_that_comes_back(replies: str, log: str, became: Session) -> None:
    assert session(BEFORE + replies, log) == became
    assert session(BEFORE.replace("250 OK", "550 no"), "") == Session()
    assert session("", "") == Session()

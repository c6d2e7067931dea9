"""avcheckctl doctor on a real Exim with one fault at a time, and what comes of its remedies.

Each is found, with a remedy that is then followed to the letter: a clean message arrives
after that, and no virus does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

import pytest

from avcheck.admin import checks
from tests.live.doctor.seeded_exim import SeededExim, seeded_exim
from tests.live.recipe import MailSystem
from tests.support.servers.exim import ACCOUNT, Exim


@pytest.fixture(scope="module")
def whole(mail_system: MailSystem, open_directory: Path) -> Iterator[SeededExim]:
    program = Exim.unpack(open_directory / "exim-package")
    with seeded_exim(mail_system, program) as made:
        yield made


@pytest.fixture
def site(whole: SeededExim) -> Iterator[SeededExim]:
    with whole.intact_afterwards():
        yield whole


def router(site: SeededExim, line: str) -> None:
    """Another line in avcheck's router."""
    site.change("  no_verify\n", f"  no_verify\n  {line}\n")


def without(site: SeededExim, line: str) -> None:
    site.change(f"  {line}\n", "")


def transport(site: SeededExim, line: str) -> None:
    """Another line in avcheck's transport."""
    site.change("  timeout = 600s\n", f"  timeout = 600s\n  {line}\n")


def condition(site: SeededExim, port: int) -> None:
    site.change(f"!eq{{$received_port}}{{{site.back}}}", f"!eq{{$received_port}}{{{port}}}")


def another_first(site: SeededExim) -> None:
    onward = site.text.partition("begin routers\n")[2].partition("onward:\n")[2]
    lines = onward.partition("begin transports")[0]
    site.change("begin routers\n", f"begin routers\nearly:\n{lines}")


# The ways in by which a virus passes then; check, level, words.
Fault = tuple[Callable[[SeededExim], None], list[str], str, str, str]
PASSES: dict[str, Fault] = {
    "another router first": (
        another_first, ["front", "local"], "exim_router", "error", "early comes before avcheck",
    ),
    "a router for some mail": (
        lambda site: router(site, "domains = example.org"), ["front", "local"],
        "exim_router", "error", "domains = example.org",
    ),
    "a router that sends a copy": (
        lambda site: router(site, "unseen"), ["front", "local"],
        "exim_router", "error", "unseen",
    ),
    "a router to another transport": (
        lambda site: site.change("  transport = avcheck\n", "  transport = onward\n"), [],
        "exim_router", "error", "no router has the transport avcheck",
    ),
    "a condition that lets the front door pass": (
        lambda site: condition(site, site.front), ["front"],
        "exim_routes", "error", "goes to router onward, round avcheck",
    ),
    "a condition with a wrong port": (
        lambda site: condition(site, 2), [], "exim_loop", "error", "leads back to avcheck",
    ),
    "-S to the front door": (
        lambda site: site.change(f"-S 127.0.0.1:{site.back}", f"-S 127.0.0.1:{site.front}"), [],
        "exim_loop", "error", "leads back to avcheck",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", PASSES)
def test_a_way_round_avcheck_is_found_and_closed(site: SeededExim, fault: str) -> None:
    seed, ways, check, level, said = PASSES[fault]
    seed(site)
    found = site.finding(check, level, said)
    assert site.virus_passes() == ways
    site.clear()
    site.follow(found.remedy)
    assert not [each for each in site.doctor() if (each.check, each.level) == (check, level)]
    assert site.virus_passes() == []
    assert site.only_clean_arrives()


def test_the_set_up_has_nothing_to_find(site: SeededExim) -> None:
    found = site.doctor(command=True)
    bad = {each.check: each for each in found if each.level not in ("ok", "skipped")}
    # Signatures of our own, in a private place.
    assert set(bad) <= {"scanner_signatures", "clamd_room"}, bad


WAITS: dict[str, tuple[Callable[[SeededExim], None], str, str, str]] = {
    "a port that everybody reaches": (
        lambda site: site.change(f"127.0.0.1.{site.back}", f"0.0.0.0.{site.back}"),
        "exim_private", "error", "can be reached from elsewhere",
    ),
    "every address exists": (
        lambda site: without(site, "no_verify"), "exim_router", "warning", "no_verify",
    ),
    "Exim's own account": (
        lambda site: site.change(f"user = {site.system.client}", f"user = {ACCOUNT}"),
        "exim_account", "error", "could change all mail",
    ),
    "no account": (
        lambda site: site.change(f"  user = {site.system.client}\n", ""),
        "exim_account", "error", "no user",
    ),
    "a line before the message": (
        lambda site: without(site, "message_prefix ="), "exim_message", "error", "message_prefix",
    ),
    "a header": (
        lambda site: transport(site, "return_path_add"),
        "exim_message", "error", "return_path_add",
    ),
    "Exim's own temporary errors": (
        lambda site: without(site, "temp_errors = *"), "exim_keeps", "error", "leaves with 1, 2",
    ),
    "a time-out that bounces": (
        lambda site: without(site, "timeout_defer"), "exim_keeps", "error", "timeout_defer",
    ),
    "a signal that bounces": (
        lambda site: without(site, "freeze_signal"), "exim_keeps", "error", "freeze_signal",
    ),
    "a status that is ignored": (
        lambda site: transport(site, "ignore_status"), "exim_keeps", "error", "mail is lost",
    ),
    "a deadline without room": (
        lambda site: site.change("--deadline 450", "--deadline 590"),
        "exim_time_limit", "warning", "30 s between",
    ),
    "a time-out that is short": (
        lambda site: site.change("timeout = 600s", "timeout = 60s"),
        "exim_time_limit", "warning", "too short",
    ),
    "no retry rule": (
        lambda site: site.change("* * F,4d,1m\n", ""), "exim_retry", "error", "bounces",
    ),
    "a retry rule of two hours": (
        lambda site: site.change("F,4d,1m", "F,2h,1m"), "exim_retry", "warning", "2 h",
    ),
    "a sender on the command line": (
        lambda site: site.change('-f "\\$SENDER"', "-f \\$SENDER"),
        "pipe_arguments", "error", "an empty sender",
    ),
    "recipients that may be options": (
        lambda site: site.change("-- $pipe_addresses", "$pipe_addresses"),
        "pipe_arguments", "error", "taken for an option",
    ),
    "no room for what comes back": (
        lambda site: site.change("smtp_accept_reserve = 20\n", ""),
        "exim_reserve", "warning", "strangers",
    ),
    "a spool of somebody else's": (
        lambda site: os.chown(site.system.spool, 65534, -1),
        "spool_owner", "error", "belongs to nobody",
    ),
    "a handler that is not executable": (
        lambda site: site.handler.chmod(0o644), "handler", "error", "may not be run",
    ),
    "a way back that refuses": (
        lambda site: site.change("accept hosts = 127.0.0.1", "accept hosts = 192.0.2.1"),
        "reinjection_answers", "error", "RCPT",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", WAITS)
def test_what_makes_mail_wait_or_bounce_is_found_and_mended(site: SeededExim, fault: str) -> None:
    seed, check, level, said = WAITS[fault]
    seed(site)
    if check == "reinjection_answers":
        site.restart()
    found = site.finding(check, level, said)
    if check == "reinjection_answers":
        assert "acl_avcheck" in found.remedy
        return
    site.follow(found.remedy)
    assert not [each for each in site.doctor() if (each.check, each.level) == (check, level)]
    assert site.only_clean_arrives()


def test_a_scanner_that_the_account_may_not_ask(site: SeededExim) -> None:
    socket = site.system.clamd.socket
    mode = socket.stat().st_mode
    socket.chmod(0o600)
    try:
        found = site.finding("scanner_answers", "error", "Permission denied")
    finally:
        socket.chmod(mode)
    assert found.remedy == f"check the permissions: namei -l {socket}"


def test_an_exim_that_was_not_restarted(site: SeededExim) -> None:
    site.change("received_headers_max = 31", "received_headers_max = 41")
    os.utime(site.server.configuration, (time() + 5, time() + 5))
    found = site.finding("exim_restarted", "warning", "ports and ACLs are the old ones")
    assert found.remedy == "systemctl restart exim4"
    os.utime(site.server.configuration)
    site.restart()
    site.finding("exim_restarted", "ok")
    site.server.stop()
    try:
        site.finding("exim_restarted", "warning", "does not run as a daemon")
    finally:
        site.server.start()


def test_a_configuration_that_exim_does_not_take(site: SeededExim) -> None:
    site.change(f"user = {site.system.client}", "user = nobodyofthatname")
    with pytest.raises(AssertionError, match="user nobodyofthatname was not found"):
        site.doctor()


def test_a_configuration_without_avcheck(site: SeededExim) -> None:
    site.change("exec ", "exec /bin/echo ")
    site.change("/bin/avcheck", "/bin/avchek")
    site.change("-guard", "-gard")
    with pytest.raises(AssertionError, match="no transport of Exim runs avcheck, or avcheck-smtp"):
        site.doctor()


# What of an Exim's configuration avcheck, its way in and its way back depend on: the check
# that looks at it, or why none does.
LOOKED_AT = {
    "local_interfaces, daemon_smtp_ports": "exim_private",
    "acl_smtp_rcpt": "reinjection_answers",
    "acl_smtp_data and the others": "exim_takes",
    "message_size_limit": "reinjection_answers",
    "smtputf8_advertise_hosts": "(UTF-8 addresses wait, and avcheck says so)",
    "bounce_return_body": "exim_bounce",
    "hold_domains, never_users, mua_wrapper, deliver_drop_privilege": "exim_delivers",
    "retry rules": "exim_retry",
    "the order of routers": "exim_router",
    "the router's condition": "exim_router",
    "other conditions of the router": "exim_router",
    "unseen, verify": "exim_router",
    "-S": "exim_loop",
    "errors_to, headers_add, headers_remove": "exim_router",
    "command": "pipe_arguments",
    "variables in command": "exim_command",
    "message_size_limit of the transport, max_output, current_directory": "exim_command",
    "user, group": "exim_account",
    "what adds lines": "exim_message",
    "temp_errors, ignore_status, timeout_defer, freeze_signal": "exim_keeps",
    "timeout": "exim_time_limit",
    "smtp_accept_max, smtp_accept_reserve": "exim_reserve",
    "when it was read": "exim_restarted",
    "batch_max": "(any number is right: the recipients share a result)",
    "a system filter": "(it may do anything, and is its author's)",
}


@pytest.mark.parametrize("option", LOOKED_AT)
def test_each_option_is_looked_at_or_there_is_a_reason(option: str) -> None:
    check = LOOKED_AT[option]
    names = {each.__name__ for each in checks.CHECKS}
    assert check in names or (check.startswith("(") and check.endswith(")"))

"""What passes an Exim's routers, its command and its way back, with faults that hide no other.

Each is found, with a remedy that is then followed to the letter: a clean message arrives
after that, and no virus does.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.live.doctor.findings import finding
from tests.live.doctor.seeded_exim import SeededExim
from tests.live.doctor.test_exim import router, site, transport, whole
from tests.support.letters import letter

__all__ = ["site", "whole"]  # fixtures

# Check, level, words.
Found = tuple[str, str, str]


def follow(site: SeededExim, faults: Sequence[Found]) -> None:
    """Find each of the faults at once, and do as all of the remedies say."""
    said = site.doctor()
    for remedy in dict.fromkeys(finding(said, *fault).remedy for fault in faults):
        site.follow(remedy)
    checks = {check for check, _, _ in faults}
    assert not [each for each in site.doctor() if each.check in checks and each.level != "ok"]


def arrives(site: SeededExim) -> bool:
    """Whether a clean message does, and leaves nothing in the queue."""
    message = letter()
    site.server.submit("anna@example.com", ["bert@example.net"], message)
    site.run()
    waits = site.server.queue()
    site.clear()
    return bool(site.system.delivered(message)) and not waits


def early(site: SeededExim, condition: str) -> None:
    """A router for some mail before avcheck's."""
    onward = site.text.partition("begin routers\n")[2].partition("onward:\n")[2]
    lines = onward.partition("begin transports")[0]
    site.change("begin routers\n", f"begin routers\nearly:\n  condition = {condition}\n{lines}")


def passes_and_is_closed(site: SeededExim, faults: Sequence[Found]) -> None:
    site.restart()
    assert "front" in site.virus_passes()
    site.clear()
    follow(site, faults)
    assert site.virus_passes() == []
    assert site.only_clean_arrives()


def test_a_condition_on_what_is_in_a_message(site: SeededExim) -> None:
    router(site, "condition = ${if def:h_X-Not-There:}")
    router(site, "condition = ${if <{$message_size}{100}}")
    passes_and_is_closed(site, [("exim_router", "error", "<{$message_size}{100}")])


def test_a_variable_of_an_acl_and_an_option_that_is_forced_to_fail(site: SeededExim) -> None:
    router(site, "condition = ${if !eq{$acl_m_noscan}{1}}")
    router(site, "address_data = ${if eq{$local_part}{nobody}{x}fail}")
    site.change("acl_check_rcpt:\n", "acl_check_rcpt:\n  accept set acl_m_noscan = 1\n")
    said = "not all mail goes to avcheck"
    faults = [
        (
            "exim_router",
            "error",
            f"address_data = ${{if eq{{$local_part}}{{nobody}}{{x}}fail}} {said}",
        ),
        ("exim_router", "error", "$acl_m_noscan"),
    ]
    passes_and_is_closed(site, faults)


def test_other_words_for_what_is_documented_are_right(site: SeededExim) -> None:
    """Another condition, a router before avcheck's for what came back, and one for who asks."""
    back = f"{{$received_port}}{{{site.back}}}"
    site.change(
        f"${{if !eq{back}}}", f"${{if !and{{{{={back}}}{{match{{$received_port}}{{[0-9]}}}}}}}}"
    )
    early(site, f"${{if eq{back}}}")
    transport(site, "message_size_limit = 4M")
    transport(site, "max_output = 100K")
    for check in ("exim_router", "exim_routes", "exim_command", "exim_takes"):
        site.finding(check, "ok")
    assert site.virus_passes() == []
    assert site.only_clean_arrives()


def test_who_asks_has_authenticated_and_who_sends_mail_has_not(site: SeededExim) -> None:
    early(site, "${if def:authenticated_id}")
    said = site.doctor()
    assert "what it takes goes round" in finding(said, "exim_router", "error").text
    assert not [each for each in said if (each.check, each.level) == ("exim_routes", "error")]
    assert "front" not in site.virus_passes()


def test_variables_that_strangers_choose(site: SeededExim) -> None:
    site.change(' -f "\\$SENDER" "\\$@"', ' "\\$@"')
    site.change("--queue-id $message_exim_id", "--queue-id $h_message-id: -f $return_path")
    site.change("-- $pipe_addresses", "-- $local_part@${domain}")
    site.restart()
    assert not arrives(site)
    said = site.doctor()
    words = "$h_message-id, $return_path, $local_part, $domain in the command"
    assert words in finding(said, "exim_command", "error").text
    assert finding(said, "reinjection_answers", "ok")  # its recipient is one
    follow(site, [("exim_command", "error", words)])
    site.finding("pipe_arguments", "ok")
    assert site.only_clean_arrives()


def test_what_bounces_or_changes_or_doubles_mail(site: SeededExim) -> None:
    for line in (
        "headers_add = X-Router: yes",
        "headers_remove = Subject",
        "errors_to = x@y.invalid",
    ):
        router(site, line)
    for line in ("message_size_limit = 3M", "max_output = 1", "return_path = x@y.invalid"):
        transport(site, line)
    site.change("current_directory = /", "current_directory = /nowhere")
    assert not arrives(site)
    faults = [
        ("exim_command", "error", "message_size_limit = 3M: what is larger bounces"),
        ("exim_command", "error", "max_output = 1"),
        ("exim_command", "error", "current_directory = /nowhere"),
        ("exim_message", "error", "return_path changes the sender"),
        ("exim_router", "error", "headers_add adds"),
        ("exim_router", "error", "headers_remove removes"),
        ("exim_router", "error", "errors_to changes the sender"),
    ]
    follow(site, faults)
    assert site.only_clean_arrives()


def test_options_that_keep_mail(site: SeededExim) -> None:
    """And one by which it bounces, which is not tried here: nothing would come in."""
    lines = f"hold_domains = *\nnever_users = root : {site.system.client}\n"
    site.change("queue_only\n", f"queue_only\n{lines}deliver_drop_privilege = true\n")
    site.restart()
    assert not arrives(site)
    faults = [
        ("exim_delivers", "error", "hold_domains has *"),
        ("exim_delivers", "error", f"never_users has {site.system.client}"),
        ("exim_delivers", "error", "deliver_drop_privilege: Exim cannot run avcheck"),
    ]
    follow(site, faults)
    assert site.only_clean_arrives()


def at_data(site: SeededExim, name: str, lines: str) -> None:
    """An ACL for what comes back, after its message."""
    old = f"acl_smtp_data = ${{if eq{{$received_port}}{{{site.back}}}{{acl_avcheck}}"
    site.change(old, old.replace("acl_avcheck", name))
    site.change("begin acl\n", f"begin acl\n{name}:\n{lines}")


def test_a_way_back_that_freezes(site: SeededExim) -> None:
    line = "accept hosts = 127.0.0.1\n"
    site.change(line, f"{line}  control = freeze\n")
    site.restart()
    assert not arrives(site)
    follow(site, [("exim_takes", "error", "is frozen, and waits for a person (ACL acl_avcheck)")])
    assert site.only_clean_arrives()


def test_a_way_back_that_throws_away_or_refuses(site: SeededExim) -> None:
    at_data(site, "acl_no", "  deny message = no\n")
    site.restart()
    assert not arrives(site)
    site.finding("exim_takes", "error", "takes no message, and clean mail waits: 550 no")
    site.change("  deny message = no\n", "  discard\n")
    follow(site, [("exim_takes", "error", "is thrown away (ACL acl_no)")])
    assert site.only_clean_arrives()


def test_a_way_back_that_refuses_what_this_host_may_send(site: SeededExim) -> None:
    lines = "  deny condition = ${if >{$max_received_linelength}{998}}\n  accept\n"
    at_data(site, "acl_long", lines)
    follow(site, [("exim_takes", "warning", "does not take all mail of this host")])
    assert site.only_clean_arrives()

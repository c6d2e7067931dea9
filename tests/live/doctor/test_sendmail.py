"""avcheckctl doctor on two real sendmails with one fault at a time, and what comes of its remedies.

Each is found, with a remedy that is then followed to the letter: a clean message arrives
after that, and no virus does.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

import pytest

from avcheck.admin import checks
from tests.live.doctor.seeded_sendmail import SIZE_MAX, SeededSendmail, seeded_sendmail
from tests.live.recipe import MailSystem
from tests.support.servers.ports import free_port
from tests.support.servers.sendmail import Program


@pytest.fixture(scope="module")
def whole(mail_system: MailSystem, open_directory: Path) -> Iterator[SeededSendmail]:
    program = Program.unpack(open_directory / "sendmail-package")
    with seeded_sendmail(mail_system, program) as made:
        yield made


@pytest.fixture
def site(whole: SeededSendmail) -> Iterator[SeededSendmail]:
    with whole.intact_afterwards():
        yield whole


def onward(site: SeededSendmail) -> None:
    """The front door sends mail on by itself."""
    mailer = re.search(r"^Monward.*\n", site.behind.mc, re.M)
    assert mailer
    site.change("Mavcheck,", f"{mailer[0]}Mavcheck,")
    host = site.system.sink.address.rpartition(":")[0]
    site.change("$#avcheck $@ scan", f"$#onward $@ [{host}]")


def same_queue(site: SeededSendmail) -> None:
    site.change(f"{site.front.directory}/queue", f"{site.behind.directory}/queue")


def back_to_the_front(site: SeededSendmail) -> None:
    site.change(f"-S 127.0.0.1:{site.behind.port}", f"-S 127.0.0.1:{site.front.port}")


def sent_to_the_front(site: SeededSendmail) -> None:
    """The one that delivers sends mail to the front door, as to a smart host."""
    _, port = site.system.sink.address.split(":")
    site.change(f"A=TCP $h {port}", f"A=TCP $h {site.front.port}", "sendmail")


def another_port(site: SeededSendmail) -> None:
    line = re.search(r"^DAEMON_OPTIONS.*\n", site.behind.mc, re.M)
    assert line
    more = line[0].replace(f"Port={site.behind.port}", f"Port={free_port()}")
    site.change(line[0], line[0] + more.replace("Name=MTA", "Name=Old"), "sendmail")


def without_guard(site: SeededSendmail) -> None:
    avcheck = site.system.adapted("/opt/avcheck/bin/avcheck")
    site.change(site.system.adapted("P=/usr/local/libexec/avcheck-guard"), f"P={avcheck}")
    site.change(f"A=avcheck-guard {avcheck}", "A=avcheck")


def everybody(site: SeededSendmail) -> None:
    site.change(f"Addr=127.0.0.1, Port={site.behind.port}", f"Port={site.behind.port}", "sendmail")


Fault = tuple[Callable[[SeededSendmail], None], str, str, str]
FAULTS: dict[str, Fault] = {
    "mail goes on by itself": (
        onward, "sendmail_routes", "error", "goes to the mailer onward, round avcheck",
    ),
    "-S to the front door": (
        back_to_the_front, "sendmail_loop", "error", "leads back to the front door",
    ),
    "-S to sendmail": (
        lambda site: site.change(
            f"-S 127.0.0.1:{site.behind.port}", "-S /usr/sbin/sendmail -S -G -S -i"
        ),
        "sendmail_loop", "error", "the program of -S leads back",
    ),
    "one queue for both": (same_queue, "sendmail_queues", "error", "may be delivered"),
    "another port behind": (another_port, "sendmail_private", "error", ", too, and it is not"),
    "a port for everybody": (everybody, "sendmail_private", "error", "from elsewhere"),
    "no account": (
        lambda site: site.change(f"U={site.system.client}:{site.system.group}, ", ""),
        "sendmail_account", "error", "U= is missing",
    ),
    "an account with a typing error": (
        lambda site: site.change(f"U={site.system.client}:", "U=nobodyofthatname:"),
        "sendmail_account", "error", "U= is missing",
    ),
    "root": (
        lambda site: site.change("F=nuh8", "F=nuh8S"), "sendmail_account", "error", "with S",
    ),
    "header lines": (
        lambda site: site.change("F=nuh8", "F=nuh8DFM"), "sendmail_message", "error", "adds a Date",
    ),
    "a From line": (
        lambda site: site.change("F=nuh8", "F=uh8"), "sendmail_message", "error", "without n",
    ),
    "line ends": (
        lambda site: site.change("W=600,", "W=600, E=\\r\\n,"),
        "sendmail_message", "error", "line ends",
    ),
    "short lines": (
        lambda site: site.change("W=600,", "W=600, L=990,"), "sendmail_message", "error", "L=990",
    ),
    "MAILER-DAEMON": (
        lambda site: site.change(" S=AvcheckFrom/AvcheckHeader,", ""),
        "sendmail_sender", "error", "MAILER-DAEMON",
    ),
    "shared runs": (
        lambda site: site.change("F=nuh8", "F=nuh8m"), "sendmail_recipients", "warning", "with m",
    ),
    "bounces with the message": (
        lambda site: site.change(",nobodyreturn", ""),
        "sendmail_keeps", "warning", "scanned or not",
    ),
    "a wait that is short": (
        lambda site: site.change("W=600,", "W=5m,"),
        "sendmail_keeps", "warning", "W=5m: sendmail may give up before",
    ),
    "bounces soon": (
        lambda site: site.define("confTO_QUEUERETURN", "2h"),
        "sendmail_keeps", "warning", "bounces after 2 h",
    ),
    "no end at all": (
        lambda site: site.change("--deadline 450", "--deadline 0"),
        "sendmail_keeps", "warning", "never gives up",
    ),
    "no guard": (
        without_guard, "sendmail_keeps", "error", "without the guard",
    ),
    "any number at a time": (
        lambda site: site.define("confMAX_DAEMON_CHILDREN", "0"),
        "sendmail_concurrency", "warning", "any number",
    ),
    "a limit behind": (
        lambda site: site.define("confCONNECTION_RATE_THROTTLE", "15", "sendmail"),
        "sendmail_concurrency", "warning", "ConnectionRateThrottle is 15",
    ),
    "any size": (
        lambda site: site.change(f"define(`confMAX_MESSAGE_SIZE', `{SIZE_MAX}')dnl\n", ""),
        "message_size", "warning", "of any size",
    ),
    "recipients that may be options": (
        lambda site: site.change(" -- $u", " $u"), "pipe_arguments", "error", "for an option",
    ),
    "a spool of somebody else's": (
        lambda site: os.chown(site.system.spool, 65534, -1),
        "spool_owner", "error", "belongs to nobody",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_found_and_mended(site: SeededSendmail, fault: str) -> None:
    seed, check, level, said = FAULTS[fault]
    seed(site)
    found = site.finding(check, level, said)
    passes = check == "sendmail_routes"
    if passes:
        assert site.virus_passes()
        site.clear()
    if check == "pipe_arguments":
        assert found.remedy == "-f $g -- $u"
        return
    site.follow(found.remedy)
    assert not [each for each in site.doctor() if (each.check, each.level) == (check, level)]
    assert site.only_clean_arrives()


def test_the_set_up_has_nothing_to_find(site: SeededSendmail) -> None:
    found = site.doctor(command=True)
    bad = {each.check: each for each in found if each.level not in ("ok", "skipped")}
    # Signatures of our own, in a private place.
    assert set(bad) <= {"scanner_signatures", "clamd_room"}, list(bad.values())


def test_what_is_sent_on_comes_round(site: SeededSendmail) -> None:
    sent_to_the_front(site)
    found = site.finding("sendmail_loop", "error", f"the front door, port {site.front.port}")
    assert found.remedy == "undefine(`SMART_HOST')dnl sendmail.mc"
    assert not site.virus_passes()


def test_a_source_that_was_changed_and_not_made_use_of(site: SeededSendmail) -> None:
    source = site.place / "avcheck.mc"
    os.utime(source, (time() + 5, time() + 5))
    found = site.finding("sendmail_reads", "warning", "avcheck.mc was changed")
    assert found.remedy == f"m4 {source} > {site.place}/avcheck.cf"


def test_what_sendmail_says_against_its_configuration(site: SeededSendmail) -> None:
    site.change(f"U={site.system.client}:", "U=nobodyofthatname:")
    site.finding("sendmail_reads", "error", "unknown user nobodyofthatname")


def test_without_the_one_behind_its_checks_are_skipped(site: SeededSendmail) -> None:
    (site.place / "sendmail.cf").unlink()
    site.finding("sendmail_loop", "skipped", "there is no sendmail.cf")
    site.make()


def test_a_configuration_without_avcheck(site: SeededSendmail) -> None:
    site.change(site.system.adapted("P=/usr/local/libexec/avcheck-guard"), "P=/bin/true")
    with pytest.raises(AssertionError, match=r"no mailer of .* runs avcheck"):
        site.doctor()


def test_another_sendmail_is_told(site: SeededSendmail) -> None:
    """Postfix's, for one, has no such mode."""
    program = site.bin / "sendmail"
    text = program.read_text()
    program.write_text('#!/bin/sh\nexec /usr/sbin/sendmail "$@"\n')
    try:
        with pytest.raises(AssertionError, match="is it sendmail itself"):
            site.doctor()
    finally:
        program.write_text(text)


def test_the_account_is_that_of_the_mailer(site: SeededSendmail) -> None:
    found = site.finding("sendmail_account", "ok")
    assert found.text.endswith(site.system.client)
    assert pwd.getpwnam(site.system.client).pw_uid == site.system.spool.stat().st_uid


# What of both configurations avcheck, its way in and its way back depend on: the check that
# looks at it, or why none does.
LOOKED_AT = {
    "LOCAL_RULE_0": "sendmail_routes",
    "DAEMON_OPTIONS of the front door": "sendmail_loop",
    "DAEMON_OPTIONS behind": "sendmail_private",
    "SMART_HOST behind": "sendmail_loop",
    "QUEUE_DIR": "sendmail_queues",
    "confMAX_DAEMON_CHILDREN": "sendmail_concurrency",
    "confMAX_MESSAGE_SIZE": "message_size",
    "confPRIVACY_FLAGS": "sendmail_keeps",
    "confTO_QUEUERETURN": "sendmail_keeps",
    "P=": "program",
    "A=": "pipe_arguments",
    "F=": "sendmail_message",
    "U=": "sendmail_account",
    "S=": "sendmail_sender",
    "W=": "sendmail_keeps",
    "access lists": "(who may send is not avcheck's affair)",
}


@pytest.mark.parametrize("option", LOOKED_AT)
def test_each_option_is_looked_at_or_there_is_a_reason(option: str) -> None:
    check = LOOKED_AT[option]
    names = {each.__name__ for each in checks.CHECKS}
    assert check in names or (check.startswith("(") and check.endswith(")"))

"""avcheckctl doctor on a real Postfix and clamd with one fault at a time: mail waits or bounces.

Each is found, with a remedy that is then followed to the letter: mail goes on, and no virus
arrives.  The table at the end says what of master.cf, main.cf and clamd.conf is looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests.live.doctor.findings import finding
from tests.live.doctor.seeded import AGE, Seeded
from tests.support.letters import EICAR, with_attachment
from tests.support.servers.daemon import suspend


def option(site: Seeded, old: str, new: str) -> None:
    site.change(old.replace("SPOOL", str(site.system.spool)), new)


def net(site: Seeded, text: str | None) -> None:
    if text is None:
        (site.postfix.config / "avcheck_dsn").unlink()
    else:
        site.write("avcheck_dsn", text)


def back(site: Seeded, parameter: str) -> None:
    site.postconf("-P", f"127.0.0.1:{site.back}/inet/{parameter}")


def without_overrides(site: Seeded) -> None:
    text = (site.postfix.config / "master.cf").read_text()
    site.write("master.cf", re.sub(r"    -o receive_override_options=.*\n", "", text))


def refused_later(site: Seeded) -> None:
    site.set(soft_bounce="yes")
    option(site, " --deadline", " --refused bounce --deadline")


def dead_milter(site: Seeded) -> None:
    back(site, "receive_override_options=no_unknown_recipient_checks")
    back(site, "smtpd_milters=inet:127.0.0.1:1")
    back(site, "milter_default_action=tempfail")


def limit_of_commands(site: Seeded) -> None:
    site.postconf("-X", "avcheck_time_limit")
    site.postconf("-P", "avcheck/unix/command_time_limit=100s")


Fault = tuple[Callable[[Seeded], None], str, str, str]
FAULTS: dict[str, Fault] = {
    # Mail bounces.
    "no net": (lambda site: net(site, None), "safety_net", "error", "No such file"),
    "an empty net": (lambda site: net(site, ""), "safety_net", "error", "does not catch"),
    "a deadline without room": (
        lambda site: option(site, "--deadline 450", "--deadline 590"),
        "pipe_time_limit", "error", "30 s between",
    ),
    "a limit in master.cf": (
        lambda site: site.postconf("-P", "avcheck/unix/avcheck_time_limit=5m"),
        "pipe_time_limit", "error", "after 5m",
    ),
    "a limit that is short": (
        lambda site: site.set(avcheck_time_limit="40s"), "pipe_time_limit", "error", "too short",
    ),
    "no end at all": (
        lambda site: option(site, "--deadline 450", "--deadline 0"),
        "pipe_time_limit", "error", "never gives up",
    ),
    "a time that is never reached": (
        lambda site: option(site, "--deadline 450", "-t 500 --deadline 450"),
        "deadline", "warning", "never reached",
    ),
    "a limit of commands on the service": (
        limit_of_commands, "pipe_time_limit", "error", "after 100s (command_time_limit)",
    ),
    "a net that catches too much": (
        lambda site: net(site, site.saved["avcheck_dsn"] + "/^4(\\.[^ ]+ .*)/ 5$1\n"),
        "safety_net", "error", "held back while",
    ),
    "a net in main.cf": (
        lambda site: site.set(pipe_delivery_status_filter="regexp:{{/^9(.*)/ 4$$1}}"),
        "safety_net", "error", "does not catch",
    ),
    "a size of the pipe": (
        lambda site: site.change(" flags=q", " size=300 flags=q"),
        "pipe_attributes", "error", "larger than that bounce",
    ),
    "aliases on both ways": (
        lambda site: site.postconf(
            "-P", f"127.0.0.1:{site.door}/inet/receive_override_options=no_milters"
        ),
        "filter_mappings", "warning", "before the filter, and again",
    ),
    "aliases on neither way": (without_overrides, "reinjection_mappings", "error", "never"),
    "a way back that refuses": (
        lambda site: back(site, "mynetworks=192.0.2.0/24"),
        "reinjection_answers", "error", "RCPT",
    ),
    "a way back that wants TLS": (
        lambda site: back(site, "smtpd_tls_security_level=encrypt"),
        "reinjection_answers", "error", "STARTTLS",
    ),
    "a way back with a milter that is gone": (
        dead_milter, "reinjection_answers", "error", "451 4.7.1",
    ),
    "a way back that is small": (
        lambda site: back(site, "message_size_limit=100000"),
        "reinjection_answers", "warning", "97.7K at most",
    ),
    "a short wait": (
        lambda site: site.set(maximal_queue_lifetime="0"),
        "queue_lifetime", "error", "bounces at once",
    ),
    # All mail waits.
    "a service that is deferred": (
        lambda site: site.set(defer_transports="avcheck"), "queue_runs", "error", "postqueue",
    ),
    "what is refused waits": (
        refused_later, "soft_bounce", "warning", "what avcheck refuses waits",
    ),
    "a limit for this host": (
        lambda site: site.set(
            smtpd_client_event_limit_exceptions="", smtpd_client_message_rate_limit="1"
        ),
        "queue_runs", "warning", "holds for what comes back",
    ),
    "a service that is switched off": (
        lambda site: site.set(master_service_disable=f"127.0.0.1:{site.back}/inet"),
        "queue_runs", "error", "switches",
    ),
    "a chroot": (
        lambda site: site.postconf("-F", "avcheck/unix/chroot=y"),
        "pipe_columns", "error", "chroot",
    ),
    "no privileges": (
        lambda site: site.postconf("-F", "avcheck/unix/unprivileged=y"),
        "pipe_columns", "error", "unprivileged",
    ),
    "a directory that is not there": (
        lambda site: site.change(" flags=q", " directory=/root/nodir flags=q"),
        "pipe_attributes", "error", "cannot go there",
    ),
    "one message at a time": (
        lambda site: site.set(avcheck_transport_rate_delay="30s"),
        "queue_runs", "warning", "one message in 30 s",
    ),
    "a waitfile that is a directory": (
        lambda site: (site.system.spool / "wait").mkdir(), "waitfile", "error", "is a directory",
    ),
    "a group of Postfix's": (
        lambda site: site.change(f":{site.system.group}", ":postdrop"),
        "pipe_user", "error", "refuses the group",
    ),
    "a group that is not there": (
        lambda site: site.change(f":{site.system.group}", ":nogroupofthatname"),
        "pipe_user", "error", "no such group",
    ),
    "an account with a typing error": (
        lambda site: site.change(f"user={site.system.client}", f"user={site.system.client}y"),
        "pipe_user", "error", "no such account",
    ),
    "a waitfile of root's": (
        lambda site: option(site, "-w SPOOL/wait", "-w /root/wait"),
        "waitfile", "error", "Permission denied",
    ),
    "a relative waitfile": (
        lambda site: option(site, "-w SPOOL/wait", "-w wait"), "waitfile", "error", "absolute",
    ),
    "counters that cannot be written": (
        lambda site: option(site, " --deadline", " --metrics /root/m.prom --deadline"),
        "metrics_written", "warning", "nothing is counted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_makes_mail_wait_or_bounce_is_found_and_mended(site: Seeded, fault: str) -> None:
    seed, check, level, said = FAULTS[fault]
    seed(site)
    if check == "reinjection_answers":
        site.reload()
    found = site.finding(check, level, said)
    assert "chown root" not in found.remedy
    site.follow(found.remedy)
    assert not [each for each in site.doctor() if (each.check, each.level) == (check, level)]
    assert site.only_clean_arrives()


def test_what_is_found_beside_other_faults(site: Seeded) -> None:
    """Remedies are for a person here, who has to look first."""
    site.change(" flags=q", " chroot=/nowhere flags=q")
    site.change("-- ${recipient}", "-- ${user}@${domain}")
    # postmap warns of it, and not of the net.
    twice = "message_size_limit = 1\nmessage_size_limit = 3000000\n"
    site.write("main.cf", (site.postfix.config / "main.cf").read_text() + twice)
    site.reload()
    found = site.doctor()
    assert finding(found, "pipe_attributes", "error", "chroot=/nowhere")
    assert finding(found, "pipe_arguments", "error")
    assert finding(found, "safety_net", "ok")
    assert "reinjection_answers" not in {each.check for each in found if each.level != "ok"}


def test_a_correction_that_postfix_has_not_read(site: Seeded) -> None:
    site.change("--deadline 450", "--deadline 440")
    site.write("master.cf", (site.postfix.config / "master.cf").read_text(), age=-AGE)
    found = site.finding("postfix_reloaded", "error", "master.cf")
    assert found.remedy == f"postfix -c {site.postfix.config} reload"
    site.write("master.cf", (site.postfix.config / "master.cf").read_text())
    site.follow(found.remedy)
    assert "postfix_reloaded" in {each.check for each in site.doctor() if each.level == "ok"}


# What the account cannot reach, and the check that finds it.
OUT_OF_REACH = {
    "the options": "files_readable",
    "the packages": "program",
    "a module": "program",
    "the handler": "handler",
}


@pytest.mark.parametrize("what", OUT_OF_REACH)
def test_what_the_account_cannot_reach(site: Seeded, what: str) -> None:
    guard, avcheck = map(Path, site.system.guarded.split())
    assert guard.exists()
    handler = avcheck.with_name("infected.sh")
    (packages,) = avcheck.parents[1].glob("lib/python3*/site-packages/avcheck")
    whole = handler.read_text()
    options = site.system.directory / "options.conf"
    try:
        if what == "the options":
            options.write_text("deadline 450\n")
            options.chmod(0o600)
            site.change("--deadline 450", f"--config {options}")
        elif what == "the packages":
            packages.chmod(0o700)
        elif what == "a module":
            (packages / "main.py").chmod(0o600)
            shutil.rmtree(packages / "__pycache__", ignore_errors=True)
        else:
            _, rest = whole.split("\n", 1)
            handler.write_text(f"#!/nowhere/at/all\n{rest}")
        check = OUT_OF_REACH[what]
        (error,) = [each for each in site.doctor() if each.level == "error"]
        assert error.check == check
        site.follow(error.remedy)
        assert not [each for each in site.doctor() if each.level == "error"]
        assert site.only_clean_arrives()
    finally:
        packages.chmod(0o755)
        (packages / "main.py").chmod(0o644)
        handler.write_text(whole)
        options.unlink(missing_ok=True)


def test_a_quarantine_that_root_has_begun(site: Seeded) -> None:
    """As infected.sh run by hand does it: then the account cannot make the next entry."""
    virus = with_attachment(EICAR)
    quarantine = site.system.quarantine
    shutil.rmtree(quarantine, ignore_errors=True)
    (quarantine / ".new").mkdir(mode=0o700, parents=True)
    shutil.chown(quarantine, site.system.client)
    quarantine.chmod(0o700)
    try:
        found = site.finding("quarantine", "error", "/.new: not writable")
        site.follow(found.remedy)
        assert not [each for each in site.doctor() if each.level == "error"]
        assert site.send(virus)
        site.settle()
        assert len(site.system.quarantined(virus)) == 1
    finally:
        shutil.rmtree(quarantine.with_name("quarantine.old"), ignore_errors=True)


def test_a_name_that_is_not_avchecks(site: Seeded) -> None:
    site.change("/bin/avcheck\n", "/bin/avchek\n")
    site.change("avcheck-guard", "avcheck-gard")
    with pytest.raises(AssertionError, match="looks like it, with argv="):
        site.doctor()


def test_a_scanner_and_a_way_back_that_say_nothing_take_ten_seconds(site: Seeded) -> None:
    suspend(site.clamd.pid)
    try:
        began = monotonic()
        found = site.doctor()
        took = monotonic() - began
    finally:
        os.kill(site.clamd.pid, signal.SIGCONT)
    assert "scanner_answers" in {each.check for each in found if each.level == "error"}
    assert took < 20  # ten, and a machine that others use


def test_a_message_is_not_needed_to_find_anything(site: Seeded) -> None:
    assert site.clean_arrives()
    before = len(site.system.sink.messages)
    site.doctor()
    site.settle()
    assert len(site.system.sink.messages) == before

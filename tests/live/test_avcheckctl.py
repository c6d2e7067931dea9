"""avcheckctl on a real clamd and a real Postfix, with the lines of docs/postfix.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.recipe import DOCUMENT, MailSystem, blocks
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.program import STOP, Program
from tests.support.servers.clamd import Clamd
from tests.support.servers.postfix import Postfix

CTL = Path(sys.executable).with_name("avcheckctl")

HELD = re.compile(r"relay=avcheck,.* status=deferred \(.*held back while")


def avcheckctl(*words: object, status: int = 0) -> str:
    """Run the installed command; its standard output."""
    done = subprocess.run(
        [CTL, *map(str, words)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def held_back(postfix: Postfix) -> int:
    """How many tries the log says were held back."""
    return sum(bool(HELD.search(line)) for line in postfix.log.splitlines())


@pytest.fixture
def site(mail_system: MailSystem) -> Iterator[MailSystem]:
    """The site, without what avcheckctl keeps there once it was used."""
    yield mail_system
    for name in ("wait", "wait.lock"):
        (mail_system.spool / name).unlink(missing_ok=True)


def test_clamd_restarted_under_load_loses_nothing_and_lets_nothing_through(
    site: MailSystem, postfix: Postfix, tmp_path: Path
) -> None:
    """Mail before, during and after a pause: all of it is checked, and delivered or kept once."""
    before = held_back(postfix)
    restart = Program(tmp_path / "restart", STOP)
    clean = [letter(f"number {number}\n") for number in range(30)]
    infected = [with_attachment(EICAR) for _ in range(6)]
    submitted = [*clean[:15], *infected[:3]]
    for message in submitted:
        site.submit(postfix, message)
    # No wait here: some of these are in flight when the pause begins.
    pause = subprocess.Popen(
        [CTL, "pause", f"--postfix={postfix.config}", "--reason", "new clamd", "--", restart.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
    )
    try:
        restart.arrived()
        facts = json.loads(avcheckctl("status", f"--postfix={postfix.config}", "--json", status=1))
        assert facts[0]["in_flight"] == []
        assert facts[0]["reason"] == "new clamd"
        site.clamd.stop()
        held = [site.submit(postfix, message) for message in (*clean[15:], *infected[3:])]
        for queue_id in held:
            outcomes = postfix.wait_for_outcomes(queue_id, relay="avcheck")
            assert "new clamd" in outcomes[-1]
        site.clamd.start()
    finally:
        restart.release()
        said, _ = pause.communicate(timeout=120)
        restart.close()
    assert pause.returncode == 0, said
    printed = re.search(r"Attempts held back meanwhile: (\d+)", said)
    assert printed, said
    assert int(printed[1]) == held_back(postfix) - before >= len(held)
    assert not site.waitfile.exists()

    postfix.flush()
    postfix.wait_until(lambda: not postfix.queue(), "an empty queue")
    site.account_for(postfix)
    for message in clean:
        assert len(site.delivered(message)) == 1
    for message in infected:
        assert len(site.quarantined(message)) == 1
        assert site.delivered(message) == []
    (site.spool / "wait.lock").unlink()
    assert site.left_behind() == []


def test_a_pause_goes_on_when_clamd_does_not_come_back(site: MailSystem, postfix: Postfix) -> None:
    site.clamd.stop()
    try:
        words = ("pause", f"--postfix={postfix.config}", "--limit", "1s", "--", "true")
        avcheckctl(*words, status=1)
        assert site.waitfile.exists()
        message = letter()
        queue_id = site.submit(postfix, message)
        assert "until true is done" in postfix.wait_for_outcomes(queue_id, relay="avcheck")[-1]
    finally:
        site.clamd.start()
    assert "1" in avcheckctl("resume", f"--postfix={postfix.config}")
    postfix.flush()
    postfix.wait_until(lambda: not postfix.queue(), "an empty queue")
    assert len(site.delivered(message)) == 1


def test_status_counts_what_waits_for_a_dead_scanner(site: MailSystem, postfix: Postfix) -> None:
    words = ("status", f"--postfix={postfix.config}", "--json")
    (facts,) = json.loads(avcheckctl(*words))
    assert (facts["checked"], facts["deferred"], facts["unknown"]) == (True, 0, "")
    site.clamd.stop()
    try:
        message = letter()
        queue_id = site.submit(postfix, message)
        postfix.wait_for_outcomes(queue_id, relay="avcheck")
        postfix.wait_until(
            lambda: [each.queue for each in postfix.queue()] == ["deferred"], "a deferred message"
        )
        (facts,) = json.loads(avcheckctl(*words, status=1))
        assert (facts["checked"], facts["deferred"], facts["unknown"]) == (False, 1, "")
        assert facts["scanners"][0]["error"]
    finally:
        site.clamd.start()
    (facts,) = json.loads(avcheckctl(*words, status=1))
    assert (facts["checked"], facts["deferred"]) == (True, 1)
    postfix.flush()
    postfix.wait_until(lambda: not postfix.queue(), "an empty queue")
    assert len(site.delivered(message)) == 1
    avcheckctl(*words)


@pytest.mark.parametrize("missing", ["the guard", "the interpreter"])
def test_mail_that_waits_because_avcheck_cannot_be_run_is_seen(
    site: MailSystem, postfix: Postfix, tmp_path: Path, missing: str
) -> None:
    """status counts it, by what pipe(8) has noted, and doctor says how to mend it."""
    guard, avcheck = map(Path, site.guarded.split())
    python = avcheck.with_name("python3")  # of the virtual environment, a link
    broken = guard if missing == "the guard" else python
    kept = broken.with_name("kept")
    broken.rename(kept)
    if missing == "the interpreter":  # which is in a directory of root's
        tmp_path.chmod(0o700)
        (tmp_path / "python3").symlink_to(kept.resolve())
        python.symlink_to(tmp_path / "python3")
    try:
        message = letter()
        queue_id = site.submit(postfix, message)
        postfix.wait_for_outcomes(queue_id, relay="avcheck")
        postfix.wait_until(
            lambda: [each.queue for each in postfix.queue()] == ["deferred"], "a deferred message"
        )
        words = (f"--postfix={postfix.config}", "--json")
        (facts,) = json.loads(avcheckctl("status", *words, status=1))
        found = json.loads(avcheckctl("doctor", *words, status=1))
    finally:
        kept.rename(broken)
    assert facts["deferred"] == 1, postfix.queue()
    (error,) = [each for each in found if each["level"] == "error"]
    assert error["check"] == "program"
    assert (f"mv -f {guard}.new {guard}" if missing == "the guard" else "-m venv") in error[
        "remedy"
    ]
    postfix.flush()
    postfix.wait_until(lambda: not postfix.queue(), "an empty queue")
    assert len(site.delivered(message)) == 1


def test_what_was_quarantined_is_released_past_the_scanner(
    site: MailSystem, postfix: Postfix
) -> None:
    message = with_attachment(EICAR)
    site.submit(postfix, message)
    postfix.wait_until(lambda: bool(site.quarantined(message)), "a message in the quarantine")
    (entry,) = site.quarantined(message)
    words = ("quarantine", "release", "--directory", site.quarantine, entry.name)
    avcheckctl(*words, f"--postfix={postfix.config}")
    postfix.wait_until(lambda: bool(site.delivered(message)), "the message at the next hop")
    avcheckctl(*words, status=2)  # not a second time
    facts = json.loads(avcheckctl("quarantine", "list", "--directory", site.quarantine, "--json"))
    (ours,) = [each for each in facts if each["entry"] == entry.name]
    assert [act["what"] for act in ours["acts"]] == ["release begun", "released"]
    postfix.wait_until(lambda: not postfix.queue(), "an empty queue")
    assert len(site.delivered(message)) == 1
    # Tests that come after this one count what was delivered and what was kept.
    avcheckctl("quarantine", "delete", "--directory", site.quarantine, entry.name, "--yes")


def test_ping_asks_as_the_account_of_the_service(clamd: Clamd, postfix: Postfix) -> None:
    (answer,) = json.loads(avcheckctl("ping", f"--postfix={postfix.config}", "--json"))
    assert answer["version"].startswith("ClamAV ")
    said = avcheckctl("ping", "-s", f"clamd:{clamd.socket},127.0.0.1:{clamd.port}")
    assert said.count("ClamAV ") == 2


def test_doctor_finds_nothing_wrong_with_the_documented_set_up(
    site: MailSystem, postfix: Postfix
) -> None:
    found = json.loads(avcheckctl("doctor", f"--postfix={postfix.config}", "--json"))
    assert [each for each in found if each["level"] == "error"] == []
    fine = {each["check"] for each in found if each["level"] == "ok"}
    # What needs the real clamd, the real accounts and the real Postfix.
    assert fine >= {
        "spool_usable",
        "spool_owner",
        "scanner_answers",
        "scanner_knows_virus",
        "scanner_account",
        "scanner_socket",
        "handler",
        "program",
        "reinjection_answers",
        "reinjection_loop",
        "pipe_arguments",
        "pipe_time_limit",
        "filter_used",
        "filter_mappings",
        "safety_net",
    }, found
    doubts = {each["check"] for each in found if each["level"] == "warning"}
    # Of the tests: few threads, signatures of our own, and a Postfix that takes any size.
    assert doubts <= {"clamd_threads", "clamd_scan_time", "scanner_signatures", "message_size"}, (
        found
    )


SMALL = {
    "MaxFileSize": "2M",
    "MaxScanSize": "4M",
    "StreamMaxLength": "2M",
    "MaxRecursion": "6",
    "MaxFiles": "20",
}
ALERTS = {"AlertExceedsMax": "yes", "AlertEncrypted": "yes"}


def probed(daemon: Clamd, spool: Path, *, status: int) -> dict[str, str]:
    """What becomes of each mail of the probe, by stream."""
    said = avcheckctl(
        *("probe", "--json", "-s", f"clamd+stream:{daemon.socket}", "-d", spool),
        *("--clamd-conf", daemon.directory / "clamd.conf"),
        status=status,
    )
    return {each["sample"]: each["outcome"] for each in json.loads(said)}


def test_probe_shows_what_the_alerts_of_clamd_change(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Clamd(tmp_path / "plain", settings=SMALL) as daemon:
        outcomes = probed(daemon, tmp_path, status=1)
    for name in ("base64", "zip", "nested-zip", "tar-gz", "upper-case", "no-header", "no-end"):
        assert outcomes[name] == "stopped", outcomes
    for name in ("encrypted-zip", "large-file", "deep"):
        assert outcomes[name] == "PASSES", outcomes
    assert outcomes["long-stream"] in ("stopped", "waits")
    with Clamd(tmp_path / "alert", settings=SMALL | ALERTS) as daemon:
        outcomes = probed(daemon, tmp_path, status=1)
    # clamd 1.4.6 says OK to a file over MaxFileSize within a zip, and to ZIP64, whatever is set.
    for name in ("signed", "folded", "semicolon", "open-quote", "two-types"):
        assert outcomes[name] == "stopped", outcomes
    passing = {name for name, outcome in outcomes.items() if outcome == "PASSES"}
    assert {"large-file", "zip64"} <= passing <= {"innocent", "large-file", "zip64"}, outcomes


def test_nothing_gets_past_a_clamd_that_is_set_up_as_the_page_says(tmp_path: Path) -> None:
    documented = dict(map(str.split, blocks(DOCUMENT)["clamd.conf"].splitlines()))
    assert documented["MaxFileSize"] == documented["MaxScanSize"]
    settings = SMALL | documented | dict.fromkeys(("MaxFileSize", "MaxScanSize"), "2M")
    tmp_path.chmod(0o700)
    daemon = Clamd(tmp_path / "page", settings=settings)
    add_signature(daemon)
    with daemon:
        outcomes = probed(daemon, tmp_path, status=0)
    passing = {name for name, outcome in outcomes.items() if outcome != "stopped"}
    assert passing <= {"innocent"}, outcomes


def add_signature(daemon: Clamd) -> None:
    """The signature of the page, for a daemon that is not started yet."""
    signatures = daemon.directory / "signatures"
    signatures.mkdir(parents=True)
    commands = blocks(DOCUMENT)["zip64"].replace("/var/lib/clamav", str(signatures))
    subprocess.run(["sh", "-euc", commands], check=True)

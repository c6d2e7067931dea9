"""The files in contrib/: each says what avcheck does, in the language of another program."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from pathlib import Path

import pytest

from avcheck import report
from avcheck.admin.commands.stats import SIGNATURES
from avcheck.options import reading
from avcheck.run import Record
from avcheck.state import metrics
from avcheck.verdict import CLEAN, INFECTED, Answer, Finding, Verdict
from tests.support.servers import packages
from tests.support.tree import ROOT

CONTRIB = ROOT / "contrib"

METRIC = re.compile(r"\bavcheck_\w+")


def known(name: str) -> bool:
    families = {row[0] for row in metrics.FAMILIES} | {SIGNATURES}
    return name in families or re.sub("_(bucket|sum|count)$", "", name) in families


def test_every_file_is_in_the_list() -> None:
    listed = (CONTRIB / "README.md").read_text()
    for file in CONTRIB.rglob("*"):
        if file.is_file() and file.name != "README.md":
            assert f"`{file.relative_to(CONTRIB)}`" in listed


@pytest.mark.parametrize("name", ["prometheus-alerts.yml", "grafana-dashboard.json"])
def test_metrics_have_the_names_that_we_give_them(name: str) -> None:
    found = set(METRIC.findall((CONTRIB / name).read_text()))
    assert found
    assert {each for each in found if not known(each)} == set()


def test_the_dashboard_is_whole() -> None:
    board = json.loads((CONTRIB / "grafana-dashboard.json").read_text())
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")


def test_every_alert_names_the_next_step() -> None:
    text = (CONTRIB / "prometheus-alerts.yml").read_text()
    alerts = text.split("- alert: ")[1:]
    assert len(alerts) >= 5
    for alert in alerts:
        assert "Next: " in alert
        assert "severity: " in alert
        (expression,) = re.findall(r"expr: (.*)", alert)
        assert expression.count("(") == expression.count(")")
    assert "\t" not in text


def line(verdict: Verdict, what: str, status: int, recipients: int = 1) -> str:
    """A line of avcheck's log, as syslog writes it down."""
    record = Record()
    words = [b"-f", b"a@b", b"-s", b"clamd", b"-d", b"/x", b"--queue-id", b"4QUEUE", b"--"]
    record.settings = reading.read([*words, *[b"c@d"] * recipients], lambda path: b"")
    if status == 0:
        record.size = 1234
        found = Finding(verdict, (b"Eicar",) if verdict is INFECTED else ())
        record.answer = Answer("clamd", "", found, 0.003)
        record.answers = [record.answer]
        record.action = "deliver" if verdict is CLEAN else "handle"
    return f"Nov  1 10:02:03 mx1 avcheck[123]: {report.line_of(record, what, status)}"


def ignored(text: str) -> bool:
    rules = CONTRIB / "logcheck-avcheck"
    done = subprocess.run(["grep", "-E", "-f", rules], input=text, text=True, capture_output=True)
    return done.returncode == 0


def test_logcheck_does_not_tell_of_the_usual() -> None:
    said = "clean: clamd 3ms; 127.0.0.1:10026 250 2.0.0 Ok: queued as 4XYZ"
    assert ignored(line(CLEAN, said, 0))
    assert ignored(line(CLEAN, said, 0, recipients=3))
    assert ignored(line(CLEAN, "4.3.2 held back while /x/wait exists: a new disk", 75))
    isodate = line(CLEAN, said, 0).replace("Nov  1 10:02:03", "2026-11-21T10:02:03.123456+00:00")
    assert ignored(isodate)


def test_logcheck_tells_of_the_rest() -> None:
    assert not ignored(line(INFECTED, "infected: Eicar; infected.sh stored as x", 0))
    assert not ignored(line(CLEAN, "4.4.1 /run/clamd.ctl: connect: No such file", 75))
    assert not ignored("Nov  1 10:02:03 mx1 avcheck[123]: quarantine: x: released by anna")


@pytest.mark.parametrize("name", ["avcheck-smtp", "avcheck-smtp-each"])
def test_systemd_finds_nothing_wrong_with_the_units_of_avcheck_smtp(
    tmp_path: Path, name: str
) -> None:
    packages.need("systemd", commands=["systemd-analyze"])
    units = sorted((CONTRIB / "systemd").glob(f"{name}[.@]*"))
    assert len(units) == 2
    for unit in units:
        # What is installed elsewhere on this machine.
        text = unit.read_text().replace("/opt/avcheck/bin/avcheck-smtp", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / unit.name for unit in units)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_units_of_both_manners_are_locked_up_alike() -> None:
    both = [
        CONTRIB / "systemd" / f"{each}.service" for each in ("avcheck-smtp", "avcheck-smtp-each@")
    ]
    locks = [each.read_text().partition("\nUser=")[2] for each in both]
    assert locks[0] == locks[1]
    assert "ProtectSystem=strict" in locks[0]


@pytest.mark.parametrize("kind", ["service", "socket"])
def test_the_units_can_be_read(kind: str) -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(CONTRIB / f"clamav-daemon.{kind}.d" / "avcheck.conf")
    assert unit.sections() == [kind.capitalize()]
    if kind == "socket":
        assert unit["Socket"]["SocketMode"] == "0660"

"""avcheckctl doctor: what it says of clamd's settings, and the lines that it would have there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avcheck.admin.checks import clamd
from avcheck.admin.look import OK, WARNING
from tests.support.doctor_site import GOOD_CLAMD, Site, found


def settings(site: Site, *lines: str) -> None:
    """clamd.conf with these lines in the place of those with their names."""
    names = {line.split()[0] for line in lines}
    kept = [line for line in GOOD_CLAMD.splitlines() if line.split()[0] not in names]
    site.conf.write_text("\n".join([*kept, *lines, ""]))


@pytest.mark.parametrize(
    ("lines", "said", "remedy"),
    [
        (
            ("MaxFileSize 100M", "MaxScanSize 500M"),
            "MaxFileSize is 100M and MaxScanSize 500M:",
            "MaxFileSize 500M",
        ),
        (
            ("MaxFileSize 100M", "MaxScanSize 200M"),
            "MaxFileSize is 100M and MaxScanSize 200M:",
            "MaxFileSize 400M",
        ),
        (
            ("MaxFileSize 100M", "MaxScanSize 0"),
            "MaxFileSize is 100M and MaxScanSize without limit:",
            "MaxFileSize 400M\nMaxScanSize 400M",
        ),
    ],
)
def test_sizes_that_differ(site: Site, lines: tuple[str, ...], said: str, remedy: str) -> None:
    settings(site, *lines)
    (result,) = found("clamd_equal_sizes", site.look())
    assert result.level == WARNING
    assert said in result.text
    assert result.remedy == remedy


@pytest.mark.parametrize("lines", [("MaxFileSize 0", "MaxScanSize 0"), ("MaxFileSize 400M",)])
def test_sizes_that_do_not_differ(site: Site, lines: tuple[str, ...]) -> None:
    settings(site, *lines)
    (result,) = found("clamd_equal_sizes", site.look())
    assert result.level == OK


@pytest.mark.parametrize(
    ("line", "words", "said"),
    [
        ("MaxScanTime 0", "", "clamd scans without end, and avcheck waits 7 min"),
        ("MaxScanTime 900000", "", "clamd scans for up to 15 min, and avcheck waits 7 min"),
        ("MaxScanTime 0", "-t 0 --deadline 0", "clamd scans without end, and avcheck waits longer"),
    ],
)
def test_a_scan_that_is_longer_than_anybody_waits(
    site: Site, line: str, words: str, said: str
) -> None:
    settings(site, line)
    if words:
        site.change("--deadline 450", words)
    (result,) = found("clamd_scan_time", site.look())
    assert result.level == WARNING
    assert said in result.text


def test_clamd_is_restarted_as_the_machine_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clamd, "BOOTED", os.fspath(tmp_path))
    assert clamd.restart() == "systemctl restart clamav-daemon"
    monkeypatch.setattr(clamd, "BOOTED", os.fspath(tmp_path / "not"))
    assert clamd.restart() == "service clamav-daemon restart"

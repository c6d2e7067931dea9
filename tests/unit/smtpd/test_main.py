"""How a process of avcheck-smtp begins, in this process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from avcheck.options import file
from avcheck.smtpd import main

pytestmark = pytest.mark.usefixtures("signals_as_before")


def test_the_clock_of_the_configuration_is_none_of_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("spool /x\nscanner clamd\n")
    limits: list[tuple[float, float]] = []
    real = file.read_config

    def read(path: bytes) -> bytes:
        limits.append(signal.getitimer(signal.ITIMER_REAL))
        return real(path)

    monkeypatch.setattr(file, "read_config", read)
    settings = main._settings([b"--config", os.fsencode(tmp_path / "config")], b"avcheck-smtp")
    assert settings.spool == b"/x"
    assert limits[0] > (0.0, 0.0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

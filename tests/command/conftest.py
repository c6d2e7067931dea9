"""What the tests of both commands share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.syslog import Log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """A syslog daemon, which keeps what it is told."""
    daemon = Log(tmp_path / "log")
    yield daemon
    daemon.socket.close()

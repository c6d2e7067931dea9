"""What the tests of several modules share: a process whose signals are as before."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from avcheck import process


@pytest.fixture
def signals_as_before() -> Iterator[None]:
    """Handlers that a test has set, and its clock, do not outlive it."""
    numbers = (*process._CAUGHT, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)

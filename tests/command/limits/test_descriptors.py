"""Descriptors 0, 1 and 2, closed or full, for every kind of run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.command.limits.runs import (
    CLEAN,
    DEFERRED,
    DONE,
    GOOD,
    HANDLER,
    KEPT,
    KINDS,
    USAGE,
    Runner,
)
from tests.support.mta import CLOSING

# The others are in tests/command/test_process.py.
FOUR = (CLEAN, HANDLER, DEFERRED, USAGE)


@pytest.mark.parametrize("closed", CLOSING)
@pytest.mark.parametrize("kind", KINDS)
def test_closed_descriptors(either: Runner, kind: str, closed: str) -> None:
    outcome = either.run(kind, before=CLOSING[closed])
    assert outcome.came == (DONE if kind in GOOD and "0" not in closed else KEPT)
    if outcome.came == KEPT:
        assert outcome.told == ("2" not in closed)


@pytest.fixture
def full() -> Iterator[dict[str, int]]:
    """Descriptors that take nothing."""
    pipe, nobody = os.pipe(), os.pipe()
    os.close(nobody[0])
    os.set_blocking(pipe[1], False)
    for size in (65536, 1):
        with pytest.raises(BlockingIOError):
            while True:
                os.write(pipe[1], b"x" * size)
    device = os.open("/dev/full", os.O_WRONLY)
    yield {"device": device, "pipe": pipe[1], "pipe without reader": nobody[1]}
    for fd in (*pipe, nobody[1], device):
        os.close(fd)


@pytest.mark.parametrize("closed", ["", "0", "1", "2"])
@pytest.mark.parametrize("what", ["device", "pipe", "pipe without reader"])
@pytest.mark.parametrize("kind", FOUR)
def test_outputs_that_take_nothing(
    either: Runner, full: dict[str, int], kind: str, what: str, closed: str
) -> None:
    """The status alone has to do, and does."""
    fd = full[what]
    outcome = either.run(kind, "-v", before=CLOSING[closed], stdout=fd, stderr=fd)
    assert outcome.came == (DONE if kind in GOOD and closed != "0" else KEPT)

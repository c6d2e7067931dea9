"""Descriptors are closed before exec, those above the limit as well."""

from __future__ import annotations

import fcntl
import os
import resource

import pytest

from avcheck import descriptors


def test_descriptors_above_the_limit_are_closed_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for those that are opened after it was set."""
    for proc in (True, False):
        pid = os.fork()
        if not pid:
            try:
                os._exit(_closes_above_the_limit(proc))
            finally:
                os._exit(100)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, proc


def _closes_above_the_limit(proc: bool) -> int:
    """In a child of its own; 0 is yes."""
    high = fcntl.fcntl(0, fcntl.F_DUPFD, 900)
    low = fcntl.fcntl(0, fcntl.F_DUPFD, 5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    with pytest.MonkeyPatch.context() as system:
        if not proc:
            system.setattr(os, "listdir", lambda _: os.stat("/nonexistent"))
        descriptors.close_from(low)
    left = 0
    for number, fd in enumerate((high, low)):
        try:
            os.fstat(fd)
        except OSError:
            continue
        left += number + 1
    return left

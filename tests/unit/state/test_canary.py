"""The mails of the known-answer test, and its result as it is read."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest

from avcheck import unix
from avcheck.state import canary
from tests.support.letters import EICAR


def test_the_virus_is_the_eicar_test_file() -> None:
    (part,) = [
        part
        for part in message_from_bytes(canary.virus()).walk()
        if part.get_content_type() == "application/octet-stream"
    ]
    assert part.get_payload(decode=True) == EICAR
    assert EICAR not in canary.virus()
    source = Path(canary.__file__).read_bytes()
    assert EICAR not in source
    assert base64.b64encode(EICAR)[:20] not in source


def test_a_result_that_turns_bad_while_it_is_read_is_not_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stale "+" is read, then a test writes "-": the time of change belongs to the latter."""
    file = tmp_path / "canary.x"
    file.write_bytes(canary.GOOD)
    os.utime(file, (time.time() - 7300,) * 2)
    real = {name: getattr(os, name) for name in ("pread", "fstat")}

    def and_then(name: str) -> Callable[..., object]:
        def call(*words: object) -> object:
            found = real[name](*words)
            file.write_bytes(canary.BAD)
            return found

        return call

    for name in real:
        monkeypatch.setattr(unix, name, and_then(name))
    fd = os.open(file, os.O_RDWR)
    assert canary._result(fd, 3600) != canary.GOOD
    os.close(fd)

"""What tests of the spool look at, and failures of the file system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from avcheck import spool, unix


def content(message: spool.Message) -> bytes:
    return b"".join(message.pieces())


def everything(fd: int) -> bytes:
    """What can be read from the descriptor's position on."""
    return b"".join(iter(lambda: os.read(fd, 1 << 16), b""))


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def refusing(monkeypatch: pytest.MonkeyPatch, function: str, why: BaseException) -> None:
    """Have a function of os fail."""

    def refuse(*args: object, **named: object) -> None:
        raise why

    monkeypatch.setattr(unix, function, refuse)


def without_tmpfile(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A file system that does not know O_TMPFILE."""
    real = os.open

    def opened(path: bytes, flags: int, *args: Any, **named: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *args, **named)

    monkeypatch.setattr(unix, "open", opened)

"""Avira's SAVAPI 4, asked about files."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk

PRODUCT = b"10776"


class Savapi(Emulator):
    """The licence is for PRODUCT.  scanned are the paths that it was asked for."""

    def __init__(self, path: Path | None = None, hold: str = "") -> None:
        super().__init__(path, hold)
        self.scanned: list[bytes] = []

    def talk(self, talk: Talk) -> None:
        talk.say(b"100 SAVAPI:4.0", end=b"\n")
        licensed = False
        directory = b"/"
        while True:
            word, _, rest = talk.line().partition(b" ")
            if word == b"QUIT":
                return
            if word == b"PING":
                talk.say(b"199 " + rest, end=b"\n")
            elif word == b"SET":
                name, _, value = rest.partition(b" ")
                if name == b"PRODUCT":
                    licensed = value == PRODUCT
                if name == b"CWD":
                    directory = value
                refused = name == b"PRODUCT" and not licensed
                said = b"350 invalid product" if refused else b"100 " + name + b":" + value
                talk.say(said, end=b"\n")
            elif word == b"SCAN" and licensed:
                self.reach("asked")
                path = os.path.join(directory, rest)
                self.scanned.append(path)
                talk.say(*results(path), end=b"\n")
            else:
                talk.say(b"350 unknown command", end=b"\n")


def results(path: bytes) -> list[bytes]:
    try:
        told = content.of(path)
    except OSError as why:
        return [b"350 file open error: " + os.fsencode(os.strerror(why.errno or 0)), b"300"]
    lines = []
    if told.error:
        lines.append(b"350 engine error")
    if told.licence:
        lines.append(b"350 license expired")
    if told.encrypted:
        lines.append(b"350 archive is encrypted")
    if told.limits:
        lines.append(b"350 archive recursion limit reached")
    for name in told.names:
        said = name + b" ; virus ; Contains code of the " + name + b" virus"
        lines.append(b"310 " + path + b" --> " + name.lower() + b".com <<< " + said)
    return [*lines, b"319 " if told.names else b"210 " if lines else b"200"]

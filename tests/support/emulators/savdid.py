"""Sophos' savdid: SSSP/1.0, brief output."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk

VERSION = b"SSSP/1.0"


class Savdid(Emulator):
    """maximum is maxscandata of savdid.conf, 0 for no limit."""

    def __init__(self, path: Path | None = None, maximum: int = 0, hold: str = "") -> None:
        self.maximum = maximum
        super().__init__(path, hold)

    def talk(self, talk: Talk) -> None:
        talk.say(b"OK " + VERSION)
        number = 0
        greeted = False
        while True:
            command = talk.line()
            if command.split(b" ")[0] == VERSION:
                greeted = True
                command = command.removeprefix(VERSION).strip()
            elif not greeted:
                talk.say(b"REJ 2")
                return
            number += 1
            accepted = b"ACC 5C11F0AA/%d" % number
            word, _, rest = command.partition(b" ")
            if word == b"BYE":
                talk.say(b"BYE")
                return
            if not word:
                talk.say(accepted)
            elif word == b"SCANDATA" and rest.isdigit():
                if self.maximum and int(rest) > self.maximum:
                    talk.say(b"REJ 4")
                    continue
                talk.say(accepted)
                data = talk.exactly(int(rest))
                self.reach("asked")
                talk.say(*results(b"/tmp/savid_tmpAbC/", content.Content(data)))
            elif word in (b"SCANFILE", b"SCANDIR", b"SCANDIRR") and rest:
                self.reach("asked")
                talk.say(accepted, *on_disk(unquote_to_bytes(rest)))
            elif word == b"OPTIONS":
                while talk.line():
                    pass
                talk.say(accepted, b"DONE OK 0000 The function call succeeded", b"")
            else:
                talk.say(b"REJ 1")
                return


def on_disk(path: bytes) -> list[bytes]:
    try:
        return results(path, content.of(path))
    except OSError:
        return [b"FAIL 0210 " + quoted(path), b"DONE FAIL 0210 Could not open item", b""]


def results(about: bytes, told: content.Content) -> list[bytes]:
    """The lines of a result, up to the empty one."""
    where = quoted(about)
    lines = []
    worst = b"OK 0000 The function call succeeded"
    if told.error or told.licence:
        lines.append(b"FAIL 0222 " + where)
        worst = b"FAIL 0222 The engine must be initialised again"
    if told.limits:
        lines.append(b"FAIL 021A " + where)
        worst = b"FAIL 021A The file is corrupt"
    if told.encrypted:
        lines.append(b"FAIL 0212 " + where)
        worst = b"FAIL 0212 The file is encrypted"
    for name in told.names:
        lines += [b"VIRUS " + name + b" " + where, b"OK 0203 " + where]
        worst = b"OK 0203 Virus found during virus scan"
    return [*lines, b"DONE " + worst, b""]


def quoted(path: bytes) -> bytes:
    return quote_from_bytes(path, safe="/").encode()

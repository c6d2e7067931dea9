"""drwebd of Dr.Web 4.33 to 6, asked once for each connection."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk

SCAN = 1
RETURN_VIRUSES = 1 << 0
RETURN_REPORT = 1 << 1
RETURN_CODES = 1 << 2
HAVE_EXTENDED = 1 << 31

READ_ERR = 1 << 0
KNOWN_VIRUS = 1 << 5
UNKNOWN_VIRUS = 1 << 6
TOO_BIG = 1 << 13
SKIPPED = 1 << 12
IS_CLEAN = 1 << 20
LICENSE_ERROR = 1 << 21
ADWARE = 1 << 22


class Drwebd(Emulator):
    """counted tells whether the size of a string counts the NUL after it; words are before it."""

    def __init__(
        self, path: Path | None = None, counted: bool = True, words: bool = True, hold: str = ""
    ) -> None:
        self.counted = counted
        self.words = words
        super().__init__(path, hold)

    def talk(self, talk: Talk) -> None:
        command, flags = struct.unpack(">2I", talk.exactly(8))
        if command != SCAN:
            return
        if flags & HAVE_EXTENDED:
            talk.exactly(4)
        name = talk.exactly(*struct.unpack(">I", talk.exactly(4)))
        data = talk.exactly(*struct.unpack(">I", talk.exactly(4)))
        self.reach("asked")
        try:
            told = content.Content(data) if data or not name else content.of(name)
        except OSError:
            told = content.Content(content.mark("error"))
        code, strings = self.result(told)
        reply = struct.pack(">I", code)
        if flags & RETURN_VIRUSES:
            reply += self.strings(strings)
        if flags & RETURN_REPORT:
            reply += self.strings([])
        if flags & RETURN_CODES:
            reply += struct.pack(">I", 0)
        talk.client.sendall(reply)

    def result(self, told: content.Content) -> tuple[int, list[bytes]]:
        code = 0
        strings: list[bytes] = []
        for name in told.infected:
            code |= KNOWN_VIRUS
            strings.append(b"infected with " + name if self.words else name)
        for name in told.suspicious:
            code |= UNKNOWN_VIRUS
            strings.append(b"possibly infected with " + name if self.words else name)
        for name in told.unwanted:
            code |= ADWARE
            strings.append(name)
        code |= SKIPPED if told.encrypted else 0
        code |= TOO_BIG if told.limits else 0
        code |= READ_ERR if told.error else 0
        code |= LICENSE_ERROR if told.licence else 0
        return code or IS_CLEAN, strings

    def strings(self, strings: list[bytes]) -> bytes:
        reply = struct.pack(">I", len(strings))
        for string in strings:
            reply += struct.pack(">I", len(string) + self.counted) + string + b"\0"
        return reply

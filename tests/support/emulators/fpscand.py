"""fpscand of F-PROT 6 for Unix."""

from __future__ import annotations

from pathlib import Path

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk

INFECTED, SUSPICIOUS, PLATFORM, NOT_SCANNED, SKIPPED = 1, 2, 16, 64, 8


class Fpscand(Emulator):
    """members tells whether what is found is said to be in an archive, in other words."""

    def __init__(self, path: Path | None = None, members: bool = False, hold: str = "") -> None:
        self.members = members
        super().__init__(path, hold)

    def talk(self, talk: Talk) -> None:
        while True:
            words = talk.line().split(b" ")
            while len(words) > 1 and words[1].startswith(b"--"):
                del words[1]
            if words == [b"QUIT"]:
                return
            if words == [b"HELP"]:
                talk.say(b"FPSCAND:6 :-)", end=b"\n")
            elif words[:2] == [b"SCAN", b"FILE"]:
                path = b" ".join(words[2:])
                self.reach("asked")
                try:
                    talk.say(self.result(path, content.of(path)), end=b"\n")
                except OSError:
                    talk.say(b"%d <unknown> %b" % (PLATFORM, path), end=b"\n")
            elif words[:2] == [b"SCAN", b"STREAM"] and words[3] == b"SIZE":
                data = talk.exactly(int(words[4]))
                self.reach("asked")
                talk.say(self.result(words[2], content.Content(data)), end=b"\n")
            else:
                return

    def result(self, about: bytes, told: content.Content) -> bytes:
        inner = about + b"->a.zip->x.exe" if self.members else about
        found = b"contains infected objects" if self.members else b"infected"
        if told.infected:
            return b"%d <%b: %b> %b" % (INFECTED, found, told.infected[0], inner)
        if told.suspicious:
            return b"%d <suspicious: %b> %b" % (SUSPICIOUS, told.suspicious[0], inner)
        if told.unwanted:
            return b"%d <unwanted program: %b> %b" % (0, told.unwanted[0], inner)
        if told.error or told.licence:
            return b"%d <unknown> %b" % (PLATFORM, about)
        if told.encrypted:
            return b"%d <encrypted> %b" % (NOT_SCANNED, inner)
        if told.limits:
            return b"%d <clean> %b" % (SKIPPED, about)
        return b"0 <clean> " + about

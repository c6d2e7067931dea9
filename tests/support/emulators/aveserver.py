"""aveserver of Kaspersky Anti-Virus 5."""

from __future__ import annotations

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk


class Aveserver(Emulator):
    """SMTP-like; takes files only."""

    def talk(self, talk: Talk) -> None:
        talk.say(b"201 1 4711 21112026 095815 5.5")
        while True:
            word, _, rest = talk.line().partition(b" ")
            if word == b"QUIT":
                talk.say(b"200 bye")
                return
            letters, _, path = rest.partition(b" ")
            if word == b"SCAN" and letters.isalpha():
                self.reach("asked")
                talk.say(*results(path))
            else:
                talk.say(b"500 Not implemented")


def results(path: bytes) -> list[bytes]:
    if not path.startswith(b"/"):
        return [b"520 Relative path"]
    try:
        told = content.of(path)
    except OSError:
        return [b"525 File not found"]
    lines = [b"321-Processing " + path]
    lines += [b"322-" + name + b" " + path + b"/a.zip/x" for name in told.names]
    if told.infected:
        return [*lines, b"230 File is infected"]
    if told.suspicious:
        return [*lines, b"232 File is suspicious"]
    if told.unwanted:
        return [*lines, b"233 Warning"]
    if told.error:
        return [*lines, b"241 Scan error"]
    if told.licence:
        return [*lines, b"402 Cannot accept requests"]
    if told.encrypted:
        return [*lines, b"240 File is encrypted"]
    if told.limits:
        return [*lines, b"234 File is corrupted"]
    return [*lines, b"220 File is clean"]

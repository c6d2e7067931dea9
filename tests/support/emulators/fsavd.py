"""fsavd of F-Secure's products for Linux, 4 to 11."""

from __future__ import annotations

from pathlib import Path

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk

SETTINGS = (b"ARCHIVE", b"MAXARCH", b"MIME", b"RISKWARE", b"TIMEOUT", b"STOPONFIRST", b"FILTER")


class Fsavd(Emulator):
    """greets tells whether it says the version of its databases first."""

    def __init__(self, path: Path | None = None, greets: bool = True, hold: str = "") -> None:
        self.greets = greets
        super().__init__(path, hold)

    def talk(self, talk: Talk) -> None:
        if self.greets:
            talk.say(b"DBVERSION\t2010-02-01_02", end=b"\n")
        while True:
            word, *fields = talk.line().split(b"\t")
            if word == b"PROTOCOL":
                talk.say(b"OK\tProtocol version is set.", end=b"\n")
            elif word == b"CONFIGURE" and len(fields) == 2 and fields[0] in SETTINGS:
                talk.say(b"OK\tServer configured.", end=b"\n")
            elif word == b"SCAN" and len(fields) == 1:
                self.reach("asked")
                talk.say(*results(fields[0]), end=b"\n")
            else:
                talk.say(b"ERROR\tUnknown command", end=b"\n")


def results(path: bytes) -> list[bytes]:
    try:
        told = content.of(path)
    except OSError:
        failure = b"SCAN_FAILURE\t" + path + b"\t0x00000002\tCould not open the file [FSAVD]"
        return [failure, b"OK\tScan ok."]
    if told.error or told.licence:
        return [b"ERROR\tScan engine is not available"]
    inner = b"[" + path + b"]"
    lines = [b"MIME_INFECTED\t%ba.com\t%b\tAquarius" % (inner, name) for name in told.infected]
    lines += [b"MIME_SUSPECTED\t%bb\t%b\tAquarius" % (inner, name) for name in told.suspicious]
    lines += [b"MIME_RISKWARE\t%bc\t%b\tAquarius" % (inner, name) for name in told.unwanted]
    if told.encrypted:
        lines.append(b"SCAN_FAILURE\t%bd.zip\t0x1\tPassword protected archive [FSE]" % inner)
    if told.limits:
        lines.append(
            b"SCAN_FAILURE\t%be.zip\t0x2\tMaximum nested archives encountered [FSE]" % inner
        )
    if not lines:
        lines.append(b"CLEAN\t" + path)
    return [*lines, b"OK\tScan ok."]

"""kavdaemon of Kaspersky Anti-Virus 3 and 4: AvpCtl."""

from __future__ import annotations

import re
from sys import byteorder

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk

# The date is the fifteen characters of ctime(3) here, and the day before the month in Exim.
REQUEST = re.compile(rb"<0>(?:\w{3} [ \d]\d|[ \d]\d \w{3}) \d\d:\d\d:\d\d:([^\0]+)\0?")

BASE = 0x30


class Kavdaemon(Emulator):
    """Answers each request, which comes in one piece and has no end."""

    def talk(self, talk: Talk) -> None:
        while True:
            request = REQUEST.fullmatch(talk.packet())
            if not request:
                return
            self.reach("asked")
            try:
                status, report = result(request[1], content.of(request[1]))
            except OSError:
                status, report = 1, b""
            answer = BASE + status + (256 if report else 0)
            size = len(report).to_bytes(4, byteorder) if report else b""
            talk.client.sendall(answer.to_bytes(2, byteorder) + size + report)


def result(path: bytes, told: content.Content) -> tuple[int, bytes]:
    infected = told.infected + told.unwanted
    lines = [path + b"/x infected: " + name + b"\r\n" for name in infected]
    lines += [path + b"/x suspicion: " + name + b"\r\n" for name in told.suspicious]
    status = 0x10 if told.licence else 0
    if infected:
        status += 4
    elif told.suspicious:
        status += 3
    elif told.error:
        status += 1
    elif told.limits or told.encrypted:
        status += 8
    return status, b"".join(lines)

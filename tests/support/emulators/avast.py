"""The daemon of Avast for Linux, of 2014 and later."""

from __future__ import annotations

import re

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk


class Avast(Emulator):
    """Takes files and directories."""

    def talk(self, talk: Talk) -> None:
        talk.say(b"220 DAEMON")
        while True:
            word, _, rest = talk.line().partition(b" ")
            if word == b"QUIT":
                return
            if word == b"VPS":
                talk.say(b"210 VPS DATA", b"VPS 26112100", b"200 VPS OK")
            elif word == b"SCAN" and rest:
                self.reach("asked")
                talk.say(b"210 SCAN DATA", *results(re.sub(rb"\\(.)", rb"\1", rest)))
            else:
                talk.say(b"501 Syntax error in arguments")


def results(path: bytes) -> list[bytes]:
    try:
        every = [(each, content.of(each)) for each in content.files(path)]
    except OSError:
        return [
            b"SCAN " + escaped(path) + b"\t[E]0.0\tError 13 Permission\\ denied",
            b"200 SCAN OK",
        ]
    lines: list[bytes] = []
    for file, told in every:
        if told.error:
            return [b"451 SCAN Engine error 13 permission denied"]
        if told.licence:
            return [b"466 License error"]
        about = b"SCAN " + escaped(file)
        if told.encrypted:
            lines.append(member(about, b"a.zip", b"Error 42056 Archive is password protected"))
        if told.limits:
            lines.append(member(about, b"b.zip", b"Error 42110 The file is a decompression bomb"))
        for number, name in enumerate(told.names):
            found = name + b" [Heur]" if name in told.suspicious else name
            lines.append(about + b"|>%d\\ x.exe\t[L]0.0\t0 " % number + escaped(found))
        if not (told.names or told.encrypted or told.limits):
            lines.append(about + b"\t[+]0.0")
    return [*lines, b"200 SCAN OK"]


def member(about: bytes, name: bytes, error: bytes) -> bytes:
    _, number, text = error.split(b" ", 2)
    return about + b"|>" + name + b"\t[E]0.0\tError " + number + b" " + escaped(text)


def escaped(words: bytes) -> bytes:
    return re.sub(rb"([ \t\\])", rb"\\\1", words)

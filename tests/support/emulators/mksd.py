"""mksd of MKS_Vir."""

from __future__ import annotations

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk


class Mksd(Emulator):
    """One line for each question."""

    def talk(self, talk: Talk) -> None:
        while True:
            question = talk.line()
            if not question.startswith(b"MSQ/"):
                talk.say(b"ERR unknown command", end=b"\n")
                continue
            self.reach("asked")
            talk.say(answer(question.removeprefix(b"MSQ")), end=b"\n")


def answer(path: bytes) -> bytes:
    try:
        told = content.of(path)
    except OSError:
        return b"ERR cannot open " + path
    if told.names:
        return b"VIR " + told.names[0] + b" " + path
    if told.error or told.licence or told.encrypted or told.limits:
        return b"ERR cannot check " + path
    return b"OK"

"""Sophie and Trophie."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk


class Sophie(Emulator):
    """end is what its builder had it write after an answer, which may be nothing."""

    def __init__(self, path: Path | None = None, end: bytes = b"\n", hold: str = "") -> None:
        self.end = end
        super().__init__(path, hold)

    def talk(self, talk: Talk) -> None:
        while True:
            question = talk.line()
            stream = re.fullmatch(rb"[^/]+/(\d+)", question)
            if stream:
                talk.say(b"OK", end=b"\n")
                told = content.Content(talk.exactly(int(stream[1])))
                self.reach("asked")
                talk.say(answer(told), end=self.end)
                continue
            self.reach("asked")
            try:
                talk.say(answer(content.of(question)), end=self.end)
            except OSError:
                talk.say(b"-1:No such file or directory", end=self.end)


def answer(told: content.Content) -> bytes:
    if told.names:
        return b"1:" + told.names[0]
    if told.error or told.licence:
        return b"-1:The engine could not be initialised"
    if told.encrypted:
        return b"-1:File was encrypted"
    if told.limits:
        return b"-1:File was corrupted"
    return b"0"

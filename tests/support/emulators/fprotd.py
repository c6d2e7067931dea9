"""f-protd of F-Prot 3 and 4: HTTP and XML."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes
from xml.sax.saxutils import escape

from tests.support.emulators import content
from tests.support.emulators.talk import Emulator, Talk

HEAD = b"HTTP/1.0 200 Ok\r\nServer: fprotd\r\nContent-Type: text/xml\r\n\r\n"


class Fprotd(Emulator):
    """Answers one request, up to the empty line, and hangs up."""

    def talk(self, talk: Talk) -> None:
        method, address, version = talk.line().split(b" ")
        while talk.line():
            pass
        if method != b"GET" or not version.startswith(b"HTTP/1."):
            talk.client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            return
        path, _, _ = address.partition(b"?")
        self.reach("asked")
        talk.client.sendall(HEAD + b"\n".join(results(unquote_to_bytes(path))) + b"\n")


def results(path: bytes) -> list[bytes]:
    lines = [
        b'<?xml version="1.0"?>',
        b'<fprot-results version="1.0">',
        b"<filename>" + escaped(path) + b"</filename>",
    ]
    try:
        told = content.of(path)
    except OSError:
        return [*lines, b'<summary code="1">clean</summary>', b"</fprot-results>"]
    for name in told.names:
        lines += [
            b'<detected type="virus">',
            b"<name>" + escaped(name) + b"</name>",
            b"<accuracy>exact</accuracy>",
            b"<disinfectable>no</disinfectable>",
            b"</detected>",
        ]
    code, word = 9, b"clean"
    if told.names:
        code, word = 11, b"infected"
    elif told.error or told.licence:
        code = 1
    elif told.encrypted:
        code = 4
    elif told.limits:
        code = 3
    return [*lines, b'<summary code="%d">%b</summary>' % (code, word), b"</fprot-results>"]


def escaped(words: bytes) -> bytes:
    return escape(words.decode("latin-1")).encode("latin-1")

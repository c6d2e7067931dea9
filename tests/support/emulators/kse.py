"""Kaspersky Scan Engine in HTTP mode (kavhttpd), versions 1 and 2 of its protocol."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from tests.support.fakes import HANG_UP, Server

# What a message makes it say, by a header "X-Play: KIND"; without one it is clean.
PLAYS = {
    b"clean": b"CLEAN",
    b"infected": b"DETECT EICAR-Test-File",
    b"several": b"DETECT multiple",
    b"infected-macro": b"DETECT Trojan.MSOffice.SAgent.gen AND CONTAINS OFFICE MACRO",
    b"phishing": b"DETECT PHISHING_URL",
    b"adware": b"DETECT not-a-virus:AdWare.Win32.Agent.gen",
    b"macro": b"CLEAN AND CONTAINS OFFICE MACRO",
    b"deleted": b"DELETED EICAR-Test-File",
    b"encrypted": b"NON_SCANNED (PASSWORD PROTECTED)",
    b"corrupt": b"NON_SCANNED (CORRUPTED)",
    b"skipped": b"NON_SCANNED (SKIPPED)",
    b"error": b"SERVER_ERROR",
    b"close": HANG_UP,
}
PLAY = re.compile(rb"^X-Play: ([\w-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Request:
    """What was asked: the method, the headers, and the object that the daemon had then."""

    way: str
    headers: dict[str, str]
    content: bytes


class Kse(Server):
    """kavhttpd on a socket or on a port.  With a token, it asks for that."""

    def __init__(self, path: Path | None = None, *, token: str = "", one_by_one: bool = False):
        self.requests: list[Request] = []
        self._token = token
        self._one_by_one = one_by_one
        super().__init__(path)

    def play(self, client: socket.socket) -> None:
        reply = self._answer(client)
        for piece in (
            [reply[at : at + 1] for at in range(len(reply))] if self._one_by_one else [reply]
        ):
            client.sendall(piece)
        if reply:  # what it was not asked for is read, or it would be a reset
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass

    def _answer(self, client: socket.socket) -> bytes:
        with client.makefile("rb") as words:
            first = words.readline().decode().split()
            headers = {}
            while line := words.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            if len(first) != 3 or not first[2].startswith("HTTP/1."):
                return reply(400, "Bad Request")
            if "content-length" not in headers:
                return reply(411, "Length Required")
            body = words.read(int(headers["content-length"]))
        if self._token and headers.get("authorization") != self._token:
            return reply(401, "Unauthorized", 'WWW-Authenticate: Token realm="API"\r\n')
        if first[0] != "POST" or headers.get("x-kav-protocolversion") not in ("1", "2"):
            return reply(400, "Bad Request")
        if first[1] == "/scanfile":
            try:
                body = Path(body.decode()).read_bytes()
            except OSError:
                return reply(200, "OK", body=b"NON_SCANNED (ACCESS DENIED)")
        elif first[1] != "/scanmemory":
            return reply(404, "Not Found")
        self.requests.append(Request(first[1].strip("/"), headers, body))
        found = PLAY.search(body)
        said = PLAYS[found[1] if found else b"clean"]
        return reply(200, "OK", body=said) if said else HANG_UP


def reply(status: int, text: str, more: str = "", body: bytes = b"") -> bytes:
    head = (
        f"HTTP/1.0 {status} {text}\r\n"
        "Connection: close\r\n"
        "Content-Type: text/plain\r\n"
        "Server: KAVHTTPD/1.0\r\n"
        "X-KAV-ProtocolVersion: 1\r\n"
        f"{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body

"""ICAP servers of several makers, as far as a scanner's client can tell them from each other.

What each says is from protocols that rspamd's authors (lua_scanners/icap.lua) and the makers'
manuals show; the framing (preview, chunks, sections) is RFC 3507.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.support.emulators.talk import HungUpError
from tests.support.fakes import Server

PLAY = re.compile(rb"^X-Play: ([\w-]+)", re.MULTILINE)

FORBIDDEN = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n"
VIOLATIONS = "X-Violations-Found: 1\r\n\ta.com\r\n\tEICAR\r\n\t0\r\n\t2\r\n"


@dataclass(frozen=True)
class Product:
    """What a maker's server says: to OPTIONS, and in its head and that of the page, by kind."""

    methods: str = "RESPMOD"
    options: str = "Allow: 204\r\n"
    heads: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    passes_204: bool = True


PRODUCTS = {
    "kaspersky-web": Product(
        options="Allow: 204\r\nPreview: 0\r\n",
        heads={
            "clean": "X-Virus-ID: no threats\r\nX-Response-Info: passed\r\n",
            "infected": "X-Virus-ID: EICAR\r\nX-Response-Info: blocked\r\n",
        },
    ),
    "kaspersky-engine": Product(
        options="",
        passes_204=False,
        heads={"infected": "X-Virus-ID: EICAR\r\n"},
    ),
    "kaspersky-engine-silent": Product(options="", passes_204=False),
    "eset": Product(
        heads={
            "infected": "X-Infection-Found: Type=0; Resolution=0; Threat=EICAR;\r\n"
            "X-Virus-ID: Trojaner\r\nX-Response-Info: Blocked\r\n",
        },
        statuses={"error": "405 Forbidden"},
    ),
    "symantec": Product(
        options="Allow: 204\r\nPreview: 4\r\n",
        heads={
            "infected": "X-Infection-Found: Type=0; Resolution=2; Threat=EICAR;\r\n" + VIOLATIONS,
            "encrypted": "X-Infection-Found: Type=2; Resolution=2; "
            "Threat=Encrypted container violation;\r\n",
            "limits": "X-Infection-Found: Type=2; Resolution=2; "
            "Threat=Container size violation;\r\n",
        },
        statuses={"error": "539 Aborted - No AV scanning license"},
    ),
    "trend": Product(
        heads={
            "infected": "X-Virus-ID: EICAR\r\n"
            "X-Infection-Found: Type=0; Resolution=2; Threat=EICAR;\r\n",
        },
        statuses={"error": "400 Bad request"},
    ),
    "mcafee": Product(
        heads={
            "infected": "X-Virus-ID: EICAR\r\nX-Media-Type: text/plain\r\nX-Block-Result: 80\r\n"
            "X-Block-Reason: Malware found\r\n",
            "encrypted": "X-Block-Reason: Encrypted archive\r\n",
        },
        statuses={"error": "418 Bad composition"},
    ),
    "f-secure": Product(
        options="Allow: 204\r\nPreview: 4096\r\nServer: f-secure icap server\r\n",
        heads={
            "clean": "X-FSecure-Scan-Result: clean\r\n",
            "infected": "X-FSecure-Scan-Result: infected\r\n"
            'X-FSecure-Infection-Name: "EICAR"\r\nX-FSecure-Infected-Filename: "a.com"\r\n',
        },
    ),
    "sophos": Product(
        heads={"infected": "X-Virus-ID: EICAR\r\n"},
        pages={
            "infected": "HTTP/1.1 403 Forbidden\r\nX-Blocked: Virus found during virus scan\r\n"
            "X-Blocked-By: Sophos Anti-Virus\r\n",
        },
    ),
    "squidclamav": Product(
        options="Allow: 204\r\nPreview: 1024\r\n",
        heads={
            "infected": "X-Infection-Found: Type=0; Resolution=2; Threat=EICAR;\r\n"
            "X-Virus-ID: EICAR\r\n",
        },
        pages={"infected": "HTTP/1.0 307 Temporary Redirect\r\nLocation: http://proxy/\r\n"},
    ),
}

# Nobody's in particular: what RFC 3507 leaves to a server.
CHOICES = {
    "uploads only": Product(methods="REQMOD", heads=PRODUCTS["trend"].heads),
    "uploads only, no 204": Product(
        methods="REQMOD", options="", passes_204=False, heads=PRODUCTS["trend"].heads
    ),
    "uploads only, no header": Product(methods="REQMOD"),
    "both": Product(methods="REQMOD, RESPMOD", heads=PRODUCTS["trend"].heads),
    "preview 0": Product(options="Allow: 204\r\nPreview: 0\r\n", heads=PRODUCTS["trend"].heads),
    "preview, no 204": Product(
        options="Preview: 30\r\n", passes_204=False, heads=PRODUCTS["trend"].heads
    ),
    "no preview": Product(heads=PRODUCTS["trend"].heads),
}

# How much of a body it reads before it answers, if it does not wait for the rest.
EARLY = 8192


class Icap(Server):
    """An ICAP server that answers by a header "X-Play: KIND" in what it gets; none is clean.

    With closes, it hangs up after each answer, and says so; with early, it answers in the
    middle of a body, and reads the rest for nothing.  asked are the lines that requests began
    with.
    """

    def __init__(
        self,
        product: str,
        *,
        closes: bool = False,
        early: bool = False,
        path: Path | None = None,
    ) -> None:
        self.product = {**PRODUCTS, **CHOICES}[product]
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self._closes = closes
        self._early = early
        super().__init__(path)

    def play(self, client: socket.socket) -> None:
        with client.makefile("rb") as words:
            while line := words.readline():
                if not self._request(client, words, line.decode()) or self._closes:
                    return

    def _request(self, client: socket.socket, words: BinaryIO, first: str) -> bool:
        """Answer one; whether the connection stays."""
        self.asked.append(first.strip())
        headers = {}
        while line := words.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        connection = f"Connection: {'close' if self._closes else 'keep-alive'}\r\n"
        if first.startswith("OPTIONS "):
            client.sendall(
                f"ICAP/1.0 200 OK\r\nMethods: {self.product.methods}\r\nService: played\r\n"
                f'ISTag: "1"\r\n{connection}{self.product.options}'
                "Encapsulated: null-body=0\r\n\r\n".encode()
            )
            return True
        if first.partition(" ")[0] not in self.product.methods.split(", "):
            client.sendall(b"ICAP/1.0 405 Method not allowed\r\nConnection: close\r\n\r\n")
            return False
        size = int(headers["encapsulated"].rpartition("=")[2])
        page = words.read(size)
        if self._early:
            length = int(words.readline(), 16)
            body = words.read(EARLY)
            client.sendall(self._answer(headers, connection, page, body))
            words.read(length - EARLY + 2)
            chunks(words)
            return True
        body, whole = chunks(words)
        if "preview" in headers and not whole:
            client.sendall(b"ICAP/1.0 100 Continue\r\n\r\n")
            body += chunks(words)[0]
        self.bodies.append(body)
        client.sendall(self._answer(headers, connection, page, body))
        return True

    def _answer(self, headers: dict[str, str], connection: str, page: bytes, body: bytes) -> bytes:
        found = PLAY.search(body)
        kind = found[1].decode() if found else "clean"
        product = self.product
        head = f'ISTag: "1"\r\n{connection}{product.heads.get(kind, "")}'
        if kind == "error":
            status = product.statuses.get(kind, "500 Server error")
            return f"ICAP/1.0 {status}\r\n{connection}\r\n".encode()
        if kind == "clean" and product.passes_204 and "204" in headers.get("allow", ""):
            return f"ICAP/1.0 204 No Content\r\n{head}\r\n".encode()
        part = "res"
        if kind != "clean":
            returned = (product.pages.get(kind, FORBIDDEN) + "\r\n").encode()
            content = b"<b>blocked</b>"
        elif page.startswith(b"POST "):
            part, returned, content = "req", page, body
        else:  # the response's head, which is what comes after the request's
            returned, content = page[page.index(b"\r\n\r\n") + 4 :], body
        size = len(returned)
        return (
            f"ICAP/1.0 200 OK\r\n{head}Encapsulated: {part}-hdr=0, {part}-body={size}\r\n\r\n"
        ).encode() + b"%b%x\r\n%b\r\n0\r\n\r\n" % (returned, len(content), content)


def chunks(words: BinaryIO) -> tuple[bytes, bool]:
    """The bytes of a chunked body, up to its end, and whether that is the end of the object."""
    body = b""
    while True:
        line = words.readline()
        if not line:
            raise HungUpError
        size, _, extension = line.strip().partition(b";")
        if not int(size, 16):
            words.readline()
            return body, extension.strip() == b"ieof"
        body += words.read(int(size, 16))
        words.readline()

"""Who is behind the middle, by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType

from avcheck.seen import FRONT
from tests.campaigns.rot.places import CLEAN as CLEAN_MAIL
from tests.campaigns.rot.places import (
    REFUSING,
    Handed,
    Place,
    Queue,
    Scanned,
    Sinking,
    sent_on,
    settled,
)
from tests.campaigns.rot.sessions import Relayed, Served
from tests.support.servers import packages
from tests.support.servers.cicap import CIcap
from tests.support.servers.clamd import Clamd
from tests.support.servers.exim import Exim
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Sink

# For as many runs at a time as there may be.
THREADS = 40

# Nor is Postfix to slow down whoever hands on faster than it delivers.
MAIN = """\
default_process_limit = 100
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
"""

EXIM = """\
local_interfaces = 127.0.0.1.{port}
acl_smtp_rcpt = acl_check_rcpt
"""


class Daemons:
    """The daemons that a scene is among, started when one needs them, and shared by all.

    directory is one that every account can enter.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started = ExitStack()

    def __enter__(self) -> Daemons:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._started.close()

    @cached_property
    def clamd(self) -> Clamd:
        settings = {"MaxThreads": str(THREADS), "ExcludePath": elsewhere(self.directory)}
        daemon = Clamd(self.directory / "clamd", settings=settings, tcp=True)
        return self._started.enter_context(daemon)

    @cached_property
    def icap(self) -> CIcap:
        daemon = CIcap(self.directory / "icap", clamd=self.clamd)
        return self._started.enter_context(daemon)

    @cached_property
    def _postfix(self) -> tuple[Postfix, Sink, int]:
        packages.need_root("Postfix is started by root only")
        sink = self._started.enter_context(Sink())
        refusing = free_port()
        postfix = Postfix(
            self.directory / "postfix",
            relayhost=sink.address,
            main=MAIN,
            master=REFUSING.format(port=refusing),
        )
        return self._started.enter_context(postfix), sink, refusing

    @cached_property
    def postfix(self) -> Queue:
        postfix, sink, _ = self._postfix
        return Queue(postfix.port, sink, partial(settled, postfix))

    @cached_property
    def refusing(self) -> Queue:
        postfix, sink, port = self._postfix
        return Queue(port, sink, partial(settled, postfix))

    @cached_property
    def exim(self) -> Queue:
        program = Exim.unpack(self.directory / "exim-package")
        sink = self._started.enter_context(Sink())
        port = free_port()
        parts = {"main": EXIM.format(port=port), "acl": "", "router": "", "transport": ""}
        exim = self._started.enter_context(
            Exim(self.directory / "exim", program, relayhost=sink.address, port=port, parts=parts)
        )
        return Queue(port, sink, partial(sent_on, exim))


def elsewhere(directory: Path) -> str:
    """A regular expression for what is not there, nor above it.

    A path that is cut short by a byte that is 0 has clamd scan the whole file system.
    """
    path = str(directory)
    others = "|".join(f"{path[:at]}[^{path[at]}]" for at in range(1, len(path)))
    return f"^({others})"


# What clamd says of a clean message.  Of the path only the last part is one that nobody
# else can know.
CLEAN = {
    "descriptor": rb"fd\[\d+\]: OK\0",
    "stream": rb"stream: OK\0",
    "path": rb"/[^\0\n]*/avcheck\.\w+: OK\0",
}
# What is found may be taken from less than a whole reply (avcheck.scanners).
FOUND = rb".* FOUND[\0\s]*|INSTREAM size limit exceeded\. ERROR\0"


def _clamd(
    name: str, command: Path, directory: Path, daemons: Daemons, *, way: str, infected: bool
) -> Place:
    clamd = daemons.clamd
    return Scanned(
        name,
        command,
        directory,
        ("127.0.0.1", clamd.port) if way == "stream" else clamd.socket,
        scanner=f"clamd+{way}:@",
        clean=CLEAN[way],
        found=FOUND,
        infected=infected,
    )


# An ICAP server's reply is long, and not every byte of it means something: 204, or the
# message sent back as it was (if it has not heard that it need not), in chunks of the server's
# choice, and nothing found.
NOTHING_FOUND = rb"[^\r\n]*\r\n(?:(?!X-Infection|X-Violation)[^\r\n]*\r\n)*\r\n"
UNMODIFIED = rb".*\r\nICAP/1\.0 (?:204 %b|200 %b.*%b.*\r\n0\r\n\r\n)" % (
    NOTHING_FOUND,
    NOTHING_FOUND,
    rb"(?:\r\n[0-9a-f]+\r\n)?".join(
        re.escape(bytes([byte])) for byte in FRONT + CLEAN_MAIL.rstrip()
    ),
)


def _icap(name: str, command: Path, directory: Path, daemons: Daemons, *, infected: bool) -> Place:
    place = Scanned(
        name,
        command,
        directory,
        ("127.0.0.1", daemons.icap.port),
        scanner="icap:@/avscan",
        clean=UNMODIFIED,
        found=b".*",
        infected=infected,
    )
    place.is_brief = True
    return place


def _sink(name: str, command: Path, directory: Path, _: Daemons) -> Place:
    # One of its own: what is in there is what this place has handed on.
    server = Sinking()
    place = Handed(name, command, directory, server)
    place.at_end.callback(server.sink.stop)
    return place


def _postfix(name: str, command: Path, directory: Path, daemons: Daemons) -> Place:
    place = Handed(name, command, directory, daemons.postfix)
    place.is_brief = True
    return place


def _exim(name: str, command: Path, directory: Path, daemons: Daemons) -> Place:
    place = Handed(name, command, directory, daemons.exim)
    place.is_brief = place.is_like_another = True
    return place


def _refusing(name: str, command: Path, directory: Path, daemons: Daemons) -> Place:
    place = Handed(name, command, directory, daemons.refusing, refuses=True)
    place.is_brief = place.is_like_another = True
    return place


def _relayed(name: str, command: Path, directory: Path, _: Daemons) -> Place:
    return Relayed(name, command, directory)


def _served(name: str, command: Path, directory: Path, _: Daemons) -> Place:
    return Served(name, command, directory)


SCENES: dict[str, Callable[[str, Path, Path, Daemons], Place]] = {
    "clamd, descriptor, clean": partial(_clamd, way="descriptor", infected=False),
    "clamd, descriptor, infected": partial(_clamd, way="descriptor", infected=True),
    "clamd, stream (TCP), clean": partial(_clamd, way="stream", infected=False),
    "clamd, stream (TCP), infected": partial(_clamd, way="stream", infected=True),
    "clamd, path, clean": partial(_clamd, way="path", infected=False),
    "clamd, path, infected": partial(_clamd, way="path", infected=True),
    "SMTP, a sink": _sink,
    "SMTP, Postfix": _postfix,
    "SMTP, Postfix, which refuses": _refusing,
    "SMTP, Exim": _exim,
    "SMTP, from avcheck-smtp to the next hop": _relayed,
    "SMTP, from a client to avcheck-smtp": _served,
    "c-icap, clean": partial(_icap, infected=False),
    "c-icap, infected": partial(_icap, infected=True),
}


def place(name: str, command: Path, directory: Path, daemons: Daemons) -> Place:
    """The scene of that name, set up in a new directory."""
    return SCENES[name](name, command, directory, daemons)

"""Which dots end a message for real servers, and which addresses Postfix passes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.campaigns.rot.places import sent_on
from tests.support.mta import Site
from tests.support.servers import packages
from tests.support.servers.exim import Exim
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Sink

ENDS = {"CR": b"\r", "LF": b"\n", "CRLF": b"\r\n"}
CONTENTS = {
    f"{first}.{last}": b"Subject: x\n\nHello." + ENDS[first] + b"." + ENDS[last] + b"QUIT\r\nBye.\n"
    for first in ENDS
    for last in ENDS
}

ODD = ["a\x01b@example.net", "a\x7f\x1b@example.net"]

# Values of smtpd_forbid_bare_newline, each for a service of its own.
SETTINGS = ("no", "yes", "normalize", "reject")
SERVICE = """\
127.0.0.1:{port} inet n - n - - smtpd
    -o smtpd_forbid_bare_newline={value}
    -o smtpd_forbid_bare_newline_exclusions=
"""


EXIM = """\
local_interfaces = 127.0.0.1.{port}
acl_smtp_rcpt = acl_check_rcpt
"""


@dataclass(frozen=True)
class Hop:
    """A mail system with its ports, for Postfix one for each of SETTINGS, and its next hop."""

    ports: dict[str, int]
    sink: Sink
    sends_on: Callable[[], None] = lambda: None


@pytest.fixture(scope="module")
def hop(open_directory: Path) -> Iterator[Hop]:
    packages.need_root("Postfix is started by root only")
    ports = {value: free_port() for value in SETTINGS}
    master = "".join(SERVICE.format(port=ports[value], value=value) for value in SETTINGS)
    directory = open_directory / "ends"
    with Sink() as sink, Postfix(directory, relayhost=sink.address, master=master):
        yield Hop(ports, sink)


@pytest.fixture(scope="module")
def exim(open_directory: Path) -> Iterator[Hop]:
    program = Exim.unpack(open_directory / "exim-package-for-ends")
    port = free_port()
    parts = {"main": EXIM.format(port=port), "acl": "", "router": "", "transport": ""}
    directory = open_directory / "exim-ends"
    with Sink() as sink:
        server = Exim(directory, program, relayhost=sink.address, port=port, parts=parts)
        with server:
            yield Hop({"Exim": port}, sink, partial(sent_on, server))


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("value", SETTINGS)
def test_postfix_sees_the_end_where_it_is(site: Site, hop: Hop, value: str, content: bytes) -> None:
    site.hop = ("-S", f"127.0.0.1:{hop.ports[value]}")
    ended = site.deliver(message=content)
    assert ended.status == 0, ended
    (message,) = hop.sink.wait_for(1)
    hop.sink.take()
    assert message.data.endswith(b"Bye.\r\n")


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_exim_sees_the_end_where_it_is(site: Site, exim: Hop, content: bytes) -> None:
    site.hop = ("-S", f"127.0.0.1:{exim.ports['Exim']}")
    ended = site.deliver(message=content)
    assert ended.status == 0, ended
    exim.sends_on()
    (message,) = exim.sink.wait_for(1)
    exim.sink.take()
    assert message.data.endswith(b"Bye.\r\n")


@pytest.mark.parametrize("address", ODD)
def test_postfix_takes_control_characters_and_passes_them_on(
    site: Site, hop: Hop, address: str
) -> None:
    local = address.partition("@")[0]
    site.hop = ("-S", f"127.0.0.1:{hop.ports['no']}")
    ended = site.deliver(recipients=(address,), sender=address)
    assert ended.status == 0, ended
    (message,) = hop.sink.wait_for(1)
    hop.sink.take()
    assert message.recipients == [f'"{local}"@example.net'.encode()]

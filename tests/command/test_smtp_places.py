"""The end of a session, and where a server can be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.test_smtp_extensions import WIRE
from tests.support.doors import Door
from tests.support.fakes import HANG_UP
from tests.support.mta import TEMPFAIL, Site

NAME = "mx.example.test"  # of the server, in its certificate


# The end.


@pytest.mark.parametrize("unix", [False, True], ids=["TCP", "Unix"])
def test_a_server_that_keeps_silent_after_quit_is_not_waited_for(site: Site, unix: bool) -> None:
    smtp = site.smtp(hold="QUIT", unix=unix)
    assert site.deliver().status == 0
    smtp.arrived()
    assert site.delivered == [WIRE]


@pytest.mark.parametrize("unix", [False, True], ids=["TCP", "Unix"])
def test_a_server_lost_after_the_dot_may_have_taken_the_message(site: Site, unix: bool) -> None:
    for how in (
        {"answers": {"dot": HANG_UP}},
        {"answers": {"dot": b"250 2.0.0 queued as 4X"}, "quits": "dot"},
    ):
        site.smtp(unix=unix, **how)
        ended = site.deliver()
        assert ended.status == TEMPFAIL
        assert b"possible duplicate: after the final dot: closed the connection" in ended.output


# Where a server can be.


def services() -> Iterator[tuple[str, int]]:
    """The names of TCP ports that do not need root."""
    for line in Path("/etc/services").read_text().splitlines():
        name, port, *_ = (*line.partition("#")[0].split(), "", "")
        number, _, protocol = port.partition("/")
        if protocol == "tcp" and int(number) > 1024:
            yield name, int(number)


def test_a_service_by_its_name(site: Site) -> None:
    for name, port in services():
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        with Door(listener, site.smtp()):
            for hop in (f"127.0.0.1:{name}", f":{name}", f"localhost:{name}"):
                site.hop = ("-S", hop)
                ended = site.deliver()
                assert ended.status == 0, ended
            assert site.delivered == [WIRE] * 3
        return
    pytest.fail("no service in /etc/services has a port that is free")


def test_the_default_is_the_service_smtp_of_this_host(site: Site) -> None:
    """Told by the words of a failure: port 25 may be somebody's, and gets no mail of ours."""
    nobody = ["--tls", "require", "--tls-ca", "/dev/null", "--deadline", "5"]
    for hop in ([], ["-S", "127.0.0.2"], ["-S", "[::1]"], ["-S", "localhost:"]):
        site.hop = [*hop, *nobody]
        ended = site.deliver()
        where = (hop[1].rstrip(":") if hop else "127.0.0.1") + ":smtp"
        site.assert_kept(ended, where)


def test_a_server_by_ipv6(site: Site) -> None:
    listener = socket.socket(socket.AF_INET6)
    try:
        listener.bind(("::1", 0))
    except OSError as why:
        listener.close()
        pytest.skip(f"this host has no IPv6: {why}")
    with Door(listener, site.smtp()):
        where = f"[::1]:{listener.getsockname()[1]}"
        site.hop = ("-S", where)
        ended = site.deliver()
        assert ended.status == 0, ended
        assert f"{where} 250 2.0.0 taken".encode() in ended.output
        assert site.delivered == [WIRE]


def test_an_ipv6_address_without_brackets_is_wrong_usage(site: Site) -> None:
    site.hop = ("-S", "::1:2525")
    site.assert_kept(site.deliver(), "4.3.5", "brackets")


def test_every_address_of_a_name_is_tried(site: Site) -> None:
    """localhost has two addresses, of which one listens; which one is tried first is chance."""
    port = site.hop[1].rpartition(":")[2]
    site.hop = ("-S", f"localhost:{port}")
    for _ in range(8):
        assert site.deliver().status == 0

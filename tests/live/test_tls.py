"""A real clamd behind TLS: a proxy of the tests, stunnel and nginx as docs/scanners.md has them."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.recipe import blocks
from tests.live.test_clamd import TEMPFAIL, Desk
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import clamd as server
from tests.support.servers import packages
from tests.support.servers.clamd import Clamd
from tests.support.servers.ports import free_port
from tests.support.servers.tls import Authority, TlsProxy
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "scanners.md"

START_MAX = 30.0

STUNNEL = """\
foreground = yes
pid =
output = {log}
"""

NGINX = """\
load_module {module};
daemon off;
pid {directory}/nginx.pid;
error_log {log};
events {{}}
"""


@pytest.fixture
def desk(avcheck: Path, tmp_path: Path) -> Desk:
    return Desk(avcheck, tmp_path)


@pytest.fixture(scope="module")
def authority(open_directory: Path) -> Authority:
    return Authority(open_directory / "authority")


@contextmanager
def proxy(clamd: Clamd, authority: Authority, directory: Path) -> Iterator[int]:
    with TlsProxy(clamd.socket, authority.issue("localhost"), clients=authority) as place:
        yield place.port


@contextmanager
def stunnel(clamd: Clamd, authority: Authority, directory: Path) -> Iterator[int]:
    packages.need("stunnel4", commands=["stunnel4"])
    port = free_port()
    config = directory / "stunnel.conf"
    config.write_text(
        STUNNEL.format(log=directory / "log")
        + documented("stunnel.conf", clamd, authority, port, f"127.0.0.1:{port}")
    )
    with running(port, directory / "log", packages.find("stunnel4"), str(config)):
        yield port


@contextmanager
def nginx(clamd: Clamd, authority: Authority, directory: Path) -> Iterator[int]:
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    packages.need("nginx-light", "libnginx-mod-stream", commands=["nginx"], files=[str(module)])
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        NGINX.format(module=module, directory=directory, log=directory / "log")
        + documented("nginx.conf", clamd, authority, port, f"127.0.0.1:{port}")
    )
    words = (packages.find("nginx"), "-e", str(directory / "log"), "-c", str(config))
    with running(port, directory / "log", *words):
        yield port


def documented(name: str, clamd: Clamd, authority: Authority, port: int, where: str) -> str:
    """A file of the page, with our paths and our port."""
    text = re.sub(r"\b3311\b", where, blocks(DOCUMENT)[name])
    for theirs, ours in {
        "/run/clamav/clamd.ctl": str(clamd.socket),
        "/etc/stunnel/clamd.pem": str(authority.issue("localhost")),
        "/etc/avcheck/ca.pem": str(authority.file),
    }.items():
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return text


@contextmanager
def running(port: int, log: Path, *words: str) -> Iterator[None]:
    """A program in the foreground, from when it listens on the port until it is not needed."""
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + START_MAX
            while not listens(port):
                if time.monotonic() > end or process.poll() is not None:
                    raise RuntimeError(f"{words}: {log.read_text() if log.exists() else ''}")
                time.sleep(0.02)  # it tells nobody else
            yield
        finally:
            process.terminate()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@pytest.fixture(params=[proxy, stunnel, nginx], ids=lambda front: front.__name__)
def port(
    request: pytest.FixtureRequest, clamd: Clamd, authority: Authority, tmp_path: Path
) -> Iterator[int]:
    """Where clamd takes TLS, from clients who have a certificate."""
    directory = tmp_path / "front"
    directory.mkdir()
    with request.param(clamd, authority, directory) as number:
        yield number


def words(desk: Desk, authority: Authority, port: int, host: str = "localhost") -> list[str]:
    return desk.words(
        f"clamd+tls:{host}:{port}",
        *("--scanner-ca", str(authority.file)),
        *("--scanner-cert", str(authority.issue("client@example.org"))),
    )


def test_a_clean_message_is_clean(desk: Desk, authority: Authority, port: int) -> None:
    ended = desk.check(letter(), words(desk, authority, port))
    assert (ended.status, ended.verdict) == (0, "")
    assert ended.said.startswith("clean: clamd")


def test_the_test_virus_is_found(desk: Desk, authority: Authority, port: int) -> None:
    ended = desk.check(with_attachment(EICAR, "eicar.com"), words(desk, authority, port))
    assert (ended.status, ended.verdict, ended.names) == (0, "infected", server.EICAR)


def test_a_stream_above_the_limit_is_not_clean(desk: Desk, authority: Authority, port: int) -> None:
    """What clamd says of it comes through the front, or is lost when clamd hangs up."""
    ended = desk.check(letter("x" * 70 + "\n") * 40_000, words(desk, authority, port))
    if ended.status == 0:
        assert ended.said.startswith("unscannable: INSTREAM size limit exceeded. ERROR; ")
    else:
        assert ended.status == TEMPFAIL
        assert ended.said.startswith("4.")


def test_another_name_is_refused(desk: Desk, authority: Authority, port: int) -> None:
    ended = desk.check(letter(), words(desk, authority, port, "127.0.0.1"))
    assert ended.status == TEMPFAIL
    assert "certificate: IP address mismatch" in ended.said


def test_who_has_no_certificate_is_refused(desk: Desk, authority: Authority, port: int) -> None:
    scanner = f"clamd+tls:localhost:{port}"
    ended = desk.check(letter(), desk.words(scanner, "--scanner-ca", str(authority.file)))
    assert ended.status == TEMPFAIL
    assert ended.said.startswith("4.")


def test_clamd_itself_speaks_no_tls(desk: Desk, authority: Authority, clamd: Clamd) -> None:
    ended = desk.check(letter(), words(desk, authority, clamd.port))
    assert ended.status == TEMPFAIL
    assert ended.said.startswith("4.")

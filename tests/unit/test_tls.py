"""TLS to a scanner: with the right certificate, and with none of the wrong ones.

clamd knows no TLS, so it is played by one that has a proxy in front, as in docs/scanners.md.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from avcheck import conn
from avcheck.address import Address
from tests.support.mta import KEEP, TEMPFAIL, Ended, Site
from tests.support.servers.tls import Authority, TlsProxy
from tests.support.wire import PATIENCE

NAME = "localhost"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody has heard of."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@contextmanager
def proxy(
    site: Site, certificate: Path, *, clients: Authority | None = None, says: bytes = b"OK"
) -> Iterator[TlsProxy]:
    """TLS in front of the site's scanner."""
    daemon = site.clamd(tcp=True, says=says)
    host, _, port = daemon.where.partition(":")
    with TlsProxy((host, int(port)), certificate, clients=clients) as place:
        yield place


def check(site: Site, place: TlsProxy, *options: str | Path, host: str = NAME) -> Ended:
    words = ["-n", *map(str, options)]
    return site.deliver(*words, scanners=[f"clamd+tls:{host}:{place.port}"])


def refused(ended: Ended, site: Site, why: bytes) -> None:
    """It was kept, for this reason, and the daemon has not heard a word of it."""
    assert ended.status == TEMPFAIL
    assert KEEP.match(ended.output)
    assert why in ended.output
    assert site.scanner.questions == []
    assert list(site.spool.iterdir()) == []


def test_the_right_name_is_accepted(site: Site, authority: Authority) -> None:
    with proxy(site, authority.issue(NAME)) as place:
        ended = check(site, place, "--scanner-ca", authority.file)
    assert ended.output.startswith(b"clean: clamd")
    assert ended.status == 0
    (question,) = site.scanner.questions
    assert question.way == "INSTREAM"


def test_an_address_can_be_the_name(site: Site, authority: Authority) -> None:
    with proxy(site, authority.issue("127.0.0.1")) as place:
        ended = check(site, place, "--scanner-ca", authority.file, host="127.0.0.1")
    assert ended.status == 0


def test_what_is_found_is_found_through_tls(site: Site, authority: Authority) -> None:
    handler = site.handler()
    with proxy(site, authority.issue(NAME), says=b"Eicar FOUND") as place:
        ended = check(site, place, "--scanner-ca", authority.file)
    assert ended.output.startswith(b"infected: Eicar")
    assert handler.calls == 1


def test_a_large_message_goes_through_tls_whole(site: Site, authority: Authority) -> None:
    message = b"Subject: x\n\n" + b"0123456789abcde\n" * 400_000
    with proxy(site, authority.issue(NAME)) as place:
        words = site.words(
            "-n", "--scanner-ca", str(authority.file), scanners=[f"clamd+tls:{NAME}:{place.port}"]
        )
        assert site.start(words).end(message).status == 0
    (question,) = site.scanner.questions
    assert question.content.endswith(message)


def test_another_name_is_refused(site: Site, authority: Authority) -> None:
    with proxy(site, authority.issue("other.example")) as place:
        ended = check(site, place, "--scanner-ca", authority.file)
    refused(
        ended, site, b"certificate: Hostname mismatch, certificate is not valid for 'localhost'"
    )


def test_another_address_is_refused(site: Site, authority: Authority) -> None:
    with proxy(site, authority.issue("127.0.0.2")) as place:
        ended = check(site, place, "--scanner-ca", authority.file, host="127.0.0.1")
    refused(ended, site, b"certificate: IP address mismatch")


def test_an_expired_certificate_is_refused(site: Site, authority: Authority) -> None:
    with proxy(site, authority.issue(NAME, expired=True)) as place:
        ended = check(site, place, "--scanner-ca", authority.file)
    refused(ended, site, b"certificate: certificate has expired")


def test_an_unknown_authority_is_refused(
    site: Site, authority: Authority, stranger: Authority
) -> None:
    with proxy(site, stranger.issue(NAME)) as place:
        ended = check(site, place, "--scanner-ca", authority.file)
    refused(ended, site, b"certificate: unable to get local issuer certificate")


def test_without_an_authority_those_of_the_system_decide(site: Site, authority: Authority) -> None:
    with proxy(site, authority.issue(NAME)) as place:
        refused(check(site, place), site, b"certificate: ")


def test_a_client_without_a_certificate_is_refused(
    site: Site, authority: Authority, stranger: Authority
) -> None:
    with proxy(site, authority.issue(NAME), clients=authority) as place:
        refused(check(site, place, "--scanner-ca", authority.file), site, b"certificate required")
        foreign = stranger.issue("client@example.org")
        ended = check(
            site, place, "--scanner-ca", authority.file, "--scanner-cert", foreign,
            "--scanner-key", foreign,
        )  # fmt: skip
        refused(ended, site, b"unknown ca")


def test_a_client_with_a_certificate_is_accepted(site: Site, authority: Authority) -> None:
    ours = authority.issue("client@example.org")
    with proxy(site, authority.issue(NAME), clients=authority) as place:
        # The key may be in the same file as the certificate.
        mores: list[list[str | Path]] = [[], ["--scanner-key", ours]]
        for more in mores:
            ended = check(
                site, place, "--scanner-ca", authority.file, "--scanner-cert", ours, *more
            )
            assert ended.status == 0, ended


@pytest.mark.parametrize("option", ["--scanner-ca", "--scanner-cert", "--scanner-key"])
def test_a_file_that_cannot_be_used_is_named(
    site: Site, authority: Authority, tmp_path: Path, option: str
) -> None:
    ours = authority.issue("client@example.org")
    good = {"--scanner-ca": authority.file, "--scanner-cert": ours, "--scanner-key": ours}
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate\n")
    with proxy(site, authority.issue(NAME)) as place:
        for file in (broken, tmp_path / "missing.pem"):
            words = [word for pair in {**good, option: file}.items() for word in pair]
            refused(check(site, place, *words), site, str(file).encode())


def test_a_server_without_tls_is_refused(site: Site, authority: Authority) -> None:
    daemon = site.clamd(tcp=True)
    ended = site.deliver(
        "-n", "--scanner-ca", str(authority.file), scanners=[f"clamd+tls:{daemon.where}"]
    )
    assert ended.status == TEMPFAIL
    assert KEEP.match(ended.output)


def test_a_second_connection_is_encrypted_like_the_first(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(NAME))
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Address(host=NAME.encode(), port=b"%d" % server.getsockname()[1])

        def play() -> None:
            for words in (b"first\n", b"second\n"):
                client, _ = server.accept()
                with context.wrap_socket(client, server_side=True) as encrypted:
                    encrypted.sendall(words)

        thread = threading.Thread(target=play)
        thread.start()
        with conn.connect((place,), monotonic() + PATIENCE) as link:
            link.start_tls(NAME.encode(), str(authority.file).encode())
            assert link.line() == b"first"
            link.again()
            assert link.encrypted
            assert link.line() == b"second"
        thread.join(PATIENCE)

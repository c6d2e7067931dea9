"""STARTTLS with a real Postfix: its server, its log, and the line that it adds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.letters import letter
from tests.support.mta import Site
from tests.support.servers import packages
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Sink
from tests.support.servers.tls import Authority

NAME = "mx.example.test"
OLD = "old.example.test"
ENCRYPTED = re.compile(rb"\(using TLSv1\.[23] with cipher \w+ \(\d+/\d+ bits\)")

MESSAGE = letter("Hello.\n").replace(b"\r\n", b"\n")


@dataclass(frozen=True)
class MailHost:
    """A Postfix that takes mail in the clear at one port, with TLS if wanted or only at others.

    It has a certificate for NAME for those who ask for that name (SNI), and another one for
    everybody else.
    """

    postfix: Postfix
    sink: Sink
    authority: Authority
    offering: str
    demanding: str
    expired: str

    def arrived(self) -> bytes:
        self.sink.wait_for(1)
        (received,) = self.sink.take()
        return received.data


@pytest.fixture(scope="module")
def host(open_directory: Path) -> Iterator[MailHost]:
    packages.need("postfix", commands=["postfix", "postqueue", "postsuper"])
    packages.need_root("Postfix is started by root only")
    authority = Authority(open_directory / "authority")
    ports = {level: free_port() for level in ("may", "encrypt", "expired")}
    other, old = authority.issue("else.example.test"), authority.issue(OLD, expired=True)
    master = "".join(
        f"127.0.0.1:{port} inet n - n - - smtpd\n"
        f"    -o smtpd_tls_chain_files={old if level == 'expired' else other}\n"
        f"    -o smtpd_tls_security_level={'may' if level == 'expired' else level}\n"
        for level, port in ports.items()
    )
    names = f"hash:{open_directory / 'authority' / 'names'}"
    main = (
        f"smtpd_tls_loglevel = 1\nsmtpd_tls_received_header = yes\ntls_server_sni_maps = {names}\n"
    )
    (open_directory / "authority" / "names").write_text(f"{NAME} {authority.issue(NAME)}\n")
    with Sink() as sink:
        directory = open_directory / "starttls"
        with Postfix(directory, relayhost=sink.address, main=main, master=master) as postfix:
            postfix.command("postmap", "-F", names)
            addresses = [f"127.0.0.1:{port}" for port in ports.values()]
            yield MailHost(postfix, sink, authority, *addresses)


@pytest.mark.parametrize("level", ["may", "require"])
@pytest.mark.parametrize("port", ["offering", "demanding"])
def test_it_is_encrypted_and_verified(site: Site, host: MailHost, level: str, port: str) -> None:
    site.hop = ("-S", getattr(host, port))
    options = ["--tls", level, "--tls-ca", str(host.authority.file), "--tls-name", NAME]
    before = len(host.postfix.log)
    ended = site.deliver(*options, message=MESSAGE)
    assert ended.status == 0, ended
    data = host.arrived()
    assert ENCRYPTED.search(data)
    assert data.endswith(MESSAGE.replace(b"\n", b"\r\n"))
    # The name that was asked for (SNI) is in the log.
    assert re.search(
        rf"TLS connection established from .* to {NAME}: TLSv1", host.postfix.log[before:]
    )


def test_thirty_megabytes_are_encrypted(site: Site, host: MailHost) -> None:
    site.hop = ("-S", host.demanding)
    message = MESSAGE + (b"x" * 75 + b"\n") * 400_000
    ended = site.deliver("--tls", "require", message=message)
    assert ended.status == 0, ended
    assert host.arrived().endswith(message.replace(b"\n", b"\r\n"))


def test_without_tls_a_server_that_demands_it_keeps_the_message(site: Site, host: MailHost) -> None:
    site.hop = ("-S", host.demanding)
    for options in ([], ["--tls", "never"], ["--refused", "bounce"]):
        site.assert_kept(site.deliver(*options), "4.7.0", "530 5.7.0 Must issue a STARTTLS")


def test_a_server_without_tls(site: Site, host: MailHost) -> None:
    site.hop = ("-S", f"127.0.0.1:{host.postfix.port}")
    site.assert_kept(site.deliver("--tls", "require"), "4.3.5", "no STARTTLS")
    assert site.deliver("--tls", "may").status == 0
    assert not ENCRYPTED.search(host.arrived())


def test_another_name_is_refused(site: Site, host: MailHost) -> None:
    site.hop = ("-S", host.offering)
    options = ["--tls", "may", "--tls-ca", str(host.authority.file)]
    for more in (["--tls-name", "other.example.test"], []):
        site.assert_kept(site.deliver(*options, *more), "4.3.5", "certificate: ", "mismatch")


def test_an_expired_certificate_is_refused(site: Site, host: MailHost) -> None:
    site.hop = ("-S", host.expired)
    options = ["--tls", "require", "--tls-ca", str(host.authority.file), "--tls-name", OLD]
    site.assert_kept(site.deliver(*options), "4.3.5", "certificate has expired")
    assert site.deliver("--tls", "require").status == 0  # nobody is asked to look
    host.arrived()


def test_an_authority_that_is_not_known_is_refused(
    site: Site, host: MailHost, tmp_path: Path
) -> None:
    site.hop = ("-S", host.offering)
    for file in (Authority(tmp_path).file, "system"):
        options = ["--tls", "require", "--tls-ca", str(file), "--tls-name", NAME]
        site.assert_kept(site.deliver(*options), "4.3.5", "unable to get local issuer")
    assert host.sink.take() == []

"""STARTTLS (RFC 3207): when, with whom, and what is believed.

The mail server is the usual one.  In front of it stands one that knows EHLO and STARTTLS
only, and passes on what it decrypts.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.doors import READY, Front
from tests.support.fakes import HANG_UP, FakeSmtp
from tests.support.mta import MAIL, TEMPFAIL, Site
from tests.support.servers.tls import Authority

WIRE = MAIL.replace(b"\n", b"\r\n")
LARGE = MAIL + (b"x" * 70 + b"\n") * 100_000
EIGHT = MAIL + b"\xe4\n"

NAME = "mx.example.test"  # of the server, in its certificate


@dataclass
class Secured:
    """The next hop of a site: the server, and what stands before it."""

    front: Front
    smtp: FakeSmtp

    @property
    def verbs(self) -> list[bytes]:
        """What they were told in one conversation, to its end."""
        self.smtp.arrived("QUIT")
        return [line.split()[0] for line in (*self.front.commands, *self.smtp.commands)]


@contextlib.contextmanager
def secured(
    site: Site,
    context: ssl.SSLContext,
    *,
    unix: bool = False,
    front: Mapping[str, object] | None = None,
    **how: object,
) -> Iterator[Secured]:
    """The next hop of the site from now on; front is about what stands before the server."""
    server = site.smtp(**how)  # type: ignore[arg-type]
    path = site.path("front") if unix else None
    with Front(path, server, context, **(front or {})) as before:  # type: ignore[arg-type]
        assert isinstance(before, Front)
        site.hop = ("-S", f"unix:{before.where}" if unix else before.where)
        yield Secured(before, server)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def certified(authority: Authority, name: str = NAME, *, expired: bool = False) -> ssl.SSLContext:
    """For a server with a certificate of that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(name, expired=expired))
    return context


@pytest.fixture
def tls(site: Site, authority: Authority) -> Iterator[Secured]:
    """A server with a certificate for NAME."""
    with secured(site, certified(authority)) as server:
        yield server


@pytest.fixture
def verified(authority: Authority) -> list[str]:
    """The options to have a server of that name only."""
    return ["--tls", "require", "--tls-ca", str(authority.file), "--tls-name", NAME]


# When.


def test_never_is_the_default(site: Site) -> None:
    smtp = site.smtp(offers=(b"STARTTLS", b"8BITMIME"))
    for options in ([], ["--tls", "never"]):
        assert site.deliver(*options).status == 0
    assert b"STARTTLS" not in smtp.commands


@pytest.mark.parametrize("level", ["may", "require"])
def test_where_it_is_offered(site: Site, tls: Secured, level: str) -> None:
    ended = site.deliver("--tls", level, recipients=("a@x", "b@x"))
    assert ended.status == 0, ended
    assert site.delivered == [WIRE]
    assert [line.split()[0] for line in tls.front.commands] == [b"EHLO", b"STARTTLS"]
    assert tls.verbs[2:] == [b"EHLO", b"MAIL", b"RCPT", b"RCPT", b"DATA", b"QUIT"]


def test_a_large_message(site: Site, tls: Secured) -> None:
    message = b"Subject: x\n" + os.urandom(5_000_000)
    assert site.deliver("--tls", "require", message=message).status == 0
    (data,) = site.delivered
    assert data in (message.replace(b"\n", b"\r\n") + end for end in (b"", b"\r\n"))


def test_where_it_is_not_offered_may_goes_on_and_require_waits(site: Site) -> None:
    smtp = site.smtp()
    ended = site.deliver("--tls", "require", "--refused", "bounce")
    site.assert_kept(ended, "4.3.5", "STARTTLS", "--tls require")
    smtp.arrived("QUIT")
    assert [line.split()[0] for line in smtp.commands] == [b"EHLO", b"QUIT"]
    assert site.deliver("--tls", "may").status == 0


def test_with_a_server_that_knows_no_ehlo_require_waits(site: Site) -> None:
    site.smtp(answers={"EHLO": b"502 5.5.1 what?\r\n"})
    site.assert_kept(site.deliver("--tls", "require"), "4.3.5", "STARTTLS")
    assert site.deliver("--tls", "may").status == 0


@pytest.mark.parametrize("answer", [b"454 4.7.0 not now\r\n", b"500 5.5.1 what?\r\n"])
def test_where_it_is_refused_may_goes_on_and_require_waits(site: Site, answer: bytes) -> None:
    smtp = site.smtp(offers=(b"STARTTLS",), answers={"STAR": answer})
    ended = site.deliver("--tls", "require", "--refused", "bounce")
    site.assert_kept(ended, "STARTTLS", answer.decode().strip())
    assert not any(line.startswith(b"MAIL") for line in smtp.commands)
    assert site.deliver("--tls", "may").status == 0


def test_over_a_unix_socket(site: Site, authority: Authority, verified: list[str]) -> None:
    with secured(site, certified(authority), unix=True):
        assert site.deliver("--tls", "require").status == 0
        assert site.deliver(*verified).status == 0
        assert len(site.delivered) == 2
        # A path is no name that a certificate could have.
        ended = site.deliver(*verified[:-2])
        assert ended.status == TEMPFAIL
        assert ended.output.startswith(b"4.3.5 "), ended
        assert b"--tls-name" in ended.output, ended
        assert len(site.delivered) == 2


# What was offered.


def test_what_was_offered_in_the_clear_is_forgotten(site: Site, authority: Authority) -> None:
    """RFC 3207 4.2: it could have been forged."""
    before = (b"STARTTLS", b"DSN", b"XFORWARD ADDR", b"SIZE", b"PIPELINING", b"8BITMIME")
    with secured(site, certified(authority), front={"offers": before}, offers=(b"HELP",)) as server:
        options = ["--tls", "require", "--envid", "Q", "--xforward", "ADDR=192.0.2.9"]
        assert site.deliver(*options).status == 0
        assert server.verbs[3:] == [b"MAIL", b"RCPT", b"DATA", b"QUIT"]
        assert server.smtp.commands[1].endswith(b">")
        site.assert_deferred(site.deliver(*options, message=EIGHT), "4.3.5", "8BITMIME")


def test_what_is_offered_under_tls_only_is_used(site: Site, authority: Authority) -> None:
    offers = (b"8BITMIME", b"DSN", b"XFORWARD ADDR", b"PIPELINING")
    with secured(site, certified(authority), offers=offers) as server:
        options = ["--tls", "may", "--envid", "Q", "--xforward", "ADDR=192.0.2.9"]
        assert site.deliver(*options, message=EIGHT).status == 0
        assert server.smtp.commands[1] == b"XFORWARD ADDR=192.0.2.9"
        assert server.smtp.commands[2].endswith(b"> BODY=8BITMIME ENVID=Q")


# With whom.


def test_without_an_authority_any_certificate_will_do(site: Site, authority: Authority) -> None:
    with secured(site, certified(authority, "else.example", expired=True)):
        assert site.deliver("--tls", "require").status == 0


def test_the_certificate_is_verified_by_the_given_authority(
    site: Site, tls: Secured, verified: list[str]
) -> None:
    assert site.deliver(*verified).status == 0
    assert tls.front.names == [NAME]


def test_a_certificate_for_an_address(
    site: Site, authority: Authority, verified: list[str]
) -> None:
    """It is verified, but is no name to ask for (RFC 6066 3)."""
    with secured(site, certified(authority, "127.0.0.1")) as server:
        assert site.deliver(*verified[:-2]).status == 0
        assert server.front.names == [None]


def test_the_servers_host_is_the_name_that_is_asked_for(
    site: Site, authority: Authority, verified: list[str]
) -> None:
    with secured(site, certified(authority, "localhost")) as server:
        site.hop = ("-S", server.front.where.replace("127.0.0.1", "localhost"))
        assert site.deliver(*verified[:-2]).status == 0
        assert site.deliver("--tls", "require").status == 0
        assert server.front.names == ["localhost", "localhost"]


REFUSED = {
    "another name": ("else.example", False, "Hostname mismatch"),
    "a part of the name": ("example.test", False, "Hostname mismatch"),
    "an address": ("127.0.0.1", False, "Hostname mismatch"),
    "expired": (NAME, True, "certificate has expired"),
}


@pytest.mark.parametrize("level", ["may", "require"])
@pytest.mark.parametrize(("name", "expired", "why"), REFUSED.values(), ids=REFUSED)
def test_a_certificate_that_is_not_right_keeps_the_message(
    site: Site,
    authority: Authority,
    verified: list[str],
    name: str,
    expired: bool,
    why: str,
    level: str,
) -> None:
    with secured(site, certified(authority, name, expired=expired)) as server:
        ended = site.deliver(*verified, "--tls", level, "--refused", "bounce")
        site.assert_kept(ended, "4.3.5", "certificate: ", why)
        assert server.smtp.commands == []


def test_an_unknown_authority_keeps_the_message(
    site: Site, tls: Secured, verified: list[str], tmp_path: Path
) -> None:
    for file in (str(Authority(tmp_path).file), "system"):
        ended = site.deliver(*verified, "--tls-ca", file)
        site.assert_kept(ended, "4.3.5", "certificate: ", "unable to get local issuer certificate")
    assert tls.smtp.commands == []


@pytest.mark.parametrize("content", [None, "", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_of_authorities_that_cannot_be_used_keeps_the_message(
    site: Site, tls: Secured, verified: list[str], tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "authorities"
    if content is not None:
        file.write_text(content)
    site.assert_kept(site.deliver(*verified, "--tls-ca", str(file)), "4.3.5", str(file))
    assert tls.smtp.commands == []


NAMES = [".example.test", "mx..example", "x" * 64 + ".example", "mx-.", "::1"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_server_can_have_is_no_bug(
    site: Site, tls: Secured, verified: list[str], name: str
) -> None:
    site.assert_kept(site.deliver(*verified, "--tls-name", name), "4.3.5")
    assert tls.smtp.commands == []


# What is believed.


@pytest.mark.parametrize("options", [[], ["--refused", "bounce"]], ids=["", "bounce"])
@pytest.mark.parametrize("injected", [b"250 2.0.0 ok\r\n", b"250-x\r\n250 DSN\r\n", b"x"])
def test_what_is_said_in_the_clear_after_starttls_is_not_believed(
    site: Site, authority: Authority, injected: bytes, options: list[str]
) -> None:
    """Whoever sits in between could have the answers to EHLO, MAIL and so on be his own."""
    front = {"ready": READY + injected}
    with secured(site, certified(authority), front=front) as server:
        ended = site.deliver("--tls", "may", *options)
        site.assert_kept(ended, "STARTTLS")
        assert server.front.names == []
        assert server.smtp.commands == []


@pytest.mark.parametrize("level", ["may", "require"])
def test_a_handshake_that_is_cut_keeps_the_message(
    site: Site, authority: Authority, level: str
) -> None:
    with secured(site, certified(authority), front={"quits": True}):
        ended = site.deliver("--tls", level, "--refused", "bounce")
        site.assert_kept(ended, "4.4.2", "TLS handshake")


def test_a_handshake_that_never_comes_is_waited_for_until_the_deadline(
    site: Site, authority: Authority
) -> None:
    with secured(site, certified(authority), front={"hold": "handshake"}):
        ended = site.deliver("--tls", "may", "--deadline", "0.5")
        site.assert_kept(ended, "4.4.7", "TLS handshake")


def test_a_server_with_whom_nothing_can_be_agreed_keeps_the_message(
    site: Site, authority: Authority
) -> None:
    context = certified(authority)
    # With the key of this certificate it has no cipher in common with anybody.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")
    with secured(site, context):
        site.assert_kept(site.deliver("--tls", "require"), "4.4.2", "TLS handshake")


STEPS = ["EHLO", "MAIL", "RCPT 1", "DATA", "dot"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("answer", [HANG_UP, b"421 4.3.2 closing\r\n", b"250 2.0.0 ok"])
def test_a_server_that_goes_keeps_the_message(
    site: Site, authority: Authority, step: str, answer: bytes
) -> None:
    with secured(site, certified(authority), answers={step: answer}, quits=step):
        ended = site.deliver("--tls", "require", "--refused", "bounce")
        site.assert_deferred(ended)
        unanswered = step == "dot" and not answer.endswith(b"\n")
        assert (b"possible duplicate" in ended.output) == unanswered, ended


@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_keeps_silent_is_waited_for_until_the_deadline(
    site: Site, authority: Authority, step: str
) -> None:
    with secured(site, certified(authority), hold=step):
        ended = site.deliver("--tls", "require", "--deadline", "0.5")
        site.assert_deferred(ended, "4.4.7")
        assert (b"possible duplicate" in ended.output) == (step == "dot"), ended


def test_a_no_for_good_bounces_if_wanted(site: Site, authority: Authority) -> None:
    with secured(site, certified(authority), answers={"dot": b"554 5.7.9 no\r\n"}):
        ended = site.deliver("--tls", "require", "--refused", "bounce")
        assert ended.status == 77
        assert ended.output.startswith(b"5.7.9 avcheck: ")


def test_a_yes_in_the_middle_of_the_content_is_no_yes(site: Site, authority: Authority) -> None:
    answers = {"body": b"250 2.0.0 taken\r\n"}
    with secured(site, certified(authority), answers=answers, quits="body"):
        site.assert_kept(site.deliver("--tls", "require", message=LARGE))


def test_a_server_that_keeps_silent_after_quit_is_not_waited_for(
    site: Site, authority: Authority
) -> None:
    with secured(site, certified(authority), hold="QUIT") as server:
        assert site.deliver("--tls", "require").status == 0
        server.smtp.arrived()


# Who else speaks by -S.


def test_c_encrypts_as_it_is_told(site: Site, tls: Secured, verified: list[str]) -> None:
    assert site.deliver("-c", *verified).status == 0
    assert tls.front.names == [NAME]
    assert site.delivered == [WIRE]
    site.assert_deferred(site.deliver("-c", *verified, "--tls-name", "else.example"))
    assert site.delivered == [WIRE]


def test_what_the_handler_sends_is_encrypted_likewise(
    site: Site, tls: Secured, verified: list[str]
) -> None:
    """Otherwise its report would go in the clear, or be refused, and the handler fail for ever."""
    site.clamd(says=b"Eicar FOUND")
    site.handler('$SENDMAIL -f "" -- postmaster <"$1" && rm "$1"')
    ended = site.deliver(*verified)
    assert ended.status == 0, ended
    assert tls.front.names == [NAME]
    (report,) = tls.smtp.messages
    assert report.recipients == (b"postmaster",)

"""Mail into which clamd does not look, but people do: what it says of it plain, and of ours.

docs/policy.md has the table.  When a clamd finds one of these in the plain mail, it has learned
it: change the table, and see whether what avcheck does about it can go.
"""

from __future__ import annotations

import email
import socket
import struct
from pathlib import Path

import pytest

from avcheck.settings import Settings
from tests.live.hidden import LONG, NESTED, SHOWN, TOP, parts, within
from tests.live.test_clamd_front import found, how  # noqa: F401 - a fixture
from tests.support.letters import EICAR
from tests.support.servers.clamd import Clamd

FRAME = struct.Struct("!L")

ALONE = {name: TOP + entity for name, entity in sorted(SHOWN.items())}
WITHIN = {name + ", in a part": within(entity) for name, entity in sorted(NESTED.items())}
FORWARDED = {
    name + ", forwarded": within(b"Content-Type: message/rfc822\n\n" + mail)
    for name, mail in ALONE.items()
}
HIDDEN = {**ALONE, **WITHIN, **FORWARDED, **{name: TOP + mail for name, mail in LONG.items()}}


def found_plain(clamd: Clamd, mail: bytes) -> bool:
    """Whether clamd finds it in what a mail server would give it."""
    mail = b"Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\n" + mail
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(clamd.socket))
        connection.sendall(b"zINSTREAM\0" + FRAME.pack(len(mail)) + mail + FRAME.pack(0))
        said = b"".join(iter(lambda: connection.recv(4096), b""))
    assert said.endswith((b" FOUND\0", b": OK\0")), said
    return said.endswith(b" FOUND\0")


def attached(mail: bytes) -> list[bytes]:
    """What a person sees in it."""
    walk = email.message_from_bytes(mail).walk()
    return [bytes(part.get_payload(decode=True) or b"") for part in walk]


@pytest.mark.parametrize("name", sorted(HIDDEN))
def test_a_person_sees_the_virus_and_clamd_alone_does_not(clamd: Clamd, name: str) -> None:
    mail = HIDDEN[name]
    assert EICAR in attached(mail.replace(b"\r", b" "))  # as Postfix hands it on
    assert not found_plain(clamd, mail)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("name", sorted(HIDDEN))
def test_behind_avcheck_it_is_found(
    how: Settings,  # noqa: F811
    tmp_path: Path,
    name: str,
    end: bytes,
) -> None:
    assert found(tmp_path, HIDDEN[name].replace(b"\n", end), how)


def test_what_is_changed_hides_nothing_that_clamd_finds(
    clamd: Clamd,
    how: Settings,  # noqa: F811
    tmp_path: Path,
) -> None:
    for mail in (TOP + parts(), within(parts())):
        assert found_plain(clamd, mail)
        assert found(tmp_path, mail, how)

"""A second connection to the same place, for a peer that hangs up after each answer.

That it is encrypted if the first was is in tests/unit/test_tls.py.
"""

from __future__ import annotations

import socket
from pathlib import Path
from time import monotonic

import pytest

from avcheck import conn
from avcheck.address import Address
from avcheck.exits import Defer
from tests.support.wire import PATIENCE


def test_a_second_connection_begins_with_nothing_heard(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(2)
        place = Address(path=str(tmp_path / "s").encode())
        with conn.connect((place,), monotonic() + PATIENCE) as link:
            first, _ = server.accept()
            first.sendall(b"one\ntwo")
            assert link.line() == b"one"
            first.close()
            link.again()
            second, _ = server.accept()
            second.sendall(b"three\n")
            assert link.line() == b"three"
            assert link.gone is None
            second.close()


def test_a_second_connection_may_fail(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        place = Address(path=str(tmp_path / "s").encode())
        link = conn.connect((place,), monotonic() + PATIENCE)
    (tmp_path / "s").unlink()
    with link, pytest.raises(Defer, match="is the daemon running"):
        link.again()

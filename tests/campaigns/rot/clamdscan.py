"""The same byte spoilt for clamdscan, ClamAV's own client: what avcheck cannot know, nobody can."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from avcheck.seen import FRONT
from tests.campaigns.rot.kinds import Rot
from tests.campaigns.rot.middle import Middle
from tests.campaigns.rot.places import INFECTED
from tests.support.servers import packages
from tests.support.servers.clamd import Clamd

CLEAN = 0
FOUND = 1


def status(rot: Rot | None, clamd: Clamd, directory: Path) -> int:
    """What clamdscan exits with for the infected message, as a stream over TCP."""
    packages.need("clamdscan", commands=["clamdscan"])
    directory.mkdir()
    file = directory / "message"
    file.write_bytes(FRONT + INFECTED)
    with Middle(("127.0.0.1", clamd.port)) as middle:
        host, _, port = middle.address.partition(":")
        config = directory / "clamd.conf"
        config.write_text(f"TCPAddr {host}\nTCPSocket {port}\n")
        middle.begin(rot, lambda: True)
        ended = subprocess.run(
            [packages.find("clamdscan"), "-c", str(config), "--stream", "--no-summary", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        middle.end()
    return ended.returncode


def compare(rots: Sequence[Rot], clamd: Clamd, directory: Path, workers: int) -> int:
    """For how many of these clamdscan says that the infected message is clean.

    Raises AssertionError if it does not find it where nothing is spoilt.
    """
    directory.mkdir()
    assert status(None, clamd, directory / "whole") == FOUND

    def of(number: int) -> int:
        return status(rots[number], clamd, directory / str(number))

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(of, range(len(rots)))).count(CLEAN)

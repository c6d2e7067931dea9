"""The two programs of ClamAV's, run on real messages."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.emulators.asking import Avcheck
from tests.live.letters import EICAR, letter, with_attachment
from tests.servers import clamd as server
from tests.servers import packages
from tests.servers.clamd import Clamd

LETTERS = {
    "clean": (letter(), ("clean", ())),
    "virus": (with_attachment(EICAR, "eicar.com"), ("infected", (server.EICAR,))),
    "not a virus": (with_attachment(EICAR[::-1], "racie.com"), ("clean", ())),
}


@pytest.fixture
def ours(command: Path, tmp_path: Path) -> Avcheck:
    return Avcheck(command, tmp_path)


@pytest.mark.parametrize("kind", LETTERS)
def test_clamscan(kind: str, ours: Avcheck) -> None:
    packages.need("clamav", commands=["clamscan"])
    words = f"--database={server.SIGNATURES} --no-summary --infected --stdout {{path}}"
    message, expected = LETTERS[kind]
    answer = ours.ask(f"command:clamscan?args={quote(words)}", message)
    assert (answer.verdict, answer.names) == expected, answer


def test_clamscan_without_signatures_is_no_answer(ours: Avcheck, tmp_path: Path) -> None:
    packages.need("clamav", commands=["clamscan"])
    (tmp_path / "none").mkdir()
    words = f"--database={tmp_path}/none --no-summary {{path}}"
    answer = ours.ask(f"command:clamscan?args={quote(words)}", letter())
    assert answer.verdict == "failed"
    assert "exit status 2" in answer.said


@pytest.mark.parametrize("kind", LETTERS)
def test_clamdscan(kind: str, ours: Avcheck, clamd: Clamd) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    words = f"--config-file={clamd.directory}/clamd.conf --fdpass --no-summary --stdout {{path}}"
    message, expected = LETTERS[kind]
    answer = ours.ask(f"command:clamdscan?args={quote(words)}", message)
    assert (answer.verdict, answer.names) == expected, answer


def test_clamdscan_without_its_daemon_is_no_answer(ours: Avcheck, tmp_path: Path) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    configuration = tmp_path / "clamd.conf"
    configuration.write_text(f"LocalSocket {tmp_path}/gone\n")
    words = f"--config-file={configuration} --fdpass --no-summary {{path}}"
    answer = ours.ask(f"command:clamdscan?args={quote(words)}", letter())
    assert answer.verdict == "failed"

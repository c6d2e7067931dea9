"""The two programs of ClamAV's, run on real messages with the words that their rows have."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.emulators.asking import Avcheck
from tests.live.letters import EICAR, letter, with_attachment
from tests.live.test_clamd_hard import encrypted_zip
from tests.servers import clamd as server
from tests.servers import packages
from tests.servers.clamd import Clamd

LETTERS = {
    "clean": (letter(), ("clean", ())),
    "virus": (with_attachment(EICAR, "eicar.com"), ("infected", (server.EICAR,))),
    "not a virus": (with_attachment(EICAR[::-1], "racie.com"), ("clean", ())),
}

# What a scanner has not looked into, with a virus in it or behind it.
UNSEEN = {
    "too large": (
        with_attachment(bytes(2_000_000) + EICAR, "a.bin"),
        ("unscannable", ("Heuristics.Limits.Exceeded.MaxFileSize",)),
    ),
    "encrypted": (
        with_attachment(encrypted_zip(b"x" * 100), "a.zip"),
        ("encrypted", ("Heuristics.Encrypted.Zip",)),
    ),
}


@pytest.fixture
def ours(command: Path, tmp_path: Path) -> Avcheck:
    return Avcheck(command, tmp_path)


def private(name: str, directory: Path, *words: str) -> str:
    """A program of that name which is the real one, with more words: our files, our limits."""
    program = directory / name
    program.write_text(f'#!/bin/sh\nexec {packages.find(name)} {" ".join(words)} "$@"\n')
    program.chmod(0o755)
    return f"command:{program}"


@pytest.fixture
def clamscan(tmp_path: Path) -> str:
    packages.need("clamav", commands=["clamscan"])
    return private("clamscan", tmp_path, f"--database={server.SIGNATURES}", "--max-filesize=1M")


@pytest.mark.parametrize("kind", [*LETTERS, *UNSEEN])
def test_clamscan(kind: str, ours: Avcheck, clamscan: str) -> None:
    message, expected = {**LETTERS, **UNSEEN}[kind]
    answer = ours.ask(clamscan, message)
    assert (answer.verdict, answer.names) == expected, answer


@pytest.mark.parametrize("kind", UNSEEN)
def test_without_the_words_of_the_row_clamscan_lets_pass_what_it_has_not_seen(
    kind: str, ours: Avcheck, clamscan: str
) -> None:
    # What the two options of the row are for.  Should this fail, they are not needed any more.
    message, _ = UNSEEN[kind]
    answer = ours.ask(f"{clamscan}?args={quote('--no-summary {path}')}", message)
    assert answer.verdict == "clean"


def test_clamscan_without_signatures_is_no_answer(ours: Avcheck, tmp_path: Path) -> None:
    packages.need("clamav", commands=["clamscan"])
    (tmp_path / "none").mkdir()
    answer = ours.ask(private("clamscan", tmp_path, f"--database={tmp_path}/none"), letter())
    assert answer.verdict == "failed"
    assert "exit status 2" in answer.said


@pytest.mark.parametrize("kind", LETTERS)
def test_clamdscan(kind: str, ours: Avcheck, clamd: Clamd, tmp_path: Path) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    program = private("clamdscan", tmp_path, f"--config-file={clamd.directory}/clamd.conf")
    message, expected = LETTERS[kind]
    answer = ours.ask(program, message)
    assert (answer.verdict, answer.names) == expected, answer


@pytest.mark.parametrize("kind", UNSEEN)
def test_clamdscan_tells_what_its_daemon_was_told_to_tell(
    kind: str, ours: Avcheck, tmp_path: Path
) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    limits = {"AlertExceedsMax": "yes", "AlertEncrypted": "yes", "MaxFileSize": "1M"}
    with Clamd(tmp_path / "d", settings=limits) as strict:
        program = private("clamdscan", tmp_path, f"--config-file={strict.directory}/clamd.conf")
        message, expected = UNSEEN[kind]
        answer = ours.ask(program, message)
    assert (answer.verdict, answer.names) == expected, answer


def test_clamdscan_without_its_daemon_is_no_answer(ours: Avcheck, tmp_path: Path) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    configuration = tmp_path / "clamd.conf"
    configuration.write_text(f"LocalSocket {tmp_path}/gone\n")
    answer = ours.ask(private("clamdscan", tmp_path, f"--config-file={configuration}"), letter())
    assert answer.verdict == "failed"

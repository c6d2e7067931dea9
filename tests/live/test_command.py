"""The two programs of ClamAV's, run on real messages with the words that their rows have."""

from __future__ import annotations

import shlex
import socket
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.live.test_clamd_hard import encrypted_zip
from tests.support.emulators.asking import Avcheck
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import clamd as server
from tests.support.servers import packages
from tests.support.servers.clamd import Clamd

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
    program.write_text(f'#!/bin/sh\nexec {packages.find(name)} {shlex.join(words)} "$@"\n')
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


# What clamdscan says OK to, and has not looked at whole.

BIG_VIRUS = with_attachment(bytes(1_500_000) + EICAR, "a.bin")


def configured(directory: Path, **lines: str) -> str:
    """The words for clamdscan with a configuration of its own."""
    configuration = directory / "client.conf"
    configuration.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    return f"--config-file={configuration}"


@pytest.mark.parametrize("whose", ["the client's", "the daemon's", "both's"])
def test_a_path_that_is_excluded_is_scanned_all_the_same(
    whose: str, ours: Avcheck, tmp_path: Path
) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    excluded = {"ExcludePath": f"^{tmp_path}"}
    with Clamd(tmp_path / "d", settings=excluded if whose != "the client's" else {}) as daemon:
        words = {"LocalSocket": str(daemon.socket)}
        words |= excluded if whose != "the daemon's" else {}
        program = private("clamdscan", tmp_path, configured(tmp_path, **words))
        for message, expected in LETTERS.values():
            answer = ours.ask(program, message)
            assert (answer.verdict, answer.names) == expected, answer
        # The way of other front ends: OK, and nobody has looked.
        by_path = f"?args={quote('--no-summary --fdpass {path}')}"
        answer = ours.ask(program + by_path, LETTERS["virus"][0])
    if whose == "the daemon's":
        assert answer.verdict == "infected"
    else:
        assert answer.verdict == "failed"
        assert "did not say that it found nothing" in answer.said
        assert ": OK" in answer.said


def test_a_limit_for_streams_does_not_count_by_descriptor(ours: Avcheck, tmp_path: Path) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    with Clamd(tmp_path / "d", settings={"StreamMaxLength": "1M"}) as daemon:
        words = configured(tmp_path, LocalSocket=str(daemon.socket), StreamMaxLength="1M")
        answer = ours.ask(private("clamdscan", tmp_path, *words.split()), BIG_VIRUS)
    assert (answer.verdict, answer.names) == ("infected", (server.EICAR,))


@pytest.mark.parametrize("message", [letter(), BIG_VIRUS], ids=["small", "cut"])
@pytest.mark.parametrize("way", ["over TCP", "--stream"])
def test_what_was_streamed_is_not_clean(
    way: str, message: bytes, ours: Avcheck, tmp_path: Path
) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    with Clamd(tmp_path / "d", tcp=True) as daemon:
        if way == "--stream":
            words = f"{way} " + configured(
                tmp_path, LocalSocket=str(daemon.socket), StreamMaxLength="1M"
            )
        else:
            words = configured(
                tmp_path, TCPSocket=str(daemon.port), TCPAddr="127.0.0.1", StreamMaxLength="1M"
            )
        program = private("clamdscan", tmp_path, *words.split())
        answer = ours.ask(program, message)
        found = ours.ask(program, LETTERS["virus"][0])
    assert answer.verdict == "failed"
    assert "did not say that it found nothing; exit status 0: stream: OK" in answer.said
    assert found.verdict == "infected"


@pytest.mark.parametrize("word", ["--allmatch", "--multiscan", "--infected", "-v", "--wait"])
def test_other_words_for_clamdscan_change_nothing(
    word: str, ours: Avcheck, clamd: Clamd, tmp_path: Path
) -> None:
    packages.need("clamdscan", commands=["clamdscan"])
    program = private("clamdscan", tmp_path, word, f"--config-file={clamd.directory}/clamd.conf")
    for message, expected in LETTERS.values():
        answer = ours.ask(program, message)
        assert (answer.verdict, answer.names) == expected, answer


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\0",
        b"OK\0",
        b"fd[10]: OK",
        b"fd[10]: Excluded\0",
        b"fd[10]: Empty file\0",
        b"fd[10]: Access denied. ERROR\0",
        b"stream: OK\0",
        b"COMMAND READ TIMED OUT\0",
    ],
)
def test_a_reply_that_is_not_the_one_is_not_clean(
    reply: bytes, ours: Avcheck, tmp_path: Path
) -> None:
    # With a path clamdscan 1.4.6 says OK to whatever is whole and neither FOUND nor an error.
    packages.need("clamdscan", commands=["clamdscan"])
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def answer_once() -> None:
            peer, _ = listening.accept()
            with peer:
                heard = b""
                while b"zFILDES\0\0" not in heard and (piece := peer.recv(4096)):
                    heard += piece
                peer.sendall(reply)

        thread = threading.Thread(target=answer_once)
        thread.start()
        program = private("clamdscan", tmp_path, configured(tmp_path, LocalSocket=f"{tmp_path}/s"))
        answer = ours.ask(program, letter())
        thread.join()
    assert answer.verdict == "failed", answer


# And clamscan.


@pytest.mark.parametrize("word", ["--exclude=/", "--include=nothing", "--infected", "--quiet"])
def test_what_clamscan_was_told_to_leave_out_or_not_to_name_is_not_clean(
    word: str, ours: Avcheck, clamscan: str, tmp_path: Path
) -> None:
    program = private("clamscan", tmp_path, f"--database={server.SIGNATURES}", word)
    answer = ours.ask(program, letter())
    assert answer.verdict == "failed"
    assert "did not say that it found nothing" in answer.said


def test_clamscan_names_the_file_as_we_do_though_a_link_leads_there(
    command: Path, clamscan: str, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    linked = Avcheck(command, tmp_path / "link")
    assert linked.ask(clamscan, letter()).verdict == "clean"


def test_words_for_infected_win_over_clamscans_status(
    ours: Avcheck, clamscan: str, tmp_path: Path
) -> None:
    """Status 2, for a file that is not there, and a virus in the one that is."""
    program = private(
        "clamscan", tmp_path, f"--database={server.SIGNATURES}", f"{tmp_path}/nonesuch"
    )
    answer = ours.ask(program, LETTERS["virus"][0])
    assert (answer.verdict, answer.names) == ("infected", (server.EICAR,)), answer
    answer = ours.ask(program, letter())
    assert answer.verdict == "failed", answer

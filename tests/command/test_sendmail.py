"""Handing on by a sendmail program: status 0 is the only success."""

from __future__ import annotations

import os
import pty
import random
from pathlib import Path

import pytest

from tests.support.mta import MAIL, RECIPIENT, SENDER, Ended, Site
from tests.support.program import STOP, STOP_WITH_CHILD


def test_the_program_gets_the_message_and_nothing_of_the_caller(site: Site) -> None:
    sendmail = site.sendmail('umask >"$notes/umask"; readlink /proc/$$/cwd >"$notes/cwd"')
    addresses = ["-v@example.net", "two words@example.net", "*", "$(id)", "caf\udce9@x"]
    ended = site.deliver(sender="", recipients=addresses)
    assert ended.status == 0
    assert sendmail.argv[1:] == [b"-f", b"", b"--", *map(os.fsencode, addresses)]
    assert sendmail.stdin == MAIL
    assert sendmail.environment == {b"PATH": b"/bin:/usr/bin"}
    assert sendmail.note("umask") == b"0077\n"
    assert site.left == []


# What a program can do with a standard input that is a file.
ELSEWHERE = {
    "opens it anew": 'cat /dev/stdin >"$notes/other"',
    "opens it anew for another": 'cat </dev/stdin >"$notes/other"',
    "goes back to its beginning": (
        "python3 -c 'import os, sys; os.read(0, 9); os.lseek(0, 0, 0);"
        ' open(sys.argv[1], "wb").write(open(0, "rb").read())\' "$notes/other"'
    ),
}


@pytest.mark.parametrize("header", [(), ("-h", "mx")], ids=["plain", "header"])
@pytest.mark.parametrize("how", ELSEWHERE)
def test_whichever_way_it_reads_it_finds_the_message_and_nothing_else(
    site: Site, how: str, header: tuple[str, ...]
) -> None:
    program = site.directory / "odd-sendmail"
    notes = site.directory / "odd-notes"
    notes.mkdir()
    program.write_text(f"#!/bin/sh\nnotes='{notes}'\n{ELSEWHERE[how]}\n")
    program.chmod(0o755)
    site.hop = ["-S", f"{program} -G -i"]
    ended = site.deliver(*header)
    assert ended.status == 0, ended
    found = (notes / "other").read_bytes()
    if header:
        first, _, found = found.partition(b"\n")
        assert first.startswith(b"X-AV-Checked: ")
    assert found == MAIL


SPELLINGS = {
    "one argument": ["-S", "@ -G -i"],
    "one for each word": ["-S", "@", "-S", "-G", "-S", "-i"],
    "both": ["-S", "@", "-S", "-G -i"],
    "long, with blanks": ["--sendmail=  @ ", "--sendmail", " -G\t-i "],
}


@pytest.mark.parametrize("client", [[], ["-c"]], ids=["scan", "-c"])
@pytest.mark.parametrize("words", SPELLINGS.values(), ids=SPELLINGS)
def test_spellings_of_the_program(site: Site, words: list[str], client: list[str]) -> None:
    sendmail = site.sendmail()
    site.hop = [word.replace("@", str(sendmail.path)) for word in words]
    assert site.deliver(*client).status == 0
    assert sendmail.argv[1:] == [b"-G", b"-i", b"-f", SENDER, b"--", RECIPIENT]
    assert sendmail.stdin == MAIL


def test_its_words_are_reported_and_made_harmless(site: Site) -> None:
    sendmail = site.sendmail("printf 'queued\\n5.7.1 \\033[31mred \\377'; echo too >&2")
    name = os.fsencode(sendmail.path)
    ended = site.deliver()
    assert ended.status == 0
    assert ended.output.startswith(b"clean: clamd ")
    assert ended.output.endswith(b"; %b queued 5.7.1 ?[31mred ?too\n" % name)


@pytest.mark.parametrize("status", [1, 2, 64, 69, 75, 77, 99, 126, 127, 255])
def test_any_other_status_defers(site: Site, status: int) -> None:
    sendmail = site.sendmail(f"echo '5.7.1 no such user'; exit {status}")
    ended = site.deliver()
    site.assert_kept(
        ended, "4.3.0 avcheck: ", str(sendmail.path), f"status {status}", "5.7.1 no such user"
    )
    site.assert_kept(site.deliver("-c"), f"status {status}")


def test_a_program_that_is_killed_may_have_taken_it(site: Site) -> None:
    site.sendmail("kill -KILL $$")
    site.assert_kept(site.deliver(), "possible duplicate", "killed by signal 9")


def test_a_program_that_hangs_is_killed_with_all_it_started(site: Site) -> None:
    sendmail = site.sendmail(STOP_WITH_CHILD)
    running = site.start(site.words("--deadline", "0.5")).feed()
    sendmail.arrived()
    site.assert_kept(running.end(), "possible duplicate", "did not end in time and was killed")
    sendmail.ended()


# What a program that ends with 0 has read, in shell words.
HALF_READ = {
    "nothing": ":",
    "one byte": "head -c 1 >/dev/null",
    "all but one byte": "head -c $((BYTES - 1)) >/dev/null",
    "to a lone dot": 'while read -r line && [ "$line" != . ]; do :; done',
}


def reader(site: Site, script: str) -> Path:
    """A sendmail program that reads as the shell words say, and ends with 0."""
    program = site.directory / "reader"
    program.write_text(f"#!/bin/sh\n{script}\nexit 0\n")
    program.chmod(0o755)
    site.hop = ("-S", str(program))
    return program


@pytest.mark.parametrize("script", HALF_READ.values(), ids=HALF_READ)
@pytest.mark.parametrize("size", [0, 1_000_000], ids=["small", "large"])
@pytest.mark.parametrize("how", [[], ["-h", "here"], ["-c"]], ids=["scan", "-h", "-c"])
def test_a_program_that_has_not_read_it_all_has_not_taken_it(
    site: Site, how: list[str], size: int, script: str
) -> None:
    message = MAIL + b"x" * size
    reader(site, script.replace("BYTES", str(len(message))))
    ended = site.deliver(*how, message=message)
    words = "status 0 without having read the whole message"
    site.assert_kept(ended, "4.3.0", "possible duplicate", words)


def test_what_is_missing_among_the_words_of_sendmail_is_said_then(site: Site) -> None:
    program = reader(site, ":").rename(site.directory / "sendmail")
    site.hop = ("-S", str(program))
    site.assert_kept(site.deliver(), "without having read", "without -i in -S")


@pytest.mark.parametrize("how", [[], ["-h", "here"], ["-c"]], ids=["scan", "-h", "-c"])
@pytest.mark.parametrize("size", [0, 1_000_000], ids=["small", "large"])
@pytest.mark.parametrize("script", ["cat >/dev/null", "(cat; cat) | cat >/dev/null"])
def test_a_program_that_has_read_it_all_has_taken_it(
    site: Site, how: list[str], size: int, script: str
) -> None:
    reader(site, script)
    assert site.deliver(*how, message=MAIL + b"x" * size).status == 0


@pytest.mark.parametrize(("script", "status"), [("cat >/dev/null", 0), ("read -r line", 75)])
def test_with_c_a_file_may_be_standard_input(site: Site, script: str, status: int) -> None:
    letter = site.directory / "letter"
    letter.write_bytes(MAIL)
    reader(site, script)
    with open(letter, "rb") as stdin:
        assert site.start(site.words("-c"), stdin=stdin.fileno()).end().status == status


def test_with_c_what_is_not_the_end_is_not_taken_for_it(site: Site) -> None:
    """The program ends before the message does, and has read all that there was."""
    reader(site, f"head -c {len(MAIL)} >/dev/null")
    running = site.start(site.words("-c"))
    os.write(running.stdin, MAIL)
    site.assert_kept(running.wait(), "without having read the whole message")


def test_with_c_of_a_terminal_it_is_not_known(site: Site) -> None:
    """Its end is no end, and what a person types is believed to be what he meant."""
    reader(site, "cat >/dev/null")
    mine, theirs = pty.openpty()
    running = site.start(site.words("-c"), stdin=theirs)
    os.write(mine, b"Subject: x\n\nHello.\n\x04")
    assert running.end().status == 0
    os.close(mine)
    os.close(theirs)


def test_a_program_that_writes_megabytes_is_read_and_cut(site: Site) -> None:
    sendmail = site.sendmail("head -c 5000000 /dev/zero | tr '\\0' x; exit 0")
    ended = site.deliver()
    assert ended.status == 0
    assert len(ended.output) < 1000
    assert sendmail.stdin == MAIL


def test_what_it_leaves_in_the_background_is_not_waited_for(site: Site) -> None:
    sendmail = site.sendmail(f"({STOP}) & exit 0")
    ended = site.start(site.words()).end(MAIL)
    assert ended.status == 0
    sendmail.arrived()
    sendmail.release()
    sendmail.ended()


@pytest.mark.parametrize("kind", ["missing", "not executable", "a directory", "no program"])
def test_a_program_that_cannot_be_run(site: Site, tmp_path: Path, kind: str) -> None:
    program = tmp_path / "none"
    if kind == "a directory":
        program.mkdir()
    elif kind != "missing":
        program.write_bytes(b"\x7fELF")
        program.chmod(0o755 if kind == "no program" else 0o644)
    site.hop = ("-S", str(program))
    for option in ("-n", "-c"):
        site.assert_kept(site.deliver(*([option] if option == "-c" else [])), str(program))
    assert site.deliver("-n").status == 0  # it is not needed then


def test_with_a_header_the_rest_is_unchanged(site: Site) -> None:
    sendmail = site.sendmail()
    message = random.Random(1).randbytes(2_000_000)
    assert site.deliver("-h", "here", message=message).status == 0
    header, _, rest = sendmail.stdin.partition(b"\n")
    assert header.startswith(b"X-AV-Checked: ")
    assert rest == message
    assert site.left == []


def test_a_status_of_good_mail_is_ours_not_the_programs(site: Site) -> None:
    site.sendmail("exit 0")
    assert site.deliver("-g", "7") == Ended(7, b"")
    site.sendmail("exit 7")
    assert site.deliver("-g", "7").status == 75

"""avcheck-smtp says nothing but its dialogue to the client, who is at all three descriptors.

Whatever is closed, broken or starved: every byte that the client hears is part of a reply, none of
them says that a message was taken which was not, and none is a refusal for good.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.fakes import PATIENCE
from tests.support.mta import Site
from tests.support.smtp_client import CONTENT, REPLY, WIRE, spawn, spawned, with_own_package, words

WHOLE = b"EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n"


def heard(site: Site, line: Sequence[str]) -> list[bytes]:
    """All that a client hears who tries to send a message."""
    said = b""
    with spawned(line) as talk:
        talk.socket.settimeout(PATIENCE)
        for words_, awaited in ((b"", 1), (WHOLE, 4), (b"DATA\r\n", 5), (WIRE, 6)):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                talk.say(words_)  # even if it has hung up it may have said something before
            while len(REPLY.findall(said)) < awaited:
                try:
                    piece = talk.socket.recv(65536)
                except ConnectionResetError:
                    piece = b""
                said += piece
                if not piece:
                    break
            if not re.search(rb"^(2|3)\d\d [^\r\n]*\r\n\Z", said, re.MULTILINE):
                break
        talk.end()
    replies = [each.group() for each in REPLY.finditer(said)]
    assert b"".join(replies) == said
    assert not any(each.startswith(b"5") for each in replies), replies
    assert (len(replies) == 6 and replies[5][:1] == b"2") == bool(site.delivered), replies
    assert site.left == []
    return replies


def limited(limit: str, line: Sequence[str]) -> list[str]:
    return ["/bin/sh", "-c", f'{limit}; exec "$@"', "sh", *line]


def test_a_message_is_sent_like_this(site: Site) -> None:
    assert len(heard(site, words(site))) == 6
    assert site.delivered == [CONTENT]


def test_wrong_usage_is_not_the_client_s_business(site: Site) -> None:
    for wrong in (["-f", "a@b"], ["-c"], ["-n"], ["-g", "3"], ["--nonesuch"], ["a@b"]):
        assert heard(site, [*words(site), *wrong]) == [b"421 4.3.5 Server configuration error\r\n"]
    for asked in ("--help", "--version"):
        assert heard(site, [*words(site), asked]) == [b"421 4.3.5 Server configuration error\r\n"]
    assert heard(site, words(site)[:1]) == [b"421 4.3.5 Server configuration error\r\n"]


def test_a_person_hears_what_is_wrong(site: Site) -> None:
    ended = site.at_a_terminal([*words(site), "-f", "a@b"])
    assert ended.status == 64
    assert b"-f: an option of avcheck only" in ended.output
    ended = site.at_a_terminal([words(site)[0], "--version"])
    assert ended.output.startswith(b"avcheck-smtp ")


@pytest.mark.parametrize("memory", [*range(4000, 40_000, 2000)])
def test_with_little_memory(site: Site, memory: int) -> None:
    heard(site, limited(f"ulimit -v {memory}", words(site)))


@pytest.mark.parametrize("files", range(11, 20))  # with fewer, dash cannot read any script
def test_with_few_files(site: Site, files: int) -> None:
    heard(site, limited(f"ulimit -n {files}", words(site)))


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_with_descriptors_closed(site: Site, closed: str) -> None:
    replies = heard(site, ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words(site)])
    assert len(replies) == 6


def test_python_s_own_words_lead_nowhere(site: Site) -> None:
    """Whatever starts it, and says nothing of descriptor 2."""
    code = "from avcheck.smtpd.__main__ import main; main()"
    with spawned([sys.executable, "-c", code, *words(site)[1:]]) as talk:
        talk.hello()
        for number in (0, 1, 2):
            assert os.readlink(f"/proc/{talk.pid}/fd/{number}") == "/dev/null"
        assert talk.send().startswith(b"250 ")
        talk.quit()


def test_without_a_connection(site: Site) -> None:
    for standard in ("<&-", "</dev/null"):
        line = ["/bin/sh", "-c", f'exec "$@" {standard}', "sh", *words(site)]
        done = subprocess.run(line, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode in (0, 75)
        assert done.stderr == b""


def test_two_pipes_are_a_connection_too(site: Site) -> None:
    """As swaks --pipe has it."""
    done = subprocess.run(
        words(site), input=WHOLE, capture_output=True, timeout=PATIENCE, check=False
    )
    assert REPLY.sub(b"", done.stdout) == b""
    assert done.stdout.count(b"250 ") == 3


@pytest.fixture
def broken(site: Site, command: Path) -> Path:
    """The directory of a package of its own, which is to be broken."""
    return with_own_package(site, command)


def test_a_copy_of_it_runs(site: Site, broken: Path) -> None:
    assert broken.exists()
    assert len(heard(site, words(site))) == 6


MODULES = (
    *("__init__", "loading", "smtpd.__main__", "smtpd.main", "smtpd.session", "smtpd.dialogue"),
    *("spool", "scanners.clamd", "run", "exits"),
)


@pytest.mark.parametrize("how", ["missing", "empty", "wrong"])
@pytest.mark.parametrize("module", MODULES)
def test_with_a_module_that_is_broken(site: Site, broken: Path, module: str, how: str) -> None:
    path = broken.joinpath(*module.split(".")).with_suffix(".py")
    if how == "missing":
        path.unlink()
    else:
        path.write_text("" if how == "empty" else "print('550 no', 1 / 0)\n")
    heard(site, words(site))
    assert site.delivered == [] or module == "__init__"


def test_without_a_python(site: Site, broken: Path) -> None:
    (broken.parents[3] / "pyvenv.cfg").touch()  # so it is to be beside the command, and is not
    assert heard(site, words(site)) == []


def test_a_bug_in_the_middle_ends_the_session(site: Site, broken: Path) -> None:
    policy = broken / "policy.py"
    policy.write_text(policy.read_text().replace("def sum_up(", "def summed_up("))
    replies = heard(site, words(site))
    assert replies[-1].startswith(b"421 4.3.0 bug or broken installation: AttributeError")


def test_what_programs_say_is_not_heard(site: Site) -> None:
    site.clamd(says=b"Eicar FOUND")
    site.handler('echo "550 out"; echo "550 err" >&2; rm "$1"')
    with spawn(site) as talk:
        talk.hello()
        reply = talk.send()
        assert reply.startswith(b"250 2.0.0 infected: Eicar; handler.")
        talk.quit()
    assert os.listdir(site.spool) == []

"""After the answer to the final dot: the answer to QUIT, once, or the message may be there twice.

A server that sees an end where there is none says yes to a part of the message; what it says
to the rest comes later, and no look at one instant tells.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from avcheck.deliver.smtp_replies import Parting, Reply
from avcheck.exits import TEMPFAIL
from tests.support.fakes import Server
from tests.support.mta import MAIL, Site

YES = Reply(250, (b"taken",))


def parted(*lines: bytes, rest: bytes = b"") -> Parting:
    parting = Parting(YES)
    for line in lines:
        assert not parting.over, "it wants no more"
        parting.add(line)
    parting.end(rest)
    return parting


@pytest.mark.parametrize(
    ("lines", "rest"),
    [
        ((), b""),
        ((b"221 bye\r",), b""),
        ((b"221-good\r", b"221 bye"), b""),
        ((b"250 bye",), b""),
        ((b"221-good",), b"2"),
        ((), b"2"),
        ((), b"221 by"),
    ],
)
def test_a_goodbye_once_or_none_contradicts_nothing(lines: tuple[bytes, ...], rest: bytes) -> None:
    assert parted(*lines, rest=rest).doubt == ""


@pytest.mark.parametrize(
    ("lines", "rest"),
    [
        ((b"554 no",), b""),
        ((b"421 not taken",), b""),
        ((), b"4"),
        ((), b"421"),
        ((b"500-what",), b""),
        ((b"451 later",), b""),
        ((b"354 go",), b""),
        ((b"what?",), b""),
        ((b"",), b""),
        ((b"250 taken", b"221 bye"), b""),
        ((b"250 taken", b"250-taken"), b""),
        ((b"250 taken",), b"2"),
        ((b"221 bye",), b"5"),
        ((b"221-good", b"500 bye"), b""),
        ((), b"5"),
        ((), b"45"),
        ((), b"x"),
    ],
)
def test_anything_more_or_other_does(lines: tuple[bytes, ...], rest: bytes) -> None:
    said = (*lines, rest)
    parting = parted(*lines, rest=rest)
    assert parting.doubt.startswith("more than one answer: 250 taken; ")
    assert any(parting.doubt.endswith(f"; {line.decode()}") for line in said)


@pytest.mark.parametrize("line", [b"221 bye", b"421 closing", b"554 no", b"what?"])
def test_nobody_waits_after_the_last_word(line: bytes) -> None:
    assert parted(line).over


@pytest.mark.parametrize("line", [b"221-good", b"250 bye", b"251-a"])
def test_after_any_other_yes_the_end_is_waited_for(line: bytes) -> None:
    assert not parted(line).over


# Servers with ends of their own.

ENDS = {"CR": b"\r", "LF": b"\n", "CRLF": b"\r\n"}
OTHER_ENDS = [(first, last) for first in ENDS for last in ENDS if (first, last) != ("CRLF", "CRLF")]

# A dot between any two of them, and a command where the rest of the message begins.
CONTENTS = {
    f"{first}.{last}": b"Subject: x\n\nHello." + ENDS[first] + b"." + ENDS[last] + rest
    for first, last in [*OTHER_ENDS, ("CRLF", "CRLF")]
    for rest in (b"QUIT\r\nBye.\n",)
}


class Lax(Server):
    """A mail server that takes a dot between these two for the end of the message as well.

    It says yes to what has come until then, waits for QUIT before it reads on, and then takes
    the rest for commands.  `taken` has what it says it has taken.
    """

    def __init__(self, path: Path, first: bytes, last: bytes) -> None:
        self._end = re.compile(
            rb"(?:\A|(?<=\r\n))\.\r\n|(?:\A|(?<=%b))\.%b" % (re.escape(first), re.escape(last))
        )
        self._line = re.compile(rb"\r\n|%b" % re.escape(last))
        self.taken: list[bytes] = []
        super().__init__(path)

    def play(self, client: socket.socket) -> None:
        come = b""
        client.sendall(b"220 lax\r\n")
        while not come.endswith(b"DATA\r\n"):
            piece = client.recv(65536)
            come += piece
            if not come.endswith(b"DATA\r\n"):
                client.sendall(b"250 ok\r\n" * piece.count(b"\r\n"))
        client.sendall(b"354 go ahead\r\n")
        come = b""
        while not (end := self._end.search(come)):
            come += client.recv(65536)
        self.taken.append(come[: end.start()])
        client.sendall(b"250 2.0.0 taken\r\n")
        while not come.endswith(b"QUIT\r\n") and (piece := client.recv(65536)):
            come += piece
        lines = self._line.split(come[end.end() :])[:-1]
        answers = [b"221 bye\r\n" if line == b"QUIT" else b"500 5.5.2 what?\r\n" for line in lines]
        client.sendall(b"".join(answers))  # at once: nobody reads on after a goodbye


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize(("first", "last"), OTHER_ENDS)
def test_a_server_that_sees_another_end_is_not_believed(
    site: Site, tmp_path: Path, first: str, last: str, content: bytes
) -> None:
    lax = Lax(tmp_path / "lax", ENDS[first], ENDS[last])
    with lax:
        site.hop = ("-S", f"unix:{lax.where}")
        ended = site.deliver(message=content)
    (taken,) = lax.taken
    if b"Bye." in taken:
        assert ended.status == 0, ended
        return
    site.assert_deferred(ended, "possible duplicate: more than one answer: 250 2.0.0 taken; 500")


def test_some_of_these_servers_do_see_another_end() -> None:
    """What the test before is good for; a line end that is not CRLF is never sent before a dot."""
    found = set()
    for name, content in CONTENTS.items():
        wire = content.replace(b"\n", b"\r\n").replace(b"\n.", b"\n..")
        found |= {
            (name, first, last)
            for first, last in OTHER_ENDS
            if ENDS[first] + b"." + ENDS[last] in wire
        }
    assert ("CR.CR", "CR", "CR") in found
    assert ("CR.LF", "CR", "CRLF") in found


# What comes too early, and what comes late.


@pytest.mark.parametrize("refused", ["defer", "bounce"])
@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("DATA", b"354 go\r\n250 2.0.0 taken\r\n"),
        ("DATA", b"354 go\r\n554 5.7.1 no\r\n"),
        ("DATA", b"354 go\r\n2"),
    ],
)
def test_a_word_before_the_content_stops_it(
    site: Site, step: str, answer: bytes, refused: str
) -> None:
    """Nobody has asked for it, so it is the answer to nothing."""
    smtp = site.smtp(answers={step: answer, "dot": b"554 5.7.1 no\r\n"})
    site.assert_kept(site.deliver("--refused", refused), "out of step")
    smtp.stop()
    assert smtp.cut_short == [b""]


@pytest.mark.parametrize("refused", ["defer", "bounce"])
@pytest.mark.parametrize(
    ("answer", "goodbye"),
    [
        (b"250 early\r\n554 5.7.1 no\r\n", b"221 bye\r\n"),
        (b"250 early\r\n", b"554 5.7.1 no\r\n221 bye\r\n"),
        (b"250 early\r\n", b"250 taken\r\n221 bye\r\n"),
        (b"250 early\r\n", b"554-5.7.1 no\r\n"),
        (b"250 early\r\n", b"451 4.7.1 later\r\n"),
        (b"250 early\r\n", b"500 5.5.2 what?\r\n"),
        (b"250 early\r\n", b"421 4.3.2 not taken\r\n"),
        (b"250 early\r\n", b"garbage\r\n"),
        (b"250 early\r\n", b"554 5"),
        # A no to a part of it, and a yes to another.
        (b"554 5.7.1 no\r\n", b"250 taken\r\n221 bye\r\n"),
        (b"554 5.7.1 no\r\n250 taken\r\n", b"221 bye\r\n"),
    ],
)
def test_two_answers_are_a_doubt(site: Site, answer: bytes, goodbye: bytes, refused: str) -> None:
    site.smtp(answers={"dot": answer, "QUIT": goodbye})
    ended = site.deliver("--refused", refused)
    assert ended.status == TEMPFAIL, ended
    site.assert_deferred(ended, "possible duplicate: more than one answer: ")


@pytest.mark.parametrize("goodbye", [b"", b"221 bye\r\n", b"221-good\r\n221 bye\r\n", b"22"])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_yes_stands_however_the_server_takes_its_leave(
    site: Site, goodbye: bytes, one_by_one: bool
) -> None:
    site.smtp(answers={"QUIT": goodbye}, one_by_one=one_by_one, quits="QUIT")
    ended = site.deliver()
    assert ended.status == 0, ended
    assert site.delivered == [MAIL.replace(b"\n", b"\r\n")]


def test_a_no_for_good_bounces_however_the_server_takes_its_leave(site: Site) -> None:
    for goodbye in (b"221 bye\r\n", b"", b"421 closing\r\n"):
        site.smtp(answers={"dot": b"554 5.7.9 no\r\n", "QUIT": goodbye})
        ended = site.deliver("--refused", "bounce")
        assert ended.status == 77, ended


@pytest.mark.parametrize("options", [(), ("-g", "3")])
def test_a_server_that_resets_the_connection_after_its_yes(
    site: Site, options: tuple[str, ...]
) -> None:
    with Resetting() as server:
        site.hop = ("-S", server.where)
        ended = site.deliver(*options)
    assert ended.status == (3 if options else 0), ended


class Resetting(Server):
    """Closes with QUIT unread, which is a reset."""

    def play(self, client: socket.socket) -> None:
        client.sendall(b"220 x\r\n")
        come = b""
        while not come.endswith(b"\r\n.\r\n"):
            piece = client.recv(65536)
            come += piece
            if b"DATA\r\n" not in come:
                client.sendall(b"250 ok\r\n" * piece.count(b"\r\n"))
            elif piece.endswith(b"DATA\r\n"):
                client.sendall(b"354 go\r\n")
        client.sendall(b"250 taken\r\n")
        client.recv(1)  # the first byte of QUIT


class Patient(Server):
    """Says goodbye when the client has hung up, or will not send any more (Exim, TCP_CORK)."""

    def play(self, client: socket.socket) -> None:
        come = b""
        client.sendall(b"220 x\r\n")
        while not come.endswith(b"QUIT\r\n"):
            piece = client.recv(65536)
            come += piece
            if b"DATA\r\n" not in come:
                client.sendall(b"250 ok\r\n" * piece.count(b"\r\n"))
            elif piece.endswith(b"DATA\r\n"):
                client.sendall(b"354 go\r\n")
            elif piece.endswith(b"\r\n.\r\n"):
                client.sendall(b"250 taken\r\n")
        assert client.recv(1) == b""
        self.reach("hung up")
        client.sendall(b"554 that was not all\r\n")


def test_a_server_that_waits_for_the_end_of_the_connection_is_heard(site: Site) -> None:
    with Patient() as server:
        site.hop = ("-S", server.where)
        ended = site.deliver()
        server.arrived("hung up")
    site.assert_deferred(ended, "possible duplicate: more than one answer: 250 taken; 554 that")

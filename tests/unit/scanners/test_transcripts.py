"""Every dialogue in tests/transcripts, played in every way that a reply can come.

transcripts/README.md has the notation.  The test covers each scanner that has a
directory there, present and future.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck import ask, scanners, verdict
from avcheck.exits import Defer
from avcheck.scanners import icap, rows
from avcheck.seen import FRONT
from avcheck.settings import Target
from avcheck.spool import Message
from avcheck.verdict import (
    ALERTS,
    CLEAN,
    ENCRYPTED,
    FAILED,
    UNSCANNABLE,
    VERDICTS,
    Finding,
)
from tests.support.tree import ROOT
from tests.support.wire import MESSAGE, Wire, settings, spooled

TRANSCRIPTS = ROOT / "tests" / "support" / "transcripts"

ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "\\": "\\"}

# What one reply could be followed by: its end, nothing in particular, another reply.
MORE = (b"\0", b"\n", b"\r\n", b"x", b" ", b"OK\0")


class Dialogue:
    """One dialogue of a file: client and server as written, and the finding it leads to."""

    def __init__(self, file: Path, number: int, lines: list[str]) -> None:
        self.harmless = lines.pop()[2:] if lines[-1].startswith("+ ") else ""
        first, *rest, last = lines
        assert first.startswith("by "), f"{file}: {first!r} where a dialogue should begin"
        assert last.startswith("= "), f"{file}: {last!r} where a dialogue should end"
        assert all(line[:3] in ("C: ", "S: ") for line in rest), f"{file}: {rest}"
        self.scanner = file.parent.name
        self.way, _, self.where = first.removeprefix("by ").partition(" ")
        word, _, names = last.removeprefix("= ").partition(" ")
        (self.verdict,) = [each for each in VERDICTS if each.name == word]
        self.names = tuple(names.split(", ")) if names else ()
        self.client = "".join(line[3:] for line in rest if line.startswith("C"))
        # What the client says and what the server then says, as often as they take turns.
        turns = re.findall(r"(?:C: .*\n)*(?:S: .*\n)+|(?:C: .*\n)+", "\n".join([*rest, ""]))
        self.turns = [(said_in(turn, "C: "), said_in(turn, "S: ")) for turn in turns]
        # What the server says between two questions is one step.
        script = "".join(line[3:] if line[0] == "S" else "\n" for line in rest)
        self.server = [step for step in script.split("\n") if step]
        self.id = f"{self.scanner}/{file.stem}/{number}-{self.way}"

    def __str__(self) -> str:
        return self.id

    @functools.cached_property
    def target(self) -> Target:
        """What TYPE+WAY:WHERE gives the module to know.

        Of a --backup, whose parameters nobody looks at before it is asked.
        """
        scanner = f"{self.scanner}+{self.way}:{self.where}".encode()
        return settings(b"--backup", scanner).backups[-1].targets[0]


def said_in(turn: str, who: str) -> str:
    return "".join(line[3:] for line in turn.split("\n") if line.startswith(who))


def dialogues() -> Iterator[Dialogue]:
    for file in sorted(TRANSCRIPTS.glob("*/*.txt")):
        text = re.sub(r"^#.*\n", "", file.read_text("ascii"), flags=re.MULTILINE)
        for number, part in enumerate(re.split(r"\n\n+", text.strip("\n")), 1):
            yield Dialogue(file, number, part.split("\n"))


DIALOGUES = list(dialogues())


def words(message: Message) -> dict[str, bytes]:
    """What the words in braces stand for."""
    content = FRONT + MESSAGE
    return {
        "path": message.path,
        "name": os.path.basename(message.path),
        "message": content,
        "message but 1": content[:-1],
        "message after 1": content[1:],
        "message after 10": content[10:],
        "size": b"%d" % len(content),
        "size but 1": b"%d" % (len(content) - 1),
        "path size": b"%d" % len(message.path),
        "hex size": b"%x" % len(content),
        "hex size but 1": b"%x" % (len(content) - 1),
        "hex size after 10": b"%x" % (len(content) - 10),
        "u32be size": len(content).to_bytes(4, "big"),
        "u32be path size": len(message.path).to_bytes(4, "big"),
        "descriptor": b"",
    }


def pieces(text: str, message: Message) -> list[bytes | None]:
    """The bytes that a line of a transcript stands for; None for {any}."""
    known = words(message)
    found: list[bytes | None] = []
    for number, piece in enumerate(re.split(r"\{(.*?)\}", text)):
        if not number % 2:
            found.append(ESCAPE.sub(character, piece).encode("latin-1"))
        elif piece == "any":
            found.append(None)
        else:
            found.append(known[piece])
    return found


def character(match: re.Match[str]) -> str:
    escape = match[1]
    return chr(int(escape[1:], 16)) if escape.startswith("x") else ESCAPES[escape]


@functools.lru_cache(maxsize=1)  # a reply is cut, and asked for, at every byte
def steps(dialogue: Dialogue, message: Message) -> tuple[bytes, ...]:
    """What the server says, in as many steps as there are questions in between."""
    return tuple(
        b"".join(each or b"" for each in pieces(step, message)) for step in dialogue.server
    )


def said_by_server(dialogue: Dialogue, message: Message) -> bytes:
    return b"".join(steps(dialogue, message))


def said_by_client(dialogue: Dialogue, message: Message) -> re.Pattern[bytes]:
    every = [
        b".*" if piece is None else re.escape(piece) for piece in pieces(dialogue.client, message)
    ]
    return re.compile(b"".join(every), re.DOTALL)


def asked(
    dialogue: Dialogue, message: Message, reply: bytes, *, one_by_one: bool = False
) -> tuple[Finding, bytes, list[bytes]]:
    """What the scanner's module makes of the reply, what it said, and the files it sent."""
    module = scanners.load(rows.SCANNERS[dialogue.scanner])
    assert hasattr(module, "scan"), "only a daemon has transcripts"
    # The last step has what is too much, or is cut; then there is the end of the stream.
    sizes = [len(step) for step in steps(dialogue, message)[:-1]]
    sizes.append(max(len(reply) - sum(sizes), 0))
    with Wire(reply, one_by_one=one_by_one, steps=sizes) as wire:
        try:
            finding = ask.dialogue(module, wire.conn, message, dialogue.target)
        except Defer as why:
            finding = Finding(FAILED, (), why.text, why.code)
        return finding, wire.heard(), wire.files


@pytest.fixture(autouse=True)
def nobody_is_watched_for_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of a transcript speaks when it is waited for, even if only to see its silence."""
    monkeypatch.setattr(icap, "GRACE", 0.0)


@pytest.fixture(params=DIALOGUES, ids=str)
def dialogue(request: pytest.FixtureRequest) -> Dialogue:
    played: Dialogue = request.param
    return played


@pytest.fixture
def message(dialogue: Dialogue, tmp_path: Path) -> Iterator[Message]:
    with spooled(tmp_path, named=dialogue.way == rows.PATH) as letter:
        yield letter


@pytest.mark.parametrize("one_by_one", [False, True], ids=["whole", "one-by-one"])
def test_a_reply_leads_to_its_finding_however_it_comes(
    dialogue: Dialogue, message: Message, one_by_one: bool
) -> None:
    reply = said_by_server(dialogue, message)
    finding, said, files = asked(dialogue, message, reply, one_by_one=one_by_one)
    assert (finding.verdict, finding.names) == (dialogue.verdict, dialogue.names), finding.text
    assert said_by_client(dialogue, message).fullmatch(said), said
    assert files == [words(message)["message"]] * dialogue.client.count("{descriptor}")


@pytest.mark.usefixtures("seldom_measured")
def test_a_reply_cut_short_is_never_clean_and_of_an_infection_no_less(
    dialogue: Dialogue, message: Message
) -> None:
    reply = said_by_server(dialogue, message)
    # Two replies in one: the first is not cut short where it ends.
    whole = {
        said_by_server(each, message)
        for each in DIALOGUES
        if each.verdict is CLEAN and (each.scanner, each.way) == (dialogue.scanner, dialogue.way)
    }
    for cut in range(len(reply)):
        finding, _, _ = asked(dialogue, message, reply[:cut])
        assert finding.verdict is not CLEAN or reply[:cut] in whole - {reply}, reply[:cut]
        if dialogue.verdict in ALERTS:
            # (Of two replies the first may be a clean one.)
            assert finding.verdict not in (ENCRYPTED, UNSCANNABLE), reply[:cut]


def test_a_reply_with_more_after_it_is_never_clean(dialogue: Dialogue, message: Message) -> None:
    reply = said_by_server(dialogue, message)
    harmless = b"".join(each or b"" for each in pieces(dialogue.harmless, message))
    for more in (*MORE, reply or b"\0"):
        finding, _, _ = asked(dialogue, message, reply + more)
        if more.strip(harmless):
            assert finding.verdict is not CLEAN, reply + more
        else:
            assert finding.verdict is dialogue.verdict, reply + more


def test_every_scanner_has_a_clean_an_infected_and_a_failed_dialogue() -> None:
    for scanner in {dialogue.scanner for dialogue in DIALOGUES}:
        found = {dialogue.verdict for dialogue in DIALOGUES if dialogue.scanner == scanner}
        assert found >= {CLEAN, verdict.INFECTED, FAILED}, scanner


def test_every_way_of_a_scanner_has_a_clean_dialogue() -> None:
    played = {(each.scanner, each.way) for each in DIALOGUES if each.verdict is CLEAN}
    for scanner in {dialogue.scanner for dialogue in DIALOGUES}:
        for way in rows.SCANNERS[scanner].ways:
            assert (scanner, way) in played

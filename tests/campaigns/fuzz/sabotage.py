"""avcheck, broken on purpose: what its targets have to find, or else they look at nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from avcheck import address, conn, rendering
from avcheck import printable as printable_
from avcheck.deliver import smtp_dialogue, smtp_replies, smtp_words
from avcheck.options import arguments, reading, rows
from avcheck.scanners import avp, clamd, fsecure, icap, savapi, sssp
from avcheck.smtpd import content, dialogue
from avcheck.state import attempts, metrics, waitfile
from avcheck.verdict import CLEAN, UNSCANNABLE, Answer, Finding


class Sabotage:
    """What is broken, how, and who has to find it."""

    def __init__(self, target: str, what: str, *patches: AbstractContextManager[Any]) -> None:
        self.target = target
        self.what = what
        self.patches = patches


def _clamd_prefix(reply: bytes, way: str, path: bytes) -> Finding:
    if reply.startswith((b"stream: OK", b"fd[", path + b": OK")) and b": OK" in reply:
        return Finding(CLEAN)
    return _clamd(reply, way, path)


_clamd = clamd.parse
_sssp = sssp.parse
_want = smtp_replies.want


def _avp_lower_half(result: int, report: bytes) -> Finding:
    return _avp(avp.BASE | result & 0x0F, report)


_avp = avp.parse


def _passed_anyhow(head: Any, whole: bool, unchanged: bool, path: bytes) -> Finding:
    return _passed(head, True, unchanged, path)


_passed = icap.parse_passed


def _unscannable() -> Answer:
    return Answer("attempts", "", Finding(UNSCANNABLE))


def _sssp_without_done(lines: Any) -> Finding:
    words = list(lines)
    if words and all(line.startswith((b"OK 0000", b"DONE OK")) for line in words):
        return Finding(CLEAN)
    return _sssp(words)


def _want_any_yes(kind: int, command: bytes, replies: Any, for_all: bool = False) -> None:
    if command == b"the message" and replies[0].code // 100 == 4:
        return
    _want(kind, command, replies, for_all)


def _naive(message: Any, header: bytes) -> Iterator[bytes]:
    """Dots are doubled in each piece for itself."""
    wire = b""
    for piece in message.pieces(header):
        wire = piece.replace(b"\r\n", b"\n") if message.crlf else piece
        wire = wire.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
        yield wire
    yield (b"" if wire.endswith(b"\n") else b"\r\n") + b".\r\n"


_judge = dialogue.Dialogue._judge


def _taken_for_now(self: dialogue.Dialogue, command: Any, reply: Any) -> bytes:
    said = _judge(self, command, reply)
    if command.verb == b"RCPT" and reply.code // 100 == 4 and self.transaction:
        self.transaction.recipients.append(command.address)
    return said


_feed = rendering.Rendering.feed


def _without_memory(self: rendering.Rendering, piece: bytes) -> bytes:
    """What is to be kept for the next piece is passed on at once."""
    seen = _feed(self, piece)
    kept, self._rest = self._rest, b""
    return seen + kept


def _first_tab(data: bytes, file: str) -> list[rows.GivenOption]:
    return _parse_config(data.replace(b"\t", b" "), file)


_parse_config = reading.parse_config

SABOTAGES = {
    "clamd-prefix": Sabotage(
        "scan-clamd",
        "the beginning of clamd's OK is enough",
        patch.object(clamd, "parse", _clamd_prefix),
    ),
    "sssp-done": Sabotage(
        "scan-sssp",
        "SSSP needs no code in its last line",
        patch.object(sssp, "parse", _sssp_without_done),
    ),
    "savapi-error": Sabotage(
        "scan-savapi",
        "an error of SAVAPI's is told on the way, no more",
        patch.object(savapi, "ASIDE", (*savapi.ASIDE, b"350", b"422")),
        patch.object(savapi, "ERROR", b"---"),
        patch.object(savapi, "MACROS", ()),
    ),
    "avp-half": Sabotage(
        "scan-avp",
        "the upper half of kavdaemon's answer is not looked at",
        patch.object(avp, "parse", _avp_lower_half),
    ),
    "fsecure-failure": Sabotage(
        "scan-fsecure",
        "a failure of fsavd's is clean",
        patch.object(fsecure, "class_of_text", lambda text, classes, other: CLEAN),
    ),
    "icap-whole": Sabotage(
        "scan-icap",
        "an ICAP server may pass what it has not asked for",
        patch.object(icap, "parse_passed", _passed_anyhow),
    ),
    "smtp-dot": Sabotage(
        "smtp",
        "450 is a yes to the final dot, too",
        patch.object(smtp_dialogue, "want", _want_any_yes),
    ),
    "stuffing-border": Sabotage(
        "stuffing",
        "a dot at the beginning of a piece is not doubled",
        patch.object(smtp_words, "stuffed", _naive),
    ),
    "seen-border": Sabotage(
        "seen",
        "the beginning of a line that is not there yet is taken for the line",
        patch.object(rendering.Rendering, "feed", _without_memory),
    ),
    "smtpd-refused": Sabotage(
        "smtpd",
        "a recipient whom the next hop refuses for now is one of the message",
        patch.object(dialogue.Dialogue, "_judge", _taken_for_now),
    ),
    "smtpd-dot": Sabotage(
        "smtpd-content",
        "a dot between LF and CR is not alone",
        patch.object(content, "_LONE", (b"\n.\n", b"\r.\n", b"\r.\r")),
    ),
    "smtpd-hop": Sabotage(
        "smtpd-hop",
        "what comes with the yes to the message does not matter",
        patch.object(conn.Conn, "arrived", lambda self: False),
    ),
    "envelope-bracket": Sabotage(
        "smtp-envelope",
        "a quoted local part may have a quote in it",
        patch.object(
            smtp_words, "_is_quoted_string", lambda local: local[:1] == b'"' == local[-1:]
        ),
    ),
    "options-newline": Sabotage(
        "options",
        "an address may have a line break",
        patch.object(arguments, "any_address", lambda value: value),
        *[
            patch.object(each, "read", lambda value: value)
            for each in rows.OPTIONS
            if each.name == "from"
        ],
    ),
    "config-tab": Sabotage(
        "config",
        "a tab in a value becomes a blank",
        patch.object(reading, "parse_config", _first_tab),
    ),
    "where-unix": Sabotage(
        "where",
        "a host called unix is spelled as a socket is",
        patch.object(
            address.Address, "spelled", lambda self: self.path or self.host + b":" + self.port
        ),
    ),
    "printable-del": Sabotage(
        "printable",
        "DEL passes",
        patch.object(
            printable_, "_TABLE", printable_._TABLE[:0x7F] + b"\x7f" + printable_._TABLE[0x80:]
        ),
    ),
    "metrics-labels": Sabotage(
        "metrics-file",
        "any label is kept that the file has",
        patch.object(metrics, "_has_labels", lambda words, labels: True),
    ),
    "waitfile-held": Sabotage(
        "waitfile",
        "anything after until is a time",
        patch.object(waitfile, "_is_time", lambda text: bool(text)),
    ),
    "attempts-content": Sabotage(
        "attempts",
        "one scan too few",
        patch.object(
            attempts,
            "too_many",
            lambda directory, queue_id, most: _unscannable() if most > 1 else None,
        ),
    ),
}

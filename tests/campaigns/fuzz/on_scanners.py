"""Every scanner's whole dialogue, with a daemon that says anything, in any pieces.

The first byte of the data chooses among a scanner's VARIANTS ("0" is the first), the rest is
what the daemon says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from math import inf

from avcheck import ask
from avcheck.settings import Settings
from avcheck.verdict import CLEAN, VERDICTS, Finding
from tests.campaigns.fuzz import clean
from tests.campaigns.fuzz.letter import letter
from tests.campaigns.fuzz.notation import DEAF, PIECE, STEP, Item, items, mark, quoted
from tests.campaigns.fuzz.peer import Peer, listening
from tests.support.wire import settings
from tests.unit.scanners import test_transcripts

OAV = (
    "/run/oav.sock?send=SCAN%20{path}%0A&clean=OK(%20.*)?&infected=FOUND:.*"
    "&name=FOUND:%20(.*)&encrypted=LOCKED&more=INFO.*"
)
TO_THE_END = (
    "/run/x.sock?clean=END%200&infected=VIRUS%20.*&name=VIRUS%20(.*)&more=SCANNED%20.*&end=eof"
)
NUL = "/run/x.sock?clean=clean&infected=.*FOUND&name=(.*)%20FOUND&end=nul"
GREETING = (
    "127.0.0.1:54322?greeting=220%20.*&send=SCAN%20{path}%0D%0A&clean=200%20ok&infected=403.*"
    "&name=identified%20([^%27]*)"
)
SSSP_OPTIONS = "/run/sssp?options=savists:%20Mime%201;savigrp:%20GrpSuper%201"

Oracle = Callable[[bytes], bool]


class Variant:
    """A way to ask a scanner, and who knows what it says for CLEAN."""

    def __init__(self, type_: str, way: str, where: str, proves: Oracle | bytes) -> None:
        self.type = type_
        self.way = way
        self.where = where
        self.proves = clean._matches(proves) if isinstance(proves, bytes) else proves

    @property
    def settings(self) -> Settings:
        return _settings(self.type, self.way, self.where)


@cache
def _settings(type_: str, way: str, where: str) -> Settings:
    return settings(b"-s", f"{type_}+{way}:{where}".encode())


VARIANTS: dict[str, list[Variant]] = {
    "clamd": [Variant("clamd", way, "", clean.CLAMD[way]) for way in clean.CLAMD],
    "icap": [
        Variant("icap", "stream", where, clean.icap)
        for where in ("", "127.0.0.1:1344/virus_scan?force=on&sizelimit=off")
    ],
    "kse": [Variant("kse", way, "/run/kavhttpd.sock", clean.kse) for way in ("stream", "path")],
    "sssp": [
        Variant("sssp", "stream", "", clean.SSSP % b""),
        Variant("sssp", "path", "", clean.SSSP % b""),
        Variant("sssp", "stream", SSSP_OPTIONS, clean.SSSP % clean._SSSP_OPTIONS),
    ],
    "drweb": [
        Variant("drweb", "stream", "", clean.DRWEB),
        Variant("drweb", "path", "", clean.DRWEB),
        Variant("drweb", "stream", "127.0.0.1:3000?zero=clean", clean.DRWEB_ZERO),
        Variant("drweb", "path", "127.0.0.1:3000?zero=clean", clean.DRWEB_ZERO),
    ],
    "avast": [Variant("avast", "path", "", clean.avast)],
    "savapi": [
        Variant("savapi", "path", f"/run/savapi.sock?product=10776{more}", clean.SAVAPI % answers)
        for more, answers in (("", 3), ("&set=", 1), ("&set=HEUR_LEVEL%202", 2))
    ],
    "avp": [Variant(type_, "path", "", clean.avp) for type_ in ("avp", "kavdaemon")],
    "aveserver": [Variant("aveserver", "path", "", clean.AVESERVER)],
    "fpscand": [
        Variant(type_, way, "", clean.FPSCAND[way])
        for type_ in ("fpscand", "f-prot6d")
        for way in clean.FPSCAND
    ],
    "f-protd": [Variant("f-protd", "path", "", clean.FPROTD)],
    "fsecure": [Variant("fsecure", "path", "", clean.FSECURE)],
    "sophie": [
        Variant(type_, way, "", clean.SOPHIE[way])
        for type_ in ("sophie", "trophie")
        for way in clean.SOPHIE
    ],
    "mksd": [Variant("mksd", "path", "", clean.MKSD)],
    "sock": [
        Variant("sock", "path", where, proves)
        for where, proves in zip((OAV, TO_THE_END, NUL, GREETING), clean.SOCK, strict=True)
    ],
}


def target(name: str) -> Callable[[bytes], None]:
    """The function that has a scanner say the data."""
    variants = VARIANTS[name]

    def one(data: bytes) -> None:
        variant = variants[(data[0] - ord("0")) % len(variants)] if data else variants[0]
        said = items(data[1:])
        finding = asked(variant, said)
        if PIECE in said:
            # However it is cut into pieces.
            whole = asked(variant, [item for item in said if item != PIECE])
            assert (whole.verdict, whole.names) == (finding.verdict, finding.names), said

    return one


def asked(variant: Variant, said: list[Item]) -> Finding:
    """The finding, which has been looked at."""
    peer = Peer(said)
    options = variant.settings
    with listening(peer):
        answer = ask.ask_scanner(options.scanners[-1], letter(), options, inf)
    finding = answer.finding
    assert finding.verdict in VERDICTS
    assert finding.code.startswith("4."), finding.code
    for words in (finding.text, answer.where, *finding.names):
        assert len(words) <= 400, words
        assert words.isascii(), words
        assert words.isprintable(), words
    if finding.verdict is CLEAN:
        assert variant.proves(peer.said()), (variant.type, peer.said(), finding.text)
        assert not (variant.way == "stream" and peer.cut), "clean, and it has not taken all of it"
        assert not finding.names
    return finding


def seeds(name: str) -> Iterator[bytes]:
    """Every dialogue of the transcripts, whole, cut short, and with a deaf daemon."""
    for number, variant in enumerate(VARIANTS[name]):
        first = b"%c" % (ord("0") + number)
        for dialogue in test_transcripts.DIALOGUES:
            if (dialogue.scanner, dialogue.way, dialogue.where) != (
                variant.type,
                variant.way,
                variant.where,
            ):
                continue
            steps = [quoted(step) for step in test_transcripts.steps(dialogue, letter())]
            words = first + mark(STEP).join(steps)
            yield words
            if dialogue.verdict is CLEAN:
                yield words[:-1]
                yield first + mark(DEAF) + words[1:]
                yield words[: len(words) // 2] + mark(PIECE) + words[len(words) // 2 :]

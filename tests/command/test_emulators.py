"""The installed avcheck asks every emulator, in every way, about every kind of message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.emulators.asking import Answer, Avcheck
from tests.support.emulators.avast import Avast
from tests.support.emulators.aveserver import Aveserver
from tests.support.emulators.content import mark
from tests.support.emulators.drwebd import Drwebd
from tests.support.emulators.fprotd import Fprotd
from tests.support.emulators.fpscand import Fpscand
from tests.support.emulators.fsavd import Fsavd
from tests.support.emulators.kavdaemon import Kavdaemon
from tests.support.emulators.mksd import Mksd
from tests.support.emulators.savapi import Savapi
from tests.support.emulators.savdid import Savdid
from tests.support.emulators.sophie import Sophie
from tests.support.emulators.talk import Emulator

MESSAGE = b"Received: from there\nSubject: a test\n\n%b\n"

MKSD = "?send=MSQ{{path}}%0A&clean=OK.*&infected=VIR%20.*&name=VIR%20(%5CS%2B)"

# The emulator, given a path or None, and how avcheck is told to ask it.
PEERS: dict[str, tuple[Callable[[Path | None], Emulator], str]] = {
    "sssp stream": (Savdid, "sssp+stream:{}"),
    "sssp path": (Savdid, "sssp+path:{}"),
    "sssp options": (Savdid, "sssp:{}?options=savists:%20Mime%201"),
    "drweb stream": (Drwebd, "drweb:{}"),
    "drweb path": (Drwebd, "drweb+path:{}"),
    "drweb uncounted": (lambda path: Drwebd(path, counted=False), "drweb:{}"),
    "drweb bare names": (lambda path: Drwebd(path, words=False), "drweb:{}"),
    "avp": (Kavdaemon, "avp:{}"),
    "kavdaemon": (Kavdaemon, "kavdaemon:{}"),
    "aveserver": (Aveserver, "aveserver:{}"),
    "avast": (Avast, "avast:{}"),
    "savapi": (Savapi, "savapi:{}?product=10776"),
    "sophie": (Sophie, "sophie:{}"),
    "sophie nul": (lambda path: Sophie(path, b"\0"), "sophie:{}"),
    "sophie silent": (lambda path: Sophie(path, b""), "sophie:{}"),
    "sophie stream": (Sophie, "sophie+stream:{}"),
    "trophie": (Sophie, "trophie:{}"),
    "fpscand stream": (Fpscand, "fpscand:{}"),
    "fpscand path": (Fpscand, "fpscand+path:{}"),
    "fpscand members": (lambda path: Fpscand(path, members=True), "fpscand:{}"),
    "f-prot6d": (Fpscand, "f-prot6d:{}?options=--heurlevel=3"),
    "f-protd": (Fprotd, "f-protd:{}"),
    "fsecure": (Fsavd, "fsecure:{}"),
    "fsecure silent": (lambda path: Fsavd(path, greets=False), "fsecure:{}"),
    "mksd": (Mksd, "mksd:{}"),
    "sock": (Mksd, f"sock:{{}}{MKSD}"),
}

# Kinds of content, and what most make of them.
KINDS: dict[str, tuple[bytes, str, tuple[str, ...]]] = {
    "clean": (b"", "clean", ()),
    "infected": (mark("infected", "EICAR-Test"), "infected", ("EICAR-Test",)),
    "two": (
        mark("infected", "EICAR-Test") + mark("infected", "W32/Other"),
        "infected",
        ("EICAR-Test", "W32/Other"),
    ),
    "infected and encrypted": (
        mark("encrypted") + mark("infected", "EICAR-Test"),
        "infected",
        ("EICAR-Test",),
    ),
    "suspicious": (mark("suspicious", "Type_X"), "suspicious", ("Type_X",)),
    "unwanted": (mark("unwanted", "Adware.X"), "policy", ("Adware.X",)),
    "encrypted": (mark("encrypted"), "encrypted", ()),
    "limits": (mark("limits"), "unscannable", ()),
    "error": (mark("error"), "failed", ()),
    "licence": (mark("licence"), "failed", ()),
}

# What a protocol cannot say, it says otherwise.
ONE_NAME = ("sophie", "trophie", "fpscand", "f-prot6d", "mksd", "sock")
NO_CLASSES = (*ONE_NAME[:2], "mksd", "sock", "sssp", "savapi", "f-protd")
OTHERWISE: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("avast", "unwanted"): ("infected", ("Adware.X",)),
    ("avast", "suspicious"): ("suspicious", ("Type_X [Heur]",)),
    ("aveserver", "unwanted"): ("suspicious", ("Adware.X",)),
    ("avp", "unwanted"): ("infected", ("Adware.X",)),
    ("avp", "encrypted"): ("unscannable", ()),
    ("drweb", "encrypted"): ("unscannable", ()),
    ("mksd", "encrypted"): ("failed", ()),
    ("mksd", "limits"): ("failed", ()),
    ("sock", "encrypted"): ("failed", ()),
    ("sock", "limits"): ("failed", ()),
}


def expected(peer: str, kind: str) -> tuple[str, tuple[str, ...]]:
    type_ = peer.split(" ")[0].replace("kavdaemon", "avp")
    _, verdict, names = KINDS[kind]
    if type_ in ONE_NAME:
        names = names[:1]
    if type_ in NO_CLASSES and names:
        verdict = "infected"
    return OTHERWISE.get((type_, kind), (verdict, names))


@pytest.fixture
def avcheck(command: Path, tmp_path: Path) -> Avcheck:
    return Avcheck(command, tmp_path)


@pytest.mark.parametrize("where", ["unix", "tcp"])
@pytest.mark.parametrize("peer", PEERS)
def test_every_kind_of_message(peer: str, where: str, avcheck: Avcheck, tmp_path: Path) -> None:
    make, scanner = PEERS[peer]
    with make(tmp_path / "socket" if where == "unix" else None) as emulator:
        for kind, (content, _, _) in KINDS.items():
            answer = avcheck.ask(scanner.format(emulator.where), MESSAGE % content)
            assert (answer.verdict, answer.names) == expected(peer, kind), (kind, answer.said)


@pytest.mark.parametrize("peer", PEERS)
def test_a_large_message(peer: str, avcheck: Avcheck, tmp_path: Path) -> None:
    make, scanner = PEERS[peer]
    padding = b"x" * 70 + b"\n"
    message = MESSAGE % (padding * 40000 + mark("infected", "EICAR-Test"))
    with make(tmp_path / "socket") as emulator:
        answer = avcheck.ask(scanner.format(emulator.where), message)
    assert (answer.verdict, answer.names) == ("infected", ("EICAR-Test",))


@pytest.mark.parametrize("peer", PEERS)
def test_a_daemon_that_stalls_has_not_said_clean(
    peer: str, avcheck: Avcheck, tmp_path: Path
) -> None:
    make, scanner = PEERS[peer]
    with make(tmp_path / "socket") as emulator:
        emulator.stalls()
        answer = avcheck.ask(scanner.format(emulator.where), MESSAGE % b"", "-t", "0.5")
    assert answer.verdict == "failed"
    assert answer.said.startswith("4.4.7 ")


def test_more_than_savdid_takes_is_unscannable(avcheck: Avcheck, tmp_path: Path) -> None:
    with Savdid(tmp_path / "socket", maximum=100) as emulator:
        answer = avcheck.ask(f"sssp:{emulator.where}", MESSAGE % (b"x" * 100))
    assert answer.verdict == "unscannable"


def test_a_licence_for_another_product_is_no_answer(avcheck: Avcheck, tmp_path: Path) -> None:
    with Savapi(tmp_path / "socket") as emulator:
        answer = avcheck.ask(f"savapi:{emulator.where}?product=1", MESSAGE % b"")
        assert answer.verdict == "failed"
        assert "SET PRODUCT 1: 350" in answer.said
        answer = avcheck.ask(f"savapi:{emulator.where}", MESSAGE % b"")
        assert "write savapi:WHERE?product=NUMBER" in answer.said


def test_the_next_port_of_f_protd_is_tried(avcheck: Avcheck) -> None:
    with Fprotd() as emulator:
        answer = avcheck.ask(f"f-protd:127.0.0.1:1,{emulator.where}", MESSAGE % b"")
    assert answer == Answer("clean", (), answer.said)

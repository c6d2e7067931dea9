"""rspamd's clients for the daemons that take a stream, and two more, ask the emulators.

Exim and amavisd-new ask by path only, so this is the word of somebody else for the streams of
SSSP and of F-PROT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.test_rspamd import SYMBOLS
from tests.support.emulators.asking import Avcheck
from tests.support.emulators.avast import Avast
from tests.support.emulators.content import mark
from tests.support.emulators.fpscand import Fpscand
from tests.support.emulators.savapi import Savapi
from tests.support.emulators.savdid import Savdid
from tests.support.emulators.talk import Emulator
from tests.support.servers.rspamd import Rspamd

MESSAGE = b"Received: from there\nSubject: a test\nFrom: a@example.org\n\n%b\n"

KINDS = {
    "clean": b"",
    "infected": mark("infected", "EICAR-Test"),
    "two": mark("infected", "EICAR-Test") + mark("infected", "W32/Other"),
    "infected and encrypted": mark("encrypted") + mark("infected", "EICAR-Test"),
    "suspicious": mark("suspicious", "Type_X"),
    "encrypted": mark("encrypted"),
    "limits": mark("limits"),
    "error": mark("error"),
    "licence": mark("licence"),
}


@dataclass(frozen=True)
class Peer:
    """An emulator, and how both clients are told to ask it.

    silent are the kinds for which rspamd says nothing at all, as if they were clean;
    never those for which it waits in vain.
    """

    make: Callable[[], Emulator]
    avcheck: str
    rule: dict[str, str]
    silent: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


TROUBLE = ("encrypted", "limits", "error", "licence")

PEERS = {
    "sssp": Peer(Savdid, "sssp+stream:{}", {"type": "sophos"}),
    "fpscand": Peer(Fpscand, "fpscand+stream:{}", {"type": "fprot"}, silent=TROUBLE),
    "fpscand members": Peer(
        lambda: Fpscand(members=True), "fpscand+stream:{}", {"type": "fprot"}, silent=TROUBLE
    ),
    "avast": Peer(Avast, "avast:{}", {"type": "avast"}, never=("error", "licence")),
    # It does not know 350.
    "savapi": Peer(
        Savapi,
        "savapi:{}?product=10776",
        {"type": "savapi", "product_id": "10776"},
        never=("infected and encrypted", *TROUBLE),
    ),
}


@dataclass(frozen=True)
class Both:
    """The two clients at the same emulator."""

    peer: Peer
    emulator: Emulator
    rspamd: Rspamd

    def theirs(self, message: bytes) -> dict[str, list[str]]:
        """The symbols of rspamd.

        It looks for savapi's 200 and 210 anywhere in a line, its own random name of the file
        included: then it is asked again.
        """
        symbols = self.rspamd.scan(message)
        if isinstance(self.emulator, Savapi):
            while any(code in self.emulator.scanned[-1] for code in (b"200", b"210")):
                symbols = self.rspamd.scan(message)
        return symbols


@pytest.fixture(scope="module", params=PEERS)
def both(request: pytest.FixtureRequest, open_directory: Path) -> Iterator[Both]:
    name: str = request.param
    peer = PEERS[name]
    directory = open_directory / f"emulated-{name.replace(' ', '-')}"
    with peer.make() as emulator:
        rule = {**peer.rule, "servers": emulator.where}
        with Rspamd(directory, rule) as client:
            yield Both(peer, emulator, client)


@pytest.fixture(scope="module")
def ours(command: Path, tmp_path_factory: pytest.TempPathFactory) -> Avcheck:
    return Avcheck(command, tmp_path_factory.mktemp("ours"))


def theirs(symbols: dict[str, list[str]]) -> tuple[str, list[str]]:
    """What the symbol means, and its names."""
    for symbol, names in symbols.items():
        return SYMBOLS[symbol], names
    return "clean", []


@pytest.mark.parametrize("kind", KINDS)
def test_rspamd_and_avcheck_agree(both: Both, kind: str, ours: Avcheck) -> None:
    message = MESSAGE % KINDS[kind]
    mine = ours.ask(both.peer.avcheck.format(both.emulator.where), message)
    if kind in both.peer.never:
        assert mine.verdict != "clean", mine
        return
    symbols = both.theirs(message)
    if len(symbols) > 1:  # avast's, for what is found and for what cannot be opened
        assert set(symbols) == {"AV", "AV_FAIL"}
        said, names = "found", symbols["AV"]
    else:
        said, names = theirs(symbols)
    if kind in both.peer.silent:
        assert said == "clean"
        assert mine.verdict in ("encrypted", "unscannable", "failed"), mine
    elif mine.verdict in ("infected", "suspicious"):
        assert said == "found", (mine, said, names)
        assert set(mine.names) & set(names), (mine, names)
    elif mine.verdict == "clean":
        assert said == "clean", (mine, said, names)
    else:
        assert said in ("fail", "encrypted"), (mine, said, names)

"""The emulators talk to others' clients too, and avcheck makes of them what those do.

The others are Exim's (exim -bmalware) and amavisd-new's (its module Amavis::AV).  What
they make of a message is only compared where their protocol's client looks at it:
what avcheck calls encrypted or unscannable some of them call clean, and say why.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.emulators.amavis import Amavis
from tests.support.emulators.asking import Answer, Avcheck
from tests.support.emulators.avast import Avast
from tests.support.emulators.content import mark
from tests.support.emulators.drwebd import Drwebd
from tests.support.emulators.exim import Exim
from tests.support.emulators.fprotd import Fprotd
from tests.support.emulators.fpscand import Fpscand
from tests.support.emulators.fsavd import Fsavd
from tests.support.emulators.savapi import Savapi
from tests.support.emulators.savdid import Savdid
from tests.support.emulators.sophie import Sophie
from tests.support.emulators.talk import Emulator
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import clamd as server
from tests.support.servers.clamd import Clamd

MESSAGE = b"Received: from there\nSubject: a test\nFrom: a@example.org\n\n%b\n"

MESSAGES = {
    "clean": b"",
    "infected": mark("infected", "EICAR-Test"),
    "two": mark("infected", "EICAR-Test") + mark("infected", "W32-Other"),
    "infected and encrypted": mark("encrypted") + mark("infected", "EICAR-Test"),
    "suspicious": mark("suspicious", "Type_X"),
    "encrypted": mark("encrypted"),
    "limits": mark("limits"),
    "error": mark("error"),
}


@dataclass(frozen=True)
class Peer:
    """An emulator, how each client is told to ask it, and what they are known to differ in.

    In the words for Exim and amavisd-new {path} is the socket, {host} and {port} the
    address.  clean names the kinds that the other client takes for clean, all of which
    avcheck does not, and never those for which it waits two minutes in vain.
    """

    make: Callable[[Path | None], Emulator]
    avcheck: str
    exim: str = ""
    amavis: str = ""
    tcp: bool = False
    clean: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


LOCKED = "Archive is password protected"

EXIM = {
    "avast": Peer(Avast, "avast:{}", exim="avast:{path}"),
    "f-protd": Peer(
        Fprotd,
        "f-protd:{}",
        exim="f-protd:{host} {port}-{port}",
        tcp=True,
        clean=("encrypted", "limits", "error"),
    ),
    "f-prot6d": Peer(
        Fpscand,
        "f-prot6d+path:{}",
        exim="f-prot6d:{host} {port}",
        tcp=True,
        clean=("suspicious", "encrypted", "limits", "error"),
    ),
    # One that does not greet: Exim does not expect it, is a line late from then on, and lets
    # every other virus pass if the answer comes at once (4.96, observed with this emulator).
    "fsecure": Peer(
        lambda path: Fsavd(path, greets=False),
        "fsecure:{}",
        exim="fsecure:{path}",
        clean=("suspicious", "encrypted", "limits"),
        never=("error",),
    ),
    "sophie": Peer(Sophie, "sophie:{}", exim="sophie:{path}"),
    "sophie nul": Peer(lambda path: Sophie(path, b"\0"), "sophie:{}", exim="sophie:{path}"),
    "sophie silent": Peer(lambda path: Sophie(path, b""), "sophie:{}", exim="sophie:{path}"),
    "sock": Peer(
        Sophie,
        "sock:{}?clean=0&infected=1:.*&name=1:(.*)",
        exim=r"<; sock;{path}; ;^1;^1.(\S+)",
        clean=("encrypted", "limits", "error"),
    ),
    "sock tcp": Peer(
        lambda path: Sophie(path, b"\0"),
        "sock:{}?clean=0&infected=1:.*&name=1:(.*)&end=nul",
        exim=r"<; sock;{host} {port}; ;^1;^1.(\S+)",
        tcp=True,
        clean=("encrypted", "limits", "error"),
    ),
}

AMAVIS = {
    "sssp": Peer(Savdid, "sssp:{}", amavis="Sophos-SSSP"),
    "sssp path": Peer(Savdid, "sssp+path:{}", amavis="Sophos-SSSP", tcp=True),
    "savapi": Peer(
        Savapi,
        "savapi:{}?product=10776",
        amavis="Avira SAVAPI",
        clean=("encrypted", "limits", "error"),
    ),
    "drweb": Peer(Drwebd, "drweb:{}", amavis="DrWebD"),
    "drweb path": Peer(Drwebd, "drweb+path:{}", amavis="DrWebD", tcp=True),
    "drweb uncounted": Peer(lambda path: Drwebd(path, counted=False), "drweb:{}", amavis="DrWebD"),
    "sophie": Peer(Sophie, "sophie:{}", amavis="Sophie"),
    "trophie": Peer(Sophie, "trophie:{}", amavis="Sophie"),
    "fpscand": Peer(
        Fpscand, "fpscand:{}", amavis="F-PROT fpscand", tcp=True, clean=("encrypted", "limits")
    ),
    "fpscand members": Peer(
        lambda path: Fpscand(path, members=True),
        "fpscand+path:{}",
        amavis="F-PROT fpscand",
        clean=("encrypted", "limits"),
    ),
    "f-protd": Peer(
        Fprotd, "f-protd:{}", amavis="F-Prot f-protd", clean=("encrypted", "limits", "error")
    ),
}


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory that Exim's account can enter."""
    with tempfile.TemporaryDirectory(prefix="avcheck-emulators-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def exim(directory: Path) -> Exim:
    return Exim(directory)


@pytest.fixture(scope="module")
def amavis(directory: Path) -> Iterator[Amavis]:
    with Amavis(directory) as asking:
        yield asking


@pytest.fixture(scope="module")
def ours(command: Path, directory: Path) -> Avcheck:
    return Avcheck(command, directory)


NUMBERS = itertools.count()


@pytest.fixture
def socket(directory: Path) -> Path:
    return directory / f"socket.{next(NUMBERS)}"


def agree(kind: str, mine: Answer, other: Answer, peer: Peer) -> None:
    """Both found the same, or both found nothing wrong, or neither says that it is clean."""
    if kind in peer.clean:
        assert mine.verdict not in ("clean",), mine
        assert other.verdict == "clean", other
    elif other.verdict == "clean" or mine.verdict == "clean":
        assert (mine.verdict, other.verdict) == ("clean", "clean"), (mine, other)
    elif mine.verdict in ("infected", "suspicious"):
        assert other.verdict == "infected", (mine, other)
        # Exim names the first thing that avast says, be it a virus or not; amavisd-new
        # leaves the words before the name of a suspicion.
        said = other.names[0]
        assert said.removeprefix("possibly infected with ") in (*mine.names, LOCKED), (mine, other)
    else:
        # Exim calls malware what avast could not look into, with its reason as the name.
        assert mine.verdict in ("encrypted", "unscannable", "failed"), mine
        assert other.verdict == "failed" or other.names[0] not in ("EICAR-Test", "Type_X"), other


def cases(peers: dict[str, Peer]) -> list[tuple[str, str]]:
    return [(name, kind) for name in peers for kind in MESSAGES if kind not in peers[name].never]


@pytest.mark.parametrize(("name", "kind"), cases(EXIM))
def test_exim_and_avcheck_agree(
    name: str, kind: str, exim: Exim, ours: Avcheck, socket: Path
) -> None:
    peer = EXIM[name]
    message = MESSAGE % MESSAGES[kind]
    with peer.make(None if peer.tcp else socket) as emulator:
        host, _, port = emulator.where.rpartition(":")
        scanner = peer.exim.format(path=emulator.where, host=host, port=port)
        other = exim.ask(scanner, message)
        mine = ours.ask(peer.avcheck.format(emulator.where), message)
    agree(kind, mine, other, peer)


@pytest.mark.parametrize("way", ["path", "stream"])
def test_exim_and_avcheck_agree_that_drweb_finds_nothing(
    way: str, exim: Exim, ours: Avcheck, socket: Path
) -> None:
    # Nothing else can be asked: Exim 4.96 crashes on drwebd's name of a virus.
    with Drwebd(socket if way == "path" else None) as emulator:
        address = emulator.where.replace(":", " ")
        other = exim.ask(f"drweb:{address}", MESSAGE % b"")
        mine = ours.ask(f"drweb+{way}:{emulator.where}", MESSAGE % b"")
    assert (mine.verdict, other.verdict) == ("clean", "clean"), (mine, other)


@pytest.mark.parametrize(("name", "kind"), cases(AMAVIS))
def test_amavis_and_avcheck_agree(
    name: str, kind: str, amavis: Amavis, ours: Avcheck, socket: Path
) -> None:
    peer = AMAVIS[name]
    message = MESSAGE % MESSAGES[kind]
    with peer.make(None if peer.tcp else socket) as emulator:
        other = amavis.ask(peer.amavis, emulator.where, message)
        mine = ours.ask(peer.avcheck.format(emulator.where), message)
    agree(kind, mine, other, peer)


LETTERS = {
    "clean": letter(),
    "virus": letter(EICAR),
    "attached virus": with_attachment(EICAR, "eicar.com"),
    "attachment": with_attachment(EICAR[::-1], "racie.com"),
}


@pytest.mark.parametrize("kind", LETTERS)
@pytest.mark.parametrize("where", ["unix", "tcp"])
def test_exim_amavis_and_avcheck_agree_on_the_real_clamd(
    kind: str, where: str, clamd: Clamd, exim: Exim, amavis: Amavis, ours: Avcheck
) -> None:
    message = LETTERS[kind].replace(b"\r\n", b"\n")
    expected = ("infected", (server.EICAR,)) if "virus" in kind else ("clean", ())
    address = str(clamd.socket) if where == "unix" else f"127.0.0.1:{clamd.port}"
    answers = [
        ours.ask(f"clamd:{address}", message),
        amavis.ask("ClamAV-clamd-stream", address, message),
        amavis.ask("ClamAV-clamd", address, message),
    ]
    # exim -bmalware puts headers of its own and an empty line before the message, so
    # that no attachment of it is decoded.
    if kind != "attached virus":
        answers.append(exim.ask(f"clamd:{address.replace(':', ' ')}", message))
    for answer in answers:
        assert (answer.verdict, answer.names) == expected, answer

"""The installed avcheck and ICAP servers that make use of what the protocol leaves to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from avcheck.seen import FRONT
from tests.support.emulators.asking import Avcheck
from tests.support.emulators.icap import CHOICES, Icap

MESSAGE = b"Received: from there\nX-Play: %b\nSubject: a test\n\nHello.\n"

# More than sockets hold, so that an answer in the middle comes before the end is sent.
LARGE = b"0123456789abcde\n" * 1_000_000

EXPECTED = {
    "clean": ("clean", ()),
    "infected": ("infected", ("EICAR",)),
    "error": ("failed", ()),
}


@pytest.fixture
def avcheck(command: Path, tmp_path: Path) -> Avcheck:
    return Avcheck(command, tmp_path)


@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_of_a_server_is_understood(choice: str, kind: str, avcheck: Avcheck) -> None:
    verdict, names = EXPECTED[kind]
    if choice == "uploads only, no header":
        names = ()
    with Icap(choice) as server:
        assert isinstance(server, Icap)
        answer = avcheck.ask(f"icap:{server.where}", MESSAGE % kind.encode())
        assert (answer.verdict, answer.names) == (verdict, names), answer
        method = "REQMOD" if "uploads" in choice else "RESPMOD"
        where = f"icap://{server.where}/avscan ICAP/1.0"
        assert server.asked == [f"OPTIONS {where}", f"{method} {where}"]
        # Whatever way it goes, it gets there whole.
        assert server.bodies == [FRONT + MESSAGE % kind.encode()]


@pytest.mark.parametrize("choice", ["preview 0", "preview, no 204", "uploads only, no 204"])
def test_a_large_message_gets_there_whole_and_is_compared(choice: str, avcheck: Avcheck) -> None:
    message = MESSAGE % b"clean" + LARGE
    with Icap(choice) as server:
        assert isinstance(server, Icap)
        assert avcheck.ask(f"icap:{server.where}", message).verdict == "clean"
        assert server.bodies[0].endswith(message)


@pytest.mark.parametrize("choice", ["no preview", "uploads only"])
def test_an_answer_in_the_middle_of_the_body_is_no_proof(choice: str, avcheck: Avcheck) -> None:
    with Icap(choice, early=True) as server:
        clean = avcheck.ask(f"icap:{server.where}", MESSAGE % b"clean" + LARGE)
        assert clean.verdict == "unscannable", clean
        infected = avcheck.ask(f"icap:{server.where}", MESSAGE % b"infected" + LARGE)
        assert (infected.verdict, infected.names) == ("infected", ("EICAR",))
        assert avcheck.ask(f"icap:{server.where}", MESSAGE % b"error" + LARGE).verdict == "failed"


@pytest.mark.parametrize("where", ["{}:/virus_scan?force=on", "unix:{}:/virus_scan?force=on"])
def test_a_service_behind_a_unix_domain_socket(
    where: str, avcheck: Avcheck, tmp_path: Path
) -> None:
    place = tmp_path / "icap.sock"
    with Icap("no preview", path=place) as server:
        assert isinstance(server, Icap)
        scanner = f"icap:{where.format(place)}"
        assert avcheck.ask(scanner, MESSAGE % b"clean").verdict == "clean"
        assert avcheck.ask(scanner, MESSAGE % b"infected").names == ("EICAR",)
        service = "icap://localhost/virus_scan?force=on ICAP/1.0"
        assert server.asked == [f"OPTIONS {service}", f"RESPMOD {service}"] * 2
        server.asked.clear()
        assert avcheck.ask(f"icap:{place}", MESSAGE % b"clean").verdict == "clean"
        assert server.asked[0] == "OPTIONS icap://localhost/avscan ICAP/1.0"

"""The emulators of Kaspersky Scan Engine and of ICAP servers, asked by rspamd and by avcheck.

rspamd is somebody else's client: what it understands is what such a daemon says.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck.seen import FRONT
from tests.live.test_clamd import TEMPFAIL, Desk, Ended
from tests.support.emulators.icap import PRODUCTS, Icap
from tests.support.emulators.kse import Kse
from tests.support.letters import letter
from tests.support.servers import packages
from tests.support.servers.rspamd import Rspamd

# What rspamd adds to the symbol of a scanner.
SYMBOLS = {"AV": "found", "AV_FAIL": "fail", "AV_ENCRYPTED": "encrypted", "AV_MACRO": "macro"}


@pytest.fixture
def desk(avcheck: Path, tmp_path: Path) -> Desk:
    return Desk(avcheck, tmp_path)


def play(kind: str) -> bytes:
    return letter("Hello.\n", f"X-Play: {kind}")


def theirs(rspamd: Rspamd, message: bytes) -> tuple[str, list[str]]:
    """What rspamd makes of it: a word, and the names."""
    symbols = rspamd.scan(message)
    if not symbols:
        return "clean", []
    ((symbol, names),) = symbols.items()
    return SYMBOLS[symbol], names


def ours(ended: Ended) -> str:
    return "failed" if ended.status == TEMPFAIL else ended.verdict or "clean"


# Kaspersky Scan Engine.


@pytest.fixture(scope="module")
def engine() -> Iterator[Kse]:
    with Kse() as daemon:
        assert isinstance(daemon, Kse)
        yield daemon


@pytest.fixture(scope="module")
def rspamd(open_directory: Path, engine: Kse) -> Iterator[Rspamd]:
    rule = {"type": "kaspersky_se", "servers": engine.where}
    with Rspamd(open_directory / "rspamd", rule) as client:
        yield client


KSE = [
    # kind of message, what rspamd says, what we say
    ("clean", "clean", "clean", ""),
    ("infected", "found", "infected", "EICAR-Test-File"),
    ("several", "found", "infected", "multiple"),
    # rspamd takes what follows for a part of the name, and knows no classes of names.
    ("infected-macro", "found", "infected", "Trojan.MSOffice.SAgent.gen"),
    ("phishing", "found", "suspicious", "PHISHING_URL"),
    ("adware", "found", "policy", "not-a-virus:AdWare.Win32.Agent.gen"),
    ("macro", "macro", "policy", ""),
    ("encrypted", "encrypted", "encrypted", ""),
    ("corrupt", "fail", "unscannable", ""),
    ("skipped", "fail", "unscannable", ""),
    ("deleted", "fail", "infected", "EICAR-Test-File"),
    ("error", "fail", "failed", ""),
    ("close", "fail", "failed", ""),
]


@pytest.mark.parametrize(("kind", "their", "our", "name"), KSE, ids=[row[0] for row in KSE])
def test_rspamd_and_avcheck_understand_the_engine_alike(
    desk: Desk, engine: Kse, rspamd: Rspamd, kind: str, their: str, our: str, name: str
) -> None:
    message = play(kind)
    said, names = theirs(rspamd, message)
    assert said == their
    if their == "found":
        assert names[0].startswith(name)
    ended = desk.check(message, desk.words(f"kse:{engine.where}"))
    assert (ours(ended), ended.names) == (our, name), ended


def test_both_ask_in_the_same_way(desk: Desk, engine: Kse, rspamd: Rspamd) -> None:
    engine.requests.clear()
    theirs(rspamd, play("clean"))
    desk.check(play("clean"), desk.words(f"kse:{engine.where}?timeout=5"))
    their, our = engine.requests
    assert their.way == our.way == "scanmemory"
    for header in ("x-kav-protocolversion", "x-kav-timeout", "x-kav-objecturl"):
        assert their.headers[header] == our.headers[header]


@pytest.mark.parametrize("way", ["stream", "path"])
@pytest.mark.parametrize("kind", ["clean", "infected", "encrypted", "error"])
def test_a_socket_and_a_path_do_as_well(desk: Desk, tmp_path: Path, kind: str, way: str) -> None:
    expected = {row[0]: row[2] for row in KSE}[kind]
    with Kse(tmp_path / "kavhttpd", one_by_one=True) as daemon:
        assert isinstance(daemon, Kse)
        ended = desk.check(play(kind), desk.words(f"kse+{way}:{daemon.where}"))
        assert ours(ended) == expected, ended
        (request,) = daemon.requests
        assert request.way == {"stream": "scanmemory", "path": "scanfile"}[way]
        assert request.content.startswith(FRONT)


def test_a_token_is_wanted(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("SldYQT==\n")
    with Kse(token="SldYQT==") as daemon:
        ended = desk.check(play("clean"), desk.words(f"kse:{daemon.where}"))
        assert ended.status == TEMPFAIL
        assert "token-file" in ended.said
        where = f"kse:{daemon.where}?token-file={tmp_path}/token"
        assert ours(desk.check(play("clean"), desk.words(where))) == "clean"


def test_a_large_message_goes_to_the_engine_whole(desk: Desk, engine: Kse) -> None:
    engine.requests.clear()
    message = letter("0123456789abcde\n" * 400_000)
    assert ours(desk.check(message, desk.words(f"kse:{engine.where}"))) == "clean"
    assert engine.requests[0].content.endswith(message.replace(b"\r\n", b"\n"))


# ICAP.

OUR_VERDICTS = {"clean": "clean", "infected": "found", "failed": "fail", "unscannable": "fail"}

ICAP = [
    (product, kind)
    for product, says in PRODUCTS.items()
    for kind in ("clean", "infected", "error", "encrypted", "limits")
    if kind in ("clean", "infected", "error") or kind in says.heads
]


@pytest.fixture(scope="module")
def server() -> Iterator[Icap]:
    """A server that is now this product and now that one."""
    with Icap("eset") as daemon:
        assert isinstance(daemon, Icap)
        yield daemon


@pytest.fixture(scope="module")
def rspamd_icap(open_directory: Path, server: Icap) -> Iterator[Rspamd]:
    rule = {
        "type": "icap", "servers": server.where, "scheme": "respmod",
        "use_http_3xx_as_threat": "true",
    }  # fmt: skip
    with Rspamd(open_directory / "rspamd-icap", rule, module="external_services") as client:
        yield client


@pytest.mark.parametrize(("product", "kind"), ICAP)
def test_rspamd_and_avcheck_understand_a_product_alike(
    desk: Desk, server: Icap, rspamd_icap: Rspamd, product: str, kind: str
) -> None:
    server.product = PRODUCTS[product]
    message = play(kind)
    said, names = theirs(rspamd_icap, message)
    ended = desk.check(message, desk.words(f"icap:{server.where}/respmod"))
    our = ours(ended)
    if our == "encrypted":  # a "fail" of Symantec, and a name of McAfee, to rspamd
        assert said in ("fail", "found")
    else:
        assert OUR_VERDICTS[our] == said, (kind, said, names, ended)
    if our == "infected" and ended.names:
        assert names[0] == ended.names, (kind, names, ended)
    # Both sent all of it, we with ours before it, and with the line ends of a pipe.
    ours_sent = FRONT + message.replace(b"\r\n", b"\n")
    assert server.bodies[-2:] == [message, ours_sent]


@pytest.mark.parametrize("kind", ["clean", "infected", "error"])
@pytest.mark.parametrize("product", ["eset", "symantec", "kaspersky-engine"])
def test_a_server_that_closes_after_each_answer(desk: Desk, product: str, kind: str) -> None:
    with Icap(product, closes=True) as server:
        ended = desk.check(play(kind), desk.words(f"icap:{server.where}"))
    expected = {"error": "failed"}.get(kind, kind)
    assert ours(ended) == expected, ended


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_client_of_c_icap_understands_it_too(tmp_path: Path, product: str) -> None:
    packages.need("c-icap", commands=["c-icap-client"])
    message = play("infected")
    (tmp_path / "file").write_bytes(message)
    with Icap(product) as server:
        host, _, port = server.where.partition(":")
        done = subprocess.run(
            [packages.find("c-icap-client"), "-i", host, "-p", port, "-s", "respmod", "-v",
             "-f", str(tmp_path / "file"), "-o", str(tmp_path / "out"),
             "-resp", "http://mail.invalid/a"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert isinstance(server, Icap)
        assert server.bodies == [message]
    assert (tmp_path / "out").read_bytes() == b"<b>blocked</b>", done.stdout

"""Kaspersky Scan Engine: what is asked, and what each answer means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avcheck.exits import CONFIG, Defer
from avcheck.scanners import kse
from avcheck.scanners.rows import STREAM
from avcheck.settings import Target
from avcheck.verdict import CLEAN, ENCRYPTED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Verdict

OK = b"HTTP/1.0 200 OK"
FROM = b"a@example.org"


@pytest.mark.parametrize(
    ("body", "verdict", "names"),
    [
        (b"CLEAN", CLEAN, ()),
        (b"CLEAN\r\n", CLEAN, ()),
        (b"CLEAN \n", CLEAN, ()),
        (b"CLEAN AND CONTAINS OFFICE MACRO", POLICY, ()),
        (b"DETECT EICAR-Test-File", INFECTED, ("EICAR-Test-File",)),
        (b"DETECTED EICAR-Test-File\r\n", INFECTED, ("EICAR-Test-File",)),
        (b"DETECT A AND CONTAINS OFFICE MACRO", INFECTED, ("A",)),
        (b"DETECT a name with blanks", INFECTED, ("a name with blanks",)),
        (b"DETECT", INFECTED, ()),
        (b"DETECT CLEAN", INFECTED, ("CLEAN",)),
        (b"DISINFECTED A", INFECTED, ("A",)),
        (b"DELETED A", INFECTED, ("A",)),
        (b"DETECT HEUR:Trojan.Script.Generic", INFECTED, ("HEUR:Trojan.Script.Generic",)),
        (b"DETECT HEUR:Phish.Email", SUSPICIOUS, ("HEUR:Phish.Email",)),
        (b"DETECT PHISHING_URL", SUSPICIOUS, ("PHISHING_URL",)),
        (b"DETECT MALICIOUS_URL", INFECTED, ("MALICIOUS_URL",)),
        (b"DETECT ADWARE_URL", POLICY, ("ADWARE_URL",)),
        (b"DETECT not-a-virus:AdWare.X", POLICY, ("not-a-virus:AdWare.X",)),
        (b"NON_SCANNED", UNSCANNABLE, ()),
        (b"NON_SCANNED (PASSWORD PROTECTED)", ENCRYPTED, ()),
        (b"NOT_SCANNED (PASSWORD PROTECTED)", ENCRYPTED, ()),
        (b"NON_SCANNED (CORRUPTED)", UNSCANNABLE, ()),
        (b"NON_SCANNED (SKIPPED)", UNSCANNABLE, ()),
        (b"NON_SCANNED (SOMETHING NEW)", UNSCANNABLE, ()),
        (b"NON_SCANNED (CORRUPTED) AND CONTAINS OFFICE MACRO", POLICY, ()),
    ],
)
def test_an_answer(body: bytes, verdict: Verdict, names: tuple[str, ...]) -> None:
    finding = kse.parse(OK, body)
    assert (finding.verdict, finding.names) == (verdict, names)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (OK, b""),
        (OK, b"\r\nCLEAN"),
        (OK, b"CLEAN\0"),
        (OK, b"CLEANED"),
        (OK, b"CLEAN AND CONTAINS"),
        (OK, b"clean"),
        (OK, b"CLEAN\r\nDETECT X"),
        (OK, b"SERVER_ERROR"),
        (OK, b"NON_SCANNED (CANCELED)"),
        (OK, b"NON_SCANNED (ACCESS DENIED)"),
        (OK, b"DETECTION X"),
        (b"HTTP/1.0 200OK", b"CLEAN"),
        (b"HTTP/1.0 2000", b"CLEAN"),
        (b"HTTP/1.0 206 Partial", b"CLEAN"),
        (b"HTTP/1.0 408 Timeout", b"CLEAN"),
        (b"HTTP/2 200 OK", b"CLEAN"),
        (b"ICAP/1.0 200 OK", b"CLEAN"),
        (b"200 OK", b"CLEAN"),
        (b"", b"CLEAN"),
    ],
)
def test_what_is_no_answer(status: bytes, body: bytes) -> None:
    with pytest.raises(Defer):
        kse.parse(status, body)


@pytest.mark.parametrize("code", [b"401 Unauthorized", b"403 Forbidden"])
def test_a_refusal_tells_of_the_token(code: bytes) -> None:
    with pytest.raises(Defer, match="token-file") as why:
        kse.parse_length(b"HTTP/1.1 " + code, [])
    assert why.value.code == CONFIG


BODIES = st.lists(
    st.sampled_from(
        [b"CLEAN", b"DETECT", b"NON_SCANNED", b" AND CONTAINS OFFICE MACRO", b" ", b"\r\n"]
    )
    | st.binary(max_size=12),
    max_size=5,
).map(b"".join)


@given(st.sampled_from([OK, b"HTTP/1.1 200 Ok"]) | st.binary(max_size=30), BODIES)
@example(OK, b"CLEAN")
def test_no_words_break_the_parser_and_only_one_is_clean(status: bytes, body: bytes) -> None:
    try:
        finding = kse.parse(status, body)
    except Defer:
        return
    if finding.verdict is CLEAN:
        assert body.rstrip(b"\r\n ") == b"CLEAN"
        assert status.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))


@given(st.lists(st.sampled_from([b"Content-Length: ", b"5", b":"]) | st.binary(), max_size=6))
def test_no_headers_break_the_parser(words: list[bytes]) -> None:
    for headers in (words, [b"".join(words)]):
        try:
            assert 0 <= kse.parse_length(OK, headers) <= kse.REPLY_MAX
        except Defer:
            continue


def test_a_path_is_asked_for_with_its_length() -> None:
    head = kse.request(b"localhost", b"/spool/m", 4096, FROM, {})
    assert head.startswith(b"POST /scanfile HTTP/1.0\r\nHost: localhost\r\n")
    assert b"\r\nContent-Length: 8\r\n" in head
    assert head.endswith(b"\r\n\r\n")


def test_bytes_are_asked_for_with_their_length_and_their_sender() -> None:
    head = kse.request(b"av:9999", b"", 4096, FROM, {"timeout": b"30"})
    assert head.startswith(b"POST /scanmemory HTTP/1.0\r\nHost: av:9999\r\n")
    assert b"\r\nContent-Length: 4096\r\n" in head
    assert b"\r\nX-KAV-Timeout: 30000\r\n" in head
    assert b"\r\nX-KAV-ObjectURL: [from:a@example.org]\r\n" in head


@pytest.mark.parametrize(
    "sender", [b"", b"a b@example.org", b"a]@example.org", b"\xc3\xa4@example.org", b"a\r\nX: y"]
)
def test_a_sender_that_cannot_stand_there_is_not_told(sender: bytes) -> None:
    head = kse.request(b"h", b"", 1, sender, {})
    assert b"\r\nX-KAV-ObjectURL: [from:test@relay.example]\r\n" in head


def test_the_token_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("SldYQT==\n")
    parameters = {"token-file": str(file).encode()}
    assert b"\r\nAuthorization: SldYQT==\r\n" in kse.request(b"h", b"", 1, FROM, parameters)
    parameters["token-header"] = b"X-Token"
    assert b"\r\nX-Token: SldYQT==\r\n" in kse.request(b"h", b"", 1, FROM, parameters)


@pytest.mark.parametrize("words", ["", "\n", "one\ntwo\n", "caf\xe9"])
def test_a_file_without_a_token(tmp_path: Path, words: str) -> None:
    file = tmp_path / "token"
    file.write_text(words)
    with pytest.raises(Defer, match="one line") as why:
        kse.request(b"h", b"", 1, FROM, {"token-file": str(file).encode()})
    assert why.value.code == CONFIG


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(Defer, match="No such file"):
        kse.request(b"h", b"", 1, FROM, {"token-file": str(tmp_path / "token").encode()})


@pytest.mark.parametrize("seconds", [b"soon", b"-1", b"1.5", b"4294968"])
def test_no_time(seconds: bytes) -> None:
    target = Target(None, STREAM, False, b"", {"timeout": seconds})
    with pytest.raises(Defer, match="timeout="):
        kse.check(target)

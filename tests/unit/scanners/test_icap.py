"""ICAP: what each head and each header means, and who may be said to be clean."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avcheck.exits import CONFIG, REFUSED, Defer
from avcheck.scanners import icap, icap_found, icap_head, icap_offer
from avcheck.scanners.icap_head import NO_HEAD, Head, parse_head
from avcheck.verdict import (
    CLEAN,
    ENCRYPTED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    Finding,
    Verdict,
)

NOTHING = [
    b"",
    b"X-Virus-ID: no threats",
    b"X-Virus-ID: No Threats",
    b"X-Virus-ID:",
    b"X-Virus-Name:",
    b"X-Violations-Found: 0",
    b"X-FSecure-Scan-Result: clean",
    b"X-Response-Info: passed",
    b"X-Response-Info: Allowed",
    b"X-Response-Info: options",
    b"X-Block-Result: 0",
    b"X-Media-Type: message/rfc822",
    b"X-Response-Desc: whatever",
    b"X-Infected: yes",  # nobody's
]

SOMETHING: list[tuple[bytes, Verdict, tuple[str, ...]]] = [
    (b"X-Infection-Found: Type=0; Resolution=2; Threat=A.B;", INFECTED, ("A.B",)),
    (b"X-Infection-Found: Type=0; Resolution=1; Threat=A.B;", INFECTED, ("A.B",)),
    (b"X-INFECTION-FOUND:Type=0;Resolution=0;Threat=A (B) {C}", INFECTED, ("A (B) {C}",)),
    (b"X-Infection-Found: Threat=A; Type=0", INFECTED, ("A",)),
    (b"X-Infection-Found: Type=7; Threat=A", INFECTED, ("A",)),
    (b"X-Infection-Found: Type=0; Threat=;", INFECTED, ("Type=0; Threat=;",)),
    (b"X-Infection-Found: Type=1; Resolution=2; Threat=A;", POLICY, ("A",)),
    (b"X-Infection-Found: Type=2; Threat=Encrypted container violation;", ENCRYPTED, ("E",)),
    (b"X-Infection-Found: Type=2; Threat=Password protected;", ENCRYPTED, ("P",)),
    (b"X-Infection-Found: Type=2; Threat=Container size violation;", UNSCANNABLE, ("C",)),
    (b"X-Infection-Found: EICAR test file", INFECTED, ("EICAR test file",)),
    (b"X-Infection-Found: yes\r\nX-Virus-Name: A", INFECTED, ("A",)),
    (b"X-Infection-Found: yes\r\nX-Virus-ID: A", INFECTED, ("A",)),
    # The worst of several decides, and the class is never guessed where it is given.
    (
        b"X-Infection-Found: Type=2; Threat=A;\r\nX-Infection-Found: Type=0; Threat=B;",
        INFECTED,
        ("A", "B"),
    ),
    (
        b"X-Infection-Found: Type=2; Threat=A;\r\nX-Violations-Found: 1\r\n -\r\n B\r\n 0\r\n 0",
        UNSCANNABLE,
        ("A", "B"),
    ),
    (b"X-Violations-Found: 1\r\n\t-\r\n\tA\r\n\t0\r\n\t0", INFECTED, ("A",)),
    (b"X-Violations-Found: 1\r\n\t-\r\n\tA", INFECTED, ("A",)),
    (b"X-Violations-Found: 1\r\n-\r\nA\r\n0\r\n0", INFECTED, ("A",)),
    (b"X-Violations-Found: 2\r\na: b\r\nA\r\n0\r\n0\r\nc\r\nB\r\n0\r\n0", INFECTED, ("A", "B")),
    (b"X-Violations-Found: 1", INFECTED, ()),
    (b"X-Violations-Found: 1\r\n -\r\n A|NonViralThreat=Spyware\r\n 9\r\n 2", POLICY, ("A",)),
    (
        b"X-Violations-Found: 2\r\n -\r\n A|NonViralThreat=X\r\n 9\r\n 2\r\n -\r\n B\r\n 0\r\n 2",
        INFECTED,
        ("A", "B"),
    ),
    (b"X-Virus-ID: A, B", INFECTED, ("A", "B")),
    (b"X-Virus-Name: A", INFECTED, ("A",)),
    (b"X-FSecure-Scan-Result: infected", INFECTED, ()),
    (b'X-FSecure-Scan-Result: Infected\r\nX-FSecure-Infection-Name: "A"', INFECTED, ("A",)),
    (b'X-FSecure-Infection-Name: "A"', INFECTED, ("A",)),
    (b"X-FSecure-Scan-Result: suspected", SUSPICIOUS, ()),
    (b"X-FSecure-Scan-Result: unknown", INFECTED, ()),
    (b"X-FSecure-Scan-Result: riskware", POLICY, ()),
    (b"X-Block-Reason: Malware found", INFECTED, ()),
    (b"X-Block-Reason: Virus found: W97M/Macro.A", INFECTED, ()),
    (b"X-Block-Reason: Trojan.Phishing in password.zip", INFECTED, ()),
    (b"X-Blocked: Malware: Adware.Encrypted", INFECTED, ()),
    (b"X-Block-Reason: encrypted archive", ENCRYPTED, ()),
    (b"X-MWG-Block-Reason: Media Type", POLICY, ()),
    (b"X-Block-Reason: Archive not supported", UNSCANNABLE, ()),
    (b"X-Block-Reason: Corrupted archive", UNSCANNABLE, ()),
    (b"X-Block-Result: 80", INFECTED, ()),
    (b"X-Blocked: Virus found during virus scan", INFECTED, ()),
    (b"X-Blocked-By: Sophos", INFECTED, ()),
    (b"X-Response-Info: BLOCKED", INFECTED, ()),
    (b"X-Response-Info: blocked\r\nX-Response-Desc: Adware URL", POLICY, ()),
    (b"X-Response-Info: blocked\r\nX-Blocked-Reason: Infected", INFECTED, ()),
    # A header that speaks is not overruled by one of a later kind.
    (b"X-Virus-ID: A\r\nX-Response-Info: passed", INFECTED, ("A",)),
    (b"X-FSecure-Scan-Result: clean\r\nX-Virus-ID: A", INFECTED, ("A",)),
    (b"X-Infection-Found: Type=2; Threat=encrypted;\r\nX-Virus-ID: A", ENCRYPTED, ("encrypted",)),
]


def head(first: bytes, headers: bytes = b"") -> Head:
    return parse_head(first + b"\r\n" + (headers + b"\r\n" if headers else b"") + b"\r\n")


def found(first: bytes, headers: bytes = b"", page: bytes = b"") -> Finding | None:
    return icap_found.parse_found(head(first, headers), head(page) if page else NO_HEAD, b"RESPMOD")


@pytest.mark.parametrize("headers", NOTHING)
@pytest.mark.parametrize("status", [b"ICAP/1.0 204 No Content", b"ICAP/1.0 200 OK"])
def test_headers_that_tell_of_nothing(status: bytes, headers: bytes) -> None:
    assert found(status, headers) is None


@pytest.mark.parametrize(("headers", "verdict", "names"), SOMETHING)
@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"500 Error", b"999"])
def test_headers_that_tell_of_something_do_so_with_any_status(
    status: bytes, headers: bytes, verdict: Verdict, names: tuple[str, ...]
) -> None:
    finding = found(b"ICAP/1.0 " + status, headers)
    assert finding
    assert finding.verdict is verdict
    assert all(ours.startswith(name) for ours, name in zip(finding.names, names, strict=True))


@pytest.mark.parametrize(("headers", "verdict", "names"), SOMETHING)
def test_they_may_be_in_the_head_of_the_page(
    headers: bytes, verdict: Verdict, names: tuple[str, ...]
) -> None:
    page = head(b"HTTP/1.1 200 OK", headers)
    finding = icap_found.parse_found(head(b"ICAP/1.0 200 OK"), page, b"RESPMOD")
    assert finding
    assert finding.verdict is verdict


@pytest.mark.parametrize("headers", [b"X-Response-Info: perhaps"])
def test_a_word_that_is_not_known_is_no_verdict(headers: bytes) -> None:
    with pytest.raises(Defer, match="perhaps"):
        found(b"ICAP/1.0 204 No Content", headers)


@pytest.mark.parametrize("status", [b"301 Moved", b"307 Go", b"400 Bad", b"403 No", b"404", b"451"])
def test_another_page_in_place_of_ours_is_a_block(status: bytes) -> None:
    finding = found(b"ICAP/1.0 200 OK", page=b"HTTP/1.1 " + status)
    assert finding
    assert finding.verdict is INFECTED
    assert status.decode() in finding.text


@pytest.mark.parametrize("status", [b"100 Go", b"204 No Content", b"500 Error", b"503 Busy"])
def test_a_page_that_is_no_answer(status: bytes) -> None:
    with pytest.raises(Defer):
        found(b"ICAP/1.0 200 OK", page=b"HTTP/1.1 " + status)


def test_our_own_page_is_no_finding() -> None:
    assert found(b"ICAP/1.0 200 OK", page=b"HTTP/1.1 200 OK") is None


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (b"404 Service not found", CONFIG, "the service in WHERE"),
        (b"405 Method not allowed", CONFIG, "the service in WHERE"),
        (b"539 No AV scanning license", CONFIG, "licence"),
        (b"400 Bad request", REFUSED, "400 Bad request"),
        (b"500 Server error", REFUSED, "500 Server error"),
        (b"503 Busy", REFUSED, "503 Busy"),
    ],
)
def test_a_status_that_says_no(status: bytes, code: str, hint: str) -> None:
    for asked in (lambda first: found(first), lambda first: icap_offer.parse_options(head(first))):
        with pytest.raises(Defer) as why:
            asked(b"ICAP/1.0 " + status)
        assert why.value.code == code
        assert hint in why.value.text


OFFER = b"Methods: RESPMOD\r\n"


@pytest.mark.parametrize(
    ("headers", "method", "preview", "allow_204", "closes"),
    [
        (b"Methods: RESPMOD", b"RESPMOD", -1, False, False),
        (b"Methods: REQMOD, RESPMOD", b"RESPMOD", -1, False, False),
        (b"methods:reqmod", b"REQMOD", -1, False, False),
        (OFFER + b"Allow: 204", b"RESPMOD", -1, True, False),
        (OFFER + b"Allow: 206, 204", b"RESPMOD", -1, True, False),
        (OFFER + b"Allow: 2040", b"RESPMOD", -1, False, False),
        (OFFER + b"Preview: 1024", b"RESPMOD", 1024, False, False),
        (OFFER + b"Preview: 0", b"RESPMOD", 0, False, False),
        (OFFER + b"Preview: some", b"RESPMOD", -1, False, False),
        (OFFER + b"Preview: 9999999999", b"RESPMOD", -1, False, False),
        (OFFER + b"Preview: 1024\r\nTransfer-Preview: *", b"RESPMOD", 1024, False, False),
        (OFFER + b"Preview: 1024\r\nTransfer-Complete: *", b"RESPMOD", -1, False, False),
        (OFFER + b"Preview: 1024\r\nTransfer-Complete: EML, a", b"RESPMOD", -1, False, False),
        (OFFER + b"Preview: 1024\r\nTransfer-Complete: exe", b"RESPMOD", 1024, False, False),
        (
            OFFER + b"Preview: 9\r\nTransfer-Complete: *\r\nTransfer-Preview: eml",
            b"RESPMOD",
            9,
            False,
            False,
        ),
        (
            OFFER + b"Preview: 9\r\nTransfer-Ignore: *\r\nTransfer-Preview: eml",
            b"RESPMOD",
            9,
            False,
            False,
        ),
        (OFFER + b"Transfer-Ignore: gif, jpg", b"RESPMOD", -1, False, False),
        (OFFER + b"Connection: Close", b"RESPMOD", -1, False, True),
        (OFFER + b"Connection: keep-alive", b"RESPMOD", -1, False, False),
    ],
)
def test_what_the_service_says_of_itself(
    headers: bytes, method: bytes, preview: int, allow_204: bool, closes: bool
) -> None:
    offer = icap_offer.parse_options(head(b"ICAP/1.0 200 OK", headers))
    assert (offer.method, offer.preview) == (method, preview)
    assert (offer.allow_204, offer.closes) == (allow_204, closes)


@pytest.mark.parametrize(
    ("first", "headers"),
    [
        (b"ICAP/1.0 200 OK", b""),
        (b"ICAP/1.0 200 OK", b"Methods: OPTIONS"),
        (b"ICAP/1.0 200 OK", b"Methods: RESPMOD\r\nService: C-ICAP server - Echo demo service"),
        (b"ICAP/1.0 200 OK", b"Methods: RESPMOD\r\nTransfer-Ignore: *"),
        (b"ICAP/1.0 200 OK", b"Methods: RESPMOD\r\nTransfer-Ignore: gif, EML"),
        (b"ICAP/1.0 204 No Content", b"Methods: RESPMOD"),
        (b"HTTP/1.1 200 OK", b"Methods: RESPMOD"),
    ],
)
def test_a_service_that_cannot_be_asked(first: bytes, headers: bytes) -> None:
    with pytest.raises(Defer):
        icap_offer.parse_options(head(first, headers))


def passed(first: bytes, *, whole: bool = True, unchanged: bool = False, path: bytes = b"/") -> str:
    try:
        return icap.parse_passed(head(first), whole, unchanged, path).verdict.name
    except Defer:
        return "failed"


def test_a_message_passes_if_the_server_had_all_of_it() -> None:
    off = b"/virus_scan?force=on&sizelimit=off"
    assert passed(b"ICAP/1.0 204 No Content") == "clean"
    assert passed(b"ICAP/1.0 200 OK", unchanged=True) == "clean"
    assert passed(b"ICAP/1.0 200 OK") == "infected"
    assert passed(b"ICAP/1.0 204 No Content", whole=False) == "unscannable"
    assert passed(b"ICAP/1.0 200 OK", unchanged=True, whole=False) == "unscannable"
    assert passed(b"ICAP/1.0 204 No Content", whole=False, path=off) == "failed"
    for other in (b"HTTP/1.1 204 OK", b"HTTP/1.1 200 OK", b"ICAP/1.0 201", b"ICAP/1.0 100", b"x"):
        assert passed(other, unchanged=True) == "failed"


WORDS = st.sampled_from(
    [b"ICAP/1.0 ", b"HTTP/1.1 ", b"204", b"200", b"403", b" ", b"\r\n", b"\r\n\r\n", b":", b"="]
    + [headers for headers, _, _ in SOMETHING]
    + NOTHING
    + [b"Encapsulated: res-hdr=0, res-body=9", b"Methods: RESPMOD", b"Preview: 3"]
)
HEADS = st.lists(WORDS | st.binary(max_size=20), max_size=12).map(b"".join)


@given(HEADS, HEADS, st.sampled_from([b"RESPMOD", b"REQMOD"]), st.booleans(), st.booleans())
@example(b"ICAP/1.0 204 x\r\n\r\n", b"", b"RESPMOD", True, False)
def test_no_words_break_the_parser_and_only_few_are_clean(
    words: bytes, page: bytes, method: bytes, whole: bool, unchanged: bool
) -> None:
    try:
        reply = parse_head(words)
        finding = icap_found.parse_found(reply, parse_head(page), method)
        finding = finding or icap.parse_passed(reply, whole, unchanged, b"/")
    except Defer:
        return
    if finding.verdict is CLEAN:
        assert whole
        assert words.startswith((b"ICAP/1.0 204", b"ICAP/1.0 200"))
        assert unchanged or words.startswith(b"ICAP/1.0 204")


@given(HEADS)
def test_no_words_break_what_is_read_besides(words: bytes) -> None:
    def read(what: Callable[[], object]) -> None:
        try:
            what()
        except Defer:
            return

    read(lambda: icap_offer.parse_options(parse_head(words)))
    read(lambda: icap_head.parse_sections(parse_head(words)))
    read(lambda: icap_head.parse_size(words))


@pytest.mark.parametrize(
    ("line", "size"), [(b"0", 0), (b"A", 10), (b"ff;x=y", 255), (b"0a ", 10), (b"00", 0)]
)
def test_the_size_of_a_chunk(line: bytes, size: int) -> None:
    assert icap_head.parse_size(line) == size


@pytest.mark.parametrize("line", [b"", b"-1", b"+1", b" ", b"g", b"0x10", b"1" * 17, b";", b"1 2"])
def test_what_is_no_size(line: bytes) -> None:
    with pytest.raises(Defer):
        icap_head.parse_size(line)


@pytest.mark.parametrize(
    ("value", "size", "body"),
    [
        (b"", 0, False),
        (b"null-body=0", 0, False),
        (b"res-body=0", 0, True),
        (b"res-hdr=0, res-body=51", 51, True),
        (b"res-hdr=0, null-body=51", 51, False),
        (b"REQ-HDR=0,REQ-BODY=51", 51, True),
    ],
)
def test_what_is_encapsulated(value: bytes, size: int, body: bool) -> None:
    sections = icap_head.parse_sections(head(b"ICAP/1.0 200 OK", b"Encapsulated: " + value))
    assert (sections.page_head, sections.body) == (size, body)

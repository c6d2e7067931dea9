"""clamd's words: CLEAN for exactly the ones that mean it, about our object, and for no other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from avcheck.exits import BROKEN, Defer
from avcheck.scanners.clamd import CLASSES, parse
from avcheck.scanners.rows import DESCRIPTOR, PATH, STREAM
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
from tests.support.tree import ROOT

FILE = b"/var/spool/avcheck/avcheck.0123456789abcdef01234567"
NAME = b"/avcheck.0123456789abcdef01234567"

OBJECTS = {DESCRIPTOR: b"fd[12]", STREAM: b"stream", PATH: FILE}

# Another way to say what CLEAN is: these bytes and no more.
OK = {
    DESCRIPTOR: re.compile(rb"fd\[[0-9]+\]: OK\0"),
    STREAM: re.compile(rb"stream: OK\0"),
    PATH: re.compile(
        rb"(?:%b|(?:/(?:(?!: )[^\n\0])*)?%b): OK\0" % (re.escape(FILE), re.escape(NAME))
    ),
}

OBJECT_PIECES = (b"fd[", b"12", b"]", b"stream", FILE, NAME, b"/mnt", b": ", b"x", b" ", b"\xff")
WORD_PIECES = (
    b"OK",
    b" OK",
    b": OK",
    b" FOUND",
    b" ERROR",
    b"\0",
    b"\n",
    b"(null)",
    b"(",
    b")",
    b":68",
)
PIECES = st.sampled_from((*OBJECT_PIECES, *WORD_PIECES))
REPLIES = st.one_of(
    st.lists(PIECES, max_size=8).map(b"".join),
    st.binary(max_size=40),
    st.builds(
        lambda word, more: word + b": OK\0" + more,
        st.sampled_from([*OBJECTS.values(), b"fd[]", b"fd[x]", NAME, b"/mnt" + NAME, b"x " + FILE]),
        st.sampled_from([b"", b"", b"\0", b"x", b"stream: OK\0"]),
    ),
)


@how(max_examples=1500)
@given(REPLIES, st.sampled_from([DESCRIPTOR, STREAM, PATH]))
def test_any_reply_is_a_finding_or_deferred_and_clean_only_if_it_says_so(
    reply: bytes, way: str
) -> None:
    try:
        finding = parse(reply, way, FILE)
    except Defer as why:
        assert why.code == BROKEN
        assert not OK[way].fullmatch(reply)
        return
    assert (finding.verdict is CLEAN) == bool(OK[way].fullmatch(reply))
    assert finding.verdict is CLEAN or reply.endswith(b" FOUND\0")


def found(words: bytes, way: str = STREAM) -> Finding:
    return parse(OBJECTS[way] + b": " + words + b" FOUND\0", way, FILE)


@pytest.mark.parametrize("way", [DESCRIPTOR, STREAM, PATH])
@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
def test_whatever_the_name_it_was_found(way: str, name: bytes) -> None:
    assert found(name, way).verdict is not CLEAN


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        (b"Win.Test.EICAR_HDB-1", INFECTED),
        (b"Eicar-Test-Signature", INFECTED),
        (b"Heuristics.Trojan.Swizzor.Gen", INFECTED),
        (b"Heuristics.Exploit.CVE_2012", INFECTED),
        (b"Sanesecurity.Phishing.Fake.1.UNOFFICIAL", INFECTED),
        (b"Heuristics.Encrypted.Zip", ENCRYPTED),
        (b"Heuristics.Encrypted.PDF", ENCRYPTED),
        (b"Encrypted.RAR", ENCRYPTED),
        (b"Heuristics.Limits.Exceeded", UNSCANNABLE),
        (b"Heuristics.Limits.Exceeded.MaxScanSize", UNSCANNABLE),
        (b"Heuristics.Broken.Executable", UNSCANNABLE),
        (b"Broken.Executable", UNSCANNABLE),
        (b"Heuristics.OLE2.ContainsMacros", POLICY),
        (b"Heuristics.OLE2.ContainsMacros.XLM", POLICY),
        (b"Heuristics.Structured.SSN", POLICY),
        (b"PUA.Win.Tool.Packed-1", POLICY),
        (b"Heuristics.Phishing.Email.SpoofedDomain", SUSPICIOUS),
        (b"Heuristics.Phishing.URL.Blocked", SUSPICIOUS),
        (b"Heuristics.Safebrowsing.Suspected-malware", SUSPICIOUS),
        (b"Phishing.Email", SUSPICIOUS),
        (b"Heuristics.Zip.OverlappingFiles", SUSPICIOUS),
        (b"Heuristics.PDF.ObfuscatedNameObject", SUSPICIOUS),
        (b"Heuristics.BoundsCheck", SUSPICIOUS),
        (b"Heuristics.MBRPartitionIntersection", SUSPICIOUS),
        (b"Heuristics.MBRPartitionnIntersect", SUSPICIOUS),
        (b"Heuristics.XZ.DicSizeLimit", UNSCANNABLE),
        (b"BC.Heuristics.Trojan.SusPacked.A", SUSPICIOUS),
        (b"BC.Win.Exploit.CVE_2012_0754", INFECTED),
        # Close to one of them, and not one of them.
        (b"PUAx", INFECTED),
        (b"pua.x", INFECTED),
        (b"Win.PUA.x", INFECTED),
        (b"xHeuristics.Encrypted.Zip", INFECTED),
    ],
)
def test_the_class_is_told_by_the_name(name: bytes, verdict: Verdict) -> None:
    finding = found(name)
    assert (finding.verdict, finding.names) == (verdict, (name.decode(),))


def test_the_document_has_the_same_table() -> None:
    text = (ROOT / "docs" / "policy.md").read_text()
    section = text.partition("\n## clamd's names\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| `(\w+)` \|", section, re.M)
    assert rows == [(beginning.decode(), verdict.name) for beginning, verdict in CLASSES]


def test_no_class_is_hidden_by_another() -> None:
    for number, (beginning, _) in enumerate(CLASSES):
        assert not any(beginning.startswith(other) for other, _ in CLASSES[:number]), beginning


MD5 = b"44d88612fea8a8f36de82e1278abb02f"


@pytest.mark.parametrize("way", [DESCRIPTOR, STREAM, PATH])
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (b"Eicar(" + MD5 + b":68)", ("Eicar",)),
        (b"Eicar", ("Eicar",)),
        (b"Eicar: x", ("Eicar: x",)),
        (b"Eicar(x)", ("Eicar(x)",)),
        (b"Eicar(" + MD5 + b")", (f"Eicar({MD5.decode()})",)),
        (b"Eicar(" + MD5 + b":x)", (f"Eicar({MD5.decode()}:x)",)),
        (b"Eicar(" + MD5[1:] + b":68)", (f"Eicar({MD5[1:].decode()}:68)",)),
        (b"Eicar(" + MD5 + b":68) ", (f"Eicar({MD5.decode()}:68)",)),
        (b"A(1)(" + MD5 + b":68)", ("A(1)",)),
        (b"(null)", ()),
        (b"(null)(" + MD5 + b":68)", ()),
        (b"(" + MD5 + b":68)", ()),
        (b"", ()),
        (b"A FOUND", ("A FOUND",)),
        (b"A: OK", ("A: OK",)),
    ],
)
def test_the_name_is_without_its_wrappings(words: bytes, way: str, names: tuple[str, ...]) -> None:
    assert found(words, way).names == names


@pytest.mark.parametrize("path", [b"/a: b/c", b"/a: OK/x FOUND", FILE])
def test_a_path_may_look_like_a_reply(path: bytes) -> None:
    assert parse(path + b": OK\0", PATH, path).verdict is CLEAN
    assert parse(path + b": Eicar FOUND\0", PATH, path).names == ("Eicar",)


def test_what_is_not_understood_is_shown_harmless_and_short() -> None:
    with pytest.raises(Defer) as why:
        parse(b"\x1b[31mx" + b"y" * 1000 + b"\0", STREAM, b"")
    assert why.value.text.startswith("unexpected reply '?[31mxyyy")
    assert len(why.value.text) < 300
    with pytest.raises(Defer, match="closed the connection without an answer"):
        parse(b"", STREAM, b"")

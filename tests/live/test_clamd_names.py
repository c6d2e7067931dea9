"""The names built into the installed libclamav: each has been reviewed, and has its class."""

from __future__ import annotations

import re

from avcheck.scanners.clamd import parse
from avcheck.scanners.rows import STREAM
from avcheck.verdict import ENCRYPTED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Verdict
from tests.live.magics import words

# What may be a name and no virus, and is no sentence.
NAME = re.compile(
    r"(?:BC\.)?(?:Heuristics|Broken|Encrypted|PUA|Phishing)(?:\.[\w.-]*)?|\w+\.Phishing[\w.-]*"
)

# Each name or family, what it means, and the class that follows from it.
REVIEWED: tuple[tuple[str, Verdict], ...] = (
    # A password is asked for.
    (r"Heuristics\.Encrypted\.(?:7Zip|EGG|OLE2|PDF|RAR|Zip)", ENCRYPTED),
    # A limit of clamd.conf, or of the code, was hit: the rest was not looked at.
    (
        r"Heuristics\.Limits\.Exceeded\.Max(?:FileSize|Files|Recursion|ScanSize|ScanTime)",
        UNSCANNABLE,
    ),
    (r"Heuristics\.Limits\.Exceeded\.Email\w+", UNSCANNABLE),
    # A dictionary larger than the library unpacks with; until 1.4.
    (r"Heuristics\.XZ\.DicSizeLimit", UNSCANNABLE),
    # Not to be read as what it says it is.
    (r"Heuristics\.Broken\.Executable", UNSCANNABLE),
    (r"Heuristics\.Broken\.Media\.(?:GIF|JPEG|PNG|TIFF)\.\w+", UNSCANNABLE),
    # Asked for: macros, numbers of cards, unwanted programs.
    (r"Heuristics\.OLE2\.ContainsMacros\.(?:VBA|XLM)", POLICY),
    (r"Heuristics\.Structured\.(?:CreditCardNumber|SSN)", POLICY),
    (r"PUA\.", POLICY),
    # A guess about a text.
    (r"Heuristics\.Phishing\.(?:Email|URL)\.[\w.-]+", SUSPICIOUS),
    (r"Heuristics\.Safebrowsing\.[\w.-]+", SUSPICIOUS),
    # Made so that two programs see different things in it, or made to break one.
    (r"Heuristics\.(?:APM|GPT)PartitionIntersection", SUSPICIOUS),
    (r"Heuristics\.MBRPartitionnIntersect", SUSPICIOUS),
    (r"Heuristics\.Zip\.OverlappingFiles", SUSPICIOUS),
    (r"Heuristics\.PDF\.ObfuscatedNameObject", SUSPICIOUS),
    (r"Heuristics\.BoundsCheck", SUSPICIOUS),
    # What bytecode guesses; its names come with the database.
    (r"BC\.Heuristics\.?", SUSPICIOUS),
    # Heuristics in name only: one virus, or one hole, each.
    (r"Heuristics\.(?:Exploit\.W32|Trojan|W32|Worm)\.[\w.-]+", INFECTED),
    # How signatures made for one mail begin: what PhishingSignatures turns off.
    (r"(?:Email|HTML)\.Phishing", INFECTED),
)

# These stand alone in the library for another reason, and are never said.
NO_NAMES = {"Encrypted"}


def names() -> list[str]:
    every = {word.decode() for word in words()}
    return sorted(name for name in every if NAME.fullmatch(name) and name not in NO_NAMES)


def test_the_names_are_in_the_library() -> None:
    assert len(names()) > 60
    assert {"Heuristics.Encrypted.Zip", "PUA.", "Heuristics.MBRPartitionnIntersect"} <= set(names())


def test_every_name_has_been_reviewed() -> None:
    new = [name for name in names() if not any(re.fullmatch(each, name) for each, _ in REVIEWED)]
    assert new == [], (
        "This libclamav has names that nobody here has looked at: find out what they mean, and"
        " give them a class in avcheck/scanners/clamd.py, docs/policy.md and REVIEWED."
    )


def test_the_class_is_the_one_that_its_meaning_asks_for() -> None:
    found = {
        name: parse(b"stream: " + name.encode() + b" FOUND\0", STREAM, b"").verdict.name
        for name in names()
    }
    wanted = {
        name: verdict.name
        for name in names()
        for each, verdict in REVIEWED
        if re.fullmatch(each, name)
    }
    assert found == wanted

"""Checks by trying: what a scanner really does, whatever its settings say."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from avcheck import scanners
from avcheck.admin import amounts, asking, clamdconf, known_answer
from avcheck.admin.account import account
from avcheck.admin.archives import EICAR, MEGABYTE, encrypted
from avcheck.admin.checks.clamd import ADVISED, clamd_targets
from avcheck.admin.checks.spool import SIZE
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result, Skip
from avcheck.admin.samples import Mail, attached, mail
from avcheck.directory import Directory
from avcheck.exits import Defer
from avcheck.printable import printable
from avcheck.settings import Scanner
from avcheck.verdict import CLEAN, ENCRYPTED, FAILED, INFECTED, Answer

# A larger mail would take more than the time there is.
LARGE_MAX = 30 * MEGABYTE

# Made now, for the account that asks may not be able to read Python's own files.
LOCKED = mail(encrypted(EICAR), "a.zip")

# What clamd has found too much of, or too large.
EXCEEDED = re.compile(r"Limits\.Exceeded\.(Max\w+)")

# Bytes below which a directory counts as full: the test virus in a mail takes less.
FULL = 64 * 1024


def doubt(look: Look, scanner: Scanner) -> str:
    """A question: why the scanner is not to be trusted; empty if it is."""
    try:
        scanners.load(scanner.row)
    except Exception as why:  # its author's, who may have made any mistake
        return f"its module cannot be loaded: {type(why).__name__}: {printable(str(why), 300)}"
    with look.acting():
        return known_answer.error(scanner, look.settings, look.left)


def large(look: Look, scanner: Scanner) -> Answer:
    """A question: what the scanner says to a mail as large as any, with the virus at its end."""
    return _tried(look, scanner, _long(_size(look)))


def locked(look: Look, scanner: Scanner) -> Answer:
    """A question: what the scanner says to the test virus in a zip with a password."""
    return _tried(look, scanner, LOCKED)


def _tried(look: Look, scanner: Scanner, pieces: Mail) -> Answer:
    with look.acting():
        return known_answer.asked(scanner, look.settings, pieces, look.left)


def _size(look: Look) -> int:
    return min(look.message_size_limit or SIZE, LARGE_MAX)


def _long(size: int) -> Mail:
    """A mail of that size: an attachment that is harmless, and then the virus."""
    (text,) = mail(EICAR, "eicar.com")
    head, boundary, virus = text.rpartition(b"--avcheck\n")
    padding = (b"TWFueSBieXRlcyBvZiBub3RoaW5nIGF0IGFsbC4gTWFueSBieXRlcyBvZiBub3RoaW5nIGEu\n") * 1024
    empty, _, _ = attached(b"", "large.bin").partition(b"\n\n")
    return [head, empty + b"\n\n", *[padding] * (size // len(padding)), boundary + virus]


def scanner_knows_virus(look: Look) -> Iterator[Result]:
    """Each scanner tells the EICAR test virus from an innocent mail."""
    try:
        with look.acting(), Directory(look.settings.spool):
            pass
    except Defer as why:
        raise Skip(f"the test needs the spool directory: {why.text}", "see spool_usable") from why
    for scanner in look.single:
        name = _name(look, scanner)
        if silent := _silent(look, scanner):
            yield silent
            continue
        error = look.ask(doubt, scanner)
        if not error:
            yield Result(OK, f"{name} knows the test virus from an innocent mail")
        elif limit := _limit(error):
            yield Result(ERROR, f"{name}: {error}", limit)
        elif full := _full(look):
            yield Result(ERROR, f"{name}: {error}; {full[0]}", full[1])
        else:
            yield Result(ERROR, f"{name}: not to be trusted: {error}", _probe(look))


def _name(look: Look, scanner: Scanner) -> str:
    """The scanner, and where it is if that is not its only place."""
    if [each.type for each in look.single].count(scanner.type) == 1:
        return scanner.type
    return f"{scanner.type} {asking.place(scanner.targets[0])}"


def _probe(look: Look) -> str:
    return "avcheckctl probe --postfix" if look.postfix else "avcheckctl probe -s ... -d ..."


def _silent(look: Look, scanner: Scanner) -> Result | None:
    """What to say of a scanner that is not tried, for it does not answer at all."""
    look.accounts()
    answers = [look.asked.answer(look.service, scanner, each) for each in scanner.targets]
    if all(each.error for each in answers):
        text = f"{_name(look, scanner)} does not answer, and so was not tested"
        return Result(SKIPPED, text, "see scanner_answers")
    return None


def scanner_largest(look: Look) -> Iterator[Result]:
    """Each scanner finds the test virus at the end of the largest message, and says so."""
    size = amounts.binary(_size(look))
    for scanner in look.single:
        name = _name(look, scanner)
        if _silent(look, scanner) or look.ask(doubt, scanner):
            yield Result(SKIPPED, f"{name} was not given a mail of {size}", SEE)
            continue
        try:
            answer = look.ask(large, scanner)
        except Defer as why:  # no room for it
            yield Result(SKIPPED, f"{name} was not given one: {why.text}", "see spool_room")
            continue
        finding, said = answer.finding, printable(answer.finding.text, 120)
        remedy = _limit(answer.finding.text) or _sizes(scanner, look)
        if finding.verdict is CLEAN:
            text = f"{name} says that the test virus at the end of a mail of {size} is clean"
            yield Result(ERROR, text, remedy)
        elif finding.verdict is FAILED:
            text = f"a mail of {size} gets no answer of {name}, and waits: {said}"
            yield Result(WARNING, text, remedy)
        elif finding.verdict is not INFECTED:
            text = f"{name} does not look at a mail of {size}, clean or not: {said}"
            yield Result(WARNING, text, remedy)
        else:
            yield Result(OK, f"{name} finds the test virus at the end of a mail of {size}")


SEE = "see scanner_knows_virus"


def _limit(said: str) -> str:
    """The line for the limit of clamd that it names; empty if it names none, or a size.

    Of sizes the others are too small as well, as a rule.
    """
    found = EXCEEDED.search(said)
    if found is None or found[1] in ADVISED or found[1] not in clamdconf.DEFAULTS:
        return ""
    return f"{found[1]} {clamdconf.DEFAULTS[found[1]]}"


def _sizes(scanner: Scanner, look: Look) -> str:
    if scanner.type != "clamd":
        return f"raise the largest size that {scanner.type} looks at, in its own configuration"
    return "AlertExceedsMax yes\nMaxFileSize 400M\nMaxScanSize 400M\nStreamMaxLength 400M"


def scanner_encrypted(look: Look) -> Iterator[Result]:
    """Each clamd says that it could not look into an archive with a password."""
    action, _ = look.settings.on[ENCRYPTED]
    for scanner in look.single:
        name = _name(look, scanner)
        if scanner.type != "clamd" or action == "deliver":
            continue
        if _silent(look, scanner) or look.ask(doubt, scanner):
            yield Result(SKIPPED, f"{name} was not given an archive with a password", SEE)
            continue
        verdict = look.ask(locked, scanner).finding.verdict
        if verdict is CLEAN:
            text = f"{name} says that an archive with a password is clean"
            yield Result(WARNING, text, "AlertEncrypted yes")
        else:
            yield Result(OK, f"{name} does not say that an archive with a password is clean")


def _scratch(look: Look) -> Iterator[tuple[str, os.statvfs_result]]:
    """The temporary directory of each clamd here, as its account sees it."""
    seen = set()
    for target in clamd_targets(look):
        peer = look.peer(target)
        if peer is None or look.conf is None:
            continue
        place = look.conf.values.get("TemporaryDirectory", "no")
        path = place if place.startswith("/") else "/tmp"  # noqa: S108 - it is clamd's own default
        if path in seen:
            continue
        seen.add(path)
        try:
            with account(peer.uid, peer.groups[0]):
                if stat.S_ISDIR(os.stat(path).st_mode):
                    yield path, os.statvfs(path)
        except (OSError, ValueError):
            continue


def _full(look: Look) -> tuple[str, str] | None:
    """What is full, and the command that shows it; None if nothing is."""
    for path, facts in _scratch(look):
        place = printable(path)
        what = f"clamd's temporary directory {place}"
        if facts.f_bavail * facts.f_frsize < FULL:
            return f"{what} is full, and clamd says OK to what it cannot unpack", f"df -h {place}"
        if facts.f_files and not facts.f_favail:
            return f"{what} has no inodes left, so clamd cannot unpack there", f"df -i {place}"
    return None


def clamd_room(look: Look) -> Iterator[Result]:
    """There is room where clamd unpacks: what it cannot unpack, it says OK to."""
    if full := _full(look):
        yield Result(ERROR, *full)
        return
    largest = _size(look)
    for path, facts in _scratch(look):
        free = facts.f_bavail * facts.f_frsize
        if free < largest * 4:
            text = f"clamd's temporary directory {printable(path)} has {amounts.binary(free)} free"
            text += f", and {look.system} takes messages of {amounts.binary(largest)}"
            yield Result(WARNING, text, f"df -h {printable(path)}")
        else:
            yield Result(OK, f"clamd's temporary directory {printable(path)} has room")


def questions(look: Look) -> Iterator[tuple[object, ...]]:
    """What is asked here, of each scanner."""
    for scanner in look.single:
        yield doubt, scanner
        yield large, scanner
        if scanner.type == "clamd":
            yield locked, scanner

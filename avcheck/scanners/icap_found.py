"""What ICAP servers have found, by the headers of their makers and the status.  Pure.

Which header tells differs by product.  The ICAP head comes before that of the page, the
headers are read in the order of _headers(), and the first that says something decides.

Sources: draft-stecher-icap-subid (X-Infection-Found, X-Violations-Found); c-icap's
virus_scan 0.5.5, observed; the online help of Kaspersky Scan Engine 2.1 ("Response
headers", ICAP mode); rspamd's and Nextcloud's clients for the rest.

Decided: 403 is a block without a name.  A page with status 500 or more is the server's
trouble and not a verdict.
Decided: the problem id in X-Violations-Found is no class: Kaspersky and Symantec put the
number of a virus there.
"""

from __future__ import annotations

from avcheck.exits import BROKEN, CONFIG, REFUSED, Defer
from avcheck.printable import printable
from avcheck.scanners import class_of_text
from avcheck.verdict import ENCRYPTED, INFECTED, POLICY, SUSPICIOUS, UNSCANNABLE, Finding, worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.scanners.icap_head import Head
    from avcheck.verdict import Verdict

# Phrases in a reason, and what it is a reason for.  The first counts: where it is a virus, its name
# (W97M/Macro.A) or a file's (password.zip) may be there as well, and make it nothing less.
_REASONS: tuple[tuple[bytes, Verdict], ...] = (
    (b"virus", INFECTED),
    (b"malware", INFECTED),
    (b"malicious", INFECTED),
    (b"infect", INFECTED),
    (b"trojan", INFECTED),
    (b"encrypted", ENCRYPTED),
    (b"password", ENCRYPTED),
    (b"macro", POLICY),
    (b"adware", POLICY),
    (b"riskware", POLICY),
    (b"legitimate software", POLICY),
    (b"media type", POLICY),
    (b"phishing", SUSPICIOUS),
    (b"suspicious", SUSPICIOUS),
    (b"not supported", UNSCANNABLE),  # McAfee: "Archive not supported"
    (b"corrupt", UNSCANNABLE),
)


def refused(head: Head) -> None:
    """Raise Defer, with what to do, for a status that says no."""
    said = printable(head.first, 200)
    if head.status in (404, 405):
        raise Defer(f"{said}; is the service in WHERE the right one?", CONFIG)
    if head.status in (539, 551, 558):  # Symantec
        raise Defer(f"{said}; a matter of its licence?", CONFIG)
    if head.status >= 400:
        raise Defer(said, REFUSED)


def parse_found(head: Head, page: Head, method: bytes) -> Finding | None:
    """What the server has found, or None if nothing says that it has found something.

    Raises Defer if it says that it could not scan.
    """
    for reply in (head, page):
        finding = _headers(reply)
        if finding:
            return finding
    if head.status in (201, 403):  # 201 of Symantec: repaired
        return _blocked(head.first)
    refused(head)
    if page.first.startswith(b"HTTP/") and not page.status:
        raise Defer(f"returned a page with {printable(page.first, 200)!r}", BROKEN)
    if head.status == 200 and page.status:
        # REQMOD is answered with a page only if the upload is forbidden.
        if 300 <= page.status < 500 or (method == b"REQMOD" and page.status < 500):
            return _blocked(page.first)
        if page.status != 200:
            raise Defer(f"returned a page with {printable(page.first, 200)!r}", REFUSED)
    return None


def found_for_sure(head: Head, page: Head) -> Finding | None:
    """What these heads, cut or not, have found by headers that say nothing else."""
    for reply in (head, page):
        for read in (_infection, _virus, _fsecure):
            if finding := read(reply):
                return finding
    return None


def _headers(reply: Head) -> Finding | None:
    """What the headers of one head say; None if they say nothing of the kind."""
    for read in (_infection, _virus, _fsecure, _block, _blocked_by, _info):
        finding = read(reply)
        if finding:
            return finding
    return None


def _infection(reply: Head) -> Finding | None:
    """X-Infection-Found: Type=0; Resolution=2; Threat=NAME; and X-Violations-Found.

    The latter lists them all: a count, and for each its file, description, problem and
    resolution, on lines of their own.
    """
    said = reply.every(b"x-infection-found")
    found = [*map(_threat, said), *_violations(reply)]
    if not found:
        return None
    # A class is guessed from the second header only where the first is missing.
    verdict = worst([kind for kind, _ in found[: len(said)] or found]) or INFECTED
    names = tuple([name for _, every in found for name in every])
    if not names:  # McAfee Web Gateway 9 has a text of its own in place of the three fields
        others = (reply.get(b"x-virus-name"), reply.get(b"x-virus-id"), *said)
        names = next(filter(None, map(_names, others)), ())
    return Finding(verdict, names, b" ".join(said) or b"X-Violations-Found")


def _threat(infection: bytes) -> tuple[Verdict, tuple[bytes, ...]]:
    """Class and names in an X-Infection-Found."""
    parts: dict[bytes, bytes] = {}
    for part in infection.split(b";"):
        key, _, value = part.partition(b"=")
        parts[key.strip().lower()] = value.strip()
    names = _names(parts.get(b"threat", b""))
    if parts.get(b"type") == b"1":  # against a policy for mail
        return POLICY, names
    if parts.get(b"type") == b"2":  # a container that cannot be opened
        return (ENCRYPTED if _reason(infection) is ENCRYPTED else UNSCANNABLE), names
    return INFECTED, names


def _violations(reply: Head) -> list[tuple[Verdict, tuple[bytes, ...]]]:
    """Class and name of each violation; Symantec appends what is no virus."""
    number, *lines = reply.get(b"x-violations-found").split(b"\n")
    found: list[tuple[Verdict, tuple[bytes, ...]]] = []
    if number.strip(b"0 ") and len(lines) < 2:  # there are some, but not what they are
        found.append((INFECTED, ()))
    for description in lines[1::4]:
        name, no_virus, _ = description.partition(b"|NonViralThreat=")
        found.append((POLICY if no_virus else INFECTED, (name,)))
    return found


def _virus(reply: Head) -> Finding | None:
    for header in (b"x-virus-name", b"x-virus-id"):
        value = reply.get(header)
        if value and value.lower() != b"no threats":  # Kaspersky Web Traffic Security
            return Finding(INFECTED, _names(value), value)
    return None


def _fsecure(reply: Head) -> Finding | None:
    result = reply.get(b"x-fsecure-scan-result").lower()
    name = reply.get(b"x-fsecure-infection-name").strip(b'"')
    if result in (b"", b"clean") and not name:
        return None
    # Any other word is a find, as for rspamd.
    verdict = {b"suspected": SUSPICIOUS, b"suspicious": SUSPICIOUS, b"riskware": POLICY}
    return Finding(verdict.get(result, INFECTED), (name,) if name else (), result)


def _block(reply: Head) -> Finding | None:
    """McAfee, Trellix, Skyhigh; only where the administrator has made such rules."""
    for header in (b"x-block-reason", b"x-mwg-block-reason"):
        if reason := reply.get(header):
            return _blocked(reason)
    result = reply.get(b"x-block-result")
    return _blocked(b"X-Block-Result: " + result) if result.strip(b"0") else None


def _blocked_by(reply: Head) -> Finding | None:
    """Sophos."""
    for header in (b"x-blocked", b"x-blocked-by"):
        if reason := reply.get(header):
            return _blocked(reason)
    return None


def _info(reply: Head) -> Finding | None:
    """Kaspersky, OPSWAT, ESET."""
    info = reply.get(b"x-response-info").lower()
    reason = reply.get(b"x-blocked-reason") or reply.get(b"x-response-desc")
    if info == b"blocked":
        return _blocked(reason or info)
    if info not in (b"", b"passed", b"allowed", b"options"):
        raise Defer(f"unexpected X-Response-Info {printable(info, 80)!r}", BROKEN)
    return None


def _names(value: bytes) -> tuple[bytes, ...]:
    return tuple([name.strip() for name in value.split(b",") if name.strip()])


def _blocked(reason: bytes) -> Finding:
    """Blocked, with a reason and no name."""
    return Finding(_reason(reason), (), b"blocked: " + reason)


def _reason(text: bytes) -> Verdict:
    return class_of_text(text, _REASONS, INFECTED)

"""Every scanner is asked, each on a connection of its own, all at the same time."""

from __future__ import annotations

from time import monotonic

from avcheck import conn, policy, scanners
from avcheck.exits import CONFIG, EXPIRED, Defer
from avcheck.printable import printable
from avcheck.verdict import CLEAN, FAILED, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from _thread import LockType
    from typing import Any

    from avcheck.settings import Scanner, Settings
    from avcheck.spool import Message


def enough(message: Message, settings: Settings, deadline: float) -> list[Finding]:
    """The findings of every -s, and of as many --backup as it takes to have --need answers.

    deadline is the moment (time.monotonic seconds) for all of it; -t limits the -s, and
    then again the backups.  The poison brake and the slots are here, where they are asked for.
    """
    if settings.attempts and settings.queue_id:
        from avcheck import attempts

        poison = attempts.too_many(message.directory, settings.queue_id, settings.attempts)
        if poison is not None:
            return [poison]
    if settings.slots:
        from avcheck import slots

        with slots.Slot(message.directory, settings.slots, deadline):
            return _enough(message, settings, deadline)
    return _enough(message, settings, deadline)


def _enough(message: Message, settings: Settings, deadline: float) -> list[Finding]:
    until = min(deadline, monotonic() + settings.timeout)
    findings = every(settings.scanners, message, settings, until)
    until = min(deadline, monotonic() + settings.timeout)
    for backup in settings.backups:
        if policy.enough(findings, settings.need):
            break
        findings.append(one(backup, message, settings, until))
    return findings


def every(
    asked: tuple[Scanner, ...], message: Message, settings: Settings, deadline: float
) -> list[Finding]:
    """One finding for each scanner, in the order given; one that cannot answer FAILED."""
    if len(asked) == 1:
        return [one(asked[0], message, settings, deadline)]
    return _together(asked, message, settings, deadline)


def one(scanner: Scanner, message: Message, settings: Settings, deadline: float) -> Finding:
    """What the scanner says; FAILED if it is not to be trusted (--canary)."""
    tested = False
    if settings.canary:
        from avcheck import canary

        def send(mail: bytes) -> Finding:
            with canary.mail(mail, message) as letter:
                return _answer(scanner, letter, settings, deadline)

        try:
            doubt, tested = canary.unless_trusted(scanner, message.directory, settings.canary, send)
        except Defer as why:
            doubt = Finding(FAILED, (), why.text, why.code)
        if doubt is not None:
            doubt.scanner = scanner.type
            return doubt
    finding = _answer(scanner, message, settings, deadline)
    finding.tested = tested
    return finding


def _answer(scanner: Scanner, message: Message, settings: Settings, deadline: float) -> Finding:
    began = monotonic()
    where = ", ".join(str(target.address or printable(target.path)) for target in scanner.targets)
    try:
        where, finding = _said(scanner, message, settings, deadline)
    except Defer as why:
        finding = Finding(FAILED, (), why.text, why.code)
    except ImportError as why:
        finding = Finding(FAILED, (), f"not installed: {why}", CONFIG)
    finding.scanner = scanner.type
    finding.where = where
    finding.seconds = monotonic() - began
    return finding


def _said(
    scanner: Scanner, message: Message, settings: Settings, deadline: float
) -> tuple[str, Finding]:
    """Where the scanner was asked, and its finding; raises Defer if there is none."""
    module: Any = scanners.load(scanner.row)
    if scanner.row.program:
        target = scanner.targets[0]
        return printable(target.path), module.run(message, target, deadline)
    targets = {target.address: target for target in scanner.targets if target.address}
    with conn.connect(tuple(targets), deadline) as link:
        target = targets[link.address]
        if target.tls:
            link.start_tls(
                link.address.host,
                settings.scanner_ca or b"system",
                settings.scanner_cert,
                settings.scanner_key,
            )
        finding: Finding = module.scan(link, message, target)
        if finding.verdict is CLEAN and link.gone:
            raise Defer("said it is clean, but hung up before it had the whole message")
        return link.peer, finding


def _together(
    asked: tuple[Scanner, ...], message: Message, settings: Settings, deadline: float
) -> list[Finding]:
    # Threads, because a dialogue is a straight line of waits; without threading,
    # whose import costs as much as all of the delivery path.
    from _thread import allocate_lock, start_new_thread

    findings = [Finding(FAILED, (), "no answer in time", EXPIRED) for _ in asked]
    done: list[LockType] = []

    def work(number: int) -> None:
        try:
            findings[number] = one(asked[number], message, settings, deadline)
        except BaseException as bug:  # a thread that dies silently has not said CLEAN
            findings[number] = Finding(FAILED, (), f"bug: {type(bug).__name__}: {bug}")
        finally:
            done[number].release()

    for number, scanner in enumerate(asked):
        findings[number].scanner = scanner.type
        done.append(allocate_lock())
        done[number].acquire()
        start_new_thread(work, (number,))
    for lock in done:
        left = deadline - monotonic()
        # Longer than any deadline is -1; the alarm of stop ends that one, too.
        lock.acquire(timeout=max(left, 0.0) if left < 1e6 else -1)
    return list(findings)

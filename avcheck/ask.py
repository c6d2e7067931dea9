"""Every scanner is asked, each on a connection of its own, all at the same time."""

from __future__ import annotations

from time import monotonic

from avcheck import conn, scanners
from avcheck.exits import EXPIRED, Defer
from avcheck.verdict import FAILED, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from _thread import LockType

    from avcheck.options import Scanner
    from avcheck.spool import Message


def every(asked: tuple[Scanner, ...], message: Message, deadline: float) -> list[Finding]:
    """One finding for each scanner, in the order given; one that cannot answer FAILED.

    deadline is the moment (time.monotonic seconds) after which nobody is waited for.
    """
    if len(asked) == 1:
        return [one(asked[0], message, deadline)]
    return _together(asked, message, deadline)


def one(scanner: Scanner, message: Message, deadline: float) -> Finding:
    """What the scanner says."""
    began = monotonic()
    ways = dict(scanner.targets)
    where = ", ".join(str(address) for address in ways)
    try:
        module = scanners.load(scanners.SCANNERS[scanner.type])
        with conn.connect(tuple(ways), deadline) as link:
            where = link.peer
            finding = module.scan(link, message, ways[link.address])
    except Defer as why:
        finding = Finding(FAILED, (), why.text, why.code)
    finding.scanner = scanner.type
    finding.where = where
    finding.seconds = monotonic() - began
    return finding


def _together(asked: tuple[Scanner, ...], message: Message, deadline: float) -> list[Finding]:
    # Threads, because a dialogue is a straight line of waits; without threading,
    # whose import costs as much as all of the delivery path.
    from _thread import allocate_lock, start_new_thread

    findings = [Finding(FAILED, (), "no answer in time", EXPIRED) for _ in asked]
    done: list[LockType] = []

    def work(number: int) -> None:
        try:
            findings[number] = one(asked[number], message, deadline)
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

"""Every scanner is asked, each on a connection of its own, all at the same time."""

from __future__ import annotations

from time import monotonic

from avcheck import conn, dial, policy, process, scanners
from avcheck.exits import BROKEN, CONFIG, EXPIRED, SILENT, Defer
from avcheck.printable import printable
from avcheck.scanners.rows import STREAM
from avcheck.settings import Scanner
from avcheck.verdict import ALERTS, CLEAN, FAILED, INFECTED, UNSCANNABLE, Answer, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from typing import Any

    from avcheck.settings import Settings, Target
    from avcheck.spool import Message

# Seconds for the threads to say what they were waiting for when the deadline came.
GRACE = 0.5


def ask_scanners(message: Message, settings: Settings, deadline: float) -> list[Answer]:
    """The answers of every -s, and of as many --backup as it takes to reach --need.

    deadline is the moment (time.monotonic seconds) for all of it; -t limits the -s, and
    then again the backups.  --attempts and --slots take effect here.
    """
    if settings.attempts and settings.queue_id:
        from avcheck.state import attempts

        key = attempts.key(settings)
        poison = attempts.too_many(message.directory, key, settings.attempts)
        if poison is not None:
            return [poison]
    if settings.slots:
        from avcheck.state import slots

        with slots.Slot(message.directory, settings.slots, deadline):
            return _ask_scanners(message, settings, deadline)
    return _ask_scanners(message, settings, deadline)


def _ask_scanners(message: Message, settings: Settings, deadline: float) -> list[Answer]:
    until = min(deadline, monotonic() + settings.timeout)
    answers = ask_each(settings.scanners, message, settings, until)
    until = min(deadline, monotonic() + settings.timeout)
    for backup in settings.backups:
        if policy.has_quorum(answers, settings.need):
            break
        answers.append(ask_scanner(backup, message, settings, until))
    return answers


def ask_each(
    asked: tuple[Scanner, ...], message: Message, settings: Settings, deadline: float
) -> list[Answer]:
    """One answer for each scanner, in the order given; one that cannot answer FAILED."""
    if len(asked) == 1:
        return [ask_scanner(asked[0], message, settings, deadline)]
    return _ask_in_threads(asked, message, settings, deadline)


def ask_scanner(scanner: Scanner, message: Message, settings: Settings, deadline: float) -> Answer:
    """What the scanner says; with --canary, at the first of its places that is to be trusted."""
    if not settings.canary:
        return _answer(scanner, message, settings, deadline)
    answer = Answer(scanner.type, "", Finding(FAILED))
    for number, target in enumerate(scanner.targets, 1):
        place = Scanner(scanner.type, scanner.row, (target,))
        others = len(scanner.targets) - number
        answer = _trusted(place, message, settings, deadline, others)
        # As without the test: another place is only for one that cannot be asked.
        if answer.finding.verdict is not FAILED or answer.asked:
            break
    return answer


def _trusted(
    place: Scanner, message: Message, settings: Settings, deadline: float, others: int
) -> Answer:
    """What the scanner at this one place says, if it knows the test virus; else FAILED.

    others is how many places are left to try after this one.
    """
    from avcheck.state import canary

    def send(text: bytes) -> Finding:
        with canary.mail(text, message) as letter:
            return _answer(place, letter, settings, deadline, others).finding

    began = monotonic()
    name = canary.state_file(place, place.targets[0])
    # Another run may be testing a place where nobody answers.
    until = dial.share_of(deadline, others + 1) if others else deadline
    try:
        distrust, tested = canary.check(name, message.directory, settings.canary, until, send)
    except Defer as why:
        distrust, tested = Finding(FAILED, (), why.text, why.code), False
    if distrust is not None:
        # It was not asked about this message.
        return Answer(place.type, _where(place), distrust, monotonic() - began, asked=False)
    return _answer(place, message, settings, deadline, others, tested)


def _where(scanner: Scanner) -> str:
    return ", ".join(str(target.address or printable(target.path)) for target in scanner.targets)


def _answer(
    scanner: Scanner,
    message: Message,
    settings: Settings,
    deadline: float,
    others: int = 0,
    tested: bool = False,
) -> Answer:
    """What the scanner says; the worse of two, of a message that is read in two ways."""
    began = monotonic()
    where, finding, asked = _ask_about(message, scanner, settings, deadline, others)
    other = message.other_reading
    if other and asked and finding.verdict is not INFECTED:
        there, found, answered = _ask_about(other, scanner, settings, deadline, others)
        if found.verdict.rank < finding.verdict.rank:
            asked = answered or finding.verdict is not CLEAN  # what was found stays here
            where, finding = there, found
    return Answer(scanner.type, where, finding, monotonic() - began, asked=asked, tested=tested)


def _ask_about(
    message: Message, scanner: Scanner, settings: Settings, deadline: float, others: int
) -> tuple[str, Finding, bool]:
    """Where the scanner was asked, its finding, and whether it got to see the message."""
    try:
        where, finding = _run_dialogue(scanner, message, settings, deadline, others)
    except Defer as why:
        return _where(scanner), Finding(FAILED, (), why.text, why.code), why.code != SILENT
    except ImportError as why:
        return _where(scanner), Finding(FAILED, (), f"not installed: {why}", CONFIG), False
    if message.unread and finding.verdict is CLEAN:
        finding = Finding(UNSCANNABLE, (), "there is more in the message than avcheck reads")
    return where, finding, True


def _run_dialogue(
    scanner: Scanner, message: Message, settings: Settings, deadline: float, others: int
) -> tuple[str, Finding]:
    """Where the scanner was asked, and its finding; raises Defer if there is none."""
    module: Any = scanners.load(scanner.row)
    if scanner.row.program:
        target = scanner.targets[0]
        return printable(target.path), module.run(message, target, deadline)
    targets = {target.address: target for target in scanner.targets if target.address}
    with conn.connect(tuple(targets), deadline, others) as link:
        target = targets[link.address]
        link.enable_keepalive()
        if target.tls:
            link.start_tls(
                link.address.host,
                settings.scanner_ca or b"system",
                settings.scanner_cert,
                settings.scanner_key,
            )
        # By descriptor and by path nothing of the message is on the connection.
        link.watch(message.seen if target.way == STREAM else 0)
        return link.peer, dialogue(module, link, message, target)


def dialogue(module: Any, link: conn.Conn, message: Message, target: Target) -> Finding:
    """What the scanner at the other end of the link found; raises Defer if it gives no answer.

    Whatever the module says, CLEAN counts only if the whole message was read before the reply,
    and nothing follows the reply.  What an incomplete or malformed reply found counts.
    """
    try:
        finding: Finding = module.scan(link, message, target)
        if finding.verdict is CLEAN:
            _prove(link, getattr(module, "SILENCE", None))
        return finding
    except Defer:
        found = _found(module, link.heard(), message, target)
        if found is None:
            raise
        return found


def _prove(link: conn.Conn, silence: float | None) -> None:
    """Raise Defer unless the reply answers the whole question; silence is a module's SILENCE."""
    if link.early:
        raise Defer("said it is clean before it had the whole question", BROKEN)
    if link.ignored():
        raise Defer("said it is clean, but has not read the whole question", BROKEN)
    if not link.ended and (link.has_more() if silence is None else link.close(silence)):
        raise Defer("said it is clean, and then said more", BROKEN)


def _found(module: Any, reply: bytes, message: Message, target: Target) -> Finding | None:
    """What an incomplete or malformed reply found, if anything; never CLEAN."""
    read = getattr(module, "found", None)
    if not reply or read is None:
        return None
    try:
        finding: Finding = read(reply, message, target)
    except Defer:
        return None
    return finding if finding.verdict in ALERTS else None


def _ask_in_threads(
    asked: tuple[Scanner, ...], message: Message, settings: Settings, deadline: float
) -> list[Answer]:
    # Threads, because a dialogue is a straight line of waits; without threading,
    # whose import costs as much as all of the delivery path.
    from _thread import allocate_lock, start_new_thread

    late = Finding(FAILED, (), "no answer in time", EXPIRED)
    answers = [Answer(scanner.type, "", late) for scanner in asked]
    done: list[LockType] = []

    def work(number: int) -> None:
        try:
            answers[number] = ask_scanner(asked[number], message, settings, deadline)
        except BaseException as bug:  # a thread that dies silently has not said CLEAN
            finding = Finding(FAILED, (), f"bug: {type(bug).__name__}: {bug}")
            answers[number] = Answer(asked[number].type, "", finding)
        finally:
            done[number].release()

    for _ in asked:
        done.append(allocate_lock())
        done[-1].acquire()
    # A signal that a thread takes would not end the wait of this one, which alone runs
    # the handlers; so the threads take none.
    with process.signals_blocked():
        for number, scanner in enumerate(asked):
            try:
                start_new_thread(work, (number,))
            except RuntimeError as why:  # too many processes, or too little memory
                finding = Finding(FAILED, (), f"no thread to ask it: {why}")
                answers[number] = Answer(scanner.type, "", finding, asked=False)
                done[number].release()
    for lock in done:
        left = deadline - monotonic() + GRACE
        # Longer than any deadline is -1; the alarm of the run ends that one, too.
        lock.acquire(timeout=max(left, 0.0) if left < 1e6 else -1)
    return list(answers)

"""What happened is said in one line, logged, and counted.

Saying it never raises and changes no status.  Under Postfix's pipe(8) standard
output and standard error are one non-blocking pipe that nobody reads while the
message is being written; its first bytes, if they are a status code such as
4.3.0, override the exit status, and with status 0 its first 100 bytes are logged.
So: one line, one write.
"""

from __future__ import annotations

from time import localtime, monotonic, strftime

from avcheck import unix
from avcheck.exits import OK, TEMPFAIL, Leave
from avcheck.policy import DEFER, DELIVER
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from avcheck.run import Record, Run
else:
    import _socket as socket  # see dial

_OUT = 1
_ERR = 2

# Seconds that a full pipe or a stopped terminal is waited for, and how much fits into a pipe
# that has any room at all (pipe(7)).
READER_MAX = 1.0
PIPE_ROOM = 4096

# Seconds for syslog to take a line.
LOG_MAX = 0.2

# Where syslog daemons listen, and LOG_MAIL with LOG_INFO, LOG_NOTICE and LOG_WARNING.
LOG = "/dev/log"
_INFO = 22
_NOTICE = 21
_WARNING = 20


def step(run: Run, what: str) -> None:
    """Note a step, for --verbose: shown at once on a terminal, after the result elsewhere."""
    record = run.record
    if record.settings is None or not record.settings.verbose:
        return
    passed = (monotonic() - record.began) * 1000
    line = f"avcheck: {passed:8.1f} ms  {printable(what)}\n".encode()
    if unix.isatty(_ERR):
        _write(_ERR, line)
    else:
        # An MTA takes the first bytes for the status code; the steps come after them.
        record.steps.append(line)


def success(run: Run, what: str, status: int) -> int:
    """Say that the message was taken care of; returns the status to exit with.

    Nothing is printed for a status other than 0.
    """
    record = run.record
    if status == OK:
        _write(_OUT, printable(what).encode() + b"\n")
    end(record, what, status)
    return status


def failure(run: Run, why: Leave) -> int:
    """Say why the message was not taken care of; returns the status to exit with.

    Once somebody else has it, it was: what fails after that is no reason to deliver it again.
    (Code that finds the 2xx reply contradicted has called mark_in_doubt() before.)
    """
    if run.handed_over is not None:
        return success(run, f"handed on; then: {why.text}", run.handed_over)
    _write(_ERR, f"{why.code} avcheck: {why.text}\n".encode())
    end_early(run.record, why, why.status)
    return why.status


def end_early(record: Record, why: Leave, status: int) -> None:
    """Log and count a message that was not taken care of."""
    if why.status == TEMPFAIL:
        record.action = DEFER  # whatever was meant to be done
    end(record, f"{why.code} {why.text}", status, _WARNING)


def end(record: Record, what: str, status: int, priority: int = 0) -> None:
    """Log and count the message; status is what the caller is told, which an SMTP reply may be."""
    if not priority:
        priority = _INFO if record.action in (DELIVER, "") else _NOTICE
    for line in record.steps:
        if not _write(_ERR, line):
            break
    # The message's fate is decided; what happens to its records changes nothing.
    _whatever_happens(lambda: log(line_of(record, what, status), priority))
    _whatever_happens(lambda: count(record))


def _whatever_happens(note: Callable[[], None]) -> None:
    try:
        note()
    except Exception:
        return


def line_of(record: Record, what: str, status: int) -> str:
    """The facts in the style of Postfix: QUEUEID: key=value, ..., status=N (text)."""
    words = []
    settings = record.settings
    queue_id = "NOQUEUE"
    if settings is not None:
        given = printable(settings.queue_id).replace(" ", "?").replace(":", "?")
        queue_id = given or queue_id
        if record.client:
            words.append(f"client={printable(record.client)}")
        words.append(f"from={_bracketed(settings.sender)}")
        words.append(f"to={_bracketed(settings.recipients[0])}")
        if len(settings.recipients) > 1:
            words.append(f"nrcpt={len(settings.recipients)}")
    if record.size >= 0:
        words.append(f"size={record.size}")
    for answer in record.answers:
        verdict = answer.finding.verdict.name
        words.append(f"{answer.scanner}={verdict}/{answer.seconds:.3f}s")
    if record.answer is not None:
        finding = record.answer.finding
        words.append(f"verdict={finding.verdict.name}")
        if finding.names:
            words.append(f"virus={_bracketed(', '.join(finding.names))}")
    if record.action:
        words.append(f"action={record.action}")
    words.append(f"delay={monotonic() - record.began:.3f}")
    words.append(f"status={status} ({printable(what)})")
    return f"{queue_id}: {', '.join(words)}"


def _bracketed(words: bytes | str) -> str:
    """The words between < and >, which they cannot end themselves to forge a key."""
    return f"<{printable(words, 200).replace('<', '?').replace('>', '?')}>"


def note(line: str) -> None:
    """Log what is no message's; never raises."""
    _whatever_happens(lambda: log(line, _WARNING))


def log(line: str, priority: int) -> None:
    """Send the line to syslog; raises OSError if it is not taken in LOG_MAX seconds.

    Not by syslog(3), which waits for ever when the daemon does not read: after the message has
    been handed on, such a wait is what makes Postfix kill us and bounce it.  A little is waited,
    because a socket keeps ten lines only (net.unix.max_dgram_qlen), if systemd does not change it.
    """
    stamp = strftime("%b %e %H:%M:%S", localtime())  # RFC 3164 4.1.2
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # knows no with in _socket
    try:
        daemon.settimeout(LOG_MAX)
        daemon.connect(LOG)
        daemon.send(f"<{priority}>{stamp} avcheck[{unix.getpid()}]: {line}".encode()[:2000])
    finally:
        daemon.close()  # what it raises is nobody's business: see _whatever_happens


def count(record: Record) -> None:
    """Add the message to the counters of --metrics."""
    if record.settings is None or not record.settings.metrics or record.size < 0:
        return
    from avcheck.state import metrics

    verdict = record.answer.finding.verdict.name if record.answer else "none"
    metrics.add(record.settings.metrics, verdict, record.action or DEFER, record.answers)


def _write(fd: int, line: bytes) -> bool:
    """Write the line; False if it was not taken, and the status alone has to do."""
    try:
        if unix.get_blocking(fd) and not _has_room(fd):
            return False
        unix.write(fd, line[:PIPE_ROOM])
    except OSError:  # full or closed
        return False
    return True


def _has_room(fd: int) -> bool:
    """Whether a write will not wait for somebody who does not read."""
    import select

    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    return bool(waiting.poll(READER_MAX * 1000))

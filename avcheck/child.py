"""Run another program: a scanner, sendmail, the handler.

argv and never a shell; a session of its own; the environment built from nothing;
standard input from a descriptor; its output taken, up to a limit, and never
passed through (an MTA would read a "5.7.1" in it as our own words); at the
deadline the whole process group is killed.  Compare Postfix's pipe_command.c.
"""

from __future__ import annotations

from avcheck import process, unix
from avcheck.exits import CONFIG, Defer, Stopped
from avcheck.printable import printable
from avcheck.program import Program
from avcheck.spool import UNREAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from avcheck.run import Run

# What is kept of a program's output, unless more is asked for; Postfix keeps as much of ours.
OUTPUT_MAX = 4096


def environment() -> dict[bytes, bytes]:
    """What every program gets: PATH, and which of several Postfix instances it belongs to.

    Without MAIL_CONFIG, which pipe(8) exports, Postfix's sendmail would put the message
    into the queue of the default instance.
    """
    env = {b"PATH": b"/bin:/usr/bin"}
    instance = unix.environ.get(b"MAIL_CONFIG")
    if instance:
        env[b"MAIL_CONFIG"] = instance
    return env


class Ended:
    """How a program ended: its exit status, or the signal that killed it, and its output.

    wait is what waitpid(2) said, None for one that could not be killed and runs on.  late is
    whether we killed it because its time was up; lost says why its output is incomplete (an
    error of the system), and is empty if it is complete; unread is whether it has left some of
    its standard input.
    """

    __slots__ = ("late", "lost", "output", "runs", "signal", "status", "unread")

    def __init__(
        self, wait: int | None, output: bytes, late: bool, lost: str = "", unread: bool = False
    ) -> None:
        self.runs = wait is None
        self.signal = unix.WTERMSIG(wait) if wait is not None and unix.WIFSIGNALED(wait) else 0
        self.status = unix.WEXITSTATUS(wait) if wait is not None and unix.WIFEXITED(wait) else -1
        self.output = output
        self.late = late and wait != 0
        self.lost = lost
        self.unread = unread

    @property
    def killed(self) -> bool:
        """Whether it did not come to its own end, and nobody knows what it has done."""
        return self.late or self.signal != 0 or self.runs

    @property
    def fate(self) -> str:
        """What has become of one that was to be killed."""
        return "could not be killed, and runs on" if self.runs else "was killed"

    def __str__(self) -> str:
        if self.late:
            how = f"did not end in time and {self.fate}"
        elif self.killed and self.lost:
            how = f"could not be waited for ({self.lost}) and {self.fate}"
        elif self.signal:
            how = f"was killed by signal {self.signal}"
        elif self.runs:
            how = self.fate
        else:
            how = f"exited with status {self.status}"
        if self.unread:
            how += " without having read the whole message"
        said = printable(self.output)
        return f"{how}: {said}" if said else how


def run(
    argv: Sequence[bytes],
    stdin: int,
    env: Mapping[bytes, bytes],
    deadline: float,
    directory: int | None = None,
    keep: int = OUTPUT_MAX,
) -> Ended:
    """Run a program that answers, until it ends or until the deadline (time.monotonic seconds).

    Of its output the first keep bytes are kept, the rest is read and forgotten.

    It starts in the directory (a descriptor) with umask 077 and nothing open but 0, 1
    and 2.  How it ended is for the caller to judge; Defer is raised when it cannot be
    started.  What it leaves running in the background is not waited for, even with our
    pipe open.
    """
    program = Program(printable(argv[0]), keep)
    try:
        program.start(argv, stdin, env, directory)
        program.watch(deadline)
        program.end()
        program.listen()
    except BaseException:
        program.end()  # what we started does not go on alone
        raise
    finally:
        program.close()
    _require_started(program)
    # A script of another user, which we cannot kill, sees its programs killed, and may end with 0
    # then: it would have said that a part of the message is clean.
    if program.struck and program.wait is not None:
        program.wait = process.KILL
    return _ended(program)


def hand_over(
    run: Run,
    status: int,
    argv: Sequence[bytes],
    stdin: int,
    env: Mapping[bytes, bytes],
    directory: int | None = None,
) -> Ended:
    """Run a program that takes the message over, until it ends or until the run's deadline.

    It has taken it when it ends with status 0 and has read its standard input to the end:
    then avcheck exits with status, even if something fails later.  All else is as in run().
    """
    program = Program(printable(argv[0]), OUTPUT_MAX)
    try:
        program.start(argv, stdin, env, directory)
        program.watch(run.deadline)
        _decide(program, stdin, run, status)
    except BaseException as why:
        if not program.pid:
            raise
        _decide(program, stdin, run, status)
        if not isinstance(why, Stopped):
            raise
        # One that had ended before the signal came has decided.
        if program.struck and program.wait != 0:
            text = f"possible duplicate: {program.name} {_ended(program).fate}: {why.text}"
            raise Stopped(text, why.code) from why
    finally:
        program.close()
    _require_started(program)
    return _ended(program)


def _decide(program: Program, stdin: int, run: Run, status: int) -> None:
    """End the program: from here on its status decides, and no signal.

    Can be called again: a signal may strike just before the first call has begun.
    """
    # A signal between its status 0 and our knowing of it would be a second delivery.
    with process.signals_blocked():
        run.commit()  # nobody knows what it has done
        program.end()
        if program.wait == 0 and not program.unread:
            program.unread = not _was_read(stdin)
            if not program.unread:
                run.mark_handed_over(status)
        program.listen()


def _require_started(program: Program) -> None:
    """Raise Defer for a program that could not be run at all."""
    if program.reason:
        reason = unix.strerror(program.reason)
        raise Defer(f"cannot run {program.name}: {reason}; may this user execute it?", CONFIG)


def _ended(program: Program) -> Ended:
    output = bytes(program.output)
    return Ended(program.wait, output, program.late, program.lost, program.unread)


def _was_read(stdin: int) -> bool:
    """Whether a program that had this for its standard input has read it to the end.

    What was read is seen in the offset of a file, which is one for all who share the open
    file, and in what is left in a pipe.  True where it cannot be seen: a terminal, a device,
    and a file of ours that was read, but not by this offset (see as_stdin of spool); nor is it
    seen what the program has done with what it read.
    """
    try:
        status = unix.fstat(stdin)
        if unix.S_ISREG(status.st_mode):
            offset = unix.lseek(stdin, 0, unix.SEEK_CUR)
            ours = status.st_mtime_ns == UNREAD
            elsewhere = ours and not offset and status.st_atime_ns != UNREAD
            return offset >= status.st_size or elsewhere
        if unix.S_ISCHR(status.st_mode):
            return True
        return bool(process.events(stdin)) and not unix.read(stdin, 1)
    except OSError:
        return True

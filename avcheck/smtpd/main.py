"""How we were started: with a connection on standard input, or with a socket that listens.

Read this beside DESCRIPTION in avcheck-smtp(8).
"""

from __future__ import annotations

from time import monotonic, sleep

from avcheck import process, report, unix
from avcheck.exits import CONFIG, OK, TEMPFAIL, HelpRequest, Leave, Stopped, Usage
from avcheck.options import file, reading, rows
from avcheck.run import Run
from avcheck.smtpd import client, session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.settings import Settings

COMMAND = rows.Command(rows.SMTP)

# Seconds for a client to take the one line that it gets where nothing works.
SAY_MAX = 10.0

# Seconds before leaving a socket that listens where nothing works.  The connection that we were
# started for is still there, so whoever listens starts us again at once.
AGAIN = 5.0


def main(argv: list[bytes], stdin: int, called: bytes) -> int:
    """Serve what standard input is; returns the exit status that avcheck-smtp(8) promises.

    argv is without the command's own name, which is called; stdin is the descriptor, -1 if it
    is closed.
    """
    try:
        if b"_AVCHECK_SMTP_COMPLETE" in unix.environ:
            raise HelpRequest("complete")
        settings = _settings(argv, called)
    except Leave as why:
        if isinstance(why, HelpRequest) and stdin == 0 and unix.S_ISCHR(unix.fstat(0).st_mode):
            from avcheck.options import asked

            return asked.show(why.what, rows.SMTP)
        return _unusable(why, stdin)
    # What we put into the command that injects mail is avcheck's path.
    avcheck = unix.absolute(called).rpartition(b"/")[0] + b"/avcheck"
    if stdin < 0:
        return _unusable(Leave("standard input is closed; a connection is expected there"), stdin)
    in_, out = 0, 1
    try:
        in_, out = _descriptors()
        if client.is_listening(in_):
            from avcheck.smtpd import listener

            listener.serve(in_, settings, avcheck)
        else:
            session.begin()
            session.serve(client.Client(in_, out), settings, avcheck)
    except Stopped:  # before anything was begun
        return OK
    except Exception as bug:  # in a session nothing is raised
        return _tell(Leave(f"broken installation: {type(bug).__name__}: {bug}", CONFIG), in_, out)
    return OK


def _settings(argv: list[bytes], called: bytes) -> Settings:
    """What the command line and the file of --config mean; a signal ends that, as for a message."""
    run = Run(called)
    run.begin()
    try:
        return reading.read(argv, lambda path: file.load(path, run), COMMAND)
    finally:
        process.tick_no_more()


def _unusable(why: Leave, stdin: int) -> int:
    """Say why no mail can be taken at all: to a person, or to the client and the log."""
    if isinstance(why, Usage) and unix.isatty(2):
        from avcheck.options import help

        return help.explain(why, rows.SMTP)
    if stdin < 0:
        report.note(f"{why.code} {why.text}")
        return TEMPFAIL
    return _tell(why, *_descriptors())


def _tell(why: Leave, in_: int, out: int) -> int:
    """Say it to the log, and to the client; or wait, where a socket listens."""
    report.note(f"{why.code} {why.text}")
    try:
        if client.is_listening(in_):
            sleep(AGAIN)
        else:
            # What is wrong in there is nobody's business but ours.
            words = b"421 %b Server configuration error\r\n" % CONFIG.encode()
            client.Client(in_, out).write(words, monotonic() + SAY_MAX)
    except Leave:
        return TEMPFAIL
    return TEMPFAIL


def _descriptors() -> tuple[int, int]:
    """The client's descriptors, for in and out, above 2; those below lead nowhere any more.

    Of a socket that is standard input, the others are not asked for.  Standard error stays if
    it is not the client's.  What else was handed to us is closed: systemd has the socket that
    listens as descriptor 3, too, and a session is not to have it.
    """
    process.close_from(3)
    in_ = unix.dup(0)
    out = in_ if client.is_socket(in_) else unix.dup(1)
    nowhere = unix.open(unix.devnull, unix.O_RDWR | unix.O_CLOEXEC)
    clients = [_file(fd) for fd in (0, 1)]
    for fd in (0, 1, 2):
        if fd < 2 or (_file(2) in clients and not unix.isatty(2)):
            unix.dup2(nowhere, fd)
    unix.close(nowhere)
    return in_, out


def _file(fd: int) -> tuple[int, int]:
    status = unix.fstat(fd)
    return status.st_dev, status.st_ino

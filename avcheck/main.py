"""One message, from standard input to where it belongs.

Read this beside DESCRIPTION in avcheck(1): same steps, same order, same words.
"""

from __future__ import annotations

from avcheck import act, ask, deliver, policy, report, spool, unix
from avcheck.directory import Directory
from avcheck.exits import OK, Defer, HelpRequest, Leave, Usage
from avcheck.incoming import Incoming
from avcheck.options import reading
from avcheck.run import Run
from avcheck.state import hold

# What avcheck-guard takes for the end of a Python or shell in trouble, whoever has said it.
GUARD_STATUSES = (1, 2, 120, *range(126, 256))

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.incoming import Source
    from avcheck.settings import Settings


def main(argv: list[bytes], stdin: int, called: bytes) -> int:
    """Check one message; returns the exit status that avcheck(1) promises.

    argv is without the command's own name, which is called; stdin is the descriptor
    with the message, -1 if it is closed.
    """
    run = Run(called)
    try:
        run.begin()
        if b"_AVCHECK_COMPLETE" in unix.environ:
            raise HelpRequest("complete")
        run.record.settings = reading.read(argv, lambda path: _load(path, run))
        _unless_taken_amiss(run.record.settings.ok_status)
        if stdin < 0:
            raise Defer("standard input is closed; the message is expected there")
        return report.success(run, *check(run.record.settings, Incoming(stdin), run))
    except HelpRequest as request:
        from avcheck.options import asked

        return asked.show(request.what)
    except Usage as error:
        if not unix.isatty(2):  # no person is looking, and an MTA would bounce the mail
            return report.failure(run, error)
        from avcheck.options import help

        return help.explain(error)
    except Leave as why:
        return report.failure(run, why)


def check(settings: Settings, source: Incoming | Source, run: Run) -> tuple[str, int]:
    """Check the message from there; returns what became of it, and the status that means.

    Raises Leave if it cannot be taken care of.  Every way in comes here (smtpd.message is the
    other one).  What is found out on the way goes to the record.
    """
    record = run.record
    run.limit(settings.deadline)
    if settings.client and isinstance(source, Incoming):
        said = deliver.inject(source, b"", settings, run)
        return f"injected: {said}{run.caller_gone_note()}", OK

    # While the waitfile exists, no message is taken.
    hold.refuse_while_paused(settings.waitfile)

    # The spool directory is opened, and used only if it is safe.  It stays locked
    # (shared) until the end, so that somebody who wants to know can wait for us.
    with Directory(settings.spool) as directory:
        hold.lock_shared(directory.fd, settings.waitfile)

        # The message is saved there, in a file that is gone when this block is left.
        with spool.receive(source, directory, settings) as message:
            record.size = message.size
            report.step(run, f"saved {message.size} bytes in {unix.fsdecode(directory.path)}")

            # Every scanner is asked.  One that cannot answer has FAILED; it has not
            # said CLEAN.
            record.answers = ask.ask_scanners(message, settings, run.deadline)
            for each in record.answers:
                found = f"{each.finding.verdict.name} {each.finding.text}"
                report.step(run, f"{each.scanner} {each.where}: {found}")

            # The worst answer decides what is done with the message.
            answer = policy.sum_up(record.answers, settings.need, message.doubt)
            verdict = answer.finding.verdict
            record.answer, record.action = answer, settings.on[verdict][0]
            report.step(run, f"{verdict.name}: {record.action}")

            # It is done.  After this nothing changes the status any more.
            said, status = act.on(message, answer, settings, run)

        # What happened is for the way in to report.
        return said + run.caller_gone_note(), status


def _unless_taken_amiss(ok_status: int) -> None:
    """Raise Usage for a status of -g that avcheck-guard would not pass on.

    Before anything is done: good mail would be handed on, and again on the next try.
    """
    if ok_status in GUARD_STATUSES and b"AVCHECK_GUARD" in unix.environ:
        raise Usage(f"-g: {ok_status} is a status that avcheck-guard does not pass on")


def _load(path: bytes, run: Run) -> bytes:
    from avcheck.options import file

    return file.load(path, run)

"""The action that the policy has chosen is carried out.

The common one, handing on, is deliver's; the modules of the others are imported
when they are needed.
"""

from __future__ import annotations

from avcheck import deliver, policy
from avcheck.exits import OK, TEMPFAIL, Defer, Leave, Rejected
from avcheck.printable import printable
from avcheck.verdict import CLEAN, FAILED

# Postfix logs so many bytes of our words (pipe_command.c: "%.100s").  Where the message is now
# comes last, and has to be among them; so what was found is cut, but not to less than this.
LOGGED = 100
FOUND_MIN = 40

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.run import Run
    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Answer


def on(message: Message, answer: Answer, settings: Settings, run: Run) -> tuple[str, int]:
    """Do what the answer asks for; returns what to say of it, and the exit status.

    Raises Defer for what could not be done, and Leave for what is to leave with another
    status.  Until this returns the caller's queue has the message: a failure here can
    cause a duplicate, never a loss.
    """
    if not (settings.attempts and settings.queue_id):
        return _carry_out(message, answer, settings, run)
    from avcheck.state import attempts

    key = attempts.key(settings)
    try:
        done = _carry_out(message, answer, settings, run)
    except Leave as end:
        if end.status != TEMPFAIL:
            attempts.forget(message.directory, key)
        elif answer.finding.verdict is FAILED:
            attempts.count(message.directory, key, answer)
        raise
    attempts.forget(message.directory, key)
    return done


def _carry_out(message: Message, answer: Answer, settings: Settings, run: Run) -> tuple[str, int]:
    action, directory = settings.on[answer.finding.verdict]
    status = OK
    if run.transaction and action != policy.DELIVER:
        run.transaction.drop()
    if action == policy.DELIVER:
        said = deliver.send_on(message, answer.finding, settings, run)
        status = settings.ok_status
    elif action == policy.HANDLE:
        from avcheck import handle

        said = handle.hand_over(message, answer, settings, run)
    elif action == policy.QUARANTINE:
        from avcheck import quarantine

        entry = quarantine.store(message, answer, settings, run, directory)
        said = f"quarantined as {entry}"
    elif action == policy.DISCARD:
        run.require_caller()
        run.mark_handed_over(OK)
        said = "discarded"
    elif action == policy.REJECT:
        raise Rejected(f"message refused: {_result(answer)}")
    else:
        raise Defer(f"{answer.scanner} {answer.finding.text}", answer.finding.code)
    room = max(LOGGED - len("; ") - len(said), FOUND_MIN)
    return f"{printable(_result(answer), room)}; {said}", status


def _result(answer: Answer) -> str:
    finding = answer.finding
    if finding.verdict is CLEAN:
        return f"clean: {answer.scanner} {answer.seconds * 1000:.0f}ms"
    return f"{finding.verdict.name}: {', '.join(finding.names) or finding.text}"

"""What doctor checks: a function each, in a table.

A check looks at one service and yields what it finds: nothing where it does not apply,
and at least one Result where it does.  It raises Skip where it applies and cannot look, and
nothing else that it could expect.  Its name is what the report calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from avcheck.admin.checks import (
    clamd,
    handling,
    main_cf,
    pipe,
    program,
    reinjection,
    scanner,
    spool,
    waitfile,
)
from avcheck.admin.look import AS_ROOT, ERROR, SKIPPED, Look, Result, Skip
from avcheck.admin.output import Trouble
from avcheck.printable import printable

Check = Callable[[Look], Iterator[Result]]

# In the order of the report.
CHECKS: tuple[Check, ...] = (
    spool.spool_owner,
    spool.spool_usable,
    spool.spool_private,
    spool.spool_room,
    spool.spool_nameless,
    spool.spool_local,
    spool.spool_left_behind,
    waitfile.waitfile,
    scanner.scanner_answers,
    scanner.scanner_knows_virus,
    scanner.scanner_proof,
    scanner.scanner_signatures,
    scanner.scanner_account,
    scanner.scanner_socket,
    scanner.scanner_chroot,
    scanner.scanner_group,
    clamd.clamd_limits,
    clamd.clamd_alerts,
    clamd.clamd_looks_inside,
    clamd.clamd_scan_time,
    clamd.clamd_threads,
    handling.deadline,
    program.program,
    program.guard,
    handling.handler,
    handling.quarantine,
    handling.delivers_unproved,
    reinjection.sendmail_arguments,
    reinjection.reinjection_answers,
    reinjection.reinjection_loop,
    reinjection.reinjection_private,
    reinjection.reinjection_size,
    pipe.pipe_flags,
    pipe.pipe_null_sender,
    pipe.pipe_arguments,
    pipe.pipe_user,
    pipe.pipe_time_limit,
    pipe.pipe_concurrency,
    pipe.pipe_recipients,
    pipe.pipe_once,
    main_cf.bounces,
    main_cf.message_size,
    main_cf.filter_used,
    main_cf.filter_mappings,
    main_cf.safety_net,
    main_cf.smtputf8,
    main_cf.xforward,
)


def results(check: Check, look: Look) -> list[Result]:
    """What the check finds, and that it was skipped where it was."""
    found: list[Result] = []
    try:
        for result in check(look):
            found.append(result)
    except Skip as why:
        found.append(Result(SKIPPED, why.text, why.remedy))
    except PermissionError as why:
        where = printable(str(why.filename or ""))
        found.append(Result(SKIPPED, f"{where}: {why.strerror}", AS_ROOT))
    except Trouble as why:
        found.append(Result(ERROR, why.message, why.remedy))
    return found

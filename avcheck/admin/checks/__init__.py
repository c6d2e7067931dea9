"""What doctor checks: a function each, in a table.

A check looks at one service and yields what it finds: nothing where it does not apply,
and at least one Result where it does.  It raises Skip where it applies and cannot look, and
nothing else that it could expect.  Its name is what the report calls it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from avcheck.admin import output
from avcheck.admin.checks import (
    back,
    clamd,
    exim_back,
    exim_command,
    exim_router,
    exim_running,
    exim_transport,
    exim_ways,
    front,
    handling,
    knock,
    limits,
    main_cf,
    net,
    pipe,
    pipe_account,
    program,
    queue,
    reach,
    reinjection,
    running,
    scanner,
    sending,
    sendmail_mailer,
    sendmail_ways,
    sessions,
    spool,
    tables,
    tried,
    waitfile,
)
from avcheck.admin.look import ERROR, SKIPPED, Look, Result, Skip
from avcheck.admin.output import Trouble
from avcheck.admin.places import AS_ROOT
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
    reach.files_readable,
    reach.metrics_written,
    scanner.scanner_answers,
    clamd.clamd_restarted,
    tried.clamd_room,
    tried.scanner_knows_virus,
    tried.scanner_largest,
    tried.scanner_encrypted,
    scanner.scanner_proof,
    scanner.scanner_signatures,
    scanner.scanner_account,
    scanner.scanner_socket,
    scanner.scanner_chroot,
    scanner.scanner_group,
    clamd.clamd_limits,
    clamd.clamd_equal_sizes,
    clamd.clamd_alerts,
    clamd.clamd_looks_inside,
    clamd.clamd_leaves_nothing_out,
    clamd.clamd_self_check,
    clamd.clamd_scan_time,
    clamd.clamd_threads,
    limits.deadline,
    program.program,
    program.guard,
    handling.handler,
    handling.quarantine,
    handling.delivers_unproved,
    reinjection.sendmail_arguments,
    back.reinjection_answers,
    reinjection.reinjection_loop,
    reinjection.reinjection_private,
    reinjection.reinjection_size,
    reinjection.reinjection_mappings,
    running.postfix_reloaded,
    pipe.pipe_flags,
    pipe.pipe_attributes,
    pipe.pipe_null_sender,
    pipe.pipe_arguments,
    pipe_account.pipe_columns,
    pipe_account.pipe_user,
    limits.pipe_time_limit,
    pipe.pipe_concurrency,
    pipe.pipe_recipients,
    pipe.pipe_once,
    main_cf.bounces,
    queue.queue_lifetime,
    queue.queue_runs,
    main_cf.soft_bounce,
    main_cf.message_size,
    sessions.smtp_used,
    sending.smtp_answers,
    sending.smtp_restarted,
    sending.smtp_client,
    sessions.smtp_loop,
    sending.smtp_xforward,
    sessions.smtp_times,
    sessions.smtp_processes,
    sessions.smtp_refuses,
    front.filter_used,
    front.front_doors,
    knock.front_answers,
    tables.filter_tables,
    main_cf.filter_mappings,
    net.safety_net,
    main_cf.smtputf8,
    main_cf.xforward,
    exim_running.exim_restarted,
    exim_router.exim_router,
    exim_ways.exim_routes,
    exim_ways.exim_system_filter,
    exim_ways.exim_loop,
    exim_ways.exim_private,
    exim_back.exim_takes,
    exim_running.exim_reserve,
    exim_transport.exim_account,
    exim_transport.exim_message,
    exim_transport.exim_keeps,
    exim_command.exim_command,
    exim_transport.exim_time_limit,
    exim_transport.exim_delivers,
    exim_transport.exim_retry,
    exim_transport.exim_bounce,
    sendmail_ways.sendmail_reads,
    sendmail_ways.sendmail_routes,
    sendmail_ways.sendmail_loop,
    sendmail_ways.sendmail_private,
    sendmail_ways.sendmail_queues,
    sendmail_mailer.sendmail_account,
    sendmail_mailer.sendmail_message,
    sendmail_mailer.sendmail_sender,
    sendmail_mailer.sendmail_recipients,
    sendmail_mailer.sendmail_keeps,
    sendmail_mailer.sendmail_concurrency,
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
    except Exception as why:  # a fault of ours, and the other checks go on
        if os.environ.get("AVCHECKCTL_DEBUG"):
            raise
        text = f"a fault in avcheckctl: {type(why).__name__}: {printable(str(why), 300)}"
        found.append(Result(ERROR, text, output.REPORT))
    return found


def questions(look: Look) -> Iterator[tuple[Any, ...]]:
    """What the checks ask others: a function and its arguments, to be asked side by side."""
    for scanner_, target in look.targets:
        yield scanner.sign_of_life, scanner_, target
    yield from tried.questions(look)
    if not look.settings.program and not look.settings.no_inject:
        yield (back.offers,)
    if program.may_be_run(look):
        yield (program.version,)
    yield from knock.questions(look)
    if sending.may_be_asked(look):
        yield (sending.hello,)

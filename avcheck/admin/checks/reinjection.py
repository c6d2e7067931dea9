"""Checks of the way back into the mail system."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck.admin import doors, spawned
from avcheck.admin.checks import front
from avcheck.admin.doors import is_here, listens_at, names
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.admin.master_cf import Line, Pipe
from avcheck.admin.postfix import Postfix
from avcheck.deliver import sendmail
from avcheck.printable import printable
from avcheck.settings import Settings

SIZE = "message_size_limit"


def sendmail_arguments(look: Look) -> Iterator[Result]:
    """The sendmail program of -S can be run, and its options keep the message as it is."""
    argv = look.settings.program
    if not argv or look.settings.no_inject:
        return
    name = printable(argv[0])
    with look.acting():
        allowed = os.access(argv[0], os.X_OK, effective_ids=True)
    if not allowed:
        yield Result(ERROR, f"{name}: cannot be run", "-S /usr/sbin/sendmail -S -G -S -i")
        return
    if os.path.basename(argv[0]) != b"sendmail":
        yield Result(OK, f"{name} can be run")
        return
    letters = sendmail.letters(argv[1:])
    if b"t" in letters:
        text = f"{name} -t sends to those in the header once more"
        yield Result(ERROR, text, f"-S {name} -S -G -S -i")
    elif b"i" not in letters:
        text = f"{name} without -i: a line with a single dot ends the message"
        yield Result(ERROR, text, f"-S {name} -S -G -S -i")
    else:
        yield Result(OK, f"{name} can be run, and keeps the message as it is")


def reinjection_loop(look: Look) -> Iterator[Result]:
    """What goes back does not come to avcheck again."""
    postfix, pipe, settings = look.postfix, look.service.pipe, look.settings
    if postfix is None or pipe is None or settings.no_inject:
        return
    if settings.program:
        if os.path.basename(settings.program[0]) != b"sendmail":
            return
        line = postfix.service("pickup")
        way = "sendmail"
    else:
        line = postfix.listener(settings.server)
        way = str(settings.server)
    if line is None:
        if not settings.program:
            yield Result(
                WARNING,
                f"{way} is no service of this Postfix; make sure that it does not lead back here",
                "avcheckctl setup postfix",
            )
        return
    if parameter := doors.by_transport(postfix):
        text = f"{parameter} sends what comes back at {way} to avcheck again: mail goes round, and"
        # The other way to have mail filtered, of which the way back can be left out.
        filter_ = front.in_main_cf(postfix, f"content_filter={pipe.name}:dummy")
        others = "default_transport = smtp"
        if parameter != "default_transport":
            others = f"# and take the line with * out of {printable(postfix.value(parameter))}"
        yield Result(ERROR, f"{text} then {_end(settings)}", f"{filter_}\n{others}")
    elif postfix.filters(line, pipe):
        yield Result(
            ERROR,
            f"{way} leads back to avcheck: mail goes round, and then {_end(settings)}",
            _other_way(postfix, pipe, line),
        )
    else:
        yield Result(OK, f"{way} does not lead back to avcheck")


def _end(settings: Settings) -> str:
    """What becomes of mail after too many hops: a server refuses it, and avcheck waits then."""
    return "bounces" if settings.program or settings.refused == "bounce" else "waits"


def _other_way(postfix: Postfix, pipe: Pipe, line: Line) -> str:
    """How mail goes back without coming round again, and no other mail goes round the filter.

    A service that others send mail to is never told to have no filter.
    """
    if doors.made_for_the_way_back(postfix, line):
        return f"{line.name} {line.type} ... {line.command}\n    -o content_filter="
    ready = [
        each.name if each.host else f"127.0.0.1:{each.port}"
        for each in postfix.lines
        if doors.made_for_the_way_back(postfix, each) and not postfix.filters(each, pipe)
    ]
    return f"-S {ready[0] if ready else '127.0.0.1:10026'}"


def reinjection_private(look: Look) -> Iterator[Result]:
    """Only this host can reach the way back: what comes in there is not scanned."""
    postfix, settings = look.postfix, look.settings
    if postfix is None or settings.program or settings.no_inject:
        return
    line = postfix.listener(settings.server)
    if line is None:
        return  # reinjection_loop says so
    remedy = (
        f"127.0.0.1:{line.port} inet n  -  n  -  {line.limit}  smtpd\n    -o mynetworks=127.0.0.0/8"
    )
    places = [name for name in listens_at(postfix, line) if not is_here(name)]
    trusted = [name for name in names(postfix.value("mynetworks", line)) if not is_here(name)]
    allowed = names(postfix.value("smtpd_recipient_restrictions", line))
    if not places:
        yield Result(OK, f"{line.name} can be reached from this host only")
    elif trusted or allowed != ["permit_mynetworks", "reject"]:
        text = (
            f"{line.name} can be reached from elsewhere, and mail that comes there is not scanned"
        )
        yield Result(ERROR, text, remedy)
    else:
        text = f"{line.name} can be reached from elsewhere, though it takes mail of this host only"
        yield Result(WARNING, text, remedy)


def reinjection_size(look: Look) -> Iterator[Result]:
    """What was small enough for the front door is so on the way back, a header later."""
    postfix, call, settings = look.postfix, look.service.call, look.settings
    if postfix is None or call is None or settings.no_inject:
        return
    filtered = spawned.come_to(postfix, call)
    largest = [postfix.number(SIZE, line) for line in filtered]
    if settings.program:
        if os.path.basename(settings.program[0]) != b"sendmail":
            return
        limits = {"postdrop": postfix.number(SIZE, None)}
        remedy = (
            f"{filtered[0].name if filtered else 'smtp'} ... smtpd\n    -o message_size_limit=..."
        )
    else:
        line = postfix.listener(settings.server)
        if line is None:
            return  # reinjection_loop says so
        name = postfix.value("cleanup_service_name", line, default="cleanup")
        cleanup = postfix.service(name)
        limits = {line.name: postfix.number(SIZE, line), name: postfix.number(SIZE, cleanup)}
        remedy = (
            f"{line.name} ... smtpd\n    -o message_size_limit=0\n"
            "    -o cleanup_service_name=avcheck-cleanup\n"
            "avcheck-cleanup unix n  -  n  -  0  cleanup\n    -o message_size_limit=0"
        )
        if cleanup is None:
            yield Result(ERROR, f"{line.name}: there is no service {printable(name)}", remedy)
            return
    if not largest:
        return  # filter_used says so
    small = [
        name for name, limit in limits.items() if limit and (limit <= max(largest) or 0 in largest)
    ]
    if small:
        text = f"a message that just fits is too large for {', '.join(small)} then, and waits"
        yield Result(WARNING, text, remedy)
    else:
        yield Result(OK, "what the front door takes is not too large for the way back")


def reinjection_mappings(look: Look) -> Iterator[Result]:
    """Aliases are expanded on the way back, where it was not done at the front door."""
    postfix, settings = look.postfix, look.settings
    if postfix is None or look.service.call is None or settings.no_inject:
        return
    by_program = bool(settings.program)
    line = postfix.service("pickup") if by_program else postfix.listener(settings.server)
    if line is None or line in spawned.come_to(postfix, look.service.call):
        return  # reinjection_loop says so
    if "no_address_mappings" in names(postfix.value("receive_override_options", line)):
        options = "no_unknown_recipient_checks,no_header_body_checks,no_milters"
        text = f"{line.name}: aliases are never expanded, and mail to them bounces"
        remedy = f"{printable(line.name)} {line.type} ... {line.command}"
        yield Result(ERROR, text, f"{remedy}\n    -o receive_override_options={options}")
    else:
        yield Result(OK, f"{line.name}: aliases are expanded on the way back")

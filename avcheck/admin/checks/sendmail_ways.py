"""Checks of the ways of mail through two sendmails: to avcheck, on, and not round again."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck.admin import sendmail_rules
from avcheck.admin.checks.running import changed
from avcheck.admin.doors import is_here
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.master_cf import port_number
from avcheck.admin.sendmail_instance import BEHIND, Half, Sendmail
from avcheck.admin.sendmail_options import Door, Mailer
from avcheck.admin.sendmail_rules import REFUSES
from avcheck.deliver import sendmail as program
from avcheck.printable import printable

# The port of the documents.
BACK = "10026"

# A mailer with this for its program speaks SMTP, to the port that its arguments end with.
SMTP = "[IPC]"

# A table's tabs would be blanks on a terminal, and sendmail needs tabs: sed(1) makes them.  The
# rules come first in LOCAL_RULE_0, and nothing else is taken away.
RULES = (
    "{{ grep -q '^LOCAL_RULE_0' {source} || echo LOCAL_RULE_0 >>{source}; }} && "
    "sed -i.before '0,/^LOCAL_RULE_0/s/^LOCAL_RULE_0.*/&\\n"
    "R$* < @ $* > $*\\t$#{mailer} $@ scan $: $1 < @ $2 > $3\\n"
    "R$+\\t$#{mailer} $@ scan $: $1/' {source} && m4 {source} >{configuration}"
)


def looks(look: Look) -> tuple[Sendmail, Mailer] | None:
    """The two sendmails, and the mailer that is looked at."""
    call = look.service.call
    return (look.sendmail, call) if look.sendmail and isinstance(call, Mailer) else None


def sendmail_reads(look: Look) -> Iterator[Result]:
    """sendmail has nothing to say against its configuration, and it was made of its .mc file."""
    if (looked := looks(look)) is None:
        return
    pair, _ = looked
    bad = False
    for half in filter(None, (pair.front, pair.behind)):
        place = printable(half.configuration)
        for text in half.complaints:
            bad = True
            yield Result(ERROR, f"{place}: {printable(text)}", "avcheckctl setup sendmail")
        source = half.source
        if changed(source) > changed(half.configuration):
            bad = True
            text = f"{printable(source)} was changed after {place} was made of it"
            yield Result(WARNING, text, f"m4 {printable(source)} > {place}")
    if not bad:
        yield Result(OK, "sendmail has nothing to say against its configuration")


def sendmail_routes(look: Look) -> Iterator[Result]:
    """The front door sends all mail to avcheck, as sendmail itself says (/parse)."""
    if (looked := looks(look)) is None or looked[1] != looked[0].calls[0]:
        return  # said once, and not for each avcheck
    pair, call = looked
    front = pair.front
    remedy = RULES.format(
        source=printable(front.source),
        configuration=printable(front.configuration),
        mailer=printable(call.name),
    )
    others = [name for name, _ in front.hops if name not in (*pair.names, *REFUSES)]
    rules = [*sendmail_rules.before(front.rules, pair.names)]
    if others:
        text = f"mail goes to the mailer {printable(others[0])}, round avcheck, unscanned"
        yield Result(ERROR, text, remedy)
    for rule, mailer in [] if others else rules:
        text = (
            f"LOCAL_RULE_0: R{printable(rule.left, 80)} comes before avcheck's rules, and what it"
        )
        text += f" takes goes to the mailer {printable(mailer)}, unscanned"
        yield Result(ERROR, text, remedy)
    if others or rules:
        return
    if not front.hops:
        text = "where mail goes is not known"
        yield Result(SKIPPED, text, f"sendmail -C {printable(front.configuration)} -bv root")
    else:
        yield Result(OK, "the front door sends all mail to avcheck")


def sendmail_loop(look: Look) -> Iterator[Result]:
    """What is handed back does not come to the front door again, nor does what is sent on."""
    if (looked := looks(look)) is None or look.settings.no_inject:
        return
    pair, _ = looked
    if _leads_back(look, pair):
        text = f"{_way(look)} leads back to the front door: mail goes round, and bounces in the end"
        yield Result(ERROR, text, f"-S 127.0.0.1:{_ready(pair)}")
    elif pair.behind is None:
        text = f"there is no {BEHIND} beside {printable(pair.front.configuration)}"
        yield Result(SKIPPED, f"{text}: where mail goes then is not known", "--sendmail-cf=FILE")
    elif round_ := _round(pair, pair.behind):
        text = f"{printable(pair.behind.configuration)} sends mail to {round_}"
        text += ": it goes round, and bounces in the end"
        yield Result(
            ERROR, text, f"undefine(`SMART_HOST')dnl {os.path.basename(pair.behind.source)}"
        )
    else:
        yield Result(OK, f"{_way(look)} does not lead back to avcheck")


def _way(look: Look) -> str:
    return "the program of -S" if look.settings.program else str(look.settings.server)


def _leads_back(look: Look, pair: Sendmail) -> bool:
    """Whether avcheck hands mail to the front door."""
    argv = look.settings.program
    if argv:  # without -Am sendmail(1) hands it to port 25
        letters = program.letters(argv[1:])
        named = any(each.startswith((b"-A", b"-C")) for each in argv[1:])
        return os.path.basename(argv[0]) == b"sendmail" and not named and b"C" not in letters
    return _back(look) in pair.front.ports and _here(look)


def _back(look: Look) -> str:
    return port_number(look.settings.server.port.decode("ascii", "replace"))


def _here(look: Look) -> bool:
    return is_here(look.settings.server.host.decode("ascii", "replace"))


def _ready(pair: Sendmail) -> str:
    """The port of the sendmail that delivers, else the documented one."""
    behind = pair.behind.doors if pair.behind else ()
    ready = [door.port for door in behind if door.port not in pair.front.ports]
    return next(iter(ready), BACK)


def _round(pair: Sendmail, behind: Half) -> str:
    """Where the sendmail that delivers sends mail, if that leads to avcheck again."""
    for name, host in behind.hops:
        if name in pair.names:
            return f"the mailer {printable(name)}"
        equates = behind.mailers.get(name, {})
        words = equates.get("A", "").split()
        port = port_number(words[2]) if len(words) > 2 else "25"
        if equates.get("P") == SMTP and is_here(host) and port in pair.front.ports:
            return f"the front door, port {printable(port)}"
    return ""


def sendmail_private(look: Look) -> Iterator[Result]:
    """Only this host reaches the sendmail that delivers: nobody scans what comes there."""
    if (looked := looks(look)) is None or look.settings.program or look.settings.no_inject:
        return
    pair, back = looked[0], _back(look)
    if pair.behind is None or back in pair.front.ports:
        return  # sendmail_loop says so
    remedy = (
        f"FEATURE(`no_default_msa')dnl {os.path.basename(pair.behind.source)}\n"
        f"DAEMON_OPTIONS(`Name=MTA, Family=inet, Addr=127.0.0.1, Port={back}, Listen=40')dnl"
        " in place of the others"
    )
    doors = pair.behind.doors or (Door("", "25"),)  # its own, where none is named
    open_ = [door for door in doors if not is_here(door.host)]
    others = [door for door in doors if door.port != back]
    if not any(door.port == back for door in doors):
        text = f"{printable(pair.behind.configuration)} does not listen on port {printable(back)}"
        yield Result(WARNING, f"{text}, which mail is handed back to", remedy)
    elif open_ or others:
        door = (open_ or others)[0]
        text = f"the sendmail that delivers takes mail at port {printable(door.port)}"
        text += " from elsewhere" if open_ else ", too"
        yield Result(ERROR, f"{text}, and it is not scanned", remedy)
    else:
        yield Result(OK, f"port {printable(back)} can be reached from this host only")


def sendmail_queues(look: Look) -> Iterator[Result]:
    """Each of the two has a queue of its own: the other would deliver what is not scanned."""
    if (looked := looks(look)) is None or looked[0].behind is None:
        return
    pair = looked[0]
    queues = [half.options.get("QueueDirectory", "") for half in (pair.front, looked[0].behind)]
    if queues[0] == queues[1]:
        text = f"both have the queue {printable(queues[0])}: what is not scanned may be delivered"
        yield Result(ERROR, text, pair.front.define("QUEUE_DIR", "/var/spool/mqueue-avcheck"))
    else:
        yield Result(OK, "each of the two has a queue of its own")

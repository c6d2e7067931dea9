"""The check of what an Exim does with clean mail that comes back: it delivers it, at once."""

from __future__ import annotations

from collections.abc import Iterator

from avcheck.admin.checks.exim_ways import looks
from avcheck.admin.exim_instance import Exim, back_of
from avcheck.admin.exim_session import CHANGED, ODD, PLAIN, QUEUED
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.printable import printable

# The ACLs that may refuse a message, after RCPT.
AT_DATA = ("acl_smtp_predata",)
WHOLE = ("acl_smtp_data", "acl_smtp_mime", "acl_smtp_dkim", "acl_smtp_data_prdr")

SEE = "see acl_smtp_data and acl_avcheck in `avcheckctl setup exim`"


def exim_takes(look: Look) -> Iterator[Result]:
    """What comes back is neither refused after all, nor kept, nor changed (exim -bh)."""
    looked = looks(look)
    if looked is None or look.settings.no_inject:
        return
    exim, call = looked
    port = back_of(call)
    if not any(door.port == port for door in exim.doors):
        return  # exim_loop, or exim_private, says so
    plain, odd = (exim.sessions.get((port, each)) for each in (PLAIN, ODD))
    where = f"port {printable(port)}"
    if plain is None or odd is None:
        text = f"whether {where} takes a whole message is not known"
        yield Result(SKIPPED, text, f"exim4 -oMi 127.0.0.1.{printable(port)} -bh 127.0.0.1")
    elif plain.refused:
        ends = "bounces" if look.settings.refused == "bounce" else "waits"
        text = f"{where} takes no message, and clean mail {ends}: {printable(plain.refused, 200)}"
        names = WHOLE if plain.whole else AT_DATA
        yield Result(ERROR, text, _open(exim, port, names))
    elif plain.fate:
        level = WARNING if plain.fate in (QUEUED, CHANGED) else ERROR
        acl = f" (ACL {printable(plain.acl)})" if plain.acl else ""
        text = f"what comes back to {where} {plain.fate}{acl}"
        yield Result(level, text, _open(exim, port, _with(exim, plain.acl)))
    elif odd.refused and not exim.main.get("acl_not_smtp"):
        text = f"{where} does not take all mail of this host, some waits: "
        names = WHOLE if odd.whole else AT_DATA
        remedy = _open(exim, port, names)
        yield Result(WARNING, text + printable(odd.refused, 200), remedy)
    else:
        yield Result(OK, f"{where} takes a whole message, and what comes back goes on")


def _with(exim: Exim, acl: str) -> tuple[str, ...]:
    """The options that name the ACL; where it has no name, those of a whole message."""
    found = (name for name, value in exim.main.items() if name.startswith("acl_") and acl in value)
    return tuple(found) if acl else WHOLE


def _open(exim: Exim, port: str, names: tuple[str, ...]) -> str:
    """Those of the options that are set, so that they accept what comes back, and no other mail.

    Who may send to that port the one for RCPT says.
    """
    own = {"acl_smtp_rcpt": "accept hosts = 127.0.0.1"}
    lines = [
        f"{name} = ${{if eq{{$received_port}}{{{port}}}{{{own.get(name, 'accept')}}}{{{value}}}}}"
        for name in names
        if (value := exim.main.get(name, "")) and value != "accept"
    ]
    return "\n".join(lines) or SEE

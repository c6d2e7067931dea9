"""A mail system that dies between its fork and our first line.

Then standard input ends in the middle of the message, or before its first byte, and the parent
that we could remember is init already.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command.limits.runs import CLEAN, HANDLER, QUARANTINE, SENDMAIL, Runner, set_up, words_of
from tests.support.mta import MAIL, until
from tests.support.servers import packages

# A shell stands for the MTA; what it has forked waits before it becomes
# the command.  (A background command of a shell has no standard input, unless it is told so.)
MTA = """
exec 3<&0
{ read go <"$WAIT"; exec "$0" "$@"; } <&3 3<&- &
echo "$!" >"$WAIT.number"
exec 3<&-
wait
"""

INIT = 1


def parent(pid: int) -> int:
    """The number of its parent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


@pytest.mark.parametrize("message", [b"", MAIL[:40]], ids=["nothing", "a part"])
@pytest.mark.parametrize("kind", [CLEAN, SENDMAIL, HANDLER, QUARANTINE])
def test_what_a_mail_system_that_died_has_begun_to_say_is_no_message(
    either: Runner, tmp_path: Path, kind: str, message: bytes
) -> None:
    wait = tmp_path / "wait"
    os.mkfifo(wait)
    with either.site() as site:
        set_up(site, kind)
        mta = ["env", f"WAIT={wait}", "/bin/sh", "-c", MTA]
        running = site.start([*mta, *words_of(site, kind)])
        go = os.open(wait, os.O_WRONLY)  # when somebody waits there
        try:
            number = tmp_path / "wait.number"
            until(lambda: number.exists() and number.read_text().endswith("\n"))
            child = int(number.read_text())
            running.feed(message)
            running.process.kill()
            running.process.wait()
            until(lambda: parent(child) != running.process.pid)
            adopted = parent(child)
        finally:
            os.write(go, b"\n")
            os.close(go)
        text = running.output()
        if adopted != INIT:
            raise packages.without_root(f"orphans become children of {adopted}, not of init")
        assert b"the mail system that called is gone" in text, text
        assert site.delivered == []
        assert not any(program.calls for program in site._programs)
        assert site.left == []
        assert not list((site.directory / "quarantine").glob("[!.]*"))

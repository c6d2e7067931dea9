"""A run at a site of its own: what it is to do, and what came of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.mta import KEEP, MAIL, RECIPIENT, TEMPFAIL, Ended, Site

FOUND = b"Eicar-Test-Signature FOUND"

# What can come of a run.
DONE = "done"  # status 0, and somebody has the message once, whole
KEPT = "kept"  # status 75, and nobody else has it
DIED = "died"  # another status or a signal, and nobody has it

# What a run is to do.
CLEAN = "clean"
SENDMAIL = "sendmail"
HEADER = "sendmail -h"
HANDLER = "handler"
QUARANTINE = "quarantine"
DEFERRED = "deferred"
USAGE = "usage"
KINDS = (CLEAN, SENDMAIL, HEADER, HANDLER, QUARANTINE, DEFERRED, USAGE)

# Those that end with DONE if nothing is in their way.
GOOD = (CLEAN, SENDMAIL, HEADER, HANDLER, QUARANTINE)

ON_THE_WIRE = b"".join(line + b"\r\n" for line in MAIL.splitlines())

# What stays in the spool directory.
STATE = ("slot.", "canary.", "attempts.")


@dataclass(frozen=True)
class Outcome:
    """What came of a run, and how it ended; told is whether its first words keep the message."""

    came: str
    ended: Ended

    @property
    def told(self) -> bool:
        return bool(KEEP.match(self.ended.output))


@dataclass(frozen=True)
class Runner:
    """Runs this command, by default as this user, below the directory (of the system's choice)."""

    command: Sequence[str | Path]
    user: int | None = None
    directory: Path | None = None
    environment: Mapping[str, str] | None = None

    def run(
        self,
        kind: str,
        *options: str,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        tcp: bool = False,
        recipients: Sequence[str | bytes] = (RECIPIENT,),
        change: Callable[[Site], None] = lambda _: None,
        **how: int | str | Path,
    ) -> Outcome:
        """What comes of it; AssertionError for what must not.

        before is a command that runs what follows it; environment is all of it, when given;
        tcp is how the scanner is asked; change does something to the site before the run.
        """
        with self.site() as site:
            if environment is not None:
                site.surround(environment)
            set_up(site, kind, tcp)
            change(site)
            words = [*before, *words_of(site, kind, *options, recipients=recipients)]
            running = site.start(words, **how)  # type: ignore[arg-type]
            with contextlib.suppress(BrokenPipeError):  # it does not read it
                running.feed()
            return judge(site, running.end())

    @contextlib.contextmanager
    def site(self) -> Iterator[Site]:
        """A site that nothing has happened at."""
        with tempfile.TemporaryDirectory(prefix="limits-", dir=self.directory) as name:
            directory = Path(name)
            directory.chmod(0o755)
            with Site(
                self.command, directory, user=self.user, environment=self.environment
            ) as site:
                yield site


def set_up(site: Site, kind: str, tcp: bool = False) -> None:
    """Scanner, next hop and handler for that kind."""
    if kind == DEFERRED:
        site.clamd(tcp, reply=b"")
    else:
        site.clamd(tcp, says=FOUND if kind in (HANDLER, QUARANTINE) else b"OK")
    site.smtp()
    if kind == SENDMAIL:
        site.sendmail('mv "$notes/stdin" "$notes/message"')
    elif kind == HEADER:
        site.sendmail('sed 1d "$notes/stdin" >"$notes/part" && mv "$notes/part" "$notes/message"')
    elif kind == HANDLER:
        site.handler('mv "$1" "$notes/message"')


def words_of(
    site: Site, kind: str, *options: str, recipients: Sequence[str | bytes] = (RECIPIENT,)
) -> list[str | bytes]:
    """The command line for that kind."""
    if kind == HEADER:
        options = ("-h", "here", *options)
    elif kind == QUARANTINE:
        options = ("--on", f"infected=quarantine:{site.directory}/quarantine", *options)
    elif kind == USAGE:
        options = ("--nonsense", *options)
    return site.words(*options, recipients=recipients)


def judge(site: Site, ended: Ended) -> Outcome:
    """What came of the run at the site."""
    copies = copies_at(site)
    for copy in copies:
        assert copy == MAIL, (ended, copy[:200])
    assert [name for name in site.left if not name.startswith(STATE)] == [], ended
    if ended.status == 0:
        assert len(copies) == 1, ended
        return Outcome(DONE, ended)
    assert copies == [], ended
    # Postfix would take it for an order to bounce.
    assert not ended.output.startswith(b"5."), ended
    return Outcome(KEPT if ended.status == TEMPFAIL else DIED, ended)


def copies_at(site: Site) -> list[bytes]:
    """Every copy of the message that somebody has taken; as MAIL if it is whole."""
    found = [MAIL if data == ON_THE_WIRE else data for data in site.delivered]
    for program in site._programs:
        with contextlib.suppress(FileNotFoundError):
            found.append(program.note("message"))
    for entry in (site.directory / "quarantine").glob("[!.]*"):
        assert os.path.exists(entry / "about.json")
        found.append((entry / "message").read_bytes())
    return found

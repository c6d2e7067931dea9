"""What doctor checks: a function each, in a table.

A check looks at one service and yields what it finds: nothing where it does not apply,
and at least one Result where it does.  It raises nothing that it could expect.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from avcheck.admin import clamdconf, peer, places
from avcheck.admin.account import account
from avcheck.admin.given import Service
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import Postfix
from avcheck.settings import Scanner, Settings, Target

OK = "ok"
WARNING = "warning"
ERROR = "error"

LEVELS = (OK, WARNING, ERROR)  # from good to bad


@dataclass(frozen=True)
class Result:
    """What a check found: how bad it is, one sentence, and the corrected line to paste."""

    level: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Look:
    """What the checks look at: a service that has settings, and what is around it."""

    service: Service
    postfix: Postfix | None = None
    clamd_conf: str = ""
    found: dict[int, peer.Peer | None] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.service.sure

    @property
    def targets(self) -> Iterator[tuple[Scanner, Target]]:
        """Each place of each scanner."""
        for scanner in (*self.settings.scanners, *self.settings.backups):
            for target in scanner.targets:
                yield scanner, target

    def peer(self, target: Target) -> peer.Peer | None:
        """The process that listens on the Unix socket, if it can be told."""
        if id(target) not in self.found:
            path = target.address.path if target.address else b""
            with account(*self.service.runs_as):
                pid = peer.listener(path) if path else 0
            self.found[id(target)] = peer.process(pid) if pid > 0 else None
        return self.found[id(target)]

    @cached_property
    def conf(self) -> clamdconf.Conf | None:
        """The configuration of the clamd on this host that is asked, or None."""
        for scanner, target in self.targets:
            if scanner.type == "clamd" and target.address and target.address.path:
                return clamdconf.of(self.clamd_conf, self.peer(target))
        return None

    @cached_property
    def message_size_limit(self) -> int:
        """The size of the largest message in bytes; 0: none, or not known."""
        text = self.postfix.value("message_size_limit") if self.postfix else ""
        return int(text) if text.isdigit() else 0


def misplaced(path: bytes) -> Result | None:
    """What is wrong with where the directory is, if root is not to touch it.

    To be looked at before root is told to create it, or to change its owner or its mode:
    install(1), chown(1) and chmod(1) follow any link.
    """
    try:
        places.owner(path)
    except Trouble as why:
        return Result(ERROR, why.message, why.remedy)
    except OSError:
        return None  # other checks say so
    return None


Check = Callable[[Look], Iterable[Result]]

# name: module here, and its function of the same name; the order of the report.
CHECKS = {
    "spool_usable": "spool",
    "spool_private": "spool",
    "spool_owner": "spool",
    "spool_room": "spool",
    "spool_nameless": "spool",
    "spool_local": "spool",
    "spool_left_behind": "spool",
    "waitfile": "spool",
    "scanner_answers": "scanner",
    "scanner_knows_virus": "scanner",
    "scanner_words": "scanner",
    "scanner_signatures": "scanner",
    "scanner_account": "scanner",
    "scanner_socket": "scanner",
    "scanner_chroot": "scanner",
    "scanner_group": "scanner",
    "clamd_limits": "clamd",
    "clamd_alerts": "clamd",
    "clamd_looks_inside": "clamd",
    "clamd_scan_time": "clamd",
    "clamd_threads": "clamd",
    "deadline": "handling",
    "program": "handling",
    "guard": "handling",
    "handler": "handling",
    "quarantine": "handling",
    "delivers_unproved": "handling",
    "sendmail_words": "reinjection",
    "reinjection_answers": "reinjection",
    "reinjection_loop": "reinjection",
    "pipe_flags": "pipe",
    "pipe_null_sender": "pipe",
    "pipe_arguments": "pipe",
    "pipe_user": "pipe",
    "pipe_time_limit": "pipe",
    "pipe_concurrency": "pipe",
    "pipe_recipients": "pipe",
    "filter_used": "pipe",
    "filter_mappings": "pipe",
    "safety_net": "pipe",
    "smtputf8": "pipe",
    "xforward": "pipe",
}


def load(name: str) -> Check:
    """The check of that name."""
    module = importlib.import_module(f"{__name__}.{CHECKS[name]}")
    check: Check = getattr(module, name)
    return check

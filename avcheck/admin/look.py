"""What a check of doctor looks at (Look), and what it finds there (Result, or Skip)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

from avcheck.admin import clamdconf, peer, places
from avcheck.admin.account import account
from avcheck.admin.account import name as account_name
from avcheck.admin.commands import ping
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import Postfix
from avcheck.admin.services import Service
from avcheck.printable import printable
from avcheck.settings import Scanner, Settings, Target

OK = "ok"
SKIPPED = "skipped"
WARNING = "warning"
ERROR = "error"

LEVELS = (OK, SKIPPED, WARNING, ERROR)  # from good to bad

AS_ROOT = "run this as root"


@dataclass(frozen=True)
class Result:
    """What a check found: how bad it is, one sentence, and the corrected line to paste.

    SKIPPED: it applies, and could not be looked at.
    """

    level: str
    text: str
    remedy: str = ""


class Skip(Exception):  # noqa: N818
    """What a check is about cannot be looked at; remedy is how it could be."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy


@dataclass(frozen=True)
class Look:
    """What the checks look at: a service that has settings, and what is around it."""

    service: Service
    postfix: Postfix | None = None
    clamd_conf: str = ""
    asked: ping.Asked = field(default_factory=ping.Asked)
    found: dict[int, peer.Peer | None] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.service.require_settings

    @property
    def targets(self) -> Iterator[tuple[Scanner, Target]]:
        """Each place of each scanner."""
        for scanner in (*self.settings.scanners, *self.settings.backups):
            for target in scanner.targets:
                yield scanner, target

    def acting(self) -> AbstractContextManager[None]:
        """Act as the account that runs avcheck while in the with block; raises Skip if we cannot.

        What another account sees says nothing about that one, so nothing is looked at by it.
        """
        return account(*self.accounts())

    def accounts(self) -> tuple[int, int | None]:
        """User and group that avcheck runs as; raises Skip if we cannot act as them."""
        user, group = self.service.runs_as
        us = os.geteuid()
        if us != 0 and user == us and self.service.pipe is None:
            user = self._owner(us)
        if us not in (0, user):
            raise Skip("only root can see what the account of avcheck sees", AS_ROOT)
        if self.spool_owner not in (user, 0):
            text = f"spool {printable(self.settings.spool)} is not {account_name(user)}'s"
            raise Skip(text, "see spool_owner")
        return user, group

    @cached_property
    def spool_owner(self) -> int:
        """Whose the spool directory is, or the nearest one above it; 0 where that is not safe."""
        if self.service.pipe is None or not self.settings.spool:
            return self.service.runs_as[0]
        try:
            return places.owner(self.settings.spool)
        except (OSError, Trouble):
            return 0  # spool_usable says so

    def _owner(self, us: int) -> int:
        """Whose the spool directory is; whoever cannot look there is not its owner."""
        try:
            return os.stat(self.settings.spool).st_uid if self.settings.spool else us
        except PermissionError:
            return -1
        except OSError:
            return us

    def peer(self, target: Target) -> peer.Peer | None:
        """The process that listens on the Unix socket, if it can be told."""
        if id(target) not in self.found:
            path = target.address.path if target.address else b""
            with self.acting():
                pid = peer.listener(path) if path else 0
            self.found[id(target)] = peer.process(pid) if pid > 0 else None
        return self.found[id(target)]

    @property
    def conf(self) -> clamdconf.Conf | None:
        """The configuration of the clamd that is asked, None if it is not known."""
        try:
            return self.sure_conf
        except Skip:
            return None

    @cached_property
    def sure_conf(self) -> clamdconf.Conf | None:
        """The configuration of the clamd that is asked, None without one.

        Raises Skip if it cannot be read.
        """
        asked = [target for scanner, target in self.targets if scanner.type == "clamd"]
        here = [target for target in asked if target.address and target.address.path]
        if not asked:
            return None
        if not here and not self.clamd_conf:
            raise Skip("clamd is on another host, or asked as if it were", "--clamd-conf FILE")
        process = None if self.clamd_conf else self.peer(here[0])
        conf = clamdconf.of(self.clamd_conf, process)
        if conf is None:
            name = printable(self.clamd_conf) or "clamd's configuration file"
            raise Skip(f"{name}: not there, or not readable", "--clamd-conf FILE")
        return conf

    @cached_property
    def message_size_limit(self) -> int:
        """The size of the largest message in bytes; 0: none, or not known."""
        return self.postfix.number("message_size_limit") if self.postfix else 0


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

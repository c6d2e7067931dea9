"""What a check of doctor looks at (Look), and what it finds there (Result, or Skip)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import Any, TypeVar

from avcheck.admin import asking, clamdconf, peer, places
from avcheck.admin.account import account
from avcheck.admin.account import name as account_name
from avcheck.admin.exim_instance import Exim
from avcheck.admin.output import Trouble
from avcheck.admin.places import AS_ROOT
from avcheck.admin.postfix import Postfix
from avcheck.admin.sendmail_instance import Sendmail
from avcheck.admin.services import Service
from avcheck.printable import printable
from avcheck.settings import Scanner, Settings, Target

OK = "ok"
SKIPPED = "skipped"
WARNING = "warning"
ERROR = "error"

LEVELS = (OK, SKIPPED, WARNING, ERROR)  # from good to bad

T = TypeVar("T")


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
    asked: asking.Asked = field(default_factory=asking.Asked)
    found: dict[int, peer.Peer | None] = field(default_factory=dict)
    until: float = field(default_factory=lambda: monotonic() + asking.LIMIT)
    said: dict[Any, asking.Outcome] = field(default_factory=dict)
    exim: Exim | None = None
    sendmail: Sendmail | None = None

    @property
    def settings(self) -> Settings:
        return self.service.require_settings

    @property
    def targets(self) -> Iterator[tuple[Scanner, Target]]:
        """Each place of each scanner."""
        for scanner in (*self.settings.scanners, *self.settings.backups):
            for target in scanner.targets:
                yield scanner, target

    @cached_property
    def single(self) -> tuple[Scanner, ...]:
        """Each place of each scanner, as a scanner of its own: what one says is not another's."""
        return tuple(
            Scanner(scanner.type, scanner.row, (target,)) for scanner, target in self.targets
        )

    def acting(self) -> AbstractContextManager[None]:
        """Act as the account that runs avcheck while in the with block; raises Skip if we cannot.

        What another account sees says nothing about that one, so nothing is looked at by it.
        """
        return account(*self.accounts())

    def accounts(self) -> tuple[int, int | None]:
        """User and group that avcheck runs as; raises Skip if we cannot act as them."""
        user, group = self.service.runs_as
        us = os.geteuid()
        if us != 0 and user == us and self.service.call is None:
            user = self._owner(us)
        if us not in (0, user):
            raise Skip("only root can see what the account of avcheck sees", AS_ROOT)
        if user == 0 and self.spool_owner != 0:
            raise Skip("as root nothing is looked at that is the account's", self._see_account)
        if self.spool_owner not in (user, 0):
            text = f"spool {printable(self.settings.spool)} is not {account_name(user)}'s"
            raise Skip(text, "see spool_owner")
        return user, group

    @property
    def _see_account(self) -> str:
        """Which check says that the account is root's, or missing."""
        names = {"Exim": "exim_account", "sendmail": "sendmail_account"}
        return f"see {names.get(self.system, 'pipe_user')}"

    @cached_property
    def spool_owner(self) -> int:
        """Whose the spool directory is, or the nearest one above it; 0 where that is not safe."""
        if self.service.call is None or not self.settings.spool:
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

    @property
    def left(self) -> float:
        """Seconds that a question may still take."""
        return asking.left(self.until)

    def ask(self, question: Callable[..., T], *about: Any) -> T:
        """The answer to question(self, *about), which is asked once, as avcheck's account.

        Raises what the question raises.
        """
        key = (question, *about)
        if key not in self.said:
            with self.acting():
                self.said[key] = asking.put(lambda: question(self, *about))
        return self.said[key].get()  # type: ignore[return-value] # it is that question's

    def ask_all(self, questions: Iterator[tuple[Any, ...]]) -> None:
        """Ask all of them side by side, so that ask() knows the answers."""
        listed = {each: functools.partial(each[0], self, *each[1:]) for each in questions}
        with self.acting():
            self.said.update(asking.side_by_side(listed))

    def peer(self, target: Target) -> peer.Peer | None:
        """The process that listens there, on this host, if it can be told."""
        if id(target) not in self.found:
            pid = self._listener(target)
            self.found[id(target)] = peer.process(pid) if pid > 0 else None
        return self.found[id(target)]

    def _listener(self, target: Target) -> int:
        if target.address is None or target.address.path:
            return self.ask(listening, target)
        self.accounts()
        return peer.tcp_listener(target.address) if peer.is_here(target.address) else 0

    @property
    def conf(self) -> clamdconf.Conf | None:
        """The configuration of the first clamd that is asked, None if it is not known."""
        try:
            return next(iter(self.confs), None)
        except (Skip, Trouble):
            return None

    @cached_property
    def confs(self) -> tuple[clamdconf.Conf, ...]:
        """The configurations of the clamds that are asked on this host, each once.

        Raises Skip if none can be read, and Trouble if one is named and cannot.
        """
        asked = [target for scanner, target in self.targets if scanner.type == "clamd"]
        here = [target for target in asked if target.address and peer.is_here(target.address)]
        if not asked:
            return ()
        if not here and not self.clamd_conf:
            raise Skip("clamd is on another host", "--clamd-conf FILE")
        processes = [None] if self.clamd_conf else [self.peer(each) for each in here]
        found = [clamdconf.of(self.clamd_conf, each, self.left) for each in processes]
        confs = {conf.path: conf for conf in found if conf is not None}
        if not confs:
            if self.clamd_conf:
                name = printable(self.clamd_conf)
                raise Trouble(f"--clamd-conf {name}: no file that can be read", f"ls -lL {name}")
            raise Skip("clamd's configuration: not there, or not readable", "--clamd-conf FILE")
        return tuple(confs.values())

    @cached_property
    def message_size_limit(self) -> int:
        """The size of the largest message in bytes; 0: none, or not known."""
        if self.exim is not None:
            return self.exim.size
        if self.sendmail is not None:
            return self.sendmail.size
        return self.postfix.number("message_size_limit") if self.postfix else 0

    @property
    def system(self) -> str:
        """The mail system, as it is called."""
        if self.sendmail is not None:
            return "sendmail"
        return "Exim" if self.exim is not None else "Postfix"


def listening(look: Look, target: Target) -> int:
    """The process that listens on the scanner's Unix socket; 0 if that cannot be told."""
    path = target.address.path if target.address else b""
    return peer.listener(path, min(look.left, peer.PATIENCE)) if path else 0


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

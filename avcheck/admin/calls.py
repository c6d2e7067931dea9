"""How a mail system calls avcheck: the words, the guard before it, and the account."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from avcheck.admin import packaged

# What a mail system may call: avcheck, or the guard, where it was put or where pip puts it.
NAME = "avcheck"
BY_SMTP = "avcheck-smtp"
DOCUMENTED = "/usr/local/libexec/avcheck-guard"
GUARDS = (os.path.basename(DOCUMENTED), "avcheck-guard.sh")
GUARD = packaged.GUARD if packaged.is_packaged() else DOCUMENTED


@dataclass(frozen=True)
class Call:
    """A call of avcheck, as a mail system is configured to make it.

    name is what the configuration calls it; argv are its words as they stand there, the
    guard first if there is one; user and group are the account, empty where none is given.
    """

    name: str
    argv: tuple[str, ...]
    user: str
    group: str

    # The macros of the mail system in such words, what each may stand for (all others:
    # nothing), and which of them are the sender and the recipients.
    macro: ClassVar[re.Pattern[str]]
    values: ClassVar[Mapping[str, str]]
    sender: ClassVar[str]
    recipient: ClassVar[str]

    # How a macro is spelled, by its name.
    spelling: ClassVar[str]

    # Where the words are, as a person looks for them.
    where: ClassVar[str]

    # Whether it is avcheck-smtp, to which the envelope comes by SMTP.
    by_smtp: ClassVar[bool] = False

    @property
    def corrected(self) -> str:
        """The words with the sender and the recipients where they belong."""
        return f"-f {self.spelled(self.sender)} -- {self.spelled(self.recipient)}"

    def spelled(self, macro: str) -> str:
        """The macro as the configuration has it."""
        return self.spelling.format(macro)

    @property
    def guard(self) -> str:
        """The path of the guard, empty if avcheck is called without one."""
        return self.argv[0] if os.path.basename(self.argv[0]) in GUARDS else ""

    @property
    def _named(self) -> bool:
        """Whether the guard's first argument says which avcheck it is to run."""
        return bool(self.guard) and self.argv[1:2] != () and self.argv[1].startswith("/")

    @property
    def program(self) -> str:
        """The path of avcheck, which lies beside the guard if the guard is not given it."""
        if self._named:
            return self.argv[1]
        return os.path.join(os.path.dirname(self.guard), NAME) if self.guard else self.argv[0]

    @property
    def words(self) -> tuple[str, ...]:
        """What is run: the guard, with avcheck if that is named, or avcheck alone."""
        return self.argv[: len(self.argv) - len(self.arguments)]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments that avcheck gets, as they stand in the configuration."""
        return self.argv[2 if self._named else 1 :]

    def expanded(self) -> list[str]:
        """The arguments, with something in the place of each macro."""
        return [
            self.macro.sub(lambda found: self.values.get(self._name(found), ""), each)
            for each in self.arguments
        ]

    def macros(self, argument: str) -> set[str]:
        """The names of the macros in the argument."""
        return {self._name(found) for found in self.macro.finditer(argument)}

    def is_macro(self, argument: str) -> bool:
        """Whether the argument is a macro and nothing else."""
        return self.macro.fullmatch(argument) is not None

    @staticmethod
    def _name(found: re.Match[str]) -> str:
        return next(filter(None, found.groups()), "")


def runs_avcheck(argv: tuple[str, ...]) -> bool:
    """Whether the command is avcheck, or the guard before it."""
    return bool(argv) and os.path.basename(argv[0]) in (NAME, *GUARDS)

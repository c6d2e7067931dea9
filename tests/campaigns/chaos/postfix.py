"""What the storm needs of a Postfix, whatever it asks avcheck by."""

from __future__ import annotations

import contextlib

from tests.support.letters import token
from tests.support.servers.postfix import Postfix


class StormyPostfix:
    """A Postfix; each kind adds told_of_duplicate."""

    def __init__(self, postfix: Postfix) -> None:
        self._postfix = postfix
        self.start = postfix.start
        self.stop = postfix.stop
        self.submit = postfix.submit
        self.try_again = postfix.flush

    @property
    def log(self) -> str:
        return self._postfix.log

    def waiting(self) -> list[str | None]:
        found = []
        for each in self._postfix.queue():
            with contextlib.suppress(RuntimeError):  # gone since
                header = self._postfix.command("postcat", "-hq", each.queue_id)
                found.append(token(header.encode()))
        return found

"""What is waited for, and how long, while a command has nothing to show yet."""

from __future__ import annotations

import sys
import threading
from time import monotonic
from types import TracebackType

from avcheck.admin import output
from avcheck.admin.amounts import age
from avcheck.admin.cells import plain

# Seconds between two turns of the spinner.
TURN = 0.2


class Progress:
    """Shows, on a terminal, what is waited for and how long, if that takes over a second.

    limit is the seconds that it will take at most, or 0 where nobody knows.
    """

    def __init__(self, what: str, limit: float = 0.0) -> None:
        self.now(what, limit)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def now(self, what: str, limit: float = 0.0) -> None:
        """Something else is waited for from now on."""
        self._waits = (plain(what), limit, monotonic())

    def __enter__(self) -> Progress:
        if output.is_terminal(sys.stderr):
            output.ready()
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _show(self) -> None:
        draw = None
        while not self._done.wait(TURN if draw else 1.0):
            draw = draw or output.changing_line(sys.stderr)
            what, limit, began = self._waits
            most = f" of at most {age(limit)}" if limit else ""
            draw(f"{what} ... {monotonic() - began:.0f} s{most}")
        if draw is not None:
            draw("")

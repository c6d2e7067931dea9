"""Who called: our parent, or those whom avcheck-guard names, and whether they are there.

When Postfix's pipe(8) dies, our standard input just ends, and nothing but this tells a
whole message from one that was cut short (field observation, Postfix 3.7).
"""

from __future__ import annotations

from avcheck import unix
from avcheck.process import close, events, has_hung_up

# init, or what stands for it in a container: a process that loses its parent becomes its child.
_INIT = 1


class Caller:
    """The processes that have to be there if the mail system is to hear of what we do."""

    __slots__ = ("_descriptors", "_gone", "_named", "_parent")

    who = "the mail system that called"

    def __init__(self) -> None:
        self._parent = unix.getppid()
        # avcheck-guard.sh stands between the MTA and us, and says who called it.
        named = unix.environ.get(b"AVCHECK_CALLER", b"").split()
        self._named = [int(each) for each in named if _is_process(each)]
        # A caller that was gone before this has left a pipe that nobody writes to.  (A service
        # manager that starts us itself hands over something else.)
        self._gone = _INIT in (self._named or [self._parent]) and has_hung_up(0)
        self._descriptors: dict[int, int] = {}
        self._watch()

    def close(self) -> None:
        """Close their descriptors, in a process that goes on."""
        while self._descriptors:
            close(self._descriptors.popitem()[1])

    def is_gone(self) -> bool:
        """Whether one of them has ended."""
        return (
            self._gone
            or unix.getppid() != self._parent
            or not all(self._is_there(each) for each in self._named)
        )

    def _watch(self) -> None:
        """Open those that were named, so that their end can be told.

        Of a number nothing is told when it ends and nobody reaps it, as in a container without
        an init: kill(2) finds a zombie as well; and a number is given to others.
        """
        for each in self._named:
            try:
                self._descriptors[each] = unix.pidfd_open(each)
            except ProcessLookupError:
                self._gone = True
            except OSError:  # no more descriptors: kill(2) will have to do
                return

    def _is_there(self, number: int) -> bool:
        if number in self._descriptors:
            return not events(self._descriptors[number])
        try:
            unix.kill(number, 0)
        except ProcessLookupError:
            return False
        except OSError:  # EPERM: it is there, and somebody else's
            return True
        return True


def _is_process(number: bytes) -> bool:
    return number.isdigit() and len(number) < 10 and int(number) > 0

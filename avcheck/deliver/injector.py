"""The command that injects a message past avcheck.

A handler finds it in SENDMAIL; whoever releases a message from the quarantine
finds it in its sidecar.
"""

from __future__ import annotations

import os

from avcheck.deliver.smtp_dialogue import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.settings import Settings


def command(settings: Settings, called: bytes) -> bytes:
    """The program of -S, or `avcheck -c` for a server, on one line; called is our path."""
    if settings.program:
        return b" ".join(settings.program)
    argv = [*_guard(), os.path.abspath(called)]
    if settings.tls != NEVER:
        argv += [b"--tls", settings.tls.encode()]
        argv += [b"--tls-ca", settings.tls_ca] if settings.tls_ca else []
        argv += [b"--tls-name", settings.tls_name] if settings.tls_name else []
    return b" ".join([*argv, b"-c", b"-S", settings.server.spelled()])


def _guard() -> list[bytes]:
    """The avcheck-guard that has started us, if its path has no blanks.

    Without it, a handler that runs us while pip writes our file finds a script that is
    empty, ends with 0, and has sent nothing.
    """
    guard = os.environb.get(b"AVCHECK_GUARD", b"")
    return [guard] if guard.startswith(b"/") and guard.split() == [guard] else []

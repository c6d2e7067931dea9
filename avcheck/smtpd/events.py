"""What a client asks for, as the dialogue hands it to the session, and what it has begun.  Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from avcheck.smtpd.commands import Command


class Hello:
    """EHLO or HELO: greet() is to follow.  A transaction that was open is over."""

    __slots__ = ("extended",)

    def __init__(self, extended: bool) -> None:
        self.extended = extended


class Mail:
    """MAIL: allow(), or a no by say(), is to follow."""


class Relay:
    """Commands for the next hop: answer() is to follow, with a reply for each."""

    __slots__ = ("commands",)

    def __init__(self, relayed: list[Command]) -> None:
        self.commands = relayed


class Data:
    """DATA, after a sender and at least one recipient were taken: go_ahead() or finish()."""


class Piece:
    """Some of the content."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content


class End:
    """The content is complete: finish() is to follow.  doubt is that of Content."""

    __slots__ = ("doubt",)

    def __init__(self, doubt: bytes) -> None:
        self.doubt = doubt


if TYPE_CHECKING:
    Event: TypeAlias = Hello | Mail | Relay | Data | Piece | End


class Transaction:
    """What a MAIL has begun; refused is how many recipients the next hop did not take."""

    __slots__ = ("recipients", "refused", "sender")

    def __init__(self, sender: bytes) -> None:
        self.sender = sender
        self.recipients: list[bytes] = []
        self.refused = 0

"""What fuzz tests of parsers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avcheck.exits import Defer
from avcheck.verdict import Finding


def finding_or_none(parse: Callable[..., Finding], *arguments: Any) -> Finding | None:
    """What the parser makes of the arguments; None where it raises Defer, as it may."""
    try:
        return parse(*arguments)
    except Defer:
        return None

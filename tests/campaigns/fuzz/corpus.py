"""The inputs that are kept: corpus/TARGET/, a file for each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

import avcheck
from tests.campaigns.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FOUND = "found-"

# Of each target; what is more is left out, the largest first.
KEPT_MAX = 150
SIZE_MAX = 4096

OURS = str(Path(avcheck.__file__).parent)


def kept(name: str) -> list[bytes]:
    """The inputs of the target that are kept."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def inputs(name: str) -> list[bytes]:
    """All that the target begins with: its seeds, and what is kept."""
    return list(dict.fromkeys([*TARGETS[name].seeds(), *kept(name)]))


def keep(name: str, data: bytes, found: bool = False) -> Path:
    """Keep the input; one that broke something is never thrown away."""
    directory = CORPUS / name
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / ((FOUND if found else "") + sha256(data).hexdigest()[:12])
    path.write_bytes(data)
    return path


def minimise(name: str, more: Iterable[bytes]) -> int:
    """Keep as few inputs, and as small ones, as reach all that these, those kept and seeds reach.

    Returns how many there are now.
    """
    target = TARGETS[name]
    old = [path for path in (CORPUS / name).glob("*") if not path.name.startswith(FOUND)]
    candidates = {*more, *target.seeds(), *(path.read_bytes() for path in old)}
    reached: set[object] = set()
    chosen: list[bytes] = []
    for data in sorted(candidates, key=lambda each: (len(each), each)):
        if len(data) <= SIZE_MAX and len(chosen) < KEPT_MAX:
            new = {data} if target.slow else steps(target.one, data)
            if not new <= reached:
                reached |= new
                chosen.append(data)
    for path in old:
        path.unlink()
    for data in chosen:
        keep(name, data)
    return len(kept(name))


def steps(one: Any, data: bytes) -> set[object]:
    """The steps from line to line that avcheck takes for the input, and about how often."""
    found: Counter[object] = Counter()

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(OURS):
            return None
        before = 0

        def step(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal before
            if event == "line":
                found[code, before, frame.f_lineno] += 1
                before = frame.f_lineno
            return step

        return step

    earlier = sys.gettrace()
    sys.settrace(enter)
    try:
        with suppress(AssertionError):
            one(data)
    finally:
        sys.settrace(earlier)
    # Once, twice, or so many times that it is a power of two more.
    return {(step, times.bit_length()) for step, times in found.items()}

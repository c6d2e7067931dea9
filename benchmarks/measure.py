"""One run of a program and what it cost; rounds of several programs; medians and ratios."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

PIPE = 64 * 1024  # what a Linux pipe holds


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds of processor (its children included) and of clock."""

    cpu: float
    wall: float


class WrongEndError(Exception):
    """A program under measurement did not do what is measured."""


def run(
    argv: list[str],
    message: bytes = b"",
    *,
    environment: Mapping[str, str],
    status: int = 0,
) -> Cost:
    """Run a program as pipe(8) does, with the message on a pipe and its output on another.

    The processor time is the kernel's account of the process and of every child it
    waited for (wait4).  Raises WrongEndError with the program's words when it does not leave
    with the status.
    """
    if len(message) > PIPE:
        raise ValueError("a message larger than a pipe holds needs a writer of its own")
    stdin, feed = os.pipe()
    words, output = os.pipe()
    os.write(feed, message)
    os.close(feed)
    try:
        started = time.perf_counter()
        # posix_spawn shares the memory until the exec: nothing of this process's size
        # is copied, and so nothing of that is on the program's account.
        child = os.posix_spawn(
            argv[0],
            argv,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
        )
        _, ended, usage = os.wait4(child, 0)
        wall = time.perf_counter() - started
    finally:
        os.close(stdin)
        os.close(output)
    try:
        got = os.waitstatus_to_exitcode(ended)
        if got != status:
            said = os.read(words, 4096).decode(errors="replace")
            raise WrongEndError(f"{' '.join(argv)}: status {got} instead of {status}: {said}")
    finally:
        os.close(words)
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def rounds(cases: Mapping[str, Callable[[], Cost]], count: int) -> dict[str, list[Cost]]:
    """The costs of every case, count times in turn: A B C, A B C, ...

    Whatever else the machine does meanwhile meets all of them.  One round that is not
    counted goes ahead, so that files are in the cache.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in cases}
    for turn in range(count + 1):
        for name, case in cases.items():
            cost = case()
            if turn:
                costs[name].append(cost)
    return costs


@dataclass(frozen=True)
class Ratio:
    """How many times the reference: the median of the rounds, and the middle half of them."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def ratio(values: Sequence[float], reference: Sequence[float]) -> Ratio:
    """The ratio of each round's value to the same round's reference."""
    each = sorted(value / base for value, base in zip(values, reference, strict=True) if base > 0)
    if len(each) < 2:
        return Ratio(each[0], each[0], each[0])
    low, median, high = statistics.quantiles(each, n=4, method="inclusive")
    return Ratio(median, low, high)


def milliseconds(values: Sequence[float]) -> str:
    """The median, in milliseconds."""
    return f"{statistics.median(values) * 1000:.1f}"

"""Several scanners at once: the wall time is that of the slowest, not the sum."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import Cost, WrongEndError, milliseconds, ratio, rounds, run
from benchmarks.stage import CLEAN, RECIPIENT, SENDER, Stage
from benchmarks.table import Table

# What an emulated scanner takes to answer.
SLOW = 0.5

ROUNDS = 9
ROUNDS_QUICK = 3

ONE = f"one scanner of {SLOW} s"


class Emulator:
    """A clamd that says OK after so many seconds, to any number of clients at once."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.where = f"clamd:{path}"
        self._seconds = seconds
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # stop()
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(client,)).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            _, descriptors, _, _ = socket.recv_fds(client, 64, 1)
            for descriptor in descriptors:
                socket.close(descriptor)
            time.sleep(self._seconds)  # this is what it emulates
            client.sendall(b"fd[10]: OK\0")


@contextlib.contextmanager
def emulators(directory: Path, seconds: float, number: int) -> Iterator[list[Emulator]]:
    """So many of them."""
    directory.mkdir(exist_ok=True)
    made = [Emulator(directory / f"{seconds}-{each}", seconds) for each in range(number)]
    try:
        yield made
    finally:
        for each in made:
            each.stop()


def measure(stage: Stage, quick: bool) -> list[Table]:
    """The table of wall times; each scanner is an emulator that takes half a second."""
    count = ROUNDS_QUICK if quick else ROUNDS
    place = stage.directory / "several"
    with emulators(place, SLOW, 4) as slow, emulators(place, 0.0, 1) as (quick_one,):
        names = [each.where for each in slow]
        cases = {
            ONE: ["-s", names[0]],
            f"two of {SLOW} s": scanners(names[:2]),
            f"four of {SLOW} s": scanners(names),
            f"one of {SLOW} s and one that answers at once": scanners([names[0], quick_one.where]),
            "none reached at the first place, one at the second": [
                *("-s", f"clamd:{place}/nobody,{names[0].removeprefix('clamd:')}")
            ],
            f"a backup of {SLOW} s in the place of one that is not there": [
                *("-s", "clamd:/nonexistent", "--backup", names[0])
            ],
        }
        costs = rounds({name: case(stage, words) for name, words in cases.items()}, count)
    table = Table("Several scanners at the same time", ("", "wall, ms", "times one", "CPU, ms"))
    one = [cost.wall for cost in costs[ONE]]
    for name, each in costs.items():
        table.add(
            name,
            milliseconds([cost.wall for cost in each]),
            str(ratio([cost.wall for cost in each], one)),
            milliseconds([cost.cpu for cost in each]),
        )
    two = ratio([cost.wall for cost in costs[f"two of {SLOW} s"]], one).median
    if two > 1.5:
        raise WrongEndError(f"two scanners took {two:.2f} times the time of one")
    table.notes.append(
        f"Emulators of clamd that answer OK after {SLOW} s. Medians of {count} interleaved "
        "rounds; in brackets the middle half of the ratios."
    )
    table.findings.append(
        f"Two scanners that take {SLOW} s each take {two:.2f} times the time of one: they are "
        "asked at the same time."
    )
    return [table]


def scanners(names: list[str]) -> list[str]:
    return [word for name in names for word in ("-s", name)]


def case(stage: Stage, words: list[str]) -> Callable[[], Cost]:
    argv = [str(stage.avcheck), "-n", "-d", str(stage.spool), *words, "-f", SENDER, "--", RECIPIENT]
    return lambda: run(argv, CLEAN, environment=stage.environment)

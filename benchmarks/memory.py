"""The peak of memory, for messages of any size."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
from collections.abc import Iterator, Sequence

from benchmarks.measure import WrongEndError
from benchmarks.process import BARE, programs
from benchmarks.stage import HERE, LINE, Stage, mail, smtp_sink
from benchmarks.table import Table

KILO, MEGA = 1000, 1000 * 1000
SIZES = {"4 kB": 4 * KILO, "100 MB": 100 * MEGA, "1 GiB": 1 << 30}

RUNS = 3

# DESIGN: the peak within this of the bare interpreter's.
BUDGET_KIB = 4 * 1024

# The naive program keeps the message in memory, so it is spared the largest one.
PROGRAMS = {
    "avcheck, descriptor, SMTP": tuple(SIZES),
    "avcheck, stream, SMTP": tuple(SIZES),
    "avcheck, descriptor, trivial sendmail": tuple(SIZES),
    "naive program": ("4 kB", "100 MB"),
}


def measure(stage: Stage, quick: bool) -> list[Table]:
    """The table of peaks; each the median of a few runs."""
    runs = 1 if quick else RUNS
    bare = [str(stage.python), "-I", "-c", "pass"]
    floor = peak(stage, ["/bin/true"], 0)
    base = statistics.median(peak(stage, bare, 0) for _ in range(RUNS))
    if floor >= base:
        raise RuntimeError(f"cannot measure peaks below {floor} KiB; the bare one is {base}")
    table = Table("Peak memory (ru_maxrss), MiB above the bare interpreter", ("", *SIZES))
    highest: float = 0
    with smtp_sink() as address:
        every = programs(stage, address)
        for name, sizes in PROGRAMS.items():
            cells = []
            for size in SIZES:
                if size not in sizes:
                    cells.append("-")
                    continue
                above = statistics.median(
                    peak(stage, every[name].argv, SIZES[size]) - base for _ in range(runs)
                )
                cells.append(f"{above / 1024:+.1f}")
                if name.startswith("avcheck"):
                    highest = max(highest, above)
            table.add(name, *cells)
    table.notes += [
        f"{BARE} itself: {base / 1024:.1f} MiB. Medians of {runs}.",
        "clamd has its default MaxFileSize of 100M: it scans the message of 100 MB, and says "
        "OK to the larger one without scanning it. For the stream StreamMaxLength is raised to "
        "2000M.",
    ]
    table.findings.append(
        f"Budget: peak memory within {BUDGET_KIB / 1024:.0f} MiB of the bare interpreter's, "
        f"whatever the size of the message: {highest / 1024:.1f} MiB, "
        f"{'met' if highest <= BUDGET_KIB else 'MISSED'}."
    )
    return [table]


def peak(stage: Stage, argv: Sequence[str], size: int) -> int:
    """The peak of one run in KiB, with a message of that size; raises WrongEndError."""
    spawner = [str(stage.python), "-I", "-S", str(HERE / "spawner.py")]
    process = subprocess.Popen(
        [*spawner, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=stage.environment
    )
    assert process.stdin and process.stdout
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # its status tells why
        for piece in pieces(size):
            stdin.write(piece)
    said = process.stdout.read()
    process.wait()
    status, kib = said.split()
    if status != b"0":
        raise WrongEndError(f"{' '.join(argv)}: status {status.decode()} for {size} bytes")
    return int(kib)


def pieces(size: int) -> Iterator[bytes]:
    """A message of about that many bytes, never in memory as a whole."""
    if size:
        yield mail(min(size, 4096))
    many = LINE * 1000
    for _ in range((size - 4096) // len(many)):
        yield many

"""What --slots, --canary, --attempts, --metrics and --config cost, used and not used."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.measure import Cost, WrongEndError, milliseconds, ratio, rounds, run
from benchmarks.stage import CLEAN, INFECTED, RECIPIENT, SENDER, Stage
from benchmarks.syscalls import counted
from benchmarks.table import Table
from tests.support import loaded

ROUNDS = 60
ROUNDS_QUICK = 7

PLAIN = "none of them"
AGAIN = "none of them, once more"

CONFIGURATION = """\
# As many lines as a site may have.
timeout 300
header mail.example.com

on infected=quarantine:/var/spool/avcheck/quarantine
on suspicious=quarantine:/var/spool/avcheck/quarantine
on policy=quarantine:/var/spool/avcheck/quarantine
on unscannable=quarantine:/var/spool/avcheck/quarantine
on encrypted=deliver
refused bounce
"""

# The modules that serve one option each.
MODULES = ("attempts", "canary", "config", "metrics", "quarantine", "slots")


def measure(stage: Stage, quick: bool) -> list[Table]:
    """The table of processor time and system calls, beside the same run without."""
    count = ROUNDS_QUICK if quick else ROUNDS
    directory = stage.directory / "state"
    directory.mkdir()
    config = directory / "avcheck.conf"
    config.write_text(CONFIGURATION)
    options = {
        PLAIN: [],
        AGAIN: [],
        "--slots 10": ["--slots", "10"],
        "--canary 3600, no test due": ["--canary", "3600"],
        "--canary, with its test": ["--canary", "0.000001"],
        "--attempts 5": ["--attempts", "5", "--queue-id", "3FA52"],
        "--metrics": ["--metrics", str(directory / "avcheck.prom")],
        "--config, ten lines": ["--config", str(config)],
    }
    options["slots, canary (none due), attempts, metrics"] = [
        *options["--slots 10"],
        *options["--canary 3600, no test due"],
        *options["--attempts 5"],
        *options["--metrics"],
    ]
    commands = {name: command(stage, words) for name, words in options.items()}
    costs = rounds({name: case(stage, argv) for name, argv in commands.items()}, count)
    calls = {
        name: sum(number for number, _ in calls_of(stage, argv).values())
        for name, argv in commands.items()
    }
    modules = {name: loaded_by(stage, argv) for name, argv in commands.items()}
    if modules[PLAIN]:
        raise WrongEndError(f"a plain run loads {', '.join(modules[PLAIN])}")
    return [shown(costs, calls, modules, count), quarantine(stage, count)]


def command(stage: Stage, words: Sequence[str], *more: str) -> list[str]:
    descriptor = f"clamd:{stage.clamd.socket}"
    argv = [str(stage.avcheck), "-n", "-s", descriptor, "-d", str(stage.spool), *words, *more]
    return [*argv, "-f", SENDER, "--", RECIPIENT]


def case(stage: Stage, argv: list[str], message: bytes = CLEAN) -> Callable[[], Cost]:
    return lambda: run(argv, message, environment=stage.environment)


def calls_of(stage: Stage, argv: list[str]) -> Mapping[str, tuple[int, int]]:
    return counted(argv, stage.environment, stage.directory / "strace")


def loaded_by(stage: Stage, argv: list[str]) -> list[str]:
    """Which of the modules a run loads."""
    said = subprocess.run(
        [str(stage.python), "-I", "-c", loaded.TELL + loaded.RUN, *argv],
        input=CLEAN,
        env=stage.environment,
        capture_output=True,
        check=True,
    )
    names = loaded.modules(said.stderr)
    return [module for module in MODULES if f"avcheck.{module}" in names]


def shown(
    costs: Mapping[str, Sequence[Cost]],
    calls: Mapping[str, int],
    modules: Mapping[str, Sequence[str]],
    count: int,
) -> Table:
    table = Table(
        "What runs share, used and not used",
        ("", "CPU, ms", "times none", "wall, ms", "system calls", "more", "loaded"),
    )
    plain = [cost.cpu for cost in costs[PLAIN]]
    for name, each in costs.items():
        table.add(
            name,
            milliseconds([cost.cpu for cost in each]),
            str(ratio([cost.cpu for cost in each], plain)),
            milliseconds([cost.wall for cost in each]),
            str(calls[name]),
            f"{calls[name] - calls[PLAIN]:+d}",
            ", ".join(modules[name]) or "-",
        )
    table.notes.append(
        f"One clean message of 4 kB, clamd by descriptor, not handed on (-n). Medians of {count} "
        "interleaved rounds; in brackets the middle half of the ratios. System calls by strace -c; "
        "those that load a module are included."
    )
    together = list(costs)[-1]
    times = ratio([cost.cpu for cost in costs[together]], plain).median
    table.findings.append(
        "Slots, known-answer test, attempts and counters load nothing and call nothing when "
        f"they are not used; together they take {(times - 1) * 100:.0f} % more processor time "
        f"and {calls[together] - calls[PLAIN]} more system calls."
    )
    return table


def quarantine(stage: Stage, count: int) -> Table:
    """What it takes to store a message durably, beside a handler that only removes it."""
    store = stage.directory / "state" / "quarantine"
    remove = str(stage.program("remove.sh"))
    discard = command(stage, ["--on", "infected=discard"])
    cases = {
        "discard": discard,
        "quarantine": command(stage, ["--on", f"infected=quarantine:{store}"]),
        "a handler that removes the file": command(stage, ["-i", remove]),
        "infected.sh": command(stage, ["-i", str(handler(stage))]),
    }
    costs = rounds({name: case(stage, argv, INFECTED) for name, argv in cases.items()}, count)
    stored = len(list(store.glob("*/about.json")))
    if stored != count + 1:
        raise WrongEndError(f"{stored} of {count + 1} messages are in the quarantine")
    table = Table(
        "One infected message of 4 kB, by action", ("", "CPU, ms", "times discard", "wall, ms")
    )
    first = [cost.cpu for cost in costs["discard"]]
    for name, each in costs.items():
        table.add(
            name,
            milliseconds([cost.cpu for cost in each]),
            str(ratio([cost.cpu for cost in each], first)),
            milliseconds([cost.wall for cost in each]),
        )
    table.notes.append(
        f"Medians of {count} interleaved rounds. The quarantine and infected.sh wait for the disk, "
        "which takes most of the wall time; infected.sh is set to notify nobody."
    )
    return table


def handler(stage: Stage) -> Path:
    """The handler that is shipped, with a quarantine of its own, telling nobody."""
    text = stage.avcheck.with_name("infected.sh").read_text()
    text = text.replace("\nnotify=postmaster\n", "\nnotify=\n")
    text = text.replace("\nsettings=/etc/avcheck/infected.conf\n", "\nsettings=/nonexistent\n")
    path = stage.directory / "programs" / "infected.sh"
    path.write_text(text)
    path.chmod(0o755)
    return path

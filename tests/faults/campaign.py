"""All faults of a scene, or a choice of them, and the table of what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

from tests import traced
from tests.faults import errors, oracle, strike
from tests.faults.scenes import Scene
from tests.faults.strike import Fault
from tests.mta import Ended

MODULES = "loading modules"
MODULES_ONE_IN = 8
CONVERSATION = ("sendto", "recvfrom")
MISSED = "not reached"
VIOLATION = "violation"


@dataclass(frozen=True)
class Result:
    """A fault and its outcome; text is what was violated."""

    scene: str
    fault: Fault
    outcome: str
    ended: Ended
    text: str = ""

    @property
    def row(self) -> str:
        """The call, or what it is for."""
        return MODULES if errors.is_module(self.fault.call) else self.fault.call.name


def plan(scene: Scene) -> list[Fault]:
    """The faults of a run, from the moment that it is avcheck's and not the interpreter's."""
    scene.begin()
    calls = traced.calls(scene.site, scene.words)
    scene.site._running.clear()
    scene.settle()
    (first,) = [at for at, call in enumerate(calls) if call.name == "umask"]
    faults = [
        Fault(call, what)
        for call in calls[first:]
        for what in [*errors.of(call), *errors.SIGNALS]
        if not (call.name == "exit_group" and what != "KILL")
    ]
    endless = "--deadline" not in scene.words
    return [fault for fault in faults if _is_wanted(fault, endless)]


def _is_wanted(fault: Fault, endless: bool) -> bool:
    """Whether it is one that is carried out: of those while modules are loaded not every one.

    They are three of four, the same in every scene, and one is like another.
    """
    if not errors.is_module(fault.call):
        # -c has no --deadline: for a server that has not really gone it would wait 15 minutes.
        talks = fault.call.name in CONVERSATION and fault.is_error and fault.what != "EINTR"
        return not (endless and talks)
    own = "/avcheck/" in fault.call.words and fault.call.name in ("openat", "read")
    return (own and fault.is_error) or crc32(fault.rule.encode()) % MODULES_ONE_IN == 0


def carry_out(scene: Scene, faults: Iterable[Fault]) -> Iterator[Result]:
    """What comes of each."""
    for fault in faults:
        scene.begin()
        ended, struck = strike.run(scene, fault)
        try:
            outcome, text = oracle.outcome(scene, fault, ended), ""
        except oracle.BrokenPromiseError as why:
            outcome, text = VIOLATION, str(why)
        else:
            outcome = outcome if struck else MISSED
        yield Result(scene.name, fault, outcome, ended, text)


def table(results: list[Result], heading: str, by: str) -> str:
    """Markdown: a row for each value of that attribute, a column for each outcome."""
    columns = [*oracle.OUTCOMES, MISSED, VIOLATION]
    rows: dict[str, Counter[str]] = {}
    for result in results:
        rows.setdefault(getattr(result, by), Counter())[result.outcome] += 1
    names = list(rows) if by == "scene" else sorted(rows)
    lines = [
        f"| {heading} | faults | {' | '.join(columns)} |",
        "|:---|" + "---:|" * (len(columns) + 1),
    ]
    for name in [*names, "**all**"]:
        counts = rows.get(name, sum(rows.values(), Counter[str]()))
        words = [str(counts[column]) for column in columns]
        lines.append(f"| {name} | {counts.total()} | {' | '.join(words)} |")
    return "\n".join(lines)

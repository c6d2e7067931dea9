"""All faults of a scene, or a choice of them, and the table of what came of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.campaigns.faults import errors, oracle, session_oracle, strike, tamper
from tests.campaigns.faults.scenes import Scene
from tests.campaigns.faults.session import SessionScene
from tests.campaigns.faults.strike import Fault
from tests.support import traced
from tests.support.mta import MAIL, Ended
from tests.support.traced import Call

MODULES = "loading modules"
MISSED = "not reached"
VIOLATION = "violation"

# As strace shows what differs from run to run.
ADDRESS = re.compile("0x[0-9a-f]+")


# A descriptor's file as strace shows it, and what differs in its name.
OBJECT = re.compile("<([^>]*)>")
NUMBERS = re.compile("[0-9a-f]{12,}|[0-9]+")

# Signals that come to the same whenever they come.
ONCE = ("KILL", "STOP")

MAKES_TASK = ("clone", "clone3", "fork", "vfork")

# What is done about a program, which is another one in each scene.
RUNS = (*MAKES_TASK, "wait4", "pidfd_open")


@dataclass(frozen=True)
class Result:
    """What was done to which call in which scene, what came of it, and what was violated (text)."""

    scene: str
    call: str
    rule: str
    what: str
    outcome: str
    said: str
    text: str = ""


def plan(scene: Scene) -> list[Fault]:
    """The faults of a run, from the moment that it is avcheck's and not the interpreter's.

    Behind the guard: until that moment.
    """
    scene.begin()
    calls, *others = _tasks(scene)
    scene.wait_until_idle()
    (first,) = [at for at, call in enumerate(calls) if call.name == "umask"]
    if scene.guarded:
        return [Fault(call, what) for call in calls[:first] for what in _in_place(call)]
    faults = [
        Fault(call, what)
        for call in calls[first:]
        for what in [*errors.of(call), *errors.short(call), *errors.SIGNALS]
        if not (call.name == "exit_group" and what != "KILL")
    ]
    faults += [
        Fault(call, what, number)
        for number, task in enumerate(others, 1)
        for call in task
        if call.name in tamper.NUMBERS
        for what in [*errors.of(call), *errors.short(call), "KILL", "TERM"]
    ]
    return faults


def _in_place(call: Call) -> list[str]:
    return [what for what in [*errors.of(call), *errors.SIGNALS] if "=" not in what]


def _tasks(scene: Scene) -> list[list[Call]]:
    """The calls of avcheck, and those of each thread and child until it is something else."""
    log = scene.directory / "plan"
    for file in scene.directory.glob("plan.*"):
        file.unlink()
    tool = ["strace", "-qq", "-ff", "-y", "-s", "200", "-o", str(log)]
    ended = scene.start(scene.patiently(tool)).end(MAIL)
    assert ended.status == 0, ended
    tasks = {file.suffix[1:]: traced.parse(file.read_text()) for file in log.parent.glob("plan.*")}
    made = {call.result for calls in tasks.values() for call in calls if call.name in MAKES_TASK}
    (main,) = set(tasks) - made
    direct = [call.result for call in tasks[main] if call.name in MAKES_TASK]
    return [tasks[main], *(_until_exec(tasks[each]) for each in direct)]


def _until_exec(calls: list[Call]) -> list[Call]:
    """Those of the task while it is avcheck, the exec with which that ends included."""
    (end,) = [at for at, call in enumerate(calls) if call.name == "execve"] or [len(calls)]
    return calls[: end + 1]


def each_module_once(plans: Sequence[tuple[Scene, list[Fault]]]) -> list[list[Fault]]:
    """The plans without the calls that load a module, but for the first scene that makes them."""
    seen: dict[tuple[str, str, int], str] = {}
    return [[fault for fault in plan if _is_first(scene, fault, seen)] for scene, plan in plans]


def _is_first(scene: Scene, fault: Fault, seen: dict[tuple[str, str, int], str]) -> bool:
    if scene.guarded or not errors.is_module(fault.call):
        return True
    words = ADDRESS.sub("", fault.call.words)
    owner = f"{scene.name} {fault.task} {fault.call.number}"
    return seen.setdefault((fault.call.name, words, fault.task), owner).startswith(scene.name)


def choices(plans: Sequence[tuple[Scene, list[Fault]]]) -> list[list[Fault]]:
    """Few of them, the same ones each time: every call, and all that can happen to one.

    A call on another object, or in another task, is another one.  Of those that are alike the
    first is struck, and in the last quarter of a run, where the message is handed on, the last.
    """
    met = set[tuple[object, ...]]()
    chosen = []
    for scene, plan in plans:
        last = [fault for fault in plan[len(plan) * 3 // 4 :] if fault.what not in ONCE]
        found = _first_of_each(scene, plan, met)
        found += _first_of_each(scene, last[::-1], met, late=True)
        chosen.append(list(dict.fromkeys(found)))
    return chosen


def _first_of_each(
    scene: Scene, faults: Sequence[Fault], met: set[tuple[object, ...]], late: bool = False
) -> list[Fault]:
    found = []
    for fault in faults:
        kinds = {(late, *kind) for kind in _kinds(scene, fault)}
        if fault.is_signal and (late or fault.call.name in RUNS):
            kinds = {(scene.end, *kind) for kind in kinds}
        if not kinds <= met:
            met |= kinds
            found.append(fault)
    return found


def _kinds(scene: Scene, fault: Fault) -> set[tuple[object, ...]]:
    """What the fault is one of; two with the same are alike."""
    name = row(fault)
    kind = fault.what.partition("=")[0]
    if name == MODULES or fault.what in ONCE:
        return {(name, kind)}
    if fault.is_signal:
        return {(name, kind, fault.task)}
    where = (name, _object(scene, fault.call), fault.task)
    if kind in ("short", "after"):
        return {(kind, *where)}
    # Which error it is matters to few, and these know it whatever it is about.
    return {where} if kind not in ("EINTR", "EAGAIN") else {(name, kind)}


def _object(scene: Scene, call: Call) -> str:
    """What the call is about: a file or a socket, without numbers; or a program that is run."""
    if scene.guarded:
        return ""
    if call.name in RUNS or not scene.scanners:
        return scene.end
    if found := OBJECT.search(call.words):
        return NUMBERS.sub("N", found[1].replace(str(scene.directory), ""))
    return ""


def row(fault: Fault) -> str:
    """The call, or what it is for."""
    return MODULES if errors.is_module(fault.call) else fault.call.name


def carry_out(scene: Scene, faults: Iterable[Fault]) -> Iterator[Result]:
    """What comes of each, and of the MTA's next try."""
    for fault in faults:
        scene.begin()
        ended, struck = strike.run(scene, fault)
        try:
            outcome, text = _judged(scene, fault, ended), ""
        except oracle.BrokenPromiseError as why:
            outcome, text = VIOLATION, str(why)
        else:
            outcome = outcome if struck else MISSED
        yield Result(scene.name, row(fault), fault.rule, fault.what, outcome, str(ended), text)


def _judged(scene: Scene, fault: Fault, ended: Ended) -> str:
    """What came of it, and of the next try where there is one."""
    if isinstance(scene, SessionScene):
        outcome = session_oracle.outcome(scene, fault, ended)
        if scene.kept and not scene.twice:
            before = scene.left
            session_oracle.tried_again(scene, before, strike.again(scene))
        return outcome
    outcome = oracle.outcome(scene, fault, ended)
    if outcome in oracle.TRIED_AGAIN:
        before = scene.left
        oracle.tried_again(scene, before, strike.again(scene))
    return outcome


def table(results: list[Result], heading: str, by: Callable[[Result], str]) -> str:
    """Markdown: a row for each value, a column for each outcome."""
    columns = [*oracle.OUTCOMES, MISSED, VIOLATION]
    rows: dict[str, Counter[str]] = {}
    for result in results:
        rows.setdefault(by(result), Counter())[result.outcome] += 1
    lines = [
        f"| {heading} | faults | {' | '.join(columns)} |",
        "|:---|" + "---:|" * (len(columns) + 1),
    ]
    for name in [*rows, "**all**"]:
        counts = rows.get(name, sum(rows.values(), Counter[str]()))
        words = [str(counts[column]) for column in columns]
        lines.append(f"| {name} | {counts.total()} | {' | '.join(words)} |")
    return "\n".join(lines)

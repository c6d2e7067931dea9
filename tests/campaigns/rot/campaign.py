"""Every byte of a conversation, each kind of rot, or a choice of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from avcheck.seen import FRONT
from tests.campaigns.faults.oracle import BrokenPromiseError
from tests.campaigns.rot import oracle, scenes
from tests.campaigns.rot.kinds import (
    AGAIN,
    BACK,
    BREAKS,
    CHANGE,
    CUT,
    FLIP,
    HALF,
    INSERT,
    KINDS,
    ODD,
    REMOVE,
    RESET,
    SPLIT,
    THERE,
    TWICE,
    Line,
    Rot,
)
from tests.campaigns.rot.middle import Conversation
from tests.campaigns.rot.places import Handed, Place, Run, Scanned
from tests.campaigns.rot.scenes import Daemons
from tests.campaigns.rot.sessions import Session

MISSED = "not reached"
VIOLATION = "violation"

# What is changed and inserted in avcheck's own words, and in those of a mail server.
FEW = b"\0\n.24"

# As many bytes has a clean reply of clamd, of which nothing else may mean clean: each of
# them is changed to every other.
SHORT = len(b"stream: OK\0")

# Of so many bytes of our header lines one is spoilt.
FRONT_STEP = 200

# What the short form does in turn, beside a cut and a flipped bit for every byte.
IN_TURN = (CHANGE, REMOVE, INSERT, TWICE, AGAIN, HALF, SPLIT)


@dataclass(frozen=True)
class Result:
    """A run and its outcome; text is what was violated."""

    scene: str
    run: Run
    outcome: str
    text: str = ""

    @property
    def rot(self) -> Rot:
        assert self.run.rot
        return self.run.rot


def everything(place: Place, whole: Conversation) -> Iterator[Rot]:
    """Each kind at every byte of a conversation; of some only what the short form does.

    Within the header lines that are ours one byte is as good as another: a few of them.
    """
    if place.is_brief:
        yield from replies(place, whole)
        yield from requests(place, whole)
        return
    front = within_front(whole)
    for way, line in ((THERE, whole.there), (BACK, whole.back)):
        for kind in KINDS:
            for at in range(len(line.said) + (kind in BREAKS)):
                if way == THERE and at in front and at % FRONT_STEP:
                    continue
                for byte in _bytes(place, line, way, kind):
                    same = kind == CHANGE and byte == line.said[at]
                    if not same and (kind != RESET or not place.unix):
                        yield Rot(way, at, kind, byte)


def _bytes(place: Place, line: Line, way: str, kind: str) -> Sequence[int]:
    if kind == FLIP:
        return [1 << bit for bit in range(8)]
    if kind == CHANGE and way == BACK and len(line.said) <= SHORT:
        return range(256)
    if kind in (CHANGE, INSERT):
        return ODD if way == BACK and isinstance(place, Scanned) else FEW
    return [0]


def replies(place: Place, whole: Conversation) -> Iterator[Rot]:
    """Every byte of the replies cut, spoilt, and treated in one more way.

    Of a mail server that is like another one, only those from the answer to the final dot on.
    """
    size = len(whole.back.said)
    last = sum(len(said) for said, _ in oracle.answers_to_the_dot(whole))
    yield Rot(BACK, size, CUT)
    for at in range(size - last if place.is_like_another else 0, size):
        yield Rot(BACK, at, CUT)
        yield Rot(BACK, at, FLIP, 1 << at % 8)
        yield Rot(BACK, at, IN_TURN[at % len(IN_TURN)], ODD[at % len(ODD)])
    for digit in b"245":  # the one that says it
        if last:
            yield Rot(BACK, size - last, CHANGE, digit)


def requests(place: Place, whole: Conversation) -> Iterator[Rot]:
    """The line breaks at every byte that avcheck says, as a whole and in one direction.

    What a mail server is told is spoilt as its replies are.  Within the header lines that are
    ours one byte is as good as another: a few of them.
    """
    front = within_front(whole)
    for at in range(len(whole.there.said) + 1):
        if at in front and at % FRONT_STEP:
            continue
        yield Rot(THERE, at, CUT)
        yield Rot(THERE, at, HALF)
    if isinstance(place, Handed | Session):
        for at in range(len(whole.there.said)):
            yield Rot(THERE, at, FLIP, 1 << at % 8)
            yield Rot(THERE, at, IN_TURN[at % len(IN_TURN)], ODD[at % len(ODD)])


def within_front(whole: Conversation) -> range:
    """Where in what avcheck says the header lines that are ours are, but for both their ends."""
    begin = whole.there.said.find(FRONT)
    return range(begin + 100, begin + len(FRONT) - 100) if begin >= 0 else range(0)


def carry_out(
    name: str,
    command: Path,
    directory: Path,
    daemons: Daemons,
    plan: Callable[[Place, Conversation], Iterator[Rot]],
    workers: int,
) -> list[Result]:
    """Run a scene once as it should be, then with everything of the plan.

    workers is how many runs there are at a time, each in a place of its own.
    """
    places = [scenes.place(name, command, directory / str(n), daemons) for n in range(workers)]
    try:
        whole = places[0].run(None)
        rots = plan(places[0], whole.conversation)
        lock = threading.Lock()

        def work(place: Place) -> list[Run]:
            runs: list[Run] = []
            while True:
                with lock:
                    rot = next(rots, None)
                if rot is None:
                    return runs
                runs.append(place.run(rot))

        with ThreadPoolExecutor(workers) as pool:
            runs = [whole, *(run for some in pool.map(work, places) for run in some)]
        if isinstance(places[0], Handed):
            places[0].server.account_for_all(runs)
        first, *results = [judged(places[0], run) for run in runs]
        assert not first.text and not first.run.rot, first
        return results
    finally:
        for place in places:
            place.at_end.close()


def judged(place: Place, run: Run) -> Result:
    """The run with its outcome."""
    try:
        if isinstance(place, Session):
            outcome = place.outcome(run)
        elif isinstance(place, Scanned):
            outcome = oracle.of_scan(place, run)
        else:
            assert isinstance(place, Handed)
            outcome = oracle.of_handing_on(place, run)
    except BrokenPromiseError as why:
        return Result(place.name, run, VIOLATION, str(why))
    missed = run.rot is not None and not run.conversation.struck
    return Result(place.name, run, MISSED if missed else outcome)

"""The mail system: a queue, delivery agents that run the command, and what is known of each run."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.load import agent
from tests.campaigns.load.place import LIMIT, Place
from tests.live.test_clamd_hard import encrypted_zip
from tests.support.fakes import PATIENCE
from tests.support.letters import EICAR, letter, with_attachment

# Seconds until a message that was not taken care of is tried again, until the queue has to
# be empty once nothing goes wrong any more, and between two looks.
AGAIN = 0.4
CALM_MAX = 180.0
LOOK = 0.02

# One run in so many is struck: killed, told to end, or stopped for a while.
STRUCK_ONE_IN = 12
# A run takes some 0.1 s when twenty share two processors.
STRUCK_WITHIN = 0.25
STOPPED_FOR = 0.5

CLEAN = "clean"
INFECTED = "infected"
ENCRYPTED = "encrypted"


@dataclass
class Letter:
    """A message in the queue: what it is, its digests as the agent and the next hop get it."""

    number: int
    kind: str
    file: Path
    recipients: tuple[str, ...]
    digest: str
    wire_digest: str
    runs: list[Ran] = field(default_factory=list)


@dataclass
class Ran:
    """A run: status None if nobody has waited for it; blows are the signals it got."""

    number: int
    letter: Letter
    status: int | None
    output: bytes = b""
    memory: int = 0
    blows: tuple[int, ...] = ()
    at: float = 0.0

    @property
    def sender(self) -> str:
        return sender(self.number)


def sender(number: int) -> str:
    """The envelope sender of a run, by which its copies are known."""
    return f"run{number}@load.example"


class Agent:
    """A delivery agent."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", agent.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def carry_out(self, *order: str) -> list[str]:
        """The fields of the answer; none if the agent was killed."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(agent.FIELD.join(order).encode() + b"\n")
            self._process.stdin.flush()
            if answer := self._process.stdout.readline():
                return answer.decode().rstrip("\n").split(agent.FIELD)
        return []

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Have it end, and wait for that."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=PATIENCE)


class MailSystem:
    """Delivers messages by so many agents at a time until stop() or until there are enough."""

    def __init__(self, place: Place, agents: int, seed: int) -> None:
        self.place = place
        self.runs: list[Ran] = []
        self.letters: list[Letter] = []
        self.failed: list[BaseException] = []
        self.agents_killed = 0
        self.began = time.monotonic()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._again: collections.deque[tuple[float, Letter]] = collections.deque()
        self._under_way = 0
        self._accepting = True
        self._calm_until = 0.0
        self._number = 0
        self._agents = self._hired(agents)
        self._threads = [
            threading.Thread(target=self._deliver, args=(number,), daemon=True)
            for number in range(agents)
        ]

    def _hired(self, agents: int) -> list[Agent]:
        return [Agent() for _ in range(agents)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> int:
        """How many messages are out of the queue."""
        with self._lock:
            return len(self.letters) - len(self._again) - self._under_way

    @property
    def pids(self) -> list[int]:
        return [each.pid for each in self._agents]

    def kill_an_agent(self) -> None:
        """What it runs goes on without it."""
        with self._lock:
            self.agents_killed += 1
            each = self._chance.choice(self._agents)
        each.kill()

    def calm_down(self) -> None:
        """Accept no more messages, strike no more runs; return when the queue is empty."""
        self._accepting, self._calm_until = False, time.monotonic() + CALM_MAX
        for thread in self._threads:
            thread.join()
        if self.failed:
            raise self.failed[0]

    def close(self) -> None:
        """Have every agent end."""
        for each in self._agents:
            each.close()

    def _deliver(self, place: int) -> None:
        try:
            while letter := self._next():
                ran = self._run(place, letter)
                with self._lock:
                    self.runs.append(ran)
                    letter.runs.append(ran)
                    self._under_way -= 1
                    if ran.status == 0:
                        letter.file.unlink()
                    else:
                        self._again.append((time.monotonic() + AGAIN, letter))
        except BaseException as why:
            self.failed.append(why)

    def _next(self) -> Letter | None:
        """A message to be tried (again); None when there will be none any more."""
        while not self.failed:
            with self._lock:
                due = bool(self._again) and self._again[0][0] <= time.monotonic()
                if due or self._accepting:
                    self._under_way += 1
                    return self._again.popleft()[1] if due else self._accept()
                if not self._again and not self._under_way:
                    return None
                waiting = [each.number for _, each in self._again]
            if not self._accepting and time.monotonic() > self._calm_until:
                raise AssertionError(f"still in the queue: {waiting}")
            time.sleep(LOOK)  # until a message is due
        return None

    def _accept(self) -> Letter:
        """A new message."""
        kind = self._chance.choices((CLEAN, INFECTED, ENCRYPTED), (75, 15, 10))[0]
        if kind == INFECTED:
            message = with_attachment(EICAR)
        elif kind == ENCRYPTED:
            message = with_attachment(encrypted_zip(b"x" * 100), "a.zip")
        else:
            message = self._clean()
        number = len(self.letters)
        plain = message.replace(b"\r\n", b"\n")
        file = self.place.letters / str(number)
        file.write_bytes(plain)
        recipients = tuple(f"bert{n}@load.example" for n in range(self._chance.choice((1, 1, 3))))
        digest, on_the_wire = (hashlib.sha256(each).hexdigest() for each in (plain, message))
        accepted = Letter(number, kind, file, recipients, digest, on_the_wire)
        self.letters.append(accepted)
        return accepted

    def _clean(self) -> bytes:
        how = self._chance.choices(("short", "8-bit", "large"), (70, 25, 5))[0]
        if how == "large":
            return with_attachment(self._chance.randbytes(700_000))
        if how == "8-bit":
            return letter("Grüße\n", "Content-Transfer-Encoding: 8bit")
        return letter(".\nHello.\n..\n")

    def _run(self, place: int, letter: Letter) -> Ran:
        with self._lock:
            number = self._number = self._number + 1
            blows = self._blows() if self._accepting else ""
        words = self.place.words(sender(number), letter.recipients, f"Q{letter.number}")
        began = time.monotonic()
        answer = self._agents[place].carry_out(str(letter.file), str(LIMIT), blows, *words)
        if not answer:
            # What it ran has lost its caller, and comes to its end.
            while running := self.place.processes(sender(number)):
                for pid in running:  # one that was stopped has nobody else to wake it
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
                time.sleep(LOOK)  # its deadline is not far
            with self._lock:
                self._agents[place].close()
                self._agents[place] = Agent()
            return Ran(number, letter, None, at=began - self.began)
        status, memory, struck, output = answer
        signals = [int(each.partition(":")[2]) for each in blows.split()]
        signals += [signal.SIGKILL]  # of the limit
        return Ran(
            *(number, letter, int(status), bytes.fromhex(output), int(memory)),
            *(tuple(signals[: int(struck)]), began - self.began),
        )

    def _blows(self) -> str:
        """What the next run gets: mostly nothing."""
        if self._chance.randrange(STRUCK_ONE_IN):
            return ""
        when = self._chance.uniform(0, STRUCK_WITHIN)
        number = self._chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        blows = f"{when}:{int(number)}"
        if number == signal.SIGSTOP:
            blows += f" {when + self._chance.uniform(0, STOPPED_FOR)}:{int(signal.SIGCONT)}"
        return blows

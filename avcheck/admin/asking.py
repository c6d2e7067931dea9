"""Questions to others, side by side, within one limit of time for all of them.

A thread acts as the account that the process acts as, so whoever asks as another account
begins to before the first question, and stops after the last answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

K = TypeVar("K")

# Seconds for everything that doctor asks of scanners, mail servers and programs.
LIMIT = 10.0

# Seconds that are left to a question when there are none.
LEAST = 0.1


@dataclass(frozen=True)
class Outcome:
    """What came of a question: its answer, or what it has raised."""

    answer: object = None
    error: Exception | None = None

    def get(self) -> object:
        """The answer; raises what the question has raised."""
        if self.error is not None:
            raise self.error
        return self.answer


def put(question: Callable[[], object]) -> Outcome:
    """What comes of the question."""
    try:
        return Outcome(question())
    except Exception as why:
        return Outcome(error=why)


def side_by_side(
    questions: Mapping[K, Callable[[], object]],
) -> dict[K, Outcome]:
    """What comes of each question; returns when the last one is answered.

    Each keeps to its limit of time by itself: a thread cannot be ended.
    """
    if not questions:
        return {}
    with ThreadPoolExecutor(max_workers=len(questions)) as threads:
        asked = {key: threads.submit(put, each) for key, each in questions.items()}
        return {key: each.result() for key, each in asked.items()}


def left(until: float) -> float:
    """Seconds until then (time.monotonic)."""
    return max(until - monotonic(), LEAST)

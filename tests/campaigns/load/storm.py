"""What goes wrong around the runs, one thing after another."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.campaigns.load.mta import MailSystem
from tests.campaigns.load.place import Place

# Seconds, at most, that something stays away, and that nothing goes wrong.
AWAY = 1.5
QUIET = 0.7


class Storm:
    """Rages in a thread of its own from the with block's beginning to its end."""

    def __init__(self, place: Place, mail: MailSystem, seed: int, pace: float = 1.0) -> None:
        self.happened: Counter[str] = Counter()
        self._place = place
        self._mail = mail
        self._chance = random.Random(seed)
        self._pace = pace
        self._over = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._rage, daemon=True)

    def __enter__(self) -> Storm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failed:
            raise self._failed[0]

    @property
    def has_shown_all(self) -> bool:
        """Whether everything that can go wrong has done so, or the storm itself has."""
        return len(self.happened) == len(self._troubles) or bool(self._failed)

    @property
    def _troubles(self) -> list[Callable[[], None]]:
        return [
            self._scanner_killed,
            self._server_killed,
            self._scanner_stopped,
            self._agent_killed,
            self._server_stopped,
            self._scanner_restarted,
            self._all_scanners_killed,
            self._server_restarted,
        ]

    def _rage(self) -> None:
        try:
            while not self._over.is_set():
                for trouble in self._troubles:
                    trouble()
                    self._over.wait(self._chance.uniform(0, QUIET / self._pace))
        except BaseException as why:
            self._failed.append(why)

    def _wait(self) -> None:
        time.sleep(self._chance.uniform(0, AWAY / self._pace))

    def _scanner_killed(self) -> None:
        self.happened["scanner killed"] += 1
        scanner = self._chance.choice(self._place.scanners)
        scanner.kill()
        self._wait()
        scanner.start()

    def _scanner_stopped(self) -> None:
        self.happened["scanner stopped for a while"] += 1
        self._stopped(self._chance.choice(self._place.scanners).pid)

    def _scanner_restarted(self) -> None:
        self.happened["scanner restarted"] += 1
        scanner = self._chance.choice(self._place.scanners)
        scanner.stop()
        scanner.start()

    def _all_scanners_killed(self) -> None:
        self.happened["all scanners killed"] += 1
        for scanner in self._place.scanners:
            scanner.kill()
        self._wait()
        for scanner in self._place.scanners:
            scanner.start()

    def _server_killed(self) -> None:
        self.happened["mail server killed"] += 1
        self._place.hop.kill()
        self._wait()
        self._place.hop.start()

    def _server_stopped(self) -> None:
        self.happened["mail server stopped for a while"] += 1
        self._stopped(self._place.hop.pid)

    def _server_restarted(self) -> None:
        self.happened["mail server restarted"] += 1
        self._place.hop.stop()
        self._place.hop.start()

    def _agent_killed(self) -> None:
        self.happened["delivery agent killed"] += 1
        self._mail.kill_an_agent()

    def _stopped(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._wait()
        os.kill(pid, signal.SIGCONT)

"""avcheck is installed again and again, newer and older, while mail goes through it.

Nothing is paused, which is not what the pages say to do: this is what becomes of it then.
"""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.campaigns import sweeps
from tests.campaigns.chaos import notes
from tests.campaigns.chaos.storm import MailUnderTest, Storm
from tests.campaigns.chaos.test_chaos import ThroughMail, postfix
from tests.live.recipe import MailSystem
from tests.live.test_exim import started as exim
from tests.live.test_sendmail import started as sendmail
from tests.support.installed import install, replace, wheel
from tests.support.letters import letter
from tests.support.servers.exim import Exim
from tests.support.servers.fresh import fresh
from tests.support.servers.sendmail import Program

COUNT = sweeps.messages(15)
INSTALLATIONS = 10 if sweeps.is_whole() else 1

# Between two messages, so that some come at every moment of an installation.
PAUSE = 0.05

# sendmail does not log what a mailer says.
HALF = re.compile(r"could not be started|broken installation")

pytestmark = pytest.mark.timeout(300 + COUNT)


@pytest.fixture(scope="module")
def wheels(open_directory: Path) -> tuple[Path, Path]:
    """An older and a newer avcheck; half of one does not go with half of the other."""
    directory = open_directory / "wheels"
    newer = (
        ("main", "act.on(", "act.carry_out("),
        ("act", "def on(", "def carry_out("),
        ("main", "reading.read(argv, ", "reading.read_again(argv, "),
        ("options/reading", "def read(", "def read_again("),
    )
    older = wheel(directory, "0.99")
    return older, wheel(directory, "1.99", *newer)


@pytest.fixture(scope="module")
def system(open_directory: Path) -> Iterator[MailSystem]:
    """A site whose avcheck nobody else uses."""
    directory = fresh(open_directory / "upgrade")
    with MailSystem(directory, install(directory / "opt")) as site:
        yield site


def upgrade(
    system: MailSystem, mail: MailUnderTest, wheels: tuple[Path, Path], *, for_each: bool = False
) -> Counter[str]:
    """Mail while one wheel after the other is installed; the account of it."""
    opt = Path(system.names["/opt/avcheck"])
    storm = Storm(system, mail, None, COUNT, run_for_each_recipient=for_each)
    over = threading.Event()

    def install_all() -> None:
        for made in itertools.islice(itertools.cycle(wheels), INSTALLATIONS):
            replace(opt, made)
            storm.happened[f"installed {made.name.split('-')[1]}"] += 1

    def try_all() -> None:
        while not over.is_set():
            storm.try_again()

    chance = random.Random(1)
    with ThreadPoolExecutor(2) as pool:
        installing, trying = pool.submit(install_all), pool.submit(try_all)
        try:
            while not installing.done() or len(storm.sent) < COUNT:
                storm.submit(chance)
                time.sleep(PAUSE)
        finally:
            over.set()
        installing.result()
        trying.result()
    storm.calm_down()
    found = storm.account()
    storm.happened["runs that met half an avcheck"] = len(HALF.findall(mail.log))
    notes.tell(f"upgrade, {type(mail).__name__}", storm.happened, found)
    assert found["queued"] == 0
    # No run was ended from outside, so nobody can have been in doubt.
    assert found["delivered twice"] == 0
    return found


def test_postfix(system: MailSystem, wheels: tuple[Path, Path]) -> None:
    with postfix(system) as (mail, _):
        upgrade(system, mail, wheels, for_each=True)
        assert "bounced" not in mail.log


def test_exim(system: MailSystem, wheels: tuple[Path, Path], open_directory: Path) -> None:
    program = Exim.unpack(open_directory / "exim-package")
    with exim(system, program, "upgrade-exim") as through:
        upgrade(system, ThroughMail(through), wheels)
        assert " ** " not in through.front.log


def test_sendmail(system: MailSystem, wheels: tuple[Path, Path], open_directory: Path) -> None:
    program = Program.unpack(open_directory / "sendmail-package")
    with sendmail(system, program, "upgrade-sendmail") as through:
        upgrade(system, ThroughMail(through), wheels, for_each=True)
        assert "Service unavailable" not in through.front.log


def test_a_guard_that_is_missing_is_what_sendmail_cannot_stand(
    system: MailSystem, open_directory: Path
) -> None:
    """Why it lies outside of the environment, and is replaced by a rename."""
    program = Program.unpack(open_directory / "sendmail-package")
    message = letter()
    missing = ("/avcheck-guard, F=", "/missing, F=")
    with sendmail(system, program, "upgrade-missing", missing) as through:
        through.front.submit("anna@example.com", ["bert@example.net"], message)
        while not through.front.log:  # whoever received it may have it locked for a moment more
            through.run()
        assert "Service unavailable" in through.front.log
        assert through.waiting(message) == []
        assert through.delivered(message) == []


def test_the_upgrade_of_the_page(system: MailSystem, wheels: tuple[Path, Path]) -> None:
    """With the pause, no message is even tried by half an avcheck, and the guard is the new one."""
    opt, guard = Path(system.names["/opt/avcheck"]), Path(system.guarded.split()[0])
    with system.postfix("upgrade-paused") as instance:
        system.shell("upgrade-hold", instance)
        replace(opt, wheels[1])
        before = guard.stat().st_ino
        system.shell("programs")
        assert guard.stat().st_ino != before
        queue_id = system.submit(instance, letter())
        [line] = instance.wait_for_outcomes(queue_id, relay="avcheck")
        assert "held back while" in line
        system.shell("upgrade-release", instance)
        instance.wait_for_outcomes(queue_id, 2, relay="avcheck")
        system.account_for(instance)
        assert instance.queue() == []

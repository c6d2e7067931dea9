"""A hundred messages by avcheck-smtp while clamd goes and comes, and sessions are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.live.recipe import MailSystem
from tests.live.smtpd import Way, way
from tests.support.letters import EICAR, letter, with_attachment

MESSAGES = 100


def sessions(found: Way) -> list[int]:
    """The processes of avcheck-smtp behind this Postfix."""
    config = f"{found.postfix.config}/smtp.conf"
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # gone
            words = Path("/proc", pid, "cmdline").read_text(errors="replace").split("\0")
            # spawn(8) has it among its words, too; who kills that has master(8) wait a minute.
            if config in words and words[0].endswith("python3"):
                pids.append(int(pid))
    return pids


def test_each_message_is_delivered_or_in_the_quarantine_in_the_end(mail_system: MailSystem) -> None:
    killed = 0
    with way(mail_system, "after", label="smtpd-outage") as found:
        clean = [letter() for _ in range(MESSAGES - 10)]
        infected = [with_attachment(EICAR) for _ in range(10)]
        for number, message in enumerate(clean + infected):
            assert found.send(message).code == 250
            if number % 40 == 20:
                mail_system.clamd.stop()
            if number % 40 == 30:
                mail_system.clamd.start()
            if number % 10 == 5:
                for pid in sessions(found):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
        end = time.monotonic() + 60
        while found.postfix.queue() and time.monotonic() < end:
            found.postfix.flush()
            time.sleep(0.5)
        assert found.postfix.queue() == []
        assert "status=bounced" not in found.postfix.log
    assert killed
    # Who is killed after the next hop has said 250 could not tell: twice, but never not at all.
    assert [each for each in clean if not mail_system.delivered(each)] == []
    assert [each for each in infected if not mail_system.quarantined(each)] == []
    assert [each for each in infected if mail_system.delivered(each)] == []
    extra = sum(len(mail_system.delivered(each)) - 1 for each in clean)
    assert extra <= killed
    assert mail_system.left_behind() == []

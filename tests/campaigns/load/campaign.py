"""The whole of it: a storm over a mail system, and the account."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.campaigns.load.account import Account, account, open_files
from tests.campaigns.load.mta import MailSystem
from tests.campaigns.load.place import Place
from tests.campaigns.load.storm import Storm

LOOK = 0.1


def carry_out(
    command: Path,
    *,
    agents: int,
    messages: int = 0,
    minutes: float = 0.0,
    kind: type[MailSystem] = MailSystem,
    pace: float = 1.0,
) -> Account:
    """Until so many messages are done and so many minutes are over, and everything has happened.

    pace is how many times as fast the storm's troubles follow each other.
    """
    with (
        tempfile.TemporaryDirectory(prefix="avcheck-load-") as name,
        Place(command, Path(name)) as place,
    ):
        mail = kind(place, agents, seed=1)
        try:
            before = open_files(place, mail)
            mail.start()
            with Storm(place, mail, seed=2, pace=pace) as storm:
                end = time.monotonic() + minutes * 60
                while not mail.failed and not (
                    time.monotonic() >= end and mail.done >= messages and storm.has_shown_all
                ):
                    time.sleep(LOOK)
            mail.calm_down()
            return account(place, mail, storm.happened, before)
        finally:
            mail.close()

"""avcheck-smtp behind a socket that somebody else listens on, with the lines of contrib/systemd.

systemd does not run here; systemd-socket-activate(1) does what it does with the socket.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.live.recipe import MailSystem
from tests.live.smtpd import Way, activated, way
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.queue import listens
from tests.support.tree import ROOT

UNITS = ROOT / "contrib" / "systemd"


def command(system: MailSystem, unit: str, way: Way) -> list[str]:
    """The words of ExecStart= of that unit, for this Postfix."""
    (line,) = re.findall(r"^ExecStart=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)
    return system.adapted(line, {"/etc/avcheck/": f"{way.postfix.config}/"}).split()


@contextmanager
def listening(system: MailSystem, way: Way, unit: str, *options: str) -> Iterator[None]:
    """The service of spawn(8) is gone, as the page has it, and that unit in its place."""
    names = {"127.0.0.1:10025": f"127.0.0.1:{way.filter}"}
    for line in system.block("systemd-on", names).splitlines():
        if not line.startswith("systemctl "):
            way.postfix.command(*line.split())
    way.postfix.wait_until(lambda: not listens(way.filter), "the port")
    with activated(system, command(system, unit, way), way.filter, *options):
        yield


@pytest.mark.parametrize(
    ("unit", "options"),
    [("avcheck-smtp.service", ()), ("avcheck-smtp-each@.service", ("--accept",))],
    ids=["a socket that listens", "a connection"],
)
@pytest.mark.parametrize("name", ["after", "before"])
def test_mail_arrives_and_a_virus_does_not(
    mail_system: MailSystem, name: str, unit: str, options: tuple[str, ...]
) -> None:
    label = f"smtpd-socket-{name}-{len(options)}"
    with (
        way(mail_system, name, label=label) as found,
        listening(mail_system, found, unit, *options),
    ):
        messages, virus = [letter() for _ in range(3)], with_attachment(EICAR)
        for message in messages:
            assert found.send(message).code == 250
        assert found.send(virus).code == (550 if found.before else 250)
        found.postfix.wait_until(
            lambda: all(map(mail_system.delivered, messages)), "all of the clean mail"
        )
        mail_system.settle(found.postfix)
        assert [len(mail_system.delivered(each)) for each in messages] == [1, 1, 1]
        assert mail_system.delivered(virus) == []
        assert len(mail_system.quarantined(virus)) == (0 if found.before else 1)

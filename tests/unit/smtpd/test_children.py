"""What the parent of many sessions knows of its children."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from avcheck.smtpd import children
from avcheck.smtpd.children import READY, Children


class Family:
    """Children that are no processes; theirs are their ends of the links."""

    def __init__(self, most: int) -> None:
        self.poll = select.poll()
        self.children = Children(self.poll, most)
        self.theirs: list[socket.socket] = []
        self.links: list[int] = []

    def add(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.theirs.append(theirs)
        self.links.append(ours.fileno())
        self.children.add(-len(self.theirs), ours)
        return theirs

    def ready(self, number: int) -> None:
        """One says that it has served its connection."""
        self.theirs[number].send(READY)
        self.hear()

    def hear(self) -> None:
        for link, _ in self.poll.poll(0):
            self.children.hear(link)


@pytest.fixture
def family() -> Iterator[Family]:
    family = Family(2)
    yield family
    for each in family.theirs:
        each.close()
    family.children.disown()


def given(theirs: socket.socket) -> list[int]:
    """The connections that this one was given."""
    theirs.setblocking(False)
    found: list[int] = []
    try:
        while True:
            said, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
            if not said:
                return [*found, -1]  # dismissed
            found += descriptors
    except BlockingIOError:
        return found
    finally:
        for fd in found:
            os.close(fd)


def test_who_is_busy_gets_nothing(family: Family) -> None:
    family.add()
    assert family.children.have_room
    assert family.children.are_busy
    assert not family.children.give(0)
    family.add()
    assert not family.children.have_room
    assert given(family.theirs[0]) == given(family.theirs[1]) == []


def test_who_has_served_last_is_the_next(family: Family) -> None:
    """Its memory is in the processor's caches, and the other one can leave."""
    for _ in range(2):
        family.add()
    family.ready(0)
    assert family.children.are_busy
    family.ready(1)
    assert not family.children.are_busy
    assert family.children.give(0)
    assert (len(given(family.theirs[1])), given(family.theirs[0])) == (1, [])
    assert family.children.have_room


def test_who_has_died_is_passed_over(family: Family) -> None:
    for number in range(2):
        family.add()
        family.ready(number)
    family.theirs[1].close()
    assert family.children.give(0)
    assert len(given(family.theirs[0])) == 1
    assert not family.children.give(0)


def test_who_dies_while_it_waits_is_forgotten(family: Family) -> None:
    family.add()
    family.ready(0)
    family.theirs[0].close()
    family.hear()
    assert not family.children.give(0)
    assert family.poll.poll(0) == []


def test_who_says_anything_else_is_not_used(family: Family) -> None:
    family.add().send(b"x")
    family.hear()
    assert not family.children.give(0)


def test_who_says_it_twice_is_not_used(family: Family) -> None:
    family.add()
    family.ready(0)
    family.ready(0)
    assert not family.children.give(0)


def test_who_has_served_enough_is_dismissed(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "USES_MAX", 2)
    family.add()
    family.ready(0)
    assert family.children.give(0)
    family.ready(0)
    assert not family.children.give(0)
    assert given(family.theirs[0])[-1] == -1
    assert family.children.are_busy  # until it has ended


def test_who_has_waited_too_long_is_dismissed(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(children, "monotonic", lambda: now)
    family.add()
    family.ready(0)
    now += 60
    family.add()
    family.ready(1)
    now += 50
    family.children.dismiss_idle()
    assert given(family.theirs[0]) == [-1]
    assert given(family.theirs[1]) == []
    assert family.children.give(0)


def test_those_that_have_ended_are_forgotten(family: Family) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        pid = os.posix_spawn("/bin/true", ["true"], {})
        family.children.add(pid, ours)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        family.children.reap()
    assert len(family.children) == 0
    assert ours.fileno() == -1

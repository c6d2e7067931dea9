"""A throwaway machine is a machine of its own, and nothing of it stays."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.debian import COMMON
from tests.support.servers.machine import HOSTNAME, Layer, Machine


@pytest.fixture(scope="module")
def layer() -> Iterator[Layer]:
    with Layer(*COMMON, "exim4-daemon-light") as packages:
        yield packages


@pytest.fixture
def machine(layer: Layer) -> Iterator[Machine]:
    with Machine(layer) as place:
        yield place


def test_the_packages_are_there_and_not_on_this_host(machine: Machine) -> None:
    installed = Path("/etc/exim4").exists()
    assert "Exim version 4" in machine.run("/usr/sbin/exim4", "-bV")
    assert machine.path("/etc/exim4/exim4.conf.template").is_file()
    assert Path("/etc/exim4").exists() == installed


def test_it_has_a_name_a_network_and_processes_of_its_own(machine: Machine) -> None:
    assert machine.run("hostname").strip() == HOSTNAME != socket.gethostname()
    assert machine.run("ip", "-brief", "link").split()[0] == "lo"
    assert len(machine.run("ip", "-brief", "link").splitlines()) == 1
    assert machine.run("busybox", "ps").splitlines()[1].split()[0] == "1"


def test_what_it_changes_is_gone_with_it(layer: Layer) -> None:
    with Machine(layer) as machine:
        machine.shell("echo changed >/etc/avcheck-machine-test; rm /etc/exim4/passwd.client")
        where = machine.path("/")
        assert machine.read("/etc/avcheck-machine-test") == "changed\n"
    # Somebody else may have its number by now.
    assert not (where / "etc/avcheck-machine-test").exists()
    assert not Path("/etc/avcheck-machine-test").exists()
    with Machine(layer) as machine:
        assert machine.read("/etc/avcheck-machine-test") == ""
        assert machine.path("/etc/exim4/passwd.client").exists()


def test_an_ended_process_is_nobodys_zombie(machine: Machine) -> None:
    machine.shell("(sh -c 'exit 3' &) &")
    machine.wait_until(lambda: " Z " not in machine.run("ps", "ax"), "end of zombies")


def test_a_service_is_started_and_stopped(machine: Machine) -> None:
    machine.run("systemctl", "start", "exim4")
    machine.wait_until(lambda: ":25 " in machine.run("ss", "-ltn"), "listener on port 25")
    machine.run("systemctl", "stop", "exim4")
    machine.wait_until(lambda: ":25 " not in machine.run("ss", "-ltn"), "free port 25")


def test_a_unit_of_ones_own_is_started_and_stopped(machine: Machine) -> None:
    unit = "[Service]\nExecStart=/bin/busybox sleep 1234\n"
    machine.put("/etc/systemd/system/mine.service", unit)
    machine.run("systemctl", "enable", "--now", "mine")
    assert "sleep 1234" in machine.run("busybox", "ps")
    machine.run("systemctl", "disable", "--now", "mine")
    machine.wait_until(
        lambda: "sleep 1234" not in machine.run("busybox", "ps"), "end of the service"
    )


def test_files_are_compared_by_content_mode_and_owner(machine: Machine) -> None:
    before = machine.files("/etc/exim4")
    assert before == machine.files("/etc/exim4")
    machine.shell("chmod 600 /etc/exim4/exim4.conf.template")
    assert before != machine.files("/etc/exim4")
    assert os.geteuid() == 0

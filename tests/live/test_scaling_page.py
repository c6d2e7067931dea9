"""What docs/scaling.md says of haproxy, of systemd and of numbers."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.farm import (
    BALANCER,
)
from tests.support.servers import packages
from tests.support.servers.clamd import Clamd
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import PATIENCE
from tests.support.tree import ROOT


def test_the_shipped_haproxy_cfg_is_valid_with_all_of_its_lines(tmp_path: Path) -> None:
    packages.need("haproxy", commands=["haproxy"])
    file = tmp_path / "haproxy.cfg"
    file.write_text(BALANCER.replace("/run/haproxy/", f"{tmp_path}/"))
    checked = subprocess.run([packages.find("haproxy"), "-c", "-f", file], capture_output=True)
    assert checked.returncode == 0, checked
    assert b"WARN" not in checked.stderr.upper(), checked


class Activated(Clamd):
    """A clamd that is handed its sockets, the second one for TCP, as systemd does it."""

    def _program(self) -> str:
        script = self.directory / "activated.py"
        script.write_text(
            "import os, socket, sys\n"
            "unix = socket.socket(socket.AF_UNIX)\n"
            f"unix.bind({str(self.socket)!r})\n"
            "unix.listen()\n"
            f"tcp = socket.create_server(('127.0.0.1', {self.port}))\n"
            "for number, each in enumerate((os.dup(unix.fileno()), os.dup(tcp.fileno())), 3):\n"
            "    os.dup2(each, number)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')\n"
            f"os.execv({super()._program()!r}, sys.argv)\n"
        )
        program = self.directory / "activated"
        words = shlex.join([sys.executable, str(script)])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)
        return str(program)


def test_a_clamd_that_systemd_listens_for_takes_no_notice_of_tcpsocket(
    open_directory: Path,
) -> None:
    said = free_port()
    settings = {"TCPSocket": str(said), "TCPAddr": "127.0.0.1"}
    with Activated(open_directory / "activated", settings=settings, tcp=True) as clamd:
        socket.create_connection(("127.0.0.1", clamd.port), PATIENCE).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", said), PATIENCE)


def test_the_numbers_of_the_page_are_those_that_were_measured() -> None:
    page = " ".join((ROOT / "docs" / "scaling.md").read_text().split())
    measured = (ROOT / "docs" / "performance.md").read_text()
    through = re.search(r"^## Through Postfix.*?^\| avcheck .*?$", measured, re.M | re.S)
    alone = re.search(r"^\| avcheck, stream, SMTP +\| +([\d.]+) ", measured, re.M)
    assert through
    assert alone
    milliseconds = float(through[0].split("|")[-4])
    told = re.search(
        r"takes about (\d+) ms of processor time.*about (\d+) messages a second for each core, "
        r"(\d+) million a day\. Of that avcheck takes about (\d+) ms",
        page,
    )
    assert told
    rate = 1000 / milliseconds
    for number, real in zip(
        told.groups(), (milliseconds, rate, rate * 0.0864, float(alone[1])), strict=True
    ):
        assert float(number) == pytest.approx(real, rel=0.2)

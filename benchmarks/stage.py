"""Where everything runs: a directory of its own that unprivileged accounts can read."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import packages
from tests.support.servers.clamd import Clamd
from tests.support.servers.ports import free_port

HERE = Path(__file__).parent
ROOT = HERE.parent

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}

# The account of the filters under Postfix, which refuses to run one as root.
ACCOUNT = "nobody"

SENDER = "sender@example.com"
RECIPIENT = "recipient@example.org"

# The EICAR test file in two halves, so that no scanner takes this file for it.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}" + rb"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

# A sink that does not answer within this time is not going to.
SINK_MAX = 10.0

# clamd's defaults where the tests' clamd has others, but no limit for a stream.  MaxFileSize
# and MaxScanSize are 100M and 400M: a file beyond is answered
# OK unseen, so what is measured with 1 GiB is the message's way, not clamd's.
SETTINGS = {"StreamMaxLength": "2000M", "MaxThreads": "10"}

# The last with pkg_resources, which clamd 1.0.2 imports where it finds it.
SETUPTOOLS = "setuptools<81"

# What is left out of the copy that is installed.
NOT_INSTALLED = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "__pycache__", "tests", "benchmarks", "demo"
)


@dataclass(frozen=True)
class Stage:
    """The paths and daemons that every part of the benchmark uses."""

    directory: Path
    python: Path  # of a virtual environment with nothing in it but avcheck and its dependencies
    python_setuptools: Path  # the same with setuptools, as `python3.11 -m venv` makes it
    clamd: Clamd

    @property
    def avcheck(self) -> Path:
        return self.python.with_name("avcheck")

    @property
    def guard(self) -> Path:
        """The guard, apart from avcheck as the documents have it."""
        guard = self.directory / "programs" / "avcheck-guard"
        if not guard.exists():
            shutil.copy(self.avcheck.with_name("avcheck-guard.sh"), guard)
        return guard

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    @property
    def drop(self) -> Path:
        """Where Postfix's sendmail puts mail in this environment: a queue that nobody runs."""
        return self.directory / "drop" / "maildrop"

    @property
    def environment(self) -> dict[str, str]:
        """What pipe(8) leaves of the environment: a path, the locale, its configuration."""
        return ENVIRONMENT | {"MAIL_CONFIG": str(self.directory / "drop.config")}

    def shell_filter(self, inspect: Path, sendmail: str) -> str:
        """The path of a shell filter of one's own that uses this clamd."""
        text = (HERE / "shell-filter.sh").read_text()
        local = {
            "INSPECT_DIR": str(inspect),
            "SENDMAIL": sendmail,
            "CLAMD_CONF": str(self.clamd.directory / "clamd.conf"),
        }
        for name, value in local.items():
            text = re.sub(rf"(?m)^{name}=.*$", f'{name}="{value}"', text)
        fd, path = tempfile.mkstemp(prefix="shell-filter.", dir=self.directory / "programs")
        with open(fd, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    def program(self, name: str) -> Path:
        """The copy of one of this directory's programs that other accounts can run."""
        return self.directory / "programs" / name


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Install everything, start clamd; at the end stop it and leave nothing."""
    packages.need("clamav-daemon", commands=["clamd"])
    packages.need("clamdscan", commands=["clamdscan"])
    packages.need("postfix", commands=["postfix", "smtp-sink", "smtp-source"])
    directory = Path(tempfile.mkdtemp(prefix="avcheck-bench.", dir="/var/tmp"))
    try:
        directory.chmod(0o755)
        programs = directory / "programs"
        programs.mkdir()
        for name in ("remove.sh", "swallow.sh", "naive.py"):
            shutil.copy(HERE / name, programs)
        spool = directory / "spool"
        spool.mkdir(mode=0o700)
        maildrop(directory / "drop", directory / "drop.config")
        with Clamd(directory / "clamd", settings=SETTINGS, tcp=True) as clamd:
            yield Stage(
                directory,
                install(directory / "venv"),
                install(directory / "venv-setuptools", SETUPTOOLS),
                clamd,
            )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def install(where: Path, *more: str) -> Path:
    """A virtual environment with this tree installed as pip does it; the path of its python."""
    subprocess.run([interpreter(), "-m", "venv", "--without-pip", where], check=True)
    python = where / "bin" / "python"
    with tempfile.TemporaryDirectory() as scratch:
        # setuptools leaves its build directories in the tree.
        tree = shutil.copytree(ROOT, Path(scratch, "tree"), ignore=NOT_INSTALLED)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "-qq"]
        pip += ["--disable-pip-version-check", "install", "--root-user-action=ignore"]
        subprocess.run([*pip, str(tree), *more], check=True)
    return python


def maildrop(queue: Path, config: Path) -> None:
    """A configuration with which Postfix's sendmail puts mail into a queue, and no more."""
    for directory in (queue / "maildrop", queue / "public", config):
        directory.mkdir(parents=True)
    os.mkfifo(queue / "public" / "pickup")  # sendmail knocks here; nobody answers
    (config / "main.cf").write_text(
        "compatibility_level = 3.6\n"
        f"queue_directory = {queue}\n"
        f"data_directory = {queue}\n"
        f"command_directory = {postfix_commands(config / 'commands')}\n"
        "myhostname = mail.example.org\n"
    )
    (config / "master.cf").touch()


def postfix_commands(where: Path) -> Path:
    """A directory with Postfix's commands; its postdrop is not set-group-ID.

    As such postdrop would take only configurations that the system's own main.cf names.
    So the queue has to be open to those who run this one.
    """
    where.mkdir()
    for command in Path(packages.find("postdrop")).parent.glob("post*"):
        (where / command.name).symlink_to(command)
    (where / "postdrop").unlink()
    shutil.copyfile(packages.find("postdrop"), where / "postdrop")
    (where / "postdrop").chmod(0o755)
    return where


def interpreter() -> str:
    """This interpreter, if other accounts can run it, or else the distribution's."""
    mine = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    if all(directory.stat().st_mode & 0o001 for directory in (mine, *mine.parents)):
        return str(mine)
    return "/usr/bin/python3"


@contextlib.contextmanager
def smtp_sink(port: int = 0) -> Iterator[str]:
    """Postfix's smtp-sink, which takes every message and forgets it; its address."""
    address = f"127.0.0.1:{port or free_port()}"
    account = ["-u", ACCOUNT] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [packages.find("smtp-sink"), *account, address, "128"],
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=ENVIRONMENT,
    )
    try:
        wait_until_it_listens(address, process)
        yield address
    finally:
        process.terminate()
        process.wait()


def wait_until_it_listens(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the address takes connections; raises RuntimeError if it never does."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + SINK_MAX
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port)), 1).close()
            return
        time.sleep(0.02)  # it has no other way to say that it is ready
    raise RuntimeError(f"{process.args!r} does not listen on {address}")


def mail(size: int) -> bytes:
    """A message of that many bytes, header included, with a header as mail has it."""
    header = (
        b"Received: from client.example.com (client.example.com [192.0.2.1])\n"
        b"\tby mx.example.org (Postfix) with ESMTP id 4Q1X2Y3Z\n"
        b"\tfor <recipient@example.org>; Mon, 01 Jan 2024 00:00:00 +0000 (UTC)\n"
        b"From: Sender <sender@example.com>\n"
        b"To: Recipient <recipient@example.org>\n"
        b"Subject: a message of that size\n"
        b"Date: Mon, 01 Jan 2024 00:00:00 +0000\n"
        b"Message-ID: <20240101000000.1@example.com>\n"
        b"MIME-Version: 1.0\n"
        b"Content-Type: text/plain; charset=us-ascii\n"
        b"\n"
    )
    body = LINE * ((size - len(header)) // len(LINE) + 1)
    return header + body[: size - len(header) - 1] + b"\n"


LINE = b"A line of text, as long as the lines of mail usually are, and no longer....\n"

CLEAN = mail(4096)
INFECTED = mail(4096)[: -len(EICAR) - 2] + b"\n" + EICAR + b"\n"

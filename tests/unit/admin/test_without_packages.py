"""avcheckctl where Debian has packages: no clamd, and an older filelock."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import clamd
import filelock
import pytest

from avcheck.admin import clamd_commands, locks, packaged, pages
from avcheck.admin.output import Trouble
from avcheck.admin.places import Folder

ANSWERS = (
    b"PONG\n",
    b"ClamAV 1.4.6/27412/Sun Jan  4 09:22:37 2026\n",
    b"COMMAND UNAVAILABLE ERROR\n",
    b"  \n",
    b"",
    b"\xff\n",
    b"PO",
)


def asked(module: ModuleType, command: str, answer: bytes) -> tuple[bytes, str]:
    """What is sent for a command, and what is made of that answer."""
    ours, theirs = socket.socketpair()

    class Daemon(module.ClamdNetworkSocket):  # type: ignore[misc, name-defined]
        def _init_socket(self) -> None:
            self.clamd_socket = ours

    with theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        try:
            made = repr(getattr(Daemon(), command)())
        except module.ClamdError as why:
            made = f"ClamdError {why}"
        except UnicodeError as why:
            made = type(why).__name__
        assert ours.fileno() == -1
        return theirs.recv(100), made


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("command", ["ping", "version"])
def test_our_commands_are_those_of_the_package(command: str, answer: bytes) -> None:
    assert asked(clamd_commands, command, answer) == asked(clamd, command, answer)


def test_ours_are_taken_where_the_package_is_not() -> None:
    code = (
        "import sys; sys.modules['clamd'] = None; "
        "from avcheck.admin import clamd_daemon; print(clamd_daemon.clamd.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "avcheck.admin.clamd_commands"


class Older(filelock.UnixFileLock):
    """filelock 3.9 takes no more than this."""

    def __init__(self, lock_file: str, timeout: float = -1) -> None:
        super().__init__(lock_file, timeout, fallback_to_soft=False, is_singleton=False)


@pytest.mark.parametrize("older", [False, True])
def test_an_older_filelock_locks_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, older: bool
) -> None:
    if older:
        known: Any = Older
        monkeypatch.setattr(filelock, "FileLock", known)
    with Folder(bytes(tmp_path), os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)) as folder:
        lock = locks.take(folder, b"lock")
        with pytest.raises(Trouble, match="another avcheckctl"):
            locks.take(folder, b"lock")
        lock.release()
        locks.take(folder, b"lock").release()


def test_a_page_without_what_the_package_has_done() -> None:
    page = pages.document("postfix")
    assert not packaged.is_packaged()
    ours, theirs = pages.blocks(packaged.as_packaged(page)), pages.blocks(page)
    assert ours.pop("accounts") == "usermod --append --groups avgroup clamav\n"
    assert "useradd" in theirs.pop("accounts")
    for name in ("install", "programs", "tmpfiles"):
        del theirs[name]
    assert ours == theirs
    text = packaged.as_packaged(page)
    assert packaged.TO_INSTALL in text
    assert packaged.PROGRAMS in text
    assert "-m venv" not in text.partition("## 5. ")[0]
    assert [*map(pages.title, pages.sections(text))] == [*map(pages.title, pages.sections(page))]

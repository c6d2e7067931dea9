"""avcheck put where docs/postfix.md puts it, by its own commands, by a root who is careful."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from avcheck.admin import guide
from tests.live.recipe import DOCUMENT, MailSystem, blocks
from tests.support.installed import NOT_SOURCE, interpreter
from tests.support.servers.fresh import fresh
from tests.support.tree import ROOT

SYSTEM = ("libexec", "sbin", "share")


@pytest.fixture(scope="module")
def place(mail_system: MailSystem, open_directory: Path) -> Path:
    """A directory in which the commands of section 4 were run with umask 077."""
    place = fresh(open_directory / "installation")
    names = {f"/usr/local/{name}": f"{place}/local/{name}" for name in SYSTEM}
    names["/opt/avcheck"] = f"{place}/opt"
    source = shutil.copytree(ROOT, place / "source", ignore=NOT_SOURCE)
    for block in ("install", "programs"):
        commands = guide.adapted(blocks(DOCUMENT)[block], names)
        commands = commands.replace("/usr/bin/python3 -m venv", f"{interpreter()} -m venv")
        subprocess.run(["sh", "-euc", commands], cwd=source, umask=0o077, check=True)
    return place


def test_the_account_of_the_filter_can_run_it(mail_system: MailSystem, place: Path) -> None:
    done = subprocess.run(
        [place / "local/libexec/avcheck-guard", place / "opt/bin/avcheck"],
        user=mail_system.client,
        group=mail_system.group,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (75, b"")
    assert done.stderr.startswith(b"4.3.5 avcheck: -f is required")


def test_root_and_man_find_the_rest(place: Path) -> None:
    command = place / "local/sbin/avcheckctl"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "doctor" in done.stdout
    for page in ("man1/avcheck.1", "man8/avcheck-smtp.8", "man8/avcheckctl.8", "man8/uchroot.8"):
        linked = place / "local/share/man" / page
        assert linked.is_symlink()
        assert linked.read_text() == (ROOT / "man" / Path(page).name).read_text()


def test_the_guard_is_no_link_and_nothing_is_left_of_its_making(place: Path) -> None:
    [guard] = (place / "local/libexec").iterdir()
    assert guard.name == "avcheck-guard"
    assert not guard.is_symlink()
    assert guard.stat().st_mode & 0o777 == 0o755
    assert guard.read_text() == (ROOT / "scripts/avcheck-guard.sh").read_text()

"""avcheckctl run by an ordinary user: he is told to be root, and to change nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import clamd
import click
import filelock
import pytest

from tests.conftest import NOBODY
from tests.support.admin import entry
from tests.support.fakes import FakeClamd
from tests.support.hostile import staged
from tests.support.installed import interpreter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

# Not the owner of the spool directory.
ANNA = NOBODY - 1

CODE = "from avcheck.admin import main; main()"

COMMANDS = {
    "status": ["status", "-w", "@/wait", "-d", "@"],
    "status of the waitfile and the scanner": ["status", "-w", "@@/wait", "-s", "clamd:@/clamd"],
    "ping": ["ping", "-s", "clamd:@/clamd"],
    "probe": ["probe", "-s", "clamd:@/clamd", "-d", "@"],
    "probe with a spool directory of his own": ["probe", "-s", "clamd:@/clamd", "-d", "@@"],
    "pause": ["pause", "-w", "@/wait"],
    "wait": ["pause", "-w", "@@/new", "-d", "@", "--wait", "--limit", "0s"],
    "resume": ["resume", "-w", "@/wait"],
    "stats": ["stats", "--metrics", "@/metrics"],
    "config": ["status", "--config", "@/config"],
    "list": ["quarantine", "list", "--directory", "@/quarantine"],
    "list above": ["quarantine", "list", "--directory", "@"],
    "log": ["quarantine", "log", "--directory", "@/quarantine"],
    "show": ["quarantine", "show", "--directory", "@/quarantine", "2"],
    "release": ["quarantine", "release", "--directory", "@/quarantine", "-S", ":9", "2"],
    "delete": ["quarantine", "delete", "--directory", "@/quarantine", "--yes", "2"],
    "expire": ["quarantine", "expire", "--directory", "@/quarantine", "--older", "0s"],
}

# Programs and words of remedies that change something.
CHANGES = ("chmod", "chown", "install -d", "mkdir", "create", "systemctl", "setfacl")


def packages_beside(spool: Path) -> Path:
    """What avcheckctl imports, where every account can read it."""
    return spool.parent / "packages"


@pytest.fixture(scope="module")
def spool() -> Iterator[Path]:
    """A spool directory with everything in it, which only its owner may enter."""
    with staged() as stage:
        entry(stage.spool / "quarantine")
        for name in ("metrics", "config"):
            (stage.spool / name).touch()
        own = stage.spool.parent / "anna"
        own.mkdir(mode=0o700)
        os.chown(own, ANNA, ANNA)
        packages_beside(stage.spool).mkdir(mode=0o755)
        for package in (click, clamd, filelock):  # our own are perhaps closed to others
            source = Path(str(package.__file__)).parent
            copy = shutil.copytree(source, packages_beside(stage.spool) / source.name)
            subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
        with FakeClamd(stage.spool / "clamd"):
            stage.give()
            stage.spool.chmod(0o700)
            yield stage.spool


@pytest.mark.parametrize("what", COMMANDS)
def test_an_ordinary_user_is_told_to_be_root(public: Path, spool: Path, what: str) -> None:
    words = [
        word.replace("@@", str(spool.parent / "anna")).replace("@", str(spool))
        for word in COMMANDS[what]
    ]
    done = subprocess.run(
        [interpreter(), "-c", CODE, *words],
        user=ANNA,
        group=ANNA,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{public}:{packages_beside(spool)}"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "run this as root" in said
    assert done.returncode == 2, said
    assert not [word for word in CHANGES if word in said]
    assert "no: " not in said
    assert "waits" not in said

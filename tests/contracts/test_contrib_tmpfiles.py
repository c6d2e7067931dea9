"""contrib/avcheck.tmpfiles: what a killed run has left is removed, and nothing else ever is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from avcheck import entry
from avcheck.directory import new_file_name
from avcheck.state import attempts
from tests.support.mta import Site
from tests.support.servers import packages
from tests.support.tree import ROOT

FILE = ROOT / "contrib" / "avcheck.tmpfiles"
SPOOL = "/var/spool/avcheck"
AGE = 30 * 24 * 3600

# What somebody keeps in the spool directory, under names that are not known here.
KEPT = (
    "quarantine/20260102T030405Z-0123456789ab/message",
    "infected/20260102T030405Z-0123456789ab/message",
    "infected/.new/20260102T030405Z-0123456789ab/message",
    "avcheck.quarantine/20260102T030405Z-0123456789ab/message",
    "wait",
    "wait.lock",
    "hold",
    "avcheck.wait",
    "metrics.prom",
    "metrics.prom.lock",
    "slot.0",
    "canary.636c616d64",
    ".hidden",
    "something else",
)


def lines() -> list[list[str]]:
    text = FILE.read_text().splitlines()
    return [line.split() for line in text if line and not line.startswith("#")]


def command() -> list[str]:
    """The find(1) that the comment has."""
    (found,) = re.findall(r"#   (find (?:.*\\\n#)*.*)", FILE.read_text())
    return shlex.split(found.replace("\\\n#", ""))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system's tree: its accounts, the file where it belongs, and an old spool directory."""
    root = tmp_path / "root"
    (root / "etc" / "tmpfiles.d").mkdir(parents=True)
    # A file's ctime counts, too, and cannot be set back: so every age is over at once.
    aged, _ = re.subn(r"(?m)^([^#].*) \d+[smhdw]", r"\1 0", FILE.read_text())
    (root / "etc" / "tmpfiles.d" / "avcheck.conf").write_text(aged)
    own = f"{os.geteuid()}:{os.getegid()}"
    (root / "etc" / "passwd").write_text(f"avclient:x:{own}::/:/bin/false\n")
    (root / "etc" / "group").write_text(f"avgroup:x:{os.getegid()}:\n")
    for name in KEPT:
        path = root / SPOOL.lstrip("/") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mail")
    return root


def make_old(directory: Path) -> None:
    then = time.time() - AGE
    for path in [*directory.rglob("*"), directory]:
        os.utime(path, (then, then), follow_symlinks=False)


def there(root: Path) -> set[str]:
    directory = root / SPOOL.lstrip("/")
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def tmpfiles(root: Path, *words: str) -> None:
    packages.need("systemd", commands=["systemd-tmpfiles"])
    done = subprocess.run(
        ["systemd-tmpfiles", *words, f"--root={root}", "avcheck.conf"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


def left_by_kills(site: Site, root: Path) -> set[str]:
    """What killed runs leave in their spool directory; it is moved into the tree."""
    site.clamd(hold="asked")
    words = ("--attempts", "9", "--queue-id", "4abc", "--slots", "1")
    running = site.start(site.words(*words, scanners=[f"clamd+path:{site.scanner.where}"])).feed()
    site.scanner.arrived()
    running.process.kill()
    running.process.wait()
    site.clamd(reply=b"")
    assert site.deliver(*words).status == 75
    site.clamd(says=b"Eicar FOUND")
    site.handler("kill -9 $PPID")
    assert site.deliver(*words[-2:]).status == -9
    left = set(site.left)
    left.remove("slot.0")
    for name in left:
        shutil.copy(site.spool / name, root / SPOOL.lstrip("/") / name)
    # A scanner that is a program, and was killed as well, had this beside its copy.
    unpacked = next(name for name in left if name.startswith("avcheck.")) + ".d/member"
    path = root / SPOOL.lstrip("/") / unpacked
    path.parent.mkdir()
    path.write_bytes(b"mail")
    return left | {unpacked}


def test_what_is_ours_to_remove_is_what_the_code_makes() -> None:
    pattern, beside = [words[1] for words in lines() if words[0].startswith("R")]
    assert Path(pattern).parent == Path(beside).parent == Path(SPOOL)
    assert beside == pattern + ".*"
    made = os.fsdecode(new_file_name())
    assert fnmatchcase(made, Path(pattern).name)
    for other in (made[:-1], made + "0"):
        assert not fnmatchcase(other, Path(pattern).name)
        assert not fnmatchcase(other + "/x", Path(beside).name)
    words = command()
    names = [words[number + 1] for number, word in enumerate(words) if word == "-name"]
    assert names == [
        Path(pattern).name,
        Path(beside).name,
        os.fsdecode(attempts.PREFIX) + "*",
    ]
    assert int(words[words.index("-mtime") + 1]) * 24 * 3600 == attempts.OLD


def test_no_directory_has_an_age() -> None:
    assert {words[0] for words in lines()} == {"d", "R!"}
    assert {words[5] for words in lines() if words[0] == "d"} == {"-"}
    assert [*lines()[0][:5]] == ["d", SPOOL, "0710", "avclient", "avgroup"]
    assert entry.NEW == b".new"  # in KEPT


def test_cleaning_removes_nothing_at_all(site: Site, root: Path) -> None:
    left = left_by_kills(site, root)
    make_old(root)
    tmpfiles(root, "--clean")
    assert there(root) == {*KEPT, *left}


def test_at_boot_what_killed_runs_have_left_goes_and_nothing_else(site: Site, root: Path) -> None:
    left = left_by_kills(site, root)
    assert {name.partition(".")[0] for name in left} == {"avcheck", "attempts"}
    make_old(root)
    tmpfiles(root, "--remove")  # by hand, with the mail system running
    assert there(root) == {*KEPT, *left}
    tmpfiles(root, "--remove", "--boot")
    assert there(root) == {*KEPT, *(name for name in left if name.startswith("attempts."))}


def test_by_hand_it_is_the_old_that_goes(site: Site, root: Path) -> None:
    left = left_by_kills(site, root)
    words = [str(root) + word if word == SPOOL else word for word in command()]
    subprocess.run(words, check=True)
    assert there(root) == {*KEPT, *left}
    make_old(root)
    subprocess.run(words, check=True)
    assert there(root) == set(KEPT)

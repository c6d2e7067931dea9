"""A broken installation keeps every message."""

from __future__ import annotations

import itertools
import re
import shutil
import sysconfig
from pathlib import Path

import pytest

from tests.command.test_pipe import FOUND
from tests.support.mta import TEMPFAIL, Ended, Site

# The installation.

PACKAGE = Path(sysconfig.get_path("purelib")) / "avcheck"  # the installed one
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

BROKEN = {
    "missing": None,
    "no Python": "def broken(:\n",
    "empty": "",
    "leaving": "raise SystemExit(0)\n",
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a copy of the package, compiled; the tests put it back in order."""
    directory = tmp_path_factory.mktemp("copied")
    shutil.copytree(PACKAGE, directory / "avcheck")
    return directory


RUNS = ("clean, by SMTP", "clean, by sendmail", "infected", "help")


def run(site: Site, kind: str) -> Ended:
    """One of RUNS, which between them need everything that an ordinary site does."""
    if kind == "clean, by sendmail":
        site.sendmail()
    elif kind == "infected":
        site.clamd(says=FOUND)
        site.handler()
    return site.deliver(*(["--help"] if kind == "help" else []))


@pytest.fixture(scope="module")
def needed(command: Path, copied: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The first of RUNS that needs a file of the package, for each that one of them imports."""
    told = {"PYTHONPATH": str(copied), "PYTHONPROFILEIMPORTTIME": "1"}
    found: dict[str, str] = {}
    for kind in RUNS:
        with Site([command], tmp_path_factory.mktemp("needed"), environment=told) as site:
            site.clamd()
            site.smtp()
            output = run(site, kind).output.decode()
        for name in re.findall(r"^import time: .* avcheck\b([.\w]*)$", output, re.M):
            place = PACKAGE.joinpath(*name.split(".")[1:])
            path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            found.setdefault(str(path.relative_to(PACKAGE)), kind)
    assert found["__main__.py"] == found["scanners/clamd.py"] == "clean, by SMTP"
    assert set(found.values()) == set(RUNS)
    return found


# Without its __init__.py a package lacks its version, which no message needs; those of two
# folders are empty.
HARMLESS = [
    (module, how)
    for module in ("__init__.py", "options/__init__.py", "state/__init__.py")
    for how in ("missing", "empty")
]


@pytest.mark.parametrize(
    ("module", "how"), [pair for pair in itertools.product(MODULES, BROKEN) if pair not in HARMLESS]
)
def test_a_broken_installation_keeps_the_message(
    site: Site, copied: Path, needed: dict[str, str], module: str, how: str
) -> None:
    path = copied / "avcheck" / module
    aside = path.rename(copied / "aside")
    site.surround({"PYTHONPATH": str(copied)})
    try:
        if (text := BROKEN[how]) is not None:
            path.write_text(text)
        ended = run(site, needed.get(module, RUNS[0]))
    finally:
        aside.replace(path)
    assert site.left == []
    if module not in needed:  # it serves an option of its own, and nobody else needs it
        assert ended.status == 0
        return
    assert ended.status == TEMPFAIL
    # Help may get on with an empty module; without a message it is 75 all the same.
    assert re.match(rb"4\.3\.[05] avcheck: ", ended.output) or needed[module] == "help", ended
    assert site.delivered == []
    assert site.calls == 0


def test_the_copied_package_works_when_nothing_is_broken(site: Site, copied: Path) -> None:
    site.surround({"PYTHONPATH": str(copied)})
    assert site.deliver().status == 0

"""A broken installation keeps every message."""

from __future__ import annotations

import re
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.command.test_pipe import FOUND
from tests.support import loaded
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


def prepare(site: Site, kind: str) -> None:
    """Have ready what one of RUNS needs, which between them need what an ordinary site does."""
    if kind == "clean, by sendmail":
        site.sendmail()
    elif kind == "infected":
        site.clamd(says=FOUND)
        site.handler()


def run(site: Site, kind: str) -> Ended:
    """One of RUNS, at a site that is prepared for it."""
    return site.deliver(*(["--help"] if kind == "help" else []))


@contextmanager
def broken(path: Path, how: str) -> Iterator[None]:
    """The module is broken, for a while."""
    aside = path.rename(path.with_suffix(".aside"))
    try:
        if (text := BROKEN[how]) is not None:
            path.write_text(text)
        yield
    finally:
        aside.replace(path)


@pytest.fixture(scope="module")
def needed(command: Path, copied: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The first of RUNS that needs a file of the package, for each that one of them imports."""
    telling = loaded.let_tell(tmp_path_factory.mktemp("telling") / "place")
    told = {"PYTHONPATH": f"{telling}:{copied}"}
    found: dict[str, str] = {}
    for kind in RUNS:
        with Site([command], tmp_path_factory.mktemp("needed"), environment=told) as site:
            site.clamd()
            site.smtp()
            prepare(site, kind)
            modules = loaded.modules(run(site, kind).output)
        for name in sorted(name for name in modules if name.split(".")[0] == "avcheck"):
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


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("kind", RUNS)
def test_a_broken_installation_keeps_the_message(
    site: Site, copied: Path, needed: dict[str, str], kind: str, how: str
) -> None:
    site.surround({"PYTHONPATH": str(copied)})
    prepare(site, kind)
    for module in (each for each in needed if needed[each] == kind):
        if (module, how) in HARMLESS:
            continue
        with broken(copied / "avcheck" / module, how):
            ended = run(site, kind)
        assert site.left == [], module
        assert ended.status == TEMPFAIL, module
        # Help may get on with an empty module; without a message it is 75 all the same.
        assert re.match(rb"4\.3\.[05] avcheck: ", ended.output) or kind == "help", (module, ended)
        assert site.delivered == [], module
        assert site.calls == 0, module


@pytest.mark.parametrize("how", BROKEN)
def test_what_serves_an_option_of_its_own_may_all_be_broken(
    site: Site, copied: Path, needed: dict[str, str], how: str
) -> None:
    site.surround({"PYTHONPATH": str(copied)})
    others = [module for module in MODULES if module not in needed]
    assert others
    with ExitStack() as stack:
        for module in others:
            stack.enter_context(broken(copied / "avcheck" / module, how))
        ended = site.deliver()
    assert site.left == []
    assert ended.status == 0


def test_the_copied_package_works_when_nothing_is_broken(site: Site, copied: Path) -> None:
    site.surround({"PYTHONPATH": str(copied)})
    assert site.deliver().status == 0

"""avcheck put somewhere by pip, pipx or uv, below a path with blanks: it runs from there.

The packages come from a directory, as docs/postfix.md has it for a machine without a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from avcheck import __version__
from tests.command.test_pipe import FOUND
from tests.live.debian import wheels
from tests.support.installed import NOT_SOURCE, build
from tests.support.mta import Site
from tests.support.once import once
from tests.support.smtp_client import spawned, words
from tests.support.tree import ROOT

PATIENCE = 120


def newest_pip() -> Path:
    """A directory with the pip that pipx wants for itself."""
    download = (sys.executable, "-m", "pip", "-q", "download", "--dest")

    def make(made: Path) -> None:
        subprocess.run([*download, made, "pip"], check=True)

    return once("newest-pip", make)


def own_wheel() -> Path:
    """The wheel of this source."""

    def make(made: Path) -> None:
        build(shutil.copytree(ROOT, made / "source", ignore=NOT_SOURCE), made)

    return next(once("own-wheel", make).glob("*.whl"))


def run(*command: str | Path, **environment: str) -> str:
    """The output of a command that has to succeed, with nothing of this environment of Python's."""
    found = {
        **{name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ},
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels()),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_NO_CONFIG": "1",
        **environment,
    }
    done = subprocess.run(command, env=found, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def pip(*words: str | Path) -> str:
    return run(sys.executable, "-m", "pip", "-q", *words)


def environment(place: Path) -> Path:
    """A virtual environment, made and filled by pip."""
    run(sys.executable, "-m", "venv", "--without-pip", place)
    pip("--python", place / "bin" / "python", "install", own_wheel())
    return place / "bin"


def target(place: Path) -> Path:
    """pip install --target: no Python looks there by itself."""
    pip("install", "--target", place, own_wheel())
    return place / "bin"


def prefix(place: Path) -> Path:
    """pip install --prefix."""
    pip("install", "--prefix", place, "--ignore-installed", own_wheel())
    return place / "bin"


def pipx(place: Path) -> Path:
    """pipx, which links the commands into a directory of its own."""
    own = {"PIPX_HOME": str(place), "PIPX_BIN_DIR": str(place / "bin")}
    own |= {"PIPX_MAN_DIR": str(place / "man"), "PIPX_DEFAULT_PYTHON": sys.executable}
    own |= {"PIPX_DEFAULT_BACKEND": "pip", "PIP_FIND_LINKS": f"{wheels()} {newest_pip()}"}
    run(sys.executable, "-m", "pipx", "install", own_wheel(), **own)
    assert (place / "bin" / "avcheck").is_symlink()
    return place / "bin"


def uv(place: Path) -> Path:
    """uv tool install, which does the same."""
    own = {"UV_TOOL_DIR": str(place / "tools"), "UV_TOOL_BIN_DIR": str(place / "bin")}
    own |= {"UV_CACHE_DIR": str(place / "cache"), "UV_PYTHON": sys.executable}
    uv = Path(sys.executable).with_name("uv")
    run(uv, "-q", "tool", "install", "--no-index", "--find-links", wheels(), own_wheel(), **own)
    assert (place / "bin" / "avcheck").is_symlink()
    return place / "bin"


WAYS: Mapping[str, Callable[[Path], Path]] = {
    "environment": environment,
    "target": target,
    "prefix": prefix,
    "pipx": pipx,
    "uv": uv,
}


@pytest.fixture(scope="module", params=WAYS)
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which a user finds the commands."""
    return WAYS[request.param](tmp_path_factory.mktemp("some where") / "a path with blanks é")


@pytest.fixture(params=["avcheck", "avcheck-guard.sh"])
def way(request: pytest.FixtureRequest, programs: Path, tmp_path: Path) -> Site:
    """A site whose mail system calls the command, or the guard beside it."""
    guard = [programs / "avcheck-guard.sh"] if request.param == "avcheck-guard.sh" else []
    return Site([*guard, programs / "avcheck"], tmp_path)


def test_a_clean_message_is_delivered(way: Site) -> None:
    with way as site:
        site.clamd()
        smtp = site.smtp()
        ended = site.deliver()
        assert (ended.status, len(smtp.messages)) == (0, 1), ended


def test_the_handler_that_came_with_it_is_found(way: Site) -> None:
    with way as site:
        site.clamd(says=FOUND)
        site.smtp()
        ended = site.deliver()
        assert ended.status == 0, ended
        assert b"infected.sh stored as" in ended.output


def test_a_session_begins(programs: Path, tmp_path: Path) -> None:
    with Site([programs / "avcheck"], tmp_path) as site:
        site.clamd()
        site.smtp()
        line = [str(programs / "avcheck-smtp"), *words(site)[1:]]
        with spawned(line) as talk:
            assert talk.hear().startswith(b"220 ")


def test_the_administrators_tool_runs(programs: Path, request: pytest.FixtureRequest) -> None:
    where = {"PYTHONPATH": str(programs.parent)} if "target" in request.node.callspec.id else {}
    if "prefix" in request.node.callspec.id:
        (site_packages,) = programs.parent.glob("lib/python3*/site-packages")
        where = {"PYTHONPATH": str(site_packages)}
    assert __version__ in run(programs / "avcheckctl", "--version", **where)


def test_a_copy_of_the_source_runs_as_it_is(tmp_path: Path) -> None:
    place = ROOT / "scripts"
    for command in ("avcheck", "avcheck-smtp"):
        assert __version__ in run(place / command, "--version")
    link = tmp_path / "avcheck"
    link.symlink_to(place / "avcheck")
    assert __version__ in run(link, "--version")


def test_without_an_environment_the_name_of_the_directory_is_that_of_the_python(
    tmp_path: Path,
) -> None:
    """python3.99 for lib/python3.99: the one that the package was installed for."""
    place = tmp_path / "bin"
    place.mkdir()
    (tmp_path / "lib" / "python3.99" / "site-packages" / "avcheck").mkdir(parents=True)
    for name in ("avcheck", "avcheck-smtp", "avcheck-guard.sh"):
        (place / name).write_text((ROOT / "scripts" / name).read_text())
        (place / name).chmod(0o755)
    called = place / "python3.99"
    done = subprocess.run([place / "avcheck", "-x"], capture_output=True, text=True)
    assert (done.returncode, "broken installation: no " in done.stderr) == (75, True)
    called.write_text('#!/bin/sh\necho "$0"; exit 77\n')
    called.chmod(0o755)
    for line in (["avcheck"], ["avcheck-smtp"], ["avcheck-guard.sh", str(place / "avcheck")]):
        done = subprocess.run([place / line[0], *line[1:]], capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip()) == (77, str(called)), line


SEARCH = 'python=$here/python3\nif ! [ -e "$here/../pyvenv.cfg" ]; then\n'


def test_the_three_look_for_it_in_the_same_way() -> None:
    """Each in its own words, for each has to be whole by itself."""
    found = set()
    for name in ("avcheck", "avcheck-smtp", "avcheck-guard.sh"):
        text = (ROOT / "scripts" / name).read_text()
        block = text[text.index(SEARCH) :].partition("\nfi\n")[0]
        found.add(block.replace('    [ -e "$avcheck" ] || exit 127\n', ""))
    assert len(found) == 1

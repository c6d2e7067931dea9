"""debian/ says nothing that the rest of the tree says otherwise."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest

from avcheck import __version__
from avcheck.admin import packaged
from avcheck.admin.calls import DOCUMENTED
from avcheck.state import attempts
from tests.campaigns.packages.scenes import BIN, DEPENDENCIES
from tests.contracts.test_contrib_tmpfiles import lines as of_tmpfiles
from tests.live.recipe import DOCUMENT, blocks
from tests.support.tree import ROOT

DEBIAN = ROOT / "debian"
CONTRIB = ROOT / "contrib"

# Nobody has packaged it; clamd_commands has what is needed of it.
NOT_IN_DEBIAN = {"clamd"}


def read(name: str) -> str:
    return (DEBIAN / name).read_text()


def listed(field: str, paragraph: int) -> set[str]:
    """The names in a field of a paragraph of debian/control."""
    text = read("control").split("\n\n")[paragraph]
    found = re.search(rf"^{field}:\n((?: .*\n?)+)", text, re.MULTILINE)
    assert found is not None, field
    words = [line.strip().rstrip(",") for line in found[1].splitlines()]
    return {re.split("[ :]", word)[0] for word in words if not word.startswith("$")}


def test_the_version_is_ours() -> None:
    first = re.match(r"avcheck \((\S+)-\d+\) (\S+); urgency=\w+\n", read("changelog"))
    assert first is not None
    assert first[1] == __version__


def test_what_it_depends_on_is_what_setup_cfg_requires() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    requires = setup["options"]["install_requires"].split("\n")
    names = {line.split()[0] for line in requires if line} - NOT_IN_DEBIAN
    assert listed("Depends", 1) == {"python3", *(f"python3-{name}" for name in names)}
    assert listed("Depends", 1) < set(DEPENDENCIES)
    oldest = setup["options"]["python_requires"]
    assert f"python3 ({oldest.replace('>=', '>= ')})" in read("control").split("\n\n")[1]


def test_make_deb_installs_what_the_build_needs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (words,) = re.findall(r"@\.ci/packages ((?:.*\\\n)*.*)\n\t@\.ci/deb", makefile)
    ours = set(words.replace("\\\n", " ").split())
    needed = {name for name in listed("Build-Depends", 0) if not name.startswith("dh-sequence")}
    assert ours == (needed - {"debhelper-compat", "python3"}) | {"debhelper", "build-essential"}


def test_every_file_of_contrib_is_installed_or_an_example() -> None:
    rules, examples = read("rules"), read("avcheck.examples").split()
    for path in CONTRIB.iterdir():
        name = f"contrib/{path.name}"
        assert (name in rules) != (name in examples), name
    (units,) = re.findall("^units = (.*)", rules, re.MULTILINE)
    assert set(units.split()) == {unit.name for unit in (CONTRIB / "systemd").iterdir()}


def test_nothing_starts_by_itself() -> None:
    named = re.findall(r"^\tdh_installsystemd (.*)--name=(\S+)$", read("rules"), re.MULTILINE)
    assert {options for options, _ in named} == {"--no-enable --no-start "}
    stems = {unit.name.rpartition(".")[0] for unit in (CONTRIB / "systemd").iterdir()}
    assert {name for _, name in named} == stems


def test_all_have_the_same_place() -> None:
    assert f"place = debian/avcheck{packaged.PLACE}\n" in read("rules")
    assert BIN == packaged.PROGRAMS
    for name in ("avcheck", "avcheck-smtp"):
        assert f"\nexec {packaged.PROGRAMS}/{name} " in read(f"programs/{name}")
    for name in ("avcheckctl", "uchroot"):
        assert f'\nsys.path.append("{packaged.PLACE}")\n' in read(f"programs/{name}")
        assert f"{packaged.PROGRAMS}/{name} ".lstrip("/") in read("avcheck.links")
    assert packaged.PROGRAMS in read("avcheck.prerm")
    guide = " ".join(read("README.Debian").split())
    assert f"where they say {DOCUMENTED}, it is {packaged.GUARD}" in guide
    assert packaged.PROGRAMS in (CONTRIB / "apparmor-avcheck").read_text()


def test_the_account_is_that_of_the_page() -> None:
    commands = blocks(DOCUMENT)["accounts"]
    (user,) = re.findall(r'^u +(\S+) +-:(\S+) +"avcheck" +(\S+) +(\S+)$', sysusers(), re.MULTILINE)
    name, group, home, shell = user
    assert f"groupadd --system {group}\n" in commands
    assert f"--gid {group} --home-dir {home} " in commands
    assert f"--shell {shell} {name}\n" in commands
    assert f"g      {group}  -\n" in sysusers()
    assert packaged.LEFT.findall(commands)[0].strip() in sysusers()


def sysusers() -> str:
    return (CONTRIB / "avcheck.sysusers").read_text()


def test_the_directories_are_those_of_tmpfiles() -> None:
    made = re.findall(r"install -d -o (\S+) -g (\S+) -m (\S+) (\S+)\n", read("avcheck.postinst"))
    wanted = [words for words in of_tmpfiles() if words[0] == "d"]
    assert made == [(user, group, mode, path) for _, path, mode, user, group, *_ in wanted]


def test_a_purge_removes_what_runs_leave_and_no_mail() -> None:
    script = read("avcheck.postrm")
    for words in of_tmpfiles():
        if words[0] == "R!":
            assert f"'{Path(words[1]).name}'" in script
    assert f"'{os.fsdecode(attempts.PREFIX)}*'" in script
    removed = re.findall(r"-name '?([^' \n]+)'?", script)
    assert not [name for name in removed if name.startswith(("2", "q", "*", "["))]


@pytest.mark.parametrize("name", ["rules", "tests/postfix", "programs/avcheckctl"])
def test_what_is_run_can_be_run(name: str) -> None:
    assert (DEBIAN / name).stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_the_scripts_end_where_something_fails(name: str) -> None:
    text = read(f"avcheck.{name}")
    assert text.startswith("#!/bin/sh\nset -e\n")
    assert text.count("\n#DEBHELPER#\n") == 1
    subprocess.run(["sh", "-n", DEBIAN / f"avcheck.{name}"], check=True)

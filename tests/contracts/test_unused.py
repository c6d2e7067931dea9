"""What is not asked for costs nothing: no module, no system call."""

from __future__ import annotations

import ast
import os
import shutil
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import traced
from tests.support.mta import MAIL, Site
from tests.support.trust import Trust

# The modules that serve one option each, and the words that ask for them.
OPTIONAL = {
    "state.slots": ("--slots", "2"),
    "state.canary": ("--canary", "3600"),
    "state.attempts": ("--attempts", "3", "--queue-id", "4X"),
    "state.metrics": ("--metrics", "{}/avcheck.prom"),
    "quarantine": ("--on", "infected=quarantine:{}/quarantine"),
    "options.file": ("--config", "{}/avcheck.conf"),
}

# What all of these open their files by.
SHARED = {"files"}

# What these need, and a clean message does not.
COSTLY = {"json", "hashlib", "binascii", "re", "threading", "socket", "ssl", "subprocess", "click"}
COSTLY |= {"os"}

# Runs the command in this process, and writes what was loaded when it leaves.
LOADED = """
import posix, sys
sys.path.append(PLACE)
before = set(sys.modules)
leave = posix._exit
def tell(status):
    with open(sys.argv[0], "w") as file:
        file.write(repr((status, sorted(set(sys.modules) - before))))
    leave(status)
posix._exit = tell
words = sys.argv[2:]
sys.argv[1:] = words
from avcheck.__main__ import main
main()
"""


@pytest.fixture
def trust(site: Site) -> Iterator[Trust]:
    """A site whose scanner passes the known-answer test."""
    (site.directory / "avcheck.conf").write_text("verbose\n")
    # A short name: the state of the known-answer test is called after it, or after a digest.
    with Trust(site) as place, TemporaryDirectory(prefix="s") as short:
        link = Path(short) / "clamd"
        link.symlink_to(place.scanner.where)
        place.scanner.where = str(link)
        yield place


def loaded(site: Site, *options: str, message: bytes = MAIL) -> set[str]:
    """The modules that a run of avcheck loads; it must end well."""
    told = site.directory / "loaded"
    command, *words = site.words("-n", *(word.format(site.directory) for word in options))
    # -c: the name of the program, sys.argv[0], is what the process is told to write to.
    code = LOADED.replace("sys.argv[0]", repr(str(told)))
    code = code.replace("PLACE", repr(sysconfig.get_path("purelib")))
    program = [sys.executable, "-I", "-S", "-c", code, command, *words]
    ended = site.start(program).end(message)
    assert ended.status == 0, ended
    status, modules = ast.literal_eval(told.read_text())
    assert status == 0
    return set(modules)


def ours(modules: set[str]) -> set[str]:
    return {name.partition(".")[2] for name in modules if name.startswith("avcheck.")}


def test_a_clean_message_loads_none_of_it(trust: Trust) -> None:
    modules = loaded(trust.site)
    assert "avcheck.ask" in modules
    assert ours(modules).isdisjoint(OPTIONAL.keys() | SHARED)
    assert modules.isdisjoint(COSTLY)


@pytest.mark.parametrize("module", sorted(OPTIONAL.keys() - {"quarantine"}))
def test_an_option_loads_its_own_module_and_no_other(trust: Trust, module: str) -> None:
    usual = loaded(trust.site)
    # The second run: with what is there already.
    loaded(trust.site, *OPTIONAL[module])
    modules = loaded(trust.site, *OPTIONAL[module])
    assert (ours(modules) - ours(usual)) - SHARED == {module}
    assert (modules - usual).isdisjoint(COSTLY)


def test_the_quarantine_is_loaded_for_what_goes_there(trust: Trust) -> None:
    words = OPTIONAL["quarantine"]
    assert ours(loaded(trust.site, *words)).isdisjoint({"quarantine", "draft", "entry"})
    trust.scanner.think = lambda content: b"Eicar FOUND"
    modules = loaded(trust.site, *words)
    assert ours(modules) & OPTIONAL.keys() == {"quarantine"}


def test_several_scanners_load_no_more(trust: Trust) -> None:
    usual = loaded(trust.site)
    assert ours(loaded(trust.site, "-s", f"clamd:{trust.scanner.where}")) == ours(usual)


def counted(site: Site, *options: str) -> Counter[str]:
    """How many system calls of each name a run makes."""
    words = site.words("-n", *(word.format(site.directory) for word in options))
    return Counter(call.name for call in traced.calls(site, words))


def without_modules(site: Site) -> Site:
    """The site, run with a copy of the package that has none of these modules."""
    directory = site.directory / "without"
    package = Path(sysconfig.get_path("purelib")) / "avcheck"
    shutil.copytree(package, directory / "avcheck")
    for module in OPTIONAL:
        folder, name = (
            (directory / "avcheck").joinpath(*module.split(".")[:-1]),
            module.split(".")[-1],
        )
        (folder / f"{name}.py").unlink()
        for path in (folder / "__pycache__").glob(f"{name}.*"):
            path.unlink()
    site.surround({"PATH": "/usr/bin:/bin", "LANG": "C", "PYTHONPATH": str(directory)})
    return site


def test_a_clean_message_makes_the_same_calls_as_without_the_modules(trust: Trust) -> None:
    """The same program with nothing in it that could be called."""
    site = trust.site
    with_modules = site.directory / "with"
    package = Path(sysconfig.get_path("purelib")) / "avcheck"
    shutil.copytree(package, with_modules / "avcheck")
    site.surround({"PATH": "/usr/bin:/bin", "LANG": "C", "PYTHONPATH": str(with_modules)})
    counted(site)
    usual = counted(site)
    bare = counted(without_modules(site))
    # How often a directory, and memory, is looked at again varies with its size.
    for name in ("getdents64", "brk", "mmap", "munmap", "futex"):
        usual.pop(name, None)
        bare.pop(name, None)
    assert usual == bare


def test_a_clean_message_touches_none_of_the_files(trust: Trust) -> None:
    names = ("slot.", "canary.", "attempts.", ".prom", "quarantine", "avcheck.conf")
    calls = traced.calls(trust.site, trust.site.words("-n"))
    opened = [call.words for call in calls if call.name.startswith(("open", "newfstat", "stat"))]
    assert opened
    for words in opened:
        path = words.rpartition("/")[2] if "site-packages" in words else words
        assert not any(name in path for name in names), words
    assert os.listdir(trust.site.spool) == []


# What each may cost when it is used, in calls, the loading of its module aside: a bound with
# room, so that a loop or a second look at everything is noticed.
CALLS = {
    "state.slots": 15,
    "state.canary": 15,
    "state.attempts": 10,
    "state.metrics": 30,
    "options.file": 15,
}


@pytest.mark.parametrize("module", CALLS)
def test_an_option_that_is_used_makes_few_calls(trust: Trust, module: str) -> None:
    words = OPTIONAL[module]
    counted(trust.site)
    usual = counted(trust.site)
    counted(trust.site, *words)
    used = counted(trust.site, *words)
    load = 20  # of one module from its .pyc
    assert (used - usual).total() <= CALLS[module] + load

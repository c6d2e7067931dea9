"""avcheck-guard before an installation that is broken, half replaced, or led astray: 75.

The files are those of a real virtual environment with a real Python.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import avcheck
from tests.support.environment import PATIENCE, Environment

WORKS = "os.write(1, b'works')\nos._exit(success)\n"

# An account that nobody has, and so has no other process.
NOBODY = 54321


@pytest.fixture
def environment() -> Iterator[Environment]:
    """In a directory that other accounts can enter."""
    with tempfile.TemporaryDirectory(prefix="avcheck-guard-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Environment(Path(name))


def deferred(environment: Environment, **how: str) -> str:
    """What is said of a run that must end with 75, and print nothing that counts as output."""
    status, out, err = environment.run("-f", "x", variables=how)
    assert (status, out) == (75, b""), err
    assert err.splitlines()[-1].startswith("4.3.5 "), err
    return err


def test_it_works_before_anything_is_broken(environment: Environment) -> None:
    environment.main_is(WORKS)
    assert environment.run() == (0, b"works", "")


def test_an_empty_launcher_is_not_taken_for_avcheck(environment: Environment) -> None:
    """pip opens it anew to write its first line, and for that moment it is empty.

    The shell takes an empty file for a script that ends with 0, and so did execvp.
    """
    environment.main_is(WORKS)
    assert environment.avcheck.read_bytes() == b""
    assert environment.run() == (0, b"works", "")  # it is the package that is run
    environment.avcheck.chmod(0o755)
    assert subprocess.run(["sh", "-c", '"$0"', environment.avcheck], check=False).returncode == 0


def emptied(package: Path) -> None:
    for each in package.iterdir():
        each.unlink()


HALF: dict[str, Callable[[Path], object]] = {
    "nothing of the package": lambda package: shutil.rmtree(package),
    "its directory alone": emptied,
    "no main": lambda package: (package / "__main__.py").unlink(),
    "an empty main": lambda package: (package / "__main__.py").write_text(""),
    "half a main": lambda package: (package / "__main__.py").write_text(
        "def main(success):\n    if ("
    ),
    "a main that returns": lambda package: (package / "__main__.py").write_text(
        "def main(success):\n    return 0\n"
    ),
    "a main that leaves": lambda package: (package / "__main__.py").write_text(
        "def main(success):\n    raise SystemExit(0)\n"
    ),
}


@pytest.mark.parametrize("half", HALF)
def test_half_a_package_defers(environment: Environment, half: str) -> None:
    environment.main_is(WORKS)
    shutil.rmtree(environment.packages / "avcheck" / "__pycache__", ignore_errors=True)
    HALF[half](environment.packages / "avcheck")
    deferred(environment)


def test_no_environment_at_all_defers(environment: Environment) -> None:
    shutil.rmtree(environment.directory)
    assert "status 127" in deferred(environment)


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 4096], ids=["empty", "newline", "zeros"])
def test_an_interpreter_that_is_no_program_defers(environment: Environment, content: bytes) -> None:
    """As after a crash; the shell runs it as a script, and that ends with 0."""
    environment.main_is(WORKS)
    environment.python.unlink()
    environment.python.write_bytes(content)
    environment.python.chmod(0o755)
    deferred(environment)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_guard_that_is_cut_short_is_no_success(tmp_path: Path, shell: str) -> None:
    """A copy on a full disk, or a crash, ends at the end of a block."""
    environment = Environment(tmp_path, shell)
    environment.main_is(WORKS)
    guard = environment.guard_alone()
    whole = guard.read_bytes()
    for size in range(64, len(whole) - 2, 64):
        guard.write_bytes(whole[:size])
        status, out, _ = environment.run(guard=(guard, environment.avcheck))
        assert (status != 0, out) == (True, b""), size


def test_a_damaged_standard_library_defers(environment: Environment) -> None:
    environment.main_is(WORKS)
    version = environment.packages.parent.name
    library = environment.directory.parent / "damaged" / "lib" / version
    library.mkdir(parents=True)
    (library / "os.py").write_text("")  # by which Python knows the directory
    binaries = environment.directory.parent / "damaged" / "bin"
    binaries.mkdir()
    environment.settings.write_text(f"home = {binaries}\n")
    assert "status 1" in deferred(environment)


LED_ASTRAY = ("os.py", "site.py", "sitecustomize.py", "errno.py", "avcheck.py", "encodings.py")


def test_nothing_of_a_stranger_is_imported(environment: Environment) -> None:
    environment.main_is(WORKS)
    theirs = environment.directory.parent / "theirs"
    theirs.mkdir()
    for name in LED_ASTRAY:
        (theirs / name).write_text("import posix\nposix._exit(0)\n")
    variables = {
        "PYTHONPATH": str(theirs),
        "PYTHONHOME": str(theirs),
        "PYTHONSTARTUP": str(theirs / "os.py"),
        "PYTHONMALLOC": "nonsense",
        "PYTHONUSERBASE": str(theirs),
    }
    assert environment.run(variables=variables, cwd=theirs) == (0, b"works", "")


def test_a_package_cannot_stand_before_the_standard_library(environment: Environment) -> None:
    environment.main_is("import stat\n" + WORKS)
    (environment.packages / "stat.py").write_text("import posix\nposix._exit(0)\n")
    assert environment.run() == (0, b"works", "")


def test_standard_input_that_is_a_directory_defers(environment: Environment) -> None:
    environment.main_is(WORKS)
    with open_directory() as fd:
        done = subprocess.run(environment.words(), stdin=fd, capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (75, b"")


class open_directory:  # noqa: N801 - used as a word in a with statement
    def __enter__(self) -> int:
        self.fd = os.open("/", os.O_RDONLY)
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def no_processes() -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_no_process_more_defers(environment: Environment, shell: str) -> None:
    environment.main_is(WORKS)
    words = environment.words()[1:]
    own = ["busybox", "sh"] if shell == "busybox" else [shell]
    done = subprocess.run(
        [*own, *words],
        preexec_fn=no_processes,
        user=NOBODY if os.geteuid() == 0 else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (75, b""), done


def real(environment: Environment) -> None:
    """The package of this source, and a Python."""
    environment.python_is_real()
    shutil.copytree(Path(avcheck.__file__).parent, environment.packages / "avcheck")


def check(environment: Environment, *words: str) -> tuple[int, bytes, str]:
    spool = environment.directory / "spool"
    spool.mkdir(mode=0o700)
    return environment.run(
        *("-n", "-d", str(spool), *words, "-f", "a@example.com", "--", "b@example.net"),
        stdin=b"Subject: x\n\nHello.\n",
    )


MINE = "import os\nos._exit(33)\n"


def beside(environment: Environment) -> Path:
    """In the environment itself."""
    return environment.packages


def by_a_pth_file(environment: Environment) -> Path:
    """Somewhere else, as an editable installation is."""
    place = environment.directory / "src"
    (environment.packages / "mine.pth").write_text(f"{place}\n")
    return place


@pytest.mark.parametrize("where", [beside, by_a_pth_file])
def test_a_scanner_of_the_administrators_is_found(
    environment: Environment, where: Callable[[Environment], Path]
) -> None:
    real(environment)
    package = where(environment) / "mysite"
    package.mkdir(parents=True)
    (package / "gate.py").write_text(MINE)
    assert check(environment, "-s", "mysite.gate:/x") == (33, b"", "")


def test_a_scanner_that_is_nowhere_defers(environment: Environment) -> None:
    real(environment)
    status, _, err = check(environment, "-s", "mysite.gate:/x")
    assert status == 75
    assert "mysite" in err


def test_an_avcheck_that_a_pth_file_leads_to_is_found(environment: Environment) -> None:
    real(environment)
    source = environment.directory / "src"
    source.mkdir()
    (environment.packages / "avcheck").rename(source / "avcheck")
    (environment.packages / "avcheck.pth").write_text(f"{source}\n")
    assert check(environment)[2].startswith("4.3.5 avcheck: -s is required")


def test_debians_own_place_for_packages_is_looked_at(environment: Environment) -> None:
    """Where pip puts them below /usr/local, without a virtual environment."""
    environment.main_is(WORKS)
    environment.settings.unlink()
    environment.packages.rename(environment.packages.with_name("dist-packages"))
    assert environment.run() == (0, b"works", "")


def test_the_layout_is_that_of_this_python() -> None:
    """The guard looks where sysconfig would, seen from the directory with the commands."""
    schemes = sysconfig.get_scheme_names()
    assert "posix_prefix" in schemes
    paths = sysconfig.get_paths("posix_prefix", {"base": "/base", "platbase": "/base"})
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert (paths["scripts"], paths["purelib"]) == (
        "/base/bin",
        f"/base/lib/{version}/site-packages",
    )

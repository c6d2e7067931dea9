"""The finder of our modules: what it does not know for sure is Python's."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from avcheck import loading

FINDER = loading.Finder(importlib.util.MAGIC_NUMBER + bytes(4))

SOURCE = "WORDS = 'as in the source'\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A module, avcheck.sample, that Python has compiled."""
    path = tmp_path / "sample.py"
    path.write_text(SOURCE)
    py_compile.compile(str(path), doraise=True)
    return path


def compiled(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def found(source: Path, name: str = "avcheck.sample") -> ModuleType | None:
    """The module as this finder loads it; None if it leaves it to Python's."""
    spec = FINDER.find_spec(name, [str(source.parent)])
    if spec is None:
        return None
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_module_is_as_python_s_own_finder_loads_it(source: Path) -> None:
    module = found(source)
    assert module
    assert module.WORDS == "as in the source"
    spec = importlib.util.spec_from_file_location("avcheck.sample", source)
    assert spec
    usual = importlib.util.module_from_spec(spec)
    for name in ("__name__", "__file__", "__cached__", "__package__"):
        assert getattr(module, name) == getattr(usual, name), name


def test_a_folder_is_a_package(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "__init__.py").write_text(SOURCE)
    py_compile.compile(str(folder / "__init__.py"), doraise=True)
    module = found(tmp_path / "sample.py")
    assert module
    assert module.__path__ == [str(folder)]
    assert module.__package__ == "avcheck.sample"
    (folder / "__init__.py").unlink()
    assert found(tmp_path / "sample.py") is None


@pytest.mark.parametrize("name", ["json.tool", "sample", "avcheck", "avchecks.sample"])
def test_what_is_not_ours_is_left_to_python(source: Path, name: str) -> None:
    assert found(source, name) is None
    assert FINDER.find_spec("avcheck.sample", None) is None


def test_what_is_not_compiled_is_left_to_python(source: Path) -> None:
    compiled(source).unlink()
    assert found(source) is None
    source.unlink()
    assert found(source) is None


def test_what_was_compiled_from_another_source_is_left_to_python(source: Path) -> None:
    status = source.stat()
    source.write_text(SOURCE.replace("as", "AS"))  # of the same size
    os.utime(source, (status.st_atime, status.st_mtime + 1))
    assert found(source) is None
    source.write_text(SOURCE + "\n")  # of the same time
    os.utime(source, (status.st_atime, status.st_mtime))
    assert found(source) is None


def test_what_is_to_be_checked_by_a_hash_is_left_to_python(source: Path) -> None:
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert found(source) is None


def test_what_was_cut_short_is_left_to_python(source: Path) -> None:
    whole = compiled(source).read_bytes()
    for size in range(len(whole)):
        compiled(source).write_bytes(whole[:size])
        assert found(source) is None, size
    compiled(source).write_bytes(whole)
    assert found(source)


def test_another_python_s_is_left_to_python(source: Path) -> None:
    whole = compiled(source).read_bytes()
    compiled(source).write_bytes(b"\0\0" + whole[2:])
    assert found(source) is None


def test_every_module_of_a_run_is_loaded_so() -> None:
    """But those that were loaded before."""
    code = """
import sys
from avcheck import loading
before = set(sys.modules)
loading.install()
import avcheck.main, avcheck.deliver.smtp, avcheck.scanners.clamd
new = [sys.modules[name] for name in set(sys.modules) - before if name.startswith("avcheck")]
assert len(new) > 20
print({type(module.__loader__).__name__ for module in new})
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "{'Loader'}\n"

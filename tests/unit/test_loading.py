"""The finder of our modules: what it does not know for sure is Python's."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

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


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, source: Path) -> ModuleType:
    """A folder avcheck with the module sample, as the import system knows it."""
    package = ModuleType("avcheck")
    package.__path__ = [str(source.parent)]
    monkeypatch.setattr(sys, "modules", {"avcheck": package})
    return package


def test_a_module_that_is_loaded_at_once_is_the_same(package: ModuleType, source: Path) -> None:
    FINDER.load("avcheck.sample")
    usual = found(source)
    assert usual
    module: Any = vars(package)["sample"]
    for name in ("__name__", "__file__", "__package__", "WORDS"):
        assert getattr(module, name) == getattr(usual, name), name
    assert module.__loader__ is module.__spec__.loader
    module.WORDS = "changed"
    FINDER.load("avcheck.sample")  # it is there
    assert sys.modules["avcheck.sample"] is module
    assert module.WORDS == "changed"


def test_what_cannot_be_loaded_at_once_is_left_to_whoever_imports_it(
    package: ModuleType, source: Path
) -> None:
    compiled(source).unlink()
    for name in ("avcheck.sample", "avcheck.none", "avcheck.none.sample"):
        FINDER.load(name)
    assert list(sys.modules) == ["avcheck"]
    assert not hasattr(package, "sample")


def test_one_that_breaks_when_it_is_loaded_is_not_there(package: ModuleType, source: Path) -> None:
    source.write_text("import none\n")
    py_compile.compile(str(source), doraise=True)
    with pytest.raises(ModuleNotFoundError):
        FINDER.load("avcheck.sample")
    assert list(sys.modules) == ["avcheck"]


ASKED = """
import sys
import avcheck
from avcheck import loading
asked = []
find_spec = loading.Finder.find_spec
def note(finder, name, *other):
    if name.startswith("avcheck."):
        asked.append(name.partition(".")[2])
    return find_spec(finder, name, *other)
loading.Finder.find_spec = note
loading.install(names := loading.{names})
at_once = [*asked]
import avcheck.{main}
print(at_once == names.split(), asked[len(at_once):])
print({{type(sys.modules["avcheck." + name].__loader__).__name__ for name in asked}})
"""


@pytest.mark.parametrize(
    ("names", "main"), [("EVERY_RUN", "main"), ("EVERY_SESSION", "smtpd.main")]
)
def test_what_is_always_needed_is_loaded_at_once_and_asked_for_by_nobody(
    names: str, main: str
) -> None:
    """In such an order that none of them imports another one that is not there yet."""
    code = ASKED.format(names=names, main=main)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True []\n{'Loader'}\n"

"""Loads the modules of a run, in half of the time.

Python's own finder is made for every kind of module in every kind of place, and a run has
three dozen modules.  This one knows ours: it takes the compiled file beside the source if
Python had compiled it from just this source (PEP 3147, PEP 552: magic number, time and size),
and leaves everything else, such as a file that is missing, older, cut short or changed, to
Python's finder, which asks the same questions again.

What every run needs is loaded here in a row.  The import system takes locks and asks around for
each module, which is a seventh of what loading them costs (CPython 3.11).
"""

from __future__ import annotations

import posix
import sys
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

# The compiled file begins with the magic number, flags, which are 0 where time and size
# follow, and these two, in 4 bytes each.
_HEAD = 16
# Those of the package take a third of that.  More would be a mapping of its own for each of them.
_SIZE_MAX = 1 << 16
_SUFFIX = f".{sys.implementation.cache_tag}.pyc"

# What every run loads: a folder before what is in it, and each module after those it imports.
EVERY_RUN = """
    unix printable exits verdict deliver policy act process dial stream order conn
    scanners scanners.rows settings ask report directory header seen incoming spool
    options address options.arguments options.rows options.reading caller run state state.hold
    main
"""

# What every session of avcheck-smtp loads.
EVERY_SESSION = """
    smtpd unix process printable exits verdict policy report options options.file address
    scanners scanners.rows settings options.arguments options.rows options.reading caller run
    smtpd.client deliver dial stream order conn deliver.smtp_replies deliver.smtp_words
    deliver.smtp_dialogue deliver.smtp smtpd.commands smtpd.kept act ask directory header seen
    incoming spool state state.hold main smtpd.events smtpd.hop smtpd.lines smtpd.message
    smtpd.content smtpd.dialogue smtpd.session smtpd.main
"""


def install(names: str) -> None:
    """Ask this finder first from now on, for modules of the package; and load these now."""
    try:
        from _frozen_importlib_external import MAGIC_NUMBER
    except ImportError:  # another Python's name for it
        return
    finder = Finder(MAGIC_NUMBER + bytes(4))
    sys.meta_path.insert(0, finder)
    for name in names.split():
        finder.load(f"avcheck.{name}")


class Finder:
    """Finds the modules in the folders of the package."""

    __slots__ = ("_begin",)

    def __init__(self, begin: bytes) -> None:
        self._begin = begin

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module, if it is ours and was compiled; else None."""
        if not (path and name.startswith("avcheck.")):
            return None
        place = f"{path[0]}/{name.rpartition('.')[2]}"
        folder, _, file = place.rpartition("/")
        try:
            return self._spec(name, f"{place}.py", f"{folder}/__pycache__/{file}{_SUFFIX}")
        except FileNotFoundError:  # it is a folder, or not there
            return self._package(name, place)
        except (OSError, ValueError, EOFError, TypeError):
            return None

    def load(self, name: str) -> None:
        """Load the module, unless it is there; what is not found is for whoever imports it."""
        modules = sys.modules
        folder, _, last = name.rpartition(".")
        if name in modules or folder not in modules:
            return
        spec = self.find_spec(name, modules[folder].__path__)
        if spec is None:
            return
        module = modules[name] = type(sys)(name)
        module.__spec__ = spec
        module.__loader__ = spec.loader
        module.__file__ = spec.origin
        module.__package__ = spec.parent
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
        try:
            spec.loader.exec_module(module)  # type: ignore[union-attr]
        except BaseException:
            del modules[name]
            raise
        setattr(modules[folder], last, module)

    def _package(self, name: str, place: str) -> ModuleSpec | None:
        try:
            cached = f"{place}/__pycache__/__init__{_SUFFIX}"
            spec = self._spec(name, f"{place}/__init__.py", cached)
        except (OSError, ValueError, EOFError, TypeError):
            return None
        if spec is not None:
            spec.submodule_search_locations = [place]
        return spec

    def _spec(self, name: str, source: str, cached: str) -> ModuleSpec | None:
        status = posix.stat(source)
        fd = posix.open(cached, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = posix.read(fd, _SIZE_MAX)
        finally:
            posix.close(fd)
        made_from = (int(status.st_mtime), status.st_size)
        head = b"".join([(each & 0xFFFFFFFF).to_bytes(4, "little") for each in made_from])
        if data[:_HEAD] != self._begin + head:
            return None
        code = loads(memoryview(data)[_HEAD:])  # noqa: S302 - as Python's own finder does
        spec = type(__spec__)(name, Loader(code), origin=source)  # type: ignore[arg-type]
        spec.has_location = True
        spec.cached = cached
        return spec


class Loader:
    """A module whose code is here."""

    __slots__ = ("_code",)

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None  # as usual

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)  # noqa: S102 - it is what an import is

"""What a message costs: the modules that are imported for it, and the system calls made.

Every module that the delivery path imports is paid for by every message.  So the
installed command is run in a fresh interpreter of an installation without anything
else, for a clean message by descriptor and SMTP, and its bill is compared with what
is allowed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import avcheck
from avcheck import loading
from tests.support import loaded
from tests.support.fakes import FakeClamd, FakeSmtp
from tests.support.servers import packages
from tests.support.wire import PATIENCE

# What a clean message by descriptor and SMTP may import, besides what the bare
# interpreter has.
# (select: where standard output blocks, as here; not under pipe(8).)
STANDARD = {"__future__", "_socket", "errno", "fcntl", "gc", "select"}
OURS = {
    "avcheck",
    "avcheck.__main__",
    "avcheck.act",
    "avcheck.address",
    "avcheck.ask",
    "avcheck.caller",
    "avcheck.conn",
    "avcheck.deliver",
    "avcheck.deliver.smtp",
    "avcheck.deliver.smtp_dialogue",
    "avcheck.deliver.smtp_replies",
    "avcheck.deliver.smtp_words",
    "avcheck.dial",
    "avcheck.directory",
    "avcheck.exits",
    "avcheck.header",
    "avcheck.incoming",
    "avcheck.loading",
    "avcheck.main",
    "avcheck.options",
    "avcheck.options.arguments",
    "avcheck.options.reading",
    "avcheck.options.rows",
    "avcheck.order",
    "avcheck.policy",
    "avcheck.printable",
    "avcheck.process",
    "avcheck.report",
    "avcheck.run",
    "avcheck.scanners",
    "avcheck.scanners.clamd",
    "avcheck.scanners.rows",
    "avcheck.seen",
    "avcheck.settings",
    "avcheck.spool",
    "avcheck.state",
    "avcheck.state.hold",
    "avcheck.stream",
    "avcheck.unix",
    "avcheck.verdict",
}

# What would be noticed: each takes from a twentieth of the bare interpreter's start to
# several times that.
DEAR = (
    *("socket", "signal", "enum", "re", "click", "clamd", "filelock", "ssl", "subprocess"),
    *("typing", "dataclasses", "contextlib", "logging", "email", "json", "threading", "pathlib"),
    *("argparse", "smtplib", "selectors", "inspect", "hashlib", "importlib.metadata"),
)

# System calls from the first one of main on, without those for loading modules and for
# memory: 86 were counted (CPython 3.11, Linux 6.18), and a seventh more for other versions,
# a syslog daemon, and replies that come in pieces.
CALLS_MAX = 99

MESSAGE = b"Subject: a letter\n\n" + b"Hello.\n" * 580


class Installation:
    """avcheck installed in an environment of its own, with nothing else in it."""

    def __init__(self, directory: Path) -> None:
        venv.create(directory, with_pip=False, symlinks=True)
        self.python = directory / "bin" / "python"
        self.package = Path(self.says("import sysconfig; print(sysconfig.get_path('purelib'))"))
        shutil.copytree(
            Path(avcheck.__file__).parent,
            self.package / "avcheck",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        source = Path(sys.executable).with_name("avcheck").read_bytes()
        self.script = directory / "bin" / "avcheck"
        self.script.write_bytes(b"#!%b\n" % os.fsencode(self.python) + source.partition(b"\n")[2])
        self.run("-m", "compileall", "-q", str(self.package))

    def run(
        self, *words: str, before: Sequence[str | Path] = (), stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the interpreter, in an environment in which nothing (coverage) can be hidden."""
        done = subprocess.run(
            [*before, self.python, "-I", *words],
            env={"PATH": os.defpath},
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return done

    def says(self, program: str) -> str:
        return self.run("-c", program).stdout.decode().strip()

    def imports(self, *words: str) -> set[str]:
        """The modules that are imported from the start of the interpreter to its end."""
        code = loaded.TELL + (loaded.RUN if words else loaded.LEAVE)
        return loaded.modules(self.run("-c", code, *words, stdin=MESSAGE).stderr)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("installed") / "venv")


@pytest.fixture
def words(tmp_path: Path) -> Iterator[list[str]]:
    """The words for a clean message by descriptor and SMTP, whose servers are there."""
    (tmp_path / "spool").mkdir(mode=0o700)
    clamd, smtp = FakeClamd(tmp_path / "clamd"), FakeSmtp(tmp_path / "smtp")
    with clamd, smtp:
        line = ["-f", "s@example", "-d", f"{tmp_path}/spool", "-s", f"clamd:{clamd.where}"]
        yield [*line, "-h", "mx.example", "-S", f"unix:{smtp.where}", "--", "r@example"]
        assert len(smtp.messages) == len(clamd.questions) > 0


def bill(installed: Installation, words: list[str]) -> set[str]:
    """The modules that the message has to pay for."""
    bare = installed.imports()
    assert "site" in bare
    return installed.imports(str(installed.script), *words) - bare


def test_a_clean_message_imports_what_is_allowed_and_no_more(
    installed: Installation, words: list[str]
) -> None:
    paid = bill(installed, words)
    assert {name for name in paid if name.startswith("avcheck")} == OURS
    assert {name for name in paid if not name.startswith("avcheck")} <= STANDARD
    assert not paid & set(DEAR)


def test_what_is_loaded_at_once_is_needed_by_every_run() -> None:
    """Which scanner it is, and by which way mail goes on, is not known yet."""
    at_once = {f"avcheck.{name}" for name in loading.EVERY_RUN.split()}
    before = {"avcheck", "avcheck.__main__", "avcheck.loading"}
    later = {name for name in OURS if name.startswith(("avcheck.deliver.", "avcheck.scanners.c"))}
    assert at_once == OURS - before - later


@pytest.mark.parametrize("module", ["re", "json", "socket"])
def test_a_dear_import_would_be_noticed(
    installed: Installation, words: list[str], module: str
) -> None:
    """What this test is good for: it can fail."""
    spoilt = installed.package / "avcheck" / "policy.py"
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole + f"\nimport {module}\n".encode())
    try:
        paid = bill(installed, words)
    finally:
        spoilt.write_bytes(whole)
    assert module in paid
    assert not paid <= STANDARD | OURS


def test_a_branch_that_is_rarely_taken_pays_for_itself_only(
    installed: Installation, words: list[str]
) -> None:
    others = {
        "avcheck.handle",
        "avcheck.child",
        "avcheck.program",
        "avcheck.options.help",
        "avcheck.tls",
        "avcheck.mime",
        "avcheck.rendering",
        "avcheck.state.canary",
    }
    every = installed.imports(str(installed.script), *words)
    assert not every & others


# System calls.


CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")
MEMORY = {"brk", "mmap", "munmap", "mremap", "madvise", "mprotect"}


@pytest.fixture
def calls(installed: Installation, words: list[str], tmp_path: Path) -> list[tuple[str, str]]:
    """The system calls of a clean message, with their arguments; descriptors with paths.

    Two replies of the server come in one packet or in two, as it happens, and take a read
    each: so they are those of the run that has the fewest.
    """
    packages.need("strace", commands=["strace"])
    trace = tmp_path / "trace"
    strace = shutil.which("strace", path=packages.PLACES)
    assert strace
    before = [strace, "-f", "-y", "-s", "100000", "-o", str(trace)]
    installed.run(str(installed.script), *words, stdin=MESSAGE)
    loading = (str(installed.package), str(installed.python.parent.parent), "/lib/python")
    runs = []
    for _ in range(3):
        installed.run(str(installed.script), *words, before=before, stdin=MESSAGE)
        lines = trace.read_text().splitlines()
        every = [match.groups() for match in map(CALL.match, lines) if match]
        # What main does first is to look at 0, 1 and 2.
        first = next(at for at, (name, _) in enumerate(every) if name == "umask")
        runs.append(
            [
                (name, arguments)
                for name, arguments in every[first:]
                if name not in MEMORY and not any(place in arguments for place in loading)
            ]
        )
    return min(runs, key=len)


def test_a_clean_message_makes_few_system_calls(calls: list[tuple[str, str]]) -> None:
    assert len(calls) <= CALLS_MAX, "\n".join(f"{name}({words}" for name, words in calls)
    assert len(calls) > CALLS_MAX / 2, "the bound is out of date"


def test_no_file_in_the_spool_gets_a_name(calls: list[tuple[str, str]], tmp_path: Path) -> None:
    opened = [words for name, words in calls if name in ("open", "openat", "creat", "openat2")]
    spool = [words for words in opened if f"{tmp_path}/spool" in words]
    assert any("O_TMPFILE" in words for words in spool)
    assert not any("O_CREAT" in words for words in spool)
    assert not any(name in ("link", "linkat", "rename", "unlink", "unlinkat") for name, _ in calls)


def test_the_message_is_written_once(calls: list[tuple[str, str]], tmp_path: Path) -> None:
    text = MESSAGE.decode().replace("\n", r"\n")
    writing = ("write", "pwrite64", "writev", "copy_file_range", "splice")
    to_spool = [
        words
        for name, words in calls
        if name in writing and re.match(rf"\d+<{re.escape(str(tmp_path))}/spool/", words)
    ]
    assert len(to_spool) == 2  # what is ours, and the message
    assert sum(text in words for words in to_spool) == 1
    # It is read from standard input once, and sent on once.
    assert sum(text in words for name, words in calls if name in ("read", "readv")) == 1

"""What a session of avcheck-smtp costs: its modules, and what the parent of many has loaded."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest

from avcheck.smtpd import listener
from tests.contracts.test_arrows import MODULES, PATH, imports
from tests.contracts.test_tariff import DEAR
from tests.support import loaded
from tests.support.fakes import PATIENCE
from tests.support.mta import Site
from tests.support.smtp_client import WIRE, words

# What no session needs: another way in, what a person asks for, and what comes with -s TYPE.
NOT_OF_A_SESSION = {"uchroot", "options.asked", "options.help", "__main__", "smtpd.__main__"}

STREAM = b"EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"


def test_a_session_imports_nothing_dear(site: Site) -> None:
    """By a pipe, for a word is said on standard error for each of them."""
    code = loaded.TELL + "from avcheck.smtpd.__main__ import main; main()"
    line = [sys.executable, "-I", "-c", code, *words(site)[1:]]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(STREAM)
        process.stdin.flush()
        said = b""
        while b"\r\n354 " not in said:
            said += process.stdout.read1()  # type: ignore[attr-defined]
        process.stdin.write(WIRE)
        process.stdin.flush()
        while b"250 2.0.0 taken" not in said:
            said += process.stdout.read1()  # type: ignore[attr-defined]
        _, told = process.communicate(b"QUIT\r\n", PATIENCE)
    modules = loaded.modules(told)
    assert "avcheck.smtpd.session" in modules
    assert modules.isdisjoint({"avcheck.smtpd.listener", "avcheck.handle", "avcheck.child"})
    bare = subprocess.run(
        [sys.executable, "-I", "-c", loaded.TELL + loaded.LEAVE], capture_output=True, check=True
    )
    assert (modules - loaded.modules(bare.stderr)).isdisjoint(DEAR)


@pytest.mark.parametrize("name", sorted(PATH))
def test_what_a_child_may_load_was_loaded_by_its_parent(name: str) -> None:
    """Later the package may be another one."""
    if name in NOT_OF_A_SESSION or name.startswith(("scanners.", "options.", "smtpd.main")):
        return
    loaded = loaded_first() | {f"avcheck.{each}" for each in listener._LATER}
    for each in imports(MODULES[name]):
        bare = each.module.removeprefix("avcheck.")
        if each.lazy and bare != each.module and bare not in NOT_OF_A_SESSION:
            assert each.module in loaded, f"{name}: {each.module}"


@functools.cache
def loaded_first() -> set[str]:
    """What importing the listener imports."""
    code = "import sys, avcheck.smtpd.listener, avcheck.smtpd.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd="/")
    return {*done.stdout.decode().split()}

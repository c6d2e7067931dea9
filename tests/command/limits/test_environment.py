"""Variables, command lines, directories and umask as a setuid program would have to fear them.

MTAs give their commands an environment of their own.  Still: most of what can be in one changes
nothing; what stops the interpreter before avcheck's first line is what the launcher is for.
"""

from __future__ import annotations

import os
import resource
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.command.limits.runs import (
    CLEAN,
    DEFERRED,
    DIED,
    DONE,
    GOOD,
    HANDLER,
    KEPT,
    KINDS,
    QUARANTINE,
    SENDMAIL,
    Runner,
    judge,
    set_up,
    words_of,
)
from tests.command.test_pipe import wire
from tests.conftest import NOBODY
from tests.support.installed import interpreter
from tests.support.mta import MAIL, RECIPIENT, SENDER

PATH = {"PATH": "/usr/bin:/bin"}

# The interpreter ends before avcheck's first line.
FATAL: dict[str, Mapping[str, str]] = {
    "PYTHONHASHSEED": {"PYTHONHASHSEED": "bad"},
    "PYTHONHOME": {"PYTHONHOME": "/nonexistent"},
    "PYTHONMALLOC": {"PYTHONMALLOC": "bad"},
    "PYTHONUTF8": {"PYTHONUTF8": "bad"},
    "PYTHONIOENCODING": {"PYTHONIOENCODING": "bad"},
    "PYTHONTRACEMALLOC": {"PYTHONTRACEMALLOC": "bad"},
    "PYTHONINTMAXSTRDIGITS": {"PYTHONINTMAXSTRDIGITS": "bad"},
}

# Somebody else writes the first words; the status is right all the same.
NOISY: dict[str, Mapping[str, str]] = {
    "PYTHONVERBOSE": {"PYTHONVERBOSE": "2"},
    "PYTHONWARNINGS, nonsense": {"PYTHONWARNINGS": "nonsense::::"},
    "PYTHONPROFILEIMPORTTIME": {"PYTHONPROFILEIMPORTTIME": "1"},
    "PYTHONMALLOCSTATS": {"PYTHONMALLOCSTATS": "1"},
    "PYTHONCOERCECLOCALE": {"PYTHONCOERCECLOCALE": "warn", "LC_ALL": "C"},
    "LD_PRELOAD": {"LD_PRELOAD": "/nonexistent.so"},
    "LD_DEBUG": {"LD_DEBUG": "all"},
}

# Nothing is different.
HARMLESS: dict[str, Mapping[str, str]] = {
    "PYTHONPATH": {"PYTHONPATH": "/nonexistent:/proc:"},
    "PYTHONSTARTUP": {"PYTHONSTARTUP": "/nonexistent", "PYTHONINSPECT": "1"},
    "PYTHONWARNINGS": {"PYTHONWARNINGS": "error"},
    "PYTHONDONTWRITEBYTECODE": {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
    "PYTHONMALLOC, debug": {"PYTHONMALLOC": "debug", "PYTHONDUMPREFS": "1", "PYTHONDEBUG": "9"},
    "PYTHONTRACEMALLOC, frames": {"PYTHONTRACEMALLOC": "25", "PYTHONFAULTHANDLER": "1"},
    "PYTHONPYCACHEPREFIX": {
        "PYTHONPYCACHEPREFIX": "/dev/null/nowhere",
        "PYTHONUSERBASE": "/nonexistent",
    },
    "PYTHONSAFEPATH": {"PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "bad", "PYTHONCASEOK": "1"},
    "PYTHONINTMAXSTRDIGITS, least": {
        "PYTHONINTMAXSTRDIGITS": "640",
        "PYTHONBREAKPOINT": "os.abort",
    },
    "PYTHONDEVMODE": {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"},
    "LD_LIBRARY_PATH": {"LD_LIBRARY_PATH": "/nonexistent", "LD_BIND_NOW": "1"},
    "allocator": {"MALLOC_PERTURB_": "165", "GLIBC_TUNABLES": "glibc.malloc.check=3:bad"},
    "IFS": {"IFS": "/avcheck-", "CDPATH": "/", "PS4": "$(exit 3)"},
    "startup files of shells": {"ENV": "/nonexistent", "BASH_ENV": "/nonexistent"},
    "options of shells": {"SHELLOPTS": "noexec", "BASHOPTS": "failglob", "POSIXLY_CORRECT": "1"},
    "functions of shells": {"BASH_FUNC_exit%%": "() { echo no; }"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"},
    "no locale": {"LC_ALL": "\u00ff/../x", "LANG": "C.UTF-8"},
    "a file as a time zone": {"TZ": ":/../etc/passwd"},
    "a long time zone": {"TZ": "\u00ff" * 4000},
    "a large environment": {f"V{number}": "x" * 100_000 for number in range(18)},
}


@pytest.mark.parametrize("variables", FATAL.values(), ids=FATAL)
def test_the_launcher_keeps_them_from_the_interpreter(
    avcheck: Runner, guard: Runner, variables: Mapping[str, str]
) -> None:
    for kind in (CLEAN, HANDLER, DEFERRED):
        outcome = avcheck.run(kind, environment={**PATH, **variables})
        assert (outcome.came, outcome.ended.status) == (DIED, 1)
        outcome = guard.run(kind, environment={**PATH, **variables})
        assert outcome.came == (DONE if kind in GOOD else KEPT)


@pytest.mark.parametrize("kind", [CLEAN, HANDLER, DEFERRED])
@pytest.mark.parametrize("variables", NOISY.values(), ids=NOISY)
def test_the_status_is_right_whoever_writes_the_first_words(
    either: Runner, variables: Mapping[str, str], kind: str
) -> None:
    outcome = either.run(kind, environment={**PATH, **variables})
    assert outcome.came == (DONE if kind in GOOD else KEPT)


@pytest.mark.parametrize("kind", [CLEAN, HANDLER, DEFERRED])
@pytest.mark.parametrize("variables", HARMLESS.values(), ids=HARMLESS)
def test_most_variables_change_nothing(
    either: Runner, variables: Mapping[str, str], kind: str
) -> None:
    outcome = either.run(kind, environment={**PATH, **variables})
    assert outcome.came == (DONE if kind in GOOD else KEPT)
    first = {CLEAN: b"clean: ", HANDLER: b"infected: ", DEFERRED: b"4.4.2 avcheck: "}[kind]
    assert outcome.ended.output.startswith(first)
    assert outcome.ended.output.count(b"\n") == 1


# Directories and umask.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("umask", ["0", "0777"])
def test_any_umask(either: Runner, kind: str, umask: str) -> None:
    before = ["/bin/sh", "-c", f'umask {umask}; exec "$0" "$@"']
    state = ("--slots", "2", "--attempts", "3", "--queue-id", "4abc")
    outcome = either.run(kind, *state, before=before)
    assert outcome.came == (DONE if kind in GOOD else KEPT)


@pytest.mark.parametrize("kind", [CLEAN, QUARANTINE, DEFERRED])
def test_a_working_directory_that_is_closed(public: Path, kind: str) -> None:
    """As an account that permissions stop."""
    command = [interpreter(), public / "command"]
    environment = {"PYTHONPATH": str(public), "PYTHONDONTWRITEBYTECODE": "1"}
    nobody = Runner(command, NOBODY if os.geteuid() == 0 else None, public, environment)
    closed = ["/bin/sh", "-c", 'cd "$0" && chmod 0 . && exec "$@"']
    with nobody.site() as site:
        set_up(site, kind)
        site.own(site.directory / "quarantine")
        place = site.own(site.directory / "closed")
        running = site.start([*closed, str(place), *words_of(site, kind)])
        outcome = judge(site, running.end(MAIL))
    assert outcome.came == (DONE if kind in GOOD else KEPT)


# Command lines.


@pytest.mark.parametrize("kind", [CLEAN, HANDLER, DEFERRED])
def test_an_empty_name(either: Runner, kind: str) -> None:
    """argv[0]: a script does not get it, and the interpreter finds its way by it."""
    named = ["/bin/bash", "-c", 'exec -a "" "$0" "$@"']
    outcome = either.run(kind, before=named)
    assert outcome.came == (DONE if kind in GOOD else KEPT)


def test_an_interpreter_with_an_empty_name(command: Path) -> None:
    """Without its name it does not find the environment with avcheck in it."""
    script = [
        "/bin/bash",
        "-c",
        f'exec -a \'\' {shlex.quote(str(command.with_name("python")))} "$0" "$@"',
    ]
    assert Runner([command]).run(CLEAN, before=script).came in (DONE, KEPT)


# 2 MiB for arguments and environment: a quarter of the stack's limit (execve(2)).
ARGUMENTS = resource.getrlimit(resource.RLIMIT_STACK)[0] // 4


@pytest.mark.skipif(ARGUMENTS < 0, reason="without a limit of the stack there are 6 MiB")
@pytest.mark.parametrize("length", [50, 1000, 130_000])
@pytest.mark.parametrize("kind", [CLEAN, SENDMAIL, HANDLER])
def test_as_many_recipients_as_a_command_line_has_room_for(
    either: Runner, kind: str, length: int
) -> None:
    # A word takes its bytes, a NUL, and a pointer.
    number = (ARGUMENTS - 64 * 1024) // (length + 9)
    recipients = [f"r{each}@example.net".rjust(length, "x") for each in range(number)]
    with either.site() as site:
        set_up(site, kind)
        ended = site.start(site.words(recipients=recipients)).end(MAIL)
        assert judge(site, ended).came == DONE
        if kind == CLEAN:
            (letter,) = [letter for server in site._servers for letter in _letters(server)]
            assert [each.decode() for each in letter] == recipients
        else:
            program = site._programs[0]
            assert [each.decode() for each in program.argv[-number:]] == recipients


def _letters(server: object) -> list[tuple[bytes, ...]]:
    return [letter.recipients for letter in getattr(server, "messages", [])]


def test_a_program_whose_command_line_has_no_room(avcheck: Runner) -> None:
    """Ours just had; the handler's is longer."""
    with avcheck.site() as site:
        set_up(site, HANDLER)
        words = site.words(recipients=())
        used = sum(len(os.fsencode(word)) + 9 for word in words)
        room = ARGUMENTS - used - 300
        recipients = ["x" * 130_000 for _ in range(room // 130_009)]
        for more in range(room % 130_009 - 9, 0, -200):
            try:
                running = site.start([*words, *recipients, "x" * more])
            except OSError:  # that was too long
                continue
            break
        ended = running.end(MAIL)
        outcome = judge(site, ended)
    if outcome.came == KEPT:
        assert b"Argument list too long" in ended.output
    assert outcome.came in (DONE, KEPT)


def test_the_message_is_the_same(either: Runner) -> None:
    """What the tables above have in common, looked at from the other end."""
    with either.site() as site:
        set_up(site, CLEAN)
        site.surround({**PATH, **HARMLESS["Turkish"]})
        words = ["-c", *site.hop, "-f", SENDER.decode(), "--", RECIPIENT.decode()]
        assert site.start([*site.command, *words]).end(MAIL).status == 0
        assert site.delivered == [wire(MAIL)]

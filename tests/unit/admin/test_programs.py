"""Programs that are asked something: their two outputs, and the limits on them."""

from __future__ import annotations

import os
import sys
from time import monotonic

import pytest

from avcheck.admin import programs


def test_both_outputs_and_the_status() -> None:
    code = "import sys; sys.stdout.write('x' * 10**6); sys.stderr.write('y' * 10**6); sys.exit(3)"
    done = programs.run([sys.executable, "-c", code], 60)
    assert (done.status, len(done.out), len(done.err)) == (3, 10**6, 10**6)


def test_it_has_no_input_and_the_environment_that_it_is_given() -> None:
    done = programs.run(["/bin/sh", "-c", "cat; echo $A"], 60, environment={"A": "b"})
    assert done.out == b"b\n"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        programs.run(["/nowhere/at/all"], 1)


@pytest.mark.parametrize("script", ["sleep 60", "exec >&- 2>&-; sleep 60", "sleep 60 & exit 0"])
def test_it_ends_in_time_with_all_that_it_has_started(script: str) -> None:
    began = monotonic()
    with pytest.raises(OSError, match="no end within"):
        programs.run(["/bin/sh", "-c", script], 0.3)
    assert monotonic() - began < 20


def test_more_than_was_allowed_is_too_much() -> None:
    with pytest.raises(OSError, match="wrote more than 1000 bytes"):
        programs.run(["/bin/sh", "-c", "exec yes"], 60, 1000)


def test_the_words_are_no_shells() -> None:
    done = programs.run(["/bin/echo", "$(id)", "; exit 1"], 60)
    assert os.fsdecode(done.out) == "$(id) ; exit 1\n"

"""Regular expressions that an administrator gives."""

from __future__ import annotations

import re
import warnings

import pytest

from avcheck import patterns
from avcheck.exits import CONFIG, Defer


def test_a_pattern_is_compiled_for_bytes_with_its_flags() -> None:
    assert patterns.expression("clean", b"^O.K$", re.MULTILINE).search(b"x\nO K\n")
    assert not patterns.expression("clean", b"a.b", 0).search(b"a\nb")
    assert patterns.expression("clean", b"a.b", re.DOTALL).search(b"a\nb")


@pytest.mark.parametrize("pattern", [b"(", b"a{99999999999999999999}", b"(" * 5000 + b")" * 5000])
def test_one_that_cannot_be_used_is_a_mistake_in_the_settings(pattern: bytes) -> None:
    with pytest.raises(Defer, match=r"^clean: ") as why:
        patterns.expression("clean", pattern, 0)
    assert why.value.code == CONFIG


def test_its_warnings_are_nobody_s_to_read() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patterns.expression("clean", b"[[a]", 0)

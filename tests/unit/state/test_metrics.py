"""The counters of --metrics: read, added to, and written so that Prometheus takes them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.state import metrics
from avcheck.verdict import CLEAN, FAILED, INFECTED, VERDICTS, Answer, Finding
from tests.support.documents import first_column
from tests.support.prometheus import FAMILIES, messages, samples


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "avcheck.prom"


def test_the_page_has_every_name() -> None:
    names = [name.removesuffix("_total") for name in first_column("Counters")]
    assert set(names) == FAMILIES.keys()


def test_a_lock_that_is_never_given_back_is_given_up(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LOCK_MAX", 0.0)
    with open(f"{file}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        metrics.add(os.fsencode(file), "clean", "deliver", [])
        assert not file.exists()
    metrics.add(os.fsencode(file), "clean", "deliver", [])
    assert messages(file) == {("clean", "deliver"): 1}


def test_the_wait_for_the_lock_is_short_beside_the_patience_of_the_callers() -> None:
    """--deadline is 900 seconds, Postfix's limit 1000: what is left is for this."""
    assert metrics.LOCK_MAX <= 30


@given(st.binary(max_size=300))
def test_any_bytes_render_as_something_that_prometheus_takes(garbage: bytes) -> None:
    lines = b"\n".join(name.encode() + b"_total" + garbage for name in FAMILIES)
    for text in (garbage, lines):
        values = metrics.parse(text)
        metrics.count(values, "clean", "deliver", [Answer("", "", Finding(CLEAN))], 1.0)
        samples(metrics.render(values).decode(), consistent=False)


@given(
    st.lists(
        st.tuples(st.sampled_from(VERDICTS), st.text(min_size=1, max_size=20), st.floats(0, 1e6)),
        max_size=5,
    )
)
def test_whatever_was_found_is_rendered_and_read_back(
    found: list[tuple[object, str, float]],
) -> None:
    answers = []
    for verdict, scanner, seconds in found:
        finding = Finding(verdict)  # type: ignore[arg-type]
        # As scanners.py has it: printable by the time it is a type.
        scanner = scanner.encode("ascii", "replace").decode().replace("\n", " ")
        scanner = "".join(each if each.isprintable() else "?" for each in scanner)
        answers.append(Answer(scanner, "", finding, seconds))
    values: dict[str, float] = {}
    for _ in range(2):
        metrics.count(values, "infected", "discard", answers, 1767225600.123)
        text = metrics.render(values)
        samples(text.decode())
        assert metrics.parse(text) == {key: float(f"{value:.15g}") for key, value in values.items()}
        values = metrics.parse(text)
    assert values['avcheck_messages_total{verdict="infected",action="discard"}'] == 2


def test_large_totals_are_exact() -> None:
    values = {'avcheck_messages_total{verdict="clean",action="deliver"}': 999_999_999_999_998.0}
    metrics.count(values, "clean", "deliver", [], 1795255621.304)
    again = metrics.parse(metrics.render(values))
    assert again['avcheck_messages_total{verdict="clean",action="deliver"}'] == 999_999_999_999_999
    assert again["avcheck_last_clean_timestamp_seconds"] == 1795255621.304


def test_a_failed_message_and_one_without_answers_are_counted_alike() -> None:
    values: dict[str, float] = {}
    metrics.count(values, FAILED.name, "defer", [], 1.0)
    metrics.count(values, INFECTED.name, "handle", [], 1.0)
    found = samples(metrics.render(values).decode())
    assert len(found) == 2
    assert set(found.values()) == {1.0}

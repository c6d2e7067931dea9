"""avcheckctl stats, on files as avcheck.state.metrics writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from avcheck.admin import totals
from avcheck.admin.commands import stats
from avcheck.state import metrics
from avcheck.verdict import CLEAN, FAILED, INFECTED, Answer, Finding, Verdict
from tests.support.admin import KnowingClamd, avcheckctl


def answer(verdict: Verdict, seconds: float, tested: bool = False) -> Answer:
    return Answer("clamd", "", Finding(verdict), seconds, tested=tested)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A hundred clean messages, three infected ones, and one that waits."""
    path = tmp_path / "metrics.prom"
    for number in range(100):
        metrics.add(bytes(path), "clean", "deliver", [answer(CLEAN, 0.02, number == 99)])
    for _ in range(3):
        metrics.add(bytes(path), "infected", "handle", [answer(INFECTED, 0.5)])
    metrics.add(bytes(path), "failed", "defer", [answer(FAILED, 200.0)])
    return path


def test_the_totals_add_up(file: Path) -> None:
    facts = avcheckctl("stats", "--metrics", file, "--json").facts
    assert facts["messages"] == 104
    assert facts["verdicts"] == {"clean": 100, "infected": 3, "failed": 1}
    assert facts["actions"] == {"deliver": 100, "handle": 3, "defer": 1}
    assert facts["scanners"]["clamd"] == {"clean": 100, "infected": 3, "failed": 1}
    latency = facts["latency"]["clamd"]
    assert latency["count"] == 104
    assert latency["mean"] == pytest.approx((2 + 1.5 + 200) / 104)
    assert latency["buckets"]["0.03"] == 100
    assert latency["buckets"]["1"] == 3
    assert latency["buckets"]["+Inf"] == 1
    assert latency["quantiles"] == {"0.5": 0.03, "0.9": 0.03, "0.99": 1.0}
    whole = [facts["messages"], *facts["verdicts"].values(), *facts["actions"].values()]
    whole += [latency["count"], *latency["buckets"].values()]
    assert all(isinstance(each, int) for each in whole)
    assert facts["last_clean_age_seconds"] < 60
    assert facts["last_canary_age_seconds"]["clamd"] < 60


def test_a_person_sees_shares_and_a_histogram(file: Path) -> None:
    said = avcheckctl("stats", "--metrics", file)
    assert said.status == 0
    assert said.out.startswith("Messages  104\n")
    assert "clean     100       96.2%" in said.out
    assert "<= 30 ms  " + "#" * 40 + " 100" in said.out
    assert "      more  # 1" in said.out
    assert "99% within " in said.out
    assert "Last clean message" in said.out


def test_prometheus_understands_it(file: Path, tmp_path: Path) -> None:
    with KnowingClamd(tmp_path / "clamd"):
        said = avcheckctl(
            "stats", "--metrics", file, "--prometheus", "-s", f"clamd:{tmp_path}/clamd"
        )
    families = {each.name: each for each in text_string_to_metric_families(said.out)}
    assert len(families["avcheck_messages"].samples) == 3
    (signatures,) = families["avcheck_signatures_timestamp_seconds"].samples
    assert signatures.value > 1e9


def test_the_age_of_signatures_is_asked_for(file: Path, tmp_path: Path) -> None:
    with KnowingClamd(tmp_path / "clamd"):
        words = ("stats", "--metrics", file, "-s", f"clamd:{tmp_path}/clamd")
        assert f"Signatures of clamd {tmp_path}/clamd" in avcheckctl(*words).out
        assert avcheckctl(*words, "--json").facts["signature_age_days"]
    said = avcheckctl("stats", "--metrics", file, "-s", "clamd:/nowhere")
    assert said.status == 0
    assert "No such file" in said.out


def test_several_files_are_one(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.prom"
    metrics.add(bytes(other), "clean", "deliver", [answer(CLEAN, 0.02)])
    values = totals.gather([bytes(file), bytes(other)])
    assert values['avcheck_messages_total{verdict="clean",action="deliver"}'] == 101
    stamp = "avcheck_last_clean_timestamp_seconds"
    assert values[stamp] == metrics.parse(other.read_bytes())[stamp]


def test_watching_shows_what_was_added(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([None, None])

    def work(seconds: float) -> None:
        assert seconds == 2
        if next(rounds, "end") == "end":
            raise KeyboardInterrupt
        metrics.add(bytes(file), "clean", "deliver", [answer(CLEAN, 0.02)])

    monkeypatch.setattr(stats, "sleep", work)
    said = avcheckctl("stats", "--metrics", file, "--watch")
    assert said.out.count("Messages  ") == 3
    assert "Messages  105  (+1)" in said.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "--metrics is needed"),
        (["--metrics", "/nowhere/x"], "nothing has been counted"),
        (["--metrics", "/"], "a file, and not a directory"),
        (["--metrics", "/tmp"], "Is a directory"),
        (["--metrics", "/x", "--watch", "--json"], "for a person"),
    ],
)
def test_what_cannot_be_shown_is_2(words: list[str], text: str) -> None:
    said = avcheckctl("stats", *words)
    assert said.status == 2
    assert text in said.err


def test_values_of_another_kind_harm_nothing() -> None:
    found = totals.summed({"other": 1.0, "}{": 2.0, "avcheck_messages_total": 3.0}, 10.0)
    assert found.messages == 3
    assert found.verdicts == {"none": 3.0}
    assert totals.latencies({}, 0.0).count == 0
    assert totals.latencies({"+Inf": 0.0}, 0.0).count == 0
    assert totals.quantile(0.5, ["1", "+Inf"], {"1": 1.0, "+Inf": 9.0}) is None
    assert totals.quantile(0.0, ["1", "+Inf"], {"1": 0.0, "+Inf": 9.0}) == 1.0
    assert totals.whole(float("nan")) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ([0.034], "all within 100 ms"),
        ([0.002] * 9 + [0.5], "50% within 10 ms, 90% within 10 ms, 99% within 1.0 s"),
        ([9999.0], "50% beyond 100.0 s, 90% beyond 100.0 s, 99% beyond 100.0 s"),
    ],
)
def test_how_long_it_takes_is_not_made_up(tmp_path: Path, seconds: list[float], text: str) -> None:
    """Of a bucket only its end is known."""
    for each in seconds:
        metrics.add(bytes(tmp_path / "m"), "clean", "deliver", [answer(CLEAN, each)])
    assert f", {text}\n" in avcheckctl("stats", "--metrics", tmp_path / "m").out

"""What Prometheus reads in the file of --metrics."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

FAMILIES = {
    "avcheck_messages": "counter",
    "avcheck_scans": "counter",
    "avcheck_scan_seconds": "histogram",
    "avcheck_last_clean_timestamp_seconds": "gauge",
    "avcheck_last_canary_timestamp_seconds": "gauge",
}

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str, consistent: bool = True) -> Samples:
    """What Prometheus reads in a file; it must be one that it takes.

    consistent: no strange numbers have been put into it.
    """
    found = {}
    names = []
    assert text == "" or text.endswith("\n")
    for family in text_string_to_metric_families(text):
        names.append(family.name)
        assert family.type == FAMILIES[family.name], family
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            assert math.isfinite(sample.value)
            found[key] = sample.value
    assert len(set(names)) == len(names)
    if consistent:
        assert_histograms(found)
    return found


def assert_histograms(found: Samples) -> None:
    """Buckets are cumulative, and the last is the count."""
    scanners = {dict(labels)["scanner"] for name, labels in found if name.endswith("_bucket")}
    for scanner in scanners:
        buckets = [
            (float(dict(labels)["le"]), value)
            for (name, labels), value in found.items()
            if name.endswith("_bucket") and ("scanner", scanner) in labels
        ]
        values = [value for _, value in sorted(buckets)]
        assert values == sorted(values)
        assert max(buckets)[0] == math.inf
        assert values[-1] == value_of(found, "avcheck_scan_seconds_count", scanner=scanner)


def value_of(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def messages(file: Path, consistent: bool = True) -> dict[tuple[str, str], float]:
    """The counts by verdict and action."""
    found = {}
    for (name, labels), value in samples(file.read_text(), consistent).items():
        if name == "avcheck_messages_total":
            of = dict(labels)
            assert of.keys() == {"verdict", "action"}
            found[of["verdict"], of["action"]] = value
    return found


class Collector:
    """Reads the file over and over, as a collector does, and remembers what has failed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stop = threading.Event()
        self.reads = 0
        self.failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._collect)

    def _collect(self) -> None:
        before: Samples = {}
        while not self._stop.is_set() and not self.failures:
            try:
                now = samples(self._file.read_text())
                for key, value in before.items():
                    assert now[key] >= value, key
            except BaseException as why:
                self.failures.append(why)
                return
            before = now
            self.reads += 1

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

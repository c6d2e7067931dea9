"""--metrics: a file that Prometheus can read at any moment, with right totals, and no trouble."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import traced
from tests.support.mta import Site
from tests.support.prometheus import Collector, messages, samples, value_of
from tests.support.servers import packages
from tests.support.trust import FOUND, Trust, good


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "avcheck.prom"


# What is counted.


def test_a_message_is_counted(site: Site, file: Path) -> None:
    before = time.time()
    assert site.deliver("--metrics", str(file)).status == 0
    after = time.time()
    found = samples(file.read_text())
    assert value_of(found, "avcheck_messages_total", verdict="clean", action="deliver") == 1
    assert value_of(found, "avcheck_scans_total", scanner="clamd", verdict="clean") == 1
    assert value_of(found, "avcheck_scan_seconds_count", scanner="clamd") == 1
    assert 0 < value_of(found, "avcheck_scan_seconds_sum", scanner="clamd") < after - before
    last = value_of(found, "avcheck_last_clean_timestamp_seconds")
    assert before - 0.001 <= last <= after + 0.001
    assert site.left == []


def test_what_was_done_is_what_counts(site: Site, file: Path) -> None:
    """A message that was to be delivered and could not be is deferred."""
    infected = [f"clamd:{site.clamd(says=FOUND).where}"]
    dead = ["clamd:/nonexistent"]
    clean = [f"clamd:{site.clamd().where}"]
    words = ("--metrics", str(file))
    quarantine = f"infected=quarantine:{site.directory}/quarantine"

    assert site.deliver(*words, scanners=clean).status == 0
    assert site.deliver(*words, "-n", "-g", "9", scanners=clean).status == 9
    site.handler()
    assert site.deliver(*words, scanners=infected).status == 0
    site.handler("exit 1")
    assert site.deliver(*words, scanners=infected).status == 75
    assert site.deliver(*words, "--on", quarantine, scanners=infected).status == 0
    assert (
        site.deliver(*words, "--on", "infected=quarantine:/dev/null/x", scanners=infected).status
        == 75
    )
    for action in ("deliver", "discard", "reject", "defer"):
        site.deliver(*words, "--on", f"infected={action}", scanners=infected)
    assert site.deliver(*words, scanners=dead).status == 75
    site.smtp(answers={"MAIL": b"451 later\r\n"})
    assert site.deliver(*words, scanners=clean).status == 75
    assert site.deliver(*words, "--on", "infected=deliver", scanners=infected).status == 75
    assert messages(file) == {
        ("clean", "deliver"): 2,
        ("clean", "defer"): 1,
        ("infected", "handle"): 1,
        ("infected", "quarantine"): 1,
        ("infected", "deliver"): 1,
        ("infected", "discard"): 1,
        ("infected", "reject"): 1,
        ("infected", "defer"): 4,
        ("failed", "defer"): 1,
    }


def test_a_message_that_was_not_scanned_is_deferred_without_a_verdict(
    site: Site, file: Path
) -> None:
    scanner = site.clamd(hold="asked")
    holder = site.start(site.words("-n", "--slots", "1")).feed()
    scanner.arrived()
    words = ("--slots", "1", "--deadline", "0.1", "--metrics", str(file))
    assert site.deliver(*words).status == 75
    assert messages(file) == {("none", "defer"): 1}
    scanner.release()
    assert holder.end().status == 0


def test_what_is_no_message_is_not_counted(site: Site, file: Path) -> None:
    words = ("--metrics", str(file))
    (site.directory / "wait").touch()
    assert site.deliver(*words, "-w", str(site.directory / "wait")).status == 75
    assert site.deliver(*words, "--nonsense").status == 75
    assert site.deliver(*words, "-c").status == 0
    assert not file.exists()


def test_every_scanner_is_counted(site: Site, file: Path) -> None:
    places = [
        f"clamd:{site.clamd(says=FOUND).where}",
        f"clamd:{site.clamd().where}",
        "clamd:/nonexistent",
        "no.such.module:/run/x",
    ]
    words = ("--metrics", str(file), "--on", "infected=discard")
    assert site.deliver(*words, scanners=places).status == 0
    found = samples(file.read_text())
    for scanner, verdict in (
        ("clamd", "infected"),
        ("clamd", "clean"),
        ("clamd", "failed"),
        ("no.such.module", "failed"),
    ):
        assert value_of(found, "avcheck_scans_total", scanner=scanner, verdict=verdict) == 1
    assert value_of(found, "avcheck_scan_seconds_count", scanner="clamd") == 3
    # Infected as a whole: nothing was found clean.
    assert ("avcheck_last_clean_timestamp_seconds", frozenset()) not in found


def test_the_last_known_answer_test_is_noted(site: Site, file: Path) -> None:
    words = ("--metrics", str(file), "--canary", "3600")
    name = "avcheck_last_canary_timestamp_seconds"
    with Trust(site) as trust:
        trust.scanner.think = lambda content: b"OK"
        assert site.deliver(*words).status == 75
        assert (name, frozenset({("scanner", "clamd")})) not in samples(file.read_text())
        trust.state.unlink()
        trust.scanner.think = good
        before = time.time()
        assert site.deliver(*words).status == 0
        when = value_of(samples(file.read_text()), name, scanner="clamd")
        assert before - 0.001 <= when <= time.time() + 0.001
        # Without a test in it a run leaves it alone.
        assert site.deliver(*words).status == 0
        assert value_of(samples(file.read_text()), name, scanner="clamd") == when


# Many at once.


def test_after_two_hundred_runs_at_once_the_totals_are_right(site: Site, file: Path) -> None:
    """And whoever reads meanwhile sees whole files only, in which nothing ever gets less."""
    clean, found, dead = site.clamd(), site.clamd(says=FOUND), site.clamd(reply=b"")
    words = ("-n", "--metrics", str(file), "--on", "infected=discard")
    kinds = [(clean, 0, 100), (found, 0, 60), (dead, 75, 40)]
    assert site.deliver(*words, scanners=[f"clamd:{clean.where}"]).status == 0
    with Collector(file) as collector:
        running = [
            (site.start(site.words(*words, scanners=[f"clamd:{scanner.where}"])).feed(), status)
            for scanner, status, count in kinds
            for _ in range(count)
        ]
        for each, status in running:
            assert each.end().status == status
    assert collector.failures == []
    assert collector.reads > 1
    assert messages(file) == {
        ("clean", "deliver"): 101,
        ("infected", "discard"): 60,
        ("failed", "defer"): 40,
    }
    read = samples(file.read_text())
    for verdict, count in (("clean", 101), ("infected", 60), ("failed", 40)):
        assert value_of(read, "avcheck_scans_total", scanner="clamd", verdict=verdict) == count
    assert value_of(read, "avcheck_scan_seconds_count", scanner="clamd") == 201


# Trouble.


def test_wherever_a_run_is_killed_the_file_is_whole(site: Site, file: Path) -> None:
    words = site.words("--metrics", str(file))
    calls = [call for call in traced.calls(site, words) if file.name in call.words]
    calls = [call for call in calls if call.name != "execve"]
    assert {call.name for call in calls} >= {"openat", "flock", "write", "rename"}
    delivered = 1
    for call in calls:
        before = samples(file.read_text())
        assert traced.signalled(site, words, call, "KILL").status == -9
        assert samples(file.read_text()).keys() >= before.keys()
        # The message was handed on before; the next run is not held up.
        assert site.deliver("--metrics", str(file)).status == 0
        delivered += 2
        assert len(site.delivered) == delivered
    assert len(calls) < messages(file)["clean", "deliver"] <= delivered


def test_whatever_fails_the_message_is_none_the_worse(site: Site, file: Path) -> None:
    words = site.words("--metrics", str(file))
    calls = [call for call in traced.calls(site, words) if file.name in call.words]
    calls = [call for call in calls if call.name != "execve"]  # two, where a path has a blank
    for call in calls:
        for error in ("EIO", "ENOSPC"):
            ended = traced.failing(site, words, call, error)
            assert ended.status == 0, (call, error, ended)
            assert ended.output.startswith(b"clean: ")
            assert ended.output.count(b"\n") == 1
            samples(file.read_text())
    assert site.deliver("--metrics", str(file)).status == 0
    assert len(site.delivered) == 2 * len(calls) + 2


PLACES = ["no directory", "a directory", "lock is a directory", "new is a directory", "a loop"]


@pytest.mark.parametrize("place", [*PLACES, "a FIFO", "a FIFO for a lock", "a device"])
def test_a_file_that_cannot_be_written_changes_nothing(site: Site, file: Path, place: str) -> None:
    if place == "no directory":
        file = file / "below"
    elif place == "a directory":
        file.mkdir()
    elif place == "lock is a directory":
        Path(f"{file}.lock").mkdir()
    elif place == "new is a directory":
        Path(f"{file}.new").mkdir()
    elif place == "a loop":
        file.symlink_to(file)
    elif place == "a FIFO":
        os.mkfifo(file)
    elif place == "a FIFO for a lock":
        os.mkfifo(f"{file}.lock")
    elif place == "a device":
        file.symlink_to("/dev/full")
    ended = site.deliver("--metrics", str(file))
    assert ended.status == 0
    assert ended.output.startswith(b"clean: ")
    assert len(site.delivered) == 1


def test_a_directory_that_is_not_ours_changes_nothing(unprivileged: Site) -> None:
    closed = unprivileged.directory / "closed"
    closed.mkdir(0o755)
    assert unprivileged.deliver("--metrics", str(closed / "avcheck.prom")).status == 0
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("end", [".new", ".lock"])
def test_no_file_of_somebody_else_is_overwritten(site: Site, file: Path, end: str) -> None:
    """Where others may make files, too, a link of theirs leads nowhere."""
    precious = site.directory / "precious"
    precious.write_text("precious")
    Path(f"{file}{end}").symlink_to(precious)
    assert site.deliver("--metrics", str(file)).status == 0
    assert precious.read_text() == "precious"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A directory without room for a second file of this size."""
    packages.need_root("a file system of its own is mounted by root only")
    place = tmp_path / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_on_a_full_disk_the_old_file_stays(site: Site, full: Path) -> None:
    file = full / "avcheck.prom"
    assert site.deliver("--metrics", str(file)).status == 0
    before = file.read_text()
    (full / "filler").write_bytes(b"x" * 4096)
    for _ in range(2):
        assert site.deliver("--metrics", str(file)).status == 0
        assert file.read_text() == before
    (full / "filler").unlink()
    assert site.deliver("--metrics", str(file)).status == 0
    assert messages(file) == {("clean", "deliver"): 2}


# Garbage.

GARBAGE = [
    b"",
    b"\0" * 5000,
    bytes(range(256)) * 20,
    b"avcheck_messages_total",
    b'avcheck_messages_total{verdict="cle 5\n',
    b'avcheck_messages_total{verdict="clean",action="deliver" 5\n',
    b'avcheck_messages_total{verdict="clean"action="deliver"} 5\n',
    b'avcheck_messages_total{verdict="cl\xffean",action="deliver"} 5\n',
    b'avcheck_messages_total{verdict="a"b",action="deliver"} 5\n',
    b'avcheck_messages_total {verdict="clean"} 5\n',
    b"avcheck_messages_total} 5\n",
    b'avcheck_scan_seconds_bucket{scanner="x",le="nan"} 7\n',
    b'avcheck_scan_seconds_bucket{scanner="x",le="1"x} 7\n',
    b'avcheck_scan_seconds_bucket{scanner="clamd",le="0.01"} 7\n',
    b'avcheck_scan_seconds_sum{scanner="clamd"} 7\n',
    b'avcheck_scan_seconds_count{scanner="clamd"} 1e400\n',
    b'avcheck_scans_total{scanner="\\",verdict="clean"} 1\n',
    b'avcheck_scans_total{scanner="x\ny",verdict="clean"} 1\n',
    b"avcheck_last_clean_timestamp_seconds nan\navcheck_last_clean_timestamp_seconds inf\n",
    b"avcheck_messages_total 1_0\n# TYPE avcheck_messages_total gauge\n",
    b"# HELP\n# TYPE\n#\n# EOF\n",
    b"another_total 5\n<html>\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_counted_from_nothing_and_gone(site: Site, file: Path, garbage: bytes) -> None:
    file.write_bytes(garbage)
    for number in (1, 2):
        assert site.deliver("--metrics", str(file)).status == 0
        assert messages(file, consistent=False)["clean", "deliver"] == number


def test_what_is_whole_beside_garbage_is_kept(site: Site, file: Path) -> None:
    assert site.deliver("--metrics", str(file)).status == 0
    file.write_bytes(file.read_bytes() + b"\n".join(GARBAGE))
    assert site.deliver("--metrics", str(file)).status == 0
    assert messages(file, consistent=False)["clean", "deliver"] == 2


def test_a_huge_file_is_not_read_into_memory(site: Site, file: Path) -> None:
    with file.open("wb") as hole:
        hole.truncate(3 << 30)
    assert site.deliver("--metrics", str(file)).status == 0
    assert file.stat().st_size < 100_000


# Names.

HOSTILE = [
    'a.b"} 1\nforged_total 1\n#',
    "a.\\",
    'a.\\"',
    "a.{x=y}",
    "a. b",
    "a.\u00fc\u2028",
    "a.\xff\x1b[31m",
    "a." + "x" * 500,
    "a.,le=\\n",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_of_a_scanner_forges_nothing(site: Site, file: Path, name: str) -> None:
    for _ in range(2):
        site.deliver("--metrics", str(file), scanners=[f"{name}:/run/x"])
    found = samples(file.read_text())
    scans = {labels: value for (kind, labels), value in found.items() if "scans" in kind}
    assert list(scans.values()) in ([], [2])  # [] if there can be no such type
    assert sum(messages(file).values()) == 2 if scans else True


# The file.


def test_the_collector_may_read_it_whatever_the_umask(site: Site, file: Path) -> None:
    words = site.words("--metrics", str(file))
    strict = ["/bin/sh", "-c", 'umask 777; exec "$0" "$@"']
    assert site.start([*strict, *words]).end(b"").status == 0
    assert file.stat().st_mode & 0o7777 == 0o644
    assert sorted(path.name for path in file.parent.glob("*.prom*")) == [
        "avcheck.prom",
        "avcheck.prom.lock",
    ]


def test_all_of_it_can_be_deleted(site: Site, file: Path) -> None:
    for _ in range(2):
        assert site.deliver("--metrics", str(file)).status == 0
        for path in file.parent.glob("*.prom*"):
            path.unlink()
    assert site.deliver("--metrics", str(file)).status == 0
    assert messages(file) == {("clean", "deliver"): 1}

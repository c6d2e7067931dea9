"""What runs keep for each other in files, when the files hold anything at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from math import inf
from time import monotonic

from prometheus_client.parser import text_string_to_metric_families

from avcheck.exits import HELD, Defer
from avcheck.state import attempts, canary, hold, metrics, slots, waitfile
from avcheck.verdict import CLEAN, FAILED, INFECTED, VERDICTS, Answer, Finding
from tests.campaigns.fuzz.letter import directory
from tests.campaigns.fuzz.notation import FIELD, fields, mark, text

# Anything between them would be read by a terminal, a log, or the MTA.
PLAIN = re.compile(r"[ -~]*")


def _write(name: bytes, data: bytes) -> bytes:
    """A file of that name in the spool directory, with the data; returns its path."""
    path = directory().path + b"/" + name
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    return path


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def metrics_text(data: bytes) -> None:
    """The counters that a file holds are those that are left after writing and reading them."""
    values = metrics.parse(data)
    written = metrics.render(values)
    again = metrics.parse(written)
    assert set(again) == set(values)
    assert metrics.render(again) == written
    for key, value in values.items():
        assert 0 <= value < inf
        assert abs(again[key] - value) <= value * 1e-14
        # Only what is in the file, on a line of its own.
        assert re.search(rb"(?m)^" + re.escape(key.encode()) + rb" [0-9.e+-]+$", data), key


def metrics_file(data: bytes) -> None:
    """FINDING/SCANNER/FILE: after a message the file counts it, and others can read it.

    Whatever was in it, and whatever the scanner is called.
    """
    which, name, before = fields(data, 3)
    number = len(text(which))
    finding = Finding(VERDICTS[number % len(VERDICTS)])
    scanner = text(name).decode("latin-1")
    answer = Answer(scanner, "", finding, number / 7, tested=bool(number % 2))
    path = _write(b"metrics", text(before))
    old = metrics.parse(text(before))
    metrics.add(path, finding.verdict.name, "deliver", [answer])
    new = _read(path)
    values = metrics.parse(new)
    key = f'avcheck_messages_total{{verdict="{finding.verdict.name}",action="deliver"}}'
    assert values[key] >= old.get(key, 0) + (1 if old.get(key, 0) < 1e14 else 0)
    # Nothing that was counted is forgotten.
    for each, value in old.items():
        if "timestamp" not in each:
            assert values[each] >= value * (1 - 1e-14), each
    for family in text_string_to_metric_families(new.decode("ascii")):
        assert family.name.startswith("avcheck_")
        assert family.type in ("counter", "histogram", "gauge")
    assert not os.path.exists(path + b".new")


def metrics_files() -> Iterator[bytes]:
    values: dict[str, float] = {}
    answer = Answer("clamd", "", Finding(CLEAN), 0.4, tested=True)
    metrics.count(values, "clean", "deliver", [answer], 1.7e9)
    good = metrics.render(values)
    for number, name in enumerate((b"clamd", b"my.module", b'a"}\n', b"\xe4", b"")):
        for before in (
            good,
            good[: len(good) // 2],
            good[:-1],
            b"",
            b"\0" * 20,
            good + b"junk 1\n",
        ):
            yield b"x" * number + mark(FIELD) + name + mark(FIELD) + before
    yield mark(FIELD) + b"clamd" + mark(FIELD) + good.replace(b"} 1\n", b"} 1e999\n")
    yield mark(FIELD) + b"clamd" + mark(FIELD) + good.replace(b"} 1\n", b"} nan\n")
    yield mark(FIELD) + b"clamd" + mark(FIELD) + b"avcheck_scans_total{scanner=clamd 1\n"


def metrics_texts() -> Iterator[bytes]:
    for each in metrics_files():
        yield text(fields(each, 3)[2])


def note(data: bytes) -> None:
    """A waitfile of any bytes holds the mail back with one line that can be printed."""
    found = waitfile.parse(data[: waitfile.SIZE_MAX])
    for words in (found.reason, found.by, found.end, found.explain("2026-01-01T00:00:00Z")):
        assert PLAIN.fullmatch(words)
        assert len(words) <= 400
    assert re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?", found.end)
    if found.counted >= 0:
        at = found.counted
        assert data[at - 5 : at] == b"held "
        assert at == 5 or data[at - 6 : at - 5] == b"\n"
    again = waitfile.parse(found.render())
    assert (again.reason, again.end, again.by) == (found.reason, found.end, found.by)
    assert again.counted == len(found.render())
    path = _write(b"wait", data)
    try:
        hold.refuse_while_paused(path)
    except Defer as why:
        assert why.code == HELD
        assert PLAIN.fullmatch(why.text)
    else:
        raise AssertionError("not held back")
    counts = waitfile.parse(data[: waitfile.SIZE_MAX]).counted >= 0
    assert _read(path) == data + b"." * counts


def notes() -> Iterator[bytes]:
    whole = waitfile.Note("clamd is restarted", "2026-01-02T03:04:05Z", "root on mx").render()
    for cut in (len(whole), len(whole) // 2, 20, 5, 0):
        yield whole[:cut]
    yield whole + b"." * 2000
    yield b"a\x1b[31m\rb\nuntil 2026-01-02T03:04:05Z\nuntil tomorrow\nheld \nheld x\nby \xff\n"
    yield b"\n\n\nby by\nheld ."


def ledger(data: bytes) -> None:
    """QUEUE ID/LEDGER: its size counts, and what it holds does not."""
    name, held = (text(each) for each in fields(data, 2))
    queue_id = name[:100]
    place = directory()
    path = _write(attempts._name(queue_id), held)
    try:
        for most in (1, len(held), len(held) + 1):
            if most:
                brake = attempts.too_many(place, queue_id, most)
                assert (brake is not None) is (len(held) >= most)
                assert brake is None or brake.finding.verdict.name == "unscannable"
        attempts.count(place, queue_id, Answer("", "", Finding(FAILED)))
        assert os.stat(path).st_size == len(held) + 1
        attempts.forget(place, queue_id)
        assert not os.path.exists(path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def ledgers() -> Iterator[bytes]:
    for queue_id in (b"4XYZ", b"", b"../../x", b"\xff\n", b"x" * 100):
        for held in (b"", b"...", b"\0\n", b"." * 50):
            yield queue_id + mark(FIELD) + held


def known_answer(data: bytes) -> None:
    """ANSWERS/RESULT: trusted only for a good result that is fresh, or the two right answers."""
    answers, held = (text(each) for each in fields(data, 2))
    said = [Finding(VERDICTS[byte % len(VERDICTS)]) for byte in answers[:2]]
    said += [Finding(FAILED)] * (2 - len(said))
    asked = iter(said)
    _write(b"canary.x", held)
    doubt, tested = canary.check(b"canary.x", directory(), 60.0, inf, lambda mail: next(asked))
    right = [each.verdict for each in said] == [INFECTED, CLEAN]
    if held[:1] in (b"+", b"-"):  # it is as fresh as can be
        assert not tested
        assert (doubt is None) is (held[:1] == b"+")
    else:
        assert (doubt is None) is tested is right
        if right:
            assert _read(directory().path + b"/canary.x")[:1] == b"+"
    if doubt is not None:
        assert doubt.verdict is FAILED


def known_answers() -> Iterator[bytes]:
    for first in range(len(VERDICTS)):
        for second in range(len(VERDICTS)):
            yield bytes((first, second)) + mark(FIELD)
    for held in (b"+", b"-", b"+junk", b"\n+", b"\0", b" "):
        for answers in (b"\0\6", b"\6\6"):
            yield answers + mark(FIELD) + held


def slot(data: bytes) -> None:
    """What is in the files of the slots means nothing: a free one is taken, and no other."""
    number = data[0] % 4 + 1 if data else 1
    for each in range(number):
        _write(b"slot.%d" % each, data[1 + each :])
    place = directory()
    with ExitStack() as taken:
        for _ in range(number):
            taken.enter_context(slots.Slot(place, number, inf))
        # All are taken: so nobody else gets one, and is told at once when the time is up.
        try:
            taken.enter_context(slots.Slot(place, number, monotonic() - 1))
        except Defer as why:
            assert why.code == HELD
        else:
            raise AssertionError("one too many")


def slots_of() -> Iterator[bytes]:
    yield from (b"0", b"1abc", b"2\0\0", b"3\n\nlocked")

"""Words of others, on their way into logs, headers, and what the MTA reads as our own words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from avcheck import child, deliver, handle, report
from avcheck.deliver import sendmail
from avcheck.directory import remove_leftovers
from avcheck.exits import OK, TEMPFAIL, Leave
from avcheck.printable import TEXT_MAX, printable
from avcheck.run import Run
from avcheck.verdict import CLEAN, NAME_MAX, VERDICTS, Answer, Finding
from tests.campaigns.fuzz.letter import letter
from tests.campaigns.fuzz.notation import FIELD, fields, mark, text
from tests.support.wire import settings

PLAIN = re.compile(r"[ -~]*")

PROGRAM = settings(b"-S", b"/usr/sbin/sendmail -G -i", b"-h", b"mx", b"-i", b"/bin/true")


def cleaned(data: bytes) -> None:
    """printable() gives printable ASCII, short, and what was plain as it was."""
    for words in (data, data.decode("latin-1"), data.decode("utf-8", "surrogateescape")):
        for limit in (80, 200, TEXT_MAX):
            found = printable(words, limit)
            assert PLAIN.fullmatch(found)
            assert len(found) <= limit
            assert printable(found, limit) == found
    if re.fullmatch(rb"[!-~](?:[ -~]*[!-~])?", data) and len(data) <= TEXT_MAX:
        assert printable(data) == data.decode("ascii")
    finding = Finding(CLEAN, (data, data[::-1]), data)
    assert all(PLAIN.fullmatch(name) and len(name) <= NAME_MAX for name in finding.names)


def texts() -> Iterator[bytes]:
    yield from (
        b"plain",
        b" a\r\n5.7.1 b\0",
        b"\x1b[31m\x9b",
        b"\xc3\xbc\xf0\x9f\xa6\xa0",
        b"x" * 401,
        b"\xff",
        b"\x7f",
        b"",
    )


def added_header(data: bytes) -> None:
    """VERDICT, -h/NAMES/TEXT: the header of -h is one line that says Checked only when it is."""
    which, names, said = (text(each) for each in fields(data, 3))
    verdict = VERDICTS[which[0] % len(VERDICTS)] if which else CLEAN
    finding = Finding(verdict, tuple(names.split(b",")) if names else (), said)
    own = bytes(byte for byte in which[1:] if 0x20 <= byte < 0x7F)[:900]
    line = deliver._header(finding, own)
    assert re.fullmatch(rb"[ -~]{1,998}", line), line
    assert line.startswith(b"X-AV-Checked: ") is (verdict is CLEAN)
    assert line.startswith((b"X-AV-Checked: ", b"X-AV-Unchecked: "))


def headers() -> Iterator[bytes]:
    for number in range(len(VERDICTS)):
        for names in (b"", b"Eicar", b"a\nX-AV-Checked: b,c", b"x" * 500):
            yield b"%cmx.example" % number + mark(FIELD) + names + mark(FIELD) + b"text\r\n"
    yield b"\6" + b"x" * 900


def by_program(data: bytes) -> None:
    """WAIT STATUS, LATE/OUTPUT: what a sendmail program says is success only if its status is 0.

    And what the MTA reads of it begins with our own, temporary, status code.
    """
    ended = _ended(data)
    said, why = _outcome(ended, lambda: sendmail.send(letter(), b"", PROGRAM, Run()))
    assert (why is None) is (ended.status == 0)
    _is_reported(said, why, b"\xf5" in data)
    if why is not None:
        assert why.status == TEMPFAIL


def by_handler(data: bytes) -> None:
    """The same for the handler, whose statuses from 64 on are passed on with a code that fits."""
    ended = _ended(data)
    finding = Finding(VERDICTS[len(data) % len(VERDICTS)], (b"Eicar",), ended.output)
    answer = Answer("clamd", "", finding)
    said, why = _outcome(
        ended, lambda: handle.hand_over(letter(), answer, PROGRAM, Run(b"/usr/bin/avcheck"))
    )
    assert (why is None) is (ended.status == 0)
    _is_reported(said, why, b"\xf5" in data)
    if why is not None and why.status != TEMPFAIL:
        assert why.status == ended.status
        assert 64 <= why.status <= 78
    if why is not None and why.status in (71, 75):  # Postfix would take a 5 for a bounce
        assert why.code.startswith("4.")


def _ended(data: bytes) -> child.Ended:
    which, output = (text(each) for each in fields(data, 2))
    wait = int.from_bytes(which[:2], "little")
    if wait & 0x7F == 0x7F or (wait & 0xFF and wait >> 8):
        wait &= 0xFF00  # what wait(2) would not say of one that has ended
    late = which[2:3] == b"l"
    return child.Ended(9 if late and wait else wait, output[: child.OUTPUT_MAX], late)


def _outcome(ended: child.Ended, act: Callable[[], str]) -> tuple[str, Leave | None]:
    before = child.hand_over
    child.hand_over = lambda *_: ended
    try:
        return act(), None
    except Leave as why:
        return "", why
    finally:
        child.hand_over = before
        remove_leftovers()
        for name in os.listdir(letter().directory.fd):
            if name.startswith("avcheck.") and name.encode() != letter().name:
                os.unlink(name, dir_fd=letter().directory.fd)


def _is_reported(said: str, why: Leave | None, verbose: bool) -> None:
    """What is written is one line, begins as it has to, and the log has one line, too."""
    run = Run()
    record = run.record
    record.settings = settings(b"--queue-id", b"4XYZ\n: x")
    record.settings.verbose = verbose
    record.answer = Answer("", "", Finding(CLEAN))
    record.answers = [record.answer]
    written: list[bytes] = []
    logged: list[str] = []
    before = report._write, report.log

    def write(fd: int, line: bytes) -> bool:
        written.append(line)
        return True

    report._write = write
    report.log = lambda line, priority: logged.append(line)
    try:
        report.step(run, said)
        status = report.success(run, said, OK) if why is None else report.failure(run, why)
    finally:
        report._write, report.log = before
    assert all(re.fullmatch(rb"[ -~]*\n", line) for line in written), written
    if why is None:
        assert status == OK
        assert not written[0].startswith((b"4.", b"5."))
    else:
        assert status == why.status
        code = re.match(rb"([45])\.\d{1,3}\.\d{1,3} avcheck: ", written[0])
        assert code, written
        assert code[1] == b"4" or status != TEMPFAIL
    (line,) = logged
    assert PLAIN.fullmatch(line)
    assert line.startswith("4XYZ?")
    assert len(re.findall(r", status=\d+ \(", line.replace(printable(said or ""), ""))) <= 1 or said


def endings() -> Iterator[bytes]:
    outputs = (
        b"",
        b"stored\n",
        b"5.7.1 no\n",
        b"4.2.0 later",
        b"5.1.1\xff\0",
        b"\x1b[0m" * 30,
        b"5.1.1 a\nstatus=0 (b",
    )
    for status in (0, 1, 2, 64, 67, 70, 71, 75, 77, 78, 79, 126, 127, 255):
        for output in outputs:
            yield bytes((0, status)) + mark(FIELD) + output
    for number in (9, 15, 11):
        yield bytes((number, 0)) + mark(FIELD) + b"5.7.1 x"
        yield bytes((number, 0)) + b"l" + mark(FIELD) + b"x"
    yield b"\0\0l" + mark(FIELD)

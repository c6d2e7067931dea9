"""One message from standard input to where it belongs, step by step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from avcheck import act, ask, deliver, main, process, report, spool, unix
from avcheck import run as run_
from avcheck.exits import Defer, Leave, Rejected, Stopped
from avcheck.incoming import Incoming
from avcheck.options import asked
from avcheck.run import Run
from avcheck.settings import Settings
from avcheck.state import hold
from avcheck.verdict import CLEAN, FAILED, INFECTED, Answer, Finding
from tests.command.test_guard import MAPPED
from tests.support.environment import SUCCESS
from tests.support.fakes import FakeClamd
from tests.support.wire import MESSAGE, given

CALLED = b"/opt/avcheck/bin/avcheck"


pytestmark = pytest.mark.usefixtures("signals_as_before")


@pytest.fixture(autouse=True)
def without_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LOG", "/nonesuch/log")
    monkeypatch.delenv("_AVCHECK_COMPLETE", raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A spool directory."""
    (tmp_path / "spool").mkdir(mode=0o700)
    return tmp_path / "spool"


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the scanners find that."""

    def find(*findings: Finding) -> None:
        answers = [Answer("clamd", "", finding) for finding in findings]
        monkeypatch.setattr(ask, "ask_scanners", lambda *args: answers)

    return find


def run(directory: Path, *words: str | bytes, stdin: bytes | None = MESSAGE) -> int:
    line = [b"-f", b"s@example", b"-s", b"clamd", b"-d", os.fsencode(directory)]
    line += [os.fsencode(word) for word in words]
    if stdin is None:
        return main.main([*line, b"r@example"], -1, CALLED)
    with given(stdin) as fd:
        return main.main([*line, b"r@example"], fd, CALLED)


# The steps.


def test_the_steps_are_taken_in_this_order(
    place: Path, finds: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def note(module: object, name: str) -> None:
        real = getattr(module, name)

        def noted(*args: object, **named: object) -> object:
            taken.append(name)
            return real(*args, **named)

        monkeypatch.setattr(module, name, noted)

    finds(Finding(CLEAN))
    for module, name in [
        (hold, "refuse_while_paused"),
        (main, "Directory"),
        (hold, "lock_shared"),
        (spool, "receive"),
        (ask, "ask_scanners"),
        (act, "on"),
        (report, "success"),
    ]:
        note(module, name)
    assert run(place, "-n") == os.EX_OK
    assert taken == [
        "refuse_while_paused",
        "Directory",
        "lock_shared",
        "refuse_while_paused",
        "receive",
        "ask_scanners",
        "on",
        "success",
    ]


def test_a_clean_message_is_handed_on_with_a_line(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeClamd(tmp_path / "clamd")
    try:
        assert run(place, "-s", f"clamd:{daemon.where}", "--need=1", "-n") == os.EX_OK
    finally:
        daemon.stop()
    out, err = capfd.readouterr()
    assert out.startswith("clean: clamd ")
    assert out.endswith("ms; not handed on (-n)\n")
    assert err == ""
    assert os.listdir(place) == []


def test_the_status_for_good_mail_can_be_chosen(place: Path, finds: Callable[..., None]) -> None:
    finds(Finding(CLEAN))
    assert run(place, "-n", "-g", "99") == 99
    finds(Finding(FAILED))
    assert run(place, "-n", "-g", "99") == os.EX_TEMPFAIL


def test_the_worst_finding_decides(
    place: Path, finds: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    finds(Finding(CLEAN), Finding(FAILED, (), b"is silent", "4.4.7"))
    assert run(place, "--need=2", "--backup=clamd", "-n") == os.EX_TEMPFAIL
    assert capfd.readouterr().err == "4.4.7 avcheck: clamd is silent\n"
    finds(Finding(INFECTED, (b"Eicar",)), Finding(FAILED))
    assert run(place, "--on=infected=discard", "-n") == os.EX_OK
    assert capfd.readouterr().out == "infected: Eicar; discarded\n"


def test_what_was_found_and_done_is_written_down(
    place: Path, finds: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(report, "log", lambda line, priority: lines.append(line))
    finds(Finding(INFECTED, (b"Eicar",)))
    run(place, "--on=infected=discard", "--queue-id=4XYZ")
    (line,) = lines
    assert line.startswith("4XYZ: from=<s@example>, to=<r@example>, ")
    for fact in (f"size={len(MESSAGE)}", "verdict=infected", "virus=<Eicar>", "action=discard"):
        assert f", {fact}, " in line


def test_what_the_policy_rejects_is_bounced(
    place: Path, finds: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    finds(Finding(INFECTED, (b"Eicar",)))
    assert run(place, "--on=infected=reject") == os.EX_NOPERM
    assert capfd.readouterr().err == "5.7.1 avcheck: message refused: infected: Eicar\n"


def test_verbose_shows_the_steps(
    place: Path, finds: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    finds(Finding(CLEAN))
    assert run(place, "-vn") == os.EX_OK
    err = capfd.readouterr().err
    assert f"saved {len(MESSAGE)} bytes in {place}" in err
    assert "clean: deliver" in err


# What stands in the way.


def held(place: Path, *words: str, capfd: pytest.CaptureFixture[str], **how: bytes | None) -> str:
    assert run(place, *words, **how) == os.EX_TEMPFAIL
    out, err = capfd.readouterr()
    assert out == ""
    return err


def test_a_waitfile(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wait").touch()
    err = held(place, "-w", str(tmp_path / "wait"), capfd=capfd)
    assert err.startswith("4.3.2 avcheck: held back while ")


def test_a_closed_standard_input(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("-c",)):
        err = held(place, *words, capfd=capfd, stdin=None)
        assert err.startswith("4.3.0 avcheck: standard input is closed")


def test_no_spool(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    err = held(tmp_path / "nonesuch", capfd=capfd)
    assert err.startswith("4.3.5 avcheck: spool ")


def test_wrong_usage_by_a_mail_system(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    err = held(place, "-t", "soon", capfd=capfd)
    assert err.startswith("4.3.5 avcheck: -t: soon: ")


def test_no_configuration(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    err = held(place, "--config=/nonesuch", capfd=capfd)
    assert err.startswith("4.3.5 avcheck: --config /nonesuch: No such file or directory")


@pytest.mark.parametrize(
    ("end", "status"),
    [(Defer("x"), 75), (Stopped("x"), 75), (Rejected("x"), 77)],
)
def test_an_expected_end_anywhere(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    end: Leave,
    status: int,
) -> None:
    def leave(*args: object) -> None:
        raise end

    monkeypatch.setattr(ask, "ask_scanners", leave)
    assert run(place) == status
    assert capfd.readouterr().err == f"{end.code} avcheck: x\n"
    assert os.listdir(place) == []


def test_a_bug_is_for_the_way_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ask, "ask_scanners", bug)
    with pytest.raises(ZeroDivisionError):
        run(place)
    assert os.listdir(place) == []


def test_the_clock_is_set_for_the_whole_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks: list[float] = []
    monkeypatch.setattr(process, "tick", clocks.append)
    monkeypatch.setattr(
        ask, "ask_scanners", lambda message, settings, deadline: clocks.append(deadline)
    )
    with pytest.raises(TypeError):
        run(place, "--deadline=50")
    seconds, deadline = clocks
    assert seconds == 50 + run_.GRACE
    assert deadline - monotonic() <= 50


# What a person asks for.


def test_wrong_usage_by_a_person_is_explained(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unix, "isatty", lambda fd: fd == 2)
    assert run(place, "-t", "soon") == os.EX_USAGE
    err = capsys.readouterr().err
    assert err.startswith("Usage: avcheck")
    assert "-t: soon" in err


def test_a_status_that_the_guard_does_not_pass_on_is_refused_before_anything_is_done(
    place: Path, finds: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Good mail would be handed on with every try, or nobody would hand it on (-n)."""
    finds(Finding(CLEAN))
    for status in range(256):
        monkeypatch.delenv("AVCHECK_GUARD", raising=False)
        assert run(place, "-n", "-g", str(status)) == status
        monkeypatch.setenv("AVCHECK_GUARD", "/x/avcheck-guard")
        passed_on = status not in MAPPED | {SUCCESS} or status == 0
        assert run(place, "-n", "-g", str(status)) == (status if passed_on else os.EX_TEMPFAIL)


@pytest.mark.parametrize("what", ["help", "version"])
def test_help_and_version(place: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(asked, "show", {what: 17}.__getitem__)
    assert run(place, f"--{what}") == 17


def test_the_shell_asks_for_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "show", {"complete": 17}.__getitem__)
    monkeypatch.setenv("_AVCHECK_COMPLETE", "bash_complete")
    assert main.main([], 0, CALLED) == 17


# Injection.


def test_with_c_the_message_is_handed_on_unread(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    handed: list[bytes] = []

    def inject(message: Incoming, header: bytes, settings: Settings, run: Run) -> str:
        handed.append(b"".join(message.pieces(header)))
        return "250 ok"

    monkeypatch.setattr(deliver, "inject", inject)
    assert run(place, "-c", "-w", str(place), "-h", "x") == os.EX_OK
    assert handed == [MESSAGE]
    assert capfd.readouterr().out == "injected: 250 ok\n"

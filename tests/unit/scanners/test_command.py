"""Scanners that are programs: how they are run, and what their exit statuses mean."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from avcheck import child
from avcheck.exits import CONFIG, EXPIRED, Defer
from avcheck.scanners import command, command_parameters
from avcheck.scanners.command_programs import PROGRAMS, Program
from avcheck.scanners.rows import PATH
from avcheck.seen import FRONT
from avcheck.settings import Target
from avcheck.verdict import (
    CLEAN,
    ENCRYPTED,
    INFECTED,
    POLICY,
    SUSPICIOUS,
    UNSCANNABLE,
    Finding,
    Verdict,
)
from tests.support.wire import settings, spooled

Ask = Callable[..., Finding]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Runs a shell script on a message, with parameters."""

    def ask(script: str, seconds: float = 20.0, **how: str) -> Finding:
        program = tmp_path / "scanner"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        spool = tmp_path / "spool"
        spool.mkdir(mode=0o700)
        parameters = {key: value.encode() for key, value in how.items()}
        target = Target(None, PATH, False, os.fsencode(program), parameters)
        with spooled(spool) as message:
            return command.run(message, target, time.monotonic() + seconds)

    return ask


def test_the_program_gets_its_words_and_the_path_of_a_file_that_it_can_read(
    ask: Ask, tmp_path: Path
) -> None:
    script = f"""printf '%s\\n' "$@" >{tmp_path}/words; cat "$2" >{tmp_path}/content; cat"""
    finding = ask(script, args="--file={path} {path} * $HOME", clean="0")
    assert finding.verdict is CLEAN
    first, second, *rest = (tmp_path / "words").read_text().splitlines()
    assert first == f"--file={second}"
    assert Path(second).parent == tmp_path / "spool"
    assert rest == ["*", "$HOME"]
    content = (tmp_path / "content").read_bytes()
    assert content.startswith(FRONT + b"Subject: a letter\n")


def test_the_environment_is_ours(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "x")
    ask(f"env >{tmp_path}/env; pwd >{tmp_path}/pwd", args="{path}", clean="0")
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "LC_ALL", "TZ"}
    assert (tmp_path / "pwd").read_text() == f"{tmp_path}/spool\n"


def test_a_chrooted_scanners_mark_is_not_in_the_path(tmp_path: Path) -> None:
    program = tmp_path / "scanner"
    program.write_text('#!/bin/sh\necho "$1"; test -f "$1"\n')
    program.chmod(0o700)
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    target = Target(None, PATH, False, bytes(program), {"args": b"{path}", "clean": b"0"})
    with spooled(Path(f"{tmp_path}/./spool")) as message:
        message.directory.path = os.fsencode(f"{tmp_path}/./spool")
        finding = command.run(message, target, time.monotonic() + 20)
    assert finding.verdict is CLEAN
    assert f"{tmp_path}/spool/" in finding.text


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0, CLEAN),
        (1, INFECTED),
        (2, SUSPICIOUS),
        (3, POLICY),
        (4, ENCRYPTED),
        (5, UNSCANNABLE),
        (9, UNSCANNABLE),
    ],
)
def test_a_status_in_a_list(ask: Ask, status: int, verdict: Verdict) -> None:
    finding = ask(
        f"echo virus=Eicar; echo virus=Other; exit {status}",
        args="{path}",
        clean="0",
        infected="1",
        suspicious="2",
        policy="3",
        encrypted="4",
        unscannable="5,7-9",
        name="virus=(.*)",
    )
    assert finding.verdict is verdict
    assert finding.names == (() if verdict is CLEAN else ("Eicar", "Other"))


@pytest.mark.parametrize("end", ["exit 2", "exit 127", "kill -9 $$", "kill -11 $$"])
def test_every_other_end_is_trouble(ask: Ask, end: str) -> None:
    with pytest.raises(Defer):
        ask(f"echo OK; {end}", args="{path}", clean="0", infected="1")


def test_output_that_is_lost_may_have_been_a_name(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = child.Ended(0, b"fine\n", late=False, lost="Input/output error")
    monkeypatch.setattr(child, "run", lambda *_, **__: ended)
    with pytest.raises(Defer, match="its output could not be read: Input/output error"):
        ask("exit 0", clean="0", args="{path}", passed="^fine")


def test_a_program_that_is_late_is_killed(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(Defer, match="in time") as raised:
        ask(f"echo $$ >{tmp_path}/pid; exec sleep 60", seconds=0.3, args="{path}", clean="0")
    assert raised.value.code == EXPIRED
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"args": "{path}"}, "clean is required"),
        ({"clean": "0"}, "args has no"),
        ({"clean": "0", "args": "x"}, "args has no"),
        ({"clean": "zero", "args": "{path}"}, "no exit status"),
        ({"clean": "0", "infected": "1-", "args": "{path}"}, "no exit status"),
        ({"clean": "0", "infected": "1-99999999999", "args": "{path}"}, "no exit status"),
        ({"clean": "0", "name": "(", "args": "{path}"}, "name: "),
    ],
)
def test_a_set_up_that_cannot_work(ask: Ask, parameters: dict[str, str], what: str) -> None:
    with pytest.raises(Defer, match=what) as raised:
        ask("exit 0", **parameters)
    assert raised.value.code == CONFIG


@pytest.mark.parametrize(
    ("where", "parameters"),
    [(b"nosuchscanner", {"clean": b"0", "args": b"{path}"}), (b"", {}), (b"x/uvscan", {})],
)
def test_a_word_that_is_no_program(where: bytes, parameters: dict[str, bytes]) -> None:
    with pytest.raises(Defer, match="neither the path of a program nor one of clamscan,") as raised:
        command.check(Target(None, PATH, False, where, parameters))
    assert raised.value.code == CONFIG


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROGRAMS, b"uvscan", Program((b"/nonexistent/uvscan",), {"clean": b"0"}))
    with pytest.raises(Defer, match="looked at /nonexistent/uvscan") as raised:
        command_parameters.program_at(b"uvscan")
    assert raised.value.code == CONFIG


def test_the_first_place_where_it_is_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "uvscan"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    places = (b"/nonexistent/uvscan", bytes(program), b"/bin/true")
    monkeypatch.setitem(PROGRAMS, b"uvscan", Program(places, {"clean": b"0"}))
    assert command_parameters.program_at(b"uvscan") == bytes(program)


def test_what_is_given_wins_over_what_is_known() -> None:
    target = Target(None, PATH, False, b"/opt/uvscan", {"clean": b"7"})
    parameters = command_parameters.parameters_of(target)
    assert parameters["clean"] == b"7"
    assert parameters["args"] == PROGRAMS[b"uvscan"].parameters["args"]


# Words that decide.


def test_words_that_mean_infected_do_so_with_any_status() -> None:
    for status in (0, 5, 9):
        finding = command.parse(
            status, b"x\nbad: Eicar\n", {"clean": b"0", "unscannable": b"5", "found": b"^bad"}
        )
        assert finding.verdict is INFECTED, status


def test_without_the_words_that_prove_it_nothing_is_clean() -> None:
    parameters = {"clean": b"0", "passed": b"^no virus$"}
    assert command.parse(0, b"x\nno virus\n", parameters).verdict is CLEAN
    for said in (b"", b"no virus?", b"x no virus"):
        with pytest.raises(Defer, match="did not say that it found nothing"):
            command.parse(0, said, parameters)


@pytest.mark.parametrize("end", ["kill -9 $$", "kill -11 $$", "exec sleep 60"])
def test_what_a_program_has_found_before_it_was_killed_is_found(ask: Ask, end: str) -> None:
    """It would be killed again at every try."""
    script = f"echo bad: Eicar; echo maybe X; {end}"
    how = {"args": "{path}", "clean": "0", "found": "^bad", "name": "bad: (.*)"}
    finding = ask(script, seconds=3.0, **how)
    assert (finding.verdict, finding.names) == (INFECTED, ("Eicar",))


def test_what_else_a_killed_program_has_said_counts_for_nothing() -> None:
    parameters = {"clean": b"0", "suspected": b"^maybe", "passed": b"^fine$", "found": b"FOUND$"}
    parameters |= {"name": b": (.+) FOUND$", "classes": b"clamav"}
    words = (b"maybe X\n", b"fine\n", b"", b"/m: Heuristics.Limits.Exceeded FOUND\n")
    for output in words:
        with pytest.raises(Defer):
            command.parse(command.KILLED, output, parameters)


# A listing of other files that is longer than the limit for other programs' output.
LISTING = "i=0; while [ $i -lt 1000 ]; do echo /spool/m/archive.zip/file.$i OK; i=$((i+1)); done"


def test_a_name_is_found_at_the_end_of_a_long_listing(ask: Ask) -> None:
    script = f"{LISTING}; echo virus=Eicar; exit 1"
    finding = ask(script, args="{path}", clean="0", infected="1", name="virus=(.*)")
    assert (finding.verdict, finding.names) == (INFECTED, ("Eicar",))


def test_words_that_decide_are_found_at_the_end_of_a_long_listing(ask: Ask) -> None:
    finding = ask(f"{LISTING}; echo passed", args="{path}", clean="0", passed="^passed$")
    assert finding.verdict is CLEAN


# More than is looked at.
TOO_MUCH = "dd if=/dev/zero bs=64k count=17 2>/dev/null | tr '\\0' '\\n'"


@pytest.mark.parametrize("more", [TOO_MUCH, "printf %05000d 0"])
def test_nothing_is_clean_by_words_that_cannot_all_be_looked_at(ask: Ask, more: str) -> None:
    with pytest.raises(Defer, match="said more than can be looked at"):
        ask(f"echo passed; {more}", args="{path}", clean="0", passed="^passed$")


def test_a_program_whose_status_decides_may_say_as_much_as_it_likes(ask: Ask) -> None:
    assert ask(TOO_MUCH, args="{path}", clean="0").verdict is CLEAN


@pytest.mark.parametrize(
    ("status", "words", "verdict"),
    [
        (0, {"found": b"^x"}, None),
        (2, {"found": b"^x"}, None),
        (4, {"found": b"^x"}, None),
        (5, {"found": b"^x"}, None),
        (6, {"found": b"^x"}, None),
        (6, {"suspected": b"^x"}, SUSPICIOUS),
        (5, {"suspected": b"^x"}, None),
        (5, {"unwanted": b"^x"}, POLICY),
        (4, {"unwanted": b"^x"}, None),
        (4, {"protected": b"^x"}, UNSCANNABLE),
        (1, {"found": b"^x", "suspected": b"^x"}, INFECTED),
    ],
)
def test_words_that_are_not_looked_at_could_have_meant_something_worse(
    status: int, words: dict[str, bytes], verdict: Verdict | None
) -> None:
    """How many lines an archive is worth is up to whom it comes from."""
    lists = {
        "clean": b"0",
        "infected": b"1",
        "encrypted": b"2",
        "unscannable": b"4",
        "policy": b"5",
        "suspicious": b"6",
    }
    long = b"Password protected file /x\n" * (command.OUTPUT_MAX // 27 + 1)
    for output in (long[: command.OUTPUT_MAX], b"y" * (command.LINE_MAX + 1)):
        if verdict is None:
            with pytest.raises(Defer, match="said more than can be looked at"):
                command.parse(status, output, {**lists, **words})
        else:
            assert command.parse(status, output, {**lists, **words}).verdict is verdict


def test_what_is_protected_has_not_proved_that_the_rest_is_clean() -> None:
    parameters = {"clean": b"0", "passed": b"^OK$", "protected": b"locked$"}
    assert command.parse(0, b"a locked\nOK\n", parameters).verdict is ENCRYPTED
    with pytest.raises(Defer, match="did not say that it found nothing"):
        command.parse(0, b"a locked\n", parameters)


def test_a_group_that_matched_nothing_is_no_name() -> None:
    parameters = {"infected": b"1", "name": b"a(b)?"}
    assert command.parse(1, b"a ab", parameters).names == ("b",)


def test_lists_may_have_commas() -> None:
    (target,) = settings(b"-s", b"command:savscan?infected=3,4&clean=0").scanners[-1].targets
    assert target.parameters["infected"] == b"3,4"


def test_where_is_a_word_or_a_path_and_its_parameters_are_decoded() -> None:
    where = b"command:/opt/av/scan?args=--mail%20{path}&clean=0&infected=1%202&name=virus=(.*)"
    (target,) = settings(b"-s", where).scanners[-1].targets
    assert (target.path, target.way) == (b"/opt/av/scan", PATH)
    assert target.parameters["args"] == b"--mail {path}"
    assert command.parse(2, b"virus=X", target.parameters).names == ("X",)
    assert settings(b"-s", b"command:clamscan").scanners[-1].targets[0].path == b"clamscan"


# What a status alone is worth.


def test_an_answer_by_status_alone_says_so(ask: Ask) -> None:
    assert "clean by its exit status alone" in ask("exit 0", args="{path}", clean="0").text


def test_an_answer_by_words_does_not(ask: Ask) -> None:
    finding = ask("echo $1: OK", args="{path}", clean="0", passed=r"^{path}: OK\n")
    assert (finding.verdict, "alone" in finding.text) == (CLEAN, False)


def test_the_path_in_passed_is_the_one_that_the_program_got_and_no_pattern(ask: Ask) -> None:
    with pytest.raises(Defer, match="did not say"):
        ask("echo ${1%?}x: OK", args="{path}", clean="0", passed=r"^{path}: OK\n")


def test_a_known_program_without_words_for_clean_says_so(tmp_path: Path) -> None:
    program = tmp_path / "drweb"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o700)
    (tmp_path / "spool").mkdir(mode=0o700)
    target = Target(None, PATH, False, bytes(program))
    with spooled(tmp_path / "spool") as message:
        finding = command.run(message, target, time.monotonic() + 20)
    assert finding.verdict is CLEAN
    assert PROGRAMS[b"drweb"].unproved in finding.text


def test_words_that_mean_suspicious_or_unwanted_count_unless_it_is_worse() -> None:
    parameters = {
        "clean": b"0",
        "infected": b"1",
        "suspicious": b"2",
        "suspected": b"^maybe",
        "unwanted": b"^adware",
    }
    cases = [
        (0, b"maybe X\n", SUSPICIOUS),
        (0, b"adware X\n", POLICY),
        (9, b"adware X\nmaybe Y\n", SUSPICIOUS),
        (1, b"maybe X\n", INFECTED),
        (2, b"adware X\n", SUSPICIOUS),
        (0, b"nothing\n", CLEAN),
    ]
    for status, output, verdict in cases:
        assert command.parse(status, output, parameters).verdict is verdict, (status, output)


def test_what_cannot_all_be_looked_at_is_in_no_better_class_than_infected() -> None:
    parameters = {"clean": b"0", "found": b"FOUND$", "name": b": (.+) FOUND$", "classes": b"clamav"}
    words = b"/s/m: Heuristics.Encrypted.Zip FOUND\n"
    assert command.parse(1, words, parameters).verdict is ENCRYPTED
    assert command.parse(1, words * 30000, parameters).verdict is INFECTED

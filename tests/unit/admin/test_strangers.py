"""Words of strangers in avcheckctl: none moves a terminal, forges a line or ends in a traceback."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avcheck import report
from avcheck.admin import (
    amounts,
    cells,
    clamdconf,
    output,
    quarantine_records,
    quarantine_store,
    totals,
)
from avcheck.admin.services import settings_from
from avcheck.options.reading import parse_options
from avcheck.state.canary import state_file
from tests.support.admin import ENTRY as NAME
from tests.support.admin import Said, avcheckctl, ctl, entry
from tests.support.program import Program

ADMIN = Path(quarantine_store.__file__).parent

# The beginning of names and words that strangers choose.
ODD = ["\x1b[2J", "a\nb", "a\rb", "\udcff", "\x9b31m", "\u202e", "ä", "x" * 250]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "quarantine"
    made.mkdir(mode=0o700)
    return made


def is_harmless(said: Said) -> bool:
    text = said.out + said.err
    return re.fullmatch(r"(?:[ -~]*\n)*", text) is not None and "Traceback" not in text


# Names.


@pytest.mark.parametrize("name", ODD[:-1])
def test_a_name_that_is_none_of_ours_is_told_and_left_alone(place: Path, name: str) -> None:
    entry(place, name)
    entry(place)
    said = ctl(place, "list")
    assert said.status == 0
    assert is_harmless(said)
    assert said.out.count("infected") == 1
    assert "Not entries, and left alone: " in said.err
    assert [each["entry"] for each in ctl(place, "list", "--json").facts] == [NAME]
    for what, *words in (("show", name), ("delete", "--yes", name), ("release", "-S", ":9", name)):
        said = ctl(place, what, *words)
        assert said.status == 2
        assert is_harmless(said)
    said = ctl(place, "expire", "--older", "0s")
    assert said.status == 0
    assert is_harmless(said)
    assert [each for each in os.listdir(place) if each[0] != "."] == [name]


def test_many_names_are_counted(place: Path) -> None:
    for number in range(20):
        (place / f"x{number}").touch()
    said = ctl(place, "list")
    assert said.err.startswith("Not entries, and left alone: x0, x1, x10, x11, x12, and 15 more\n")


def test_no_line_of_the_system_log_is_forged(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(report, "log", lambda line, priority: lines.append(line))
    entry(place, "a\nb")
    entry(place, recipients=["c@d\nforged", "\udcff\x1b"])
    ctl(place, "release", "2", "-S", "unix:/nowhere")
    ctl(place, "delete", "--yes", "2", "a\nb")
    assert len(lines) == 3
    assert all(line.isascii() and line.isprintable() for line in lines)


@pytest.mark.parametrize(
    "name",
    ["20260102T030405Z-0123456789ab\n", "20260102T030405Z-0123456789AB", "\uff12" * 8 + NAME[8:]],
)
def test_a_name_that_only_looks_like_ours_is_none(place: Path, name: str) -> None:
    entry(place, name)
    assert ctl(place, "list", "--json").facts == []


# Times.


@pytest.mark.parametrize("when", [-(10**11), 10**12, 2**33])
def test_any_time_of_a_message_is_a_time(place: Path, when: int) -> None:
    made = entry(place, time="no time")
    os.utime(made / "message", (when, when))
    for what, *words in (("list",), ("list", "--json"), ("show", "2"), ("show", "2", "--json")):
        said = ctl(place, what, *words)
        assert said.status == 0
        assert is_harmless(said)


@pytest.mark.parametrize("when", [-(10**11), 10**12])
def test_any_time_of_a_known_answer_test_is_a_time(tmp_path: Path, when: int) -> None:
    places = [f"{tmp_path}/{number}" for number in range(3)]
    scanner = ["-s", "clamd:" + ",".join(places), "--canary", "60"]
    (read,) = settings_from(parse_options([os.fsencode(word) for word in scanner])[0], []).scanners
    names = [os.fsdecode(state_file(read, target)) for target in read.targets]
    file = tmp_path / names[0]
    file.write_bytes(b"+")
    os.utime(file, (when, when))
    os.mkfifo(tmp_path / names[1])
    (tmp_path / names[2]).symlink_to("/nowhere")
    for words in ([], ["--json"]):
        said = avcheckctl("status", "-d", tmp_path, *scanner, *words)
        assert said.status == 1  # for nobody answers
        assert is_harmless(said)
    assert len(said.facts[0]["canaries"]) == 1


def test_times_beyond_the_calendar_are_its_ends() -> None:
    assert amounts.moment(1e300).year == 9999
    assert amounts.moment(-1e300).year == 1
    assert amounts.moment(0).year == 1970


# What is in a sidecar and in the log.

VALUES = [
    7, 10**400, float("nan"), float("inf"), None, True, [], ["x"], {}, {"a": [1]},
    "\ud800", "\udcff", "\x1b]0;x\x07", "a\nb", "", "x" * 100_000,
]  # fmt: skip

KEYS = ("time", "verdict", "virus", "scanner", "text", "queue_id", "sha256", "sender", "sendmail")


@pytest.mark.parametrize("key", [*KEYS, "recipients"])
def test_a_sidecar_may_say_anything(place: Path, key: str, tmp_path: Path) -> None:
    program = Program(tmp_path / "sendmail")
    made = entry(place)
    good = json.loads((made / "about.json").read_text())
    for value in [*VALUES, *([each] for each in VALUES)]:
        (made / "about.json").write_text(dumped({**good, key: value}))
        for what, *words in (("list",), ("list", "--json"), ("show", "2"), ("show", "--json", "2")):
            said = ctl(place, what, *words)
            assert said.status == 0, value
            assert is_harmless(said), value
        said = ctl(place, "release", "--again", "2", "-S", program.path)
        assert said.status in (0, 2)
        assert is_harmless(said)


def dumped(facts: dict[str, Any]) -> str:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(facts).replace(str(10**400), "9" * 6000)
    finally:
        sys.set_int_max_str_digits(limit)


@pytest.mark.parametrize("key", ["sender", "recipients", "sendmail", "log"])
@pytest.mark.parametrize(
    "value",
    ["x'", "a\0b", "/nowhere", "-x", "\x1b[2J", "\udcff", "--", "host:99999", " ", "x" * 999],
)
def test_a_release_of_anything_is_done_or_refused(
    place: Path, tmp_path: Path, key: str, value: str
) -> None:
    facts: dict[str, Any] = {"sendmail": str(Program(tmp_path / "sendmail").path)}
    if key == "log":
        facts = {}
    else:
        facts[key] = [value] if key == "recipients" else value
    entry(place, **facts)
    act = {"time": "t", "what": "released", "entry": "e", "by": "b", "sendmail": value}
    (place / ".log").write_text(json.dumps(act) + "\n")
    said = ctl(place, "release", "2")
    assert said.status in (0, 2)
    assert is_harmless(said)


@pytest.mark.parametrize("key", ["time", "what", "entry", "by", "sendmail", "said", "to", "other"])
def test_the_log_may_say_anything(place: Path, key: str) -> None:
    entry(place)
    good = {"time": "t", "what": "released", "entry": NAME, "by": "b", "to": ["c@d"]}
    lines = [dumped({**good, key: value}) for value in [*VALUES, *([each] for each in VALUES)]]
    (place / ".log").write_text("\n".join(lines) + "\n")
    for what, *words in (("log",), ("log", "--json"), ("list",), ("show", "2"), ("list", "--held")):
        said = ctl(place, what, *words)
        assert said.status == 0
        assert is_harmless(said)
    said = ctl(place, "release", "2", "-S", "unix:/nowhere")
    assert said.status == 2
    assert is_harmless(said)


def test_whoever_began_a_release_may_have_any_name(place: Path) -> None:
    entry(place)
    act = {
        "time": "\x1b[2J",
        "what": "release begun",
        "entry": NAME,
        "by": "\udcff\n",
        "to": ["c@d"],
    }
    (place / ".log").write_text(json.dumps(act) + "\n")
    said = ctl(place, "release", "2", "-S", ":9")
    assert said.status == 2
    assert "began to release it" in said.err
    assert is_harmless(said)


def test_of_a_large_log_only_the_end_is_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_records, "LOG_MAX", 1000)
    act = {"time": "t", "what": "deleted", "entry": NAME, "by": "b"}
    lines = [json.dumps({**act, "by": str(number)}) for number in range(100)]
    (place / ".log").write_text("\n".join(lines) + "\n")
    found = [each["by"] for each in ctl(place, "log", "--json").facts]
    assert found[-1] == "99"
    assert 5 < len(found) < 15


def test_a_sidecar_of_any_size_is_not_read_to_its_end(place: Path) -> None:
    os.truncate(entry(place) / "about.json", 1 << 40)
    assert "larger than" in ctl(place, "list").out


@pytest.mark.parametrize("name", ["about.json", "message"])
def test_a_pipe_in_an_entry_is_not_waited_for(place: Path, name: str) -> None:
    made = entry(place)
    (made / name).unlink()
    os.mkfifo(made / name)
    for what, *words in (("list",), ("show", "2"), ("show", "2", "--raw")):
        assert is_harmless(ctl(place, what, *words))


# Other files.


def test_metrics_that_nobody_has_counted(tmp_path: Path) -> None:
    file = tmp_path / "metrics"
    values = ("1e299", "0", "9" * 400, "-1", "1e-300", "nan", "inf")
    ends = ("x", "+Inf", "0.01", "-0.1", "1", "1e9", "..")
    lines = [
        f'avcheck_scan_seconds_bucket{{scanner="{scanner}",le="{end}"}} {value}'
        for scanner, value in enumerate(values)
        for end in ends
    ]
    lines += ['avcheck_scan_seconds_bucket{scanner="d",le="0.01"} 5']
    lines += ['avcheck_scan_seconds_bucket{scanner="d",le="1"} 1e299']
    lines += ['avcheck_scan_seconds_bucket{scanner="d",le="+Inf"} 1e-300']
    lines += [f"avcheck_last_clean_timestamp_seconds {value}" for value in values]
    lines += [f'avcheck_messages_total{{verdict="clean",action="deliver"}} {values[0]}']
    file.write_text("\n".join(lines) + "\n")
    for words in ([], ["--json"], ["--prometheus"]):
        said = avcheckctl("stats", "--metrics", file, *words)
        assert said.status == 0
        assert is_harmless(said)
    assert (
        totals.summed({'avcheck_scan_seconds_bucket{scanner="x",le="y"}': 1.0}, 0.0).latency == {}
    )


@pytest.mark.parametrize("text", ["²", "9" * 5000, "-1", "1e9", "9" * 5000 + "G", "k"])
def test_a_number_of_clamd_is_a_number(text: str) -> None:
    assert 0 <= clamdconf.Conf("x", {"MaxFiles": text}).number("MaxFiles") <= clamdconf.NUMBER_MAX


# All that is printed, and what nobody has foreseen.


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ADMIN.rglob("*.py")):
        yield path.name, ast.parse(path.read_text())


def test_all_that_is_printed_goes_out_by_one_door() -> None:
    """Templates of ours, a shell's script, and the message to a file are no words to be shown."""
    printing = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("click.echo", "click.secho", "print", "sys.stdout.write")
    }
    assert printing == {"completion.py", "output.py", "quarantine_show.py", "setup.py"}


@pytest.mark.parametrize("words", ODD)
def test_the_door_lets_nothing_through(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.say("  ", cells.Styled(words, cells.BAD), words)
    output.heading(words)
    output.note(words)
    output.table([[words, words], [cells.Styled(words, cells.BAD)]], (words,))
    output.Trouble(words, f"{words}\nnext").show()
    output.bug(ValueError(words))
    said = capsys.readouterr()
    assert is_harmless(Said(0, re.sub(r"\x1b\[[0-9;]*m", "", said.out), said.err))


def test_blanks_stay_where_they_are() -> None:
    assert cells.plain("  a  b ") == "  a  b "
    assert cells.plain("") == ""
    assert cells.plain("  ") == "  "
    assert cells.plain("\n") == " "


FAULT = """
import sys
from avcheck.admin import output, state, main
from avcheck.admin.services import settings_from
def fault(*words):
    raise ValueError("\\x1b[2J\\udcff and\\nmore")
state.state = fault
main()
"""


def test_a_fault_is_one_printable_line(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FAULT, "status", "-d", str(tmp_path)]
    environment = {**os.environ, "AVCHECKCTL_DEBUG": ""}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first == "avcheckctl: error: a fault in avcheckctl: ValueError: ?[2J? and more"
    assert "AVCHECKCTL_DEBUG=1" in second
    environment["AVCHECKCTL_DEBUG"] = "1"
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" in done.stderr

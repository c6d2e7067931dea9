"""Scanners that are programs: how they are run, and what their exit statuses mean."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck import child
from avcheck.exits import CONFIG, EXPIRED, Defer
from avcheck.scanners import PATH, command
from avcheck.scanners.command_programs import PROGRAMS
from avcheck.settings import Target
from avcheck.spool import FRONT
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
from tests.parsing import finding_or_none
from tests.wire import settings, spooled

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
        with spooled(spool, named=True) as message:
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
    with spooled(Path(f"{tmp_path}/./spool"), named=True) as message:
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
    ended = child.Ended(0, b"", late=False, lost="Input/output error")
    monkeypatch.setattr(child, "run", lambda *_, **__: ended)
    with pytest.raises(Defer, match="its output could not be read: Input/output error"):
        ask("exit 0", clean="0", args="{path}")


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
    monkeypatch.setitem(PROGRAMS, b"uvscan", ((b"/nonexistent/uvscan",), {"clean": b"0"}))
    with pytest.raises(Defer, match="looked at /nonexistent/uvscan") as raised:
        command.program_at(b"uvscan")
    assert raised.value.code == CONFIG


def test_the_first_place_where_it_is_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "uvscan"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    places = (b"/nonexistent/uvscan", bytes(program), b"/bin/true")
    monkeypatch.setitem(PROGRAMS, b"uvscan", (places, {"clean": b"0"}))
    assert command.program_at(b"uvscan") == bytes(program)


def test_what_is_given_wins_over_what_is_known() -> None:
    target = Target(None, PATH, False, b"/opt/uvscan", {"clean": b"7"})
    parameters = command.known(target)
    assert parameters["clean"] == b"7"
    assert parameters["args"] == PROGRAMS[b"uvscan"][1]["args"]


SWEEP_ENCRYPTED = b"""\
SAVScan virus detection utility
Version 4.69.0 [Linux/Intel], engine version 3.21.0
Virus data version 4.81, September 2012
Password protected file /spool/avcheck.1f/foo.zip/foo.txt
1 file swept in 1 second.
1 error was encountered.
"""

BDSCAN = b"""\
BitDefender Antivirus Scanner for Unices v7.90123 Linux-amd64
%b
Results:
Files            :1
Infected files   :%d
Suspect files    :0
I/O errors       :%d
"""

# What each program says and how it ends, from its manual and from amavisd-new's list.
ENDS: list[tuple[str, int, bytes, Verdict | None, tuple[str, ...]]] = [
    ("clamscan", 0, b"", CLEAN, ()),
    ("clamscan", 1, b"/s/m: Eicar-Test FOUND\n/s/m!(1): Win.X-1 FOUND\n", INFECTED,
     ("Eicar-Test", "Win.X-1")),
    ("clamscan", 2, b"ERROR: Can't open file", None, ()),
    ("clamdscan", 0, b"", CLEAN, ()),
    ("clamdscan", 1, b"/s/m: Eicar-Test FOUND\n", INFECTED, ("Eicar-Test",)),
    ("clamdscan", 2, b"ERROR: Could not connect to clamd", None, ()),
    ("clamscan", 1, b"/s/m: Heuristics.Limits.Exceeded.MaxFileSize FOUND\n", UNSCANNABLE,
     ("Heuristics.Limits.Exceeded.MaxFileSize",)),
    ("clamscan", 1, b"/s/m: Heuristics.Encrypted.Zip FOUND\n", ENCRYPTED,
     ("Heuristics.Encrypted.Zip",)),
    ("clamdscan", 1, b"/s/m: Heuristics.Encrypted.Zip FOUND\n/s/m: Eicar-Test FOUND\n",
     INFECTED, ("Heuristics.Encrypted.Zip", "Eicar-Test")),
    ("clamdscan", 1, b"/s/m: PUA.Win.Packer FOUND\n", POLICY, ("PUA.Win.Packer",)),
    ("clamdscan", 1, b"what?\n", INFECTED, ()),
    ("savscan", 0, b"", CLEAN, ()),
    ("savscan", 1, b"interrupted", None, ()),
    ("savscan", 2, SWEEP_ENCRYPTED, ENCRYPTED, ()),
    ("sweep", 2, SWEEP_ENCRYPTED, ENCRYPTED, ()),
    ("savscan", 2, b"Could not check /s/m/a.zip (corrupt)", UNSCANNABLE, ()),
    ("savscan", 2, b"", UNSCANNABLE, ()),
    ("savscan", 2, b"Error initialising detection engine [0xa0040200]", None, ()),
    ("savscan", 2, b"The virus data file is missing", None, ()),
    ("savscan", 3, b">>> Virus 'EICAR-AV-Test' found in file /s/m\n"
     b">>> Virus fragment 'W32/X' found in file /s/m/a\n", INFECTED, ("EICAR-AV-Test", "W32/X")),
    ("savscan", 36, b"", None, ()),
    ("avscanner", 0, b"", CLEAN, ()),
    ("avscanner", 24, b'Detected "/s/m" is infected with EICAR-AV-Test (On Demand)', INFECTED,
     ("EICAR-AV-Test",)),
    ("avscanner", 16, b"", ENCRYPTED, ()),
    ("avscanner", 8, b"", None, ()),
    ("esets_cli", 0, b"", CLEAN, ()),
    ("esets_cli", 3, b'object="m", name="m", virus="Eicar test file", action=""', INFECTED,
     ("Eicar test file",)),
    ("esets_cli", 100, b"", None, ()),
    ("ecls", 0, b"", CLEAN, ()),
    ("ecls", 50, b'name="m", threat="Eicar", action="", info=""', INFECTED, ("Eicar",)),
    ("ecls", 1, b"", INFECTED, ()),
    ("ecls", 10, b'name="a.zip", threat="", info="archive is password-protected"', ENCRYPTED, ()),
    ("ecls", 10, b"", UNSCANNABLE, ()),
    ("ecls", 100, b"", None, ()),
    ("odscan", 0, b"", CLEAN, ()),
    ("odscan", 50, b'name="m", threat="Eicar", action=""', INFECTED, ("Eicar",)),
    ("odscan", 10, b'name="a.zip", result="password-protected"', ENCRYPTED, ()),
    ("odscan", 10, b"", UNSCANNABLE, ()),
    ("odscan", 100, b"", None, ()),
    ("drweb", 0, b"", CLEAN, ()),
    ("drweb", 1, b"/s/m infected with EICAR Test File (NOT a Virus!)", INFECTED,
     ("EICAR Test File",)),
    ("drweb", 9, b"", INFECTED, ()),
    ("drweb", 33, b"", INFECTED, ()),
    ("drweb", 32, b"", SUSPICIOUS, ()),
    ("drweb", 64, b"", None, ()),
    ("drweb", 127, b"", None, ()),
    ("kavscanner", 0, b"", CLEAN, ()),
    ("kavscanner", 25, b"/s/m INFECTED EICAR-Test-File", INFECTED, ("EICAR-Test-File",)),
    ("kavscanner", 20, b"/s/m SUSPICION Type_Trojan", SUSPICIOUS, ("Type_Trojan",)),
    ("kavscanner", 10, b"/s/m/a.zip PROTECTED", ENCRYPTED, ()),
    ("kavscanner", 15, b"/s/m/a.zip CORRUPTED", UNSCANNABLE, ()),
    ("kavscanner", 30, b"", None, ()),
    ("aveclient", 0, b"/s/m OK", CLEAN, ()),
    ("aveclient", 4, b"/s/m INFECTED EICAR-Test-File", INFECTED, ("EICAR-Test-File",)),
    ("aveclient", 0, b"/s/m INFECTED EICAR-Test-File", INFECTED, ("EICAR-Test-File",)),
    ("aveclient", 3, b"/s/m SUSPICION Type_Trojan", SUSPICIOUS, ("Type_Trojan",)),
    ("aveclient", 8, b"/s/m/a.zip PROTECTED", ENCRYPTED, ()),
    ("aveclient", 6, b"/s/m/a.zip CORRUPTED", UNSCANNABLE, ()),
    ("aveclient", 7, b"", None, ()),
    ("bdscan", 0, BDSCAN % (b"", 0, 0), CLEAN, ()),
    ("bdscan", 1, BDSCAN % (b"/s/m infected: EICAR-Test-File\n", 1, 0), INFECTED,
     ("EICAR-Test-File",)),
    ("bdscan", 0, BDSCAN % (b"/s/m infected: A\033[0m\n", 10, 0), INFECTED, ("A",)),
    ("bdscan", 0, BDSCAN % (b"", 0, 1), None, ()),
    ("bdscan", 1, BDSCAN % (b"", 0, 0), None, ()),
    ("bdscan", 0, b"", None, ()),
    ("fsav", 0, b"", CLEAN, ()),
    ("fsav", 3, b"/s/m: Infected: EICAR_Test_File [FSE]", INFECTED, ("EICAR_Test_File",)),
    ("fsav", 4, b"/s/m: Riskware: Adware.X [AVP]", POLICY, ("Adware.X",)),
    ("fsav", 8, b"/s/m: Suspected: Type_X [AVP]", SUSPICIOUS, ("Type_X",)),
    ("fsav", 9, b"/s/m: ERROR: Password protected archive [FSE]", ENCRYPTED, ()),
    ("fsav", 9, b"/s/m: ERROR: Malformed archive [FSE]", UNSCANNABLE, ()),
    ("fsav", 9, b"/s/m: ERROR: Could not open the file", None, ()),
    ("fsav", 1, b"evaluation period has expired", None, ()),
    ("fsav", 7, b"", None, ()),
    ("uvscan", 0, b"", CLEAN, ()),
    ("uvscan", 13, b"/s/m\n    Found: EICAR test file NOT a virus.", INFECTED,
     ("EICAR test file",)),
    ("uvscan", 13, b"/s/m\n    Found the W32/Netsky virus !!!", INFECTED, ("W32/Netsky",)),
    ("uvscan", 13, b"/s/m\n    Found virus or variant W32/X !!!", INFECTED, ("W32/X",)),
    ("uvscan", 8, b"", None, ()),
    ("fpscan", 0, b"", CLEAN, ()),
    ("fpscan", 1, b"[Found virus] <EICAR_Test (exact)> \t/s/m", INFECTED, ("EICAR_Test",)),
    ("fpscan", 2, b"[Found possible virus] <New_Malware> /s/m", SUSPICIOUS, ("New_Malware",)),
    ("fpscan", 65, b"", INFECTED, ()),
    ("fpscan", 64, b"", UNSCANNABLE, ()),
    ("fpscan", 64, b"[Encrypted] /s/m", ENCRYPTED, ()),
    ("fpscan", 8, b"", UNSCANNABLE, ()),
    ("fpscan", 16, b"", None, ()),
    ("fpscan", 80, b"", None, ()),
    ("avastcmd", 0, b"", CLEAN, ()),
    ("avastcmd", 1, b"/s/m\t[infected by: EICAR Test-NOT virus!!!]", INFECTED, ("EICAR",)),
    ("avastcmd", 1, b"/s/m\t[infected by: EICAR]", INFECTED, ("EICAR",)),
    ("avastcmd", 2, b"", None, ()),
]  # fmt: skip


@pytest.mark.parametrize(("program", "status", "output", "verdict", "names"), ENDS)
def test_a_program_that_is_known(
    program: str, status: int, output: bytes, verdict: Verdict | None, names: tuple[str, ...]
) -> None:
    _, parameters = PROGRAMS[program.encode()]
    finding = finding_or_none(command.parse, status, output, parameters)
    assert (finding.verdict if finding else None) is verdict
    assert (finding.names if finding else ()) == names


def test_every_program_that_is_known_is_tested_clean_infected_and_in_trouble() -> None:
    for program in PROGRAMS:
        if program not in (b"sweep", b"kav4fs-kavscanner"):  # savscan and kavscanner
            seen = {verdict for name, _, _, verdict, _ in ENDS if name.encode() == program}
            assert {CLEAN, INFECTED, None} <= seen, program


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_status_is_in_two_lists(program: bytes) -> None:
    _, parameters = PROGRAMS[program]
    for status in range(256):
        kinds = [
            kind
            for kind in command.LISTS
            if status in command._numbers(kind, parameters.get(kind, b""))
        ]
        assert len(kinds) <= 1, (status, kinds)
    assert b"{path}" in parameters["args"]


@given(st.integers(-1, 300), st.binary(max_size=60), st.sampled_from(sorted(PROGRAMS)))
def test_clean_is_status_0_of_every_program(status: int, output: bytes, program: bytes) -> None:
    finding = finding_or_none(command.parse, status, output, PROGRAMS[program][1])
    if finding and finding.verdict is CLEAN:
        assert status == 0


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


def test_a_killed_program_has_found_nothing() -> None:
    with pytest.raises(Defer):
        command.parse(-1, b"bad: Eicar", {"clean": b"0", "found": b"^bad"})


# A listing of other files that is longer than the limit for other programs' output.
LISTING = "i=0; while [ $i -lt 1000 ]; do echo /spool/m/archive.zip/file.$i OK; i=$((i+1)); done"


def test_a_name_is_found_at_the_end_of_a_long_listing(ask: Ask) -> None:
    script = f"{LISTING}; echo virus=Eicar; exit 1"
    finding = ask(script, args="{path}", clean="0", infected="1", name="virus=(.*)")
    assert (finding.verdict, finding.names) == (INFECTED, ("Eicar",))


def test_words_that_decide_are_found_at_the_end_of_a_long_listing(ask: Ask) -> None:
    finding = ask(f"{LISTING}; echo passed", args="{path}", clean="0", passed="^passed$")
    assert finding.verdict is CLEAN


@pytest.mark.parametrize("more", [f"{LISTING}; {LISTING}", "printf %05000d 0"])
def test_nothing_is_clean_by_words_that_cannot_all_be_looked_at(ask: Ask, more: str) -> None:
    with pytest.raises(Defer, match="said more than can be looked at"):
        ask(f"echo passed; {more}", args="{path}", clean="0", passed="^passed$")


def test_a_program_whose_status_decides_may_say_as_much_as_it_likes(ask: Ask) -> None:
    assert ask(f"{LISTING}; {LISTING}", args="{path}", clean="0").verdict is CLEAN


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

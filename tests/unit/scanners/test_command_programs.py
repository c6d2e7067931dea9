"""What the programs that command knows say and end with, and what that means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avcheck.patterns import MEANINGS
from avcheck.scanners import command, command_parameters
from avcheck.scanners.command_programs import PROGRAMS
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
from tests.support.parsing import finding_or_none

PATH = b"/s/m"


def said(program: bytes, status: int, output: bytes) -> Finding | None:
    """What the program means by these about the file PATH; None if it is trouble."""
    return finding_or_none(command.parse, status, output, PROGRAMS[program].parameters, PATH)


SWEEP_ENCRYPTED = b"""\
SAVScan virus detection utility
Version 4.69.0 [Linux/Intel], engine version 3.21.0
Virus data version 4.81, September 2012
Password protected file /spool/avcheck.1f/foo.zip/foo.txt
1 file swept in 1 second.
1 error was encountered.
"""

SAVSCAN = b"""\
SAVScan virus detection utility
Full Scanning

1 file scanned in 6 seconds.
No viruses were discovered.
End of Scan.
"""

AVSCANNER = b"""\
Scanning /s/m
End of Scan Summary:
1 file scanned in less than a second
0 files out of 1 were infected.
"""

ECLS = b"""\
ECLS Command-line scanner, version 12.2.29.0, (C) 1992-2019 ESET, spol. s r.o.
Scan completed at: Wed Nov 20 13:41:54 2019
Total:             files - 1, objects 3
Detected:          files - 0, objects 0
Cleaned:           files - 0, objects 0
"""

UVSCAN = b"""\
Summary Report on /s/m
File(s)
        Total files:...................     1
        Clean:.........................     1
        Not scanned:...................     0
        Possibly Infected:.............     0
"""

FPSCAN = b"""\
Results:

Files: 1
Skipped files: 0
MBR/boot sectors checked: 0
Objects scanned: 3
Infected objects: 0
Infected files: 0
Files with errors: 0
Disinfected: 0
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
    ("clamscan", 0, b"/s/m: OK\n", CLEAN, ()),
    ("clamscan", 1, b"/s/m: Eicar-Test FOUND\n/s/m!(1): Win.X-1 FOUND\n", INFECTED,
     ("Eicar-Test", "Win.X-1")),
    ("clamscan", 2, b"ERROR: Can't open file", None, ()),
    ("clamdscan", 0, b"fd[10]: OK\n", CLEAN, ()),
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
    ("savscan", 0, SAVSCAN, CLEAN, ()),
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
    ("avscanner", 0, AVSCANNER, CLEAN, ()),
    ("avscanner", 24, b'Detected "/s/m" is infected with EICAR-AV-Test (On Demand)', INFECTED,
     ("EICAR-AV-Test",)),
    ("avscanner", 16, b"", ENCRYPTED, ()),
    ("avscanner", 8, b"", None, ()),
    ("esets_cli", 0, b"", CLEAN, ()),
    ("esets_cli", 3, b'object="m", name="m", virus="Eicar test file", action=""', INFECTED,
     ("Eicar test file",)),
    ("esets_cli", 100, b"", None, ()),
    ("ecls", 0, ECLS, CLEAN, ()),
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
    ("kavscanner", 9, b"", ENCRYPTED, ()),
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
    # Words that win over the status.
    ("savscan", 0, b">>> Virus 'EICAR' found in file /s/m\n", INFECTED, ("EICAR",)),
    ("savscan", 2, b">>> Virus 'EICAR' found in file /s/m\n", INFECTED, ("EICAR",)),
    ("aveclient", 0, b"/s/m SUSPICION X", SUSPICIOUS, ("X",)),
    ("aveclient", 3, b"/s/m SUSPICION X\n/s/m INFECTED Y", INFECTED, ("X", "Y")),
    ("clamscan", 0, b"/s/m: Eicar FOUND\n/s/m: OK\n", INFECTED, ("Eicar",)),
    ("clamscan", 2, b"/s/m: Eicar FOUND\n", INFECTED, ("Eicar",)),
    ("clamscan", 2, b"/s/m: Heuristics.Encrypted.Zip FOUND\n", ENCRYPTED,
     ("Heuristics.Encrypted.Zip",)),
    ("fsav", 0, b"/s/m: Riskware: Adware.X [AVP]", POLICY, ("Adware.X",)),
    ("fsav", 9, b"/s/m: Suspected: X [AVP]", SUSPICIOUS, ("X",)),
    # What is left out, though the status is that of a clean file.
    ("clamscan", 0, b"/s/m: Excluded\n", None, ()),
    ("clamscan", 0, b"/s/m: Empty file\n", None, ()),
    ("clamscan", 0, b"/s/m: Access denied\n", None, ()),
    ("clamdscan", 0, b"stream: OK\n", None, ()),
    ("clamdscan", 0, b"/s/m: OK\n", None, ()),
    ("clamdscan", 0, b"/s/m: Excluded\n/s/m: OK\n", None, ()),
    ("savscan", 0, SAVSCAN.replace(b"1 file ", b"0 files "), None, ()),
    ("savscan", 0, SAVSCAN.replace(b"No vir", b"1 error was encountered.\nNo vir"), None, ()),
    ("avscanner", 0, AVSCANNER.replace(b"of 1", b"of 0"), None, ()),
    ("avscanner", 0, AVSCANNER + b"1 scan error encountered.\n", None, ()),
    ("ecls", 0, ECLS.replace(b"files - 1", b"files - 0"), None, ()),
    ("ecls", 0, ECLS.replace(b"files - 0, objects 0", b"files - 0, objects 2", 1), None, ()),
    ("uvscan", 0, UVSCAN.replace(b"scanned:...................     0",
                                 b"scanned:...................     1"), None, ()),
    ("uvscan", 0, UVSCAN + b"/s/m/a.zip is password-protected.\n", ENCRYPTED, ()),
    ("fpscan", 0, FPSCAN.replace(b"Skipped files: 0", b"Skipped files: 1"), None, ()),
    ("fpscan", 0, FPSCAN.replace(b"errors: 0", b"errors: 1"), None, ()),
    ("bdscan", 0, (BDSCAN % (b"", 0, 0)).replace(b":1", b":0"), None, ()),
    ("avastcmd", 0, b"/s/m\t[scan error: Archive is corrupted]\n", None, ()),
    ("fsav", 0, b"", CLEAN, ()),
    ("fsav", 3, b"/s/m: Infected: EICAR_Test_File [FSE]", INFECTED, ("EICAR_Test_File",)),
    ("fsav", 4, b"/s/m: Riskware: Adware.X [AVP]", POLICY, ("Adware.X",)),
    ("fsav", 8, b"/s/m: Suspected: Type_X [AVP]", SUSPICIOUS, ("Type_X",)),
    ("fsav", 9, b"/s/m: ERROR: Password protected archive [FSE]", ENCRYPTED, ()),
    ("fsav", 9, b"/s/m: ERROR: Malformed archive [FSE]", UNSCANNABLE, ()),
    ("fsav", 9, b"/s/m: ERROR: Could not open the file", None, ()),
    ("fsav", 1, b"evaluation period has expired", None, ()),
    ("fsav", 7, b"", None, ()),
    ("uvscan", 0, UVSCAN, CLEAN, ()),
    ("uvscan", 13, b"/s/m\n    Found: EICAR test file NOT a virus.", INFECTED,
     ("EICAR test file",)),
    ("uvscan", 13, b"/s/m\n    Found the W32/Netsky virus !!!", INFECTED, ("W32/Netsky",)),
    ("uvscan", 13, b"/s/m\n    Found virus or variant W32/X !!!", INFECTED, ("W32/X",)),
    ("uvscan", 8, b"", None, ()),
    ("fpscan", 0, FPSCAN, CLEAN, ()),
    ("fpscan", 1, b"[Found virus] <EICAR_Test (exact)> \t/s/m", INFECTED, ("EICAR_Test",)),
    ("fpscan", 2, b"[Found possible virus] <New_Malware> /s/m", SUSPICIOUS, ("New_Malware",)),
    ("fpscan", 65, b"", INFECTED, ()),
    ("fpscan", 64, b"", UNSCANNABLE, ()),
    ("fpscan", 64, b"[Encrypted] /s/m", ENCRYPTED, ()),
    ("fpscan", 64, b"[Unscannable] <encrypted> \t/s/m", ENCRYPTED, ()),
    ("fpscan", 8, b"", UNSCANNABLE, ()),
    ("fpscan", 16, b"", None, ()),
    ("fpscan", 80, b"", None, ()),
    ("avastcmd", 0, b"/s/m\t[OK]\n", CLEAN, ()),
    ("avastcmd", 1, b"/s/m\t[infected by: EICAR Test-NOT virus!!!]", INFECTED, ("EICAR",)),
    ("avastcmd", 1, b"/s/m\t[infected by: EICAR]", INFECTED, ("EICAR",)),
    ("avastcmd", 2, b"", None, ()),
]  # fmt: skip


@pytest.mark.parametrize(("program", "status", "output", "verdict", "names"), ENDS)
def test_a_program_that_is_known(
    program: str, status: int, output: bytes, verdict: Verdict | None, names: tuple[str, ...]
) -> None:
    finding = said(program.encode(), status, output)
    assert (finding.verdict if finding else None) is verdict
    assert (finding.names if finding else ()) == names


# What strangers call a file in an archive that cannot be looked into.
NAMES = [
    b"my-password-list.exe",
    b"password protected",
    b"encrypted",
    b"x PROTECTED",
    b"LICENSE.txt",
    b"license has expired",
    b"memory-map.txt",
    b"ERROR: permission denied",
    b"engine failed",
    b"failed to connect",
    b'x", info="password-protected',
    b"[Encrypted]",
]

# Lines of programs that cannot look into a file, with its name in them.
UNOPENED = [
    ("savscan", 2, b"Could not check /s/m/a.zip/%b (corrupt)\n"),
    ("avscanner", 2, b"Failed to scan /s/m/a.zip/%b as the archive is corrupted\n"),
    ("avscanner", 2, b"Unable to scan /s/m/a.zip/%b: archive too deep\n"),
    ("esets_cli", 10, b'name="/s/m > ZIP > %b", threat="", info="archive damaged"\n'),
    ("ecls", 10, b'name="/s/m > ZIP > %b", threat="", info="archive damaged"\n'),
    ("odscan", 10, b'name="/s/m > ZIP > %b", result="archive damaged"\n'),
    ("kavscanner", 10, b"/s/m/a.zip/%b CORRUPTED\n"),
    ("aveclient", 8, b"/s/m/a.zip/%b CORRUPTED\n"),
    ("fsav", 9, b"/s/m: [%b]: Scan error: corrupt\n"),
    ("fsav", 9, b"/s/m: [%b] ERROR: Malformed archive [FSE]\n"),
    ("fpscan", 64, b"[Unscannable] /s/m->%b\n"),
    ("fpscan", 64, b"[Unscannable] <corrupted> \t/s/m->%b\n"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("program", "status", "line"), UNOPENED)
def test_the_name_of_a_file_decides_nothing(
    program: str, status: int, line: bytes, name: bytes
) -> None:
    finding = said(program.encode(), status, line % name)
    assert finding is not None
    assert finding.verdict is UNSCANNABLE
    assert said(program.encode(), 0, line % name) is None or not PROGRAMS[
        program.encode()
    ].parameters.get("passed")


def test_every_program_that_is_known_is_tested_clean_infected_and_in_trouble() -> None:
    for program in PROGRAMS:
        if program not in (b"sweep", b"kav4fs-kavscanner"):  # savscan and kavscanner
            seen = {verdict for name, _, _, verdict, _ in ENDS if name.encode() == program}
            assert {CLEAN, INFECTED, None} <= seen, program


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_status_is_in_two_lists(program: bytes) -> None:
    parameters = PROGRAMS[program].parameters
    for status in range(256):
        kinds = [
            kind
            for kind in MEANINGS
            if status in command_parameters.statuses(kind, parameters.get(kind, b""))
        ]
        assert len(kinds) <= 1, (status, kinds)
    assert (b"{path}" in parameters["args"]) is ("stdin" not in parameters)


@given(st.integers(-1, 300), st.binary(max_size=60), st.sampled_from(sorted(PROGRAMS)))
def test_clean_is_status_0_of_every_program(status: int, output: bytes, program: bytes) -> None:
    finding = said(program, status, output)
    if finding and finding.verdict is CLEAN:
        assert status == 0


# The table: for each program the words.

# Of each program an output by which it says that the file is infected.
FOUND = {
    b"clamscan": b"/s/m: Eicar FOUND\n",
    b"clamdscan": b"fd[10]: Eicar FOUND\n",
    b"savscan": b">>> Virus 'Eicar' found in file /s/m\n",
    b"avscanner": b'Detected "/s/m" is infected with Eicar (On Demand)\n',
    b"esets_cli": b'agent: virus="Eicar"\n',
    b"ecls": b'name="/s/m", threat="Eicar", action="", info=""\n',
    b"odscan": b'name="/s/m", threat="Eicar", action=""\n',
    b"drweb": b"/s/m infected with Eicar\n",
    b"kavscanner": b"/s/m INFECTED Eicar\n",
    b"aveclient": b"/s/m INFECTED Eicar\n",
    b"fsav": b"/s/m: Infected: Eicar [FSE]\n",
    b"uvscan": b"/s/m\n    Found the Eicar virus !!!\n",
    b"fpscan": b"[Found virus] <Eicar> \t/s/m\n",
    b"bdscan": BDSCAN % (b"/s/m infected: Eicar\n", 1, 0),
    b"avastcmd": b"/s/m\t[infected by: Eicar]\n",
}
# And one by which it says that it is clean, if it has words for that.
PASSED = {name.encode(): output for name, _, output, verdict, _ in ENDS if verdict is CLEAN}
SAME = {b"sweep": b"savscan", b"kav4fs-kavscanner": b"kavscanner"}
MAY_BE_CLEAN = [name for name in PROGRAMS if "passed" in PROGRAMS[name].parameters]


@pytest.mark.parametrize("program", PROGRAMS)
def test_words_for_infected_win_over_every_status(program: bytes) -> None:
    words = FOUND[SAME.get(program, program)]
    for output in (words, b"first\n" + words + b"last\n", words + PASSED.get(program, b"")):
        for status in range(256):
            finding = said(program, status, output)
            assert finding is not None, status
            assert (finding.verdict, finding.names) == (INFECTED, ("Eicar",)), status


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_the_words_that_prove_clean_or_says_that_it_has_none(
    program: bytes,
) -> None:
    row = PROGRAMS[program]
    assert "found" in row.parameters
    assert bool(row.unproved) is ("passed" not in row.parameters)


@pytest.mark.parametrize("program", MAY_BE_CLEAN)
def test_no_status_is_clean_without_the_whole_words(program: bytes) -> None:
    words = PASSED[SAME.get(program, program)]
    finding = said(program, 0, words)
    assert finding is not None
    assert finding.verdict is CLEAN
    others = [b"", b"OK\n", b"\n"]
    if b"{path}" in PROGRAMS[program].parameters["passed"]:  # the rest tells numbers of files
        others += [words.replace(PATH, b"/s/mm"), words.replace(PATH, b"/s/s/m")]
    for output in others:
        for status in range(256):
            finding = said(program, status, output)
            assert finding is None or finding.verdict is not CLEAN, (status, output)


@pytest.mark.parametrize("program", MAY_BE_CLEAN)
def test_words_for_clean_that_are_cut_are_none(program: bytes) -> None:
    """Up to the byte that ends the last line that counts, wherever they are cut."""
    words = PASSED[SAME.get(program, program)]
    clean = [
        end
        for end in range(len(words) + 1)
        if (finding := said(program, 0, words[:end])) and finding.verdict is CLEAN
    ]
    assert clean
    assert clean == list(range(clean[0], len(words) + 1))
    last = words[: clean[0]]
    assert last.endswith(b"\n")

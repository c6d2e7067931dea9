"""Scanners that are programs, as their manuals and others' clients say that they end.

Each is a script with the program's name.  It wants the program's words, looks for marks
(content.py) in the file or the directory that it is given, and says and does what the
program is said to.  Sources: the manuals of Sophos ("Sophos Anti-Virus for UNIX", error
codes), F-Secure ("fsav exit codes"), Dr.Web ("Console Scanner Return Codes"), F-PROT
(fpscan(8)), ESET ("ecls", exit codes) and McAfee ("VirusScan Command Line", exit codes),
and amavisd-new's list of scanners, whose patterns show the words.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.emulators import content
from tests.support.emulators.content import Content
from tests.support.tree import ROOT

# Under the names that Python imports from, so that any environment will do; by a shell, which
# to Python is five strings, because its path may have a blank.
SCRIPT = f"""\
#!/bin/sh
"exec" "{sys.executable}" "-S" "$0" "$@"
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, {str(ROOT)!r})
from tests.support.emulators import programs
programs.play(sys.argv)
"""

Ending = tuple[int, list[str]]


def named(lines: str, names: list[bytes], path: str) -> list[str]:
    """A line for each name."""
    return [lines.format(name=os.fsdecode(name), path=path) for name in names]


def savscan(found: Content, path: str) -> Ending:
    lines = ["SAVScan virus detection utility", "Virus data version 4.81, September 2012"]
    lines += named(">>> Virus '{name}' found in file {path}", found.names, path)
    if found.encrypted:
        lines.append(f"Password protected file {path}/a.zip")
    if found.limits:
        lines.append(f"Could not check {path}/a.zip (corrupt)")
    if found.error:
        lines.append("Error initialising detection engine [0xa0040200]")
    if found.licence:
        lines.append("Your licence for this product has expired")
    partly = found.encrypted or found.limits or found.error or found.licence
    lines.append("1 file scanned in 6 seconds.")
    if partly:
        lines.append("1 error was encountered.")
    number = len(found.names)
    lines.append(f"{number} viruses were discovered." if number else "No viruses were discovered.")
    lines.append("End of Scan.")
    return 3 if found.names else 2 if partly else 0, lines


def avscanner(found: Content, path: str) -> Ending:
    lines = named('Detected "{path}" is infected with {name} (On Demand)', found.names, path)
    if found.encrypted:
        lines.append(f"Failed to scan {path}/a.zip as it is password protected")
    if found.limits:
        lines.append(f"Failed to scan {path}/a.zip as it is corrupted")
    if found.error or found.licence:
        return 8, [*lines, "Failed to initialize the scanner"]
    lines += ["End of Scan Summary:", "1 file scanned in less than a second"]
    lines.append(f"{int(bool(found.names))} files out of 1 were infected.")
    if found.encrypted or found.limits:
        lines.append("1 scan error encountered.")
    return 24 if found.names else 16 if found.encrypted else 2 if found.limits else 0, lines


def eset(found: Content, path: str) -> Ending:
    lines = named('name="{path}", threat="{name}", action="retained", info=""', found.names, path)
    if found.encrypted:
        lines.append(f'name="{path}/a.zip", threat="", info="archive is password-protected"')
    if found.limits:
        lines.append(f'name="{path}/a.zip", threat="", info="archive damaged"')
    if found.error or found.licence:
        return 100, [*lines, "License expired" if found.licence else "Error opening file"]
    return 50 if found.names else 10 if found.encrypted or found.limits else 0, lines


def ecls(found: Content, path: str) -> Ending:
    status, lines = eset(found, path)
    number = len(found.names)
    lines.append("Total:             files - 1, objects 3")
    lines.append(f"Detected:          files - {int(number > 0)}, objects {number}")
    return status, [*lines, "Cleaned:           files - 0, objects 0"]


def esets_cli(found: Content, path: str) -> Ending:
    report = 'agent: name="{path}"\nagent: action="rejected"\nagent: virus="{name}"'
    lines = named(report, found.names, path)
    if found.encrypted:
        lines.append(f'agent: name="{path}/a.zip", info="password protected archive"')
    if found.error or found.licence:
        return 100, [*lines, "Cannot connect to the daemon"]
    return 3 if found.names else 10 if found.encrypted or found.limits else 0, lines


def drweb(found: Content, path: str) -> Ending:
    lines = named("{path} infected with {name}", found.infected, path)
    lines += named("{path} probably infected with {name}", found.suspicious, path)
    if found.error or found.licence:
        return 127, [*lines, "Key file has expired" if found.licence else "Cannot load bases"]
    return (1 if found.infected else 0) | (4 if found.suspicious else 0), lines


def kavscanner(found: Content, path: str) -> Ending:
    lines = named("{path} INFECTED {name}", found.infected, path)
    lines += named("{path} SUSPICION {name}", found.suspicious, path)
    if found.encrypted:
        lines.append(f"{path}/a.zip PROTECTED")
    if found.limits:
        lines.append(f"{path}/a.zip CORRUPTED")
    if found.error or found.licence:
        return 30, [*lines, "License key has expired" if found.licence else "Cannot open file"]
    status = 25 if found.infected else 20 if found.suspicious else 10 if found.encrypted else 0
    return status or (15 if found.limits else 0), lines


def aveclient(found: Content, path: str) -> Ending:
    status, lines = kavscanner(found, path)
    return {25: 4, 20: 3, 10: 8, 15: 6, 30: 7}.get(status, status), lines


def fsav(found: Content, path: str) -> Ending:
    lines = named("{path}: Infected: {name} [FSE]", found.infected, path)
    lines += named("{path}: Suspected: {name} [FSE]", found.suspicious, path)
    lines += named("{path}: Riskware: {name} [FSE]", found.unwanted, path)
    if found.encrypted:
        lines.append(f"{path}/a.zip: ERROR: Password protected archive [FSE]")
    if found.limits:
        lines.append(f"{path}/a.zip: ERROR: Malformed archive [FSE]")
    if found.error or found.licence:
        return 1, [*lines, "evaluation period has expired" if found.licence else "fatal error"]
    status = 3 if found.infected else 8 if found.suspicious else 4 if found.unwanted else 0
    return status or (9 if found.encrypted or found.limits else 0), lines


def uvscan(found: Content, path: str) -> Ending:
    lines = [path, *named("    Found the {name} virus !!!", found.names, path)]
    if found.error or found.licence:
        return 8, [*lines, "The driver files could not be loaded"]
    infected = int(bool(found.names))
    lines += [f"Summary Report on {path}", "File(s)", "        Total files:...............     1"]
    lines.append(f"        Clean:.....................     {1 - infected}")
    lines.append(f"        Possibly Infected:.........     {infected}")
    return 13 if found.names else 0, lines


def fpscan(found: Content, path: str) -> Ending:
    lines = named("[Found virus] <{name} (exact)> \t{path}", found.infected, path)
    lines += named("[Found possible virus] <{name}> \t{path}", found.suspicious, path)
    if found.encrypted:
        lines.append(f"[Unscannable] <encrypted> \t{path}/a.zip")
    counts = {
        "Files": 1,
        "Skipped files": 0,
        "Objects scanned": 3,
        "Infected objects": len(found.infected),
        "Infected files": int(bool(found.infected)),
        "Files with errors": int(found.error or found.licence),
    }
    lines += ["Results:", *(f"{what}: {number}" for what, number in counts.items())]
    status = (1 if found.infected else 0) | (2 if found.suspicious else 0)
    status |= 64 if found.encrypted else 0
    status |= 8 if found.limits else 0
    return status | (16 if found.error or found.licence else 0), lines


def bdscan(found: Content, path: str) -> Ending:
    lines = named("{path} infected: {name}", found.infected, path)
    lines += named("{path} suspected: {name}", found.suspicious, path)
    if found.licence:
        return 255, [*lines, "The license has expired"]
    failed = int(found.error or found.encrypted or found.limits)
    counts = {
        "Files": 1,
        "Infected files": len(found.infected),
        "Suspect files": len(found.suspicious),
        "I/O errors": failed,
    }
    lines += ["Results:", *(f"{what.ljust(17)}:{number}" for what, number in counts.items())]
    return 1 if found.names else 0, lines


def avastcmd(found: Content, path: str) -> Ending:
    lines = named("{path}\t[infected by: {name}]", found.names, path)
    if found.error or found.licence:
        return 2, [*lines, "avastcmd: license expired" if found.licence else "cannot scan"]
    return 1 if found.names else 0, lines or [f"{path}\t[OK]"]


# Name: what it does, and the words that it is to be called with, but for the path.
PROGRAMS: dict[str, tuple[Callable[[Content, str], Ending], str]] = {
    "savscan": (savscan, "-nb -f -all -rec -sc -archive -cab -mime -oe -tnef"),
    "sweep": (savscan, "-nb -f -all -rec -sc -archive -cab -mime -oe -tnef"),
    "avscanner": (avscanner, "--scan-archives"),
    "esets_cli": (esets_cli, "--subdir"),
    "ecls": (ecls, "--subdir"),
    "odscan": (eset, "--scan"),
    "drweb": (drweb, "-al -go -ot -cn -upn -ok-"),
    "kavscanner": (kavscanner, "-i0 -xn -xp -mn -R -ePASBME"),
    "kav4fs-kavscanner": (kavscanner, "-i0 -xn -xp -mn -R -ePASBME"),
    "aveclient": (aveclient, "-p /var/run/aveserver -s"),
    "fsav": (fsav, "--virus-action1=report --archive=yes --auto=yes --dumb=yes --mime=yes"),
    "uvscan": (uvscan, "--secure -rv --mime --summary --noboot"),
    "fpscan": (fpscan, "--report --mount --adware"),
    "bdscan": (bdscan, "--action=ignore --no-list"),
    "avastcmd": (avastcmd, "-a -i -n -t=A"),
}


def install(name: str, directory: Path) -> Path:
    """The program, in the directory."""
    program = directory / name
    program.write_text(SCRIPT)
    program.chmod(0o755)
    return program


def play(argv: list[str]) -> None:
    """Be the program of that name: say what it says, and end as it ends."""
    ending, wanted = PROGRAMS[os.path.basename(argv[0])]
    *words, path = argv[1:]
    missing = [word for word in wanted.split() if word not in words]
    path = path.removeprefix("-path=")
    if ending is drweb:  # its path may stand anywhere
        path = next(word for word in argv if word.startswith("-path=")).removeprefix("-path=")
        missing = [word for word in wanted.split() if word not in argv]
    if missing:
        print("usage: call me with", *missing)
        os._exit(254)
    status, lines = ending(content.of(os.fsencode(path)), path)
    print(*lines, sep="\n", flush=True)
    os._exit(status)

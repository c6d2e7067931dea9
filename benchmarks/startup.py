"""What the start of the interpreter costs, and what an import adds to it.

The reasons for the shape of scripts/avcheck and for the imports of the delivery path.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.measure import milliseconds, ratio, rounds, run
from benchmarks.process import BARE
from benchmarks.stage import RECIPIENT, SENDER, Stage
from benchmarks.table import Table

ROUNDS = 40
ROUNDS_QUICK = 5

TEMPFAIL = 75  # EX_TEMPFAIL

LEAVE = "import os; os._exit(0)"

# What the delivery path could import, alone or together, and left at once.
IMPORTS = (
    "_socket, _signal, select, fcntl",
    "enum",
    "contextlib",
    "signal",
    "socket",
    "signal, socket",
    "re",
    "subprocess",
    "smtplib",
    "click",
    "clamd",
    "filelock",
)

# pip's console scripts: up to pip 24, and since.
CONSOLE_SCRIPT_RE = """\
#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from at_once import main
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit(main())
"""
CONSOLE_SCRIPT = """\
#!{python}
import sys
from at_once import main
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(main())
"""


def measure(stage: Stage, quick: bool) -> list[Table]:
    """What each way to start costs, and each import."""
    count = ROUNDS_QUICK if quick else ROUNDS
    commands = {BARE: [str(stage.python), "-I", "-c", "pass"]}
    commands |= starts(stage)
    commands |= {
        f"import {names}": [str(stage.python), "-I", "-c", f"import {names}; {LEAVE}"]
        for names in IMPORTS
    }
    commands["import clamd, setuptools installed"] = [
        str(stage.python_setuptools), "-I", "-c", f"import clamd; {LEAVE}"
    ]  # fmt: skip
    cases = {
        name: partial(run, argv, environment=stage.environment) for name, argv in commands.items()
    }
    for name, guard in (("avcheck", ()), ("avcheck-guard avcheck", (str(stage.guard),))):
        cases[f"{name}, all loaded, held back by -w"] = partial(
            run, [*guard, *held(stage)], environment=stage.environment, status=TEMPFAIL
        )
    costs = {name: [cost.cpu for cost in each] for name, each in rounds(cases, count).items()}
    table = Table("The start of the interpreter", ("", "CPU, ms", "times bare"))
    for name, each in costs.items():
        table.add(name, milliseconds(each), str(ratio(each, costs[BARE])))
    table.notes.append(
        f"Medians of {count} interleaved rounds. The rows with an import and the console "
        "scripts end with os._exit, which skips the interpreter's shutdown."
    )
    return [table]


def held(stage: Stage) -> list[str]:
    """avcheck with a waitfile that is there: everything is imported, nothing is done."""
    words = [str(stage.avcheck), "-w", str(stage.avcheck), "-s", "clamd", "-d", str(stage.spool)]
    return [*words, "-f", SENDER, "--", RECIPIENT]


def starts(stage: Stage) -> dict[str, list[str]]:
    """The ways to start, by what they are called in the table."""
    python, pth = str(stage.python), str(stage.python_setuptools)
    at_once = "def main():\n    import os\n    os._exit(0)\n"
    launcher = "#!{python}\n" + stage.avcheck.read_text().partition("\n")[2].replace(
        "avcheck.__main__", "at_once"
    )
    site_packages = next(stage.python.parent.parent.glob("lib/python3*/site-packages"))
    (site_packages / "at_once.py").write_text(at_once)
    return {
        f"python -I -c '{LEAVE}'": [python, "-I", "-c", LEAVE],
        f"python -I -S -c '{LEAVE}'": [python, "-I", "-S", "-c", LEAVE],
        f"python -c '{LEAVE}'": [python, "-c", LEAVE],
        f"python -I -c '{LEAVE}', .pth file of setuptools": [pth, "-I", "-c", LEAVE],
        "console script of pip 24": [script(stage, "console-re", CONSOLE_SCRIPT_RE)],
        "console script of pip 25": [script(stage, "console", CONSOLE_SCRIPT)],
        "scripts/avcheck's way": [script(stage, "launcher", launcher)],
    }


def script(stage: Stage, name: str, template: str) -> str:
    """The path of a program made from the template."""
    path = Path(stage.program(name))
    path.write_text(template.replace("{python}", str(stage.python)))
    path.chmod(0o755)
    return str(path)

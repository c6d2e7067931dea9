"""docs/faults.md: every campaign writes its own section, and leaves those of the others.

from tests.campaigns import document
document.section("Fuzzing", document.run_now(text))
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from pathlib import Path

import avcheck
from tests.support.tree import ROOT

PAGE = ROOT / "docs" / "faults.md"

INTRODUCTION = """# Faults

How avcheck was tested under faults, and with what results. Each section is written by its own
campaign, with the numbers of its last run, and begins with the command that repeats it.

After every fault four promises are checked: nothing unscanned passes; nothing is lost or bounced by
accident; nothing in a message is changed; nothing is left behind.
"""

HEADING = "## "


def run_now(text: str) -> str:
    """The text of a section, with the day and the version that it is about."""
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    commit = f", commit {asked.stdout.strip()}" if asked.returncode == 0 else ""
    return f"Last run: {time.strftime('%F')}, avcheck {avcheck.__version__}{commit}.\n\n{text}"


def section(title: str, text: str, page: Path = PAGE) -> None:
    """Put the text under the heading "## title", in place of what was there, or at the end.

    text is Markdown without that heading; its own headings begin with ###. Whoever writes at
    the same time waits.
    """
    assert not any(line.startswith(("# ", HEADING)) for line in text.splitlines()), title
    with open(os.open(page, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sections = sections_of(file.read())
        sections[title] = text.strip()
        file.seek(0)
        file.truncate()
        file.write(rendered(sections))


def sections_of(page: str) -> dict[str, str]:
    """The text of each section, by title, in their order."""
    sections: dict[str, str] = {}
    for part in ("\n" + page).split("\n" + HEADING)[1:]:
        title, _, text = part.partition("\n")
        sections[title] = text.strip()
    return sections


def rendered(sections: dict[str, str]) -> str:
    """The page."""
    parts = [f"{HEADING}{title}\n\n{text}\n" for title, text in sections.items()]
    return "\n".join([INTRODUCTION, *parts])

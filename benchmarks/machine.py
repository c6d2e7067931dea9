"""What the numbers were taken on, without names of machines or directories."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

# The Debian packages whose programs are measured, in the order they are shown.
PACKAGES = (
    "clamav-daemon",
    "clamdscan",
    "clamav-milter",
    "postfix",
    "clamsmtp",
    "amavisd-new",
)


def description(interpreter: Path) -> list[str]:
    """One line each about the processor, the kernel, the interpreter and the daemons."""
    lines = [
        f"{os.cpu_count()} cores ({processor()}), {memory()}",
        f"Linux {platform.release()}, {distribution()}",
        f"{interpreter_version(interpreter)}",
    ]
    versions = [f"{name} {version}" for name, version in package_versions(PACKAGES)]
    if versions:
        lines.append(", ".join(versions))
    return lines


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / 2**30:.0f} GiB of memory"


def distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown distribution")


def interpreter_version(interpreter: Path) -> str:
    said = subprocess.run(
        [interpreter, "-I", "-c", "import sys; print(sys.version)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return "CPython " + re.sub(r"\s+", " ", said.stdout).strip()


def package_versions(names: Iterable[str]) -> list[tuple[str, str]]:
    """The installed ones among the Debian packages, each with its version."""
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [line.split() for line in asked.stdout.splitlines()]
    found = {row[0]: row[1] for row in rows if row[2:] == ["ii"]}
    return [(name, found[name]) for name in names if name in found]

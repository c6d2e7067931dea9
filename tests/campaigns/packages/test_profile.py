"""The reading of a profile, and of what strace writes, by which the profile is judged."""

from __future__ import annotations

import pytest

from tests.campaigns.packages.profile import NAMELESS, accesses, allowed, rules

PROFILE = """
@{PROC}=/proc/
@{pid}={[1-9],[1-9][0-9]}
profile x /x {
  @{PROC}/@{pid}/{maps,status} r,
  /run/** rw,
  deny /run/**/*.pid w,
  owner /spool/* rwk,
  /{,usr/}bin/python3* rix,
  network unix stream,
}
"""


@pytest.mark.parametrize(
    ("path", "how", "may"),
    [
        ("/proc/12/maps", "r", True),
        ("/proc/123/maps", "r", False),
        ("/proc/12/maps", "w", False),
        ("/proc/12/mem", "r", False),
        ("/run/a/b.ctl", "w", True),
        ("/run/a/b.pid", "w", False),
        ("/spool/a", "w", True),
        ("/spool" + NAMELESS, "w", True),
        ("/spool/a/b", "w", False),
        ("/usr/bin/python3.11", "x", True),
        ("/bin/python3", "x", True),
        ("/usr/bin/perl", "x", False),
    ],
)
def test_rules_mean_what_apparmor_says(path: str, how: str, may: bool) -> None:
    assert allowed(rules(PROFILE), path, how) == may


def test_what_strace_writes_is_understood() -> None:
    log = """\
7 execve("/nowhere/sh", ["sh"], 0x7ffd /* 2 vars */) = 0
7 openat(AT_FDCWD</spool>, "a", O_RDONLY|O_CLOEXEC) = 3</spool/a>
7 openat(3</spool>, ".", O_RDWR|O_TMPFILE, 0600) = 4</spool/#7>
7 openat(AT_FDCWD</spool>, "b", O_RDONLY) = -1 ENOENT (No such file or directory)
8 rename("/spool/a", "/spool/b") = 0
8 newfstatat(AT_FDCWD</spool>, "a", {st_mode=S_IFREG|0644}, 0) = 0
"""
    assert list(accesses(log)) == [
        ("/nowhere/sh", "x"),
        ("/spool/a", "r"),
        ("/spool" + NAMELESS, "w"),
        ("/spool/a", "w"),
    ]

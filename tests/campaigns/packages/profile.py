"""What avcheck opens and runs, against its AppArmor profile.

python3 -m tests.campaigns.packages.profile, where the package is installed.  It stands in for a
kernel with AppArmor where there is none: avcheck and avcheck-smtp are run under
strace, as their account, for a clean and an infected message, and each file that they have opened,
changed or run has to be in a rule of the profile, with its abstractions (apparmor_parser -p).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.fakes import FakeClamd, FakeSmtp
from tests.support.mta import MAIL
from tests.support.smtp_client import spawned

PROFILE = "/etc/apparmor.d/usr.lib.avcheck"
BIN = "/usr/lib/avcheck/bin"
SPOOL = "/var/spool/avcheck"
LOG = Path("/tmp/strace")

VARIABLE = re.compile(r"^\s*@\{(\w+)\}\s*\+?=\s*(.*?)\s*$", re.MULTILINE)
RULE = re.compile(r"^\s*(deny )?(?:owner )?([/@]\S*)\s+([rwaxmklipPuUcC]+),", re.MULTILINE)
CALL = re.compile(r'^\d+ +(\w+)\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"(.*)\) += (\d+)')

# What is looked at without a rule, or is no file of the profile's.
NAMELESS = "/#12345"


@dataclass(frozen=True)
class Rule:
    """A file rule: which paths, what may be done with them, and whether it takes that away."""

    paths: re.Pattern[str]
    may: str
    denies: bool


def rules(text: str) -> list[Rule]:
    """The file rules of a profile that has its abstractions in it."""
    values: dict[str, list[str]] = {}
    for name, words in VARIABLE.findall(text):
        values.setdefault(name, []).extend(words.split())
    return [
        Rule(re.compile(_pattern(path, values)), may, bool(denies))
        for denies, path, may in RULE.findall(text)
    ]


def _pattern(path: str, values: dict[str, list[str]]) -> str:
    # Slashes that come together are one.
    while found := re.search(r"@\{(\w+)\}(/?)", path):
        words = [each.rstrip("/") if found[2] else each for each in values.get(found[1], ["?"])]
        path = path.replace(found[0], "{" + ",".join(words) + "}" + found[2])
    made = ""
    for word in re.findall(r"\*\*|\[[^]]*\]|.", path):
        if word in ("{", "}", ","):
            made += {"{": "(?:", "}": ")", ",": "|"}[word]
        else:
            made += {"**": ".*", "*": "[^/]*", "?": "[^/]"}.get(
                word, word if word[0] == "[" else re.escape(word)
            )
    return made + r"\Z"


def allowed(known: list[Rule], path: str, how: str) -> bool:
    """Whether that may be done with the path, by a rule and against none."""
    found = [rule for rule in known if rule.paths.match(path) and how in rule.may]
    return bool(found) and not any(rule.denies for rule in found)


def accesses(log: str) -> Iterator[tuple[str, str]]:
    """Each path in what strace wrote, and what was done with it: r, w or x."""
    for line in log.splitlines():
        found = CALL.match(line)
        if found is None:
            continue
        call, directory, name, rest, _ = found.groups()
        # The spool directory is where infected.sh works.
        path = os.path.realpath(os.path.join(directory or SPOOL, name), strict=False)
        path += "/" if os.path.isdir(path) else ""
        if call == "execve":
            yield path, "x"
        elif call.startswith("open"):
            if "O_TMPFILE" in rest:
                path = path.rstrip("/") + NAMELESS
            yield path, "w" if re.search("O_WRONLY|O_RDWR|O_CREAT", rest) else "r"
        elif re.match("unlink|rename|mkdir|rmdir|chmod|fchmodat|chown|utime|symlink", call):
            yield path, "w"


def run(words: list[str]) -> str:
    """What strace wrote about a run of avcheck, as its account, for a message."""
    strace = ["strace", "-f", "-y", "-u", "avclient", "-e", "trace=%file", "-o", str(LOG)]
    environment = {"PATH": "/usr/bin:/bin"}
    subprocess.run([*strace, *words], input=MAIL, env=environment, check=True)
    return LOG.read_text()


def session(words: list[str]) -> str:
    """The same of avcheck-smtp, for a session with a message."""
    strace = ["strace", "-f", "-y", "-u", "avclient", "-e", "trace=%file", "-o", str(LOG)]
    with spawned([*strace, *words]) as talk:
        talk.hello()
        talk.send()
        talk.ask(b"QUIT")
    return LOG.read_text()


def main() -> int:
    asked = subprocess.run(["apparmor_parser", "-p", PROFILE], stdout=subprocess.PIPE, text=True)
    known = rules(asked.stdout)
    scanner = Path("/run/clamav/clamd.ctl")
    scanner.parent.mkdir(exist_ok=True)
    clamd, smtp = FakeClamd(scanner), FakeSmtp()
    scanner.chmod(0o666)
    place = ["-d", SPOOL, "-s", f"clamd:{scanner}", "-S", smtp.where]
    pipe = [f"{BIN}/avcheck-guard.sh", f"{BIN}/avcheck", *place, "-w", f"{SPOOL}/wait"]
    pipe += ["--queue-id", "4abc", "-f", "a@example.com", "--", "b@example.com"]
    sessions = [f"{BIN}/avcheck-smtp", *place]
    logs = [run(pipe), session(sessions)]
    clamd.stop()
    scanner.unlink()
    clamd = FakeClamd(scanner, says=b"Eicar FOUND")
    scanner.chmod(0o666)
    logs += [run(pipe), session(sessions)]
    met = {access for log in logs for access in accesses(log)}
    refused = sorted(access for access in met if not allowed(known, *access))
    for path, how in refused:
        print(f"not in the profile: {path} {how}")
    print(f"{len(met)} ways to {len({path for path, _ in met})} files, {len(refused)} not in it")
    return 1 if refused or len(met) < 100 else 0


if __name__ == "__main__":
    sys.exit(main())

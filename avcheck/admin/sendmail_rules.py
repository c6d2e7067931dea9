"""The rules of a sendmail's configuration, by which it decides where mail goes.

They are read in the file: an address that is tried (/parse) says of no other where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

# Where m4 puts LOCAL_RULE_0, by number and by name.
LOCAL = ("98", "ParseLocal")

RULESET = re.compile(r"S(\w*)(?:\s*=\s*(\d+))?")
RESOLVED = re.compile(r"\$#\s*(\S+)")
CALLED = re.compile(r"\$>\s*(\w+)")

# What matches every address that has a domain, and what matches every other, too.
WITH_DOMAIN = frozenset(f"{one}<@{two}>{rest}" for one in ("$*", "$+") for two in ("$*", "$+")
                        for rest in ("", "$*"))  # fmt: skip
ANY = frozenset({"$*", "$+"})

# A mailer that refuses the address.
REFUSES = ("error", "*error*")


@dataclass(frozen=True)
class Rule:
    """Two sides of a rule."""

    left: str
    right: str


def rules(configuration: str) -> dict[str, list[Rule]]:
    """The rules of each ruleset, by its name, and by its number where it has one."""
    found: dict[str, list[Rule]] = {}
    current: list[Rule] = []
    for line in configuration.splitlines():
        if line[:1] == "S" and (match := RULESET.match(line)):
            current = found.setdefault(match[1], [])
            if match[2]:
                current = found.setdefault(match[2], current)
                found[match[1]] = current
        elif line[:1] == "R":
            sides = [each for each in line[1:].split("\t") if each.strip()]
            current.append(Rule(sides[0].strip() if sides else "", "".join(sides[1:2]).strip()))
    return found


def before(all_: Mapping[str, list[Rule]], names: Collection[str]) -> Iterator[tuple[Rule, str]]:
    """The rules of LOCAL_RULE_0 before those that send all mail to one of the mailers.

    With the mailer that each sends some mail to.
    """
    mine = next((all_[name] for name in LOCAL if name in all_), [])
    with_domain = False
    for rule in mine:
        to = RESOLVED.search(rule.right)
        if to is None or to[1] not in names:
            if not (with_domain and "@" in rule.left):
                yield from ((rule, name) for name in _others(all_, rule, names))
            continue
        left = re.sub(r"\s", "", rule.left)
        if left in ANY:
            return
        with_domain |= left in WITH_DOMAIN


def _others(all_: Mapping[str, list[Rule]], rule: Rule, names: Collection[str]) -> Iterator[str]:
    """The other mailers that the rule, or what it calls, sends mail to."""
    seen: set[str] = set()
    todo = [rule]
    while todo:
        right = todo.pop().right
        for name in RESOLVED.findall(right):
            if name not in (*names, *REFUSES):
                yield name
        for called in set(CALLED.findall(right)) - seen:
            seen.add(called)
            todo += all_.get(called, [])

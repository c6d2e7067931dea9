"""Whether a condition of Exim's is certain to hold for mail that came in at a port.

It is read, not asked of Exim: `exim -bt` has no message, so that nothing about one (its size,
a header, a variable of an ACL) is as it will be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from avcheck.admin.exim_options import listed

# What Exim takes for no, in any case; everything else is yes.
NO = ("", "0", "no", "false")

# The conditions that compare two strings, and those with as many arguments of which nothing is
# known here; and with one.
EQUAL = ("eq", "eqi", "=", "==")
TWO = (
    "!=", ">", ">=", "<", "<=", "ge", "gei", "gt", "gti", "le", "lei", "lt", "lti", "crypteq",
    "match_address", "match_domain", "match_ip", "match_local_part", "forall", "forany",
)  # fmt: skip
ONE = ("exists", "isip", "isip4", "isip6", "ldapauth", "pam", "pwcheck", "radius", "acl")
NONE = ("first_delivery", "queue_running")

# What Exim calls how a message came in; nobody but a program of this host says anything else.
PROTOCOL = re.compile(r"(?:utf8)?(?:local(?:-b?e?smtp)?|a?e?smtps?a?)")

WORD = re.compile(r"\s*(!?)\s*(def:[\w-]+:?|[=<>!]=?|\w+)?\s*")
VARIABLE = re.compile(r"\$\{?(?:received_port|interface_port)\}?")
CAME_BY = re.compile(r"\$\{?received_protocol\}?")


class UnreadableError(Exception):
    """It cannot be read any further."""


def certain(text: str, port: str) -> bool | None:
    """Whether the option is a yes for all mail from that port; None if that cannot be told."""
    text = text.strip()
    if not text.startswith("${if"):
        return text.lower() not in NO if "$" not in text else None
    try:
        inside, after = _braced(text.removeprefix("$"))
        holds, rest = _condition(inside.removeprefix("if"), port)
        yes, no = _branches(rest, port)
    except UnreadableError:
        return None
    if after.strip():
        return None
    if holds is None:
        return yes if yes == no else None
    return yes if holds else no


def _branches(rest: str, port: str) -> tuple[bool | None, bool | None]:
    """What it is where the condition holds, and where not."""
    found: list[bool | None] = []
    while rest := rest.strip():
        if rest == "fail":  # then the router is not run
            found.append(False)
            break
        branch, rest = _braced(rest)
        found.append(certain(branch, port))
    yes = found[0] if found else True
    return yes, found[1] if len(found) > 1 else False


def _condition(text: str, port: str) -> tuple[bool | None, str]:
    """Whether the condition at the beginning holds, and what comes after it; or UnreadableError."""
    word = WORD.match(text)
    name = word[2] if word and word[2] else ""
    rest = text[word.end() :] if word else text
    if name in ("and", "or"):
        inner, rest = _braced(rest)
        holds = _combined(name, [_condition(each, port)[0] for each in _all_braced(inner)])
    elif name in ("bool", "bool_lax"):
        inner, rest = _braced(rest)
        holds = certain(inner, port)
    elif name in (*EQUAL, "match", "inlist", "inlisti", *TWO):
        one, rest = _braced(rest.lstrip())
        two, rest = _braced(rest.lstrip())
        holds = _compared(name, one, two, port)
    elif name in ONE:
        _, rest = _braced(rest)
        holds = None
    elif name.startswith("def:") or name in NONE:
        holds = None
    else:
        raise UnreadableError
    return (not holds if word and word[1] and holds is not None else holds), rest


def _combined(name: str, parts: list[bool | None]) -> bool | None:
    """A yes or a no that one of the parts decides; else what all of them say."""
    deciding = name == "or"
    if deciding in parts:
        return deciding
    return None if None in parts else not deciding


def _compared(name: str, one: str, two: str, port: str) -> bool | None:
    one, two = (VARIABLE.sub(port, each.strip()) for each in (one, two))
    if name in EQUAL and CAME_BY.fullmatch(one):
        return None if "$" in two or PROTOCOL.fullmatch(two) else False
    if name == "match":
        return _matches(one, two)
    if name in TWO or "$" in one + two:
        return None
    if name in EQUAL:
        return one.lower() == two.lower()
    return one in listed(two)


def _matches(text: str, pattern: str) -> bool | None:
    """Whether it does. A pattern is expanded first, so its own $ is \\$, or between two \\N."""
    plain = re.fullmatch(r"\\N(.*)\\N", pattern)
    if "$" in text or not (plain or re.fullmatch(r"(?:[^\\$]|\\[^\w\\])*", pattern)):
        return None
    try:
        return re.search(plain[1] if plain else pattern.replace("\\$", "$"), text) is not None
    except re.error:
        return None


def _all_braced(text: str) -> Iterator[str]:
    while text := text.strip():
        one, text = _braced(text)
        yield one


def _braced(text: str) -> tuple[str, str]:
    """What is between the brace at the beginning and its other one, and what is after that."""
    text = text.lstrip()
    depth = 0
    for found in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth and found[0] == "}" and text[:1] == "{":
            return text[1 : found.start()], text[found.end() :]
    raise UnreadableError

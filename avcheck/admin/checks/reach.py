"""Checks of what the account can reach: the files that its options name."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck.admin.account import name
from avcheck.admin.calls import Call
from avcheck.admin.checks.spool import group_name
from avcheck.admin.look import ERROR, OK, WARNING, Look, Result
from avcheck.options import rows
from avcheck.printable import printable

# Settings that are files to read, by attribute.
READ = ("config", "scanner_ca", "scanner_cert", "scanner_key", "tls_ca")

# What stands for a file of the system's in some of them.
WORDS = (b"", b"system", b"none")


def files_readable(look: Look) -> Iterator[Result]:
    """The account can read each file that an option names."""
    for option in rows.OPTIONS:
        if option.attribute not in READ:
            continue
        path = _given(look, option.attribute)
        if path in WORDS:
            continue
        place = printable(path)
        try:
            with look.acting():
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as why:
            user, group = look.accounts()
            text = f"--{option.name} {place}: {why.strerror} for {name(user)}, and all mail waits"
            remedy = f"namei -l {place}"
            if isinstance(why, PermissionError) and group and os.path.isfile(path):
                remedy = f"chgrp {group_name(group)} {place} && chmod g+r {place}"
            yield Result(ERROR, text, remedy)
        else:
            yield Result(OK, f"{place} can be read")


def _given(look: Look, attribute: str) -> bytes:
    """The file of an option; that of --config is not among the settings."""
    call = look.service.call
    if attribute != "config" or call is None:
        return getattr(look.settings, attribute, b"") or b""
    return config(call)


def config(call: Call) -> bytes:
    """The file of --config, empty if there is none."""
    words = call.arguments
    for number, word in enumerate(words):
        if word.startswith("--config="):
            return os.fsencode(word.partition("=")[2])
        if word == "--config" and number + 1 < len(words):
            return os.fsencode(words[number + 1])
    return b""


def metrics_written(look: Look) -> Iterator[Result]:
    """The account can replace the file of --metrics, or nothing is counted."""
    path = look.settings.metrics
    if not path:
        return
    place, above = printable(path), os.path.dirname(path) or b"."
    with look.acting():
        writable = os.access(above, os.W_OK | os.X_OK, effective_ids=True)
        lock = path + b".lock"
        locked = os.path.lexists(lock) and not os.access(lock, os.W_OK, effective_ids=True)
    if writable and not locked and path.startswith(b"/"):
        yield Result(OK, f"--metrics {place} can be written")
    else:
        where = printable(look.settings.spool.rstrip(b"/"))
        text = f"--metrics {place}: the account cannot write there, and nothing is counted"
        yield Result(WARNING, text, f"--metrics {where}/metrics.prom")

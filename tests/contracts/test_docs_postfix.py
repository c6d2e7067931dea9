"""docs/postfix.md, the ways by SMTP: limits that have to be in an order are."""

from __future__ import annotations

import re

import pytest

from avcheck import run
from avcheck.admin import guide, pages
from avcheck.options import reading, rows
from avcheck.smtpd import hop, session
from tests.support.tree import ROOT

PAGE = (ROOT / "docs" / "postfix.md").read_text("utf-8")
BLOCKS = pages.blocks(PAGE)

# Of Postfix (postconf -d): how long smtp(8) waits for the reply to a message, and how long a
# command of spawn(8) may take for a whole connection.
DATA_DONE = 600
COMMAND = 1000

# What clamd scans at a time unless it is told otherwise.
MAX_THREADS = 10


def number(pattern: str, block: str) -> int:
    (found,) = re.findall(pattern, BLOCKS[block], re.MULTILINE)
    return int(found)


def test_after_the_queue_each_time_limit_is_shorter_than_the_next() -> None:
    deadline = number(r"^deadline (\d+)$", "smtp.conf")
    listener = number(r"smtpd_timeout=(\d+)s$", "master-smtp")
    assert deadline < listener < DATA_DONE
    words = [b"-s", b"clamd", b"-d", b"/x"]
    settings = reading.read(words, lambda path: b"", rows.Command(rows.SMTP))
    assert settings.deadline == deadline
    # What a session that has come to its end may take beyond that.
    envelope, reset = session.TRANSACTION_MAX, hop.RESET_MAX
    assert settings.session + envelope + deadline + run.GRACE + reset < COMMAND
    assert f"{settings.session:g} + {envelope + reset:g} + {deadline} s" in PAGE


def test_the_manual_page_has_them_too() -> None:
    page = (ROOT / "man" / "avcheck-smtp.8").read_text()
    example = page.partition(".Sh EXAMPLES")[2].partition(".Ed")[0]
    assert "avcheck-smtp" in example
    assert "--deadline" not in example  # the default suits the smtpd(8) that setup prints
    assert "--session" not in example


def test_before_the_queue_each_time_limit_is_shorter_than_the_next() -> None:
    deadline = number(r"^deadline (\d+)$", "before.conf")
    proxy = number(r"smtpd_proxy_timeout=(\d+)s$", "master-door")
    listener = number(r"smtpd_timeout=(\d+)s$", "master-before")
    assert deadline < proxy < listener < COMMAND


@pytest.mark.parametrize("block", ["master-smtp", "master-before"])
def test_no_more_is_scanned_at_a_time_than_clamd_can(block: str) -> None:
    scans = number(r"(\d+) +spawn$", block)
    assert scans <= MAX_THREADS
    assert scans < number(r"(\d+) +smtpd$", block)


def test_the_unit_has_as_many_as_spawn() -> None:
    unit = (ROOT / "contrib" / "systemd" / "avcheck-smtp.service").read_text()
    assert f"--processes {number(r'([0-9]+) +spawn$', 'master-smtp')}\n" in unit


def test_the_listeners_differ_in_what_the_first_smtpd_has_not_done() -> None:
    after, before = (
        BLOCKS[each].partition("127.0.0.1:10026 inet")[2]
        for each in ("master-smtp", "master-before")
    )
    differing = set(after.splitlines()) ^ set(before.splitlines())
    assert all(
        line.startswith(("    -o receive_override_options=", "    -o smtpd_proxy_filter="))
        for line in differing
    )


def test_the_table_that_helps_to_choose_names_every_way() -> None:
    for way in (guide.PIPE, *guide.WAYS):
        assert f"`--way {way}`" in PAGE

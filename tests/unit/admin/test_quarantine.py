"""avcheckctl quarantine list, show, delete and expire."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avcheck.admin import account, listing, output, quarantine_records
from avcheck.admin.commands.quarantine_change import chosen
from tests.support.kept import MAIL, RECIPIENTS, SCRIPT, SENDER, ctl, keep, log


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "quarantine"


# list and show.


def test_an_entry_of_avcheck_is_listed(place: Path) -> None:
    name = keep(place)
    said = ctl(place, "list")
    header, row = said.out.splitlines()
    assert header.split() == list(listing.HEADER)
    for word in (
        name,
        "infected",
        "Eicar",
        f"<{SENDER}>",
        "<bert@example.net> and 1 more",
        "hello",
    ):
        assert word in row
    (facts,) = ctl(place, "list", "--json").facts
    assert facts["recipients"] == RECIPIENTS
    assert facts["queue_id"].startswith("4QUEUE")
    assert facts["size"] == len(MAIL)


def test_an_entry_of_the_handler_is_listed(place: Path, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(MAIL)
    subprocess.run(
        ["sh", SCRIPT, message, "stream: Eicar FOUND", "b\xe4d@x", *RECIPIENTS],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "AVCHECK_VERDICT": "infected", "AVCHECK_VIRUS": "Eicar"},
        capture_output=True,
        check=True,
    )
    (facts,) = ctl(place, "list", "--json").facts
    assert (facts["verdict"], facts["virus"]) == ("infected", "Eicar")
    assert facts["recipients"] == RECIPIENTS
    assert facts["error"] == ""


def test_the_list_can_be_narrowed(place: Path) -> None:
    first = keep(place)
    second = keep(place, sender="zoe@example.org")

    def names(*words: str) -> list[str]:
        return [each["entry"] for each in ctl(place, "list", "--json", *words).facts]

    assert sorted(names()) == sorted([first, second])
    assert names("--match", "ZOE@") == [second]
    assert names("--verdict", "clean") == []
    assert len(names("--since", "1h")) == 2
    os.rename(place / first, place / "20000101T000000Z-000000000000")
    about = place / "20000101T000000Z-000000000000" / "about.json"
    about.write_text(about.read_text().replace('"time": "2', '"time": "1'))
    assert names("--since", "1h") == [second]


def test_an_entry_whose_sidecar_is_broken_is_listed_all_the_same(place: Path) -> None:
    for content in ("{", "[]", "null", '{"time": "x"}', '{"time": 7, "recipients": []}'):
        name = keep(place)
        (place / name / "about.json").write_text(content)
    (place / "empty").mkdir()
    (place / "file").touch()
    said = ctl(place, "list")
    assert said.status == 0
    assert said.out.count("about.json: ") == 5
    assert ctl(place, "show", name).status == 0


def test_show_prints_nothing_that_moves_a_terminal(place: Path) -> None:
    name = keep(place, sender="\x1b[31m@x", recipients=["ÿ\x7f@y"])
    said = ctl(place, "show", name, "--body")
    assert said.status == 0
    assert said.out.isascii()
    assert all(letter.isprintable() or letter == "\n" for letter in said.out)
    for text in ("  | Subject: hello", "  |     folded", "X-Odd: ?[2J", "  | ..dots", "infected"):
        assert text in said.out
    assert "..dots" not in ctl(place, "show", name).out
    assert ctl(place, "show", name, "--json").facts["entry"] == name


def test_show_stops_after_some_lines(place: Path) -> None:
    name = keep(place, b"X: y\n" * 500)
    assert ctl(place, "show", name).out.endswith("  | ...\n")


def test_the_message_itself_goes_to_a_file_only(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = keep(place)
    assert ctl(place, "show", name, "--raw").out.encode() == MAIL
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is sys.stdout)
    said = ctl(place, "show", name, "--raw")
    assert said.status == 2
    assert "> FILE" in said.err


def test_a_beginning_of_a_name_will_do_if_it_is_the_only_one(place: Path) -> None:
    name = keep(place)
    keep(place)
    assert ctl(place, "show", name[:-1]).status == 0
    assert "2 entries begin so" in ctl(place, "show", "2").err
    for none in ("", "x", "../x", ".new"):
        said = ctl(place, "show", none)
        assert said.status == 2
        assert "no such entry" in said.err


def test_a_directory_that_is_not_safe_is_not_used(place: Path) -> None:
    place.mkdir()
    place.chmod(0o755)
    said = ctl(place, "list")
    assert said.status == 2
    assert "chmod g-w,o=" in said.err


# delete and expire.


def test_delete_asks_or_is_told_not_to(place: Path) -> None:
    name = keep(place)
    said = ctl(place, "delete", name)
    assert said.status == 2
    assert "--yes" in said.err
    assert (place / name).exists()
    assert ctl(place, "delete", name, "--yes").status == 0
    assert not (place / name).exists()
    assert list((place / ".new").iterdir()) == []
    assert log(place)[-1]["what"] == "deleted"
    assert "no such entry" in ctl(place, "delete", name, "--yes").err


def test_the_log_shows_who_did_what(place: Path) -> None:
    name = keep(place)
    ctl(place, "delete", name, "--yes")
    said = ctl(place, "log")
    assert name in said.out
    assert account.who() in said.out
    assert ctl(place, "log", "--json").facts[0]["what"] == "deleted"


def test_a_log_with_nonsense_in_it_is_read(place: Path) -> None:
    keep(place)
    (place / ".log").write_bytes(b'{"x": 1}\n\xff\n[]\n{"time": "t"}\n7\n')
    assert ctl(place, "log", "--json").facts == []
    assert ctl(place, "list").status == 0


def test_expire_by_age_and_by_size(place: Path) -> None:
    name = keep(place)
    assert ctl(place, "expire").status == 2
    assert "0 entries" in ctl(place, "expire", "--older", "1h").err
    said = ctl(place, "expire", "--keep", "10", "--dry-run")
    assert f"{name} would be expired" in said.out
    assert (place / name).exists()
    assert ctl(place, "expire", "--keep", "10").status == 0
    assert not (place / name).exists()
    assert log(place)[-1]["what"] == "expired"


def test_the_oldest_are_chosen() -> None:
    now = datetime.now(UTC)
    found = [
        quarantine_records.Entry(str(days), now - timedelta(days=days), 100) for days in (9, 5, 1)
    ]

    def names(older: float | None, keep: int | None) -> list[str]:
        return [each.name for each in chosen(found, older, keep)]

    assert names(7 * 86400, None) == ["9"]
    assert names(None, 250) == ["9"]
    assert names(None, 100) == ["9", "5"]
    assert names(2 * 86400, 300) == ["9", "5"]
    assert names(None, 0) == ["9", "5", "1"]
    assert names(99 * 86400, 300) == []


def test_what_cannot_be_removed_is_said(place: Path) -> None:
    name = keep(place)
    (place / name / "directory").mkdir()
    said = ctl(place, "delete", name, "--yes")
    assert said.status == 2
    assert "cannot be removed" in said.err

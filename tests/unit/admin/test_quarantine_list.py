"""avcheckctl quarantine: what a person finds an entry by, and how it looks on a terminal."""

from __future__ import annotations

import base64
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from avcheck.admin import listing, output, recipient, subject
from avcheck.admin.commands import release
from avcheck.verdict import VERDICTS
from tests.support.admin import ENTRY, Said, ctl, entry
from tests.support.program import Program

OTHER = "20260102T030406Z-0123456789ab"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "quarantine"


def names(said: Said) -> list[str]:
    return [each["entry"] for each in said.facts]


# Before the first entry.


@pytest.mark.parametrize("words", [["list"], ["log"], ["expire", "--older", "1d"]])
def test_before_the_first_entry_there_is_none_and_nothing_is_wrong(
    place: Path, words: list[str]
) -> None:
    said = ctl(place, *words)
    assert (said.status, said.out) == (0, "")
    assert f"quarantine {place}: not there; it is made with the first entry" in said.err
    assert ctl(place, *words, "--json").facts == []


@pytest.mark.parametrize("words", [["show"], ["delete", "--yes"], ["release", "-S", ":9"]])
def test_before_the_first_entry_none_can_be_named(place: Path, words: list[str]) -> None:
    said = ctl(place, *words, ENTRY)
    assert said.status == 2
    assert "not there" in said.err
    assert "--directory DIR" in said.err


# Verdicts and queue IDs.


def test_a_verdict_that_is_none_is_wrong_usage_that_names_them(place: Path) -> None:
    entry(place)
    said = ctl(place, "list", "--verdict", "infectious")
    assert said.status == 2
    for each in VERDICTS:
        assert each.name in said.err
    assert names(ctl(place, "list", "--json", "--verdict", "INFECTED")) == [ENTRY]


def test_an_entry_is_found_by_its_queue_id(place: Path, tmp_path: Path) -> None:
    entry(place, queue_id="4Q1")
    entry(place, OTHER, queue_id="4Q2")
    assert names(ctl(place, "list", "--json", "--queue-id", "4Q2")) == [OTHER]
    assert names(ctl(place, "list", "--json", "--queue-id", "4Q")) == []
    assert ctl(place, "show", "4Q2", "--json").facts["entry"] == OTHER
    program = Program(tmp_path / "sendmail")
    assert OTHER in ctl(place, "release", "4Q2", "-S", program.path).out
    assert ctl(place, "delete", "--yes", "4Q2").status == 0
    assert names(ctl(place, "list", "--json")) == [ENTRY]
    assert "nor such a queue ID" in ctl(place, "show", "4Q2").err


def test_a_queue_id_of_two_entries_names_none(place: Path) -> None:
    entry(place, queue_id="4Q1")
    entry(place, OTHER, queue_id="4Q1")
    said = ctl(place, "delete", "--yes", "4Q1")
    assert said.status == 2
    assert f"{ENTRY}, {OTHER}" in said.err
    assert len(names(ctl(place, "list", "--json"))) == 2


def test_the_beginning_of_a_name_is_no_queue_id(place: Path) -> None:
    """An entry that says its queue ID is another's name gets nobody's delete."""
    entry(place)
    entry(place, OTHER, queue_id=ENTRY[:17])
    assert ctl(place, "show", ENTRY[:17], "--json").facts["entry"] == ENTRY
    assert ctl(place, "show", ENTRY, "--json").facts["entry"] == ENTRY


# The Subject.


def encoded(text: str, charset: str) -> bytes:
    return b"=?%b?B?%b?=" % (charset.encode(), base64.b64encode(text.encode(charset)))


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"Subject: hello\n", "hello"),
        (b"From: a@b\nSUBJECT : hello\r\n there\r\nTo: c\r\n", "hello there"),
        (
            b"Subject: " + encoded("Grüße", "utf-8") + b"\n " + encoded("日本", "iso-2022-jp"),
            "Grüße日本",
        ),
        (b"Subject: =?iso-8859-1?Q?Gr=FC=DFe_x?= y", "Grüße x y"),
        (b"Subject: =?utf-8*de?q?a?=", "a"),
        ("Subject: Grüße".encode(), "Grüße"),
        ("Subject: Grüße".encode("latin-1"), "Grüße"),
        (b"Subject: =?utf-8?B?\xff?=", "=?utf-8?B?\xff?="),
        (b"Subject: =?utf-8?B?Y?=", "=?utf-8?B?Y?="),
        (b"Subject: =?utf-8?B?/w==?=", "\ufffd"),
        (b"Subject: =?unicode_escape?Q?=5Cx1b?=", "=?unicode_escape?Q?=5Cx1b?="),
        (b"Subject: =?punycode?Q?a?=", "=?punycode?Q?a?="),
        (b"X-Subject: no\n\nSubject: in the body\n", ""),
        (b"X-Subject: no\r\n\r\nSubject: in the body\r\n", ""),
        (b"\nSubject: in the body\n", ""),
        (b"", ""),
    ],
)
def test_a_subject_is_decoded(header: bytes, text: str) -> None:
    assert subject.of(header) == text


def test_a_subject_is_decoded_where_python_itself_cannot_be_read() -> None:
    code = (
        "import sys; from avcheck.admin import subject; sys.path.clear(); sys.meta_path.clear();"
        "print(subject.of(b'Subject: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=') == '\u65e5\u672c')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_subject_is_read_up_to_a_limit() -> None:
    assert len(subject.of(b"Subject: " + b"x" * 60_000)) == subject.SUBJECT_MAX
    assert subject.of(b"Subject: " + b"=?utf-8?Q?" * 6000)


def test_a_subject_is_shown_in_ascii_and_given_to_programs_as_it_is(place: Path) -> None:
    made = entry(place)
    (made / "message").write_bytes(
        b"Subject: " + encoded("Grüße \x1b[2J\r\n日", "utf-8") + b"\n\nx"
    )
    for what, *words in (("list",), ("show", ENTRY)):
        assert "Grue ?[2J  ?" in ctl(place, what, *words).out.replace("Gru??e", "Grue").replace(
            "Gru?e", "Grue"
        )
    assert ctl(place, "list", "--json").facts[0]["subject"] == "Grüße \x1b[2J\r\n日"
    assert "\x1b" not in ctl(place, "list", "--json").out
    assert ctl(place, "show", ENTRY, "--json").facts["subject"] == "Grüße \x1b[2J\r\n日"
    assert names(ctl(place, "list", "--json", "--match", "grüSSe".replace("SS", "ß"))) == [ENTRY]


def test_a_message_that_cannot_be_read_has_no_subject(place: Path) -> None:
    made = entry(place)
    (made / "message").unlink()
    os.mkfifo(made / "message")
    assert ctl(place, "list", "--json").facts[0]["subject"] == ""


# How it looks.


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Standard output is a terminal so wide, without colours."""
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is sys.stdout)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "dumb")


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_list_fits_the_terminal(
    place: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    many = [f"{number}{'x' * 50}@example.net" for number in range(3)]
    entry(place, recipients=many, sender="y" * 100, virus="Win." * 30, queue_id="4Q1")
    entry(place, OTHER)
    full = ctl(place, "list").out
    assert max(map(len, full.splitlines())) > 120
    on_a_terminal(monkeypatch, columns)
    said = ctl(place, "list")
    lines = said.out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= columns
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [ENTRY, OTHER]
    text = " ".join(said.out.split())
    for word in ("VERDICT infected", "SUBJECT x", "FROM <yyy", "and 2 more"):
        assert word in text


def test_a_wide_terminal_has_a_line_for_each(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(place)
    entry(place, OTHER)
    plain = ctl(place, "list").out
    on_a_terminal(monkeypatch, 200)
    assert ctl(place, "list").out == plain
    assert plain.splitlines()[0].split() == list(listing.HEADER)


def test_the_log_fits_the_terminal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(place)
    ctl(place, "delete", "--yes", ENTRY)
    on_a_terminal(monkeypatch, 60)
    said = ctl(place, "log")
    assert max(len(line.rstrip()) for line in said.out.splitlines()) <= 60
    assert f"ENTRY {ENTRY}" in said.out


@pytest.mark.parametrize(("number", "words"), [(1, "1 entry, "), (2, "2 entries, ")])
def test_one_entry_is_not_entries(place: Path, number: int, words: str) -> None:
    for name in (ENTRY, OTHER)[:number]:
        entry(place, name)
    assert ctl(place, "list").err.startswith(words)


# JSON of what changes something.


def test_what_became_of_each_is_told_to_a_program(place: Path, tmp_path: Path) -> None:
    entry(place)
    program = Program(tmp_path / "sendmail")
    said = ctl(place, "release", "--json", "-S", program.path, ENTRY, "nixda")
    assert said.status == 1
    done, failed = said.facts
    assert (done["entry"], done["error"]) == (ENTRY, "")
    assert done["what"].startswith("released, by ")
    assert done["said"]
    assert (failed["entry"], failed["what"]) == ("nixda", "")
    assert "no such entry" in failed["error"]
    said = ctl(place, "expire", "--json", "--older", "0s", "--dry-run")
    assert said.facts == [{"entry": ENTRY, "what": "would be expired", "said": "", "error": ""}]
    said = ctl(place, "delete", "--json", "--yes", ENTRY)
    assert said.facts == [{"entry": ENTRY, "what": "deleted", "said": "", "error": ""}]


# Addresses of --to.

IMPOSSIBLE = [
    "", "@", "a@", "@b", "a b@c.example", "a\n@c.example", "<a@c.example>", "a@b@c.example",
    "shop@exa_mple..test", "a@.example", "a@example.", "a@-x.example", "a@x-.example",
    "a@ex ample", "a@exa/mple", "a@x.invalid", "a@X.INVALID", "a@[192.0.2.300]", "a@[192.0.2.1",
    "a@[IPv6:::x]", "a@" + "x" * 64 + ".example", "a@" + "x." * 127 + "xx", "x" * 65 + "@b.example",
    '"a@b.example', "a,b@c.example", "\udcff@b.example\x00",
]  # fmt: skip

POSSIBLE = [
    "a@b.example", "root", "a+b@b", '"a b"@c.example', "a@exa_mple.test", "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]", "grüße@münchen.example", "a..b@c.example", "-x@b.example", "\udcff@b.c",
]  # fmt: skip


@pytest.mark.parametrize("address", IMPOSSIBLE)
def test_an_address_that_nobody_can_have_is_wrong_usage(
    place: Path, tmp_path: Path, address: str
) -> None:
    assert recipient.error(address)
    entry(place)
    program = Program(tmp_path / "sendmail")
    said = ctl(place, "release", ENTRY, "-S", program.path, "--to", "a@b.c", "--to", address)
    assert said.status == 2
    assert "is no address" in said.err
    assert program.calls == 0
    assert not (place / ".log").exists()


@pytest.mark.parametrize("address", POSSIBLE)
def test_an_address_that_somebody_can_have_is_the_servers_to_judge(address: str) -> None:
    assert recipient.error(address) == ""


# Completion.


def completed(command: Path, line: str, **environment: str) -> list[str]:
    """What the installed command completes the last word of the line to, with its kind."""
    words = line.split(" ")
    told = {
        "_AVCHECKCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return subprocess.run(
        [command.with_name("avcheckctl")],
        env={**os.environ, **told, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


@pytest.mark.parametrize("what", ["show", "release", "delete"])
def test_entries_complete(place: Path, command: Path, what: str) -> None:
    entry(place)
    entry(place, OTHER)
    line = f"avcheckctl quarantine {what} --directory {place}"
    assert completed(command, f"{line} 2026") == [f"plain,{ENTRY}", f"plain,{OTHER}"]
    assert completed(command, f"{line} {OTHER[:15]}") == [f"plain,{OTHER}"]
    line = f"avcheckctl quarantine {what} 2026"
    found = completed(command, line, AVCHECK_QUARANTINE=str(place))
    assert found == [f"plain,{ENTRY}", f"plain,{OTHER}"]
    assert completed(command, line, AVCHECK_QUARANTINE=f"{place}/no") == [""]


def test_verdicts_files_and_directories_complete(command: Path) -> None:
    line = "avcheckctl quarantine list --verdict"
    assert completed(command, f"{line} in") == ["plain,infected"]
    assert len(completed(command, f"{line} ")) == len(VERDICTS)
    assert completed(command, "avcheckctl quarantine list --directory /v") == ["dir,/v"]
    for option in ("--clamd-conf", "--config"):
        assert completed(command, f"avcheckctl probe {option} /e") == ["file,/e"]
    assert completed(command, "avcheckctl status --waitfile /v") == ["file,/v"]
    assert completed(command, "avcheckctl status -d /v") == ["dir,/v"]
    assert completed(command, "avcheckctl ping --tls m") == ["plain,may"]


def test_json_has_one_key_for_an_entry(place: Path) -> None:
    entry(place)
    ctl(place, "delete", "--yes", ENTRY)
    entry(place)
    for what in ("list", "log"):
        for each in ctl(place, what, "--json").facts:
            assert each["entry"] == ENTRY
            assert "name" not in each
    assert json.loads((place / ".log").read_text())["entry"] == ENTRY


def test_what_the_next_hop_said_stands_alone(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released by the guard, whose own words and avcheck's are no news."""
    entry(place)
    said = "/usr/local/libexec/avcheck-guard injected: 127.0.0.1:10026 250 2.0.0 Ok: queued as 4Q"
    monkeypatch.setattr(release, "release", lambda quarantine, entry, order: said)
    shown = ctl(place, "release", "2", "-S", "/bin/x")
    who = pwd.getpwuid(os.geteuid()).pw_name
    assert shown.out == f"{ENTRY} released, by {who}: 127.0.0.1:10026 250 2.0.0 Ok: queued as 4Q\n"


def test_an_entry_that_was_taken_for_a_directory_is_told(place: Path) -> None:
    said = ctl(place, "release", "--postfix", ENTRY)
    assert said.status == 2
    assert f"{ENTRY} was taken for the directory of --postfix" in said.err
    assert "write --postfix= before it" in said.err
    said = ctl(place, "delete")
    assert said.status == 2
    assert "Missing argument 'ENTRY...'" in said.err


def test_without_a_terminal_nobody_is_asked(place: Path) -> None:
    entry(place)
    said = ctl(place, "delete", ENTRY)
    assert said.status == 2
    assert "no terminal to ask at" in said.err
    assert "--yes" in said.err

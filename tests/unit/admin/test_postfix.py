"""What postconf(1) says of a Postfix: its services, and those that run avcheck."""

from __future__ import annotations

from pathlib import Path

import pytest

from avcheck.address import Address
from avcheck.admin import master_cf, postfix
from avcheck.admin.master_cf import Pipe
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import Postfix
from tests.support.admin import postfix_says

PIPE = "a unix - n n - 10 pipe\n"


def said(directory: Path, master: str, **main: str) -> Postfix:
    return postfix.read(str(postfix_says(directory / "config", master, main)))


def only(instance: Postfix) -> Pipe:
    (pipe,) = instance.pipes
    return pipe


def test_a_pipe_is_taken_apart(tmp_path: Path) -> None:
    instance = said(
        tmp_path,
        PIPE + " -o { syslog_name = a, b } -o soft_bounce=$z\n"
        " user=u argv=/b/avcheck -h {a b} -- ${recipient}\n",
        z="yes",
    )
    pipe = only(instance)
    assert pipe.line.overrides == {"syslog_name": "a, b", "soft_bounce": "yes"}
    assert (pipe.user, pipe.group) == ("u", "")
    assert pipe.attributes == {"user": "u"}
    assert pipe.argv == ("/b/avcheck", "-h", "a b", "--", "${recipient}")
    assert pipe.expanded()[-1] == "recipient@example.org"
    assert instance.value("soft_bounce", pipe.line) == "yes"
    assert instance.value("soft_bounce") == "no"


@pytest.mark.parametrize("rest", ["argv=/bin/true", "user=x", "argv=", "argv= /bin/false"])
def test_other_pipes_are_not_ours(tmp_path: Path, rest: str) -> None:
    assert said(tmp_path, f"{PIPE} {rest}\n").pipes == ()


def test_an_argv_may_begin_with_a_blank(tmp_path: Path) -> None:
    assert only(said(tmp_path, f"{PIPE} user=x argv= /b/avcheck x\n")).argv == ("/b/avcheck", "x")


def test_what_refers_to_others_is_filled_in(tmp_path: Path) -> None:
    instance = said(tmp_path, "smtp inet n - n - - smtpd\n", message_size_limit="$size", size="7")
    assert instance.number("message_size_limit") == 7
    assert instance.number("mail_owner", default=9) == 9


def test_a_service_that_is_there_twice_is_here_twice(tmp_path: Path) -> None:
    lines = said(tmp_path, "smtp inet n - n - 5 smtpd\n" * 2).lines
    assert [line.limit for line in lines] == ["5", "5"]


@pytest.mark.parametrize("name", ["smtp", "25", "127.0.0.1:25", "[::1]:smtp"])
def test_a_port_has_a_name_and_a_number(tmp_path: Path, name: str) -> None:
    instance = said(tmp_path, f"{name} inet n - n - - smtpd\nsmtp unix - - n - - smtp\n")
    host = b"::1" if "::1" in name else b"127.0.0.1"
    for port in (b"25", b"smtp"):
        line = instance.listener(Address(host=host, port=port))
        assert line is not None
        assert line.name == name
    assert instance.listener(Address(host=host, port=b"10026")) is None
    assert [line.port for line in instance.lines] == ["25", ""]


@pytest.mark.parametrize(
    ("names", "host", "found"),
    [
        (["127.0.0.1:26", "127.0.0.2:26"], b"127.0.0.2", "127.0.0.2:26"),
        (["127.0.0.2:26", "26"], b"127.0.0.1", "26"),
        (["26", "127.0.0.1:26"], b"127.0.0.1", "127.0.0.1:26"),
        (["localhost:26"], b"127.0.0.1", "localhost:26"),
        (["[::1]:26"], b"localhost", "[::1]:26"),
        (["0.0.0.0:26"], b"127.0.0.1", "0.0.0.0:26"),
        (["127.0.0.2:26"], b"127.0.0.1", None),
        (["[::1]:26"], b"127.0.0.1", None),
        (["26"], b"192.0.2.7", None),  # another host's
        (["127.0.0.1:26"], b"192.0.2.7", None),
    ],
)
def test_a_service_is_found_by_host_and_port(
    tmp_path: Path, names: list[str], host: bytes, found: str | None
) -> None:
    instance = said(tmp_path, "".join(f"{name} inet n - n - - smtpd\n" for name in names))
    line = instance.listener(Address(host=host, port=b"26"))
    assert (line and line.name) == found


def test_a_path_is_no_service(tmp_path: Path) -> None:
    instance = said(tmp_path, "26 inet n - n - - smtpd\n")
    assert instance.listener(Address(path=b"/26")) is None


def test_how_many_processes_a_service_has(tmp_path: Path) -> None:
    instance = said(
        tmp_path,
        "".join(f"{name} unix - - n - {limit} x\n" for name, limit in (("a", "-"), ("b", "0"))),
        default_process_limit="7",
    )
    assert [instance.processes(line) for line in instance.lines] == [7, 0]


def test_an_empty_master_cf_has_no_services() -> None:
    assert master_cf.services("", "") == ()


def test_what_postconf_has_to_say_is_told(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="bad field count"):
        said(tmp_path, "a unix -\n")


@pytest.mark.parametrize(
    ("script", "reason"),
    [("sleep 60 & exec sleep 60", "no end within 0.5 s"), ("exec yes", "wrote more than 9 bytes")],
)
def test_a_postconf_without_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    (tmp_path / "postconf").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "postconf").chmod(0o755)
    monkeypatch.setattr(postfix, "PLACES", str(tmp_path))
    monkeypatch.setattr(postfix, "PATIENCE", 0.5)
    monkeypatch.setattr(postfix, "OUTPUT_MAX", 9)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(Trouble, match=reason):
        postfix.ask("", "-F")


def test_a_postconf_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postfix, "PLACES", "/nowhere")
    with pytest.raises(Trouble, match="is Postfix installed here") as why:
        postfix.read()
    assert "give avcheck's options" in why.value.remedy

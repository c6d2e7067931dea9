"""An SMTP server takes it: the yes to the final dot is the only success, and nothing unsays it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from avcheck import unix
from avcheck.conn import Conn
from avcheck.deliver import smtp
from avcheck.deliver.smtp_replies import Parting
from avcheck.exits import REJECT, Defer, Leave, Refused
from avcheck.incoming import Incoming
from avcheck.run import Run
from tests.support.fakes import HANG_UP, FakeSmtp
from tests.support.wire import MESSAGE, PATIENCE, given, new_run, settings, spooled

Servers = Callable[..., FakeSmtp]

SENT = b"Subject: a letter\r\n\r\nHello.\r\n.\r\nBye.\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Servers]:
    """Makes one mail server, which is stopped in the end."""
    with contextlib.ExitStack() as stack:

        def make(**how: object) -> FakeSmtp:
            fake = FakeSmtp(tmp_path / "smtp", **how)  # type: ignore[arg-type]
            stack.callback(fake.stop)
            return fake

        yield make


def send(
    server: FakeSmtp,
    directory: Path,
    *words: bytes,
    content: bytes = MESSAGE,
    header: bytes = b"",
    seconds: float = PATIENCE,
    run: Run | None = None,
) -> str:
    (directory / "spool").mkdir(mode=0o700, exist_ok=True)
    how = settings(b"-S", b"unix:" + server.where.encode(), *words)
    with spooled(directory / "spool", content) as message:
        return smtp.send(message, header, how, run or new_run(seconds=seconds))


def test_the_server_takes_it_and_is_quoted(server: Servers, tmp_path: Path) -> None:
    fake, run = server(), new_run()
    assert send(fake, tmp_path, run=run) == f"{tmp_path}/smtp 250 2.0.0 taken"
    (letter,) = fake.messages
    assert letter.recipients == (b"r@example.org",)
    assert letter.data == SENT
    assert run.committed
    assert run.handed_over == 0


def test_the_header_is_sent_first_and_counted(server: Servers, tmp_path: Path) -> None:
    fake = server()
    send(fake, tmp_path, header=b"X-AV-Checked: now")
    assert fake.messages[0].data == b"X-AV-Checked: now\r\n" + SENT
    (mail,) = [command for command in fake.commands if command.startswith(b"MAIL")]
    assert b" SIZE=%d" % len(fake.messages[0].data) in mail


def test_the_original_s_envelope_is_passed_on(server: Servers, tmp_path: Path) -> None:
    fake = server(offers=(b"DSN", b"XFORWARD NAME"))
    words = [b"--xforward=NAME=client", b"--envid=QQ1", b"--ret=hdrs", b"--notify=never"]
    send(fake, tmp_path, *words, b"--orcpt=o@example.org")
    assert fake.commands[1:4] == [
        b"XFORWARD NAME=client",
        b"MAIL FROM:<sender@example.org> RET=HDRS ENVID=QQ1",
        b"RCPT TO:<r@example.org> NOTIFY=NEVER ORCPT=rfc822;o@example.org",
    ]


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("mx.example", b"mx.example"),
        ("mx-1", b"mx-1"),
        ("my_host", b"localhost"),
        ("a b\r\nDATA", b"localhost"),
        ("", b"localhost"),
        ("\u0430\u0431", b"localhost"),
    ],
)
def test_we_say_our_name_if_it_is_one(
    server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str, name: bytes
) -> None:
    monkeypatch.setattr(unix, "uname", lambda: SimpleNamespace(nodename=node))
    fake = server()
    send(fake, tmp_path)
    assert fake.commands[0] == b"EHLO " + name


@pytest.mark.parametrize(
    ("step", "answer", "code"),
    [
        ("greeting", b"554 5.7.1 no\r\n", "4.7.1"),
        ("EHLO", b"421 4.3.2 closing\r\n", "4.3.2"),
        ("RCPT 1", b"450 4.2.0 later\r\n", "4.2.0"),
        ("dot", b"451 4.3.0 later\r\n", "4.3.0"),
        ("dot", b"421 4.3.2 closing\r\n", "4.3.2"),
    ],
)
def test_a_no_is_passed_on_and_is_no_doubt(
    server: Servers, tmp_path: Path, step: str, answer: bytes, code: str
) -> None:
    with pytest.raises(Defer) as why:
        send(server(answers={step: answer}), tmp_path)
    assert why.value.code == code
    assert answer.decode().strip() in why.value.text
    assert "duplicate" not in why.value.text
    assert why.value.text.startswith(f"{tmp_path}/smtp: ")


@pytest.mark.parametrize("answer", [HANG_UP, b"what?\r\n", b"250"])
def test_no_understandable_answer_to_the_dot_is_a_doubt(
    server: Servers, tmp_path: Path, answer: bytes
) -> None:
    with pytest.raises(Defer, match="possible duplicate: after the final dot"):
        send(server(answers={"dot": answer}, quits="dot"), tmp_path)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"354 go ahead\r\n", "an answer that is neither yes nor no: 354 go ahead"),
        (b"250 4.3.0 later\r\n", "an answer that is neither yes nor no: 250 4.3.0 later"),
        (b"450 2.0.0 taken\r\n", "an answer that is neither yes nor no: 450 2.0.0 taken"),
        (b"250 ok\r\n500 what?\r\n", "more than one answer: 250 ok; 500 what?"),
    ],
)
def test_an_answer_that_contradicts_itself_is_a_doubt(
    server: Servers, tmp_path: Path, answer: bytes, text: str
) -> None:
    with pytest.raises(Defer) as why:
        send(server(answers={"dot": answer}), tmp_path)
    assert f"possible duplicate: {text}" in why.value.text


@pytest.mark.parametrize(
    "answer",
    [b"250 4.2 miles away\r\n", b"250-4 of 5\r\n250 ok\r\n"],
)
def test_a_yes_is_a_yes(server: Servers, tmp_path: Path, answer: bytes) -> None:
    assert "/smtp 250 " in send(server(answers={"dot": answer}, quits="dot"), tmp_path)


def test_a_bug_after_the_yes_leaves_the_yes(
    server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory can run out while the goodbye is read; to fail now would be a second delivery."""

    def fail(parting: Parting, line: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(Parting, "add", fail)
    run = new_run()
    with pytest.raises(MemoryError):
        send(server(), tmp_path, b"-g", b"7", run=run)
    assert run.handed_over == 7


def test_a_word_against_the_yes_leaves_it_in_doubt(server: Servers, tmp_path: Path) -> None:
    run = new_run()
    with pytest.raises(Defer, match=r"more than one answer: 250 2\.0\.0 taken; 554 no"):
        send(server(answers={"QUIT": b"554 no\r\n"}), tmp_path, run=run)
    assert run.handed_over is None
    assert run.in_doubt


def test_a_server_that_says_no_goodbye_is_not_waited_for_until_the_deadline(
    server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does its silence unsay the yes."""
    monkeypatch.setattr(smtp, "PARTING_MAX", 0.05)
    fake = server(hold="QUIT")
    assert send(fake, tmp_path, seconds=1e9).endswith("250 2.0.0 taken")


def test_a_goodbye_is_not_waited_for_beyond_the_deadline(
    server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "PARTING_MAX", 1e9)
    fake = server(hold="QUIT")
    assert send(fake, tmp_path, seconds=1.0).endswith("250 2.0.0 taken")


def test_silence_after_the_dot_is_a_doubt(server: Servers, tmp_path: Path) -> None:
    fake = server(hold="dot")
    with pytest.raises(Defer, match="possible duplicate: after the final dot: no answer in time"):
        send(fake, tmp_path, seconds=0.5)


def test_refused_for_good_is_kept_unless_it_is_to_bounce(server: Servers, tmp_path: Path) -> None:
    fake = server(answers={"dot": b"552 5.3.4 too large\r\n"})
    with pytest.raises(Refused) as kept:
        send(fake, tmp_path)
    assert (kept.value.status, kept.value.code) == (75, "4.3.4")
    with pytest.raises(Leave) as bounced:
        send(fake, tmp_path, b"--refused", b"bounce")
    assert (bounced.value.status, bounced.value.code) == (REJECT, "5.3.4")
    assert "552 5.3.4 too large" in bounced.value.text


@pytest.mark.parametrize(
    "answer",
    [
        b"452 4.3.1 full\r\n",
        b"452 5.7.1 no\r\n",
        b"550 4.2.0 later\r\n",
        b"550-5.7.1 no\r\n550 4.7.1 later\r\n",
        b"550-no\r\n550 4.7.1 later\r\n",
        b"500 5.5.2 what?\r\n",
    ],
)
@pytest.mark.parametrize("step", ["MAIL", "RCPT 1", "DATA", "dot"])
def test_refused_for_now_is_kept_even_if_it_is_to_bounce(
    server: Servers, tmp_path: Path, step: str, answer: bytes
) -> None:
    with pytest.raises(Defer) as why:
        send(server(answers={step: answer}), tmp_path, b"--refused=bounce")
    assert why.value.code.startswith("4.")
    assert "possible duplicate" not in why.value.text


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("MAIL", b"250 5.1.8 no such sender\r\n"),
        ("RCPT 1", b"250 5.1.1 no such user\r\n"),
        ("RCPT 1", b"250-2.1.5 ok\r\n250 4.2.0 later\r\n"),
        ("DATA", b"354 5.7.1 no\r\n"),
        ("DATA", b"354-go\r\n354 4.3.0 later\r\n"),
    ],
)
def test_a_yes_that_contradicts_itself_is_none(
    server: Servers, tmp_path: Path, step: str, answer: bytes
) -> None:
    """And so before anything is sent: to go on could lose the message for somebody."""
    fake = server(answers={step: answer})
    with pytest.raises(Defer) as why:
        send(fake, tmp_path, b"--refused=bounce")
    fake.stop()
    assert why.value.code.startswith("4.")
    assert fake.messages == []
    assert fake.cut_short == ([b""] if step == "DATA" else [])


def test_a_server_that_says_more_than_it_was_asked_is_not_believed(
    server: Servers, tmp_path: Path
) -> None:
    """Its surplus yes would be taken for the answer to the next command."""
    fake = server(answers={"EHLO": b"250 fake\r\n250 ok\r\n250 ok\r\n250 ok\r\n"})
    with pytest.raises(Defer, match="out of step"):
        send(fake, tmp_path)
    assert fake.messages == []


def test_the_dot_is_not_sent_for_half_a_message(
    server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, run = server(), new_run()
    monkeypatch.setattr(unix, "getppid", lambda: -1)
    with pytest.raises(Defer, match="cut short"):
        send(fake, tmp_path, run=run)
    assert fake.messages == []
    assert not run.committed


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was sent at once each time."""
    real = Conn.send
    found: list[bytes] = []

    def send(conn: Conn, data: bytes) -> None:
        found.append(data)
        real(conn, data)

    monkeypatch.setattr(Conn, "send", send)
    return found


def test_goodbye_is_said_after_a_no(server: Servers, tmp_path: Path, sent: list[bytes]) -> None:
    with pytest.raises(Defer):
        send(server(answers={"RCPT 1": b"550 5.1.1 no\r\n"}), tmp_path)
    assert sent[-1] == b"QUIT\r\n"


def test_in_the_middle_of_the_content_goodbye_would_be_content(
    server: Servers, sent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, run = server(), new_run()
    monkeypatch.setattr(unix, "getppid", lambda: -1)
    with given(MESSAGE) as stdin, pytest.raises(Defer, match="cut short"):
        how = settings(b"-S", b"unix:" + fake.where.encode())
        smtp.send(Incoming(stdin), b"", how, run)
    assert sent[-1] == b"DATA\r\n"


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (b"552 5.3.4 too large\r\n", Refused, "the content refused: 552 5.3.4 too large"),
        (b"421 4.3.2 closing\r\n", Defer, "the connection refused: 421 4.3.2 closing"),
        # It has taken something, and not all of it.
        (b"250 2.0.0 taken\r\n", Defer, "did not wait for the final dot: 250 2.0.0 taken"),
    ],
)
def test_an_answer_before_the_dot_is_no_answer_to_it(
    server: Servers, tmp_path: Path, answer: bytes, kind: type[Defer], text: str
) -> None:
    fake, run = server(answers={"body": answer}, quits="body"), new_run()
    with pytest.raises(kind) as why:
        send(fake, tmp_path, content=MESSAGE * 100_000, run=run)
    assert why.value.text.endswith(text)
    assert ("possible duplicate" in why.value.text) == answer.startswith(b"2")
    assert not run.committed


@pytest.mark.parametrize(
    ("words", "name", "authorities"),
    [
        ([], b"", b""),
        ([b"--tls-name=mx.example", b"--tls-ca=system"], b"mx.example", b"system"),
    ],
)
def test_the_connection_is_encrypted_for_the_server_s_name(
    server: Servers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[bytes],
    name: bytes,
    authorities: bytes,
) -> None:
    shaken: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(Conn, "start_tls", lambda conn, *names: shaken.append(names))
    fake = server(offers=(b"STARTTLS",))
    send(fake, tmp_path, b"--tls=require", *words)
    assert shaken == [(name, authorities)]
    assert [command[:8] for command in fake.commands[:3]] == [
        fake.commands[0][:8],
        b"STARTTLS",
        fake.commands[0][:8],
    ]


def test_a_goodbye_that_fails_unsays_nothing(
    server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Conn.send

    def sent(conn: Conn, data: bytes) -> None:
        if data == b"QUIT\r\n":
            raise Defer("does not take the message in time")
        real(conn, data)

    monkeypatch.setattr(Conn, "send", sent)
    assert send(server(), tmp_path).endswith("250 2.0.0 taken")


def test_a_goodbye_that_cannot_be_heard_unsays_nothing(
    server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Conn, seconds: float = 0.0) -> bool:
        raise Defer("receiving: Cannot allocate memory")

    monkeypatch.setattr(Conn, "has_more", fail)
    assert send(server(), tmp_path).endswith("250 2.0.0 taken")


def test_eight_bits_that_come_unforeseen_are_not_sent_to_who_does_not_take_them(
    server: Servers,
) -> None:
    fake = server(offers=())
    with given("gr\u00fcn\n".encode()) as stdin, pytest.raises(Defer, match="8BITMIME"):
        how = settings(b"-S", b"unix:" + fake.where.encode())
        smtp.send(Incoming(stdin), b"", how, new_run())
    assert fake.messages == []


def test_what_c_injects_is_sent_as_it_comes(server: Servers) -> None:
    fake = server()
    with given("gr\u00fcn\r\n.\r\n".encode()) as stdin:
        how = settings(b"-S", b"unix:" + fake.where.encode())
        smtp.send(Incoming(stdin), b"", how, new_run())
    assert fake.messages[0].data == "gr\u00fcn\r\n.\r\n".encode()

"""The open transaction at the next hop: what goes there, what comes back, when it is renewed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avcheck import spool
from avcheck.exits import Defer
from avcheck.settings import Settings
from avcheck.smtpd import hop as hop_module
from avcheck.smtpd.commands import parse
from avcheck.smtpd.hop import Hop, Refusal
from tests.support.fakes import HANG_UP, FakeSmtp
from tests.support.wire import new_run, settings, spooled

PIPELINING = (b"PIPELINING", b"8BITMIME")


@pytest.fixture
def message(tmp_path: Path) -> Iterator[spool.Message]:
    with spooled(tmp_path, b"Subject: x\r\n\r\n.dot\r\n") as saved:
        saved.by_smtp = True
        yield saved


def settings_for(server: FakeSmtp) -> Settings:
    return settings(b"-S", b"unix:" + server.where.encode())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., tuple[FakeSmtp, Hop]]]:
    """A server that behaves like this, and the hop that it is."""
    servers: list[FakeSmtp] = []

    def serve(**how: object) -> tuple[FakeSmtp, Hop]:
        server = FakeSmtp(tmp_path / f"smtp{len(servers)}", **how)  # type: ignore[arg-type]
        servers.append(server)
        hop = Hop(settings_for(server))
        hop.offers(False)
        return server, hop

    yield serve
    for each in servers:
        each.stop()


def ask(hop: Hop, *lines: bytes) -> list[int]:
    """The codes of the replies."""
    return [reply.code for reply in hop.ask([parse(line + b"\r") for line in lines])]


ENVELOPE = (b"MAIL FROM:<a@x>", b"RCPT TO:<b@x>", b"RCPT TO:<c@x>")

Served = Callable[..., tuple[FakeSmtp, Hop]]


@pytest.mark.parametrize("pipelining", [True, False])
def test_commands_go_at_once_only_to_one_who_can(served: Served, pipelining: bool) -> None:
    server, hop = served(offers=PIPELINING if pipelining else (b"8BITMIME",))
    assert ask(hop, *ENVELOPE) == [250, 250, 250]
    assert bool(server.early) == pipelining


def test_the_content_goes_as_it_came(served: Served, message: spool.Message) -> None:
    server, hop = served()
    ask(hop, *ENVELOPE)
    run = new_run()
    said = hop.send(message, b"X-AV-Checked: x", run)
    assert said.endswith("250 2.0.0 taken")
    assert run.handed_over == 0
    assert server.messages[0].data == b"X-AV-Checked: x\r\nSubject: x\r\n\r\n.dot\r\n"


@pytest.mark.parametrize("step", ["DATA", "dot"])
def test_a_no_has_its_own_words(served: Served, message: spool.Message, step: str) -> None:
    server, hop = served(answers={step: b"552-5.3.4 too\r\n552 5.3.4 large\r\n"})
    ask(hop, *ENVELOPE)
    run = new_run()
    with pytest.raises(Refusal) as why:
        hop.send(message, b"", run)
    assert why.value.reply.lines == (b"5.3.4 too", b"5.3.4 large")
    assert (why.value.status, why.value.code) == (77, "5.3.4")
    assert run.handed_over is None
    hop.drop()
    assert ask(hop, *ENVELOPE) == [250, 250, 250]
    assert server.messages == []


@pytest.mark.parametrize(
    "answer",
    [
        b"354 go on\r\n",
        b"250 5.0.0 no\r\n",
        b"250 2.0.0 yes\r\n451 4.0.0 no\r\n",
        b"what?\r\n",
        HANG_UP,
    ],
)
def test_after_the_dot_only_a_plain_yes_is_one(
    served: Served, message: spool.Message, answer: bytes
) -> None:
    _, hop = served(answers={"dot": answer})
    ask(hop, *ENVELOPE)
    run = new_run()
    with pytest.raises(Defer, match="possible duplicate"):
        hop.send(message, b"", run)
    assert run.in_doubt
    assert ask(hop, *ENVELOPE) == [250, 250, 250]  # by another connection


@pytest.mark.parametrize("answer", [b"354 go on\r\n", b"250 5.0.0 no\r\n", b"what?\r\n", HANG_UP])
def test_in_the_envelope_nonsense_ends_the_connection(served: Served, answer: bytes) -> None:
    server, hop = served(answers={"RCPT 2": answer})
    with pytest.raises(Defer):
        ask(hop, *ENVELOPE)
    assert server.messages == []


@pytest.mark.parametrize("code", [500, 502, 503, 530])
@pytest.mark.parametrize("step", ["MAIL", "RCPT 2", "DATA", "dot"])
def test_who_does_not_understand_us_has_not_refused_the_mail(
    served: Served, message: spool.Message, step: str, code: int
) -> None:
    """The client would bounce it."""
    server, hop = served(answers={step: b"%d 5.5.1 what?\r\n" % code})
    with pytest.raises(Defer, match=r"an answer that is n.*: 5[03]"):
        ask(hop, *ENVELOPE)
        hop.send(message, b"", new_run())
    assert server.messages == []


def test_a_yes_before_the_content_is_none_for_the_client(
    served: Served, message: spool.Message
) -> None:
    """It would be the reply to the final dot, of a message that nobody has."""
    server, hop = served(answers={"RCPT 2": b"250 2.1.5 ok\r\n", "DATA": b"250 2.0.0 ok\r\n"})
    ask(hop, *ENVELOPE)
    with pytest.raises(Defer, match="neither yes nor no: 250"):
        hop.send(message, b"", new_run())
    assert server.messages == []


def test_a_recipient_of_nothing_is_out_of_step(served: Served) -> None:
    _, hop = served(answers={"MAIL": b"550 5.7.1 no\r\n", "RCPT 1": b"503 5.5.1 no\r\n"})
    assert ask(hop, *ENVELOPE[:2]) == [550, 503]


def test_what_has_been_answered_before_is_not_said_again(served: Served) -> None:
    server, hop = served(answers={"RCPT 2": HANG_UP})
    assert ask(hop, *ENVELOPE[:2]) == [250, 250]
    with pytest.raises(Defer, match="closed the connection"):
        ask(hop, *ENVELOPE[2:])
    assert sum(command.startswith(b"MAIL") for command in server.commands) == 1


def test_one_that_has_hung_up_between_two_messages_is_called_again(
    served: Served, message: spool.Message
) -> None:
    server, hop = served(quits="dot")
    for _ in range(2):
        ask(hop, *ENVELOPE)
        hop.send(message, b"", new_run())
    assert len(server.messages) == 2


def test_a_doubtful_message_is_the_last_of_a_connection(
    served: Served, message: spool.Message
) -> None:
    """Whether the server has seen another end in it, it says after its answer."""
    server, hop = served(answers={"QUIT": b"500 what?\r\n221 bye\r\n"})
    message.doubt = b"Ambiguous"
    ask(hop, *ENVELOPE)
    with pytest.raises(Defer, match="possible duplicate: more than one answer"):
        hop.send(message, b"", new_run())
    assert server.commands[-1] == b"QUIT"


def test_a_reset_that_is_refused_ends_the_connection(served: Served) -> None:
    server, hop = served(answers={"RSET": b"500 what?\r\n"})
    ask(hop, *ENVELOPE)
    hop.drop()
    ask(hop, *ENVELOPE)
    assert sum(command.startswith(b"EHLO") for command in server.commands) == 2


def test_one_that_is_not_answered_is_not_waited_for_long(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client waits."""
    monkeypatch.setattr(hop_module, "RESET_MAX", 0.1)
    server, hop = served(hold="RSET")
    ask(hop, *ENVELOPE)
    hop.drop()
    server.release()
    assert ask(hop, *ENVELOPE) == [250, 250, 250]


def test_nothing_is_dropped_where_nothing_was_begun(served: Served) -> None:
    server, hop = served()
    hop.drop()
    ask(hop, *ENVELOPE)
    assert server.commands[1] == ENVELOPE[0]


def test_attributes_are_told_as_far_as_they_are_wanted(served: Served) -> None:
    server, hop = served(offers=(*PIPELINING, b"XFORWARD NAME ADDR"))
    assert ask(hop, b"XFORWARD NAME=mx ADDR=192.0.2.1 IDENT=4X", b"MAIL FROM:<a@x>") == [250, 250]
    assert server.commands[1:] == [b"XFORWARD NAME=mx ADDR=192.0.2.1", b"MAIL FROM:<a@x>"]
    server, hop = served()
    assert ask(hop, b"XFORWARD NAME=mx", b"MAIL FROM:<a@x>") == [250, 250]
    assert server.commands[1:] == [b"MAIL FROM:<a@x>"]


def test_xclient_is_followed_by_another_hello(served: Served) -> None:
    server, hop = served(
        offers=(*PIPELINING, b"XCLIENT NAME ADDR"), answers={"XCLI": b"220 again\r\n"}
    )
    assert hop.offers(True)[-1] == b"XCLIENT NAME ADDR"
    assert b"XCLIENT NAME ADDR" not in hop.offers(False)
    assert ask(hop, b"XCLIENT ADDR=192.0.2.1") == [220]
    assert ask(hop, *ENVELOPE) == [250, 250, 250]
    assert [command[:4] for command in server.commands[:3]] == [b"EHLO", b"XCLI", b"EHLO"]


def test_one_that_was_told_who_the_client_is_cannot_be_renewed(served: Served) -> None:
    server, hop = served(
        offers=(*PIPELINING, b"XCLIENT ADDR"), answers={"XCLI": b"220 x\r\n"}, quits="RCPT 2"
    )
    ask(hop, b"XCLIENT ADDR=192.0.2.1")
    ask(hop, *ENVELOPE)
    hop.drop()
    with pytest.raises(Defer):
        ask(hop, *ENVELOPE)
    assert sum(command.startswith(b"MAIL") for command in server.commands) == 1


def test_a_refusal_to_begin_with_is_quoted(tmp_path: Path) -> None:
    for answers in ({"greeting": b"554 no\r\n"}, {"EHLO": b"450 4.3.2 no\r\n"}):
        with FakeSmtp(tmp_path / "smtp", answers=answers) as server:
            assert isinstance(server, FakeSmtp)
            with pytest.raises(Defer, match="refused: "):
                Hop(settings_for(server)).offers(False)
        (tmp_path / "smtp").unlink()

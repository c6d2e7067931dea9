"""The administrator's program takes the message over: told everything, believed where it fits."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from avcheck import child, handle
from avcheck.caller import Caller
from avcheck.child import Ended
from avcheck.directory import remove_leftovers
from avcheck.exits import CONFIG, Defer, Leave
from avcheck.handle import PASSED_ON, Handled
from avcheck.run import Run
from avcheck.settings import Settings
from avcheck.spool import Message
from avcheck.verdict import ENCRYPTED, INFECTED, Answer, Finding
from tests.support.wire import MESSAGE, new_run, settings, spooled

PROGRAM = b"/usr/sbin/infected.sh"
CALLED = b"/opt/avcheck/bin/avcheck"


class Handler:
    """What was run, what it was given, and how it ended."""

    def __init__(self, status: int = 0, output: bytes = b"", late: bool = False) -> None:
        self.ended = Ended(status << 8, output, late)
        self.argv: list[bytes] = []
        self.env: dict[bytes, bytes] = {}
        self.content = b""
        self.stdin = ""
        self.directory = ""
        self.does: Callable[[bytes], object] = len
        self.run = Run()

    def hand_over(
        self,
        run: Run,
        status: int,
        argv: Sequence[bytes],
        stdin: int,
        env: Mapping[bytes, bytes],
        directory: int | None = None,
    ) -> Ended:
        self.run = run
        self.argv, self.env = list(argv), dict(env)
        self.stdin = os.readlink(f"/proc/self/fd/{stdin}")
        self.directory = os.readlink(f"/proc/self/fd/{directory}")
        with open(argv[1], "rb") as file:
            self.content = file.read()
        self.does(argv[1])
        if self.ended.status == 0:
            run.mark_handed_over(status)
        return self.ended


@pytest.fixture
def message(tmp_path: Path) -> Iterator[Message]:
    (tmp_path / "spool").mkdir(mode=0o700)
    with spooled(tmp_path / "spool") as letter:
        yield letter


@pytest.fixture
def handle_by(message: Message, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def run(
        handler: Handler,
        finding: Finding | None = None,
        how: Settings | None = None,
        called: bytes = CALLED,
    ) -> str:
        monkeypatch.setattr(child, "hand_over", handler.hand_over)
        finding = finding or Finding(INFECTED, (b"Eicar",), b"stream: Eicar FOUND")
        how = how or settings(b"-i", PROGRAM)
        return handle.hand_over(message, Answer("clamd", "", finding), how, new_run(called))

    return run


def left(message: Message) -> list[str]:
    return os.listdir(message.directory.path.decode())


# What it is given.


def test_it_is_told_everything(message: Message, handle_by: Callable[..., str]) -> None:
    handler = Handler()
    finding = Finding(ENCRYPTED, (b"Heuristics.Encrypted.Zip", b"B\n"), b"fd[1]: what it said")
    handle_by(handler, finding, settings(b"-i", PROGRAM, b"--queue-id=4XYZ", b"--", b"a@b"))
    program, file, said, *envelope = handler.argv
    assert (program, said) == (PROGRAM, b"fd[1]: what it said")
    assert envelope == [b"sender@example.org", b"a@b", b"r@example.org"]
    assert os.path.dirname(file) == message.directory.path
    assert handler.content == MESSAGE
    assert handler.stdin == "/dev/null"
    assert handler.directory == message.directory.path.decode()
    assert handler.env == {
        **child.environment(),
        b"SENDMAIL": CALLED + b" -c -S 127.0.0.1:smtp",
        b"AVCHECK_VERDICT": b"encrypted",
        b"AVCHECK_VIRUS": b"Heuristics.Encrypted.Zip, B",
        b"AVCHECK_SCANNER": b"clamd",
        b"AVCHECK_QUEUE_ID": b"4XYZ",
        b"AVCHECK_SHA256": hashlib.sha256(MESSAGE).hexdigest().encode(),
        b"AVCHECK_SENDER": b"sender@example.org",
    }


def test_it_is_told_as_many_names_as_an_environment_can_hold(
    handle_by: Callable[..., str],
) -> None:
    """A stranger decides how many: with all of them no program could be run."""
    names = tuple(b"Win32:%b%05d" % (b"A" * 40, number) for number in range(20_000))
    handler = Handler()
    handle_by(handler, Finding(INFECTED, names))
    told = handler.env[b"AVCHECK_VIRUS"]
    *first, last = told.split(b", ")
    assert first == [*names[: len(first)]]
    assert len(first) > 50
    assert last == b"and %d more" % (len(names) - len(first))
    assert len(told) < handle.NAMES_MAX + 30
    for few in (names[:60], names[:1], ()):
        handle_by(handler, Finding(INFECTED, few))
        assert handler.env[b"AVCHECK_VIRUS"] == b", ".join(few)


@pytest.mark.parametrize(
    ("words", "sendmail"),
    [
        ([], CALLED + b" -c -S 127.0.0.1:smtp"),
        ([b"-S", b"mx"], CALLED + b" -c -S mx:smtp"),
        ([b"-S", b"[::1]:26"], CALLED + b" -c -S [::1]:26"),
        ([b"-S", b"unix:/run/smtp"], CALLED + b" -c -S unix:/run/smtp"),
        ([b"-S", b"/usr/sbin/sendmail -i", b"-S-G"], b"/usr/sbin/sendmail -i -G"),
        (
            [b"-S", b"mx", b"--tls=require", b"--tls-ca=system", b"--tls-name=mx.example"],
            CALLED + b" --tls require --tls-ca system --tls-name mx.example -c -S mx:smtp",
        ),
    ],
)
def test_sendmail_injects_past_the_scanner(
    handle_by: Callable[..., str], words: list[bytes], sendmail: bytes
) -> None:
    handler = Handler()
    how = settings(b"-i", PROGRAM, *words)
    handle_by(handler, how=how)
    assert handler.env[b"SENDMAIL"] == sendmail
    if not how.program:
        again = settings(*sendmail.split()[1:])
        assert (again.server, again.tls, again.client) == (how.server, how.tls, True)


@pytest.mark.parametrize(
    ("guard", "used"),
    [
        (b"/usr/local/libexec/avcheck-guard", True),
        (b"avcheck-guard", False),
        (b"./avcheck-guard", False),
        (b"/lib exec/avcheck-guard", False),
        (b"/lib\texec/avcheck-guard", False),
        (b"", False),
    ],
)
def test_sendmail_goes_through_the_guard_that_started_avcheck(
    handle_by: Callable[..., str], monkeypatch: pytest.MonkeyPatch, guard: bytes, used: bool
) -> None:
    monkeypatch.setenv("AVCHECK_GUARD", os.fsdecode(guard))
    handler = Handler()
    handle_by(handler)
    before = guard + b" " if used else b""
    assert handler.env[b"SENDMAIL"] == before + CALLED + b" -c -S 127.0.0.1:smtp"
    assert b"AVCHECK_GUARD" not in handler.env
    handle_by(handler, how=settings(b"-i", PROGRAM, b"-S", b"/usr/sbin/sendmail -i"))
    assert handler.env[b"SENDMAIL"] == b"/usr/sbin/sendmail -i"


def test_sendmail_is_named_by_an_absolute_path(
    handle_by: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = Handler()
    handle_by(handler, how=settings(b"-i", b"bin/handler"), called=b"./bin/avcheck")
    assert handler.env[b"SENDMAIL"].startswith(os.fsencode(tmp_path) + b"/bin/avcheck -c ")
    assert handler.argv[0] == os.fsencode(tmp_path) + b"/bin/handler"


def test_the_path_is_the_real_one_for_a_scanner_in_a_chroot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root" / "tmp").mkdir(parents=True, mode=0o700)
    handler = Handler()
    monkeypatch.setattr(child, "hand_over", handler.hand_over)
    with spooled(os.fsencode(tmp_path) + b"/root/./tmp") as message:
        answer = Answer("clamd", "", Finding(INFECTED))
        handle.hand_over(message, answer, settings(b"-i", PROGRAM), new_run(CALLED))
    assert os.path.dirname(handler.argv[1]) == os.fsencode(tmp_path) + b"/root/tmp"


# Which one it is.


def make(path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)


def test_without_i_it_is_beside_avcheck(handle_by: Callable[..., str], tmp_path: Path) -> None:
    called = os.fsencode(tmp_path / "avcheck")
    handler = Handler()
    for name, mode, found in [
        ("infected.sh", 0o755, "infected.sh"),
        ("infected", 0o644, "infected.sh"),
        ("infected", 0o755, "infected"),
    ]:
        make(tmp_path / name, mode)
        handle_by(handler, how=settings(), called=called)
        assert handler.argv[0] == os.fsencode(tmp_path / found)


def test_without_any_the_remedy_is_named(
    handle_by: Callable[..., str], message: Message, tmp_path: Path
) -> None:
    with pytest.raises(Defer, match="name one with -i") as why:
        handle_by(Handler(), how=settings(), called=os.fsencode(tmp_path / "avcheck"))
    assert why.value.code == CONFIG
    assert str(tmp_path) in why.value.text
    assert left(message) == []


# What becomes of it.


def test_with_0_it_owns_the_file(message: Message, handle_by: Callable[..., str]) -> None:
    handler = Handler(0, b"kept as 17\n")
    assert handle_by(handler) == f"{os.path.basename(PROGRAM).decode()} kept as 17"
    assert left(message) == [os.path.basename(handler.argv[1]).decode()]
    remove_leftovers()
    assert len(left(message)) == 1


def test_it_may_remove_the_file(message: Message, handle_by: Callable[..., str]) -> None:
    handler = Handler()
    handler.does = os.unlink
    assert handle_by(handler) == os.path.basename(PROGRAM).decode()
    assert left(message) == []


def test_once_it_has_taken_the_message_no_signal_gives_it_back(
    handle_by: Callable[..., str],
) -> None:
    """The mail system would try again, and the handler would get the same message twice."""
    handler = Handler()
    handle_by(handler)
    assert handler.run.committed
    assert handler.run.handed_over == 0


def test_while_it_runs_a_signal_still_ends_everything(
    message: Message, handle_by: Callable[..., str]
) -> None:
    committed = []

    def look(file: bytes) -> None:
        committed.append(handler.run.committed)
        raise KeyboardInterrupt

    handler = Handler()
    handler.does = look
    with pytest.raises(KeyboardInterrupt):
        handle_by(handler)
    assert committed == [False]
    assert left(message) == []


@pytest.mark.parametrize("status", [1, 2, 63, 79, 99, 126, 127, 128, 255])
def test_a_status_that_bounces_by_accident_keeps_the_message(
    message: Message, handle_by: Callable[..., str], status: int
) -> None:
    with pytest.raises(Defer) as why:
        handle_by(Handler(status, b"5.7.1 no"))
    assert why.value.text == f"handler {PROGRAM.decode()} exited with status {status}: 5.7.1 no"
    assert (why.value.status, why.value.code) == (75, "4.3.0")
    assert left(message) == []


def test_one_that_was_killed_keeps_the_message(
    message: Message, handle_by: Callable[..., str]
) -> None:
    handler = Handler()
    handler.ended = Ended(signal.SIGKILL, b"", late=True)
    with pytest.raises(Defer, match="did not end in time"):
        handle_by(handler)
    assert left(message) == []


@pytest.mark.parametrize("status", range(64, 79))
def test_a_status_of_sysexits_is_passed_on_with_the_code_that_postfix_gives_it(
    message: Message, handle_by: Callable[..., str], status: int
) -> None:
    with pytest.raises(Handled) as why:
        handle_by(Handler(status, b"words"))
    assert (why.value.status, why.value.code) == (status, PASSED_ON[status])
    assert why.value.code.startswith("4." if status in (71, 75) else "5.")
    assert why.value.text == f"handler {PROGRAM.decode()} exited with status {status}: words"
    assert left(message) == []


def test_every_status_of_sysexits_is_in_the_table() -> None:
    assert set(PASSED_ON) == set(range(64, 79))


@pytest.mark.parametrize(
    ("status", "output", "code", "text"),
    [
        (77, b"5.7.1 a virus\n", "5.7.1", "a virus"),
        (77, b"4.7.1 not now", "4.7.1", "not now"),
        (75, b"4.2.1 later", "4.2.1", "later"),
        (77, b"5.7.1", "5.7.1", ""),
        (77, b"5.123.456 x", "5.123.456", "x"),
        (75, b"5.7.1 a virus", "4.3.0", None),
        (77, b"2.0.0 fine", "5.7.0", None),
        (77, b"5.7 x", "5.7.0", None),
        (77, b"5.7.1.1 x", "5.7.0", None),
        (77, b"5.7.1234 x", "5.7.0", None),
        (77, b"5..1 x", "5.7.0", None),
        (77, b"x 5.7.1", "5.7.0", None),
        (77, "5.7.\u0661 x".encode(), "5.7.0", None),
        (77, b"", "5.7.0", None),
    ],
)
def test_its_own_words_lead_where_they_fit_its_status(
    handle_by: Callable[..., str], status: int, output: bytes, code: str, text: str | None
) -> None:
    with pytest.raises(Leave) as why:
        handle_by(Handler(status, output))
    assert (why.value.status, why.value.code) == (status, code)
    assert why.value.text == text or text is None
    assert text is not None or why.value.text.startswith("handler ")


def test_it_is_not_run_for_half_a_message(
    message: Message, handle_by: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Handler()
    monkeypatch.setattr(Caller, "is_gone", lambda caller: True)
    with pytest.raises(Defer, match="cut short"):
        handle_by(handler)
    assert handler.argv == []
    remove_leftovers()  # as the with block of the directory does
    assert left(message) == []

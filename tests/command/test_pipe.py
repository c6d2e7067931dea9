"""The installed command, run as an MTA runs it: what goes in, what comes out, and how it leaves.

Here: messages, command lines, descriptors, environment, installation, waitfile.
The stations on the way have files of their own, test_as_mta_*.py.
"""

from __future__ import annotations

import email.utils
import fcntl
import itertools
import os
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import avcheck
from avcheck.exits import Usage
from avcheck.options import arguments
from avcheck.seen import FRONT
from tests.support.mta import MAIL, RECIPIENT, SENDER, TEMPFAIL, Ended, Site, until

FOUND = b"Eicar-Test-Signature FOUND"


def wire(message: bytes) -> bytes:
    """A message with LF line ends as a mail server has to get it."""
    return message.replace(b"\n", b"\r\n")


# Messages.


def test_a_clean_message_is_delivered_unchanged(site: Site) -> None:
    ended = site.deliver()
    assert ended.status == 0
    assert re.fullmatch(rb"clean: clamd \d+ms; 127\.0\.0\.1:\d+ 250 2\.0\.0 taken\n", ended.output)
    assert site.delivered == [wire(MAIL)]
    assert site.left == []
    (question,) = site.scanner.questions
    assert question.content == FRONT + MAIL


MESSAGES = {
    "no bytes at all": b"",
    "one line end": b"\n",
    "one dot": b".\n",
    "NUL bytes": b"Subject: \0\n\n\0\0\0\n\0",
    "every byte": b"Subject: all\n\n" + bytes(range(256)) + b"\n",
    "a line of 10 MB": b"Subject: long\n\n" + b"0123456789" * 1_000_000 + b"\n",
    "no last line end": b"Subject: cut\n\nbody",
    "no header": b"\n\njust a body\n",
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_any_bytes_are_a_message(site: Site, message: bytes) -> None:
    assert site.deliver(message=message).status == 0
    expected = wire(message)
    assert site.delivered == [
        expected if expected.endswith(b"\r\n") or not expected else expected + b"\r\n"
    ]
    sendmail = site.sendmail()
    assert site.deliver(message=message).status == 0
    assert sendmail.stdin == message
    assert all(question.content.endswith(message) for question in site.scanner.questions)
    assert site.left == []


def test_an_infected_message_goes_to_the_handler(site: Site) -> None:
    site.clamd(says=FOUND)
    handler = site.handler()
    ended = site.deliver()
    assert ended == Ended(
        0, b"infected: Eicar-Test-Signature; %b\n" % os.fsencode(handler.path.name)
    )
    assert handler.note("message") == MAIL
    assert site.delivered == []
    assert site.left == []


@pytest.mark.parametrize("client", [[], ["-c"]], ids=["scan", "-c"])
def test_a_closed_standard_input_is_no_message(site: Site, client: list[str]) -> None:
    ended = site.start([*CLOSING["0"], *site.words(*client)]).end()
    site.assert_kept(ended, "standard input is closed")


def test_a_standard_input_that_cannot_be_read_is_no_message(site: Site) -> None:
    with open(os.devnull, "wb") as writable:
        ended = site.start(site.words(), stdin=writable.fileno()).end()
    site.assert_kept(ended, "standard input", "Bad file descriptor")


def test_a_standard_input_that_does_not_block_is_waited_for(site: Site) -> None:
    theirs, mine = os.pipe()
    os.set_blocking(theirs, False)
    running = site.start(site.words(), stdin=theirs)
    os.close(theirs)
    with os.fdopen(mine, "wb") as pipe:
        until(lambda: running.process.poll() is not None or running.is_in("poll_schedule"))
        pipe.write(MAIL)
    assert running.end().status == 0
    assert site.delivered == [wire(MAIL)]


# Command lines.

RIGHT = ["-f", "a@b", "c@d"]
WRONG = {
    "no recipient": (["-f", "a@b"], "recipient"),
    "an empty recipient": (["-f", "a@b", ""], "recipient"),
    "no sender": (["c@d"], "-f"),
    "a recipient with CR": (["-f", "a@b", "c\r@d"], "line break"),
    "a recipient with LF": (["-f", "a@b", "c@d\nBcc: e@f"], "line break"),
    "a sender with CR": (["-f", "a\r@b", "c@d"], "-f"),
    "a sender with LF": (["-f", "a@b\n", "c@d"], "-f"),
    "a header text with LF": (["-h", "one\nTwo: x", *RIGHT], "-h"),
    "a header text with CR": (["-h", "one\r", *RIGHT], "-h"),
    "a header text not in ASCII": (["-h", "caf\u00e9", *RIGHT], "-h"),
    "a header text too long": (["-h", "x" * 901, *RIGHT], "-h"),
    "no such short option": (["-x", *RIGHT], "-x"),
    "no such long option": (["--nonsense", *RIGHT], "--nonsense"),
    "an argument too many": (["--verbose=1", *RIGHT], "--verbose"),
    "an argument missing": (["-f"], "--from"),
    "no number of seconds": (["-t", "soon", *RIGHT], "-t"),
    "no exit status": (["-g", "256", *RIGHT], "-g"),
    "an unknown scanner": (["-s", "nonesuch:/x", *RIGHT], "clamd"),
    "an unknown way": (["-s", "clamd+magic:/x", *RIGHT], "stream"),
    "a descriptor over TCP": (
        ["-s", "clamd+descriptor::3310", "-f", "a@b", "c@d"],
        "clamd+descriptor",
    ),
    "a relative spool": (["-d", "spool", *RIGHT], "absolute path"),
    "two mail servers": (["-S", "mx:25", *RIGHT], "-S"),
    "an empty waitfile": (["-w", "", *RIGHT], "-w"),
}


def wrong_words(site: Site, words: list[str]) -> list[str | bytes]:
    """A command line of the site with these words in place of sender and recipients."""
    return [*site.words()[: -len(["-f", SENDER, "--", RECIPIENT])], *words]


@pytest.mark.parametrize(("words", "named"), WRONG.values(), ids=WRONG)
def test_wrong_usage_by_an_mta_keeps_the_message(site: Site, words: list[str], named: str) -> None:
    ended = site.start(wrong_words(site, words)).end(MAIL)
    site.assert_kept(ended, "4.3.5", named)
    assert site.scanner.questions == []


@pytest.mark.parametrize(("words", "named"), WRONG.values(), ids=WRONG)
def test_wrong_usage_by_a_person_is_explained(site: Site, words: list[str], named: str) -> None:
    ended = site.at_a_terminal(wrong_words(site, words))
    assert ended.status == 64
    assert b"Usage: avcheck" in ended.output
    assert b"Error: " in ended.output
    assert site.scanner.questions == []


@pytest.mark.parametrize("without", ["-s", "-d"])
def test_a_required_option_that_is_missing_is_named(site: Site, without: str) -> None:
    words = site.words()
    at = words.index(without)
    ended = site.start([*words[:at], *words[at + 2 :]]).end(MAIL)
    site.assert_kept(ended, "4.3.5", without)


@pytest.mark.parametrize("read", [arguments.sender, arguments.recipient])
def test_an_address_with_nul_is_refused(read: Callable[[bytes], bytes]) -> None:
    """No command line can have one; who reads it does not rely on that."""
    with pytest.raises(Usage, match="NUL"):
        read(b"a\0@example.com")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_is_no_success_for_a_message(site: Site, option: str) -> None:
    """--help left in master.cf must not make every message disappear."""
    ended = site.deliver(option)
    assert ended.status == TEMPFAIL
    assert ended.output
    assert site.delivered == []


@pytest.mark.parametrize(
    ("option", "said"), [("--help", b"--spool"), ("--version", avcheck.__version__.encode())]
)
def test_help_is_shown_to_a_person(site: Site, option: str, said: bytes) -> None:
    ended = site.start([*site.command, option], stdin=subprocess.DEVNULL).end()
    assert ended.status == 0
    assert said in ended.output


def test_the_null_sender(site: Site) -> None:
    smtp = site.smtp()
    for sender in ("", "<>"):
        assert site.deliver(sender=sender).status == 0
    assert [letter.sender.partition(b" ")[0] for letter in smtp.messages] == [b"<>", b"<>"]
    assert site.scanner.questions[0].content == FRONT + MAIL


def test_an_address_that_begins_with_a_dash_is_an_address(site: Site) -> None:
    smtp = site.smtp()
    assert site.deliver(sender="-f@example.com", recipients=("-v@x", "--help@x")).status == 0
    assert smtp.messages[0].recipients == (b"-v@x", b"--help@x")


def test_n_delivers_nothing(site: Site) -> None:
    smtp = site.smtp()
    ended = site.deliver("-n")
    assert ended.status == 0
    assert ended.output.startswith(b"clean: ")
    assert smtp.commands == []
    assert len(site.scanner.questions) == 1


def test_g_is_the_status_of_good_mail_only(site: Site) -> None:
    assert site.deliver("-n", "-g", "99") == Ended(99, b"")
    assert site.deliver("-g", "99") == Ended(99, b"")
    assert len(site.delivered) == 1
    site.clamd(says=FOUND)
    site.handler()
    assert site.deliver("-g", "99").status == 0
    site.clamd(reply=b"")
    assert site.deliver("-g", "99").status == TEMPFAIL


@pytest.mark.parametrize("zone", ["UTC0", "XXX-5:30", "YYY+9"])
def test_h_prepends_one_header_line(site: Site, zone: str) -> None:
    began = int(time.time())
    words = site.words("-h", "mx.example (av)")
    ended = site.start(words, environment={"TZ": zone, "LC_ALL": "de_DE.UTF-8"}).end(MAIL)
    assert ended.status == 0
    header, _, rest = site.delivered[0].partition(b"\r\n")
    assert rest == wire(MAIL)
    day = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    line = rf"X-AV-Checked: ({day} \d{{4}} \d\d:\d\d:\d\d [+-]\d{{4}}) mx\.example \(av\)"
    told = re.fullmatch(line, header.decode())
    assert told, header
    when = email.utils.parsedate_to_datetime(told[1])
    assert began <= when.timestamp() <= time.time()
    assert when.strftime("%z") == {"UTC0": "+0000", "XXX-5:30": "+0530", "YYY+9": "-0900"}[zone]


def test_h_by_sendmail_has_the_line_ends_of_the_message(site: Site) -> None:
    sendmail = site.sendmail()
    for message in (MAIL, wire(MAIL)):
        assert site.deliver("-h", "here", message=message).status == 0
        header, _, rest = sendmail.stdin.partition(b"\n")
        assert header.startswith(b"X-AV-Checked: ")
        assert header.endswith(b"\r") == (message != MAIL)
        assert rest == message


def test_h_is_for_what_is_handed_back_only(site: Site) -> None:
    site.clamd(says=FOUND)
    handler = site.handler()
    assert site.deliver("-h", "here").status == 0
    assert handler.note("message") == MAIL


def test_verbose_steps_come_after_the_line_for_the_mta(site: Site) -> None:
    ended = site.deliver("-v")
    assert ended.status == 0
    first, *steps = ended.output.splitlines()
    assert first.startswith(b"clean: ")
    assert all(re.match(rb"avcheck: +\d+\.\d ms  ", step) for step in steps)
    assert any(b"saved %d bytes" % len(MAIL) in step for step in steps)
    site.clamd(reply=b"")
    kept = site.deliver("-v", message=b"")
    assert kept.status == TEMPFAIL
    assert kept.output.startswith(b"4.4.2 avcheck: clamd ")


def test_verbose_steps_are_seen_at_once_by_a_person(site: Site) -> None:
    ended = site.at_a_terminal(site.words("-v"))
    assert ended.status == 0
    assert b"saved 0 bytes" in ended.output


# -c, injection only.


def test_c_injects_unchecked_by_smtp(site: Site) -> None:
    words = [*site.command, "-c", "-S", site.hop[1], "-f", "", "postmaster@example.com"]
    ended = site.start(words).end(MAIL)
    assert ended.status == 0
    assert ended.output.startswith(b"injected: 127.0.0.1:")
    assert site.delivered == [wire(MAIL)]
    assert site.scanner.questions == []


def test_c_injects_unchecked_by_sendmail(site: Site) -> None:
    sendmail = site.sendmail("echo queued as 4XYZ")
    words = [*site.command, "-c", "-S", str(sendmail.path), "-f", "", "postmaster@example.com"]
    ended = site.start(words).end(MAIL)
    assert ended == Ended(0, b"injected: %b queued as 4XYZ\n" % os.fsencode(sendmail.path))
    assert sendmail.stdin == MAIL


def test_c_ignores_every_other_option(site: Site) -> None:
    (site.directory / "wait").touch()
    ignored = [
        "-s",
        "nonsense",
        "-d",
        "nowhere",
        "-h",
        "\n",
        "-g",
        "999",
        "-t",
        "x",
        "-n",
        "-i",
        "",
    ]
    words = ["-w", str(site.directory / "wait"), *ignored, "--deadline", "x", "--queue-id", "1"]
    ended = site.start([*site.command, "-c", *site.hop, *words, "-f", "", "c@d"]).end(MAIL)
    assert ended.status == 0
    assert site.delivered == [wire(MAIL)]


def test_c_defers_what_the_server_refuses(site: Site) -> None:
    site.smtp(answers={"RCPT 1": b"550 5.1.1 nobody here\r\n"})
    site.assert_kept(site.deliver("-c"), "4.1.1", "nobody here")


# Descriptors 0, 1 and 2.

# Shell words that run the command after them with these descriptors closed.
CLOSING = {
    "".join(map(str, closed)): [
        "/bin/sh",
        "-c",
        'exec "$0" "$@" ' + " ".join(f"{fd}>&-" for fd in closed),
    ]
    for number in range(4)
    for closed in itertools.combinations((0, 1, 2), number)
}


@pytest.mark.parametrize("closed", CLOSING)
def test_closed_descriptors_change_nothing(site: Site, closed: str) -> None:
    """Neither the spool file nor a socket becomes descriptor 1, where our words go."""
    running = site.start([*CLOSING[closed], *site.words()])
    if "0" in closed:
        kept = running.end()
        assert kept.status == TEMPFAIL
        assert "2" in closed or kept.output.startswith(b"4.3.0 avcheck: standard input is closed")
        assert site.left == []
        assert site.delivered == []
        return
    assert running.end(MAIL).status == 0
    assert site.delivered == [wire(MAIL)]
    sendmail = site.sendmail("echo to 1; echo to 2 >&2")
    assert site.start([*CLOSING[closed], *site.words()]).end(MAIL).status == 0
    assert sendmail.stdin == MAIL
    site.clamd(says=FOUND)
    handler = site.handler()
    assert site.start([*CLOSING[closed], *site.words()]).end(MAIL).status == 0
    assert handler.note("message") == MAIL
    assert site.left == []


@pytest.mark.parametrize("closed", CLOSING)
def test_closed_descriptors_make_no_failure_a_success(site: Site, closed: str) -> None:
    site.clamd(reply=b"")
    ended = site.start([*CLOSING[closed], *site.words()]).end()
    assert ended.status == TEMPFAIL
    assert bool(ended.output) == ("2" not in closed)
    assert site.left == []
    assert site.delivered == []


OUTPUTS = [
    *("read at the end", "closed", "full device", "full pipe", "full pipe that blocks"),
    "pipe without reader",
]


@pytest.fixture
def output(request: pytest.FixtureRequest) -> Iterator[dict[str, int]]:
    """A descriptor for each of OUTPUTS but the first two."""
    full, blocking, nobody = os.pipe(), os.pipe(), os.pipe()
    os.close(nobody[0])
    for _, pipe in (full, blocking):
        os.set_blocking(pipe, False)
        for size in (65536, 1):
            with pytest.raises(BlockingIOError):
                while True:
                    os.write(pipe, b"x" * size)
    os.set_blocking(blocking[1], True)
    device = os.open("/dev/full", os.O_WRONLY)
    yield {
        "full device": device,
        "full pipe": full[1],
        "full pipe that blocks": blocking[1],
        "pipe without reader": nobody[1],
    }
    for fd in (device, *full, *blocking, nobody[1]):
        os.close(fd)


@pytest.mark.parametrize("err", OUTPUTS)
@pytest.mark.parametrize("out", OUTPUTS)
def test_output_that_nobody_takes_changes_nothing(
    site: Site, output: dict[str, int], out: str, err: str
) -> None:
    closed = ("1" if out == "closed" else "") + ("2" if err == "closed" else "")

    def status() -> int:
        words = [*CLOSING[closed], *site.words("-v")]
        running = site.start(words, stdout=output.get(out), stderr=output.get(err))
        return running.end(MAIL).status

    assert status() == 0
    assert site.delivered == [wire(MAIL)]
    site.clamd(reply=b"")
    assert status() == TEMPFAIL
    assert len(site.delivered) == 1
    assert site.left == []


# Environment.

HOSTILE: dict[str, dict[str, str]] = {
    "no environment": {},
    "nonsense for a locale": {"LANG": "nonsense", "LC_ALL": "xx_YY.ZZ"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "warnings are errors": {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
    "a startup file": {"PYTHONSTARTUP": "/nonexistent", "PYTHONINSPECT": "1"},
    "no asserts, no docstrings": {"PYTHONOPTIMIZE": "2"},
    "no home": {"HOME": "/nonexistent", "TMPDIR": "/nonexistent", "PATH": "/nonexistent"},
    "a caller that is no number": {"AVCHECK_CALLER": "-1; rm"},
    "a caller that is no process": {"AVCHECK_CALLER": "0"},
}


@pytest.mark.parametrize("environment", HOSTILE.values(), ids=HOSTILE)
def test_the_environment_changes_nothing(site: Site, environment: dict[str, str]) -> None:
    site.surround(environment)
    umlaut = "j\u00fcrgen@example.net".encode("latin-1")
    site.smtp(offers=(b"8BITMIME", b"SMTPUTF8"))
    assert site.deliver("-h", "here", recipients=(umlaut,)).status == 0
    assert len(site.delivered) == 1
    site.clamd(says=FOUND)
    handler = site.handler()
    assert site.deliver(recipients=(umlaut,)).status == 0
    assert handler.argv[-1] == umlaut
    site.clamd(reply=b"gar\xffbage\0")
    kept = site.deliver(recipients=(umlaut,))
    assert kept.status == TEMPFAIL
    assert b"4.4.2 avcheck: clamd " in kept.output
    assert site.left == []


@pytest.mark.parametrize("text", ["raise SystemExit(0)", "syntax error", "import nonesuch"])
def test_a_foreign_package_of_our_name_bounces_nothing(
    site: Site, tmp_path: Path, text: str
) -> None:
    (tmp_path / "foreign" / "avcheck").mkdir(parents=True)
    (tmp_path / "foreign" / "avcheck" / "__init__.py").write_text(text)
    site.surround({"PYTHONPATH": str(tmp_path / "foreign")})
    ended = site.deliver()
    assert ended.status == TEMPFAIL
    assert ended.output.startswith(b"4.3.5 avcheck: broken installation: ")
    assert site.scanner.questions == []


def test_a_working_directory_that_is_gone_changes_nothing(site: Site, tmp_path: Path) -> None:
    site.surround({})  # coverage would ask where it is
    gone = ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$0" "$@"']
    for says, handled in ((b"OK", 0), (FOUND, 1)):
        (tmp_path / "gone").mkdir()
        site.clamd(says=says)
        handler = site.handler()
        ended = site.start([*gone, *site.words()], cwd=tmp_path / "gone").end(MAIL)
        assert ended.status == 0
        assert handler.calls == handled
    assert site.delivered == [wire(MAIL)]


@pytest.mark.parametrize("signals", ["--ignore-signal", "--block-signal"])
def test_signals_that_the_caller_ignores_or_blocks_change_nothing(site: Site, signals: str) -> None:
    """CHLD, for instance: an ignored one makes waitpid(2) fail after sendmail has succeeded."""
    command = ["/usr/bin/env", signals, *site.words()]
    assert site.start(command).end(MAIL).status == 0
    sendmail = site.sendmail()
    ended = site.start(["/usr/bin/env", signals, *site.words()]).end(MAIL)
    assert ended.status == 0, ended
    assert sendmail.stdin == MAIL
    # The deadline is a signal, too: standard input never ends here.
    stuck = site.start(["/usr/bin/env", signals, *site.words("--deadline", "0.2")])
    site.assert_deferred(stuck.wait(), "4.4.7")


# The caller.


@pytest.mark.parametrize("to", ["smtp", "sendmail", "handler"])
def test_nothing_is_delivered_for_a_caller_that_is_gone(site: Site, to: str) -> None:
    """When pipe(8) dies, our standard input ends in the middle of the message."""
    if to == "sendmail":
        site.sendmail()
    site.handler()
    site.clamd(hold="asked", says=FOUND if to == "handler" else b"OK")
    # A shell stands for the MTA.  What it runs in the background has no standard input.
    mta = ["/bin/sh", "-c", 'exec 3<&0; "$0" "$@" <&3 3<&- & exec 3<&-; wait']
    running = site.start([*mta, *site.words()])
    running.feed()
    site.scanner.arrived()
    running.process.kill()
    os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    site.scanner.release()
    text = running.output()
    assert re.match(rb"4\.3\.0 avcheck: .*the mail system that called is gone", text), text
    assert site.delivered == []
    assert site.calls == 0
    assert site.left == []


@pytest.mark.parametrize("stage", ["asked", "dot"])
def test_a_caller_of_the_guard_whom_nobody_waits_for_is_gone(site: Site, stage: str) -> None:
    """A zombie: what is left of the mail system in a container without an init.

    After the final dot the message is delivered, and the log is to say that it comes again.
    """
    scanner = site.clamd(hold="asked" if stage == "asked" else "")
    server = site.smtp(hold="dot" if stage == "dot" else "")
    site.command = [str(Path(site.command[0]).with_name("avcheck-guard.sh"))]
    mta = ["/bin/sh", "-c", 'exec 3<&0; "$0" "$@" <&3 3<&- & exec 3<&-; wait']
    running = site.start([*mta, *site.words()]).feed()
    player = scanner if stage == "asked" else server
    player.arrived()
    running.process.kill()
    os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)
    player.release()
    text = running.output()
    assert b"the mail system that called is gone" in text, text
    assert (b"possible duplicate" in text) == (stage == "dot")
    assert len(site.delivered) == (stage == "dot")
    assert site.left == []


def test_nothing_is_delivered_when_the_caller_of_the_guard_is_gone(site: Site) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as mta:
        words, told = site.words(), {"AVCHECK_CALLER": str(mta.pid)}
        assert site.start(words, environment=told).end(MAIL).status == 0
    assert len(site.delivered) == 1
    site.smtp()
    ended = site.start(site.words(), environment=told).end(MAIL)
    assert ended.status == TEMPFAIL
    assert b"the mail system that called is gone" in ended.output
    assert len(site.delivered) == 1
    sendmail = site.sendmail()
    assert site.start(site.words(), environment=told).end(MAIL).status == TEMPFAIL
    assert sendmail.calls == 0


# The installation.

PACKAGE = Path(sysconfig.get_path("purelib")) / "avcheck"  # the installed one
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

BROKEN = {
    "missing": None,
    "no Python": "def broken(:\n",
    "empty": "",
    "leaving": "raise SystemExit(0)\n",
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a copy of the package, compiled; the tests put it back in order."""
    directory = tmp_path_factory.mktemp("copied")
    shutil.copytree(PACKAGE, directory / "avcheck")
    return directory


RUNS = ("clean, by SMTP", "clean, by sendmail", "infected", "help")


def run(site: Site, kind: str) -> Ended:
    """One of RUNS, which between them need everything that an ordinary site does."""
    if kind == "clean, by sendmail":
        site.sendmail()
    elif kind == "infected":
        site.clamd(says=FOUND)
        site.handler()
    return site.deliver(*(["--help"] if kind == "help" else []))


@pytest.fixture(scope="module")
def needed(command: Path, copied: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The first of RUNS that needs a file of the package, for each that one of them imports."""
    told = {"PYTHONPATH": str(copied), "PYTHONPROFILEIMPORTTIME": "1"}
    found: dict[str, str] = {}
    for kind in RUNS:
        with Site([command], tmp_path_factory.mktemp("needed"), environment=told) as site:
            site.clamd()
            site.smtp()
            output = run(site, kind).output.decode()
        for name in re.findall(r"^import time: .* avcheck\b([.\w]*)$", output, re.M):
            place = PACKAGE.joinpath(*name.split(".")[1:])
            path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            found.setdefault(str(path.relative_to(PACKAGE)), kind)
    assert found["__main__.py"] == found["scanners/clamd.py"] == "clean, by SMTP"
    assert set(found.values()) == set(RUNS)
    return found


# Without its __init__.py a package lacks its version, which no message needs; those of two
# folders are empty.
HARMLESS = [
    (module, how)
    for module in ("__init__.py", "options/__init__.py", "state/__init__.py")
    for how in ("missing", "empty")
]


@pytest.mark.parametrize(
    ("module", "how"), [pair for pair in itertools.product(MODULES, BROKEN) if pair not in HARMLESS]
)
def test_a_broken_installation_keeps_the_message(
    site: Site, copied: Path, needed: dict[str, str], module: str, how: str
) -> None:
    path = copied / "avcheck" / module
    aside = path.rename(copied / "aside")
    site.surround({"PYTHONPATH": str(copied)})
    try:
        if (text := BROKEN[how]) is not None:
            path.write_text(text)
        ended = run(site, needed.get(module, RUNS[0]))
    finally:
        aside.replace(path)
    assert site.left == []
    if module not in needed:  # it serves an option of its own, and nobody else needs it
        assert ended.status == 0
        return
    assert ended.status == TEMPFAIL
    # Help may get on with an empty module; without a message it is 75 all the same.
    assert re.match(rb"4\.3\.[05] avcheck: ", ended.output) or needed[module] == "help", ended
    assert site.delivered == []
    assert site.calls == 0


def test_the_copied_package_works_when_nothing_is_broken(site: Site, copied: Path) -> None:
    site.surround({"PYTHONPATH": str(copied)})
    assert site.deliver().status == 0


# Maintenance.


@pytest.mark.parametrize("kind", ["file", "directory", "dangling symbolic link"])
def test_a_waitfile_holds_every_message_back(site: Site, tmp_path: Path, kind: str) -> None:
    waitfile = tmp_path / "wait"
    if kind == "file":
        waitfile.touch()
    elif kind == "directory":
        waitfile.mkdir()
    else:
        waitfile.symlink_to("nowhere")
    site.assert_kept(site.deliver("-w", str(waitfile)), "4.3.2", str(waitfile))
    assert site.scanner.questions == []
    # Nothing else is looked at, and nothing else is a reason.
    site.assert_kept(site.deliver("-w", str(waitfile), spool=tmp_path / "none"), "4.3.2")


def test_without_its_waitfile_a_message_goes_on(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for waitfile in ("wait", "nowhere/wait", "file/wait"):
        assert site.deliver("-w", str(tmp_path / waitfile)).status == 0
    assert len(site.delivered) == 3


def test_a_waitfile_that_cannot_be_seen_holds_back(unprivileged: Site) -> None:
    """Otherwise a directory closed by mistake would end the maintenance."""
    closed = unprivileged.directory / "closed"
    closed.mkdir(0)
    ended = unprivileged.deliver("-w", str(closed / "wait"))
    unprivileged.assert_kept(ended, "waitfile", "Permission denied")
    assert unprivileged.scanner.questions == []


def test_a_locked_spool_directory_holds_every_message_back(site: Site) -> None:
    fd = os.open(site.spool, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        site.assert_kept(site.deliver(), "4.3.2", "locked")
        assert site.scanner.questions == []
        fcntl.flock(fd, fcntl.LOCK_UN)
        assert site.deliver().status == 0
    finally:
        os.close(fd)


def test_runs_share_the_lock_and_hold_it_to_the_end(site: Site) -> None:
    site.clamd(hold="asked")
    running = [site.start(site.words()).feed() for _ in range(2)]
    until(lambda: len(site.scanner.questions) == 2)
    fd = os.open(site.spool, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        site.scanner.release()
        for each in running:
            assert each.end().status == 0
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)

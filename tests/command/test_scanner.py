"""The scanner: clean has to be proved; whatever else it says, and however it goes away, defers."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from tests.support.mta import MAIL, RECIPIENT, Ended, Site, is_connecting, until
from tests.support.readings import seen_by_scanners, with_mark

FOUND = b"Eicar-Test-Signature FOUND"
WAYS = ["descriptor", "stream", "path"]
OBJECTS = {"descriptor": b"fd[10]", "stream": b"stream"}


# Not there.


def test_no_such_socket(site: Site, tmp_path: Path) -> None:
    ended = site.deliver(scanners=[f"clamd:{tmp_path}/none"])
    site.assert_kept(ended, "4.4.1", "clamd", f"{tmp_path}/none", "No such file", "running?")


def test_a_socket_that_nobody_listens_to(site: Site, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    ended = site.deliver(scanners=[f"clamd:{tmp_path}/dead"])
    site.assert_kept(ended, "4.4.1", f"{tmp_path}/dead", "refused", "running?")


def test_a_file_is_no_socket(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    site.assert_kept(site.deliver(scanners=[f"clamd:{tmp_path}/file"]), "4.4.1", "refused")


def test_a_path_too_long_for_a_socket(site: Site) -> None:
    site.assert_kept(site.deliver(scanners=["clamd:/" + "x" * 200]), "AF_UNIX path too long")


def test_nobody_listens_to_a_port(site: Site) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{closed.getsockname()[1]}"
        ended = site.deliver(scanners=[f"clamd:{where}"])
    site.assert_kept(ended, "4.4.1", where, "refused", "running?")


def test_a_host_that_nobody_knows(site: Site) -> None:
    # .invalid: RFC 6761 6.4; with a port that is no service no name server is asked, either.
    ended = site.deliver(scanners=["clamd:av.invalid:no-such-service"])
    site.assert_kept(ended, "4.4.1", "av.invalid", "no such host or service")


@pytest.mark.parametrize("closed", ["socket", "directory"])
def test_permission_denied(unprivileged: Site, closed: str) -> None:
    directory = unprivileged.directory / "closed"
    directory.mkdir()
    scanner = unprivileged.clamd()
    (directory / "clamd").hardlink_to(scanner.where)
    (directory / "clamd").chmod(0o600 if closed == "socket" else 0o666)
    directory.chmod(0o755 if closed == "socket" else 0o700)
    if unprivileged.user is None:  # the socket is our own
        (directory / "clamd" if closed == "socket" else directory).chmod(0)
    ended = unprivileged.deliver(scanners=[f"clamd:{directory}/clamd"])
    directory.chmod(0o755)
    unprivileged.assert_kept(ended, "4.4.1", "Permission denied", "needs access to the socket")


# There, but no answer.


@pytest.mark.parametrize("tcp", [False, True], ids=["Unix", "TCP"])
def test_a_scanner_that_hangs_up_at_once(site: Site, tcp: bool) -> None:
    site.clamd(tcp, hangs_up=True)
    site.assert_kept(site.deliver(), "4.4.", "clamd", site.scanner.where)


@pytest.mark.parametrize("way", WAYS)
def test_a_scanner_that_closes_without_a_word(site: Site, way: str) -> None:
    site.clamd(reply=b"")
    ended = site.deliver(scanners=[f"clamd+{way}:{site.scanner.where}"])
    site.assert_kept(ended, "4.4.2", "clamd", site.scanner.where, "without an answer")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("says", [b"OK", FOUND], ids=["clean", "infected"])
def test_a_reply_cut_short_after_any_byte_is_no_reply(site: Site, way: str, says: bytes) -> None:
    """But for its end: what is found is found without that."""
    handler = site.handler()
    # By path the object's name is as long as the path is; its end is what matters.
    length = len(OBJECTS.get(way, b"/avcheck.") + b": " + says)
    for missing in range(1, length + 2):
        site.clamd(says=says, cut=-missing)
        ended = site.deliver(scanners=[f"clamd+{way}:{site.scanner.where}"])
        if says == FOUND and missing == 1:
            assert (ended.status, handler.calls) == (0, 1)
        else:
            site.assert_kept(ended, "4.4.2", "clamd")
    assert handler.calls == (says == FOUND)
    assert site.delivered == []


@pytest.mark.parametrize("way", WAYS)
def test_a_reply_that_comes_byte_by_byte_is_a_reply(site: Site, way: str) -> None:
    handler = site.handler()
    for says in (b"OK", FOUND):
        site.clamd(says=says, one_by_one=True)
        assert site.deliver(scanners=[f"clamd+{way}:{site.scanner.where}"]).status == 0
    assert len(site.delivered) == 1
    assert handler.calls == 1
    assert site.left == []


GARBAGE = {
    "a word": b"garbage",
    "NUL alone": b"\0",
    "OK alone": b"OK\0",
    "no object": b": OK\0",
    "no NUL": b"fd[10]: OK",
    "LF for NUL": b"fd[10]: OK\n",
    "lower case": b"fd[10]: ok\0",
    "more than OK": b"fd[10]: OKAY\0",
    "a blank after OK": b"fd[10]: OK \0",
    "a blank before": b" fd[10]: OK\0",
    "no number": b"fd[]: OK\0",
    "another object": b"stream: OK\0",
    "another file": b"/etc/passwd: OK\0",
    "twice": b"fd[10]: OK\0fd[10]: OK\0",
    "something after": b"fd[10]: OK\0?",
    "an error, then OK": b"fd[10]: Not a regular file ERROR\nfd[10]: OK\0",
    "an error": b"fd[10]: Can't allocate memory ERROR\0",
    "no descriptor": b"No file descriptor received. ERROR\0",
    "a slow command": b"COMMAND READ TIMED OUT\n",
    "an unknown command": b"UNKNOWN COMMAND\0",
    "an empty file": b"fd[10]: Empty file\0",
    "excluded": b"fd[10]: Excluded\0",
    "PONG": b"PONG\0",
    "HTTP": b"HTTP/1.0 200 OK\r\n\r\n",
    "SMTP": b"220 mx ESMTP\r\n",
    "not ASCII": b"\xff\xfe\x1b[31m5.7.1 OK\0",
    "an enhanced status code": b"5.7.1 rejected\0",
    "far too much": b"fd[10]: OK\0" * 10_000,
    "no end": b"x" * 1_000_000,
}


def assert_not_clean(site: Site, ended: Ended) -> None:
    site.assert_kept(ended, "4.4.2", "clamd", site.scanner.where)
    assert ended.output.isascii()
    assert ended.output.endswith(b"\n")
    assert len(ended.output) < 1000
    assert all(byte >= 0x20 for byte in ended.output[:-1])


@pytest.mark.parametrize("reply", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_not_clean(site: Site, reply: bytes) -> None:
    site.clamd(reply=reply)
    ended = site.deliver()
    assert_not_clean(site, ended)
    assert (b"more than" in ended.output) == (len(reply) > 10_000)


# Replies that would be clean, but are about something else.
STRANGERS = {
    "stream": [b"fd[10]: OK\0", b"streams: OK\0", b"/stream: OK\0", b"a stream: OK\0"],
    "path": [
        b"stream: OK\0",
        b"/etc/passwd: OK\0",
        b"Access denied to @: OK\0",
        b"@: No such file ERROR\n@: OK\0",
        b"@: x: OK\0",
        b"@.gz: OK\0",
    ],
}


@pytest.mark.parametrize(
    ("way", "reply"), [(way, reply) for way in STRANGERS for reply in STRANGERS[way]]
)
def test_ok_for_something_else_is_not_clean(site: Site, way: str, reply: bytes) -> None:
    site.clamd(reply=reply)
    assert_not_clean(site, site.deliver(scanners=[f"clamd+{way}:{site.scanner.where}"]))


def test_ok_for_the_real_path_is_clean(site: Site) -> None:
    """clamd resolves symbolic links in the directories."""
    site.clamd(reply=b"/private@: OK\0")
    assert site.deliver(scanners=[f"clamd+path:{site.scanner.where}"]).status == 0


@pytest.mark.parametrize("stage", ["connected", "asked"])
def test_a_silent_scanner_is_waited_for_as_long_as_t_says(site: Site, stage: str) -> None:
    site.clamd(hold=stage)
    ended = site.deliver("-t", "0.1")
    site.assert_kept(ended, "4.4.7", "clamd", site.scanner.where, "no answer in time")


def test_a_silent_scanner_is_waited_for_as_long_as_the_deadline_says(site: Site) -> None:
    site.clamd(hold="asked")
    ended = site.deliver("--deadline", "0.3")
    site.assert_kept(ended, "4.4.7")


def test_a_scanner_that_takes_nothing_is_given_up(site: Site) -> None:
    site.clamd(tcp=True, hold="connected")
    ended = site.deliver("-t", "0.2", message=b"x" * 20_000_000)
    site.assert_kept(ended, "4.4.7", "does not take the message in time")


@pytest.mark.parametrize("tcp", [False, True], ids=["Unix", "TCP"])
@pytest.mark.parametrize("takes", [0, 1000, 100_000])
def test_what_the_scanner_says_while_we_send_is_heard(site: Site, tcp: bool, takes: int) -> None:
    """Over StreamMaxLength clamd says so and hangs up; we have sent on, and are told EPIPE."""
    handler = site.handler()
    site.clamd(tcp, reply=b"INSTREAM size limit exceeded. ERROR\0", takes=takes)
    ended = site.deliver(scanners=[f"clamd+stream:{site.scanner.where}"], message=b"x" * 5_000_000)
    assert ended.status == 0, ended
    assert handler.environment[b"AVCHECK_VERDICT"] == b"unscannable"
    assert handler.argv[2] == b"INSTREAM size limit exceeded. ERROR"


def test_ok_for_half_a_message_is_not_clean(site: Site) -> None:
    site.clamd(reply=b"stream: OK\0", takes=1000)
    ended = site.deliver(scanners=[f"clamd+stream:{site.scanner.where}"], message=b"x" * 5_000_000)
    site.assert_kept(ended, "4.4.2", "clamd")


# Which way, and which words.


def test_the_way_follows_from_the_place(site: Site) -> None:
    assert site.deliver().status == 0
    assert [question.way for question in site.scanner.questions] == ["FILDES"]
    site.clamd(tcp=True)
    assert site.deliver().status == 0
    port = site.scanner.where.removeprefix("127.0.0.1")
    assert site.deliver(scanners=[f"clamd:{port}"]).status == 0
    assert [question.way for question in site.scanner.questions] == ["INSTREAM"] * 2


@pytest.mark.parametrize("way", WAYS)
def test_every_way_shows_the_same_bytes(site: Site, way: str) -> None:
    message = b"upper: \0\r\n\xff\n" * 100_000
    assert site.deliver(scanners=[f"clamd+{way}:{site.scanner.where}"], message=message).status == 0
    assert [with_mark(each.content) for each in site.scanner.questions] == seen_by_scanners(message)
    assert site.left == []


SAYS = {
    "a name": (b"Eicar-Test-Signature FOUND", "infected", b"Eicar-Test-Signature"),
    "with digest": (b"Eicar(44d88612fea8a8f36de82e1278abb02f:68) FOUND", "infected", b"Eicar"),
    "no name": (b"(null) FOUND", "infected", b""),
    "macro": (b"Heuristics.OLE2.ContainsMacros.VBA FOUND", "policy", None),
    "limits": (b"Heuristics.Limits.Exceeded.MaxFileSize FOUND", "unscannable", None),
    "encrypted": (b"Heuristics.Encrypted.Zip FOUND", "encrypted", None),
    "phishing": (b"Heuristics.Phishing.Email.SpoofedDomain FOUND", "suspicious", None),
    "hostile": (b"x\x1b[2J'$(id)\xff FOUND", "infected", b"x?[2J'$(id)?"),
}


@pytest.mark.parametrize(("says", "verdict", "name"), SAYS.values(), ids=SAYS)
def test_what_is_found_goes_to_the_handler(
    site: Site, says: bytes, verdict: str, name: bytes | None
) -> None:
    site.clamd(says=says)
    handler = site.handler()
    ended = site.deliver()
    assert ended.status == 0
    assert ended.output.startswith(f"{verdict}: ".encode())
    assert handler.environment[b"AVCHECK_VERDICT"] == verdict.encode()
    if name is not None:
        assert handler.environment[b"AVCHECK_VIRUS"] == name
    assert handler.note("message") == MAIL
    assert site.delivered == []
    assert site.left == []


# Several.


def test_the_next_place_is_tried_when_one_cannot_be_reached(site: Site, tmp_path: Path) -> None:
    alive = site.scanner.where
    assert site.deliver(scanners=[f"clamd:{tmp_path}/dead,:1,{alive}"]).status == 0
    assert [question.way for question in site.scanner.questions] == ["FILDES"]


def test_no_place_at_all_is_said_with_every_reason(site: Site, tmp_path: Path) -> None:
    ended = site.deliver(scanners=[f"clamd:{tmp_path}/a,{tmp_path}/b"])
    site.assert_kept(ended, "4.4.1", f"{tmp_path}/a: ", f"{tmp_path}/b: ")


def test_a_place_that_answers_nonsense_is_not_replaced(site: Site) -> None:
    second = site.scanner
    first = site.clamd(reply=b"")
    site.assert_kept(site.deliver(scanners=[f"clamd:{first.where},{second.where}"]), "4.4.2")
    assert second.questions == []


def test_all_scanners_are_asked_at_the_same_time(site: Site) -> None:
    scanners = [site.scanner, site.clamd(hold="asked"), site.clamd(hold="asked")]
    running = site.start(site.words(scanners=[f"clamd:{each.where}" for each in scanners]))
    running.feed()
    for each in scanners[1:]:
        each.arrived()  # neither waits for the answer of the other
    for each in scanners[1:]:
        assert site.delivered == []
        each.release()
    ended = running.end()
    assert ended.status == 0
    assert ended.output.startswith(b"clean: ")
    assert len(site.delivered) == 1


@pytest.mark.parametrize("way", WAYS)
def test_several_scanners_see_the_whole_message_each(site: Site, way: str) -> None:
    scanners = [site.scanner, site.clamd(), site.clamd(tcp=True)]
    ways = [f"clamd+{way}:{each.where}" for each in scanners[:2]]
    message = random.Random(1).randbytes(3_000_000)
    ended = site.deliver(scanners=[*ways, f"clamd:{scanners[2].where}"], message=message)
    assert ended.status == 0
    for each in scanners:
        assert [with_mark(asked.content) for asked in each.questions] == seen_by_scanners(message)
    assert site.left == []


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("failure", ["dead", "cut", "garbage", "silent"])
def test_one_of_two_that_fails_defers(site: Site, tmp_path: Path, place: int, failure: str) -> None:
    scanners = [f"clamd:{site.scanner.where}"]
    scanners.insert(place, failing(site, tmp_path, failure))
    site.assert_kept(site.deliver("-t", "0.2", scanners=scanners), "4.4.", "clamd")


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("failure", ["dead", "cut", "garbage", "silent"])
def test_infected_wins_over_a_failure(site: Site, tmp_path: Path, place: int, failure: str) -> None:
    """Otherwise one dead daemon stops the quarantine."""
    site.clamd(says=FOUND)
    handler = site.handler()
    scanners = [f"clamd:{site.scanner.where}"]
    scanners.insert(place, failing(site, tmp_path, failure))
    ended = site.deliver("-t", "0.2", scanners=scanners)
    assert ended.status == 0, ended
    assert handler.note("message") == MAIL
    assert handler.argv[-1] == RECIPIENT
    assert site.delivered == []
    assert site.left == []


def failing(site: Site, directory: Path, failure: str) -> str:
    """A scanner that fails in this way; the site's own stays."""
    own = site.scanner
    if failure == "dead":
        return f"clamd:{directory}/dead"
    if failure == "silent":
        site.clamd(hold="asked")
    else:
        site.clamd(reply=b"" if failure == "cut" else b"fd[10]: OK\0fd")
    other, site.scanner = site.scanner, own
    return f"clamd:{other.where}"


def test_a_busy_scanner_is_waited_for(site: Site) -> None:
    """clamd that reloads accepts nobody; when its backlog is full, Linux says EAGAIN at once."""
    scanner = site.clamd(listens=False)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(scanner.where)
        with socket.socket(socket.AF_UNIX) as second, pytest.raises(BlockingIOError):
            second.setblocking(False)
            second.connect(scanner.where)
        running = site.start(site.words()).feed()
        until(lambda: is_connecting(running.process.pid))
        scanner.serve()
        assert running.end().status == 0
    assert site.delivered


def test_a_busy_scanner_is_not_waited_for_longer_than_t_says(site: Site) -> None:
    scanner = site.clamd(listens=False)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(scanner.where)
        site.assert_kept(site.deliver("-t", "0.1"), "4.4.1", "no answer in time")

"""The programs and lines of docs/other-mtas.md."""

from __future__ import annotations

import os
import re
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from avcheck.admin import guide
from tests.live.recipe import MailSystem, blocks
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import packages, unpacked
from tests.support.servers.fresh import fresh
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "other-mtas.md"


class Place:
    """A home for the account, and the programs of a package; runs one of them as the account."""

    def __init__(self, mail_system: MailSystem, directory: Path) -> None:
        self.mail_system = mail_system
        self.home = directory
        self.names = {
            **mail_system.names,
            "127.0.0.1:10026": mail_system.sink.address,
        }

    def write(self, block: str, *changes: tuple[str, str]) -> Path:
        """A block of the page as a file that only the account can read."""
        text = guide.adapted(blocks(DOCUMENT)[block], self.names)
        for documented, ours in changes:
            assert documented in text
            text = text.replace(documented, ours)
        file = self.home / block
        file.write_text(text)
        file.chmod(0o600)
        shutil.chown(file, self.mail_system.client, self.mail_system.group)
        return file

    def run(
        self, words: list[str], message: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program as the account, as a mail system does, with the message as its input."""
        return subprocess.run(
            words,
            input=message.replace(b"\r\n", b"\n"),
            cwd=self.home,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "LOGNAME": self.mail_system.client,
                "USER": self.mail_system.client,
                **(environment or {}),
            },
            user=self.mail_system.client,
            group=self.mail_system.group,
            extra_groups=[],
            capture_output=True,
            check=False,
        )


@pytest.fixture
def place(mail_system: MailSystem, open_directory: Path) -> Iterator[Place]:
    directory = fresh(open_directory / "home")
    shutil.chown(directory, mail_system.client, mail_system.group)
    yield Place(mail_system, directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def tools(open_directory: Path) -> Path:
    packages.need_root("the programs are run as another account")
    return unpacked.unpack(
        open_directory / "tools",
        *("procmail", "maildrop", "courier-authlib", "fetchmail", "getmail6"),
    )


def libraries(tools: Path) -> dict[str, str]:
    """Where the libraries are that came with a package."""
    places = {str(each.parent) for each in tools.rglob("lib*.so*")}
    return {"LD_LIBRARY_PATH": ":".join(sorted(places))}


def ask(place: Place, words: list[str], environment: dict[str, str]) -> None:
    """Four messages through a program that asks first: each goes where the page says."""
    mail_system = place.mail_system
    mailbox = place.home / "mailbox"
    clean, infected, early = letter("Grüße\n"), with_attachment(EICAR), letter()

    def mark(message: bytes) -> bytes:
        found = re.search(rb"X-Token: \w+", message)
        assert found
        return found[0]

    done = place.run(words, clean, environment)
    assert done.returncode == 0, done
    assert mailbox.read_bytes().count(mark(clean)) == 1

    done = place.run(words, infected, environment)
    assert done.returncode == 0, done
    assert mark(infected) not in mailbox.read_bytes()
    assert len(mail_system.quarantined(infected)) == 1

    mail_system.waitfile.touch()
    mail_system.clamd.stop()
    try:
        done = place.run(words, early, environment)
    finally:
        mail_system.waitfile.unlink()
        mail_system.clamd.start()
    assert done.returncode == 75, done
    assert mark(early) not in mailbox.read_bytes()

    done = place.run(words, early, environment)
    assert done.returncode == 0, done
    assert mailbox.read_bytes().count(mark(early)) == 1
    assert mail_system.left_behind() == []


def test_procmail_asks_first(place: Place, tools: Path) -> None:
    file = place.write("procmailrc")
    with open(file, "a") as rules:
        rules.write(f"\n:0:\n{place.home}/mailbox\n")
    program = tools / "usr" / "bin" / "procmail"
    program.chmod(0o755)
    ask(place, [str(program), "-t", "-m", str(file)], {})


def test_maildrop_asks_first(place: Place, tools: Path) -> None:
    file = place.write("mailfilter")
    with open(file, "a") as rules:
        rules.write(f'\nto "{place.home}/mailbox"\n')
    program = tools / "usr" / "bin" / "maildrop"
    program.chmod(0o755)
    ask(place, [str(program), str(file)], libraries(tools))


class Pop3(socketserver.ThreadingTCPServer):
    """A POP3 server with a mailbox for everybody; what is deleted in a session is gone."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, messages: list[bytes]) -> None:
        self.messages = dict(enumerate(messages, 1))
        super().__init__(("127.0.0.1", 0), _Mailbox)
        self.port: int = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Mailbox(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Pop3)
        messages, deleted = dict(self.server.messages), set()
        self._say("+OK")
        while line := self.rfile.readline().decode().strip():
            word, *rest = line.upper().split()
            number = int(rest[0]) if rest and rest[0].isdigit() else 0
            if word == "STAT":
                self._say(f"+OK {len(messages)} {sum(map(len, messages.values()))}")
            elif word in ("LIST", "UIDL") and number:
                self._say(f"+OK {number} {len(messages[number])}")
            elif word in ("LIST", "UIDL"):
                self._say("+OK", *(f"{at} {len(each)}" for at, each in messages.items()), ".")
            elif word in ("RETR", "TOP"):
                stuffed = re.sub(rb"(?m)^\.", b"..", messages[number])
                self.wfile.write(b"+OK\r\n" + stuffed + b".\r\n")
            elif word in ("USER", "PASS", "NOOP", "RSET"):
                self._say("+OK")
            elif word == "DELE":
                deleted.add(number)
                self._say("+OK")
            elif word == "QUIT":
                for at in deleted:
                    self.server.messages.pop(at, None)
                self._say("+OK")
                return
            else:
                self._say("-ERR")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


def fetch(place: Place, words: list[str], server: Pop3, messages: list[bytes]) -> None:
    """While clamd is stopped all mail stays on the server; later all of it goes its ways."""
    mail_system = place.mail_system
    clean, infected = messages
    mail_system.clamd.stop()
    try:
        place.run(words)
        assert len(server.messages) == 2
        assert mail_system.delivered(clean) == []
    finally:
        mail_system.clamd.start()
    done = place.run(words)
    assert server.messages == {}, done
    [received] = mail_system.delivered(clean)
    assert received.recipients == [b"bert@example.net"]
    assert received.sender == b"anna@example.com"
    assert len(mail_system.quarantined(infected)) == 1
    assert mail_system.left_behind() == []


def fetched() -> list[bytes]:
    return [b"Return-Path: <anna@example.com>\r\n" + letter(), with_attachment(EICAR)]


def test_fetchmail_leaves_on_the_server_what_was_not_taken(place: Place, tools: Path) -> None:
    messages = fetched()
    with Pop3(messages) as server:
        file = place.write(
            "fetchmailrc",
            ("pop.example.net", "127.0.0.1"),
            ("POP3\n", f"POP3 port {server.port}\n"),
        )
        program = tools / "usr" / "bin" / "fetchmail"
        words = [str(program), "-f", str(file), "--nosyslog", "--sslproto", "", "--pidfile"]
        fetch(place, [*words, str(place.home / "pid")], server, messages)
        server.shutdown()


def test_getmail_leaves_on_the_server_what_was_not_taken(place: Place, tools: Path) -> None:
    messages = fetched()
    with Pop3(messages) as server:
        file = place.write("getmailrc", ("= pop.example.net", f"= 127.0.0.1\nport = {server.port}"))
        modules = next(tools.rglob("getmailcore")).parent
        words = ["/usr/bin/python3", str(tools / "usr" / "bin" / "getmail")]
        words += ["--getmaildir", str(place.home), "--rcfile", str(file)]
        environment = {"PYTHONPATH": str(modules), "PYTHONDONTWRITEBYTECODE": "1"}
        # getmail looks for its own modules through the environment.
        fetch(
            place, ["env", *(f"{k}={v}" for k, v in environment.items()), *words], server, messages
        )
        server.shutdown()


def command_of(block: str) -> str:
    """The command that the mail system gives to /bin/sh."""
    text = blocks(DOCUMENT)[block]
    if block == "dot-qmail":
        return text.strip().removeprefix("|")
    found = re.search(r'mda "((?:[^"\\]|\\.)*)"', text)
    assert found
    return found[1].replace('\\"', '"')


@pytest.mark.parametrize("block", ["smtpd.conf", "dot-qmail"])
def test_the_command_for_openbsds_and_bernsteins_does_the_same(place: Place, block: str) -> None:
    command = guide.adapted(command_of(block), place.names)
    clean, infected, waits = letter(), with_attachment(EICAR), letter()

    def run(message: bytes, sender: str) -> int:
        environment = {"SENDER": sender, "RECIPIENT": "-b'ert $(id)@example.net"}
        return place.run(["/bin/sh", "-c", command], message, environment).returncode

    mail_system = place.mail_system
    for message, sender in ((clean, ""), (infected, "anna@example.com")):
        assert run(message, sender) == 0
    [received] = mail_system.delivered(clean)
    assert (received.sender, received.recipients) == (b"", [b'"-b\'ert $(id)"@example.net'])
    assert len(mail_system.quarantined(infected)) == 1
    mail_system.waitfile.touch()
    mail_system.clamd.stop()
    try:
        assert run(waits, "anna@example.com") == 75
    finally:
        mail_system.waitfile.unlink()
        mail_system.clamd.start()
    assert mail_system.delivered(waits) == []

"""A set-up in which a test makes one mistake, has doctor find it, and does as doctor says."""

from __future__ import annotations

import os
import re
import smtplib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from tests.live.doctor.findings import CTL, Finding, doctor, finding
from tests.live.recipe import MailSystem
from tests.support.letters import EICAR, letter, token, with_attachment
from tests.support.servers.clamd import Clamd
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix

# A line with options of a service, as a remedy writes it.
SERVICE = re.compile(r"^(\S+) (inet|unix|pass) \.\.\. \S+$")
ATTRIBUTE = re.compile(r"^(flags|user|null_sender|size|directory)=\S*$")
# Seconds by which a file that was changed is made older, for Postfix waits for a new one.
AGE = 5


class Seeded:
    """The documented set-up with a second door, one Postfix and one clamd for all the faults."""

    def __init__(self, system: MailSystem, postfix: Postfix, door: int) -> None:
        self.system = system
        self.postfix = postfix
        self.door = door
        self.clamd = system.clamd
        names = ("main.cf", "master.cf", "avcheck_dsn")
        self.saved = {name: (postfix.config / name).read_text() for name in names}
        self.settings = dict(system.clamd.settings)
        found = re.search(r"-S 127\.0\.0\.1:(\d+)", self.saved["master.cf"])
        assert found
        self.back = int(found[1])

    # Making mistakes.

    def write(self, name: str, text: str, age: float = AGE) -> None:
        path = self.postfix.config / name
        path.write_text(text)
        os.utime(path, (time.time() - age, time.time() - age))

    def change(self, old: str, new: str, name: str = "master.cf") -> None:
        text = (self.postfix.config / name).read_text()
        assert old in text, old
        self.write(name, text.replace(old, new))

    def set(self, **parameters: str) -> None:
        """Parameters of main.cf."""
        self.postconf("-e", *(f"{name}={value}" for name, value in parameters.items()))

    def postconf(self, *words: str) -> None:
        self.postfix.command("postconf", *words)
        for name in ("main.cf", "master.cf"):
            before = time.time() - AGE
            os.utime(self.postfix.config / name, (before, before))

    def reload(self) -> None:
        self.postfix.reload()

    def restart_clamd(self, **settings: str) -> None:
        self.clamd.stop()
        self.clamd.settings = {**self.clamd.settings, **settings}
        self.clamd.start()

    @contextmanager
    def intact_afterwards(self) -> Iterator[None]:
        """As it was when the test is over: no message, no change."""
        try:
            yield
        finally:
            for name, text in self.saved.items():
                self.write(name, text)
            self.clamd = self.system.clamd
            self.clear()
            self.reload()
            if self.clamd.settings != self.settings or self.clamd._process is None:
                self.clamd.stop()
                self.clamd.settings = dict(self.settings)
                self.clamd.start()

    def clear(self) -> None:
        self.postfix.command("postsuper", "-d", "ALL")
        with suppress(OSError):
            (self.system.spool / "wait").rmdir()
        for name in ("wait", "wait.lock", "avcheck.old", "metrics.prom", "metrics.prom.lock"):
            (self.system.spool / name).unlink(missing_ok=True)
        assert self.system.left_behind() == []

    # Asking.

    def doctor(self, *, command: bool = False) -> list[Finding]:
        return doctor(f"--postfix={self.postfix.config}", command=command)

    def finding(self, check: str, level: str, said: str = "") -> Finding:
        return finding(self.doctor(), check, level, said)

    # Doing as it says.

    def follow(self, remedy: str) -> None:
        """Do what the remedy says, literally: a command, or lines for the file they belong to."""
        lines = remedy.splitlines()
        clamd = dict(line.split(" ", 1) for line in lines if re.match(r"^[A-Z]\w+ \S+$", line))
        if service := SERVICE.match(lines[0]):
            for line in lines[1:]:
                parameter = line.strip().removeprefix("-o ")
                self.postconf("-P", f"{service[1]}/{service[2]}/{parameter}")
        elif len(clamd) == len(lines):
            self.restart_clamd(**clamd)
        elif re.match(r"^\w+ =", remedy):
            for line in lines:
                self.postconf("-e", line)
        elif ATTRIBUTE.match(remedy):
            name = remedy.partition("=")[0]
            self.change(*self._word(rf" {name}=\S*", f" {remedy}"))
        elif remedy.startswith("-"):
            self._options(remedy)
        elif re.search(r"(service|systemctl) .*restart|restart clamav-daemon", remedy):
            self.restart_clamd()
        else:
            path = f"{CTL.parent}:{self.postfix.environment['PATH']}"
            words = ["sh", "-euc", remedy]
            subprocess.run(words, env=self.postfix.environment | {"PATH": path}, check=True)
            for name in ("main.cf", "master.cf"):
                self.write(name, (self.postfix.config / name).read_text())
        self.reload()

    def _word(self, pattern: str, new: str) -> tuple[str, str]:
        text = (self.postfix.config / "master.cf").read_text()
        found = re.search(pattern, text)
        assert found, pattern
        return found[0], new

    def _options(self, remedy: str) -> None:
        """Options of avcheck: in the place of those with that name, or before the others."""
        for option, value in re.findall(r"(--?\w[\w-]*) (\S+)", remedy):
            text = (self.postfix.config / "master.cf").read_text()
            if option == "-S":  # a program's has several
                text = re.sub(r"(?<= -S )(\S+)((?: -S -\S+)*)", r"\1", text)
            pattern = rf"(?<=\s){re.escape(option)} \S+"
            if re.search(pattern, text):
                self.write("master.cf", re.sub(pattern, f"{option} {value}", text, count=1))
            else:
                self.change(" --deadline", f" {option} {value} --deadline")

    # What becomes of mail.

    def send(self, message: bytes, port: int = 0) -> bool:
        """Whether a message is taken at that port, the front door's unless given."""
        try:
            with smtplib.SMTP("127.0.0.1", port or self.postfix.port, timeout=30) as client:
                client.sendmail("anna@example.com", ["bert@example.net"], message)
        except (OSError, smtplib.SMTPException):
            return False
        return True

    def virus_passes(self) -> list[str]:
        """The ways in by which the test virus arrives at the next hop."""
        ways: Mapping[str, Callable[[bytes], bool]] = {
            "front": self.send,
            "door": lambda each: self.send(each, self.door),
            "sendmail": self._by_sendmail,
        }
        sent = {}
        for name, way in ways.items():
            sent[name] = with_attachment(EICAR)
            way(sent[name])
        self.settle()
        return [name for name, each in sent.items() if self.system.delivered(each)]

    def _by_sendmail(self, message: bytes) -> bool:
        words = ("sendmail", "-i", "-f", "anna@example.com", "bert@example.net")
        self.postfix.command(*words, stdin=message.replace(b"\r\n", b"\n"))
        self.postfix.command("postqueue", "-f")
        return True

    def settle(self) -> None:
        """Wait until nothing is on its way."""

        def quiet() -> bool:
            queued = self.postfix.queue()
            return all(each.queue == "deferred" for each in queued)

        self.postfix.wait_until(quiet, "a quiet queue")
        time.sleep(0.2)
        self.postfix.wait_until(quiet, "a quiet queue")

    def only_clean_arrives(self) -> bool:
        """Whether a clean message arrives by the front door, and the test virus does not."""
        clean, virus = letter(), with_attachment(EICAR)
        assert self.send(virus)
        assert self.send(clean)
        self.settle()
        return bool(self.system.delivered(clean)) and not self.system.delivered(virus)

    def clean_arrives(self) -> bool:
        message = letter()
        assert token(message)
        assert self.send(message)
        self.settle()
        return bool(self.system.delivered(message))


@contextmanager
def seeded(system: MailSystem) -> Iterator[Seeded]:
    """The set-up, with a Postfix of its own that has a second door."""
    door = free_port()
    more = {"master.cf": f"127.0.0.1:{door} inet n - n - - smtpd\n"}
    with system.postfix("seeded", more=more) as postfix:
        site = Seeded(system, postfix, door)
        site.set(message_size_limit="3000000")
        site.saved["main.cf"] = (postfix.config / "main.cf").read_text()
        site.reload()
        yield site


@contextmanager
def by_tcp(site: Seeded, **settings: str) -> Iterator[Clamd]:
    """A clamd at a port, which the set-up asks in place of the other."""
    base = {"User": "clamav", "AlertExceedsMax": "yes", "AlertEncrypted": "yes"}
    daemon = Clamd(site.system.directory / "tcp", settings={**base, **settings}, tcp=True)
    with daemon:
        site.clamd = daemon
        site.change(f"clamd:{site.system.clamd.socket}", f"clamd:127.0.0.1:{daemon.port}")
        site.reload()
        yield daemon

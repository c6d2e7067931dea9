"""The documented pair of sendmails, in which a test makes a mistake, and does as doctor says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from avcheck.admin import guide
from tests.live.doctor.findings import CTL, Finding, doctor, finding
from tests.live.recipe import MailSystem
from tests.live.test_sendmail import names_of, pair
from tests.live.through import mark, replaced
from tests.support.letters import EICAR, letter, token, with_attachment
from tests.support.servers.ports import free_port
from tests.support.servers.sendmail import NAMED, Program, Sendmail

# A line for one of the two files, which is named behind its dnl.
LINE = re.compile(r"^(\w+)\(`(\w+)'.*\)dnl (\w+)\.mc$")

# A message that goes round comes to a queue each time: so often it is tried, and no more.
ROUNDS = 2

SIZE_MAX = 3_000_000


class SeededSendmail:
    """One pair for all the faults; place has both configurations, as /etc/mail would."""

    def __init__(
        self, system: MailSystem, program: Program, front: Sendmail, behind: Sendmail
    ) -> None:
        self.system = system
        self.halves = {"avcheck": front, "sendmail": behind}
        self.saved = {name: half.mc for name, half in self.halves.items()}
        self.place = front.directory.parent / "etc"
        self.place.mkdir()
        self.bin = front.directory.parent / "bin"
        self.bin.mkdir()
        wrapper = " ".join(f"'{word}'" for word in [*NAMED, str(program.sendmail)])
        (self.bin / "sendmail").write_text(f'#!/bin/sh\nexec {wrapper} "$@"\n')
        (self.bin / "sendmail").chmod(0o755)
        self.make()

    @property
    def front(self) -> Sendmail:
        return self.halves["avcheck"]

    @property
    def behind(self) -> Sendmail:
        return self.halves["sendmail"]

    # Making mistakes.

    def change(self, old: str, new: str, name: str = "avcheck") -> None:
        half = self.halves[name]
        assert old in half.mc, old
        half.mc = half.mc.replace(old, new)
        self.make()

    def define(self, macro: str, value: str, name: str = "avcheck") -> None:
        """Another line, after the one that there may be."""
        self.change(
            "MAILER(`local')dnl\n", f"define(`{macro}', `{value}')dnl\nMAILER(`local')dnl\n", name
        )

    def make(self) -> None:
        """Both configurations, of their sources."""
        for name, half in self.halves.items():
            half.make()
            for kind in ("mc", "cf"):
                shutil.copyfile(half.directory / f"sendmail.{kind}", self.place / f"{name}.{kind}")

    def restart(self) -> None:
        for half in self.halves.values():
            half.stop()
            half.start()

    @contextmanager
    def intact_afterwards(self) -> Iterator[None]:
        """As it was when the test is over: no message, no change."""
        try:
            yield
        finally:
            self.clear()
            shutil.chown(self.system.spool, self.system.client)
            if {name: half.mc for name, half in self.halves.items()} != self.saved:
                for name, text in self.saved.items():
                    self.halves[name].mc = text
                self.make()
                self.restart()
            assert self.system.left_behind() == []

    def clear(self) -> None:
        for half in self.halves.values():
            for file in (half.directory / "queue").iterdir():
                file.unlink()

    # Asking, and doing as it says.

    def doctor(self, *, command: bool = False) -> list[Finding]:
        path = f"{self.bin}:{os.environ['PATH']}"
        return doctor(f"--sendmail-cf={self.place}/avcheck.cf", path, command=command)

    def finding(self, check: str, level: str, said: str = "") -> Finding:
        return finding(self.doctor(), check, level, said)

    def follow(self, remedy: str) -> None:
        """Do what the remedy says, literally, but for the documented accounts and places."""
        remedy = self.system.adapted(remedy)
        remedy = remedy.replace("/var/spool/mqueue-avcheck", f"{self.front.directory}/queue")
        first, *lines = remedy.splitlines()
        if line := LINE.match(first):
            self._line(line[3], first)
            for option in lines:
                half = self.halves[line[3]]
                half.mc = re.sub(r"^DAEMON_OPTIONS.*\n", "", half.mc, flags=re.M)
                self._line(line[3], option)
        elif re.match(r"[A-Z]=", remedy):
            equates = re.findall(r"([FULESPWM]|A)=((?:[^,]|, (?!A=))+)", remedy)
            for letter_, value in equates:
                self._equate(letter_, value)
        elif remedy.startswith("-"):
            for option, value in re.findall(r"(--?\w[\w-]*) (\S+)", remedy):
                pattern = rf"(?<=\s){re.escape(option)} \S+(?: -S -\S+)*"
                assert re.search(pattern, self.front.mc), option
                self.front.mc = re.sub(pattern, f"{option} {value}", self.front.mc, count=1)
        else:
            environment = {**os.environ, "PATH": f"{CTL.parent}:{os.environ['PATH']}"}
            subprocess.run(["sh", "-euc", remedy], env=environment, check=True)
            for name, half in self.halves.items():
                half.mc = (self.place / f"{name}.mc").read_text()
        self.make()
        self.restart()

    def _line(self, name: str, line: str) -> None:
        half = self.halves[name]
        assert "MAILER(`local')dnl\n" in half.mc
        half.mc = half.mc.replace("MAILER(`local')dnl\n", f"{line}\nMAILER(`local')dnl\n")

    def _equate(self, letter_: str, value: str) -> None:
        """Another value of an equate of the mailer; of A= its first words."""
        before, begin, rest = self.front.mc.partition("Mavcheck,")
        if letter_ == "A":
            new = re.sub(r"(?<=\sA=)[^-]+?(?= -)", value, rest, count=1)
        elif re.search(rf"\b{letter_}=", rest.partition("A=")[0]):
            new = re.sub(rf"\b{letter_}=[^,]*", lambda _: f"{letter_}={value}", rest, count=1)
        else:
            new = f" {letter_}={value},{rest}"
        self.front.mc = before + begin + new

    # What becomes of mail.

    def run(self) -> None:
        for _ in range(ROUNDS):
            self.front.run_queue()
            self.behind.run_queue()

    def virus_passes(self) -> bool:
        """Whether the test virus arrives at the next hop."""
        virus = with_attachment(EICAR)
        self.front.submit("anna@example.com", ["bert@example.net"], virus)
        self.run()
        return bool(self.system.delivered(virus))

    def only_clean_arrives(self) -> bool:
        """Whether a clean message arrives, and the test virus does not."""
        clean, virus = letter(), with_attachment(EICAR)
        for each in (virus, clean):
            self.front.submit("anna@example.com", ["bert@example.net"], each)
        self.run()
        queued = [*self.front.queue(), *self.behind.queue()]
        assert token(clean) not in [mark(each) for each in queued], self.front.log
        return bool(self.system.delivered(clean)) and not self.system.delivered(virus)


@contextmanager
def seeded_sendmail(system: MailSystem, program: Program) -> Iterator[SeededSendmail]:
    """Two sendmails with the documented lines, in a place of their own."""
    directory, ports = system.directory / "seeded-sendmail", (free_port(), free_port())
    parts = guide.configuration("sendmail", names_of(system, directory, *ports))
    # doctor has the scanner look at a mail that is as large as any.
    mc = replaced(parts["avcheck.mc"], ("`52428800'", f"`{SIZE_MAX}'"))
    with pair(system, program, directory, ports, mc, parts["sendmail.mc"]) as halves:
        yield SeededSendmail(system, program, *halves)

"""The documented Exim, in which a test makes a mistake, has doctor find it, and does as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avcheck.admin import guide
from avcheck.admin.commands import setup
from tests.live.doctor.findings import CTL, Finding, doctor, finding
from tests.live.recipe import MailSystem
from tests.live.through import Through, mark, replaced
from tests.support.letters import EICAR, letter, token, with_attachment
from tests.support.servers.exim import Exim
from tests.support.servers.ports import free_port

# The first line of a remedy: what has to have the lines below it, and where it is.
SECTION = re.compile(r"^(\S+):  # begin (routers|transports)(, the first.*)?$")

# A remedy for an option that is to go.
REMOVED = re.compile(r"remove (\w+) from the router (\w+)")

# A message that goes round comes to a queue each time: so often it is tried, and no more.
ROUNDS = 3


class SeededExim:
    """One Exim for all the faults."""

    def __init__(self, system: MailSystem, server: Exim, front: int, back: int) -> None:
        self.system = system
        self.server = server
        self.front = front
        self.back = back
        self.through = Through(system, server, server)
        self.saved = server.configuration.read_text()

    @property
    def handler(self) -> Path:
        """The handler that is beside avcheck."""
        return Path(self.system.adapted("/opt/avcheck/bin/infected.sh"))

    # Making mistakes.

    @property
    def text(self) -> str:
        return self.server.configuration.read_text()

    @text.setter
    def text(self, text: str) -> None:
        self.server.text = text  # for its next start
        self.server.configuration.write_text(text)

    def change(self, old: str, new: str) -> None:
        assert old in self.text, old
        self.text = self.text.replace(old, new)

    def restart(self) -> None:
        """Ports and ACLs are the daemon's, which reads them once."""
        self.server.stop()
        self.server.start()

    @contextmanager
    def intact_afterwards(self) -> Iterator[None]:
        """As it was when the test is over: no message, no change."""
        try:
            yield
        finally:
            self.clear()
            self.handler.chmod(0o755)
            shutil.chown(self.system.spool, self.system.client)
            if self.text != self.saved:
                self.text = self.saved
                self.restart()
            assert self.system.left_behind() == []

    def clear(self) -> None:
        for file in (self.server.directory / "spool" / "input").rglob("*-[HDJ]"):
            file.unlink()

    # Asking, and doing as it says.

    def doctor(self, *, command: bool = False) -> list[Finding]:
        path = f"{self.server.program.parent}:{os.environ['PATH']}"
        return doctor(f"--exim={self.server.configuration}", path, command=command)

    def finding(self, check: str, level: str, said: str = "") -> Finding:
        return finding(self.doctor(), check, level, said)

    def follow(self, remedy: str) -> None:
        """Do what the remedy says, literally, but for the documented accounts."""
        remedy = self.system.adapted(remedy)
        first, *lines = remedy.splitlines()
        if section := SECTION.match(first):
            name, kind, place = section.groups()
            if place:
                self._put_first(name, kind, lines)
            else:
                self._set(name, kind, lines)
        elif removed := REMOVED.fullmatch(remedy):
            self._set(removed[2], "routers", [], removed[1])
        elif first.endswith("# begin retry"):
            self.change("begin retry\n", f"begin retry\n{first.partition('#')[0]}\n")
        elif re.match(r"^\w+ =", first):
            for line in remedy.splitlines():
                option = line.partition(" =")[0]
                self.text = re.sub(rf"^{option} =.*\n", "", self.text, flags=re.M)
                self.change("queue_only\n", f"queue_only\n{line}\n")
        elif remedy.startswith("-"):
            for option, value in re.findall(r"(--?\w[\w-]*) (\S+)", remedy):
                pattern = rf"(?<=\s){re.escape(option)} \S+"
                assert re.search(pattern, self.text), option
                self.text = re.sub(pattern, f"{option} {value}", self.text, count=1)
        else:
            environment = {**os.environ, "PATH": f"{CTL.parent}:{os.environ['PATH']}"}
            subprocess.run(["sh", "-euc", remedy], env=environment, check=True)
        self.restart()

    def _block(self, name: str, kind: str) -> str:
        """The lines of a router or transport, as they stand."""
        _, _, section = self.text.partition(f"begin {kind}\n")
        found = re.search(rf"^{re.escape(name)}:\n(?:[ \t].*\n)*", section, re.M)
        return found[0] if found else ""

    def _put_first(self, name: str, kind: str, lines: list[str]) -> None:
        if old := self._block(name, kind):
            before, begin, section = self.text.partition(f"begin {kind}\n")
            self.text = before + begin + section.replace(old, "", 1)
        new = "\n".join([f"{name}:", *lines, ""])
        self.change(f"begin {kind}\n", f"begin {kind}\n{new}")

    def _set(self, name: str, kind: str, lines: list[str], without: str = "") -> None:
        old = self._block(name, kind)
        assert old, name
        new = re.sub(rf"^  {without}\b.*\n", "", old, flags=re.M) if without else old
        for line in lines:
            option = re.sub(r"^no_", "", line.split("=")[0].strip())
            # With the lines that it goes on over.
            new = re.sub(rf"^  (?:no_)?{option}\b(?:.*\\\n)*.*\n", "", new, flags=re.M)
            new += f"{line}\n"
        before, begin, section = self.text.partition(f"begin {kind}\n")
        self.text = before + begin + section.replace(old, new, 1)

    # What becomes of mail.

    def _by_program(self, message: bytes) -> None:
        words = [str(self.server.program), "-C", str(self.server.configuration), "-i"]
        words += ["-f", "anna@example.com", "bert@example.net"]
        subprocess.run(words, input=message.replace(b"\r\n", b"\n"), check=True)

    def virus_passes(self) -> list[str]:
        """The ways in by which the test virus arrives at the next hop."""
        sent = {name: with_attachment(EICAR) for name in ("front", "local")}
        self.server.submit("anna@example.com", ["bert@example.net"], sent["front"])
        self._by_program(sent["local"])
        self.run()
        return [name for name, each in sent.items() if self.system.delivered(each)]

    def run(self) -> None:
        for _ in range(ROUNDS):
            self.server.run_queue()

    def only_clean_arrives(self) -> bool:
        """Whether a clean message arrives, and the test virus does not."""
        clean, virus = letter(), with_attachment(EICAR)
        for each in (virus, clean):
            self.server.submit("anna@example.com", ["bert@example.net"], each)
        self.run()
        assert token(clean) not in [mark(each) for each in self.server.queue()], self.server.log
        return bool(self.system.delivered(clean)) and not self.system.delivered(virus)


@contextmanager
def seeded_exim(system: MailSystem, program: Path) -> Iterator[SeededExim]:
    """An Exim with the documented lines, in a place of its own."""
    front, back = free_port(), free_port()
    names = {**system.names, "0.0.0.0 ; ::0": f"127.0.0.1.{front}", setup.PORT: str(back)}
    parts = guide.configuration("exim", names)
    # doctor has the scanner look at a mail that is as large as any.
    parts["main"] = replaced(parts["main"], ("50M", "3M"))
    with Exim(
        system.directory / "seeded-exim",
        program,
        relayhost=system.sink.address,
        port=front,
        parts={part: parts[part] for part in ("main", "acl", "router", "transport")},
    ) as server:
        yield SeededExim(system, server, front, back)

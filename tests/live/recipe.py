"""The set-up of docs/postfix.md, with private names, ports and paths.

The marked code blocks of that page are used as they stand; only the names in
`MailSystem.names` are replaced.  So what is proved is the page.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.support.letters import token
from tests.support.servers import packages
from tests.support.servers.clamd import Clamd
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Received, Sink
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "postfix.md"

# A fenced block with a second word is for the tests: ```text master.cf
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

BOUNCED = re.compile(r"status=bounced|non-delivery notification")


# The blocks of the way by pipe(8), by the files that they are for.
PIPE = {file: file for file in ("main.cf", "master.cf", "avcheck_dsn")}


def blocks(document: Path) -> dict[str, str]:
    """The named code blocks of a page."""
    return {found[1]: found[2] for found in BLOCK.finditer(document.read_text())}


def recipients(entry: Path) -> list[str]:
    """Whom the message of an entry of the quarantine was for."""
    about = json.loads((entry / "about.json").read_text())
    return [str(each) for each in about["recipients"]]


@dataclass(frozen=True)
class Accepted:
    """A message that a Postfix took the responsibility for."""

    queue_id: str
    token: str
    recipients: list[str]


NUMBERS = itertools.count()


class MailSystem:
    """Accounts, spool, clamd and next hop, and Postfix instances that use them.

    Usable inside a `with`; the accounts are gone afterwards.
    """

    def __init__(self, directory: Path, opt: Path) -> None:
        self.directory = directory
        self.blocks = blocks(DOCUMENT)
        # Several test runs on one machine must not share accounts, nor must two in one run.
        number = f"{os.getpid()}x{next(NUMBERS)}"
        self.client = f"avc{number}"
        self.group = f"avg{number}"
        self.spool = directory / "spool"
        self.quarantine = self.spool / "quarantine"
        self.waitfile = self.spool / "wait"
        self.sink = Sink()
        self.clamd = Clamd(
            directory / "daemon",
            settings={
                "User": "clamav",
                "LocalSocketGroup": self.group,
                "LocalSocketMode": "660",
                **dict(map(str.split, self.blocks["clamd.conf"].splitlines())),
            },
        )
        self.names = {
            "avclient": self.client,
            "avgroup": self.group,
            "/opt/avcheck": str(opt),
            **{
                f"/usr/local/{name}": f"{opt}-local/{name}" for name in ("libexec", "sbin", "share")
            },
            "/var/spool/avcheck": str(self.spool),
            "/run/clamav/clamd.ctl": str(self.clamd.socket),
        }
        self._accepted: dict[Postfix, list[Accepted]] = {}
        self._names: dict[Postfix, dict[str, str]] = {}

    def __enter__(self) -> MailSystem:
        packages.need("postfix", commands=["postfix", "postqueue", "postsuper"])
        packages.need("clamav-daemon", commands=["clamd"])
        self.shell("accounts")
        self.shell("programs")
        self.clamd.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clamd.stop()
        self.sink.stop()
        self.shell("accounts-removed")

    def block(self, name: str, names: Mapping[str, str] | None = None) -> str:
        """A block of the page, with our names in it, and those of an instance."""
        return self.adapted(self.blocks[name], names)

    def adapted(self, text: str, names: Mapping[str, str] | None = None) -> str:
        """A text with our names in it, and those of an instance."""
        for documented, ours in {**self.names, **(names or {})}.items():
            text = text.replace(documented, ours)
        return text

    @property
    def guarded(self) -> str:
        """The first words of the documented command: the guard, and the avcheck for it to run."""
        return self.adapted("/usr/local/libexec/avcheck-guard /opt/avcheck/bin/avcheck")

    def shell(self, name: str, postfix: Postfix | None = None) -> None:
        """Run a block of commands, with the commands of Postfix working on this instance."""
        if postfix is None:
            commands, environment = self.block(name), {**os.environ, "PATH": packages.PLACES}
        else:
            commands, environment = self.block(name, self._names[postfix]), postfix.environment
        # avcheckctl needs more packages than the installation here has.
        here = {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}
        subprocess.run(["sh", "-euc", commands], env=environment | here, check=True)

    @contextmanager
    def postfix(
        self,
        name: str,
        *changes: tuple[str, str],
        blocks: Mapping[str, str] = PIPE,
        more: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Iterator[Postfix]:
        """A Postfix with the documented lines; each change replaces words in them.

        `blocks` are those of the page for each file of the configuration directory.
        `more` are further lines for "main.cf" and "master.cf", and further files of its
        configuration directory; the documented names are replaced in them, too, and those
        in `names`.
        """
        config = self.directory / name / "config"
        names = {
            "127.0.0.1:10026": f"127.0.0.1:{free_port()}",
            "/etc/postfix": str(config),
            **(names or {}),
        }
        lines = {file: self.block(block, names) for file, block in blocks.items()}
        for file, text in (more or {}).items():
            lines[file] = lines.get(file, "") + self.adapted(text, names)
        for documented, changed in changes:
            if not any(documented in text for text in lines.values()):
                raise ValueError(f"{documented!r} is not in docs/postfix.md")
            lines = {file: text.replace(documented, changed) for file, text in lines.items()}
        instance = Postfix(
            self.directory / name,
            relayhost=self.sink.address,
            main=lines.pop("main.cf", ""),
            master=lines.pop("master.cf"),
            files=lines,
        )
        self._names[instance] = names
        with instance:
            yield instance

    def submit(
        self,
        postfix: Postfix,
        message: bytes,
        sender: str = "anna@example.com",
        recipients: tuple[str, ...] = ("bert@example.net",),
    ) -> str:
        """Have a message accepted; the queue id.  It will have to be accounted for."""
        queue_id = postfix.submit(sender, recipients, message)
        mark = token(message)
        assert mark, "a message without a token cannot be accounted for"
        self._accepted.setdefault(postfix, []).append(Accepted(queue_id, mark, list(recipients)))
        return queue_id

    def delivered(self, message: bytes) -> list[Received]:
        """The copies of a message that have arrived at the next hop."""
        return [each for each in self.sink.messages if token(each.data) == token(message)]

    def quarantined(self, message: bytes) -> list[Path]:
        """The entries of the quarantine that hold a message."""
        return [entry for entry, mark in self._quarantine() if mark == token(message)]

    def settle(self, postfix: Postfix) -> None:
        """Wait until every message has arrived somewhere or is deferred."""
        postfix.wait_until(
            lambda: all(each.queue == "deferred" for each in postfix.queue()), "a quiet queue"
        )

    def account_for(self, postfix: Postfix) -> None:
        """Show that each recipient's copy is in one place, once, and that none bounced."""
        self.settle(postfix)
        assert not BOUNCED.search(postfix.log), postfix.log
        copies = [(token(each.data), each.recipients) for each in self.sink.messages]
        places = {
            "delivered": [(mark, [each.decode() for each in names]) for mark, names in copies],
            "quarantined": [(mark, recipients(entry)) for entry, mark in self._quarantine()],
            "waiting": [
                (
                    token(postfix.command("postcat", "-hq", each.queue_id).encode()),
                    each.recipients,
                )
                for each in postfix.queue()
            ],
        }
        for message in self._accepted[postfix]:
            found = {
                place: [name for mark, names in there if mark == message.token for name in names]
                for place, there in places.items()
            }
            everywhere = [name for names in found.values() for name in names]
            assert sorted(everywhere) == sorted(message.recipients), (message, found)

    def left_behind(self) -> list[str]:
        """What is in the spool directory and should not be."""
        ours = {self.quarantine.name, self.waitfile.name}
        return sorted(each.name for each in self.spool.iterdir() if each.name not in ours)

    def _quarantine(self) -> list[tuple[Path, str | None]]:
        if not self.quarantine.exists():
            return []
        return [
            (message.parent, token(message.read_bytes()))
            for message in self.quarantine.glob("[!.]*/message")
        ]

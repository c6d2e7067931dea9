"""Three mail hosts and two scanner hosts, as in docs/scaling.md, on a network of their own."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.live.recipe import MailSystem, blocks
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers import packages
from tests.support.servers.clamd import Clamd
from tests.support.servers.fresh import fresh
from tests.support.servers.haproxy import Haproxy
from tests.support.servers.netns import Host, Network
from tests.support.servers.postfix import PATIENCE, Postfix
from tests.support.tree import ROOT

T = TypeVar("T")

PAGE = blocks(ROOT / "docs" / "scaling.md")
BALANCER = (ROOT / "contrib" / "haproxy.cfg").read_text()

# How each mail host finds a scanner: the name of a block of the page.
WAYS = {"mail1": "list", "mail2": "name", "mail3": "balanced"}
SCANNERS = ("scan1.example", "scan2.example")
SEVERAL = "clamd.example"

# The ends of their addresses on the page, which are 192.0.2.N.
NUMBERS = {"mail1": 1, "mail2": 2, "mail3": 3, "scan1.example": 11, "scan2.example": 12}

PORT = 3310

# As the page advises where each scanner is known by name.
MORE = {"list": "--canary 300"}

# Seconds that avcheck may ask for here; the page has more.
ASKING = 8


class MailHost(MailSystem):
    """The accounts, the spool and the next hop of docs/postfix.md, without a clamd."""

    def __enter__(self) -> MailHost:
        packages.need("postfix", commands=["postfix", "postqueue", "postsuper"])
        self.shell("accounts")
        self.shell("programs")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sink.stop()
        self.shell("accounts-removed")


class Mail:
    """Mail on one host."""

    def __init__(self, host: Host, system: MailHost, postfix: Postfix) -> None:
        self.host = host
        self.system = system
        self.postfix = postfix
        self.clean = 0
        self.infected = 0

    @property
    def metrics(self) -> Path:
        """The counters of this host."""
        return self.system.spool / "metrics.prom"

    def submit(self, message: bytes | None = None) -> str:
        """Have a clean message accepted; its queue id.  It will have to be accounted for."""
        self.clean += 1
        return self.host.do(self.system.submit, self.postfix, message or letter())

    def submit_infected(self) -> str:
        """The same with the test virus."""
        self.infected += 1
        return self.host.do(self.system.submit, self.postfix, with_attachment(EICAR))

    def first(self, queue_id: str) -> str:
        """What became of a message when it was tried for the first time."""
        return self.postfix.wait_for_outcomes(queue_id, 1, relay="avcheck")[0]

    def flush(self) -> None:
        """Have everything that was put off tried again, until it is gone."""
        self.postfix.wait_until(self._flushed, "an empty queue")

    def _flushed(self) -> bool:
        self.postfix.flush()
        return not self.postfix.queue()


class Scanner:
    """A clamd on a host, for everybody on the network."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        settings = dict(map(str.split, PAGE["clamd.conf"].splitlines()))
        # With a line of log for each message.
        self._clamd = Clamd(directory, settings={**settings, "LogClean": "yes"})

    def start(self) -> None:
        """Start it."""
        self.host.do(self._clamd.start)

    def kill(self) -> None:
        """End it; who is connected is told by the kernel, with a reset."""
        self._clamd.kill()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._clamd.pid

    def scanned(self, mail: Mail) -> int:
        """How many messages of that mail host it has scanned."""
        return len(re.findall(rf"instream\({mail.host.address}@\d+\): ", self._clamd.log))

    def waiting(self, host: Host) -> int:
        """How many connections that host has to it now."""
        query = ("-Htn", "state", "established", f"( sport = :{PORT} and dst {host.address} )")
        return len(self.host.run("ss", *query).splitlines())

    def knocking(self, host: Host) -> int:
        """How many connections of that host it has not taken, because too many wait already."""
        query = ("-Htn", "state", "syn-sent", f"( dport = :{PORT} and dst {self.host.address} )")
        return len(host.run("ss", *query).splitlines())


@dataclass
class Farm:
    """All of it."""

    network: Network
    directory: Path
    mails: list[Mail]
    scanners: list[Scanner]

    def each(self) -> dict[str, Mail]:
        """The mail hosts by the way they find a scanner."""
        return dict(zip(WAYS.values(), self.mails, strict=True))

    @contextlib.contextmanager
    def cut(self, name: str, how: str) -> Iterator[None]:
        """A host is cut off from the others for as long as the with block takes."""
        self.network.cut(name, how)
        try:
            yield
        finally:
            self.network.heal(name)

    def here(self, text: str) -> str:
        """A block of the page with the addresses of these hosts in it."""
        for name, number in NUMBERS.items():
            text = re.sub(rf"\b192\.0\.2\.{number}\b", self.network.hosts[name].address, text)
        return text.replace("/run/haproxy/", f"{self.directory}/")

    def used(self, scanner: Scanner, mail: Mail) -> None:
        """Send mail until this scanner gets some of it."""
        before = scanner.scanned(mail)
        wait_until(lambda: self._got(scanner, mail, before), "mail for that scanner")

    def _got(self, scanner: Scanner, mail: Mail, before: int) -> bool:
        mail.first(mail.submit())
        return scanner.scanned(mail) > before

    def clean_and_infected(self) -> dict[Mail, list[str]]:
        """Two messages through each mail host, one of them with the test virus."""
        return {mail: [mail.submit(), mail.submit_infected()] for mail in self.mails}


@contextlib.contextmanager
def farm(directory: Path, opt: Path) -> Iterator[Farm]:
    """The hosts with everything on them running.  It needs root."""
    packages.need_root("namespaces are made, and Postfix is started, by root only")
    packages.need("clamav-daemon", commands=["clamd"])
    fresh(directory)
    with ExitStack() as stack:
        names = {SEVERAL: SCANNERS}
        network = stack.enter_context(Network(directory, (*WAYS, *SCANNERS), names))
        hosts = Farm(network, directory, [], [])
        for name in SCANNERS:
            scanner = Scanner(network.hosts[name], directory / name)
            stack.callback(scanner.kill)
            scanner.start()
            hosts.scanners.append(scanner)
        for name in WAYS:
            hosts.mails.append(_mail(stack, hosts, name, opt))
        yield hosts


def _mail(stack: ExitStack, hosts: Farm, name: str, opt: Path) -> Mail:
    host, way, directory = hosts.network.hosts[name], WAYS[name], hosts.directory / name
    fresh(directory)
    system = host.do(MailHost, directory, opt)
    on_host(stack, host, system)
    if way == "balanced":
        text = hosts.here(BALANCER).replace("inter 5s", "inter 1s")
        on_host(stack, host, Haproxy(directory / "haproxy", text, PORT))
    words = " ".join([PAGE[way].strip(), PAGE["metrics"].strip(), MORE.get(way, "")])
    words = words.replace("-t 120", f"-t {ASKING}").replace("/var/spool/avcheck", str(system.spool))
    here = f"-s clamd:{system.clamd.socket}"
    postfix = on_host(stack, host, system.postfix("postfix", (here, words)))
    return Mail(host, system, postfix)


def on_host(stack: ExitStack, host: Host, thing: AbstractContextManager[T]) -> T:
    """Enter it on the host, and leave it there when the stack is left."""
    entered = host.do(thing.__enter__)
    stack.callback(lambda: host.do(thing.__exit__, None, None, None))
    return entered


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that nobody tells; raises TimeoutError if it does not come."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not in {PATIENCE} s")
        time.sleep(0.05)

"""Many messages through Postfix: avcheck-smtp and its peers, after the queue and before it."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.measure import Ratio, milliseconds, ratio
from benchmarks.peers import clamav_milter, clamsmtp
from benchmarks.stage import ACCOUNT, Stage, postfix_commands
from benchmarks.table import Table
from benchmarks.through import (
    LISTENER,
    MAIN,
    PIPE,
    PROXY,
    REINJECTION,
    Rounds,
    flows_of,
    let_account_drop,
    spool_of_account,
)
from tests.support.servers import packages
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix

# Scans at a time: as many as clamd has threads, and the sessions of smtp-source.
SLOTS = 10

UNFILTERED = "no filter"
PIPED = "avcheck, pipe(8)"
SHELL = "shell filter, pipe(8)"
KEPT = "avcheck-smtp by a socket, after, kept"
KEPT_SPAWN = "avcheck-smtp by spawn(8), after, kept"
SINGLE = "avcheck-smtp by a socket, after"
CLAMSMTP_KEPT = "clamsmtp, after, kept"
CLAMSMTP = "clamsmtp, after"
BEFORE = "avcheck-smtp by a socket, before"
BEFORE_SPAWN = "avcheck-smtp by spawn(8), before"
CLAMSMTP_BEFORE = "clamsmtp, before"
MILTER = "clamav-milter, before"

# What smtp(8) needs to send the next message on the same connection.
CACHED = PROXY + "    -o smtp_connection_cache_destinations=127.0.0.1\n"

# The second smtpd(8) waits with the transaction open; each connection needs a process of it.
BEHIND = REINJECTION + "    -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n"

SPAWN = """\
{address} inet n n n - {slots} spawn
    user={account} argv={argv}
"""
DOOR = """\
{address} inet n - n - {more} smtpd
    -o smtpd_proxy_filter={proxy}
    -o smtpd_proxy_options=speed_adjust
"""
MILTERED = """\
{address} inet n - n - - smtpd
    -o smtpd_milters=inet:{milter}
    -o milter_default_action=tempfail
"""


@dataclass
class Site:
    """A master.cf that grows, and the filters that its lines are for."""

    stage: Stage
    reinjection: str
    master: str = ""
    ways: dict[str, str] = field(default_factory=dict)
    filters: list[contextlib.AbstractContextManager[None]] = field(default_factory=list)

    def after(self, name: str, filter_address: str, lines: str = CACHED) -> None:
        """Mail of the queue goes by smtp(8) with these lines to that filter."""
        transport = f"scan-{len(self.ways)}"
        host, _, port = filter_address.rpartition(":")
        self.master += lines.format(transport=transport, slots=SLOTS)
        self.door(name, LISTENER, transport=transport, next_hop=f"[{host}]:{port}")

    def piped(self, name: str, argv: str) -> None:
        """Mail of the queue goes by pipe(8) to that program."""
        transport = f"scan-{len(self.ways)}"
        self.master += PIPE.format(
            transport=transport,
            slots=SLOTS,
            account=ACCOUNT,
            directory=spool_of_account(self.stage, name),
            argv=argv,
        )
        self.door(name, LISTENER, transport=transport, next_hop="dummy")

    def door(self, name: str, lines: str, **words: str) -> None:
        """Mail that is to go that way comes in here."""
        self.ways[name] = loopback()
        self.master += lines.format(address=self.ways[name], more=2 * SLOTS, **words)

    def spawned(self) -> str:
        """The address of an avcheck-smtp that spawn(8) starts for each connection."""
        address = loopback()
        argv = " ".join(command(self.stage, self.reinjection))
        self.master += SPAWN.format(address=address, slots=SLOTS, account=ACCOUNT, argv=argv)
        return address

    def beside(
        self,
        start: Callable[[Stage, str, str, int], contextlib.AbstractContextManager[None]],
    ) -> str:
        """The address of a filter that runs beside Postfix."""
        address = loopback()
        self.filters.append(start(self.stage, address, self.reinjection, SLOTS))
        return address


def measure(stage: Stage, quick: bool) -> list[Table]:
    """The table of all the ways, in one run, on one Postfix, clamd and sink."""
    if os.geteuid() != 0:
        raise packages.NotRootError("Postfix is started by root only")
    return [shown(flows_of(stage, lambda sink: filtered_postfix(stage, sink), quick))]


@contextlib.contextmanager
def filtered_postfix(stage: Stage, sink: str) -> Iterator[tuple[Postfix, dict[str, str]]]:
    """A Postfix that relays to the sink, and the address for each way of filtering."""
    reinjection = loopback()
    site = Site(stage, reinjection, BEHIND.format(address=reinjection))
    fill(site)
    directory = stage.directory / "postfix-sessions"
    directory.mkdir()
    main = MAIN.format(commands=postfix_commands(directory / "commands"))
    with contextlib.ExitStack() as stack:
        postfix = stack.enter_context(
            Postfix(directory, relayhost=sink, main=main, master=site.master)
        )
        let_account_drop(directory / "queue")
        for each in site.filters:
            stack.enter_context(each)
        yield postfix, {UNFILTERED: f"127.0.0.1:{postfix.port}", **site.ways}


def fill(site: Site) -> None:
    """All the ways of filtering."""
    stage, remove = site.stage, site.stage.program("remove.sh")
    scanner = f"-s clamd:{stage.clamd.socket} -i {remove}"
    spool = spool_of_account(stage, PIPED)
    site.piped(PIPED, f"{stage.guard} {stage.avcheck} {scanner} -d {spool} -S {site.reinjection}")
    sendmail = f"{packages.find('sendmail')} -G -i"
    site.piped(SHELL, stage.shell_filter(spool_of_account(stage, SHELL), sendmail))
    ours, theirs = site.beside(listening), site.beside(clamsmtp)
    site.after(KEPT, ours)
    site.after(KEPT_SPAWN, site.spawned())
    site.after(CLAMSMTP_KEPT, theirs)
    site.after(SINGLE, ours, PROXY)
    site.after(CLAMSMTP, theirs, PROXY)
    site.door(BEFORE, DOOR, proxy=ours)
    site.door(BEFORE_SPAWN, DOOR, proxy=site.spawned())
    site.door(CLAMSMTP_BEFORE, DOOR, proxy=theirs)
    site.door(MILTER, MILTERED, milter=site.beside(clamav_milter))


def command(stage: Stage, next_hop: str) -> list[str]:
    """avcheck-smtp with its options."""
    spool = spool_of_account(stage, "avcheck-smtp")
    words = [stage.avcheck.with_name("avcheck-smtp"), "-s", f"clamd:{stage.clamd.socket}"]
    words += ["-d", spool, "-i", stage.program("remove.sh"), "-S", next_hop]
    return [*map(str, words), "--messages", "100"]


@contextlib.contextmanager
def listening(stage: Stage, address: str, next_hop: str, slots: int) -> Iterator[None]:
    """An avcheck-smtp that inherits a socket, as systemd starts it."""
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port)), backlog=128) as listener:
        process = subprocess.Popen(
            [*command(stage, next_hop), "--processes", str(slots)],
            stdin=listener.fileno(),
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": packages.PLACES},
            user=ACCOUNT,
            group="nogroup",
            extra_groups=[],
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def loopback() -> str:
    """An address that nobody listens on."""
    return f"127.0.0.1:{free_port()}"


def shown(rounds: Rounds) -> Table:
    columns = ("", "messages/s", "times the pipe", "CPU, ms", "times the pipe")
    title = f"By SMTP through Postfix: {rounds.messages} messages of 4 kB, {SLOTS} at a time"
    table = Table(title, columns)
    rate, cpu = rounds.rate, rounds.cpu
    for name in rounds.flows:
        table.add(
            name,
            f"{statistics.median(rate[name]):.0f}",
            str(ratio(rate[name], rate[PIPED])),
            milliseconds(cpu[name]),
            str(ratio(cpu[name], cpu[PIPED])),
        )
    table.notes += [
        f"{rounds.note}.",
        "After: content_filter and smtp(8), which keeps its connection for the next message, or "
        "does not; before: smtpd_proxy_filter, or smtpd_milters. By a socket: avcheck-smtp has "
        "inherited a listening one; by spawn(8): started for each connection. The pipe with the "
        "guard, as the documents have it. clamsmtp and avcheck-smtp are one process each for "
        "all of their ways.",
    ]
    table.findings += [*budgets(rate, cpu)]
    return table


def budgets(rate: Mapping[str, list[float]], cpu: Mapping[str, list[float]]) -> Iterator[str]:
    """What was to be reached, and was it."""

    def times(what: Mapping[str, list[float]], one: str, other: str) -> Ratio:
        return ratio(what[one], what[other])

    def told(text: str, *parts: tuple[str, Ratio, bool]) -> str:
        words = [
            f"{name} {each.median:.2f}, {'met' if met else 'NOT MET'}" for name, each, met in parts
        ]
        return f"Budget, {text}: " + "; ".join(words) + "."

    peer, milter = times(rate, KEPT, CLAMSMTP_KEPT), times(rate, KEPT, MILTER)
    pipe, power = times(rate, KEPT, PIPED), times(cpu, KEPT, CLAMSMTP_KEPT)
    yield told(
        "after the queue with the connection kept, messages a second",
        ("at least 1.5 times clamsmtp's", peer, peer.median >= 1.5),
        ("more than clamav-milter's", milter, milter.median > 1),
        ("at least 2.5 times the pipe's", pipe, pipe.median >= 2.5),
        ("at most 1.1 times clamsmtp's processor time", power, power.median <= 1.1),
    )
    peer, milter = times(rate, BEFORE, CLAMSMTP_BEFORE), times(rate, BEFORE, MILTER)
    yield told(
        "before the queue by a socket, messages a second",
        ("at least twice clamsmtp's", peer, peer.median >= 2),
        ("more than clamav-milter's", milter, milter.median > 1),
    )
    peer, power = times(rate, BEFORE_SPAWN, CLAMSMTP_BEFORE), times(cpu, BEFORE_SPAWN, PIPED)
    yield told(
        "before the queue by spawn(8)",
        ("at least clamsmtp's messages a second", peer, peer.median >= 1),
        ("less than the pipe's processor time", power, power.median < 1),
    )
    shell = times(rate, PIPED, SHELL)
    yield told(
        "the pipe", ("more messages a second than the shell filter", shell, shell.median > 1)
    )

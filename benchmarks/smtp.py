"""Handing on by SMTP: system calls, packets, a slow link, a large message."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.link import CountingServer, SlowLink
from benchmarks.measure import Ratio, WrongEndError, ratio
from benchmarks.memory import peak
from benchmarks.stage import CLEAN, HERE, LINE, SENDER, Stage, mail, smtp_sink
from benchmarks.table import Table
from tests.support.servers import packages
from tests.support.servers.postfix import Postfix
from tests.support.servers.queue import submit

OURS = "avcheck -c"
SMTPLIB = "smtplib"
POSTFIX = "Postfix's smtp(8)"

RECIPIENTS = (1, 50)

# Seconds from one end of the link to the other.
DELAY = 0.020

ROUNDS, ROUNDS_QUICK = 7, 2

LARGE = 100_000_000
LARGE_ROUNDS, LARGE_ROUNDS_QUICK = 7, 2

# Of the issue: at least this share of the speed of others.
BUDGET = 0.8

READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg", "sendfile")

# smtp(8) does not wait for more messages to the same place, and takes all recipients at once.
MAIN = """\
smtp_connection_cache_on_demand = no
default_destination_recipient_limit = 100
"""


@dataclass(frozen=True)
class Client:
    """A way to send CLEAN to an address for so many recipients, traced by strace or not.

    send() returns when the program has ended, or, for a daemon, when it has the message.
    """

    send: Callable[[str, int], object]
    trace: Callable[[str, int, Path], object]


def measure(stage: Stage, quick: bool) -> list[Table]:
    """The tables of one message with 1 and with 50 recipients, and of one that is large."""
    packages.need("strace", commands=["strace"])
    count = ROUNDS_QUICK if quick else ROUNDS
    with (
        CountingServer() as server,
        SlowLink(server, DELAY) as link,
        clients(stage, server, link) as every,
    ):
        counts = [counted(every, server, number, stage) for number in RECIPIENTS]
        slow = [delayed(every, server, link, number, count) for number in RECIPIENTS]
    return [*counts, over_link(slow, count), large(stage, quick)]


@contextlib.contextmanager
def clients(stage: Stage, server: CountingServer, link: SlowLink) -> Iterator[dict[str, Client]]:
    """avcheck, smtplib, and for root a Postfix of its own."""
    every = {
        OURS: program(stage, [str(stage.avcheck), "-c", "-f", SENDER, "-S"]),
        SMTPLIB: program(stage, [str(stage.python), "-I", str(HERE / "smtplib_client.py")]),
    }
    if os.geteuid() != 0:
        yield every
        return
    # Which way a message goes is told by its recipients' domain.
    names = {server.address: "direct.example", link.address: "slow.example"}
    routes = ", ".join(
        f"{name}=smtp:[127.0.0.1]:{address.rpartition(':')[2]}" for address, name in names.items()
    )
    main = MAIN + f"transport_maps = inline:{{{routes}}}\n"
    with Postfix(stage.directory / "smtp", relayhost=server.address, main=main) as postfix:

        def send(address: str, number: int) -> None:
            recipients = [f"user{each}@{names[address]}" for each in range(number)]
            submit(postfix.port, SENDER, recipients, CLEAN.replace(b"\n", b"\r\n"))

        def trace(address: str, number: int, file: Path) -> None:
            master = (postfix.directory / "queue" / "pid" / "master.pid").read_text().strip()
            children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
            with tracing([master, *children], file):
                send(address, number)
                postfix.wait_until(lambda: not postfix.queue(), "an empty queue")

        every[POSTFIX] = Client(send, trace)
        yield every


def program(stage: Stage, argv: Sequence[str]) -> Client:
    """A program that gets the address, then "--" and the recipients, and the message."""

    def words(address: str, number: int) -> list[str]:
        return [*argv, address, "--", *(f"user{each}@example.org" for each in range(number))]

    def send(address: str, number: int) -> None:
        run(words(address, number), stage)

    def trace(address: str, number: int, file: Path) -> None:
        run([*STRACE, str(file), *words(address, number)], stage)

    return Client(send, trace)


STRACE = ["strace", "-f", "-yy", "-e", f"trace={','.join((*READS, *WRITES))}", "-o"]


def run(argv: Sequence[str], stage: Stage) -> None:
    done = subprocess.run(
        argv, input=CLEAN, env=stage.environment, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise WrongEndError(f"{' '.join(argv)}: status {done.returncode}: {done.stderr!r}")


@contextlib.contextmanager
def tracing(pids: Sequence[str], file: Path) -> Iterator[None]:
    """strace of processes that are running, and of all that they start."""
    argv = [*STRACE, str(file), *(word for pid in pids for word in ("-p", pid))]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as tracer:
        try:
            assert tracer.stderr
            for _ in pids:
                tracer.stderr.readline()  # it says so when it is attached
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()


def counted(every: dict[str, Client], server: CountingServer, number: int, stage: Stage) -> Table:
    """System calls on the connection, and packets."""
    columns = ("", "round trips", "packets", "with data", "calls to read", "to write")
    table = Table(f"SMTP, {number} recipient{'s' * (number > 1)}: what it takes", columns)
    for name, client in every.items():
        client.send(server.address, number)
        session = server.session()
        client.trace(server.address, number, stage.directory / "strace")
        server.session()
        reads, writes = calls(stage.directory / "strace", server.port)
        table.add(
            name,
            str(session.turns),
            str(session.segments),
            f"{session.came_with_data} + {session.went_with_data}",
            str(reads),
            str(writes),
        )
    table.notes.append(
        "One message of 4 kB, handed to a server that answers all commands it has received at "
        "once. Round trips: how often the server had answered and waited for the client "
        "(without the TCP handshake); packets: TCP_INFO of the server's side, both directions, "
        "handshake and acknowledgements included, and with data: from and to the client; calls: "
        "strace, on the connection only."
    )
    return table


def calls(file: Path, port: int) -> tuple[int, int]:
    """How often a traced program read from its connection to that port, and wrote to it."""
    call = re.compile(rf"^\d+ +(\w+)\(\d+<TCP:\[[^]>]*->127\.0\.0\.1:{port}\]>")
    names = [found[1] for line in file.read_text().splitlines() if (found := call.match(line))]
    return (
        sum(name in READS for name in names),
        sum(name in WRITES for name in names),
    )


@dataclass(frozen=True)
class Slow:
    """The seconds over the link for so many recipients."""

    number: int
    seconds: dict[str, list[float]]


def delayed(
    every: dict[str, Client], server: CountingServer, link: SlowLink, number: int, count: int
) -> Slow:
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(count):
        for name, client in every.items():
            client.send(link.address, number)
            # The answer has to come back yet.
            seconds[name].append(server.session().answered + link.delay - link.connected)
    return Slow(number, seconds)


def over_link(slow: Sequence[Slow], count: int) -> Table:
    """How long it takes over a slow link."""
    columns = ["", *(f"{each.number} recipients" for each in slow), "times smtplib"]
    columns[1] = "1 recipient"
    columns.insert(2, "times smtplib")
    table = Table(f"SMTP over a link of {DELAY * 1000:.0f} ms each way", columns)
    ratios: dict[tuple[str, int], Ratio] = {}
    for name in slow[0].seconds:
        cells = []
        for each in slow:
            times = ratio(each.seconds[name], each.seconds[SMTPLIB])
            ratios[name, each.number] = times
            cells += [f"{statistics.median(each.seconds[name]):.3f} s", str(times)]
        table.add(name, *cells)
    table.notes.append(
        f"From the start of connect(2) to the answer to the final dot. Medians of {count} "
        "interleaved rounds, through a proxy that delays everything by that time, the TCP "
        "handshake, too. smtp(8) sends DATA together with the recipients, one round trip less "
        "than avcheck. avcheck waits for the replies to all recipients, because after the reply to "
        "DATA none can be left out, and it hands on for all or for none."
    )
    one, many = (ratios[OURS, number].median for number in RECIPIENTS)
    table.findings.append(
        f"SMTP over a link of {DELAY * 1000:.0f} ms: {one:.2f} times the time of smtplib for one "
        f"recipient, {many:.2f} times for {RECIPIENTS[1]}: their number does not matter to avcheck."
    )
    return table


# A large message.


@dataclass(frozen=True)
class Run:
    """One run with the large message: seconds of clock and of processor."""

    wall: float
    cpu: float


def large(stage: Stage, quick: bool) -> Table:
    """How fast 100 MB go to the same server, beside programs that do just that."""
    packages.need("swaks", commands=["swaks"])
    count = LARGE_ROUNDS_QUICK if quick else LARGE_ROUNDS
    message = stage.directory / "large"
    with open(message, "wb") as file:
        file.write(mail(4096))
        for _ in range(LARGE // len(LINE) // 1000):
            file.write(LINE * 1000)
    try:
        with smtp_sink() as address:
            programs = {
                OURS: [
                    str(stage.avcheck),
                    "-c",
                    "-S",
                    address,
                    "-f",
                    SENDER,
                    "--",
                    "r@example.org",
                ],
                "smtp-source": [
                    *(packages.find("smtp-source"), "-m", "1", "-l", str(LARGE)),
                    *("-f", SENDER, "-t", "r@example.org", address),
                ],
                "swaks": [
                    *(packages.find("swaks"), "--server", address, "--from", SENDER),
                    *("--to", "r@example.org", "--data", f"@{message}", "--silent", "3"),
                ],
            }
            runs: dict[str, list[Run]] = {name: [] for name in programs}
            for turn in range(count + 1):
                for name, argv in programs.items():
                    cost = timed(argv, message, stage)
                    if turn:
                        runs[name].append(cost)
            peaks = {name: peak(stage, argv, LARGE) / 1024 for name, argv in programs.items()}
            bare = peak(stage, [str(stage.python), "-I", "-c", "pass"], 0) / 1024
    finally:
        message.unlink()
    return shown(runs, count, peaks, bare)


def timed(argv: list[str], message: Path, stage: Stage) -> Run:
    """Run a program with the message as its standard input."""
    started = time.perf_counter()
    with open(message, "rb") as stdin, open(os.devnull, "wb") as null:
        child = os.posix_spawn(
            argv[0],
            argv,
            stage.environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, null.fileno(), 1),
            ],
        )
        _, ended, usage = os.wait4(child, 0)
    wall = time.perf_counter() - started
    if os.waitstatus_to_exitcode(ended) != 0:
        raise WrongEndError(f"{' '.join(argv)}: status {os.waitstatus_to_exitcode(ended)}")
    return Run(wall, usage.ru_utime + usage.ru_stime)


def shown(runs: dict[str, list[Run]], count: int, peaks: dict[str, float], bare: float) -> Table:
    columns = ("", "MB/s", "avcheck's speed is", "CPU, s", "peak, MiB")
    table = Table("A message of 100 MB by SMTP", columns)
    ours = [run.wall for run in runs[OURS]]
    speeds = {}
    for name, each in runs.items():
        wall = [run.wall for run in each]
        speeds[name] = ratio(wall, ours)
        table.add(
            name,
            f"{LARGE / 1e6 / statistics.median(wall):.0f}",
            f"{speeds[name]} times" if name != OURS else "",
            f"{statistics.median(run.cpu for run in each):.2f}",
            f"{peaks[name]:.1f}",
        )
    table.notes.append(
        f"To Postfix's smtp-sink. Medians of {count} interleaved rounds; whole processes. avcheck "
        "and swaks read a file; smtp-source generates its message. The bare interpreter's peak is "
        f"{bare:.1f} MiB."
    )
    closest = min((speed.median, name) for name, speed in speeds.items() if name != OURS)
    table.findings.append(
        f"Budget: 100 MB by SMTP at {BUDGET:.0%} of the speed of swaks and smtp-source or more: "
        f"{closest[0]:.0%} of {closest[1]}'s, {'met' if closest[0] >= BUDGET else 'MISSED'}."
    )
    return table

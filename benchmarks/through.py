"""Many messages through Postfix, filtered in one way or another."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import WrongEndError, milliseconds, ratio
from benchmarks.meter import Meter, meter
from benchmarks.peers import PROXIES
from benchmarks.stage import (
    ACCOUNT,
    CLEAN,
    INFECTED,
    RECIPIENT,
    SENDER,
    Stage,
    postfix_commands,
    smtp_sink,
)
from benchmarks.table import Table
from tests.support.servers import packages
from tests.support.servers.ports import free_port
from tests.support.servers.postfix import Postfix
from tests.support.servers.sink import Sink

ROUNDS, MESSAGES = 5, 300
ROUNDS_QUICK, MESSAGES_QUICK = 2, 60

SESSIONS = 10  # of smtp-source, at the same time
# Messages that a filter works on at the same time: few, for the two cores or so of a
# mail server; many, because a filter that mostly waits needs them.
SLOTS = (4, 16)

# No filter is so slow that a message takes this long, or that a queue takes so long to empty.
QUEUE_MAX = 300.0
IDLE = 2.0  # seconds to see what the daemons do when there is nothing to do

UNFILTERED = "no filter"
OURS = "avcheck"
SHELL = "shell filter"

# All instances of a service may talk at once; nobody is slowed down or limited.
MAIN = """\
in_flow_delay = 0
smtp_connection_cache_on_demand = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 100
command_directory = {commands}
"""

# Where filtered mail comes back, and how it is filtered before.
REINJECTION = """\
{address} inet n - n - - smtpd
    -o content_filter=
    -o receive_override_options=no_unknown_recipient_checks,no_header_body_checks,no_milters
"""
LISTENER = """\
{address} inet n - n - - smtpd
    -o content_filter={transport}:{next_hop}
    -o receive_override_options=no_address_mappings
"""
PIPE = """\
{transport} unix - n n - {slots} pipe
    flags=Rq user={account} null_sender= directory={directory}
    argv={argv} -f ${{sender}} -- ${{recipient}}
"""
PROXY = """\
{transport} unix - - n - {slots} smtp
    -o smtp_send_xforward_command=yes
    -o disable_mime_output_conversion=yes
"""


@dataclass(frozen=True)
class Flow:
    """What one lot of messages took: a second, and seconds of processor each."""

    rate: float
    cpu: float


def measure(stage: Stage, quick: bool) -> list[Table]:
    """The table of all the ways, in one run, on one Postfix, clamd and sink."""
    if os.geteuid() != 0:
        raise packages.NotRootError("Postfix is started by root only")
    return [at_a_time(stage, slots, quick) for slots in SLOTS]


def at_a_time(stage: Stage, slots: int, quick: bool) -> Table:
    """The table of all the ways with that many messages in every filter at the same time."""
    rounds = flows_of(stage, lambda sink: filtered_postfix(stage, sink, slots), quick)
    return shown(rounds, slots)


@dataclass(frozen=True)
class Rounds:
    """What came of each way: flows by its name, of so many messages each.

    counted is what measured them; idle is what that shows when there is nothing to do.
    """

    flows: Mapping[str, list[Flow]]
    messages: int
    counted: Meter
    idle: float

    @property
    def count(self) -> int:
        """How many rounds there were."""
        return len(next(iter(self.flows.values())))

    @property
    def rate(self) -> dict[str, list[float]]:
        """Messages a second."""
        return {name: [flow.rate for flow in each] for name, each in self.flows.items()}

    @property
    def cpu(self) -> dict[str, list[float]]:
        """Seconds of processor a message."""
        return {name: [flow.cpu for flow in each] for name, each in self.flows.items()}

    @property
    def note(self) -> str:
        """How it was measured."""
        return (
            f"Medians of {self.count} interleaved rounds with the same Postfix, clamd and sink "
            f"(smtp-source, {SESSIONS} sessions; smtp-sink). CPU is a message's share of "
            f"{self.counted.name}, less {self.idle * 1000:.1f} ms a second that they take when "
            "idle"
        )


def flows_of(
    stage: Stage,
    postfix_for: Callable[[str], contextlib.AbstractContextManager[tuple[Postfix, dict[str, str]]]],
    quick: bool,
) -> Rounds:
    """All the ways of a Postfix that relays to a sink, in interleaved rounds."""
    count, messages = (ROUNDS_QUICK, MESSAGES_QUICK) if quick else (ROUNDS, MESSAGES)
    with contextlib.ExitStack() as stack:
        counted = stack.enter_context(meter())
        counted.count(stage.clamd.pid)
        with Sink() as sink:
            with counted.started_here():
                postfix, ways = stack.enter_context(postfix_for(sink.address))
            for name, address in ways.items():
                prove(name, stage, postfix, sink, address)
        idle = idle_rate(counted)
        flows: dict[str, list[Flow]] = {name: [] for name in ways}
        with smtp_sink(port=sink.port):
            for turn in range(count + 1):  # the first one warms everything up
                for name, address in ways.items():
                    flow = send(stage, postfix, address, messages, counted, idle)
                    if turn:
                        flows[name].append(flow)
    return Rounds(flows, messages, counted, idle)


@contextlib.contextmanager
def filtered_postfix(
    stage: Stage, sink: str, slots: int
) -> Iterator[tuple[Postfix, dict[str, str]]]:
    """A Postfix that relays to the sink, and the address for each way of filtering."""
    reinjection = f"127.0.0.1:{free_port()}"
    master = REINJECTION.format(address=reinjection)
    ways = {}
    directory = stage.directory / f"postfix-{slots}"

    def listener(transport: str, next_hop: str) -> str:
        address = f"127.0.0.1:{free_port()}"
        nonlocal master
        master += LISTENER.format(address=address, transport=transport, next_hop=next_hop)
        return address

    for name, argv in commands(stage, reinjection).items():
        spool = spool_of_account(stage, name)
        transport = "scan-" + name.replace(" ", "-")
        master += PIPE.format(
            transport=transport, slots=slots, account=ACCOUNT, directory=spool, argv=argv
        )
        ways[name] = listener(transport, "dummy")
    proxies = {name: f"127.0.0.1:{free_port()}" for name in PROXIES}
    for name, proxy in proxies.items():
        host, _, port = proxy.rpartition(":")
        transport = "scan-" + name
        master += PROXY.format(transport=transport, slots=slots)
        ways[name] = listener(transport, f"[{host}]:{port}")
    directory.mkdir()
    main = MAIN.format(commands=postfix_commands(directory / "commands"))
    with contextlib.ExitStack() as stack:
        postfix = stack.enter_context(Postfix(directory, relayhost=sink, main=main, master=master))
        let_account_drop(directory / "queue")
        for name, proxy in proxies.items():
            stack.enter_context(PROXIES[name](stage, proxy, reinjection, slots))
        yield postfix, {UNFILTERED: f"127.0.0.1:{postfix.port}", **ways}


def commands(stage: Stage, reinjection: str) -> dict[str, str]:
    """The programs that pipe(8) runs, without the envelope."""
    spool = spool_of_account(stage, OURS)
    remove = stage.program("remove.sh")
    scan = f"{stage.avcheck} -s clamd:{stage.clamd.socket} -d {spool} -i {remove}"
    sendmail = f"{packages.find('sendmail')} -G -i"
    return {
        OURS: f"{scan} -S {reinjection}",
        SHELL: stage.shell_filter(spool_of_account(stage, SHELL), sendmail),
    }


def spool_of_account(stage: Stage, name: str) -> Path:
    """A directory for the filter of that name, of the account that filters run as."""
    spool = stage.directory / ("spool-" + name.replace(" ", "-"))
    spool.mkdir(mode=0o700, exist_ok=True)
    shutil.chown(spool, ACCOUNT)
    return spool


def let_account_drop(queue: Path) -> None:
    """Let the filters' account do what the group postdrop may."""
    for name in ("maildrop", "public"):
        os.chown(queue / name, -1, pwd.getpwnam(ACCOUNT).pw_gid)


def prove(name: str, stage: Stage, postfix: Postfix, sink: Sink, address: str) -> None:
    """Raise WrongEndError unless this way lets a clean message pass and holds an infected one."""
    sink.take()
    for message in (CLEAN, INFECTED):
        smtp_source(stage, address, message, 1)
    wait_for_empty_queue(postfix)
    # The shell filter rejects, so Postfix sends a bounce to the sender; that is not counted.
    passed = [mail for mail in sink.take() if RECIPIENT.encode() in mail.recipients]
    expected = 2 if name == UNFILTERED else 1
    if len(passed) != expected:
        raise WrongEndError(f"{name}: let {len(passed)} of 2 messages pass:\n{postfix.log[-4000:]}")


def idle_rate(counted: Meter) -> float:
    """Seconds of processor a second while nothing is sent."""
    before = counted.seconds()
    time.sleep(IDLE)
    return (counted.seconds() - before) / IDLE


def send(
    stage: Stage,
    postfix: Postfix,
    address: str,
    messages: int,
    counted: Meter,
    idle: float,
) -> Flow:
    """What it took to get that many messages from the source to the sink."""
    before = handed_on(postfix)
    used, started = counted.seconds(), time.monotonic()
    smtp_source(stage, address, CLEAN, messages)
    wait_for_empty_queue(postfix)
    took = time.monotonic() - started
    used = counted.seconds() - used - idle * took
    postfix.wait_until(lambda: handed_on(postfix) >= before + messages, f"{messages} in the log")
    return Flow(messages / took, used / messages)


def handed_on(postfix: Postfix) -> int:
    """How many messages the sink has taken so far, by the log."""
    return postfix.log.count("status=sent (250 2.0.0 Ok)")


def smtp_source(stage: Stage, address: str, message: bytes, count: int) -> None:
    """Send the message that often, by several sessions at the same time."""
    file = stage.directory / "message"
    file.write_bytes(message)
    words = [packages.find("smtp-source"), "-F", str(file), "-f", SENDER, "-t", RECIPIENT]
    words += ["-s", str(min(SESSIONS, count)), "-m", str(count), "-d", address]
    subprocess.run(words, check=True, cwd="/", env=stage.environment, stdout=subprocess.DEVNULL)


def wait_for_empty_queue(postfix: Postfix) -> None:
    """Return once no message is left; raises WrongEndError with the log if that is not to be."""
    queue = postfix.directory / "queue"
    end = time.monotonic() + QUEUE_MAX
    while any(os.listdir(queue / part) for part in ("maildrop", "incoming", "active")):
        if time.monotonic() > end:
            raise WrongEndError(f"messages stay in the queue:\n{postfix.log[-4000:]}")
        time.sleep(0.01)  # short beside the seconds that are measured
    if any(file.is_file() for file in (queue / "deferred").rglob("*")):
        raise WrongEndError(f"messages were deferred:\n{postfix.log[-4000:]}")


def shown(rounds: Rounds, slots: int) -> Table:
    columns = ("", "messages/s", "times avcheck", "CPU, ms", "more than no filter", "times avcheck")
    table = Table(
        f"Through Postfix: {rounds.messages} messages of 4 kB, {slots} at a time", columns
    )
    rate, cpu = rounds.rate, rounds.cpu
    extra = {
        name: [more - less for more, less in zip(each, cpu[UNFILTERED], strict=True)]
        for name, each in cpu.items()
    }
    for name in rounds.flows:
        table.add(
            name,
            f"{statistics.median(rate[name]):.0f}",
            str(ratio(rate[name], rate[OURS])),
            milliseconds(cpu[name]),
            "-" if name == UNFILTERED else milliseconds(extra[name]),
            "-" if name == UNFILTERED else str(ratio(extra[name], extra[OURS])),
        )
    table.notes += [
        f"{rounds.note}; the last column compares what each filter adds to Postfix alone.",
        "The shell filter hands on by Postfix's sendmail, the others by SMTP to the same "
        "listener. amavisd-new looks for viruses only: no checks for spam or names of "
        "attachments, no database.",
    ]
    table.findings.append(
        f"Through Postfix, {slots} at a time, messages a second and processor time of the filter "
        "beside avcheck's (1.00): "
        + "; ".join(
            f"{name} {ratio(rate[name], rate[OURS]).median:.2f} and "
            f"{ratio(extra[name], extra[OURS]).median:.2f}"
            for name in rounds.flows
            if name not in (OURS, UNFILTERED)
        )
        + "."
    )
    return table

"""docs/scaling.md: three mail hosts and two scanner hosts, and what a cut link does to the mail.

Each mail host finds a scanner in one of the documented ways; all do the same at the same
time.  At the end every message is accounted for.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck import stream
from avcheck.admin.totals import gather
from tests.campaigns import sweeps
from tests.campaigns.chaos import notes
from tests.live.farm import (
    PAGE,
    PORT,
    SCANNERS,
    WAYS,
    Farm,
    Mail,
    Scanner,
    farm,
    on_host,
    wait_until,
)
from tests.support.letters import letter, token, with_attachment
from tests.support.servers import packages
from tests.support.servers.daemon import suspend
from tests.support.servers.haproxy import Haproxy
from tests.support.servers.netns import CUTS, UNPLUGGED
from tests.support.servers.postfix import PATIENCE
from tests.support.servers.tls import Authority

FIRST, SECOND = SCANNERS

# Messages in the storm.
COUNT = sweeps.messages(20)

# Messages for each link that is cut in it, and seconds to the next one.
FOR_EACH = 10
PAUSE = 0.5

# clamd's MaxConnectionQueueLength.
BACKLOG = 200


@pytest.fixture(scope="module")
def hosts(open_directory: Path, opt: Path) -> Iterator[Farm]:
    with farm(open_directory / "farm", opt) as all_of_it:
        yield all_of_it


def test_both_scanners_have_work_where_the_load_is_shared(hosts: Farm) -> None:
    by_way = hosts.each()
    for way in ("name", "balanced"):
        for scanner in hosts.scanners:
            hosts.used(scanner, by_way[way])
    hosts.used(hosts.scanners[0], by_way["list"])
    assert hosts.scanners[1].scanned(by_way["list"]) == 0


@pytest.mark.parametrize("how", CUTS)
def test_a_scanner_that_is_cut_off_is_done_without_and_used_again(hosts: Farm, how: str) -> None:
    with hosts.cut(FIRST, how):
        sent = hosts.clean_and_infected()
        for mail, queue_ids in sent.items():
            for queue_id in queue_ids:
                assert "status=sent" in mail.first(queue_id)
    for mail in hosts.mails:
        hosts.used(hosts.scanners[0], mail)


def test_mail_waits_for_the_scanners(hosts: Farm) -> None:
    with hosts.cut(FIRST, "refused"), hosts.cut(SECOND, "silent"):
        for mail, queue_ids in hosts.clean_and_infected().items():
            for queue_id in queue_ids:
                assert "status=deferred" in mail.first(queue_id)
    for mail in hosts.mails:
        mail.flush()


def test_mail_waits_for_the_network(hosts: Farm) -> None:
    with contextlib.ExitStack() as stack:
        for name in WAYS:
            stack.enter_context(hosts.cut(name, UNPLUGGED))
        for mail, queue_ids in hosts.clean_and_infected().items():
            for queue_id in queue_ids:
                assert "status=deferred" in mail.first(queue_id)
    for mail in hosts.mails:
        mail.flush()


def test_a_scanner_that_is_killed_while_it_scans(
    hosts: Farm, avcheck: Path, tmp_path: Path
) -> None:
    """Its mail is put off; with another one as a backup it is not."""
    scanner = hosts.scanners[0]
    mail = hosts.each()["list"]
    words = ("-s", f"clamd:{FIRST}", "--backup", f"clamd:{SECOND}")
    with stopped(scanner), contextlib.ExitStack() as stack:
        queue_id = held(hosts, scanner)
        before = scanner.waiting(mail.host)
        run = stack.enter_context(begun(mail, scan(avcheck, tmp_path, *words)))
        wait_until(lambda: scanner.waiting(mail.host) > before, "a scan")
        scanner.kill()
        assert "status=deferred" in (line := mail.first(queue_id))
        assert "closed the connection" in line
        said, _ = run.communicate()
        assert run.returncode == 0, said
        assert said.startswith(b"clean: clamd ")
        for mail in hosts.mails:
            mail.flush()
    scanner.start()
    for mail in hosts.mails:
        hosts.used(scanner, mail)


def test_a_scanner_with_too_many_at_its_door_is_left_for_the_other(hosts: Farm) -> None:
    first, second = hosts.scanners
    mail = hosts.each()["list"]
    before = second.scanned(mail)
    with stopped(first), contextlib.ExitStack() as stack:

        def crowd() -> None:
            for _ in range(BACKLOG + 50):
                guest = stack.enter_context(socket.socket())
                guest.setblocking(False)
                guest.connect_ex((first.host.address, PORT))

        mail.host.do(crowd)
        wait_until(lambda: first.knocking(mail.host) >= 10, "a crowd")
        assert "status=sent" in mail.first(mail.submit())
    assert second.scanned(mail) > before
    for each in hosts.mails:
        hosts.used(first, each)


# Half a minute each: the kernel takes its time to give up a connection.
@pytest.mark.skipif(not sweeps.is_whole(), reason="half a minute each: make chaos")
@pytest.mark.parametrize("how", [UNPLUGGED, "silent"])
def test_a_scanner_that_is_lost_while_it_scans(
    hosts: Farm, how: str, avcheck: Path, tmp_path: Path
) -> None:
    """Its mail is put off after -t, and goes to the other one; without -t the loss is noticed."""
    scanner = hosts.scanners[0]
    mail = hosts.each()["list"]
    patient = scan(avcheck, tmp_path, "-s", f"clamd:{FIRST}", "-t", "280", "--deadline", "290")
    with stopped(scanner), contextlib.ExitStack() as stack:
        queue_id = held(hosts, scanner)
        before = scanner.waiting(mail.host)
        run = stack.enter_context(begun(mail, patient))
        wait_until(lambda: scanner.waiting(mail.host) > before, "a scan")
        with hosts.cut(FIRST, how):
            assert "status=deferred" in (line := mail.first(queue_id))
            assert "no answer in time" in line
            for each in hosts.mails:
                each.flush()
            said, _ = run.communicate()
            assert run.returncode == 75
            assert stream.GONE.encode() in said or b"No route to host" in said, said
    for each in hosts.mails:
        hosts.used(scanner, each)


@contextlib.contextmanager
def stopped(scanner: Scanner) -> Iterator[None]:
    """It does nothing, though its host is well."""
    pid = scanner.pid
    suspend(pid)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it was killed
            os.kill(pid, signal.SIGCONT)


def held(hosts: Farm, scanner: Scanner) -> str:
    """Mail on all hosts, of which this message has got to the scanner; a large one has in part."""
    mail = hosts.each()["list"]
    queue_id = mail.submit()
    mail.submit(with_attachment(os.urandom(5_000_000)))
    for each in hosts.mails:
        each.submit()
    wait_until(lambda: scanner.waiting(mail.host) >= 3, "three scans")
    return queue_id


def test_a_scanner_host_is_taken_out_and_let_in_again(hosts: Farm) -> None:
    """As the page does it: what runs comes to its end, and nothing new begins."""
    first, second = hosts.scanners
    mail = hosts.each()["list"]
    wait_until(lambda: first.waiting(mail.host) == 0, "the end of the scans before")
    with stopped(first):
        begun = mail.submit()
        wait_until(lambda: first.waiting(mail.host) > 0, "a scan")
        first.host.shell(PAGE["drain"])
        try:
            hosts.used(second, mail)
            os.kill(first.pid, signal.SIGCONT)
            assert "status=sent" in mail.first(begun)
            wait_until(lambda: first.waiting(mail.host) == 0, "the end of the scans")
        finally:
            first.host.shell(PAGE["undrain"])
    hosts.used(first, mail)


def test_a_scanner_host_is_taken_out_of_haproxy(hosts: Farm) -> None:
    packages.need("socat", commands=["socat"])
    first, second = hosts.scanners
    mail = hosts.each()["balanced"]
    hosts.used(first, mail)
    mail.host.shell(hosts.here(PAGE["haproxy-drain"]))
    before = first.scanned(mail), second.scanned(mail)
    for _ in range(6):
        assert "status=sent" in mail.first(mail.submit())
    assert (first.scanned(mail), second.scanned(mail)) == (before[0], before[1] + 6)
    mail.host.shell(hosts.here(PAGE["haproxy-ready"]))
    hosts.used(first, mail)


def test_only_mail_hosts_reach_the_scanner_behind_its_firewall(hosts: Farm) -> None:
    first, second = hosts.scanners
    first.host.shell(hosts.here(PAGE["firewall"]))
    try:
        for mail in hosts.mails:
            hosts.used(first, mail)
        with pytest.raises(ConnectionRefusedError):
            second.host.do(socket.create_connection, (first.host.address, PORT), PATIENCE)
    finally:
        first.host.run("nft", "delete", "table", "inet", "clamd")
    second.host.do(socket.create_connection, (first.host.address, PORT), PATIENCE).close()


def test_scanners_behind_tls(hosts: Farm, avcheck: Path, tmp_path: Path) -> None:
    """The lines of the page; nobody gets in without a certificate, and the next place is tried."""
    authority = Authority(tmp_path / "authority")
    mail = hosts.each()["list"]
    with contextlib.ExitStack() as stack:
        for scanner in hosts.scanners:
            name = scanner.host.name
            text = PAGE["haproxy-tls.cfg"].replace(
                "/etc/haproxy/authority.pem", f"{authority.file}"
            )
            text = text.replace("/etc/haproxy/scan1.pem", str(authority.issue(name)))
            on_host(stack, scanner.host, Haproxy(tmp_path / name, text, 3311))
        words = PAGE["tls"].replace("/etc/avcheck/authority.pem", str(authority.file))
        words = words.replace("/etc/avcheck/mail1.pem", str(authority.issue("mail1")))
        assert ask(mail, avcheck, tmp_path, *words.split()) == (0, b"clean: clamd ")
        without, _, _ = words.partition("--scanner-cert")
        assert ask(mail, avcheck, tmp_path, *without.split())[0] == 75
        with hosts.cut(FIRST, "refused"):
            assert ask(mail, avcheck, tmp_path, *words.split()) == (0, b"clean: clamd ")


def ask(mail: Mail, avcheck: Path, spool: Path, *words: str) -> tuple[int, bytes]:
    """The status of such a run, and the beginning of what it says."""
    with begun(mail, scan(avcheck, spool, *words)) as run:
        said, _ = run.communicate()
    return run.returncode, said[:13]


def scan(avcheck: Path, spool: Path, *words: str) -> list[str]:
    """A run that only scans."""
    who = ("-n", "-f", "anna@example.com", "--", "bert@example.net")
    return [str(avcheck), "-d", str(spool), *words, *who]


@contextlib.contextmanager
def begun(mail: Mail, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command on that host, which has been given a message."""

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    with mail.host.do(begin) as run:
        assert run.stdin
        run.stdin.write(letter())
        run.stdin.close()
        run.stdin = None
        try:
            yield run
        finally:
            run.kill()


@pytest.mark.timeout(240 + COUNT)
def test_links_that_break_at_random(hosts: Farm) -> None:
    chance = random.Random(1)
    happened: Counter[str] = Counter()
    over = threading.Event()
    failed: list[BaseException] = []

    def trouble() -> None:
        try:
            while not over.is_set():
                name, how = chance.choice((*WAYS, *SCANNERS, *SCANNERS)), chance.choice(CUTS)
                with hosts.cut(name, how):
                    happened[f"{name} {how}"] += 1
                    over.wait(PAUSE * chance.randint(1, 4))
                over.wait(PAUSE)
        except BaseException as why:
            failed.append(why)

    def send(number: int) -> None:
        mail = hosts.mails[number % len(hosts.mails)]
        if number % 5:
            mail.submit()
        else:
            mail.submit_infected()
        mail.postfix.flush()
        wait_until(
            lambda: bool(failed) or sum(happened.values()) * FOR_EACH > number, "the next trouble"
        )

    thread = threading.Thread(target=trouble)
    thread.start()
    try:
        for number in range(COUNT):
            send(number)
    finally:
        over.set()
        thread.join()
    assert not failed
    for mail in hosts.mails:
        mail.flush()
    notes.tell("links cut at random", happened, {"messages": COUNT})


def test_every_message_is_in_one_place_and_counted_once(hosts: Farm) -> None:
    """After all of the above: delivered or quarantined once, and the hosts' counters add up."""
    for mail, queue_ids in hosts.clean_and_infected().items():
        for queue_id in queue_ids:
            mail.first(queue_id)
        mail.flush()
        mail.system.account_for(mail.postfix)
        arrived = Counter(token(each.data) for each in mail.system.sink.messages)
        assert sum(count for mark, count in arrived.items() if mark) == mail.clean
        assert len(list(mail.system.quarantine.glob("[!.]*/message"))) == mail.infected
    total = gather([os.fsencode(mail.metrics) for mail in hosts.mails])
    counted = {
        (verdict, action): total[f'avcheck_messages_total{{verdict="{verdict}",action="{action}"}}']
        for verdict, action in (("clean", "deliver"), ("infected", "handle"))
    }
    assert counted == {
        ("clean", "deliver"): sum(mail.clean for mail in hosts.mails),
        ("infected", "handle"): sum(mail.infected for mail in hosts.mails),
    }

"""Real mail through a real Exim, with the lines of docs/exim.md."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avcheck.admin import guide
from avcheck.admin.commands import setup
from tests.live.recipe import MailSystem, blocks
from tests.live.through import Through, arrives, replaced
from tests.support.letters import EICAR, letter, with_attachment
from tests.support.servers.daemon import suspend
from tests.support.servers.exim import Exim
from tests.support.servers.ports import free_port
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "exim.md"
PARTS = ("main", "acl", "router", "transport")


@pytest.fixture(scope="module")
def program(open_directory: Path) -> Path:
    return Exim.unpack(open_directory / "exim-package")


@contextmanager
def started(
    mail_system: MailSystem,
    program: Path,
    name: str,
    *changes: tuple[str, str],
    main: str = "",
    behind: int = 0,
) -> Iterator[Through]:
    """An Exim with the documented lines, and `main`; changes replace words of the transport."""
    front, behind = free_port(), behind or free_port()
    names = {
        **mail_system.names,
        "0.0.0.0 ; ::0": f"127.0.0.1.{front}",
        setup.PORT: str(behind),
    }
    parts = guide.configuration("exim", names)
    parts["main"] += main
    parts["transport"] = replaced(parts["transport"], *changes)
    with Exim(
        mail_system.directory / name,
        program,
        relayhost=mail_system.sink.address,
        port=front,
        parts={part: parts[part] for part in PARTS},
    ) as server:
        yield Through(mail_system, server, server)


@pytest.fixture(scope="module")
def exim(mail_system: MailSystem, program: Path) -> Iterator[Through]:
    """An Exim with exactly the documented lines."""
    with started(mail_system, program, "exim") as through:
        yield through


def test_sixty_recipients_share_two_runs(exim: Through) -> None:
    message = letter()
    recipients = tuple(f"bert{number}@example.net" for number in range(60))
    arrives(exim, message, recipients=recipients)
    assert len(exim.delivered(message)) == 2


def test_recipients_in_many_domains_share_a_run(exim: Through) -> None:
    """The command has no $domain in it, so Exim need not keep them apart."""
    message = letter()
    recipients = tuple(f"bert@host{number}.example" for number in range(20))
    queue_id = exim.submit(message, recipients=recipients)
    exim.run()
    reached = [to.decode() for each in exim.delivered(message) for to in each.recipients]
    assert sorted(reached) == sorted(recipients)
    # Exim logs the output once for each run.
    assert len(re.findall(rf"{queue_id} .* transport output: clean", exim.front.log)) == 1


@pytest.mark.parametrize("batch", ["1", "7"])
def test_batch_max_is_how_many_share_a_run(
    mail_system: MailSystem, program: Path, batch: str
) -> None:
    message, virus = letter(), with_attachment(EICAR)
    recipients = tuple(f"bert{number}@example.net" for number in range(15))
    change = ("batch_max = 50", f"batch_max = {batch}")
    with started(mail_system, program, f"exim-batch-{batch}", change) as batched:
        for each in (message, virus):
            batched.submit(each, recipients=recipients)
        batched.run()
        runs = -(-len(recipients) // int(batch))
        assert len(batched.delivered(message)) == runs
        assert len(mail_system.quarantined(virus)) == runs
        reached = [to.decode() for each in batched.delivered(message) for to in each.recipients]
        assert sorted(reached) == sorted(recipients)


def at_once(server: Exim, count: int) -> None:
    """So many queue runners at the same time, until all have ended."""
    with concurrent.futures.ThreadPoolExecutor(count) as runners:
        for run in [runners.submit(server.run_queue) for _ in range(count)]:
            run.result()


def test_several_queue_runners_deliver_each_message_once(exim: Through) -> None:
    assert isinstance(exim.front, Exim)
    clean = [letter() for _ in range(15)]
    infected = [with_attachment(EICAR) for _ in range(3)]
    for each in (*clean, *infected):
        exim.submit(each, recipients=("bert@a.example", "carl@b.example"))
    exim.shared.clamd.stop()
    try:
        at_once(exim.front, 4)
        assert all(len(exim.waiting(each)) == 1 for each in (*clean, *infected))
    finally:
        exim.shared.clamd.start()
    at_once(exim.front, 4)
    # What came back while they ran may have been taken by none of them.
    exim.run()
    for each in clean:
        reached = [to for received in exim.delivered(each) for to in received.recipients]
        assert sorted(reached) == [b"bert@a.example", b"carl@b.example"]
    assert [len(exim.shared.quarantined(each)) for each in infected] == [1] * len(infected)
    assert exim.front.queue() == []


def test_with_slots_several_queue_runners_wait_for_their_turn(
    mail_system: MailSystem, program: Path
) -> None:
    with started(
        mail_system, program, "exim-slots", ("--deadline", "--slots 2 --deadline")
    ) as slotted:
        assert isinstance(slotted.front, Exim)
        messages = [letter() for _ in range(20)]
        for each in messages:
            slotted.submit(each)
        at_once(slotted.front, 6)
        slotted.run()
        assert [len(slotted.delivered(each)) for each in messages] == [1] * len(messages)
        assert "returned 75" not in slotted.front.log
        slots = sorted(mail_system.spool.glob("slot.*"))
        assert {slot.name for slot in slots} <= {"slot.0", "slot.1"}
        assert slots
        for slot in slots:
            slot.unlink()


def test_the_router_does_not_vouch_for_addresses(exim: Through) -> None:
    front = exim.front
    assert isinstance(front, Exim)
    assert "router = avcheck, transport = avcheck" in front.command("-bt", "bert@example.net")
    assert "avcheck" not in front.command("-bv", "bert@example.net")


WRONG = {
    "a wrong option": ("--deadline", "--nonsense --deadline"),
    "a missing guard": ("/avcheck-guard ", "/missing "),
    "no avcheck": ("/bin/avcheck ", "/nowhere/bin/avcheck "),
    "status 1": ("/avcheck-guard ", "/false "),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_mail_waits_whatever_goes_wrong(mail_system: MailSystem, program: Path, wrong: str) -> None:
    command = Path(mail_system.names["/usr/local/libexec"], "false")
    if not command.exists():
        command.symlink_to("/bin/false")
    message = letter()
    name = f"exim with {wrong}".replace(" ", "-")
    with started(mail_system, program, name, WRONG[wrong]) as mended_later:
        mended_later.submit(message)
        mended_later.run()
        assert len(mended_later.waiting(message)) == 1
        mended_later.account_for()
        assert "rozen" not in mended_later.front.log


def test_a_command_that_takes_too_long_is_tried_again(
    mail_system: MailSystem, program: Path
) -> None:
    message = letter()
    suspend(mail_system.clamd.pid)
    try:
        with started(mail_system, program, "exim-slow", ("600s", "1s")) as slow:
            slow.submit(message)
            slow.run()
            assert len(slow.waiting(message)) == 1
            slow.account_for()
    finally:
        os.kill(mail_system.clamd.pid, signal.SIGCONT)


# Handlers that leave with a status at which Exim, by its own default, would bounce.
@pytest.mark.parametrize("status", [69, 77])
def test_no_status_of_a_handler_bounces(
    mail_system: MailSystem, program: Path, status: int
) -> None:
    handler = mail_system.directory / f"handler{status}"
    handler.write_text(f"#!/bin/sh\nexit {status}\n")
    handler.chmod(0o755)
    virus = with_attachment(EICAR)
    change = ("--deadline", f"-i {handler} --deadline")
    with started(mail_system, program, f"exim-handler-{status}", change) as handled:
        handled.submit(virus)
        handled.run()
        assert len(handled.waiting(virus)) == 1
        assert f"returned {status}" in handled.front.log
        handled.account_for()


def test_without_timeout_defer_it_would_bounce(mail_system: MailSystem, program: Path) -> None:
    """Why the line is there."""
    message = letter()
    suspend(mail_system.clamd.pid)
    try:
        changes = (("600s", "1s"), ("  timeout_defer\n", ""))
        with started(mail_system, program, "exim-bounce", *changes) as bouncing:
            bouncing.front.submit("anna@example.com", ["bert@example.net"], message)
            bouncing.run()
            assert bouncing.waiting(message) == []
            assert re.search(r"\*\* bert@example.net .*timed out", bouncing.front.log)
    finally:
        os.kill(mail_system.clamd.pid, signal.SIGCONT)


def test_exim_takes_no_sender_on_the_command_line(mail_system: MailSystem, program: Path) -> None:
    """Why the shell is there: since 4.96 the obvious line fails, and with it the mail."""
    [line] = re.findall(r"  command = /bin/sh -c '[^']+' avcheck \\", blocks(DOCUMENT)["transport"])
    obvious = f"  command = {mail_system.guarded} -f $sender_address \\"
    change = (mail_system.adapted(line), obvious)
    message = letter()
    with started(mail_system, program, "exim-tainted", change) as tainted:
        tainted.front.submit("anna@example.com", ["bert@example.net"], message)
        tainted.run()
        assert "Tainted" in tainted.front.log
        assert tainted.delivered(message) == []


def test_a_signal_freezes(mail_system: MailSystem, program: Path) -> None:
    killer = mail_system.directory / "killed"
    killer.write_text("#!/bin/sh\nkill -9 $$\n")
    killer.chmod(0o755)
    message = letter()
    with started(mail_system, program, "exim-killed", (mail_system.guarded, str(killer))) as killed:
        killed.submit(message)
        killed.run()
        assert "Frozen" in killed.front.log
        killed.account_for()


def test_a_rejected_virus_bounces_with_avchecks_words(
    mail_system: MailSystem, program: Path
) -> None:
    virus, waits = with_attachment(EICAR), letter()
    changes = (
        ("--deadline", "--on infected=reject --deadline"),
        ("  temp_errors = *\n", blocks(DOCUMENT)["reject"]),
        ("  log_output\n", ""),
    )
    main = blocks(DOCUMENT)["reject-main"]
    with started(mail_system, program, "exim-reject", *changes, main=main) as rejecting:
        rejecting.front.submit("anna@example.com", ["bert@example.net"], virus)
        rejecting.run()
        rejecting.run()  # the bounce is scanned as well
        [bounce] = rejecting.bounces(virus)
        assert bounce.recipients == [b"anna@example.com"]
        assert b"5.7.1" in bounce.data
        assert b"Eicar" in bounce.data
        mail_system.waitfile.touch()
        try:
            rejecting.submit(waits)
            rejecting.run()
            assert len(rejecting.waiting(waits)) == 1
        finally:
            mail_system.waitfile.unlink()
        rejecting.run()
        assert len(rejecting.delivered(waits)) == 1
    mail_system.sink.messages.remove(bounce)


def test_every_accepted_message_is_accounted_for(exim: Through) -> None:
    """Must stay the last test of this module that uses `exim`."""
    exim.account_for()
    assert exim.front.queue() == []

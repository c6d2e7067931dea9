"""The story: python -m demo.  Exits 0 if everything went as it should, else 1."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys

from demo import letters
from demo.dialogue import Dialogue
from demo.letters import ALICE, BOB, FORGED
from demo.screen import Screen
from demo.stage import DEFER, DELIVERED, Stage, stage
from tests.support.servers import packages


def main() -> int:
    # Also then, what was started is stopped and the directory removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    screen = Screen()
    screen.say("avcheck is what a mail system runs for each message. Here it is run by hand.")
    try:
        install_clamd(screen)
        with stage(screen) as where:
            set_up(where)
            clean_mail_is_delivered(where)
            infected_mail_is_put_away(where)
            a_waitfile_holds_mail_back(where)
            without_a_scanner_mail_is_held_back(where)
            by_smtp_infected_mail_is_refused(where)
    except packages.MissingError as why:
        print(f"\nclamd is missing: {why}", file=sys.stderr)
        return 1
    except (RuntimeError, subprocess.TimeoutExpired) as why:
        print(f"\n{why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    screen.heading("The end")
    if screen.failures:
        screen.say(f"{screen.failures} thing(s) above did not go as they should: look for WRONG.")
        return 1
    screen.say(f"All went as it should. clamd is stopped, {where.directory} is removed.")
    return 0


def install_clamd(screen: Screen) -> None:
    """From Debian's package; raises MissingError where that cannot be done here."""
    if packages.present(["clamav-daemon"], ["clamd"], []):
        return
    if packages.become_root() is None:
        raise packages.MissingError(
            "install it, and then run the demonstration again:\n\n"
            "    sudo apt-get install --no-install-recommends clamav-daemon\n"
        )
    screen.say("clamd is missing: installing Debian's package clamav-daemon, without starting it.")
    packages.install("clamav-daemon")


def set_up(where: Stage) -> None:
    """Start what avcheck talks to, and say what it is."""
    screen = where.screen
    screen.heading("What is there")
    screen.say(
        f"""A mail server at {where.sink.address} that keeps what it is given; a private directory,
        called $D below: {where.directory}; and a clamd with two signatures, both of harmless
        test files:"""
    )
    start_clamd(where)


def start_clamd(where: Stage) -> None:
    """Start clamd and wait until it answers."""
    where.screen.command("clamd --config-file=$D/clamd/clamd.conf &")
    where.clamd.start()
    where.screen.fact(True, "it answers PING with PONG")


def clean_mail_is_delivered(where: Stage) -> None:
    screen = where.screen
    letter = letters.clean()
    screen.heading("1. A clean message is delivered")
    status = where.send("clean.eml", letter, ALICE, BOB)
    screen.fact(status == DELIVERED, "avcheck took care of it")
    delivered_unchanged(where, letter)


def infected_mail_is_put_away(where: Stage) -> None:
    screen = where.screen
    letter = letters.infected()
    screen.heading("2. An infected message goes to the quarantine, and postmaster hears of it")
    status = where.send("infected.eml", letter, FORGED, BOB)
    screen.fact(status == DELIVERED, "avcheck took care of it, by way of its handler infected.sh")

    entries = [path for path in where.quarantine.glob("*") if path.name != ".new"]
    screen.fact(len(entries) == 1, "one entry is in the quarantine")
    for entry in entries:
        screen.show([where.short(str(path)) for path in sorted(entry.iterdir())])
        kept = (entry / "message").read_bytes()
        screen.fact(kept == letter, "the message in it is the one that came, byte for byte")
        text = (entry / "about.json").read_text()
        about = json.loads(text)
        right = (
            about["sender"] == FORGED
            and about["recipients"] == [BOB]
            and "Eicar" in about["virus"]
            and about["sha256"] == hashlib.sha256(letter).hexdigest()
        )
        screen.fact(right, "and beside it is what was known about it")
        screen.show(text.splitlines()[1:-1])

    mail = where.arrived()
    told = [(one.sender, one.recipients) for one in mail]
    screen.fact(told == [(b"", [b"postmaster"])], "one report was sent, to postmaster only")
    for one in mail:
        lines = one.data.decode("ascii", "replace").splitlines()
        screen.show([line for line in lines if line.startswith(("From:", "To:", "Subject:"))])
        screen.show([where.short(line) for line in lines[lines.index("") + 1 :][:12]])
    screen.fact(
        not any(FORGED.encode() in one.recipients for one in mail),
        f"nothing was sent to {FORGED}, who may never have seen it",
    )
    screen.fact(where.left_behind() == [], "nothing is left in the spool directory")


def a_waitfile_holds_mail_back(where: Stage) -> None:
    screen = where.screen
    letter = letters.clean()
    screen.heading("3. While the waitfile exists, all mail is held back")
    screen.command("touch $D/waitfile")
    where.waitfile.touch()
    held_back(where, where.send("clean.eml", letter, ALICE, BOB))
    screen.command("rm $D/waitfile")
    where.waitfile.unlink()
    again(screen)
    status = where.send("clean.eml", letter, ALICE, BOB)
    screen.fact(status == DELIVERED, "now avcheck took care of it")
    delivered_unchanged(where, letter)


def without_a_scanner_mail_is_held_back(where: Stage) -> None:
    screen = where.screen
    letter = letters.clean()
    screen.heading("4. When clamd is gone, nothing passes unscanned, and nothing is lost")
    screen.command(f"kill {where.clamd.pid}  # clamd")
    where.clamd.stop()
    held_back(where, where.send("clean.eml", letter, ALICE, BOB))
    start_clamd(where)
    again(screen)
    status = where.send("clean.eml", letter, ALICE, BOB)
    screen.fact(status == DELIVERED, "now avcheck took care of it")
    delivered_unchanged(where, letter)


def by_smtp_infected_mail_is_refused(where: Stage) -> None:
    screen = where.screen
    screen.heading("5. By SMTP an infected message is refused while the client waits")
    screen.say(
        """avcheck-smtp speaks SMTP on its standard input, here with the demonstration as the mail
        server (C:). Nobody has to keep what is refused, and no bounce goes to a forged address:"""
    )
    letter = letters.clean()
    with Dialogue(where) as dialogue:
        dialogue.say("EHLO mx.example.net")
        said = dialogue.send(letters.infected(), FORGED, BOB)
        screen.fact(
            said.startswith("550 5.7.1 ") and "Eicar" in said, "it was refused, by its name"
        )
        screen.fact(where.arrived() == [], "nothing was delivered")
        screen.say("The same connection goes on with the next message:")
        said = dialogue.send(letter, ALICE, BOB)
        screen.fact(said.startswith("250 "), "the reply is that of the mail server behind")
        dialogue.say("QUIT")
    mail = where.arrived()
    arrived = [one.data.replace(b"\r\n", b"\n") for one in mail]
    screen.fact(arrived == [letter], "it was delivered, and is the one that was sent")
    screen.fact(where.left_behind() == [], "nothing is left in the spool directory")


def again(screen: Screen) -> None:
    """Minutes later, with a real one."""
    screen.say("The mail system tries again:")


def held_back(where: Stage, status: int) -> None:
    """What has to be so when avcheck could not finish."""
    screen = where.screen
    screen.fact(status == DEFER, "avcheck told the mail system to keep it")
    screen.fact(where.arrived() == [], "nothing was delivered")
    screen.fact(where.left_behind() == [], "nothing is left in the spool directory")


def delivered_unchanged(where: Stage, letter: bytes) -> None:
    """What has to be so when the letter was clean."""
    screen = where.screen
    mail = where.arrived()
    envelopes = [(one.sender, one.recipients) for one in mail]
    screen.fact(envelopes == [(ALICE.encode(), [BOB.encode()])], f"it was delivered to {BOB}, once")
    for one in mail:
        first, _, rest = one.data.partition(b"\r\n")
        screen.fact(first.startswith(b"X-AV-Checked: "), "it begins with the line that -h asks for")
        screen.show([first.decode("ascii", "replace")])
        same = rest == letter.replace(b"\n", b"\r\n")
        screen.fact(same, "after that line it is as it was, byte for byte")
    screen.fact(where.left_behind() == [], "nothing is left in the spool directory")


if __name__ == "__main__":
    sys.exit(main())

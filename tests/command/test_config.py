"""--config: options from a file; what is wrong in it is named with its line, and keeps the mail."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from avcheck.options import reading
from tests.support.mta import MAIL, Ended, Site
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "policy.md"

FOUND = b"Eicar-Test-Signature FOUND"


class Configured:
    """A site with a configuration file, and a command line with nothing but it and the envelope."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.file = site.directory / "avcheck.conf"

    def write(self, *lines: str | bytes) -> None:
        self.file.write_bytes(
            b"".join(
                (os.fsencode(line) if isinstance(line, str) else line) + b"\n" for line in lines
            )
        )

    def usual(self) -> list[str]:
        """The lines that any file here needs."""
        return [
            f"spool {self.site.spool}",
            f"scanner clamd:{self.site.scanner.where}",
            f"sendmail {self.site.hop[1]}",
        ]

    def words(self, *options: str) -> list[str]:
        return [
            *self.site.command,
            *("--config", str(self.file), *options),
            *("-f", "anna@example.com", "--", "bert@example.net"),
        ]

    def run(self, *options: str) -> Ended:
        return self.site.start(self.words(*options)).end(MAIL)

    def assert_wrong(self, line: int, *words: str) -> None:
        """The message is kept, file and line are named, and a person gets to know it as well."""
        ended = self.run()
        self.site.assert_kept(ended, "4.3.5 avcheck: ", f"{self.file}, line {line}: ", *words)
        assert self.site.scanner.questions == []
        person = self.site.at_a_terminal(self.words())
        assert person.status == 64
        said = re.sub(r"\s+", " ", person.output.decode())
        assert f"Try 'avcheck --help' for help. Error: {self.file}, line {line}: " in said


@pytest.fixture
def configured(site: Site) -> Configured:
    return Configured(site)


# What is in it.


def test_everything_can_stand_in_the_file(configured: Configured) -> None:
    configured.write(*configured.usual(), "header from the file")
    assert configured.run().status == 0
    (message,) = configured.site.delivered
    assert re.match(rb"X-AV-Checked: .* from the file\r\n", message)


def test_blank_lines_comments_and_white_space(configured: Configured) -> None:
    spool, scanner, hop = configured.usual()
    configured.write(
        "# avcheck.conf",
        "",
        "   \t ",
        "  # indented",
        "\t" + spool.replace(" ", "\t", 1),
        scanner.replace(" ", " \t  ", 1) + "  ",
        hop + "\r",
        "#scanner clamd:/nonexistent",
        "header two  words # and no comment",
        "no-inject",
    )
    assert configured.run("-v").status == 0
    configured.write(*configured.usual(), "header two  words # and no comment")
    assert configured.run().status == 0
    assert b" two  words # and no comment\r\n" in configured.site.delivered[0]


def test_the_last_line_needs_no_end(configured: Configured) -> None:
    configured.file.write_bytes("\n".join([*configured.usual(), "ok-status 9"]).encode())
    assert configured.run().status == 9


def test_bytes_of_any_kind_are_an_argument(configured: Configured) -> None:
    odd = os.fsdecode(b"clamd.\xff\xe4")
    scanner = configured.site.directory / odd
    Path(configured.site.scanner.where).rename(scanner)
    spool, _, hop = configured.usual()
    configured.write(spool, f"scanner clamd:{scanner}", hop)
    assert configured.run().status == 0


def test_an_option_of_many_may_be_on_several_lines(configured: Configured) -> None:
    other = configured.site.clamd()
    configured.write(*configured.usual(), f"scanner clamd:{other.where}")
    configured.site.clamd()
    configured.write(*configured.usual(), f"scanner clamd:{other.where}")
    assert configured.run().status == 0
    assert [len(configured.site.scanner.questions), len(other.questions)] == [1, 1]


@pytest.mark.parametrize("name", ["client", "config", "from", "help", "version"])
def test_what_is_no_matter_for_a_file_is_wrong(configured: Configured, name: str) -> None:
    """`client` above all: with it in the file nothing would be scanned any more."""
    argument = {"from": " a@example.com", "config": " /x"}.get(name, "")
    configured.write(*configured.usual(), name + argument)
    configured.assert_wrong(4, name)
    assert configured.site.delivered == []


# The command line wins.


def test_an_option_on_the_command_line_replaces_the_line(configured: Configured) -> None:
    configured.write(*configured.usual(), "ok-status 9", "header from the file")
    assert configured.run("-g", "7", "-h", "from the line").status == 7
    assert b" from the line\r\n" in configured.site.delivered[0]


def test_scanners_on_the_command_line_replace_all_of_the_file(configured: Configured) -> None:
    configured.write(*configured.usual(), "scanner clamd:/nonexistent", "backup clamd:/x")
    other = configured.site.clamd()
    assert configured.run("-s", f"clamd:{other.where}").status == 0
    assert len(other.questions) == 1


def test_an_overruled_line_is_not_even_read(configured: Configured) -> None:
    """So that a slip in the file can be worked around from the command line."""
    configured.write(*configured.usual(), "header \u00e4", "timeout soon")
    ended = configured.run("-h", "fine", "-t", "10")
    assert ended.status == 0, ended


def test_of_two_files_the_last_one_counts(configured: Configured) -> None:
    configured.write(*configured.usual())
    first = configured.site.directory / "first"
    first.write_text("nonsense\n")
    words = [*configured.site.command, "--config", str(first), *configured.words()[1:]]
    assert configured.site.start(words).end(MAIL).status == 0


# Wrong lines.

WRONG = {
    "nonsense": ("no such option: nonsense",),
    "Header x": ("no such option: Header",),
    "--header x": ("no such option: --header",),
    "h x": ("no such option: h",),
    "header=x": ("no such option: header=x",),
    "header": ("header needs an argument", "TEXT"),
    "scanner   ": ("scanner needs an argument",),
    "no-inject yes": ("no-inject takes no argument",),
    "verbose 1": ("verbose takes no argument",),
    "timeout soon": ("timeout: soon: a number of seconds",),
    "on infected=drop": ("on: infected=drop: an action is one of",),
    "on infected": ("on: ",),
    "need 0": ("need: 0: a number",),
    "scanner nonsense": ("scanner: nonsense: known scanners are",),
    "spool relative": ("spool: relative: ", "absolute"),
    "scanner clamd:relative/path": ("scanner: ", "begins with a slash"),
    "scanner clamd+stream:/x,clamd:3310:1": ("scanner: ",),
    "sendmail relative words": ("sendmail: ",),
    "need 9": ("need", "not so many scanners"),
    "\x1b[31m\x07": ("no such option: ?[31m?",),
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_named(configured: Configured, line: str) -> None:
    configured.write("# first", "", *configured.usual(), line, "# last")
    configured.assert_wrong(6, *WRONG[line])


def test_two_actions_in_a_file_are_named(configured: Configured) -> None:
    configured.write(*configured.usual(), "on infected=defer", "", "on infected=discard")
    configured.assert_wrong(6, "two actions for infected")


def test_what_is_missing_altogether_keeps_the_message(configured: Configured) -> None:
    for number in range(2):
        configured.write(*configured.usual()[:number])
        ended = configured.run()
        configured.site.assert_kept(ended, "4.3.5", "is required")


# The file itself.


@pytest.mark.parametrize("what", ["missing", "directory", "loop", "empty name", "below a file"])
def test_a_file_that_cannot_be_read_keeps_the_message(configured: Configured, what: str) -> None:
    if what == "directory":
        configured.file.mkdir()
    elif what == "loop":
        configured.file.symlink_to(configured.file)
    elif what == "below a file":
        configured.file.touch()
        configured.file /= "below"
    elif what == "empty name":
        words = [*configured.site.command, "--config=", "-f", "a@example.com", "b@example.net"]
        configured.site.assert_kept(configured.site.start(words).end(MAIL), "4.3.5", "config")
        return
    ended = configured.run()
    configured.site.assert_kept(ended, "4.3.5", str(configured.file))
    # Not 64 either: nothing is wrong with what the person has typed.
    assert configured.site.at_a_terminal(configured.words()).status == 75


def test_a_file_that_others_may_not_read_keeps_the_message(unprivileged: Site) -> None:
    configured = Configured(unprivileged)
    configured.write(*configured.usual())
    assert configured.run().status == 0
    configured.file.chmod(0)
    ended = configured.run()
    assert ended.status == 75
    assert ended.output.startswith(b"4.3.5 avcheck: ")
    assert b"Permission denied" in ended.output
    assert len(unprivileged.delivered) == 1


def test_a_file_without_end_is_not_read_for_ever(configured: Configured) -> None:
    configured.file.symlink_to("/dev/zero")
    configured.site.assert_kept(configured.run(), "4.3.5", str(configured.file))
    configured.file.unlink()
    configured.file.write_bytes(b"# " + b"x" * 10_000_000)
    configured.site.assert_kept(configured.run(), "4.3.5", "larger than")


def test_a_pipe_is_read_to_its_end(configured: Configured) -> None:
    """As in --config <(...): what comes later is no less valid."""
    configured.site.clamd(says=FOUND)
    lines = [*configured.usual(), "on infected=discard"]
    os.mkfifo(configured.file)

    def write() -> None:
        with configured.file.open("wb", buffering=0) as pipe:
            for line in lines:
                pipe.write(line.encode() + b"\n")
                subprocess.run(["/bin/true"], check=True)  # a moment for the reader

    writer = threading.Thread(target=write)
    writer.start()
    ended = configured.run()
    writer.join()
    assert ended.output == b"infected: Eicar-Test-Signature; discarded\n"


def test_a_pipe_is_read_once_for_a_person_too(configured: Configured) -> None:
    """What is wrong in it is known then, and a second look would wait for ever."""
    os.mkfifo(configured.file)
    writer = threading.Thread(target=configured.write, args=("nonsense",))
    writer.start()
    person = configured.site.at_a_terminal(configured.words())
    writer.join()
    assert person.status == 64
    assert b"line 1: no such option: nonsense" in b" ".join(person.output.split())


def test_with_c_the_file_is_not_looked_at(configured: Configured) -> None:
    """Every other option is ignored, this one too: a handler must be able to rely on it."""
    words = ("-c", "-S", str(configured.site.hop[1]))
    assert configured.run(*words).status == 0
    configured.write("nonsense")
    assert configured.run(*words).status == 0
    assert configured.site.scanner.questions == []


# The page.


def blocks() -> dict[str, str]:
    """The named code blocks of docs/policy.md."""
    found = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    return dict(found)


def test_the_sample_of_the_page_works(configured: Configured) -> None:
    site = configured.site
    text = blocks()["avcheck.conf"]
    places = {
        "/var/spool/avcheck/quarantine": str(site.directory / "quarantine"),
        "/var/spool/avcheck/wait": str(site.directory / "wait"),
        "/var/spool/avcheck/metrics.prom": str(site.directory / "metrics.prom"),
        "/var/spool/avcheck": str(site.spool),
        "/run/clamav/clamd.ctl": site.scanner.where,
        "127.0.0.1:10026": str(site.hop[1]),
    }
    for documented, ours in places.items():
        assert documented in text, documented
        text = text.replace(documented, ours)
    configured.file.write_text(text)
    # All of it is read, the lines that are commented out, too.
    everything = re.sub(r"(?m)^#(?=[a-z-]+( \S+)+$)", "", text)
    assert everything != text
    line = ["--config", "/x", "--queue-id=1", "-f", "a@example.com", "b@example.net"]
    reading.read([word.encode() for word in line], lambda path: everything.encode())

    assert "canary" in text
    without = re.sub(r"(?m)^canary .*\n", "", text)  # this clamd knows no virus
    configured.file.write_text(without)
    assert configured.run("--queue-id", "4X").status == 0
    assert len(site.delivered) == 1
    site.clamd(says=FOUND)
    configured.file.write_text(without.replace(places["/run/clamav/clamd.ctl"], site.scanner.where))
    ended = configured.run("--queue-id", "4X")
    assert ended.status == 0
    assert b"; quarantined as " in ended.output
    configured.file.write_text(text)
    assert configured.run("--queue-id", "4X").status == 75

"""scripts/infected.sh: a message is in the quarantine, whole, or not at all; and one is told."""

from __future__ import annotations

import email
import email.message
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import tree

SCRIPT = tree.ROOT / "scripts" / "infected.sh"
ROOT = os.geteuid() == 0
MAIL = (
    b"Received: from a\r\nSubject: hello\r\nX-Odd: \x07\xff\x1b[31m\r\n\r\n\x00body\n.\nFrom \xe4\n"
)

# What a run that is stopped in the middle may take before the test gives up.
PATIENCE = 30

# Everything but NUL, which no argument can hold.
ALL_BYTES = bytes(range(1, 256))
HOSTILE = [
    b"-rf",
    b"",
    b"'; touch oops; '",
    b"$(touch oops)`touch oops`",
    b"* /etc/*",
    b'"quoted \\" local part"@example.org',
    b"a\nBcc: victim@example.org\n\nb\r\n.\r\n",
    b"%s%n\\n\\0\\c",
    "jürgen@müller.example \U0001f600 \u20ac \ud7ff \U0010ffff".encode(),
    # Not UTF-8: overlong, a surrogate, too high, cut off.
    b"\xc0\x80 \xe0\x80\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xf5 \xe2\x82",
    ALL_BYTES,
    ALL_BYTES[::-1],
]


class Site:
    """A spool directory with a message, the handler, and a program that keeps reports."""

    def __init__(self, directory: Path, shell: str) -> None:
        self.directory = directory
        self.shell = shell
        self.spool = directory / "spool"
        self.spool.mkdir(mode=0o700)
        self.quarantine = self.spool / "quarantine"
        self.message = self.spool / "m.1"
        self.message.write_bytes(MAIL)
        self.tools = directory / "tools"
        self.tools.mkdir()
        self.settings = directory / "etc" / "infected.conf"
        self.settings.parent.mkdir(mode=0o755)
        self.reports = directory / "reports"
        self.reports.mkdir()
        # As a site would: the settings on top are changed in a copy.
        text, changed = re.subn(
            r"(?m)^settings=.*$", f"settings={self.settings}", SCRIPT.read_text()
        )
        assert changed == 1
        self.script = directory / "infected.sh"
        self.script.write_text(text)
        self.sendmail = self.program(
            "sendmail",
            f'for word do printf "%s\\0" "$word"; done >{self.reports}/$$.argv\n'
            f"exec cat >{self.reports}/$$.mail",
        )
        self.environment: dict[str, str | bytes] = {
            "PATH": f"{self.tools}:/bin:/usr/bin",
            "SENDMAIL": f"{self.sendmail} -i",
            "AVCHECK_VERDICT": "infected",
            "AVCHECK_VIRUS": "Eicar-Test-Signature",
            "AVCHECK_SCANNER": "clamd /run/clamav/clamd.ctl",
            "AVCHECK_QUEUE_ID": "4abc",
            "AVCHECK_SHA256": hashlib.sha256(MAIL).hexdigest(),
        }

    def program(self, name: str, body: str) -> Path:
        """A shell script that is found before the program of that name."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def configure(self, text: str) -> None:
        if not ROOT:
            pytest.skip("a settings file has to be root's")
        self.settings.write_text(text)
        self.settings.chmod(0o644)

    def forget_queue_id(self) -> None:
        """From now on no run is another try of one before."""
        del self.environment["AVCHECK_QUEUE_ID"]

    def start(
        self,
        words: Sequence[bytes] = (b"Eicar FOUND", b"eve@example.org", b"bob@example.org"),
        *,
        message: Path | str | None = None,
        environment: Mapping[str, str | bytes] | None = None,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.shell, self.script, message or self.message, *words],
            cwd=self.spool,
            env=self.environment if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            umask=0o022,  # the handler must not rely on avcheck's
            start_new_session=True,
        )

    def run(
        self,
        words: Sequence[bytes] = (b"Eicar FOUND", b"eve@example.org", b"bob@example.org"),
        *,
        message: Path | str | None = None,
        environment: Mapping[str, str | bytes] | None = None,
    ) -> tuple[int, str]:
        """The exit status and standard error; standard output has the entry's name, or nothing."""
        process = self.start(words, message=message, environment=environment)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        names = [entry.name for entry in self.entries()]
        assert out.decode() in (["", *(f"stored as {name}\n" for name in names)])
        assert bool(out) == (process.returncode == 0)
        return process.returncode, err.decode("utf-8", "surrogateescape")

    def entries(self) -> list[Path]:
        """What can be seen in the quarantine."""
        if not self.quarantine.is_dir():
            return []
        return [path for path in self.quarantine.iterdir() if path.name != ".new"]

    def about(self) -> dict[str, Any]:
        """The sidecar of the only entry."""
        (entry,) = self.entries()
        about: dict[str, Any] = json.loads((entry / "about.json").read_bytes().decode("ascii"))
        return about

    def unfinished(self) -> list[Path]:
        new = self.quarantine / ".new"
        names = new.iterdir() if new.is_dir() else ()
        return [path for path in names if not path.name.startswith("told-")]

    def report(self) -> tuple[list[bytes], email.message.Message, str]:
        """The only report: the arguments of the program, the header, the text."""
        (argv,) = self.reports.glob("*.argv")
        (kept,) = self.reports.glob("*.mail")
        raw = kept.read_bytes()
        assert set(raw) <= {0x0A, *range(0x20, 0x7F)}
        assert max(map(len, raw.splitlines())) <= 998
        mail = email.message_from_bytes(raw)
        return argv.read_bytes().split(b"\0")[:-1], mail, str(mail.get_payload())

    def assert_stored(self) -> None:
        """One whole entry, nothing unfinished, nothing in the spool."""
        (entry,) = self.entries()
        assert sorted(path.name for path in entry.iterdir()) == ["about.json", "message"]
        assert (entry / "message").read_bytes() == MAIL
        assert self.about()["sha256"] == hashlib.sha256(MAIL).hexdigest()
        assert self.unfinished() == []
        assert not self.message.exists()

    def assert_untouched(self) -> None:
        """Nothing was stored, nothing half; the message is where it was; nobody was told."""
        assert self.entries() == []
        assert self.unfinished() == []
        assert self.message.read_bytes() == MAIL
        assert list(self.reports.iterdir()) == []


@pytest.fixture(params=["dash", "bash"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param}")
    return Site(tmp_path, request.param)


@pytest.fixture
def small(site: Site) -> Iterator[Site]:
    """The quarantine is a file system of its own, which `mount` options shall limit."""
    if not ROOT:
        pytest.skip("only root can mount")
    site.quarantine.mkdir(mode=0o700)
    mount(site.quarantine, "size=64k,mode=700")
    yield site
    subprocess.run(["umount", site.quarantine], check=True)


def mount(where: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", where], check=True)


# What is stored


def test_the_message_and_what_is_known_about_it_are_stored(site: Site) -> None:
    status, err = site.run()
    assert (status, err) == (0, "")
    site.assert_stored()
    (entry,) = site.entries()
    about = site.about()
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{12}", about["entry"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", about["time"])
    assert about == {
        "entry": entry.name,
        "time": about["time"],
        "host": os.uname().nodename,
        "queue_id": "4abc",
        "verdict": "infected",
        "virus": "Eicar-Test-Signature",
        "scanner": "clamd /run/clamav/clamd.ctl",
        "text": "Eicar FOUND",
        "sha256": hashlib.sha256(MAIL).hexdigest(),
        "sender": "eve@example.org",
        "sendmail": f"{site.sendmail} -i",
        "recipients": ["bob@example.org"],
        "size": len(MAIL),
    }


def test_a_script_that_is_cut_short_has_stored_nothing(site: Site) -> None:
    """A copy on a full disk, or a crash, ends at the end of a block; comments alone end with 0."""
    whole = site.script.read_text()
    for size in range(512, len(whole) - 2, 512):
        site.script.write_text(whole[:size])
        status, _ = site.run()
        assert status not in (0, *range(64, 75), 76, 77, 78), size
        assert site.message.read_bytes() == MAIL


def test_the_quarantine_is_private(site: Site) -> None:
    assert site.run()[0] == 0
    for path in [site.quarantine, *site.quarantine.rglob("*")]:
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600), path


def test_every_byte_of_an_envelope_can_be_had_back(site: Site) -> None:
    words = [b"text: " + ALL_BYTES, *HOSTILE]
    for name in ("VIRUS", "SCANNER", "QUEUE_ID", "VERDICT"):
        site.environment[f"AVCHECK_{name}"] = ALL_BYTES
    assert site.run(words) == (0, "")
    site.assert_stored()
    about = site.about()
    told = [about["text"], about["sender"], *about["recipients"]]
    assert [os.fsencode(word) for word in told] == words
    for key in ("virus", "scanner", "queue_id", "verdict"):
        assert os.fsencode(about[key]) == ALL_BYTES
    assert not (site.spool / "oops").exists()


@pytest.mark.parametrize("data", [b"", b"\0", b"no newline at the end", b"\r\n" * 3], ids=repr)
def test_any_bytes_are_a_message(site: Site, data: bytes) -> None:
    site.message.write_bytes(data)
    del site.environment["AVCHECK_SHA256"]
    assert site.run()[0] == 0
    (entry,) = site.entries()
    assert (entry / "message").read_bytes() == data
    assert site.about()["size"] == len(data)


def test_only_the_message_is_needed(site: Site) -> None:
    status, err = site.run([], environment={})
    assert status == 0
    assert "no SENDMAIL" in err
    site.assert_stored()
    assert site.about()["sender"] == ""
    assert site.about()["recipients"] == []


def test_a_relative_name_with_a_dash_is_a_file(site: Site) -> None:
    site.message.rename(site.spool / "-f")
    site.message = site.spool / "-f"
    assert site.run(message="-f") == (0, "")
    site.assert_stored()


def test_fifty_at_once_have_fifty_names(site: Site) -> None:
    site.forget_queue_id()
    messages = []
    for number in range(50):
        message = site.spool / f"m.{number}"
        message.write_bytes(MAIL)
        messages.append(message)
    started = [site.start(message=message) for message in messages]
    for process in started:
        _, err = process.communicate(timeout=2 * PATIENCE)
        assert (process.returncode, err) == (0, b"")
    assert len(site.entries()) == len(messages)
    assert {(entry / "message").read_bytes() for entry in site.entries()} == {MAIL}
    assert site.unfinished() == []
    assert list(site.spool.glob("m.*")) == []
    assert len(list(site.reports.glob("*.mail"))) == len(messages)


def test_an_entry_is_never_overwritten(site: Site) -> None:
    # The same second, and random numbers that repeat three times.
    site.forget_queue_id()
    site.program("date", 'echo "2026-01-02T03:04:05Z"')
    site.program(
        "od",
        'case $* in *urandom*) echo "$0" >>drawn; [ "$(wc -l <drawn)" -gt 3 ] || exec echo " 00 01"'
        '\n;; esac; exec /usr/bin/od "$@"',
    )
    taken = site.quarantine / "20260102T030405Z-0001"
    taken.mkdir(parents=True)
    site.quarantine.chmod(0o700)
    (taken / "message").write_bytes(b"another")
    assert site.run() == (0, "")
    assert (taken / "message").read_bytes() == b"another"
    assert len(site.entries()) == 2
    assert list(taken.iterdir()) == [taken / "message"]


# What is told


def test_postmaster_gets_one_report(site: Site) -> None:
    assert site.run()[0] == 0
    argv, mail, text = site.report()
    assert argv == [b"-i", b"-f", b"", b"--", b"postmaster"]
    assert mail["To"] == f"postmaster@{os.uname().nodename}"
    assert mail["From"] == f"postmaster@{os.uname().nodename}"
    assert mail["Subject"].endswith(": infected: Eicar-Test-Signature")
    assert mail["Auto-Submitted"] == "auto-generated"
    for fact in ("Eicar-Test-Signature", "4abc", "<eve@example.org>", "<bob@example.org>"):
        assert fact in text
    assert str(site.entries()[0]) in text
    assert "  | Subject: hello\n" in text
    assert "body" not in text


def test_hostile_words_stay_in_their_line(site: Site) -> None:
    bad = b"X\r\nBcc: victim@example.org\r\n\r\nhello \x1b[31m \x85 \xe2\x80\xa8 " + b"long " * 99
    for name in ("VIRUS", "SCANNER", "QUEUE_ID", "VERDICT"):
        site.environment[f"AVCHECK_{name}"] = bad
    site.configure(f"host=mx\x1b\nfrom=\x07{'x' * 2000}\n")
    assert site.run([bad, bad, bad, *HOSTILE])[0] == 0
    argv, mail, text = site.report()
    assert argv[-1] == b"postmaster"
    assert mail.keys() == [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
    ]
    assert text.startswith("A message was stored in the quarantine")


def test_of_many_recipients_a_few_are_named(site: Site) -> None:
    recipients = [b"user%d@example.org" % number for number in range(50)]
    assert site.run([b"", b"", *recipients])[0] == 0
    _, _, text = site.report()
    assert text.count("  Recipient:  ") == 10
    assert "  Recipients:  40 more\n" in text
    assert "  Sender:      <>" in text
    assert len(site.about()["recipients"]) == 50


def test_a_program_whose_directory_has_blanks_is_found(site: Site) -> None:
    # Only avcheck's own command, whose end is known, can be told apart.
    directory = site.tools / "a -c -S b"
    directory.mkdir()
    shutil.copy(site.sendmail, directory / "avcheck")
    site.environment["SENDMAIL"] = f"{directory}/avcheck -c -S 127.0.0.1:10026"
    assert site.run() == (0, "")
    argv, _, _ = site.report()
    assert argv == [b"-c", b"-S", b"127.0.0.1:10026", b"-f", b"", b"--", b"postmaster"]


@pytest.mark.parametrize("directory", ["bin", "a -c -S b", "a /b"])
def test_avcheck_is_run_by_the_guard_that_is_named_before_it(site: Site, directory: str) -> None:
    guard = site.tools / "avcheck-guard"
    shutil.copy(site.sendmail, guard)
    avcheck = site.tools / directory / "avcheck"  # missing for a moment, maybe
    site.environment["SENDMAIL"] = f"{guard} {avcheck} -c -S 127.0.0.1:10026"
    assert site.run() == (0, "")
    argv, _, _ = site.report()
    words = [b"-c", b"-S", b"127.0.0.1:10026", b"-f", b"", b"--", b"postmaster"]
    assert argv == [os.fsencode(avcheck), *words]


@pytest.mark.parametrize(
    ("sendmail", "why"),
    [
        (None, "no SENDMAIL"),
        ("", "no SENDMAIL"),
        ("false", "(status 1)"),
        ("/does/not/exist -i", "(status 127)"),
        ("/dev/null", "(status 126)"),
        ("sh -c 'exit\t75'", "(status 2)"),
        ("killed", "(status 1"),
        ("slow", "(status 124)"),
    ],
)
def test_a_report_that_cannot_be_sent_is_no_failure(
    site: Site, sendmail: str | None, why: str
) -> None:
    site.program("killed", "kill -9 $$")
    site.program("slow", "exec sleep 1000")
    site.configure("patience=1\n")
    site.environment.pop("SENDMAIL")
    if sendmail is not None:
        site.environment["SENDMAIL"] = sendmail
    status, err = site.run()
    assert status == 0
    assert why in err
    site.assert_stored()


# Nothing is half stored


TOOLS = "awk cat cut date dd find flock mkdir mv od rm sed sha256sum sync timeout tr uname wc"
WAYS = ["exit 1", "exit 0", "kill -9 $$", "while read -r line; do :; done; exit 75"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("tool", TOOLS.split())
def test_a_tool_that_does_not_work_leaves_all_or_nothing(site: Site, tool: str, how: str) -> None:
    site.program(tool, how)
    status, err = site.run()
    if status == 0:
        (entry,) = site.entries()
        assert (entry / "message").read_bytes() == MAIL
        json.loads((entry / "about.json").read_text())
    else:
        assert status == 75
        assert err
        assert site.message.read_bytes() == MAIL
        if tool != "rm":
            site.assert_untouched()


def test_a_full_disk_leaves_nothing(small: Site) -> None:
    mail = b"x" * 100_000
    small.message.write_bytes(mail)
    del small.environment["AVCHECK_SHA256"]
    status, err = small.run()
    assert status == 75
    assert "cannot be stored" in err
    assert small.entries() == small.unfinished() == []
    assert small.message.read_bytes() == mail


@pytest.mark.parametrize("inodes", range(2, 8))
def test_a_disk_that_fills_up_on_the_way_leaves_all_or_nothing(small: Site, inodes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", small.quarantine], check=True)
    status, _ = small.run()
    if status == 0:
        small.assert_stored()
    else:
        assert status == 75
        small.assert_untouched()


def test_a_sidecar_for_which_there_is_no_room_leaves_nothing(small: Site) -> None:
    # tmpfs gives out whole pages: 16 of them, 15 for the message, none for 5000 bytes more.
    mail = b"x" * 15 * 4096
    small.message.write_bytes(mail)
    del small.environment["AVCHECK_SHA256"]
    status, err = small.run([b"x" * 5000])
    assert status == 75
    assert "the sidecar cannot be stored" in err
    assert small.entries() == small.unfinished() == []
    assert small.message.read_bytes() == mail


def test_a_quarantine_that_cannot_be_written_defers(site: Site) -> None:
    site.quarantine.mkdir(mode=0o700)
    if ROOT:
        mount(site.quarantine, "size=64k,mode=700,ro")
    else:
        site.quarantine.chmod(0o500)
    try:
        status, err = site.run()
        site.assert_untouched()
    finally:
        if ROOT:
            subprocess.run(["umount", site.quarantine], check=True)
    assert status == 75
    assert "not writable" in err


def test_a_message_that_cannot_be_removed_is_not_kept_twice(site: Site) -> None:
    site.forget_queue_id()
    site.program("rm", f'case $* in *{site.message}) exit 1 ;; esac; exec /bin/rm "$@"')
    status, err = site.run()
    assert status == 75
    assert "cannot be removed" in err
    site.assert_untouched()


def test_a_copy_that_differs_from_what_was_scanned_is_not_kept(site: Site) -> None:
    site.environment["AVCHECK_SHA256"] = "0" * 64
    status, err = site.run()
    assert status == 75
    assert "not the one that was scanned" in err
    site.assert_untouched()


@pytest.mark.parametrize("what", ["missing", "directory", "link", "fifo"])
def test_only_a_file_is_a_message(site: Site, what: str) -> None:
    path = site.spool / what
    if what == "directory":
        path.mkdir()
    if what == "link":
        path.symlink_to(site.message)
    if what == "fifo":
        os.mkfifo(path)
    status, err = site.run(message=path)
    assert status == 75
    assert "no such message" in err
    site.assert_untouched()


def test_no_argument_is_a_usage_error_that_defers(site: Site) -> None:
    done = subprocess.run([site.shell, site.script], cwd=site.spool, capture_output=True)
    assert done.returncode == 75
    assert b"usage" in done.stderr


def test_a_sync_that_takes_no_names_is_used_without(site: Site) -> None:
    site.program("sync", 'echo "$#" >>calls; [ $# -eq 0 ]')
    assert site.run() == (0, "")
    # The last: it is looked at whether another try was as fast.
    assert (site.spool / "calls").read_text().split() == ["1", "0", "0", "0", "0"]
    site.assert_stored()


@pytest.mark.parametrize("failing", ["about.json", "quarantine"])
def test_what_cannot_be_synced_is_not_kept(site: Site, failing: str) -> None:
    # First the files of the entry, then, when it can be seen, the directory.
    site.forget_queue_id()
    site.quarantine.mkdir(mode=0o700)
    site.program("sync", f'case " $* " in *{failing}" "*) exit 1 ;; esac')
    status, err = site.run()
    assert status == 75
    assert "cannot be synced" in err
    site.assert_untouched()


# Another try of the same run


def test_what_is_stored_is_found_by_the_next_try(site: Site) -> None:
    for number in range(3):
        site.message.write_bytes(MAIL)
        assert site.run() == (0, ""), number
        site.assert_stored()
    # The report comes again: the first one may not have been sent.
    assert len(list(site.reports.glob("*.mail"))) == 3


@pytest.mark.parametrize("other", ["queue id", "sender", "recipient", "bytes"])
def test_what_differs_is_another_message(site: Site, other: str) -> None:
    assert site.run() == (0, "")
    site.message.write_bytes(MAIL + b"." * (other == "bytes"))
    site.environment["AVCHECK_QUEUE_ID"] = "4ab" if other == "queue id" else "4abc"
    site.environment["AVCHECK_SHA256"] = ""
    sender, recipient = b"eve@example.org", b"bob@example.org"
    if other == "sender":
        sender = b"mallory@example.org"
    if other == "recipient":
        recipient += b"x"
    assert site.run((b"Eicar FOUND", sender, recipient)) == (0, "")
    assert len(site.entries()) == 2


def test_an_entry_with_other_bytes_does_not_stand_for_it(site: Site) -> None:
    assert site.run() == (0, "")
    (entry,) = site.entries()
    (entry / "message").write_bytes(b"another")
    old = entry.rename(site.quarantine / f"20260102T030405Z-{entry.name.partition('-')[2]}")
    site.message.write_bytes(MAIL)
    assert site.run() == (0, "")
    assert (old / "message").read_bytes() == b"another"
    assert len(site.entries()) == 2


def test_fifty_tries_at_once_leave_one_entry(site: Site) -> None:
    started = []
    for number in range(50):
        message = site.spool / f"m.{number}"
        message.write_bytes(MAIL)
        started.append(site.start(message=message))
    for process in started:
        process.communicate(timeout=2 * PATIENCE)
    # Who comes while another has the name is tried again later.
    assert {process.returncode for process in started} <= {0, 75}
    assert 0 in {process.returncode for process in started}
    site.message.write_bytes(MAIL)
    assert site.run() == (0, "")
    for message in site.spool.glob("m.*"):
        message.unlink()
    site.assert_stored()


def test_of_two_entries_of_one_message_the_first_stays(site: Site) -> None:
    assert site.run() == (0, "")
    (entry,) = site.entries()
    end = entry.name.partition("-")[2]
    for time_ in ("20260102T030405Z", "20990102T030405Z"):
        shutil.copytree(entry, site.quarantine / f"{time_}-{end}")
    site.message.write_bytes(MAIL)
    assert site.run() == (0, "")
    site.assert_stored()
    assert [each.name for each in site.entries()] == [f"20260102T030405Z-{end}"]


@pytest.mark.parametrize("accident", ["not synced", "not removed"])
def test_what_another_try_may_count_on_is_not_taken_back(site: Site, accident: str) -> None:
    if accident == "not synced":
        site.quarantine.mkdir(mode=0o700)
        site.program("sync", 'case " $* " in *quarantine" "*) exit 1 ;; esac')
    else:
        site.program("rm", f'case $* in *{site.message}) exit 1 ;; esac; exec /bin/rm "$@"')
    status, err = site.run()
    assert status == 75
    assert "cannot be" in err
    assert site.message.exists()
    assert len(site.entries()) == 1
    for name in ("sync", "rm"):
        (site.tools / name).unlink(missing_ok=True)
    assert site.run() == (0, "")
    site.assert_stored()


@pytest.mark.parametrize("tool", ["cmp", "find", "sort", "sed", "cut"])
def test_what_cannot_be_looked_up_is_stored_again(site: Site, tool: str) -> None:
    assert site.run() == (0, "")
    site.message.write_bytes(MAIL)
    (entry,) = site.entries()
    entry.rename(site.quarantine / f"20260102T030405Z-{entry.name.partition('-')[2]}")
    site.program(
        tool,
        f'PATH=/bin:/usr/bin; case "$*" in *Z-*|-s*|"-c 1-12"|*"|.*/|"*|"") exit 1 ;; '
        f'esac; exec {tool} "$@"',
    )
    assert site.run()[0] == 0
    assert len(site.entries()) == 2
    assert {(entry / "message").read_bytes() for entry in site.entries()} == {MAIL}


@pytest.mark.parametrize("stored", [True, False])
def test_nobody_reading_its_words_changes_nothing(site: Site, stored: bool) -> None:
    if not stored:
        site.environment["AVCHECK_SHA256"] = "0" * 64
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [site.shell, site.script, site.message],
        cwd=site.spool,
        env=site.environment,
        stdout=writer,
        stderr=writer,
        timeout=PATIENCE,
    )
    os.close(writer)
    if stored:
        assert done.returncode == 0
        site.assert_stored()
    else:
        assert done.returncode == 75
        site.assert_untouched()


# Stopped in the middle


def stopped_at(site: Site, word: str) -> subprocess.Popen[bytes]:
    """A run that waits in the sync(1) with that word among its arguments."""
    site.quarantine.mkdir(mode=0o700)
    here = site.directory / "here"
    os.mkfifo(here)
    # Opening a FIFO to write waits for the reader; reading then waits for ever.
    site.program("sync", f'case " $* " in *{word}" "*) echo >{here}; exec sleep {PATIENCE} ;; esac')
    process = site.start()
    here.read_text()
    return process


def end(process: subprocess.Popen[bytes], signum: signal.Signals) -> int:
    """The status after the signal, sent to all that runs."""
    os.killpg(process.pid, signum)
    process.communicate(timeout=PATIENCE)
    return process.returncode


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("word", ["about.json", "quarantine"])
def test_a_signal_to_the_group_leaves_nothing(
    site: Site, word: str, signum: signal.Signals
) -> None:
    site.forget_queue_id()
    assert end(stopped_at(site, word), signum) == 75
    site.assert_untouched()


def test_killed_before_the_rename_nothing_can_be_seen(site: Site) -> None:
    site.forget_queue_id()
    assert end(stopped_at(site, "about.json"), signal.SIGKILL) == -signal.SIGKILL
    assert site.entries() == []
    (left,) = site.unfinished()
    assert site.message.exists()

    # A later run leaves it alone while it may be in use, and removes it after a day.
    site.program("sync", "exit 0")
    another = site.spool / "m.2"
    another.write_bytes(MAIL)
    assert site.run(message=another)[0] == 0
    assert site.unfinished() == [left]
    yesterday = time.time() - 25 * 3600
    os.utime(left, (yesterday, yesterday))
    assert site.run()[0] == 0
    assert site.unfinished() == []
    assert len(site.entries()) == 2


def test_killed_after_the_rename_a_whole_entry_can_be_seen(site: Site) -> None:
    assert end(stopped_at(site, "quarantine"), signal.SIGKILL) == -signal.SIGKILL
    assert site.message.exists()  # the MTA tries again
    site.program("sync", "exit 0")
    assert site.run() == (0, "")
    site.assert_stored()
    site.report()


def test_without_a_queue_id_a_message_killed_after_the_rename_is_kept_twice(site: Site) -> None:
    site.forget_queue_id()
    assert end(stopped_at(site, "quarantine"), signal.SIGKILL) == -signal.SIGKILL
    site.program("sync", "exit 0")
    assert site.run() == (0, "")
    assert len(site.entries()) == 2
    assert {(entry / "message").read_bytes() for entry in site.entries()} == {MAIL}


def test_a_signal_while_reporting_does_not_undo_what_is_stored(site: Site) -> None:
    here = site.directory / "here"
    os.mkfifo(here)
    site.program("sendmail", f"cat >/dev/null; echo >{here}; exec sleep {PATIENCE}")
    site.configure("patience=1\n")
    process = site.start()
    here.read_text()
    process.terminate()
    assert process.wait(PATIENCE) == 0
    process.communicate()
    site.assert_stored()


# Settings


def test_the_settings_file_is_obeyed(site: Site) -> None:
    elsewhere = site.directory / "else where"
    site.quarantine = elsewhere
    site.configure(
        f"# where\nquarantine={elsewhere}\n\n  notify = x\nnotify=abuse@example.org root\n"
        "host='mx.example.org'\nfrom=\"Guard\" <guard@example.org>\nexcerpt=0\npatience=5"
    )
    status, err = site.run()
    assert status == 75
    assert "no such setting: notify " in err  # blanks around "=" are not taken for nothing

    site.configure(site.settings.read_text().replace("  notify = x\n", ""))
    assert site.run() == (0, "")
    site.assert_stored()
    argv, mail, text = site.report()
    assert argv == [b"-i", b"-f", b"", b"--", b"abuse@example.org", b"root"]
    assert mail["To"] == "abuse@example.org, root@mx.example.org"
    assert mail["From"] == '"Guard" <guard@example.org>'
    assert "@mx.example.org>" in mail["Message-ID"]
    assert " | " not in text
    assert site.about()["host"] == "mx.example.org"


def test_nobody_need_be_told(site: Site) -> None:
    site.configure("notify=\n")
    del site.environment["SENDMAIL"]
    assert site.run() == (0, "")
    site.assert_stored()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("quarantin=/tmp\n", "no such setting"),
        ("quarantine=\n", "is empty"),
        ("quarantine\n", "name=value"),
        ("excerpt=-1\n", "not a number"),
        ("excerpt=10000000\n", "not a number"),
        ("patience=1m\n", "not a number"),
        ("PATH=/tmp\n", "no such setting"),
        ("$(touch oops)=1\n", "no such setting"),
    ],
)
def test_a_wrong_setting_defers(site: Site, text: str, why: str) -> None:
    site.configure(text)
    status, err = site.run()
    assert status == 75
    assert why in err
    site.assert_untouched()
    assert not (site.spool / "oops").exists()


def test_a_setting_is_not_run_as_a_program(site: Site) -> None:
    site.configure("host=$(touch oops)`touch oops`;touch oops\n")
    assert site.run() == (0, "")
    assert site.about()["host"] == "$(touch oops)`touch oops`;touch oops"
    assert not (site.spool / "oops").exists()


@pytest.mark.parametrize("what", ["group", "others", "owner", "directory", "link", "dangling"])
def test_settings_that_others_could_write_are_refused(site: Site, what: str) -> None:
    if what == "owner" and not ROOT:
        pytest.skip("only root can give a file away")
    site.configure("host=mx\n")
    if what == "group":
        site.settings.chmod(0o664)
    if what == "others":
        site.settings.chmod(0o646)
    if what == "owner":
        os.chown(site.settings, 65534, -1)
    if what == "directory":
        site.settings.parent.chmod(0o777)
    if what in ("link", "dangling"):
        site.settings.rename(site.directory / "real")
        site.settings.symlink_to(site.directory / ("real" if what == "link" else "none"))
    status, err = site.run()
    assert status == 75
    assert "must be owned by root" in err
    site.assert_untouched()


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o702, 0o704, 0o720, 0o777])
def test_a_quarantine_open_to_others_is_refused(site: Site, mode: int) -> None:
    site.quarantine.mkdir()
    site.quarantine.chmod(mode)
    status, err = site.run()
    assert status == 75
    assert "closed to others" in err
    site.assert_untouched()


def test_a_group_may_read_the_quarantine(site: Site) -> None:
    site.quarantine.mkdir()
    site.quarantine.chmod(0o750)
    assert site.run() == (0, "")
    site.assert_stored()


@pytest.mark.parametrize("what", ["file", "link", "dangling"])
def test_only_a_directory_is_a_quarantine(site: Site, what: str) -> None:
    real = site.directory / "real"
    real.mkdir(mode=0o700)
    if what == "file":
        site.quarantine.touch()
    else:
        site.quarantine.symlink_to(real if what == "link" else site.directory / "none")
    status, err = site.run()
    assert status == 75
    assert "directory" in err
    assert list(real.iterdir()) == []
    assert site.message.read_bytes() == MAIL

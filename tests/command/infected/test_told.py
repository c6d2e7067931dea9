"""What scripts/infected.sh tells postmaster."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support.infected_site import HOSTILE, Site

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

"""The report of scripts/infected.sh: addresses that all mail systems take, and no forged words."""

from __future__ import annotations

import pytest

from tests.support.infected_site import MAIL, Site

HEADER = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"]
HEADER += ["Content-Type"]
FORGED = b"x\r\nBcc: victim@example.org\r\n\r\n  Stored in:   /dev/null\n\x0b\x0c.\r\n"


@pytest.mark.parametrize(
    ("settings", "sender", "to", "told"),
    [
        ("host=vm", "postmaster@vm", "postmaster@vm", ["postmaster"]),
        ("host=my_host x", "postmaster@myhostx", "postmaster@myhostx", ["postmaster"]),
        ("host=???", "postmaster@localhost", "postmaster@localhost", ["postmaster"]),
        ("host=vm\nfrom=guard", "guard@vm", "postmaster@vm", ["postmaster"]),
        ("host=vm\nfrom=Guard <guard>", "Guard <guard@vm>", "postmaster@vm", ["postmaster"]),
        ("host=vm\nfrom=G <g@b>", "G <g@b>", "postmaster@vm", ["postmaster"]),
        ("host=vm\nnotify=a b@c", "postmaster@vm", "a@vm, b@c", ["a", "b@c"]),
    ],
)
def test_addresses_in_the_header_have_a_domain_and_recipients_stay_as_they_are(
    site: Site, settings: str, sender: str, to: str, told: list[str]
) -> None:
    """What Debian's Exim refuses, see the script; and what the mail system knows better."""
    site.configure(settings + "\n")
    assert site.run() == (0, "")
    argv, mail, _ = site.report()
    assert (mail["From"], mail["To"]) == (sender, to)
    assert argv[argv.index(b"--") + 1 :] == [address.encode() for address in told]


def test_the_host_is_that_of_uname(site: Site) -> None:
    site.program("uname", "echo vm.example.org")
    assert site.run() == (0, "")
    _, mail, _ = site.report()
    assert mail["From"] == mail["To"] == "postmaster@vm.example.org"


def test_many_addresses_are_told_though_the_header_names_a_few(site: Site) -> None:
    many = [f"somebody{number}@department.example.org" for number in range(50)]
    site.configure(f"notify={' '.join(many)}\n")
    assert site.run() == (0, "")
    argv, mail, _ = site.report()
    assert argv[-50:] == [address.encode() for address in many]
    assert mail["To"].split(", ") == many[: len(mail["To"].split(", "))]


@pytest.mark.parametrize("where", ["text", "sender", "recipient", "VIRUS", "VERDICT", "SCANNER"])
def test_forged_words_stay_in_their_line(site: Site, where: str) -> None:
    words = [b"Eicar FOUND", b"eve@example.org", b"bob@example.org"]
    if where.isupper():
        site.environment[f"AVCHECK_{where}"] = FORGED
    else:
        words[["text", "sender", "recipient"].index(where)] = FORGED
        site.environment["AVCHECK_VIRUS"] = ""  # or the text is not shown
    assert site.run(words) == (0, "")
    _, mail, text = site.report()
    assert mail.keys() == HEADER
    stored = [line for line in text.splitlines() if line.startswith("  Stored in:")]
    assert stored == [f"  Stored in:   {site.entries()[0]}"]
    assert "Bcc: victim@example.org" in mail["Subject"] + text
    assert not any(line.startswith("Bcc") for line in text.splitlines())


def test_the_message_s_own_header_is_marked_and_printable(site: Site) -> None:
    site.message.write_bytes(
        b"To:\tanna\r\nX-White: a\x0bb\x0cc\r\nX-Odd: \x07\x1b[31m\xff\x00.\r\n"
        b"\t  Stored in: x\r\n\r\nbody"
    )
    del site.environment["AVCHECK_SHA256"]
    assert site.run() == (0, "")
    _, _, text = site.report()
    _, _, shown = text.partition("The beginning of its header:\n\n")
    assert shown.splitlines() == [
        "  | To: anna",
        "  | X-White: a b c",
        "  | X-Odd: ??[31m??.",
        "  |    Stored in: x",
    ]


def test_a_report_goes_to_nobody_else(site: Site) -> None:
    assert site.run((b"x", b"-oQ/tmp", b"-f", b"root")) == (0, "")
    argv, _, _ = site.report()
    assert argv == [b"-i", b"-f", b"", b"--", b"postmaster"]


@pytest.mark.parametrize("tried_again", [False, True])
def test_a_message_with_a_run_for_each_recipient_is_reported_once(
    site: Site, tried_again: bool
) -> None:
    """Postfix with avcheck_destination_recipient_limit = 1; one more report for a killed run."""
    for name in (b"bob@example.org", b"carl@example.org", b"dora@example.org"):
        site.message.write_bytes(MAIL)
        assert site.run((b"Eicar FOUND", b"eve@example.org", name)) == (0, "")
    if tried_again:  # its report may not have been sent
        site.message.write_bytes(MAIL)
        assert site.run((b"Eicar FOUND", b"eve@example.org", b"bob@example.org")) == (0, "")
    assert len(site.entries()) == 3
    assert len(list(site.reports.glob("*.mail"))) == (2 if tried_again else 1)


def test_runs_at_the_same_time_report_once(site: Site) -> None:
    runs = []
    for number in range(8):
        copy = site.spool / f"m.1{number}"
        copy.write_bytes(MAIL)
        words = (b"Eicar FOUND", b"eve@example.org", b"bob%d@example.org" % number)
        runs.append(site.start(words, message=copy))
    for run in runs:
        run.communicate()
        assert run.returncode == 0
    assert len(site.entries()) == 8
    assert len(list(site.reports.glob("*.mail"))) == 1


def test_another_message_is_reported_too(site: Site) -> None:
    assert site.run() == (0, "")
    site.message.write_bytes(MAIL)
    site.environment["AVCHECK_QUEUE_ID"] = "4XYZ"
    assert site.run() == (0, "")
    assert len(list(site.reports.glob("*.mail"))) == 2


def test_where_the_first_report_was_not_sent_the_next_run_sends_one(site: Site) -> None:
    works = site.environment["SENDMAIL"]
    site.environment["SENDMAIL"] = "/bin/false"
    status, err = site.run()
    assert (status, "not sent" in err) == (0, True)
    site.environment["SENDMAIL"] = works
    for name in (b"carl@example.org", b"dora@example.org"):
        site.message.write_bytes(MAIL)
        assert site.run((b"Eicar FOUND", b"eve@example.org", name)) == (0, "")
    assert len(list(site.reports.glob("*.mail"))) == 1

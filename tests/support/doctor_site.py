"""For the tests of avcheckctl doctor: a site where nothing is wrong, until a test changes it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from avcheck.admin import checks, postfix
from avcheck.admin.look import OK, Look, Result
from avcheck.admin.postfix import Postfix
from avcheck.admin.services import Service, of_call, settings_from
from avcheck.options import reading
from tests.support.admin import postfix_says

US = pwd.getpwuid(os.geteuid()).pw_name
SOMEBODY = next(
    each.pw_name
    for each in pwd.getpwall()
    if each.pw_name not in (US, "root", "postfix", "nobody", "clamav", "www-data")
)

GOOD_MASTER = """\
smtp      inet  n       -       y       -       -       smtpd
pickup    unix  n       -       y       60      1       pickup
cleanup   unix  n       -       y       -       0       cleanup
avcheck   unix  -       n       n       -       10      pipe
    flags=q user=@user null_sender=
    argv=@libexec/avcheck-guard @bin/avcheck -d @spool -w @spool/wait -s clamd:@clamd
    -S 127.0.0.1:10026 --deadline 450 --queue-id ${queue_id} -f ${sender} -- ${recipient}
127.0.0.1:10026 inet n  -       n       -       10      smtpd
    -o content_filter=
    -o receive_override_options=no_header_body_checks,no_milters
    -o cleanup_service_name=avcheck-cleanup
    -o message_size_limit=0
    -o mynetworks=127.0.0.0/8
    -o smtpd_recipient_restrictions=permit_mynetworks,reject
    -o smtpd_authorized_xforward_hosts=127.0.0.0/8
avcheck-cleanup unix n  -       n       -       0       cleanup
    -o message_size_limit=0
"""

GOOD_MAIN = {
    "content_filter": "avcheck:dummy",
    "receive_override_options": "no_address_mappings",
    "avcheck_time_limit": "600s",
    "avcheck_destination_recipient_limit": "1",
    "bounce_size_limit": "1",
    "mynetworks": "127.0.0.0/8 [::1]/128 192.0.2.0/24",
    "inet_interfaces": "all",
    "message_size_limit": "10240000",
    "default_process_limit": "100",
    "mail_owner": "postfix",
    "smtputf8_enable": "yes",
    "smtputf8_autodetect_classes": "sendmail, verify",
}

GOOD_CLAMD = (
    "MaxFileSize 400M\nMaxScanSize 400M\nAlertExceedsMax yes\nAlertEncrypted yes\nMaxThreads 12\n"
)

NET = "/^5(\\.3\\.0 Command (died with status|time limit exceeded).*)/ 4$1\n"

SENDMAIL = "-S 127.0.0.1:10026", "-S @bin/sendmail -S -G -S -i"


class Site:
    """A site where nothing is wrong, until a test changes something."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "config"
        self.spool = directory / "spool"
        self.spool.mkdir(mode=0o710)
        self.spool.chmod(0o710)
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.libexec = directory / "libexec"
        self.libexec.mkdir()
        self.guard = self.libexec / "avcheck-guard"
        names = ("avcheck", "avcheck-guard.sh", "infected.sh", "sendmail")
        for file in (*(self.bin / name for name in names), self.guard):
            file.write_text("#!/bin/sh\n")
            file.chmod(0o755)
        (self.bin / "avcheck").write_text("#!/bin/sh\necho avcheck 1.0.0\n")
        for guard in (self.guard, self.bin / "avcheck-guard.sh"):
            guard.write_text('#!/bin/sh\nexec "${1:-$(dirname "$0")/avcheck}" --version\n')
        self.clamd = directory / "clamd"
        self.conf = directory / "scan.conf"
        self.conf.write_text(GOOD_CLAMD)
        os.utime(self.conf, (0, 0))  # before the clamd of the test was started
        self.master = GOOD_MASTER
        self.main = dict(GOOD_MAIN)
        self.net = directory / "avcheck_dsn"
        self.net.write_text(NET)
        self.main["pipe_delivery_status_filter"] = f"regexp:{self.net}"
        self.user = SOMEBODY

    def change(self, old: str, new: str) -> Site:
        assert old in self.master
        self.master = self.master.replace(old, new)
        return self

    def filled(self, text: str) -> str:
        places = {"@spool": self.spool, "@bin": self.bin, "@clamd": self.clamd, "@user": self.user}
        places["@libexec"] = self.libexec
        for name, place in places.items():
            text = text.replace(name, str(place))
        return text

    def postfix(self) -> Postfix:
        """What postconf(1) says of the site's configuration."""
        postfix_says(self.config, self.filled(self.master), self.main)
        return postfix.read(str(self.config))

    def look(self) -> Look:
        """For the checks of Postfix: the service runs as its user=."""
        instance = self.postfix()
        return Look(of_call(instance.pipes[0]), instance, str(self.conf))

    def own(self, words: str = "") -> Look:
        """For the checks of files and daemons: the service runs as us, from a command line."""
        argv = ["-d", "@spool", "-w", "@spool/wait", "-s", "clamd:@clamd", *words.split()]
        split = [os.fsencode(self.filled(word)) for word in argv]
        known = reading.parse_options(split)[0]
        service = Service("x", settings_from(known, []), program=str(self.bin / "avcheck"))
        return Look(service, self.postfix(), str(self.conf))


class Levels:
    """How bad what each check found was, over all of these tests, whichever process ran them."""

    def __init__(self) -> None:
        self.directory: Path | None = None  # of this run of pytest

    def note(self, check: str, levels: set[str]) -> None:
        """Remember that the check has found something so bad."""
        if self.directory:
            (self.directory / check).mkdir(parents=True, exist_ok=True)
            for level in levels:
                (self.directory / check / level).touch()

    def of(self, check: str) -> set[str]:
        """How bad it has been so far."""
        assert self.directory
        return {each.name for each in self.directory.glob(f"{check}/*")}


SEEN = Levels()


CHECKS = {check.__name__: check for check in checks.CHECKS}


def found(name: str, look: Look) -> list[Result]:
    """What the check of that name finds."""
    return checks.results(CHECKS[name], look)


def levels(name: str, look: Look) -> set[str]:
    """How bad what a check finds is; each finding that is not OK has a remedy."""
    results = found(name, look)
    for result in results:
        assert result.text.isprintable()
        assert bool(result.remedy) == (result.level != OK), result
    seen = {result.level for result in results}
    SEEN.note(name, seen)
    return seen


def expect(look: Look, name: str, level: str, said: str, remedy: str) -> None:
    """The check of that name finds something that bad, in these words, with that in a remedy."""
    assert level in levels(name, look)
    assert said in text(name, look)
    assert any(remedy in each.remedy for each in found(name, look))


def text(name: str, look: Look) -> str:
    return " ".join(result.text for result in found(name, look))

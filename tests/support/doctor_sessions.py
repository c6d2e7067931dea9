"""For the tests of avcheckctl doctor: a site with avcheck-smtp, after the queue or before it."""

from __future__ import annotations

from avcheck.admin import pages, spawned
from avcheck.admin.look import Look
from avcheck.admin.services import of_call
from tests.support.doctor_site import Site
from tests.support.tree import ROOT

BLOCKS = pages.blocks((ROOT / "docs" / "postfix.md").read_text("utf-8"))

OPTIONS = "spool @spool\nscanner clamd:@clamd\nsendmail 127.0.0.1:10026\n"
REFUSED = ("infected", "encrypted", "unscannable")


class Sessions:
    """A site with the lines of docs/postfix.md for one of the ways by SMTP."""

    def __init__(self, site: Site, before: bool) -> None:
        self.site = site
        program = site.bin / "avcheck-smtp"
        program.write_text("#!/bin/sh\necho avcheck-smtp 1.0.0\n")
        program.chmod(0o755)
        self.file = site.directory / "smtp.conf"
        names = ("master-door", "master-before") if before else ("master-smtp",)
        master = "".join(BLOCKS[name] for name in names)
        for documented, ours in (
            ("/opt/avcheck/bin/avcheck-smtp", str(program)),
            ("avclient:avgroup", site.user),
            ("/etc/avcheck/smtp.conf", str(self.file)),
        ):
            assert documented in master
            master = master.replace(documented, ours)
        if not before:
            master = "smtp inet n - y - - smtpd\n" + master
        site.master = master + "pickup unix n - y 60 1 pickup\ncleanup unix n - y - 0 cleanup\n"
        site.main = {"message_size_limit": "10240000", "inet_interfaces": "all"}
        if not before:
            site.main["content_filter"] = "scan:[127.0.0.1]:10025"
        self.options = OPTIONS + "".join(f"on {verdict}=reject\n" for verdict in REFUSED)
        self.options += "deadline 90\n" if before else ""

    def look(self, *changes: tuple[str, str]) -> Look:
        for old, new in changes:
            assert old in self.site.master + self.options, old
            self.site.master = self.site.master.replace(old, new)
            self.options = self.options.replace(old, new)
        self.file.write_text(self.site.filled(self.options))
        instance = self.site.postfix()
        (spawn,) = spawned.found(instance)
        service = of_call(spawn)
        assert service.settings is not None, service.error
        return Look(service, instance, str(self.site.conf))

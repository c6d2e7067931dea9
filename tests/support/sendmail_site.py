"""What two sendmails say that are configured as docs/sendmail.md has it, until that changes."""

from __future__ import annotations

from dataclasses import replace

from avcheck.admin.look import Look
from avcheck.admin.sendmail_instance import SENDERS, Half, Sendmail
from avcheck.admin.sendmail_options import Door, Mailer, mailer_of
from avcheck.admin.services import of_call
from tests.support.doctor_site import SOMEBODY

ARGUMENTS = (
    "avcheck-guard /opt/avcheck/bin/avcheck -d /var/spool/avcheck -s clamd -S 127.0.0.1:10026"
    " --refused bounce --deadline 450 --queue-id $i -f $g -- $u"
)


class SendmailSite:
    """A pair where nothing is wrong."""

    def __init__(self) -> None:
        self.equates = {
            "P": "/usr/local/libexec/avcheck-guard",
            "S": "AvcheckFrom/AvcheckHeader",
            "F": "8hnu",
            "L": "0",
            "E": "\\n",
            "A": ARGUMENTS,
        }
        self.user = SOMEBODY
        self.senders = ("", SENDERS[1])
        self.front = Half(
            "/nowhere/avcheck.cf",
            {
                "QueueDirectory": "/var/spool/mqueue-avcheck",
                "MaxDaemonChildren": "40",
                "MaxMessageSize": "52428800",
                "PrivacyOptions": "novrfy,nobodyreturn",
                "Timeout.queuereturn": "5d",
                "DefaultUser": "mail:mail",
            },
            {},
            (Door("127.0.0.1", "25"), Door("127.0.0.1", "587")),
            (("avcheck", "scan"), ("avcheck", "scan")),
        )
        self.behind: Half | None = Half(
            "/nowhere/sendmail.cf",
            {"QueueDirectory": "/var/spool/mqueue", "ConnectionRateThrottle": "0"},
            {"esmtp": {"P": "[IPC]", "A": "TCP $h"}},
            (Door("127.0.0.1", "10026"),),
            (("local", ""), ("esmtp", "example.net.")),
        )

    def change(self, half: str, **values: object) -> SendmailSite:
        """With other facts of a half."""
        setattr(self, half, replace(getattr(self, half), **values))
        return self

    def option(self, half: str, name: str, value: str) -> SendmailSite:
        return self.change(half, options={**getattr(self, half).options, name: value})

    def equate(self, **values: str) -> SendmailSite:
        self.equates |= values
        return self

    def words(self, old: str, new: str) -> SendmailSite:
        """With other words in A=."""
        assert old in self.equates["A"], old
        return self.equate(A=self.equates["A"].replace(old, new))

    @property
    def call(self) -> Mailer:
        call = mailer_of("avcheck", self.equates)
        assert call is not None
        return replace(call, user=self.user)

    def look(self) -> Look:
        pair = Sendmail(self.front, (self.call,), self.behind, {"avcheck": self.senders})
        return Look(of_call(self.call), sendmail=pair)

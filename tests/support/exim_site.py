"""What an Exim says whose configuration is that of docs/exim.md, until a test changes it."""

from __future__ import annotations

from avcheck.admin import guide
from avcheck.admin.exim_doors import doors_of
from avcheck.admin.exim_instance import LOCAL, Exim, Hop
from avcheck.admin.exim_options import Transport, options, transport_of
from avcheck.admin.exim_session import ODD, PLAIN, Session
from avcheck.admin.look import Look
from avcheck.admin.services import of_call

BACK = "10026"


def lines(part: str) -> str:
    """The documented lines of a part, each option in one line, without the name above them."""
    text = guide.configuration("exim", {})[part].replace("\\\n", "")
    return "\n".join(line for line in text.splitlines() if not line.endswith(":"))


class EximSite:
    """An Exim where nothing is wrong."""

    def __init__(self) -> None:
        self.main = options(lines("main")) | {
            "exim_user": "Debian-exim",
            "daemon_smtp_ports": "smtp",
            "bounce_return_body": "yes",
            "qualify_domain": "example.org",
        }
        self.router = options(lines("router")) | {"verify_recipient": "no"}
        self.transport = options(lines("transport"))
        self.before: dict[str, dict[str, str]] = {}
        self.configuration = "/etc/exim4/exim4.conf"
        avcheck, onward = (Hop("avcheck", "avcheck"),), (Hop("onward", "onward"),)
        self.hops: dict[str, tuple[Hop, ...] | None] = {"25": avcheck, LOCAL: avcheck, BACK: onward}
        self.retries = {"postmaster": "Retry rule: *  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h; \n"}
        self.sessions = {(BACK, PLAIN): Session(), (BACK, ODD): Session()}
        self.sizes = {"25": 50 * 1024**2, BACK: 0}

    def command(self, old: str, new: str) -> EximSite:
        """With other words in the command."""
        assert old in self.transport["command"], old
        self.transport["command"] = self.transport["command"].replace(old, new)
        return self

    def say(self, session: Session) -> None:
        """With that for an answer to a plain message that comes back."""
        self.sessions[BACK, PLAIN] = session

    @property
    def call(self) -> Transport:
        call = transport_of("avcheck", self.transport)
        assert call is not None
        return call

    def exim(self) -> Exim:
        return Exim(
            self.main,
            {**self.before, "avcheck": self.router, "onward": {"transport": "onward"}},
            {"avcheck": self.transport, "onward": {"driver": "smtp"}},
            (self.call,),
            self.configuration,
            doors_of(self.main),
            self.hops,
            self.sizes,
            self.retries,
            self.sessions,
        )

    def look(self) -> Look:
        return Look(of_call(self.call), exim=self.exim())

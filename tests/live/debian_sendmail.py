"""A Debian machine with sendmail on which docs/sendmail.md has been followed.

The package's own configuration is the one that the page changes.  Two things are of this
test: two accounts with mailboxes, and that sendmail does not care for the load of the
machine that runs the tests.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.live.debian import Debian
from tests.live.recipe import blocks
from tests.support.letters import letter, token
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "sendmail.md"

HOST = "mail.example.test"
ANNA, BERT, MANY = f"anna@{HOST}", f"bert@{HOST}", f"many@{HOST}"
BLOCKED = f"blocked@{HOST}"

DOOR_QUEUE, QUEUE = "/var/spool/mqueue-avcheck", "/var/spool/mqueue"
QUARANTINE = "/var/spool/avcheck/quarantine"
CONFIGURATION = ("/etc/mail", "/etc/systemd/system")

LOAD = "define(`confQUEUE_LA', `10000')dnl\ndefine(`confREFUSE_LA', `10000')dnl\n"

# Sends all messages over ten connections, as many as may knock at once, and prints the last
# reply to each: port, messages.
CLIENT = """
import json, smtplib, sys
from concurrent.futures import ThreadPoolExecutor
port, mails = json.load(sys.stdin)
def deliver(client, sender, recipients, text):
    for line in f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA":
        client.send(line.encode() + b"\\r\\n")
        code, said = client.getreply()
        if code >= 400:
            return code, said.decode("latin-1")
    client.send(smtplib._quote_periods(text.encode("latin-1")) + b".\\r\\n")
    code, said = client.getreply()
    return code, said.decode("latin-1")
def share(first):
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        return [deliver(client, *mail) for mail in mails[first::10]]
with ThreadPoolExecutor(10) as pool:
    print(json.dumps(sum(pool.map(share, range(min(10, len(mails)))), [])))
"""

# Connects so many times to a port, says so, and does nothing until its input ends.
IDLE = """
import socket, sys
port, number = map(int, sys.argv[1:])
idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
print([each.recv(1) for each in idle].count(b"2"), flush=True)
sys.stdin.read()
"""

# One message in a mailbox: it begins with a line "From ".
BEGINNING = re.compile(rb"^From .*\n", re.MULTILINE)


def mail(body: str | bytes = "Hello.\n", *headers: str) -> bytes:
    """A letter of addresses that this machine knows without the DNS."""
    return re.sub(rb"@example\.(com|net)", b"@" + HOST.encode(), letter(body, *headers))


class SendmailDebian(Debian):
    """The machine; usable inside a with statement, in which sections 1 to 5 have been followed.

    before is what was in the directories of CONFIGURATION.
    """

    def __enter__(self) -> SendmailDebian:
        super().__enter__()
        try:
            for name in ("anna", "bert"):
                self.run("useradd", "--create-home", name)
            # Of two who deliver to one mailbox, procmail lets one wait for 8 seconds.
            self.shell("install -o mail -g mail -m 600 /dev/null /var/mail/many")
            self.append("/etc/aliases", "many: /var/mail/many\n")
            # What an administrator may have done before.
            self.append("/etc/mail/access", f"From:{BLOCKED}\tREJECT\n")
            self.shell("newaliases && make -C /etc/mail")
            self.before = self.files(*CONFIGURATION)
            self._install()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _install(self) -> None:
        page = blocks(DOCUMENT)
        door = page["avcheck.mc"]
        self.put("/etc/mail/avcheck.mc", added(door, "MAILER(", LOAD + page["avcheck.mc-checks"]))
        self.follow(DOCUMENT, "door", "behind")
        own = self.read("/etc/mail/sendmail.mc")
        self.put(
            "/etc/mail/sendmail.mc", added(own, "MAILER_DEFINITIONS", LOAD + page["sendmail.mc"])
        )
        self.follow(DOCUMENT, "behind-made")
        name = "sendmail-avcheck.service"
        self.put(f"/etc/systemd/system/{name}", page[name])
        self.follow(DOCUMENT, "on")
        self.wait_until(lambda: self.listens(25) and self.listens(10026), "both of them")

    @property
    def log(self) -> str:
        return self.read("/var/log/syslog")

    def listens(self, port: int) -> bool:
        return f"127.0.0.1:{port} " in self.run("ss", "-ltn")

    def listening(self) -> set[str]:
        """The addresses of the ports that are listened on, but for those of the name service."""
        return set(re.findall(r"^LISTEN\s+\d+\s+\d+\s+(\S+)", self.run("ss", "-ltn"), re.M))

    def send(
        self,
        *messages: bytes,
        sender: str = ANNA,
        to: Sequence[str] = (BERT,),
        port: int = 25,
    ) -> list[tuple[int, str]]:
        """Send messages all at once by SMTP; the last reply to each, in no order."""
        mails = [(sender, list(to), each.decode("latin-1")) for each in messages]
        words = ("python3", "-c", CLIENT)
        said = self.run(*words, data=json.dumps((port, mails)).encode())
        return [(code, text) for code, text in json.loads(said)]

    def submit(self, message: bytes, *to: str) -> None:
        """Send a message by sendmail(1)."""
        self.run("sendmail", *to, data=message.replace(b"\r\n", b"\n"))

    @contextmanager
    def idle(self, number: int) -> Iterator[None]:
        """So many clients on port 25 that say nothing."""
        process = subprocess.Popen(
            self.enter("python3", "-c", IDLE, "25", str(number)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout
            assert int(process.stdout.readline()) == number
            yield
            assert process.stdin
            process.stdin.close()

    def mailbox(self, user: str) -> list[bytes]:
        """The messages that a user has."""
        try:
            text = self.path(f"/var/mail/{user}").read_bytes()
        except FileNotFoundError:
            return []
        return BEGINNING.split(text)[1:]

    def copies(self, message: bytes, user: str = "bert") -> list[bytes]:
        """Those of them that are this message."""
        return [each for each in self.mailbox(user) if token(each) == token(message)]

    def arrives(self, *messages: bytes, user: str = "bert") -> None:
        """Wait until each is in the mailbox, and the queues are empty; each is there once."""
        marks = {token(each) for each in messages}

        def there() -> bool:
            return marks <= {token(each) for each in self.mailbox(user)}

        self.wait_until(there, f"{len(marks)} messages")
        self.wait_until(lambda: not self.queue() and not self.queue(QUEUE), "empty queues")
        for each in messages:
            assert len(self.copies(each, user)) == 1

    def queue(self, directory: str = DOOR_QUEUE) -> list[str]:
        """The queue ids of the messages that wait in the front door's queue, or in another."""
        return [each.name.removeprefix("qf") for each in self.path(directory).glob("qf*")]

    def waits(self, why: str, since: int) -> str:
        """Wait for the one message in the front door's queue to be deferred; its id."""
        [queue_id] = self.queue()
        self.wait_until(lambda: f"{queue_id}: to=" in self.log[since:], f"{queue_id}")
        assert re.search(rf"{queue_id}: from=.* status=75 .*{why}", self.log[since:])
        return queue_id

    def running(self, words: str) -> list[str]:
        """The numbers of the processes whose command begins with these words."""
        found = []
        for file in self.path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended
                if file.read_bytes().replace(b"\0", b" ").startswith(words.encode()):
                    found.append(file.parent.name)
        return found

    def kill_all(self, words: str) -> None:
        """Kill these processes, and see that they are gone."""
        self.run("kill", "-KILL", *self.running(words))
        self.wait_until(lambda: not self.running(words), f"end of {words}")

    def flush(self) -> None:
        """Try everything at once, as the page says."""
        self.follow(DOCUMENT, "flush")


def added(text: str, line: str, lines: str) -> str:
    """The text with lines before the first one that begins so."""
    return re.sub(rf"^(?={re.escape(line)})", lambda _: lines, text, count=1, flags=re.M)

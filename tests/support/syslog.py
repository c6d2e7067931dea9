"""A syslog daemon, and /dev/log as its socket for one command."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from pathlib import Path

FOUND = b"Eicar-Test-Signature FOUND"

# $1: an empty directory; $2: the socket; then the command.
NAMESPACE = """
set -e
mount -t tmpfs tmpfs "$1"
for device in null zero full urandom; do
    : >"$1/$device"
    mount --bind "/dev/$device" "$1/$device"
done
: >"$1/log"
mount --bind "$2" "$1/log"
mount --rbind "$1" /dev
shift 2
exec "$@"
"""

LINE = re.compile(
    r"<(?P<priority>\d+)>(?P<time>\w{3} [ \d]\d \d\d:\d\d:\d\d) "
    r"avcheck\[(?P<pid>\d+)\]: (?P<queue_id>[^:]+): (?P<facts>.*)"
)

# syslog.h: LOG_MAIL is 2 << 3.
INFO, NOTICE, WARNING = 22, 21, 20


class Line:
    """What is in a line of the log; facts by key, in their order."""

    def __init__(self, datagram: bytes) -> None:
        text = datagram.decode("ascii")
        assert text.isprintable()
        found = LINE.fullmatch(text)
        assert found, text
        self.text = text
        self.priority = int(found["priority"])
        self.pid = int(found["pid"])
        self.queue_id = found["queue_id"]
        self.facts: dict[str, str] = {}
        rest = found["facts"]
        while fact := re.match(r"([\w.+-]+)=(<[^<>]*>|[^<>, ()]+), ", rest):
            assert fact[1] not in self.facts or fact[1] == "clamd", text
            self.facts[fact[1]] = fact[2]
            rest = rest[fact.end() :]
        # The status is the last, and its text may be anything.
        ended = re.fullmatch(r"status=(\d+) \((.*)\)", rest)
        assert ended, (rest, text)
        self.status = int(ended[1])
        self.said = ended[2]


class Log:
    """A syslog daemon."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    @property
    def lines(self) -> list[Line]:
        """What has come since the last time."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(Line(self.socket.recv(65536)))
        return found

    @property
    def line(self) -> Line:
        """The only one."""
        (line,) = self.lines
        return line

    def fill(self) -> None:
        """Let nobody else in."""
        with (
            suppress(BlockingIOError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
        ):
            other.setblocking(False)
            other.connect(str(self.path))
            while True:
                other.send(b"x" * 1000)

"""Where a daemon or a mail server listens: a path, or a host and a port.  Pure."""

from __future__ import annotations

from avcheck.exits import Usage
from avcheck.printable import printable

LOCALHOST = b"127.0.0.1"  # as in the original manual page


class Address:
    """A Unix-domain socket (path is set) or a TCP address (host and port are).

    A port is a number or a service name; a host is a name or an IP address.
    """

    __slots__ = ("host", "path", "port")

    def __init__(self, path: bytes = b"", host: bytes = b"", port: bytes = b"") -> None:
        self.path = path
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return printable(self.path or self.spelled())

    def spelled(self) -> bytes:
        """The address as parse() reads it."""
        if self.path:
            return b"unix:" + self.path
        # A host may be called unix, too.
        bare = b":" not in self.host and self.host != b"unix"
        host = self.host if bare else b"[%b]" % self.host
        return host + b":" + self.port

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.path, self.host, self.port) == (
            other.path,
            other.host,
            other.port,
        )

    def __hash__(self) -> int:
        return hash((self.path, self.host, self.port))


def parse(where: bytes, port: bytes) -> Address:
    """The address that where names; port is the one to use if it names none.

    Forms: /path, unix:/path, host:port, host:, :port, host, [::1]:port, [::1].
    Raises Usage for anything else.
    """
    path = where.removeprefix(b"unix:")
    if path.startswith(b"/"):
        return Address(path=path)
    if where.startswith(b"["):
        host, closed, rest = where[1:].partition(b"]")
        colon, given = rest[:1], rest[1:]
        malformed = b"/" in where or b"[" in host or b":" in given
        if not closed or not host or colon not in (b"", b":") or malformed:
            raise Usage(f"{printable(where)}: an IPv6 address is written [::1]:3310")
        return Address(host=host, port=given or _default(port, where))
    host, _, given = where.partition(b":")
    if b":" in given:
        raise Usage(f"{printable(where)}: write an IPv6 address in brackets, as in [::1]:3310")
    if b"/" in where or path != where:
        raise Usage(f"{printable(where)}: a socket's path begins with a slash")
    if host.isdigit() and not given:
        raise Usage(f"{printable(where)}: write a port as :{printable(host)}")
    return Address(host=host or LOCALHOST, port=given or _default(port, where))


def _default(port: bytes, where: bytes) -> bytes:
    if not port:
        raise Usage(f"{printable(where)}: no port, and this scanner has no usual one")
    return port

"""Connect to a daemon or a mail server, by Unix socket or TCP, within a deadline."""

from __future__ import annotations

from time import monotonic, sleep

from avcheck import unix
from avcheck.exits import SILENT, Defer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from avcheck.address import Address
else:
    # The C half of the module: all that is used here, without the 5 ms that
    # socket takes to import selectors and to name its constants.
    import _socket as socket

# Seconds for an address to take the connection, apart from the time to wait for
# the answer.  Exim gives 5, amavisd-new 10.
CONNECT_MAX = 10.0

# Seconds between two looks at a Unix socket whose backlog is full.
BACKLOG_PAUSE = 0.02

# Seconds of silence before a TCP connection is probed, seconds between two probes, and how many
# of them may stay without an answer: a host that is gone is noticed within half a minute.
PROBE_AFTER = 10
PROBE_EVERY = 5
PROBES = 3


def share_of(deadline: float, left: int) -> float:
    """Deadline for one of the remaining addresses; left is their number."""
    now = monotonic()
    return min(now + CONNECT_MAX, now + (deadline - now) / left)


def connected(address: Address, deadline: float, left: int) -> socket.socket:
    """A socket connected to the address; Defer (SILENT) if that fails.

    left is how many addresses remain to try, this one included.
    """
    return _unix(address, deadline, left) if address.path else _tcp(address, deadline, left)


def enable_keepalive(sock: socket.socket) -> None:
    """Have the next read fail soon after the other host is gone (TCP).

    One without power, or behind a cable that was pulled, says as little as one that
    is busy; but a busy one's kernel answers probes.  (Once all that was sent has arrived;
    until then it is the deadline that ends it.)
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError:  # then there is the deadline
        return


def _unix(address: Address, deadline: float, left: int) -> socket.socket:
    # A daemon that is busy (clamd reloading) is worth waiting for, if there is no other.
    until = deadline if left == 1 else share_of(deadline, left)
    sock = _socket(socket.AF_UNIX, address)
    try:
        while True:
            try:
                limit(sock, until)
                sock.connect(address.path)
                return sock
            except BlockingIOError:  # its backlog is full: not a wait, on Linux
                sleep(BACKLOG_PAUSE)
    except OSError as why:
        sock.close()
        raise _unconnected(address, why) from why


def _tcp(address: Address, deadline: float, left: int) -> socket.socket:
    reason = Defer(f"{address}: no address", SILENT)
    until = share_of(deadline, left) if left > 1 else deadline
    places = _resolve(address, until)
    for number, (family, where) in enumerate(places):
        try:
            sock = _socket(family, address)
        except Defer as why:
            reason = why
            continue
        try:
            limit(sock, share_of(until, len(places) - number))
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as why:
            sock.close()
            reason = _unconnected(address, why)
    raise reason


def _socket(family: int, address: Address) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM)
    except OSError as why:  # no descriptors left, or no IPv6
        raise _unconnected(address, why) from why


def _resolve(address: Address, until: float) -> list[tuple[int, Any]]:
    """Family and socket address of each address of the host and port."""
    try:
        found = _looked_up(address, socket.AI_NUMERICHOST)
    except Defer:
        found = _looked_up_until(address, until)
    places = [(int(family), where) for family, _, _, _, where in found]
    if len(places) > 1:
        # Shuffled, not rotated: else the address after a dead one would get the load of both.
        places.sort(key=lambda place: unix.urandom(4))
    return places


def _looked_up(address: Address, flags: int = 0) -> list[Any]:
    try:
        port = address.port.decode("ascii", "replace")  # getaddrinfo knows a service as str only
        return list(socket.getaddrinfo(address.host, port, 0, socket.SOCK_STREAM, 0, flags))
    except (OSError, UnicodeError) as why:
        raise Defer(f"{address}: no such host or service", SILENT) from why


def _looked_up_until(address: Address, until: float) -> list[Any]:
    """The same, for a name: getaddrinfo(3) asks name servers, which may be silent.

    It has time limits of its own (timeout and attempts in resolv.conf(5), for each server and
    each search domain), cannot be interrupted, and may take longer than our deadline; so a
    thread waits for it.
    """
    from _thread import allocate_lock, start_new_thread

    from avcheck import process

    found: list[list[Any] | BaseException] = []
    done = allocate_lock()
    done.acquire()

    def look() -> None:
        try:
            found.append(_looked_up(address))
        except BaseException as why:
            found.append(why)
        finally:
            done.release()

    try:
        with process.signals_blocked():
            start_new_thread(look, ())
    except RuntimeError as why:  # too many processes, or too little memory
        raise Defer(f"{address}: no thread to look the name up: {why}", SILENT) from why
    left = until - monotonic()
    done.acquire(timeout=max(left, 0.0) if left < 1e6 else -1)
    if not found:
        raise Defer(f"{address}: the name is not looked up in time", SILENT)
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _unconnected(address: Address, why: OSError) -> Defer:
    hint = ""
    if isinstance(why, FileNotFoundError | ConnectionRefusedError):
        hint = "; is the daemon running?"
    elif isinstance(why, PermissionError):
        hint = "; this user needs access to the socket and to its directories"
    reason = "no answer in time" if isinstance(why, TimeoutError) else why.strerror or str(why)
    return Defer(f"{address}: connect: {reason}{hint}", SILENT)


def limit(sock: socket.socket, until: float) -> None:
    """Have the next call on the socket end at that moment; TimeoutError if it has passed."""
    left = until - monotonic()
    if left <= 0:
        raise TimeoutError
    # poll(2) counts milliseconds in an int; no deadline at all is infinity here.
    sock.settimeout(left if left < 1e6 else None)

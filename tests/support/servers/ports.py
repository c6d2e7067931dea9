"""TCP ports of 127.0.0.1 for servers that have to be told theirs."""

from __future__ import annotations

import random
import socket
from pathlib import Path

# Below it the kernel gives a port to nobody who has not named it, such as a client.
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST = 15000

# A name for each port that was given away, in the kernel's table of Unix sockets: no other
# test process gets it while this one lives, whether or not its server is listening already.
_given: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody has, and that nobody but the caller will get."""
    last = int(EPHEMERAL.read_text().split()[0])
    ports = range(FIRST, last)
    for port in random.SystemRandom().sample(ports, len(ports)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0avcheck-tests-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _given.append(claim)
        return port
    raise RuntimeError(f"no free port in {ports}")

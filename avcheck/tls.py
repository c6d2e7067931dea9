"""TLS for a connection.  Imported only where it is asked for: ssl takes 7 ms."""

from __future__ import annotations

import os
import ssl

from avcheck.exits import BROKEN, CONFIG, EXPIRED, Defer
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

SYSTEM = b"system"  # the authorities that the operating system trusts


def wrap(
    sock: socket.socket, name: bytes, authorities: bytes, certificate: bytes, key: bytes
) -> socket.socket:
    """The connection, encrypted, after the handshake.

    name is what the server is called, for SNI and for its certificate; authorities is a
    file in PEM format, SYSTEM, or empty for no verification at all; certificate and key
    are our own, or empty.  Raises Defer if a file cannot be used, the certificate cannot be
    verified, or the handshake fails.
    """
    host = name.decode("ascii", "replace") or None
    if authorities and host is None:
        raise Defer("TLS: a name is needed to verify the certificate by (--tls-name)", CONFIG)
    try:
        if authorities == SYSTEM:
            context = ssl.create_default_context()
        elif authorities:
            context = ssl.create_default_context(cafile=os.fsdecode(authorities))
        else:
            # Encrypted, not authenticated: what Postfix's level "may" does.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(os.fsdecode(certificate), os.fsdecode(key) or None)
    except OSError as why:
        files = printable(b" ".join([authorities, certificate, key]))
        raise Defer(f"TLS with {files}: {why.strerror}", CONFIG) from why
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as why:
        raise Defer(f"certificate: {why.verify_message}", CONFIG) from why
    except TimeoutError as why:
        raise Defer("TLS handshake: no answer in time", EXPIRED) from why
    except OSError as why:
        raise Defer(f"TLS handshake: {why.strerror or why}", BROKEN) from why
    except ValueError as why:  # a name that cannot be one
        raise Defer(f"TLS: {printable(name)}: {why}", CONFIG) from why

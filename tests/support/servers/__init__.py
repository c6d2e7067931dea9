"""Real servers for the tests, the benchmarks and the demo.

    packages  the Debian packages they come from
    clamd     a private ClamAV daemon with two bundled signatures
    sink      an SMTP server that keeps what it is given
    postfix   a private Postfix instance
    cicap     a private c-icap with its antivirus service
    rspamd    a private rspamd, for its clients of scanners
    fresh     directories for fixtures that can be set up again
    haproxy   a private haproxy
    machine   a throwaway Debian with packages as they are installed
    netns     hosts with a network of their own, whose links can be cut
    tls       TLS in front of a daemon, and certificates for it

Everything listens on the loopback address, in a network of its own or in a private
directory, and is stopped by its process id.  Standard library only: a plain interpreter can
import this package.
"""

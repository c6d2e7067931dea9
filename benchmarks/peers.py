"""The proxies that avcheck is compared with, each private: own configuration, own port."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.stage import Stage, wait_until_it_listens
from tests.support.servers import packages

CLAMSMTP = """\
OutAddress: {next_hop}
Listen: {address}
ClamAddress: {clamd}
TempDirectory: {home}
MaxConnections: {connections}
User: {account}
Action: drop
"""

MILTER = """\
MilterSocket inet:{port}@127.0.0.1
ClamdSocket unix:{clamd}
Foreground yes
User clamav
OnInfected Blackhole
OnFail Defer
LogInfected Off
TemporaryDirectory {home}
"""

# Debian's settings, without the checks for spam and for names of attachments, and
# without a database: it looks for viruses, as the others do.
AMAVIS = """\
use strict;
$max_servers = {slots};
$daemon_user = $daemon_group = '{account}';
$MYHOME = '{home}';
$TEMPBASE = "$MYHOME/tmp";
$pid_file = "$MYHOME/pid";
$lock_file = "$MYHOME/lock";
$mydomain = 'example.org';
$myhostname = 'mail.example.org';
$inet_socket_bind = '127.0.0.1';
$inet_socket_port = {port};
$forward_method = $notify_method = 'smtp:[127.0.0.1]:{next_port}';
$enable_db = 0;
$enable_zmq = 0;
$DO_SYSLOG = 0;
$LOGFILE = "$MYHOME/log";
$log_level = 0;
$QUARANTINEDIR = undef;
$virus_quarantine_method = undef;
$virus_admin = undef;
$final_virus_destiny = D_DISCARD;
$virus_scanners_failure_is_fatal = 1;
@bypass_spam_checks_maps = (1);
@bypass_banned_checks_maps = (1);
$file = '/usr/bin/file';
@av_scanners = (['ClamAV-clamd', \\&ask_daemon, ["CONTSCAN {{}}\\n", '{clamd}'],
    qr/\\bOK$/m, qr/\\bFOUND$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND$/m]);
@av_scanners_backup = ();
1;
"""


def clamsmtp(
    stage: Stage, address: str, next_hop: str, slots: int
) -> contextlib.AbstractContextManager[None]:
    """A clamsmtpd on that address that hands good mail on to the next hop."""
    packages.need("clamsmtp", commands=["clamsmtpd"])
    home = directory(stage, f"clamsmtp-{slots}", "clamsmtp")
    config = home.with_suffix(".conf")
    config.write_text(
        CLAMSMTP.format(
            next_hop=next_hop,
            address=address,
            clamd=stage.clamd.socket,
            home=home,
            account="clamsmtp",
            connections=4 * slots,  # the default is 64
        )
    )
    # With a debug level it stays in the foreground; 1 is for fatal errors only.
    return daemon([packages.find("clamsmtpd"), "-d", "1", "-f", str(config)], address)


def amavis(
    stage: Stage, address: str, next_hop: str, slots: int
) -> contextlib.AbstractContextManager[None]:
    """An amavisd on that address that hands good mail on to the next hop."""
    packages.need("amavisd-new", commands=["amavisd"])
    packages.need("file", commands=["file"])
    home = directory(stage, f"amavis-{slots}", "amavis")
    (home / "tmp").mkdir()
    shutil.chown(home / "tmp", "amavis", "amavis")
    config = home.with_suffix(".conf")
    config.write_text(
        AMAVIS.format(
            slots=slots,
            account="amavis",
            home=home,
            port=address.rpartition(":")[2],
            next_port=next_hop.rpartition(":")[2],
            clamd=stage.clamd.socket,
        )
    )
    return daemon([packages.find("amavisd"), "-c", str(config), "foreground"], address)


def clamav_milter(
    stage: Stage, address: str, next_hop: str, slots: int
) -> contextlib.AbstractContextManager[None]:
    """A clamav-milter on that address; it hands nothing on, so it has no use for the others."""
    packages.need("clamav-milter", commands=["clamav-milter"])
    home = directory(stage, f"milter-{slots}", "clamav")
    config = home.with_suffix(".conf")
    port = address.rpartition(":")[2]
    config.write_text(MILTER.format(port=port, clamd=stage.clamd.socket, home=home))
    return daemon([packages.find("clamav-milter"), "-c", str(config)], address)


# What starts each of them, by the name of its package.
PROXIES = {"clamsmtp": clamsmtp, "amavisd-new": amavis}


def directory(stage: Stage, name: str, account: str) -> Path:
    """A directory for the account; clamd, which runs as root here, can read it as well."""
    path = stage.directory / name
    path.mkdir(mode=0o755)
    shutil.chown(path, account, account)
    return path


@contextlib.contextmanager
def daemon(argv: list[str], address: str) -> Iterator[None]:
    """A daemon in the foreground, from when it listens; it is stopped by its process id."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, "PATH": packages.PLACES},
    )
    try:
        wait_until_it_listens(address, process)
        yield
    finally:
        process.terminate()
        process.wait()

"""What is done with the package in each suite, in this order; a scene raises when it goes wrong."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.campaigns.packages.chroot import Chroot, FailedError
from tests.support.tree import ROOT

SUITES = ("bookworm", "trixie")

# What the package depends on, so that it can come and go alone (debian/control, debhelper).
DEPENDENCIES = (
    *("python3", "python3-click", "python3-filelock", "python3-rich"),
    "systemd-standalone-sysusers",
)
SPOOL = "/var/spool/avcheck"
BIN = "/usr/lib/avcheck/bin"
ENTRY = f"{SPOOL}/quarantine/20260102T030405Z-0123456789ab"
OLDER = "0.9.0-1"

# All files and directories, but for what dpkg and apt write down, and accounts, which stay.
LISTED = r"""
aside='-path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log'
aside="$aside -o -path /root -o -path /tmp"
accounts='*/etc/passwd* */etc/shadow* */etc/group* */etc/gshadow* */etc/subuid* */etc/subgid*'
set -f
for each in $accounts; do aside="$aside -o -path $each"; done
find / -xdev \( $aside \) -prune -o -printf '%p %y %m %U %G %l\n' | sort
find / -xdev \( $aside \) -prune -o -type f -exec md5sum {} + | sort
"""


@dataclass
class Suite:
    """A Debian, the package that was built in it, and what was found out."""

    name: str
    base: Chroot
    deb: str = ""
    numbers: str = ""

    def clean(self, name: str) -> Chroot:
        """A Debian without any package of ours, and the package in its /."""
        chroot = self.base.layer(name)
        shutil.copy(self.base.directory.with_name(self.deb), chroot.upper / "avcheck.deb")
        return chroot


def source(chroot: Chroot) -> None:
    """A copy of this tree in /source."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    for name in filter(None, listed):
        file = ROOT / name.decode()
        if file.is_file():
            copy = chroot.upper / "source" / name.decode()
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def build(suite: Suite) -> None:
    """dpkg-buildpackage, with what debian/control asks for and nothing else."""
    builder = suite.base.layer("builder")
    source(builder)
    builder.run(
        "apt-get -qq -y --no-install-recommends install build-essential\n"
        "cd /source && apt-get -qq -y --no-install-recommends build-dep .\n"
    )
    twice = "cd /source; .ci/deb; mv dist/*.deb /first.deb; .ci/deb; cmp /first.deb dist/*.deb"
    builder.run(twice, alone=True)
    (deb,) = (builder.upper / "source/dist").glob("*.deb")
    suite.deb = f"{suite.name}-{deb.name}"
    shutil.copy(deb, suite.base.directory.with_name(suite.deb))
    linter = builder.layer("lintian")
    linter.install("lintian")
    said = linter.run(
        "lintian --allow-root --fail-on error,warning /source/dist/*.changes", alone=True
    )
    if re.search("^[EW]: ", said, re.MULTILINE):
        raise FailedError(said)


def install(suite: Suite) -> None:
    """It comes, works, goes, and nothing is left of it."""
    chroot = suite.clean("install")
    chroot.install(*DEPENDENCIES)
    before = chroot.run(LISTED)
    chroot.run("dpkg -i /avcheck.deb", alone=True)
    chroot.run(
        f"""
        never() {{ if grep -E "$1"; then exit 1; fi; }}
        [ "$(stat -c '%U:%G %a' {SPOOL})" = 'avclient:avgroup 710' ]
        [ "$(stat -c '%U:%G %a' {SPOOL}/quarantine)" = 'avclient:avgroup 700' ]
        [ "$(id -nG avclient)" = avgroup ]
        [ -z "$(dpkg -V avcheck)" ]
        ls /usr/lib/avcheck/avcheck/__pycache__/main.*.pyc
        avcheck --version
        avcheck-smtp --version
        avcheckctl --version
        uchroot 2>&1 | grep 'usage: uchroot'
        runuser -u avclient -- {BIN}/avcheck-guard.sh {BIN}/avcheck --version
        avcheckctl setup postfix | grep 'argv={BIN}/avcheck-guard.sh {BIN}/avcheck'
        for way in pipe smtp before-queue; do
            avcheckctl setup postfix --way $way | never '^[^#].*(/opt/|/usr/local/)'
        done
        for system in exim sendmail; do
            avcheckctl setup $system | never '^[^#].*(/opt/|/usr/local/)'
        done
        for each in avcheck avcheckctl; do
            bash -n /usr/share/bash-completion/completions/$each
            grep "#compdef $each" /usr/share/zsh/vendor-completions/_$each
            grep "command $each" /usr/share/fish/vendor_completions.d/$each.fish
        done
        _AVCHECK_COMPLETE=bash_complete COMP_WORDS='avcheck --dead' COMP_CWORD=1 \\
            avcheck | grep plain,--deadline
        _AVCHECKCTL_COMPLETE=bash_complete COMP_WORDS='avcheckctl do' COMP_CWORD=1 \\
            avcheckctl | grep plain,doctor
        for page in man1/avcheck.1 man8/avcheck-smtp.8 man8/avcheckctl.8 man8/uchroot.8; do
            dpkg -L avcheck | grep "/$page.gz"
        done
        """,
        alone=True,
    )
    chroot.run("dpkg -P avcheck; rm /avcheck.deb", alone=True)
    left = set(chroot.run(LISTED).splitlines()) - set(before.splitlines())
    if left:
        raise FailedError("left after purge:\n" + "\n".join(sorted(left)))


def units(suite: Suite) -> None:
    """Units that systemd likes and nobody has enabled, and a profile that AppArmor reads."""
    chroot = suite.clean("units")
    chroot.install("systemd", "apparmor", "/avcheck.deb")
    said = chroot.run(
        """
        for unit in avcheck-smtp.socket avcheck-smtp-each.socket; do
            [ "$(systemctl --root=/ is-enabled $unit || :)" = disabled ]
            systemd-analyze verify --man=no $unit
        done
        apparmor_parser --skip-kernel-load --skip-cache /etc/apparmor.d/usr.lib.avcheck
        [ -f /etc/apparmor.d/local/usr.lib.avcheck ]
        systemd-tmpfiles --create --remove --boot avcheck.conf
        systemd-sysusers avcheck.conf
        """,
        alone=True,
    )
    ours = [line for line in said.splitlines() if "avcheck" in line]
    if ours:
        raise FailedError("\n".join(ours))


def upgrade(suite: Suite) -> None:
    """An older one is replaced while it runs; what is kept stays, at last after a purge."""
    chroot = suite.clean("upgrade")
    chroot.install(*DEPENDENCIES)
    chroot.run(
        f"""
        dpkg-deb -R /avcheck.deb /older
        sed -i 's/^Version: .*/Version: {OLDER}/' /older/DEBIAN/control
        cd /older/usr/lib/avcheck/avcheck
        sed -i 's/^__version__ = .*/__version__ = "0.9.0"/' __init__.py
        echo 'GONE = 1' >gone.py
        cd /
        dpkg-deb -b /older /older.deb
        dpkg -i /older.deb
        avcheck --version | grep 0.9.0
        runuser -u avclient -- mkdir {ENTRY}
        echo mail | runuser -u avclient -- tee {ENTRY}/message
        touch {SPOOL}/slot.0 {SPOOL}/avcheck.0123456789abcdef01234567 {SPOOL}/attempts.x
        echo quarantine=quarantine >/etc/avcheck/infected.conf
        """,
        alone=True,
    )
    said = chroot.run(
        f"""
        (
            until [ -e /tmp/over ]; do
                status=0
                {BIN}/avcheck-guard.sh {BIN}/avcheck --version >/dev/null 2>&1 || status=$?
                echo "status $status"
            done
        ) >/statuses &
        sleep 1
        dpkg -i /avcheck.deb
        sleep 1
        touch /tmp/over
        wait
        rm /tmp/over
        sort /statuses | uniq -c
        if avcheck --version | grep 0.9.0; then exit 1; fi
        if ls /usr/lib/avcheck/avcheck/gone.py; then exit 1; fi
        if ls /usr/lib/avcheck/avcheck/__pycache__/gone.*; then exit 1; fi
        [ "$(cat {ENTRY}/message)" = mail ]
        [ "$(stat -c %U {ENTRY})" = avclient ]
        """,
        alone=True,
    )
    statuses = set(re.findall(r"^ *\d+ status (\d+)$", said, re.MULTILINE))
    if not {"0"} <= statuses <= {"0", "75"}:
        raise FailedError(f"statuses {statuses} during the upgrade")
    said = chroot.run(
        f"""
        mkdir -p /etc/postfix && echo argv={BIN}/avcheck-guard.sh >/etc/postfix/master.cf
        dpkg -r avcheck
        [ -f /etc/apparmor.d/usr.lib.avcheck ]
        [ "$(cat {ENTRY}/message)" = mail ]
        [ ! -e /usr/lib/avcheck ]
        """,
        alone=True,
    )
    if "mail waits" not in said or "/etc/postfix/master.cf" not in said:
        raise FailedError(f"a removal that does not tell who still calls it:\n{said}")
    said = chroot.run(
        f"""
        dpkg -P avcheck
        [ "$(cat {ENTRY}/message)" = mail ]
        [ "$(ls -A {SPOOL})" = quarantine ]
        [ ! -e /etc/apparmor.d/usr.lib.avcheck ]
        [ -f /etc/avcheck/infected.conf ]
        """,
        alone=True,
    )
    if f"quarantined mail stays in {SPOOL}/quarantine" not in said:
        raise FailedError(f"a purge that does not tell where mail is:\n{said}")


def demo(suite: Suite) -> None:
    """debian/tests/control: the demonstration, by the programs of the package."""
    chroot = suite.clean("demo")
    source(chroot)
    chroot.install("/avcheck.deb", "clamav-daemon")
    (command,) = re.findall(
        "^Test-Command: (.*)", (ROOT / "debian/tests/control").read_text(), re.MULTILINE
    )
    chroot.run(f"cd /source\n{command}\n", alone=True)


def postfix(suite: Suite) -> None:
    """debian/tests/postfix: mail through Postfix, set up as avcheckctl says."""
    chroot = suite.clean("postfix")
    source(chroot)
    chroot.install("/avcheck.deb", "clamav-daemon", "postfix")
    chroot.run("cd /source\ndebian/tests/postfix\n", alone=True)


def profile(suite: Suite) -> None:
    """What a run opens and executes is in the AppArmor profile (profile.py)."""
    chroot = suite.clean("profile")
    source(chroot)
    chroot.install("/avcheck.deb", "apparmor", "strace")
    chroot.run("cd /source\npython3 -m tests.campaigns.packages.profile\n", alone=True)


def start(suite: Suite) -> None:
    """Processor time of a run, beside that of a virtual environment of the same Python."""
    chroot = suite.clean("start")
    source(chroot)
    chroot.install("/avcheck.deb", "python3-venv", "python3-setuptools", "python3-wheel")
    chroot.run(
        """
        python3 -m venv --system-site-packages /opt/avcheck
        cd /source && /opt/avcheck/bin/pip -q install --no-deps --no-build-isolation .
        """,
        alone=True,
    )
    said = chroot.run(
        f"cd /source\npython3 -m tests.campaigns.packages.measure {BIN} /opt/avcheck/bin\n",
        alone=True,
    )
    ours, theirs = (float(line.split()[1]) for line in said.splitlines()[-2:])
    suite.numbers = f"{ours:.1f} ms, in a virtual environment {theirs:.1f} ms: {ours / theirs:.2f}"


SCENES: dict[str, Callable[[Suite], None]] = {
    "build": build,
    "install": install,
    "units": units,
    "upgrade": upgrade,
    "demo": demo,
    "postfix": postfix,
    "profile": profile,
    "start": start,
}

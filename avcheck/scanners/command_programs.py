"""The programs that command knows: where they are, and what their exit statuses mean.

Sources: the manuals of Dr.Web ("Console Scanner Return Codes"), F-Secure ("fsav exit
codes") and Sophos; protocols of F-PROT; amavisd-new's list for the others.  In no document
at hand, but remembered: avscanner's 16 and 24, what kavscanner's 10 and 15 and aveclient's
2 to 8 are, esets_cli's 10 and 50, the options of odscan, bdscan's line about I/O errors.
ClamAV's two were tried, the rest could not be.

Decided: what those lists call clean though something was left out (kavscanner's 10 and 15,
aveclient's 3, 6 and 8, savscan's and avscanner's 2, Dr.Web's 32, which is something
suspicious in an archive) is not clean here.
Decided: Sophos' sweep (savscan) ends with 2 for an archive that it cannot open without a
password.  That is no trouble of its own to be tried again for five days: it is ENCRYPTED
where it says so, and else UNSCANNABLE, unless it says that its engine does not work.
Decided: clamscan is told to say what it has not looked into; without the two options
something over its limits, or encrypted, is OK.  clamdscan's daemon has to be told.
Decided: bdscan's statuses are known for nothing, so its count of infected files decides.
"""

from __future__ import annotations


def _with(bits: int, without: int = 0) -> bytes:
    """The statuses, sums of powers of two, that have any of the bits and none of the others."""
    every = [status for status in range(256) if status & bits and not status & without]
    return b" ".join(b"%d" % status for status in every)


# Where programs are (the first that exists is run), and what their parameters are.
PROGRAMS: dict[bytes, tuple[tuple[bytes, ...], dict[str, bytes]]] = {
    b"clamscan": (
        (b"/usr/bin/clamscan", b"/usr/local/bin/clamscan"),
        {
            "args": b"--no-summary --infected --stdout --alert-exceeds-max=yes"
            b" --alert-encrypted=yes {path}",
            "clean": b"0",
            "infected": b"1",
            "name": rb": (.+) FOUND$",
            "classes": b"clamav",
        },
    ),
    b"clamdscan": (
        (b"/usr/bin/clamdscan", b"/usr/local/bin/clamdscan"),
        {
            "args": b"--no-summary --infected --fdpass --stdout {path}",
            "clean": b"0",
            "infected": b"1",
            "name": rb": (.+) FOUND$",
            "classes": b"clamav",
        },
    ),
    b"savscan": (
        (b"/opt/sophos-av/bin/savscan", b"/usr/local/bin/savscan", b"/usr/local/bin/sweep"),
        {
            "args": b"-nb -f -all -rec -ss -sc -archive -cab -loopback --no-follow-symlinks"
            b" --no-reset-atime -mime -oe -tnef {path}",
            "clean": b"0",
            "infected": b"3",
            "unscannable": b"2",
            "name": rb">>> Virus (?:fragment )?'([^']+)' found",
            "protected": rb"(?i)password protected|encrypted",
            # The banner, too, speaks of the engine and of virus data.
            "broken": rb"(?i)error initiali[sz]|licen[cs]e .*expired"
            rb"|(?:engine|virus data) .*(?:fail|corrupt|missing|not found|invalid)",
        },
    ),
    b"avscanner": (
        (b"/opt/sophos-spl/plugins/av/bin/avscanner", b"/usr/local/bin/avscanner"),
        {
            "args": b"--scan-archives {path}",
            "clean": b"0",
            "infected": b"24",
            "encrypted": b"16",
            "unscannable": b"2",
            "name": rb"Detected \"[^\"]*\" is infected with (\S+)",
            "protected": rb"(?i)password|encrypted",
            "broken": rb"(?i)failed to (?:connect|initiali[sz]e)|licen[cs]e",
        },
    ),
    b"esets_cli": (
        (b"/opt/eset/esets/bin/esets_cli", b"/usr/bin/esets_cli", b"/usr/sbin/esets_cli"),
        {
            "args": b"--subdir {path}",
            "clean": b"0",
            "infected": b"1-3 50",
            "unscannable": b"10",
            "name": rb'virus="([^"]+)"',
            "protected": rb"(?i)password|encrypted",
        },
    ),
    b"ecls": (
        (b"/opt/eset/esets/bin/ecls", b"/usr/bin/ecls"),
        {
            "args": b"--subdir --mail --arch --no-quarantine {path}",
            "clean": b"0",
            "infected": b"1 50",
            "unscannable": b"10",
            "name": rb'(?:threat|virus)="([^"]+)"',
            "protected": rb"(?i)password|encrypted",
        },
    ),
    b"odscan": (
        (b"/opt/eset/efs/bin/odscan", b"/opt/eset/eea/bin/odscan"),
        {
            "args": b"--scan --readonly {path}",
            "clean": b"0",
            "infected": b"1 50",
            "unscannable": b"10",
            "name": rb'(?:threat|virus)="([^"]+)"',
            "protected": rb"(?i)password|encrypted",
        },
    ),
    b"drweb": (
        (b"/opt/drweb/drweb", b"/usr/local/drweb/drweb", b"/usr/bin/drweb"),
        {
            "args": b"-path={path} -al -go -ot -cn -upn -ok-",
            "clean": b"0",
            # Never 64 and 128, for something cured or removed: that is not asked for.
            "infected": _with(1 | 2 | 8 | 16, 64 | 128),
            "suspicious": _with(4 | 32, 1 | 2 | 8 | 16 | 64 | 128),
            "name": rb"infected with (.+?)(?: \(.*\))?$",
        },
    ),
    b"kavscanner": (
        (
            b"/opt/kaspersky/kav4fs/bin/kav4fs-kavscanner",
            b"/opt/kav/5.5/kav4unix/bin/kavscanner",
            b"/opt/kav/5.5/kav4mailservers/bin/kavscanner",
        ),
        {
            "args": b"-i0 -xn -xp -mn -R -ePASBME {path}",
            "clean": b"0",
            "infected": b"5 25",
            "suspicious": b"20 21",
            "unscannable": b"10 15",
            "name": rb"(?:INFECTED|SUSPICION|SUSPICIOUS|WARNING) (\S+)",
            "protected": rb"(?i)password|protected|encrypted",
        },
    ),
    b"aveclient": (
        (
            b"/usr/local/kav/bin/aveclient",
            b"/usr/local/share/kav/bin/aveclient",
            b"/opt/kav/5.5/kav4mailservers/bin/aveclient",
        ),
        {
            "args": b"-p /var/run/aveserver -s {path}",
            "clean": b"0",
            "infected": b"2 4 5",
            "suspicious": b"3",
            "unscannable": b"6 8",
            "name": rb"(?:INFECTED|SUSPICION|SUSPICIOUS|WARNING) (\S+)",
            "found": rb"\bINFECTED\b",
            "protected": rb"(?i)password|protected|encrypted",
        },
    ),
    b"fsav": (
        (b"/usr/bin/fsav", b"/opt/f-secure/fsav/bin/fsav"),
        {
            "args": b"--virus-action1=report --archive=yes --auto=yes --dumb=yes --list=no"
            b" --mime=yes {path}",
            "clean": b"0",
            "infected": b"3 6",
            "suspicious": b"8",
            "policy": b"4",
            "unscannable": b"9",
            "name": rb"(?:infection|Infected|Suspected|Riskware): (.+?)(?: \[.*\])?$",
            "protected": rb"(?i)password|encrypted",
            "broken": rb"(?i)permission|could not open|no such file|too long|memory"
            rb"|connection to fsavd",
        },
    ),
    b"uvscan": (
        (b"/usr/local/uvscan/uvscan", b"/usr/local/bin/uvscan", b"/usr/bin/uvscan"),
        {
            "args": b"--secure -rv --mime --summary --noboot {path}",
            "clean": b"0",
            "infected": b"13 19",
            "name": rb"Found(?:: | the | (?:virus|trojan) or variant )(.+?)"
            rb"(?: NOT a virus\.?| (?:virus|trojan))?(?: !!!)?$",
        },
    ),
    b"fpscan": (
        (b"/usr/local/bin/fpscan", b"/opt/f-prot/fpscan", b"/usr/bin/fpscan"),
        {
            "args": b"--report --mount --adware --archive=5 {path}",
            "clean": b"0",
            "infected": _with(1 | 128),
            "suspicious": _with(2, 1 | 128),
            "unscannable": _with(8 | 64, 1 | 2 | 4 | 16 | 32 | 128),
            "name": rb"\[Found [^\]]+\] <([^ \t(>]+)",
            "protected": rb"(?i)encrypted|password",
        },
    ),
    b"bdscan": (
        (b"/usr/bin/bdscan", b"/opt/BitDefender-scanner/bin/bdscan"),
        {
            "args": b"--action=ignore --no-list {path}",
            "clean": b"0",
            "found": rb"^(?:Infected files|Identified viruses|Suspect files) *: *0*[1-9]",
            "passed": rb"\A(?!(?s:.*)^I/O errors *: *0*[1-9])(?s:.*)^Infected files *: *0+\s",
            "name": rb"(?:suspected|infected): ([^\033\n]+)",
        },
    ),
    b"avastcmd": (
        (b"/usr/bin/avastcmd", b"/usr/lib/avast4workstation/bin/avastcmd"),
        {
            "args": b"-a -i -n -t=A {path}",
            "clean": b"0",
            "infected": b"1",
            "name": rb"infected by:[ \t]+([^ \t\n\[\]]+)",
        },
    ),
}
PROGRAMS[b"sweep"] = PROGRAMS[b"savscan"]
PROGRAMS[b"kav4fs-kavscanner"] = PROGRAMS[b"kavscanner"]

"""The programs that command knows: where they are, and what they say and end with.

Sources of the statuses: the manuals of Dr.Web ("Console Scanner Return Codes"), F-Secure ("fsav
exit codes") and Sophos; protocols of F-PROT; amavisd-new's list for the others.  In no document
at hand, but remembered: avscanner's 16 and 24, what kavscanner's 10 and 15 and aveclient's
2 to 8 are, esets_cli's 10 and 50, the options of odscan, bdscan's line about I/O errors.
Sources of the words: the source of clamscan and of clamdscan 1.4.6 and trials of both; that of
avscanner (ScanCallbackImpl.cpp); outputs that others have printed of savscan, ecls 4 to 15,
uvscan 4 to 6, fpscan 6, avastcmd 1.3 and bdscan 7.

A status alone does not prove that a message is clean: a program may have skipped the file, or
have been told to.  So each program either has words for that (passed), whole lines with their
ends, or says why there are none (unproved); that is shown wherever its answer is.
Words that mean infected (found) or suspicious count with every status.  Words that make a
message less than that, or the program's own trouble (protected, broken), are looked for where
the program says them, and no name of a file in an archive stands: at the beginning of a line,
before its first slash, or at its end.

Decided: what those lists call clean though something was left out (kavscanner's 9, 10 and 15,
aveclient's 3, 6 and 8, savscan's and avscanner's 2, Dr.Web's 32, which is something
suspicious in an archive) is not clean here.
Decided: Sophos' sweep (savscan) ends with 2 for an archive that it cannot open without a
password.  That is no trouble of its own to be tried again for five days: it is ENCRYPTED
where it says so, and else UNSCANNABLE, unless it says that its engine does not work.
Decided: savscan is called without amavisd-new's -ss, with which it does not say that it has
found nothing.
Decided: clamscan is told to say what it has not looked into; without the two options
something over its limits, or encrypted, is OK.  clamdscan's daemon has to be told.
Decided: clamdscan gets the message on its standard input, and not a path.  With a path it says
OK to what ExcludePath covers, to what it has cut at StreamMaxLength, and to every reply but
FOUND and ERROR (1.4.6).  With "-" it passes the descriptor on, asks for no path, and prints
clamd's own reply: "fd[10]: OK" from a clamd that had the whole file, and "stream: OK" if it
was streamed, which may have been a part of it.
Decided: bdscan's statuses are known for nothing, so its count of infected files decides.
"""

from __future__ import annotations


class Program:
    """Where a program is (the first place that exists counts), and its parameters.

    unproved is why its word for clean is not known to prove anything, if it is not.
    """

    __slots__ = ("parameters", "places", "unproved")

    def __init__(
        self, places: tuple[bytes, ...], parameters: dict[str, bytes], unproved: str = ""
    ) -> None:
        self.places = places
        self.parameters = parameters
        self.unproved = unproved


def _with(bits: int, without: int = 0) -> bytes:
    """The statuses, sums of powers of two, that have any of the bits and none of the others."""
    every = [status for status in range(256) if status & bits and not status & without]
    return b" ".join(b"%d" % status for status in every)


def _lines(*wanted: bytes, without: bytes) -> bytes:
    """A pattern: a line that begins like each of the wanted, and none like the other."""
    return (
        rb"\A"
        + b"".join(rb"(?=(?s:.*)^%b)" % line for line in wanted)
        + rb"(?!(?s:.*)^%b)" % without
    )


# Kaspersky's two say both in the same words.
_KASPERSKY = {
    "name": rb"(?:INFECTED|SUSPICION|SUSPICIOUS|WARNING) (\S+)",
    "found": rb"\bINFECTED\b",
    "suspected": rb"\b(?:SUSPICION|SUSPICIOUS|WARNING) \S",
    "protected": rb"(?i)[ \t](?:password|(?:password[ -])?protected|encrypted)$",
}

# What ESET's three say last of an object.
_ESET_PROTECTED = rb'\b(?:info|result)="[^"\n]*(?i:password|encrypted)[^"\n]*"$'

PROGRAMS: dict[bytes, Program] = {
    b"clamscan": Program(
        (b"/usr/bin/clamscan", b"/usr/local/bin/clamscan"),
        {
            "args": b"--no-summary --stdout --alert-exceeds-max=yes --alert-encrypted=yes {path}",
            "clean": b"0",
            "infected": b"1",
            "name": rb": (.+) FOUND$",
            "found": rb": .+ FOUND$",
            "passed": rb"^{path}: OK\n",
            "classes": b"clamav",
        },
    ),
    b"clamdscan": Program(
        (b"/usr/bin/clamdscan", b"/usr/local/bin/clamdscan"),
        {
            "args": b"--no-summary --fdpass --stdout -",
            "stdin": b"message",
            "clean": b"0",
            "infected": b"1",
            "name": rb": (.+) FOUND$",
            "found": rb": .+ FOUND$",
            "passed": rb"^fd\[\d+\]: OK\n",
            "classes": b"clamav",
        },
    ),
    b"savscan": Program(
        (b"/opt/sophos-av/bin/savscan", b"/usr/local/bin/savscan", b"/usr/local/bin/sweep"),
        {
            "args": b"-nb -f -all -rec -sc -archive -cab -loopback --no-follow-symlinks"
            b" --no-reset-atime -mime -oe -tnef {path}",
            "clean": b"0",
            "infected": b"3",
            "unscannable": b"2",
            "name": rb">>> Virus (?:fragment )?'([^']+)' found",
            "found": rb"^>>> Virus",
            "passed": _lines(
                rb"0*[1-9]\d* files? (?:scanned|swept) in .*\n",
                rb"No viruses were discovered\.\n",
                without=rb"\d+ errors? (?:was|were) encountered",
            ),
            "protected": rb"^(?i:password protected) ",
            # The banner, too, speaks of the engine and of virus data.
            "broken": rb"(?i)^[^/\n]*(?:error initiali[sz]|licen[cs]e [^/\n]*expired"
            rb"|(?:engine|virus data) [^/\n]*(?:fail|corrupt|missing|not found|invalid))",
        },
    ),
    b"avscanner": Program(
        (b"/opt/sophos-spl/plugins/av/bin/avscanner", b"/usr/local/bin/avscanner"),
        {
            "args": b"--scan-archives {path}",
            "clean": b"0",
            "infected": b"24",
            "encrypted": b"16",
            "unscannable": b"2",
            "name": rb"Detected \"[^\"]*\" is infected with (\S+)",
            "found": rb"\bis infected with \S|^0*[1-9]\d* (?:files?|file\(s\)) out of ",
            "passed": _lines(
                rb"0+ (?:files?|file\(s\)) out of 0*[1-9]\d* (?:was|were) infected\.\n",
                without=rb"\d+ scan (?i:errors?|error\(s\)) encountered",
            ),
            "protected": rb"^Failed to scan .* as it is (?i:password[ -]protected|encrypted)\.?$",
            "broken": rb"(?i)^[^/\n]*(?:failed to (?:connect|initiali[sz]e)|licen[cs]e)",
        },
    ),
    b"esets_cli": Program(
        (b"/opt/eset/esets/bin/esets_cli", b"/usr/bin/esets_cli", b"/usr/sbin/esets_cli"),
        {
            "args": b"--subdir {path}",
            "clean": b"0",
            "infected": b"1-3 50",
            "unscannable": b"10",
            "name": rb'virus="(?!is OK")([^"]+)"',
            "found": rb'virus="(?!is OK")[^"]',
            "protected": _ESET_PROTECTED,
        },
        "its output for clean is not known: clean by its exit status alone",
    ),
    b"ecls": Program(
        (b"/opt/eset/esets/bin/ecls", b"/usr/bin/ecls"),
        {
            "args": b"--subdir --mail --arch --no-quarantine {path}",
            "clean": b"0",
            "infected": b"1 50",
            "unscannable": b"10",
            "name": rb'(?:threat|virus)="(?!is OK")([^"]+)"',
            "found": rb'(?:threat|virus)="(?!is OK")[^"]'
            rb"|^(?:Infected|Detected): +files - 0*[1-9]",
            "passed": _lines(
                rb"Total: +files - 0*[1-9]",
                rb"(?:Infected|Detected): +files - 0+, objects 0+\n",
                without=rb"(?:Infected|Detected): +files - 0+, objects 0*[1-9]",
            ),
            "protected": _ESET_PROTECTED,
        },
    ),
    b"odscan": Program(
        (b"/opt/eset/efs/bin/odscan", b"/opt/eset/eea/bin/odscan"),
        {
            "args": b"--scan --readonly {path}",
            "clean": b"0",
            "infected": b"1 50",
            "unscannable": b"10",
            "name": rb'(?:threat|virus)="(?!is OK")([^"]+)"',
            "found": rb'(?:threat|virus)="(?!is OK")[^"]',
            "protected": _ESET_PROTECTED,
        },
        "its output for clean is not known: clean by its exit status alone",
    ),
    b"drweb": Program(
        (b"/opt/drweb/drweb", b"/usr/local/drweb/drweb", b"/usr/bin/drweb"),
        {
            "args": b"-path={path} -al -go -ot -cn -upn -ok-",
            "clean": b"0",
            # Never 64 and 128, for something cured or removed: that is not asked for.
            "infected": _with(1 | 2 | 8 | 16, 64 | 128),
            "suspicious": _with(4 | 32, 1 | 2 | 8 | 16 | 64 | 128),
            "name": rb"infected with (.+?)(?: \(.*\))?$",
            "found": rb"(?<!probably )\binfected (?:with|by) ",
            "suspected": rb"\bprobably infected (?:with|by) ",
        },
        "its output for clean is not known, nor a status for what it could not open:"
        " clean by its exit status alone",
    ),
    b"kavscanner": Program(
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
            "encrypted": b"9",
            "unscannable": b"10 15",
            **_KASPERSKY,
        },
        "its output for clean is not known: clean by its exit status alone",
    ),
    b"aveclient": Program(
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
            **_KASPERSKY,
        },
        "its output for clean is not known: clean by its exit status alone",
    ),
    b"fsav": Program(
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
            "found": rb"\b(?:infection|Infected): \S",
            "suspected": rb"\bSuspected: \S",
            "unwanted": rb"\bRiskware: \S",
            "protected": rb"\bERROR: [^:/\n]*(?i:password|encrypted)[^:/\n]*$",
            "broken": rb"\bERROR: [^:/\n]*"
            rb"(?i:permission|could not open|no such file|too long|memory)[^:/\n]*$"
            rb"|^[^/\n]*(?i:connection to fsavd)",
        },
        "its output for clean is not known: clean by its exit status alone",
    ),
    b"uvscan": Program(
        (b"/usr/local/uvscan/uvscan", b"/usr/local/bin/uvscan", b"/usr/bin/uvscan"),
        {
            "args": b"--secure -rv --mime --summary --noboot {path}",
            "clean": b"0",
            "infected": b"13 19",
            "name": rb"Found(?:: | the | (?:virus|trojan) or variant )(.+?)"
            rb"(?: NOT a virus\.?| (?:virus|trojan))?(?: !!!)?$",
            "found": rb"\bFound(?:: | the | (?:virus|trojan) or variant )"
            rb"|^\s*Possibly Infected: *\.+ *0*[1-9]",
            "passed": _lines(
                rb"Summary [Rr]eport on {path}\n",
                rb"[ \t]*Total files: *\.+ *0*[1-9]",
                rb"[ \t]*Clean: *\.+ *0*[1-9]\d*\n",
                rb"[ \t]*Possibly Infected: *\.+ *0+\n",
                without=rb"[ \t]*Not scanned: *\.+ *0*[1-9]",
            ),
            "protected": rb"\bis password-protected\.?$",
        },
    ),
    b"fpscan": Program(
        (b"/usr/local/bin/fpscan", b"/opt/f-prot/fpscan", b"/usr/bin/fpscan"),
        {
            "args": b"--report --mount --adware --archive=5 {path}",
            "clean": b"0",
            "infected": _with(1 | 128),
            "suspicious": _with(2, 1 | 128),
            "unscannable": _with(8 | 64, 1 | 2 | 4 | 16 | 32 | 128),
            "name": rb"\[Found [^\]]+\] <([^ \t(>]+)",
            "found": rb"\[Found (?!possible )|^Infected (?:objects|files): *0*[1-9]",
            "suspected": rb"\[Found possible ",
            "passed": _lines(
                rb"Objects scanned: *0*[1-9]",
                rb"Infected objects: *0+\n",
                rb"Infected files: *0+\n",
                rb"Files with errors: *0+\n",
                without=rb"Skipped files: *0*[1-9]",
            ),
            "protected": rb"^(?:\[Unscannable\] )?[\[<][^\]>/\n]*(?i:encrypted|password)",
        },
    ),
    b"bdscan": Program(
        (b"/usr/bin/bdscan", b"/opt/BitDefender-scanner/bin/bdscan"),
        {
            "args": b"--action=ignore --no-list {path}",
            "clean": b"0",
            "found": rb"^(?:Infected files|Identified viruses|Suspect files) *: *0*[1-9]",
            "passed": _lines(
                rb"Files *: *0*[1-9]",
                rb"Infected files *: *0+\s",
                without=rb"I/O errors *: *0*[1-9]",
            ),
            "name": rb"(?:suspected|infected): ([^\033\n]+)",
        },
    ),
    b"avastcmd": Program(
        (b"/usr/bin/avastcmd", b"/usr/lib/avast4workstation/bin/avastcmd"),
        {
            "args": b"-a -i -n -t=A {path}",
            "clean": b"0",
            "infected": b"1",
            "name": rb"infected by:[ \t]+([^ \t\n\[\]]+)",
            "found": rb"\binfected by:",
            "passed": rb"^{path}\t\[OK\]\n",
        },
    ),
}
PROGRAMS[b"sweep"] = PROGRAMS[b"savscan"]
PROGRAMS[b"kav4fs-kavscanner"] = PROGRAMS[b"kavscanner"]

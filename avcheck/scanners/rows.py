"""The types of scanners: one row each.  Strings only; the module is imported when it is used."""

from __future__ import annotations

# How a scanner gets the message.
DESCRIPTOR = "descriptor"  # an open file is passed over the Unix socket
STREAM = "stream"  # the bytes are sent
PATH = "path"  # the scanner opens the file by its name

ANY = ("*",)  # parameters of another's scanner: not known here


class Row:
    """One scanner type.

    where is its usual place and port its usual TCP port (empty: it has none); ways are
    those it knows, the best first; parameters are the names that may follow a "?" in
    WHERE, and path is what follows host:port (empty: nothing may); program tells that
    WHERE is the path of a program, or a word for one, and no address, checked that the
    module has check, and tls that it is never asked without TLS.
    """

    __slots__ = (
        "checked",
        "help",
        "module",
        "parameters",
        "path",
        "port",
        "program",
        "tls",
        "ways",
        "where",
    )

    def __init__(
        self,
        module: str,
        where: bytes,
        port: bytes,
        ways: tuple[str, ...],
        help: str,
        parameters: tuple[str, ...] = (),
        path: bytes = b"",
        program: bool = False,
        checked: bool = False,
        tls: bool = False,
    ) -> None:
        self.module = module
        self.where = where
        self.port = port
        self.ways = ways
        self.help = help
        self.parameters = parameters
        self.path = path
        self.program = program
        self.checked = checked
        self.tls = tls


SCANNERS = {
    # type: module, where when none is given, usual port, ways, help of avcheck(1)
    "clamd": Row(
        "clamd",
        b"/run/clamav/clamd.ctl",
        b"3310",
        (DESCRIPTOR, STREAM, PATH),
        "ClamAV's daemon, and daemons that speak its protocol.",
    ),
    "icap": Row(
        "icap",
        b"127.0.0.1:1344",
        b"1344",
        (STREAM,),
        "Servers that speak ICAP: c-icap, and most commercial scanners.",
        path=b"/avscan",
    ),
    "icaps": Row(
        "icap",
        b"",
        b"11344",
        (STREAM,),
        "The same over TLS.",
        path=b"/avscan",
        tls=True,
    ),
    "kse": Row(
        "kse",
        b"",
        b"9999",
        (STREAM, PATH),
        "Kaspersky Scan Engine in HTTP mode.",
        parameters=("timeout", "token-file", "token-header"),
        checked=True,
    ),
    "sssp": Row(
        "sssp",
        b"/var/run/savdi/sssp.sock",
        b"4010",
        (STREAM, PATH),
        "Sophos' SAV Dynamic Interface.",
        parameters=("options",),
    ),
    "drweb": Row(
        "drweb",
        b"127.0.0.1:3000",
        b"3000",
        (STREAM, PATH),
        "drwebd, Dr.Web's daemon of versions 4 to 6.",
        parameters=("zero",),
        checked=True,
    ),
    "avast": Row(
        "avast",
        b"/var/run/avast/scan.sock",
        b"",
        (PATH,),
        "Avast for Linux.",
    ),
    "savapi": Row(
        "savapi",
        b"",
        b"",
        (PATH,),
        "Avira's SAVAPI.",
        parameters=("product", "set"),
        checked=True,
    ),
    "avp": Row(
        "avp",
        b"/var/run/AvpCtl",
        b"",
        (PATH,),
        "kavdaemon, Kaspersky's daemon of versions 3 and 4.",
    ),
    "kavdaemon": Row(
        "avp",
        b"/var/run/AvpCtl",
        b"",
        (PATH,),
        "Another name for avp.",
    ),
    "aveserver": Row(
        "aveserver",
        b"/var/run/aveserver",
        b"",
        (PATH,),
        "Kaspersky's daemon of version 5.",
    ),
    "fpscand": Row(
        "fpscand",
        b"127.0.0.1:10200",
        b"10200",
        (STREAM, PATH),
        "F-PROT's daemon of version 6.",
        parameters=("options",),
    ),
    "f-prot6d": Row(
        "fpscand",
        b"127.0.0.1:10200",
        b"10200",
        (STREAM, PATH),
        "Another name for fpscand.",
        parameters=("options",),
    ),
    "f-protd": Row(
        "fprotd",
        b"127.0.0.1:10200,:10201,:10202,:10203,:10204",
        b"10200",
        (PATH,),
        "F-Prot's daemon of versions 3 and 4.",
    ),
    "fsecure": Row(
        "fsecure",
        b"/var/run/.fsav",
        b"",
        (PATH,),
        "fsavd, F-Secure's daemon.",
    ),
    "sophie": Row(
        "sophie",
        b"/var/run/sophie",
        b"",
        (PATH, STREAM),
        "Sophie, a free daemon around Sophos' library.",
    ),
    "trophie": Row(
        "sophie",
        b"/var/run/trophie",
        b"",
        (PATH, STREAM),
        "Trophie, the same around Trend Micro's.",
    ),
    "mksd": Row(
        "mksd",
        b"/var/run/mksd/socket",
        b"",
        (PATH,),
        "MKS_Vir's daemon.",
    ),
    "sock": Row(
        "sock",
        b"",
        b"",
        (PATH,),
        "Any daemon that is told a path and answers with text.",
        parameters=(
            "send",
            "greeting",
            "end",
            "clean",
            "infected",
            "suspicious",
            "policy",
            "encrypted",
            "unscannable",
            "more",
            "name",
        ),
        checked=True,
    ),
    "command": Row(
        "command",
        b"",
        b"",
        (PATH,),
        "A program.",
        parameters=(
            "args",
            "stdin",
            "clean",
            "infected",
            "suspicious",
            "policy",
            "encrypted",
            "unscannable",
            "name",
            "found",
            "suspected",
            "unwanted",
            "passed",
            "protected",
            "broken",
            "classes",
        ),
        program=True,
        checked=True,
    ),
}


def row_of(type_: str) -> Row | None:
    """The row of the type; for a module of the administrator's, a row with defaults."""
    if "." in type_:
        return Row(type_, b"", b"", (STREAM, DESCRIPTOR, PATH), "", ANY)
    return SCANNERS.get(type_)

"""The program that one would write first: click, clamd, filelock and smtplib.

It does what a clean or infected message needs and nothing of the rest; it is here to
be measured, not to be used.  `python naive.py --help`.
"""

import os
import smtplib
import subprocess
import sys
import tempfile
from pathlib import Path

import clamd
import click
from filelock import FileLock, Timeout


@click.command()
@click.option("-f", "sender", required=True)
@click.option("-s", "scanner", required=True, help="clamd's socket")
@click.option("-d", "spool", required=True, type=click.Path(path_type=Path))
@click.option("-S", "server", default="127.0.0.1:25", help="host:port")
@click.option("-i", "infected", help="handler of infected mail")
@click.argument("recipients", nargs=-1, required=True)
def main(
    sender: str,
    scanner: str,
    spool: Path,
    server: str,
    infected: str | None,
    recipients: tuple[str, ...],
) -> None:
    message = sys.stdin.buffer.read()
    try:
        with FileLock(spool / "naive.lock", timeout=60):
            fd, path = tempfile.mkstemp(dir=spool)
            try:
                with open(fd, "w+b") as saved:
                    saved.write(message)
                    saved.seek(0)
                    verdict, name = clamd.ClamdUnixSocket(scanner).instream(saved)["stream"]
                if verdict == "FOUND" and infected:
                    subprocess.run([infected, path, name, sender, *recipients], check=True)
                    return
            finally:
                Path(path).unlink(missing_ok=True)
        if verdict != "OK":
            sys.exit(os.EX_TEMPFAIL)
        host, _, port = server.partition(":")
        with smtplib.SMTP(host, int(port)) as smtp:
            smtp.sendmail(sender, recipients, message)
    except (OSError, subprocess.SubprocessError, clamd.ClamdError, Timeout) as error:
        click.echo(f"4.3.0 {error}")
        sys.exit(os.EX_TEMPFAIL)
    click.echo("delivered")


if __name__ == "__main__":
    main()

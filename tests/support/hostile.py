"""A stage for tests in which root meets a hostile account: what is whose, and is it intact?"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from avcheck.state.waitfile import Note
from tests.support.admin import entry

# The account.
NOBODY = 65534

# Of a file: mode, owner, group, links, time of change, content.
Facts = tuple[str, int, int, int, int, bytes]


@dataclass(frozen=True)
class Stage:
    """A directory of root's, a spool directory of the account's, and what root's was at first."""

    roots: Path
    spool: Path

    def intact(self) -> dict[str, Facts]:
        """All of root's files: kind and mode, owner, group, links, time of change, content."""
        found: dict[str, Facts] = {}
        for path in [self.roots, *sorted(self.roots.rglob("*"))]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (
                oct(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_nlink,
                status.st_ctime_ns,
                content,
            )
        return found

    def link(self, name: str, target: Path) -> Path:
        """A symbolic link that the account has made."""
        made = self.spool / name
        made.symlink_to(target)
        os.chown(made, NOBODY, NOBODY, follow_symlinks=False)
        return made

    def give(self) -> None:
        """All in the spool directory belongs to the account."""
        for path in (self.spool, *self.spool.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """A directory of root's with what is worth stealing, and a spool directory of the account's."""
    with tempfile.TemporaryDirectory(prefix="avcheck-test-", dir="/var/tmp") as name:
        base = Path(name)
        base.chmod(0o755)
        made = Stage(base / "roots", base / "spool")
        made.roots.mkdir(mode=0o755)
        made.spool.mkdir(mode=0o710)
        entry(made.roots / "quarantine")
        (made.roots / "secret").write_text("MaxThreads 3\nvirus definitions\n")
        (made.roots / "secret").chmod(0o600)
        (made.roots / "wait").write_bytes(Note("root's own", "", "root").render())
        (made.roots / "slot.0").touch()
        (made.roots / "canary.00").write_bytes(b"+")
        made.give()
        yield made

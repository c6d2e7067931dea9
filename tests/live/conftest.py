"""What the live tests share: an installed avcheck, a clamd, and the documented set-up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.recipe import MailSystem
from tests.support.installed import install
from tests.support.servers import packages
from tests.support.servers.clamd import Clamd
from tests.support.servers.postfix import Postfix

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live: needs real daemons (clamd, Postfix)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def open_directory() -> Iterator[Path]:
    """A directory that every account can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="avcheck-live-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.fixture(scope="session")
def opt(open_directory: Path) -> Path:
    """Where avcheck is installed, as docs/postfix.md installs it in /opt/avcheck."""
    return install(open_directory / "opt")


@pytest.fixture(scope="session")
def avcheck(opt: Path) -> Path:
    """The installed command."""
    return opt / "bin" / "avcheck"


@pytest.fixture(scope="session")
def clamd(open_directory: Path) -> Iterator[Clamd]:
    """A clamd on a Unix socket and on a TCP port, with a small limit for streams."""
    with Clamd(open_directory / "clamd", settings={"StreamMaxLength": "1M"}, tcp=True) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def mail_system(open_directory: Path, opt: Path) -> Iterator[MailSystem]:
    """Accounts, directories, clamd and next hop of docs/postfix.md; every Postfix shares them."""
    packages.need_root("Postfix is started, and accounts are made, by root only")
    with MailSystem(open_directory, opt) as system:
        yield system


@pytest.fixture(scope="module")
def postfix(mail_system: MailSystem) -> Iterator[Postfix]:
    """A Postfix with exactly the documented lines."""
    with mail_system.postfix("postfix") as instance:
        yield instance

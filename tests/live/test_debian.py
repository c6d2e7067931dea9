"""A page's first sections, followed on a machine as Debian's packages leave it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avcheck import __version__
from tests.live.debian import COMMON, Debian, wheels
from tests.live.recipe import DOCUMENT, blocks
from tests.support.servers.machine import Layer


@pytest.fixture(scope="module")
def machine() -> Iterator[Debian]:
    with (
        Layer(*COMMON, "exim4-daemon-light") as layer,
        Debian(layer, wheels()) as place,
    ):
        yield place


def test_avcheck_is_where_the_page_puts_it(machine: Debian) -> None:
    assert machine.attempt("/opt/avcheck/bin/avcheck", "--version").returncode == 75
    assert machine.path("/usr/local/libexec/avcheck-guard").is_file()
    shown = machine.attempt("sh", "-c", blocks(DOCUMENT)["version"])
    assert f"avcheck {__version__}" in shown.stdout.decode()
    assert "doctor" in machine.run("avcheckctl", "--help")


def test_the_account_of_the_page_can_ask_the_daemon_of_the_page(machine: Debian) -> None:
    words = ("runuser", "-u", "avclient", "--", "avcheckctl", "ping")
    assert "ClamAV" in machine.run(*words, "-s", "clamd:/run/clamav/clamd.ctl")

"""The quarantine's format: avcheck and infected.sh write it, pages and avcheckctl know it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from time import gmtime

import pytest

from avcheck import entry
from avcheck.admin.quarantine_records import Entry
from avcheck.admin.quarantine_store import NAME
from avcheck.run import Run
from avcheck.verdict import INFECTED, Answer, Finding
from tests.support.tree import ROOT
from tests.support.wire import settings, spooled

SCRIPT = (ROOT / "scripts" / "infected.sh").read_text("utf-8")

MESSAGE, SIDECAR, NEW = entry.MESSAGE.decode(), entry.SIDECAR.decode(), entry.NEW.decode()


def test_the_sidecar_has_the_keys_in_their_order(tmp_path: Path) -> None:
    answer = Answer("clamd", "", Finding(INFECTED, (b"Eicar",)))
    with spooled(tmp_path) as message:
        facts = entry.facts(message, answer, settings(b"--queue-id=4XYZ"), Run(b"/avcheck").called)
    text = entry.sidecar(b"name", gmtime(0), facts)
    assert tuple(json.loads(text)) == entry.KEYS
    assert json.loads(text)["time"] == "1970-01-01T00:00:00Z"


def test_infected_sh_writes_the_same_sidecar() -> None:
    (names,) = re.findall(r'names = split\("([^"]+)"', SCRIPT)
    (recipients,) = re.findall(r'printf "  \\"(\w+)\\": \["', SCRIPT)
    (size,) = re.findall(r'\],\\n  \\"(\w+)\\": %d', SCRIPT)
    assert (*names.split(), recipients, size) == entry.KEYS
    (time,) = re.findall(r"time=\$\(date -u '\+([^']+)'\)", SCRIPT)
    assert time == entry.TIME


def test_infected_sh_gives_the_same_names() -> None:
    assert f'"$new/{MESSAGE}"' in SCRIPT
    assert f'"$new/{SIDECAR}"' in SCRIPT
    assert set(re.findall(r"\$quarantine/(\.\w+)", SCRIPT)) == {NEW}
    # The time without "-" and ":", and so many digits.
    assert re.sub("[-:]", "", entry.TIME) + "-" == entry.STAMP
    assert "entry=$(printf %s \"$time\" | tr -d ':-')-${key:-$random}" in SCRIPT
    assert f"od -An -v -N{entry.END // 2} -tx1" in SCRIPT
    assert f"cut -c 1-{entry.END}" in SCRIPT


@pytest.mark.parametrize("key", [b"", b"0123456789ab"])
def test_avcheckctl_knows_an_entry_by_its_name(key: bytes) -> None:
    name = entry.name_of(gmtime(), key).decode()
    assert NAME.fullmatch(name)
    assert name.endswith(key.decode())
    assert not NAME.fullmatch(NEW)


def test_avcheckctl_has_a_place_for_every_text() -> None:
    assert {*entry.TEXTS, "time", "size", "recipients"} <= set(Entry.__dataclass_fields__)


@pytest.mark.parametrize("page", ["man/avcheck.1", "scripts/infected.sh"])
def test_the_pages_show_such_an_entry(page: str) -> None:
    text = (ROOT / page).read_text("utf-8").replace("\\-", "-")
    assert MESSAGE in text
    assert SIDECAR in text

"""An Exim is asked by its own program, which may say anything, or nothing."""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic

import pytest

from avcheck.admin import asking, exim_instance, exim_program
from avcheck.admin.exim_instance import LOCAL, Hop
from avcheck.admin.output import Trouble
from tests.support.admin import avcheckctl
from tests.support.servers import packages

SAYS = """\
#!/bin/sh
echo "$*" >>@/asked
case "$*" in
*"-bP configure_file") echo @/exim.conf ;;
*"-bP routers") printf '\\navcheck router:\\ntransport = avcheck\\n' ;;
*"-bP transports") printf '\\navcheck transport:\\ndriver = pipe\\ncommand = %s\\n' "$COMMAND" ;;
*-bP) printf 'local_interfaces = <; 0.0.0.0 ; 127.0.0.1.10026\\nqualify_domain = here\\n' ;;
*-bh*) cat >>@/heard; printf '220 x\n250-x\n250 x\n250 x\n250 x\n354 x\n550 no\n' ;;
*10026*-bt*) [ -z "$SLOW" ] || exec sleep 30; echo 'x is undeliverable: no' ;;
*-bt*) printf 'x@y\\n  router = avcheck, transport = avcheck\\n' ;;
*-be*) echo 50M ;;
*-brt*) echo 'Retry rule: *  *  F,4d,1m; ' ;;
esac
"""
COMMAND = "/o/avcheck -d /s -s clamd -S 127.0.0.1:10026 -f '$SENDER' -- $pipe_addresses"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "exim4"
    program.write_text(SAYS.replace("@/exim.", f"{tmp_path}/exim.").replace("@/", f"{tmp_path}/"))
    program.chmod(0o755)
    (tmp_path / "exim.conf").touch()
    monkeypatch.setattr(exim_program, "PLACES", str(tmp_path))
    monkeypatch.setenv("COMMAND", COMMAND)
    return tmp_path


def test_it_says_where_mail_goes(place: Path) -> None:
    found = exim_instance.read()
    assert found.configuration == str(place / "exim.conf")
    assert [call.name for call in found.calls] == ["avcheck"]
    assert found.hops == {"25": (Hop("avcheck", "avcheck"),), "10026": (), LOCAL: found.hops["25"]}
    assert found.sizes == {"25": 50 << 20, "10026": 50 << 20}
    asked = (place / "asked").read_text()
    assert "-oMa 127.0.0.1.1025 -oMi 127.0.0.1.10026 -oMai  -bt postmaster\n" in asked
    assert "-brt postmaster@here\n" in asked
    assert "-C" not in asked
    assert "-oMi 127.0.0.1.10026 -bh 127.0.0.1\n" in asked
    assert {each.refused for each in found.sessions.values()} == {"550 no"}
    assert (place / "heard").read_text().count("\nDATA\n") == len(found.sessions) == 2


def test_another_configuration_is_named_each_time(place: Path) -> None:
    exim_instance.read(str(place / "exim.conf"))
    asked = (place / "asked").read_text().splitlines()
    assert all(line.startswith(f"-C {place}/exim.conf ") for line in asked)


def test_what_it_does_not_say_in_time_is_not_known(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW", "1")
    monkeypatch.setattr(asking, "LIMIT", 1.0)
    began = monotonic()
    found = exim_instance.read()
    assert monotonic() - began < 10
    assert found.hops["10026"] is None
    assert found.hops["25"] == (Hop("avcheck", "avcheck"),)


def test_the_protocol_of_a_program_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMAND", COMMAND.replace("127.0.0.1:10026", "/x -S -oMr -S scanned"))
    exim_instance.read()
    assert "-oMr scanned -bt postmaster\n" in (place / "asked").read_text()


@pytest.mark.parametrize("whose", ["its file", "its directory"])
def test_a_configuration_of_a_strangers_is_not_read(place: Path, whose: str) -> None:
    packages.need_root("a file is given away by root only")
    os.chown(place / "exim.conf" if whose == "its file" else place, 65534, -1)
    with pytest.raises(Trouble, match="Exim wants it to be root's"):
        exim_instance.read(str(place / "exim.conf"))
    assert not (place / "asked").exists()


def test_a_file_that_is_not_there(place: Path) -> None:
    with pytest.raises(Trouble, match="No such file"):
        exim_instance.read(str(place / "nowhere"))


def test_an_exim_that_fails_hangs_or_is_not_there(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = place / "exim4"
    program.write_text("#!/bin/sh\necho 'error in line 3' >&2\nexit 1\n")
    said = avcheckctl("doctor", "--exim")
    assert said.status == 2
    assert "error in line 3" in said.err
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(asking, "LIMIT", 0.3)
    assert "no end within 0.3 s" in avcheckctl("doctor", "--exim").err
    program.unlink()
    assert "is Exim installed here?" in avcheckctl("doctor", "--exim").err
    program.mkdir()
    assert "is Exim installed here?" in avcheckctl("doctor", "--exim").err


def test_doctor_takes_one_mail_system_at_a_time(place: Path) -> None:
    said = avcheckctl("doctor", "--exim", "--postfix")
    assert said.status == 2
    assert "one at a time" in said.err
    said = avcheckctl("doctor", "--exim", "-s", "clamd")
    assert "give none here" in said.err
    assert "no such option" in avcheckctl("ping", "--exim").err.lower()


def test_options_that_mean_nothing_are_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMAND", COMMAND.replace("-s clamd", "-s clamd --dead"))
    (result,) = avcheckctl("doctor", "--exim", "--json").facts
    assert "no such option: --dead" in result["text"]
    assert result["remedy"] == "avcheckctl setup exim"

"""sendmail is asked by its own program, which may say anything, or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avcheck.admin import asking, sendmail_instance
from avcheck.admin.output import Trouble
from tests.support.admin import avcheckctl
from tests.support.servers import packages

SAYS = """\
#!/bin/sh
echo "$*" >>@/asked
echo "$2: line 7: readcf: odd" >&2
echo 'ADDRESS TEST MODE (ruleset 3 NOT automatically invoked)'
while read -r line; do
    echo "$line" >>@/asked
    case "$line" in
    =M) echo "> mailer 9 (avcheck): P=/b/avcheck F=nuh8 L=0 E=x T=x r=1 A=avcheck $ARGUMENTS" ;;
    /parse*) echo '> mailer avcheck, host scan, user x' ;;
    /try\\ *MAILER*) echo 'Rcode = 0, addr = ' ;;
    /try\\ *) echo 'Rcode = 0, addr = anna@example.com' ;;
    esac
done
"""
ARGUMENTS = "-d /s -s clamd -S 127.0.0.1:10026 -f $g -- $u"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    packages.need_root("sendmail is asked by root only")
    program = tmp_path / "sendmail"
    program.write_text(SAYS.replace("@/", f"{tmp_path}/", 2))
    program.chmod(0o755)
    (tmp_path / "avcheck.cf").touch()
    monkeypatch.setattr(sendmail_instance, "PLACES", str(tmp_path))
    monkeypatch.setenv("ARGUMENTS", ARGUMENTS)
    return tmp_path


def test_it_says_where_mail_goes(place: Path) -> None:
    found = sendmail_instance.read(str(place / "avcheck.cf"))
    assert [call.name for call in found.calls] == ["avcheck"]
    assert found.front.hops == (("avcheck", "scan"), ("avcheck", "scan"))
    assert found.front.complaints == ("readcf: odd",)
    assert found.senders == {"avcheck": ("", "anna@example.com")}
    assert found.behind is None
    asked = (place / "asked").read_text().splitlines()
    assert asked[:2] == [f"-C {place}/avcheck.cf -d37.8 -bt", "=M"]


def test_the_one_behind_is_beside_it(place: Path) -> None:
    (place / "sendmail.cf").touch()
    found = sendmail_instance.read(str(place / "avcheck.cf"))
    assert found.behind is not None
    assert found.behind.configuration == str(place / "sendmail.cf")
    found = sendmail_instance.read(str(place / "sendmail.cf"))
    assert found.behind is None


@pytest.mark.parametrize("whose", ["its file", "its directory"])
def test_a_configuration_of_a_strangers_is_not_read(place: Path, whose: str) -> None:
    packages.need_root("a file is given away by root only")
    os.chown(place / "avcheck.cf" if whose == "its file" else place, 65534, -1)
    with pytest.raises(Trouble, match="sendmail wants it to be root's"):
        sendmail_instance.read(str(place / "avcheck.cf"))
    assert not (place / "asked").exists()


def test_a_sendmail_that_is_another_hangs_or_is_not_there(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = f"--sendmail-cf={place}/avcheck.cf"
    program = place / "sendmail"
    program.write_text("#!/bin/sh\necho 'invalid option' >&2\nexit 1\n")
    said = avcheckctl("doctor", option)
    assert said.status == 2
    assert "invalid option" in said.err
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(asking, "LIMIT", 0.3)
    said = avcheckctl("doctor", option)
    assert "no end within 0.3 s" in said.err
    assert "a name with a dot" in said.err
    program.unlink()
    assert "is it installed here?" in avcheckctl("doctor", option).err
    assert "No such file" in avcheckctl("doctor", f"--sendmail-cf={place}/nowhere").err


def test_avchecks_own_option_is_another(place: Path) -> None:
    """A whole command line of avcheck can be pasted, and --sendmail is -S there."""
    said = avcheckctl("doctor", "--sendmail", "127.0.0.1:1", "-s", "clamd", "-d", place, "--json")
    assert said.status == 1
    assert any("127.0.0.1:1" in each["text"] for each in said.facts)
    assert not (place / "asked").exists()


def test_another_account_is_told_to_ask_root(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(Trouble) as told:
        sendmail_instance.read(str(place / "avcheck.cf"))
    assert told.value.remedy == "run this as root"


def test_options_that_mean_nothing_are_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGUMENTS", ARGUMENTS.replace("-s clamd", "-s clamd --dead"))
    (result,) = avcheckctl("doctor", f"--sendmail-cf={place}/avcheck.cf", "--json").facts
    assert "no such option: --dead" in result["text"]
    assert result["remedy"] == "avcheckctl setup sendmail"

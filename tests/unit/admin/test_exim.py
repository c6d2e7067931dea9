"""What avcheckctl setup finds out about the Exim of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from avcheck.admin import exim, guide, pages
from avcheck.admin.commands import setup
from tests.support.tree import ROOT

DOCS = ROOT / "docs"

DEBIAN = """\
# This is a Debian specific file
dc_eximconfig_configtype='local'
dc_local_interfaces='{listens}'
dc_use_split_config='{split}'
"""


def debian(etc: Path, split: str = "false", listens: str = "127.0.0.1 ; ::1") -> Path:
    (etc / "update-exim4.conf.conf").write_text(DEBIAN.format(split=split, listens=listens))
    return etc


@pytest.mark.parametrize(
    ("split", "files"), [("true", exim.SPLIT), ("True", exim.SPLIT), ("false", exim.ONE_FILE)]
)
def test_debian_has_two_forms(tmp_path: Path, split: str, files: dict[str, str]) -> None:
    assert exim.files(debian(tmp_path, split)) == files


def test_a_file_of_ones_own_goes_before_debians(tmp_path: Path) -> None:
    assert exim.files(tmp_path) == exim.OWN
    debian(tmp_path)
    (tmp_path / "exim4.conf").touch()
    assert exim.files(tmp_path) == exim.OWN


@pytest.mark.parametrize(
    ("listens", "then"),
    [
        ("127.0.0.1 ; ::1", "127.0.0.1 ; ::1 ; 127.0.0.1.2626"),
        ("127.0.0.1;::1", "127.0.0.1;::1 ; 127.0.0.1.2626"),
        ("127.0.0.1 : ::::1", "127.0.0.1 : ::::1 : 127.0.0.1.2626"),
        ("192.0.2.1", "192.0.2.1 : 127.0.0.1.2626"),
        ("<+ ::1 + 127.0.0.1", "<+ ::1 + 127.0.0.1 + 127.0.0.1.2626"),
        ("127.0.0.1 ; ", "127.0.0.1 : 127.0.0.1.2626"),
        ("", "0.0.0.0 ; ::0 ; 127.0.0.1.2626"),
        ("::1 ; 127.0.0.1.2626", "::1 ; 127.0.0.1.2626"),
    ],
)
def test_the_second_port_goes_behind_what_is_there(tmp_path: Path, listens: str, then: str) -> None:
    assert exim.interfaces("2626", debian(tmp_path, listens=listens)) == then


def test_without_debians_file_the_list_is_that_of_exim(tmp_path: Path) -> None:
    assert exim.interfaces("2626", tmp_path) == "0.0.0.0 ; ::0 ; 127.0.0.1.2626"


@pytest.mark.parametrize("split", ["true", "false"])
def test_what_is_printed_is_for_the_form_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    etc = debian(tmp_path, split, "192.0.2.1 ; ::1")
    monkeypatch.setattr(exim, "ETC", etc)
    text = CliRunner().invoke(setup.command, ["exim", "--port", "2626"]).output
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert "dc_local_interfaces='192.0.2.1 ; ::1 ; 127.0.0.1.2626'" in lines
    assert not any(line.startswith("local_interfaces") for line in lines)
    for where in exim.files(etc).values():
        assert f"# ---- {where}\n" in text
    assert "# ==== 2. Where the lines go =" in text
    other = {"true": "exim4.conf.template", "false": "cd /etc/exim4/conf.d"}[split]
    assert not any(other in line for line in lines)
    assert "10026" not in text


def test_the_macros_of_debian_say_what_the_options_say() -> None:
    """The page has these values twice."""
    blocks = pages.blocks((DOCS / "exim.md").read_text())
    options = dict(line.split(" = ", 1) for line in blocks["main"].splitlines())
    macros = dict(line.split(" = ", 1) for line in blocks["localmacros"].splitlines())
    for macro, option in (
        ("MAIN_ACL_CHECK_RCPT", "acl_smtp_rcpt"),
        ("MAIN_ACL_CHECK_DATA", "acl_smtp_data"),
        ("MESSAGE_SIZE_LIMIT", "message_size_limit"),
    ):
        assert macros.pop(macro) == options.pop(option)
    del macros["MAIN_SMTPUTF8_ADVERTISE_HOSTS"]  # the option's default is what is needed
    del options["local_interfaces"]  # the block "interfaces"
    assert macros == options


def test_debians_files_are_those_that_the_page_makes() -> None:
    page = (DOCS / "exim.md").read_text()
    for part, where in exim.SPLIT.items():
        if part != "interfaces":
            name = where.removeprefix("/etc/exim4/conf.d/").partition(":")[0]
            assert f"--file {part} >{name}\n" in page


def test_what_all_mail_systems_need_does_not_speak_of_another() -> None:
    for page, section in guide.steps("exim"):
        if page == "postfix":
            for line in guide.explained(section, guide.places("exim")):
                assert "Postfix" not in line

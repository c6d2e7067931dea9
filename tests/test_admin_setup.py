"""avcheckctl setup: the lines of the documents, and nothing else, for this machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from avcheck.admin import setup

DOCS = Path(__file__).parents[1] / "docs"


def printed(*words: str) -> str:
    result = CliRunner().invoke(setup.command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("system", setup.FILES)
def test_every_block_is_in_the_document_and_printed_once(system: str) -> None:
    whole = printed(system)
    for name in setup.FILES[system]:
        part = printed(system, "--file", name)
        assert part
        assert whole.count(f"\n\n{part}\n") == 1, name


@pytest.mark.parametrize("system", setup.FILES)
def test_a_part_is_the_block_of_the_document_but_for_this_machines_names(system: str) -> None:
    names = {setup.PROGRAMS: setup.programs_here(), setup.SOCKET: setup.socket_here()}
    blocks = setup.blocks((DOCS / f"{system}.md").read_text())
    for name in setup.FILES[system]:
        assert printed(system, "--file", name) == setup.adapted(blocks[name], names)


@pytest.mark.parametrize("system", setup.FILES)
def test_what_is_not_configuration_is_a_comment(system: str) -> None:
    lines = printed(system).splitlines()
    configuration = {
        line
        for name in (*setup.FILES[system], *setup.SHARED)
        for line in printed(system, "--file", name).splitlines()
    }
    assert [each for each in lines if not each.startswith("#") and each not in configuration] == [
        each for each in lines if not each
    ]


def test_names_of_this_machine_are_put_in() -> None:
    text = printed(
        *("postfix", "--file", "master.cf", "--spool", "/srv/av", "--clamd", "/run/c.ctl"),
        *("--port", "2626", "--user", "scan", "--group", "scangroup"),
    )
    for words in ("user=scan:scangroup", "-d /srv/av -w /srv/av/wait", "-s clamd:/run/c.ctl"):
        assert words in text
    assert "127.0.0.1:2626 inet" in text
    assert not re.search("avclient|avgroup|10026", text)


def test_a_name_that_was_put_in_is_not_replaced_again() -> None:
    assert setup.adapted("a b", {"a": "b", "b": "c"}) == "b c"


def test_the_socket_is_that_of_clamd_conf(tmp_path: Path) -> None:
    file = tmp_path / "clamd.conf"
    file.write_text("#LocalSocket /no\nTCPSocket 3310\n  LocalSocket /run/here.ctl\n")
    assert setup.socket_here([tmp_path / "missing", file]) == "/run/here.ctl"
    assert setup.socket_here([]) == setup.SOCKET


def test_an_unknown_part_is_a_usage_error_that_names_the_parts() -> None:
    result = CliRunner().invoke(setup.command, ["exim", "--file", "acls"])
    assert result.exit_code == 2
    assert "transport" in result.output


def test_the_documents_are_installed_with_the_package() -> None:
    code = "from avcheck.admin import setup; print(setup.document('exim'))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (DOCS / "exim.md").read_text().strip()


def test_a_document_that_is_missing_is_said_to_be() -> None:
    with pytest.raises(FileNotFoundError, match=r"nobody\.md was not installed"):
        setup.document("nobody")

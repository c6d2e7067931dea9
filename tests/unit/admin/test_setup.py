"""avcheckctl setup: the lines of the documents, and nothing else, for this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from avcheck.admin import master_cf, pages, postfix
from avcheck.admin.commands import setup
from avcheck.admin.output import Trouble
from tests.support.tree import ROOT

DOCS = ROOT / "docs"


def printed(*words: str) -> str:
    result = CliRunner().invoke(setup.command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("system", setup.FILES)
def test_every_block_is_in_the_document_and_printed_once(system: str) -> None:
    whole = printed(system)
    for name in setup.files_here(system):
        part = printed(system, "--file", name)
        assert part
        assert whole.count(f"\n\n{part}\n") == 1, name


@pytest.mark.parametrize("system", setup.FILES)
def test_a_part_is_the_block_of_the_document_but_for_this_machines_names(system: str) -> None:
    names = {setup.PROGRAMS: setup.programs_here(), setup.SOCKET: setup.socket_here()}
    blocks = pages.blocks((DOCS / f"{system}.md").read_text())
    for name in setup.files_here(system):
        assert printed(system, "--file", name) == setup.adapted(blocks[name], names)


@pytest.mark.parametrize("system", setup.FILES)
def test_what_is_not_configuration_is_a_comment(system: str) -> None:
    lines = printed(system).splitlines()
    configuration = {
        line
        for step in json.loads(printed(system, "--json"))["steps"]
        for line in step["text"].splitlines()
    }
    assert [each for each in lines if not each.startswith("#") and each not in configuration] == [
        each for each in lines if not each
    ]


@pytest.mark.parametrize("system", setup.FILES)
def test_words_fit_into_80_columns_and_have_no_marks(system: str) -> None:
    comments = [line for line in printed(system).splitlines() if line.startswith("#")]
    words = [line for line in comments if not line.startswith("#     ")]  # of a log, or a table
    assert [line for line in words if len(line) > 80 and " " in line[2:80].strip()] == []
    assert not [line for line in comments if re.search(r"\*\*|^# \||```|\]\(", line)]


@pytest.mark.parametrize("system", setup.FILES)
def test_the_whole_way_is_printed(system: str) -> None:
    """From the accounts to the trial messages: nothing of it has to be read elsewhere."""
    steps = json.loads(printed(system, "--json"))["steps"]
    found = [step["section"] for step in steps]
    assert set(setup.COMMON) <= set(found)
    assert found[-1] == setup.LAST
    assert {step["name"] for step in steps} >= {*setup.SHARED, *setup.FILES[system]}
    assert all(step["where"] and step["text"] for step in steps)


def test_what_is_set_up_already_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = master_cf.Line("scan", "unix", "10", "pipe", {}, ("user=x", "argv=/b/avcheck"))
    pipe = master_cf.pipe_of(line)
    assert pipe is not None
    monkeypatch.setattr(postfix, "read", lambda: postfix.Postfix((line,), {}, (pipe,)))
    assert "IT IS SET UP ALREADY: master.cf, service scan" in printed("postfix")
    assert json.loads(printed("postfix", "--json"))["set_up"]
    result = CliRunner().invoke(setup.command, ["postfix", "--file", "master.cf"])
    assert "do not add it twice" in result.stderr
    assert "do not add it twice" not in result.stdout
    monkeypatch.setattr(postfix, "read", lambda: postfix.Postfix((), {}, ()))
    assert "ALREADY" not in printed("postfix")
    monkeypatch.setattr(setup, "CONFIGURATION", {"exim": str(tmp_path)})
    assert "ALREADY" not in printed("exim")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "x").write_text(f"command = {master_cf.GUARD} /b/avcheck\n")
    assert f"ALREADY: {tmp_path}/conf.d/x" in printed("exim")


def test_without_postfix_nothing_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> postfix.Postfix:
        raise Trouble("postconf: not found")

    monkeypatch.setattr(postfix, "read", fail)
    assert "ALREADY" not in printed("postfix")


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
    code = "from avcheck.admin import pages; print(pages.document('exim'))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (DOCS / "exim.md").read_text().strip()


def test_a_document_that_is_missing_is_said_to_be() -> None:
    with pytest.raises(FileNotFoundError, match=r"nobody\.md was not installed"):
        pages.document("nobody")

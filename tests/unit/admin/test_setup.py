"""avcheckctl setup: the lines of the documents, and nothing else, for this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from avcheck.admin import calls, guide, master_cf, pages, postfix
from avcheck.admin.commands import setup
from avcheck.admin.output import Trouble
from tests.support.tree import ROOT

DOCS = ROOT / "docs"

# The mail systems and the other ways through Postfix, as words of the command.
SYSTEMS = [*((each,) for each in guide.FILES), *(("postfix", "--way", way) for way in guide.WAYS)]
EACH = pytest.mark.parametrize("words", SYSTEMS, ids=" ".join)


def files(words: tuple[str, ...]) -> list[str]:
    """The blocks that are printed for these words alone."""
    return list(guide.files_here(words[0], words[-1] if words[1:] else guide.PIPE))


def printed(*words: str) -> str:
    result = CliRunner().invoke(setup.command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@EACH
def test_every_block_is_in_the_document_and_printed_once(words: tuple[str, ...]) -> None:
    whole = printed(*words)
    for name in files(words):
        part = printed(*words, "--file", name)
        assert part
        assert whole.count(f"\n\n{part}\n") == 1, name


@EACH
def test_a_part_is_the_block_of_the_document_but_for_this_machines_names(
    words: tuple[str, ...],
) -> None:
    names = {setup.PROGRAMS: setup.programs_here(), setup.SOCKET: setup.socket_here()}
    blocks = pages.blocks((DOCS / f"{words[0]}.md").read_text())
    for name in files(words):
        assert printed(*words, "--file", name) == guide.adapted(blocks[name], names)


@EACH
def test_what_is_not_configuration_is_a_comment(words: tuple[str, ...]) -> None:
    lines = printed(*words).splitlines()
    configuration = {
        line
        for step in json.loads(printed(*words, "--json"))["steps"]
        for line in step["text"].splitlines()
    }
    assert [each for each in lines if not each.startswith("#") and each not in configuration] == [
        each for each in lines if not each
    ]


@EACH
def test_words_fit_into_80_columns_and_have_no_marks(words: tuple[str, ...]) -> None:
    comments = [line for line in printed(*words).splitlines() if line.startswith("#")]
    text = [line for line in comments if not line.startswith("#     ")]  # of a log, or a table
    assert [line for line in text if len(line) > 80 and " " in line[2:80].strip()] == []
    assert not [line for line in comments if re.search(r"\*\*|^# \||```|\]\(", line)]


@pytest.mark.parametrize("system", guide.FILES)
def test_the_whole_way_is_printed(system: str) -> None:
    """From the accounts to the trial messages: nothing of it has to be read elsewhere."""
    steps = json.loads(printed(system, "--json"))["steps"]
    found = [step["section"] for step in steps]
    assert set(guide.COMMON) <= set(found)
    assert found[-1] == guide.LAST
    assert {step["name"] for step in steps} >= {*guide.SHARED, *guide.FILES[system]}
    assert all(step["where"] and step["text"] for step in steps)


@pytest.mark.parametrize("way", guide.WAYS)
def test_a_way_by_smtp_is_printed_from_the_accounts_to_its_own_section(way: str) -> None:
    steps = json.loads(printed("postfix", "--way", way, "--json"))["steps"]
    found = list(dict.fromkeys(step["section"] for step in steps))
    assert found == [*guide.COMMON, guide.WAYS[way].section]
    assert {step["name"] for step in steps} >= {*guide.SHARED, *guide.WAYS[way].files}
    assert not {step["name"] for step in steps} & {*guide.FILES["postfix"], *guide.UNDONE}


def test_other_mail_systems_have_one_way() -> None:
    result = CliRunner().invoke(setup.command, ["exim", "--way", "smtp"])
    assert result.exit_code == 2
    assert "--way is for postfix" in result.output


@pytest.mark.parametrize(
    ("command", "argument", "told"),
    [
        ("spawn", "argv=/opt/avcheck/bin/avcheck-smtp", True),
        ("spawn", "argv=/usr/bin/policy", False),
        ("pipe", "argv=/opt/avcheck/bin/avcheck-smtp", False),
    ],
)
def test_a_filter_by_smtp_that_is_there_is_told(
    monkeypatch: pytest.MonkeyPatch, command: str, argument: str, told: bool
) -> None:
    line = master_cf.Line("127.0.0.1:10025", "inet", "10", command, {}, ("user=x", argument))
    monkeypatch.setattr(postfix, "read", lambda: postfix.Postfix((line,), {}, ()))
    assert ("ALREADY: master.cf, service 127" in printed("postfix", "--way", "smtp")) is told
    words = ["postfix", "--way", "smtp", "--file", "master-smtp"]
    assert ("already there" in CliRunner().invoke(setup.command, words).stderr) is told
    assert "ALREADY" not in printed("postfix")


def test_what_is_set_up_already_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = master_cf.Line("scan", "unix", "10", "pipe", {}, ("user=x", "argv=/b/avcheck"))
    pipe = master_cf.pipe_of(line)
    assert pipe is not None
    monkeypatch.setattr(postfix, "read", lambda: postfix.Postfix((line,), {}, (pipe,)))
    assert "IT IS SET UP ALREADY: master.cf, service scan" in printed("postfix")
    assert json.loads(printed("postfix", "--json"))["set_up"]
    result = CliRunner().invoke(setup.command, ["postfix", "--file", "master.cf"])
    assert "already there: master.cf, service scan" in result.stderr
    assert "already there" not in result.stdout
    result = CliRunner().invoke(setup.command, ["postfix", "--file", "accounts"])
    assert result.stderr == ""
    monkeypatch.setattr(postfix, "read", lambda: postfix.Postfix((), {}, ()))
    assert "ALREADY" not in printed("postfix")
    monkeypatch.setattr(guide, "CONFIGURATION", {"exim": str(tmp_path)})
    assert "ALREADY" not in printed("exim")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "x").write_text(f"command = {calls.GUARD} /b/avcheck\n")
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
    assert guide.adapted("a b", {"a": "b", "b": "c"}) == "b c"


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


@pytest.mark.parametrize("there", ["", "x = y\n", "all of it"])
def test_a_block_that_is_there_is_told_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: str
) -> None:
    """Of a service that is in master.cf main.cf need not know yet."""
    file = tmp_path / "main.cf"
    block = printed("postfix", "--file", "main.cf")
    file.write_text(f"# before\n{block}more = 1\n" if there == "all of it" else there)
    places = {**guide.FILES["postfix"], "main.cf": f"{file}: add"}
    monkeypatch.setattr(guide, "FILES", {**guide.FILES, "postfix": places})
    monkeypatch.setattr(guide, "set_up", lambda system, way: "master.cf, service avcheck")
    result = CliRunner().invoke(setup.command, ["postfix", "--file", "main.cf"])
    assert result.stdout == block
    told = f"avcheckctl: already there: {file}; printed all the same\n"
    assert result.stderr == (told if there == "all of it" else "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--file", "nonsense"), "'nonsense' is not one of 'accounts', "),
        (("--user", "x y"), "'x y' is no name of an account"),
        (("--group", "-x"), "'-x' is no name of an account"),
        (("--spool", "/a b"), "'/a b' is no absolute path"),
        (("--clamd", "run/x"), "'run/x' is no absolute path"),
    ],
)
def test_what_could_not_work_is_wrong_usage(words: tuple[str, str], reason: str) -> None:
    result = CliRunner().invoke(setup.command, ["postfix", *words])
    assert result.exit_code == 2
    assert reason in result.output


def test_the_parts_are_named_in_the_help_and_on_the_page() -> None:
    page = (ROOT / "man" / "avcheckctl.8").read_text()
    help_ = "".join(CliRunner().invoke(setup.command, ["--help"]).output.split())
    for name in {*guide.SHARED, *(name for words in SYSTEMS for name in files(words))}:
        assert name in help_, name
        assert re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", page), name


@pytest.mark.parametrize("system", guide.FILES)
def test_headings_have_the_numbers_that_the_text_names(system: str) -> None:
    headings = re.findall(r"^# ==== (.*?) =+$", printed(system), re.MULTILINE)
    own = [each for each in headings if not each.endswith("(postfix.md)")]
    assert own[0].startswith("1. ")
    shared = [each for each in headings if each not in own]
    assert [each.split()[0] for each in shared] == (
        [] if system == "postfix" else ["2.", "3.", "4."]
    )


def test_a_table_keeps_its_heads_and_words_lose_their_marks() -> None:
    text = "| scanners | time | runs |\n| --- | --- | --- |\n| 1 | 0.4 s | 4 |\n"
    lines = list(pages.wrapped(text, "# "))
    assert lines == ["# scanners: 1", "#     time: 0.4 s", "#     runs: 4"]
    two = "| word | what |\n| --- | --- |\n| `-d` | The *spool* directory. |\n"
    assert list(pages.wrapped(two, "# ")) == ["# -d", "#     The spool directory."]
    assert pages.plain("a *b c* d, 2 * 3 * 4, **e**") == "a b c d, 2 * 3 * 4, e"


@pytest.mark.parametrize("booted", [True, False])
def test_without_systemd_its_words_are_translated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, booted: bool
) -> None:
    monkeypatch.setattr(setup, "BOOTED", str(tmp_path if booted else tmp_path / "no"))
    assert ("service NAME VERB" in printed("postfix")) is not booted

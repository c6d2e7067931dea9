"""What is said twice is the same: rows, modules, transcripts, and the manual page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import avcheck
from avcheck import child, exits, handle, main, policy, scanners
from avcheck.child import Ended
from avcheck.options.rows import OPTIONS
from avcheck.run import Run
from avcheck.scanners import rows
from avcheck.scanners.rows import SCANNERS
from avcheck.verdict import INFECTED, VERDICTS, Answer, Finding
from tests.support.tree import ROOT
from tests.support.wire import new_run, settings, spooled

PAGE = (ROOT / "man" / "avcheck.1").read_text("utf-8")

# The steps of DESCRIPTION, told by a word of each; the modules are those that take it.
STEPS = [
    ("options", "The options are read"),
    ("hold", "waitfile"),
    ("spool", "saved in the spool directory"),
    ("ask", "Every scanner is asked"),
    ("policy", "what is done with the message"),
    ("deliver", "goes back to the mail system"),
    ("handle", "the handler"),
    ("report", "in one line"),
]


def section(title: str) -> str:
    """The lines of a section of the manual page."""
    match = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh )", PAGE, re.MULTILINE | re.DOTALL)
    assert match, title
    return match[1]


def items(text: str) -> Iterator[tuple[str, str]]:
    """Head and text of the items of its lists, the text without macros, on one line."""
    for part in re.split(r"^\.It\b", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        yield head.strip(), plain(body)


def plain(text: str) -> str:
    """The text as it is read: no macros, no line ends."""
    lines = [
        re.sub(r"^\.(?:[A-Z][a-z]\b ?)+", "", line)
        for line in text.splitlines()
        if not re.match(r"\.(Pp|Bl|El|Bd|Ed)\b", line)
    ]
    words = " ".join(lines).replace(r"\-", "-").replace(r"\&", "")
    return re.sub(r" +([.,;:)])", r"\1", " ".join(words.split()))


# Options.


def test_the_page_has_every_option_in_its_spellings_and_no_other() -> None:
    heads = [head for head, _ in items(section("OPTIONS"))]
    rows = []
    for option in OPTIONS:
        argument = f" Ar {option.argument}" if option.argument else ""
        spellings = [f"Fl {option.letter}{argument}"] if option.letter else []
        rows.append(" , ".join([*spellings, f"Fl Fl {option.name}{argument}"]))
    assert heads == rows


def test_every_option_is_explained() -> None:
    for head, text in items(section("OPTIONS")):
        assert len(text) > 15, head


def test_the_page_names_no_option_that_there_is_none_of() -> None:
    ours = PAGE.replace(section("SEE ALSO"), "")
    names = {option.name for option in OPTIONS}
    used = set(re.findall(r"\bFl Fl ([a-z][a-z-]*)", ours))
    assert used <= names


# Exit statuses.


def test_the_page_has_every_exit_status_with_the_table_s_words() -> None:
    page = dict(items(section("EXIT STATUS")))
    assert set(page) == {str(status) for status in exits.TABLE}
    for status, words in exits.TABLE.items():
        assert page[str(status)].startswith(words), status


def test_the_page_has_every_enhanced_code_of_ours() -> None:
    page = {head for head, _ in items(section("DIAGNOSTICS"))}
    codes = {
        value
        for name, value in vars(exits).items()
        if name.isupper() and isinstance(value, str) and re.fullmatch(r"4\.\d\.\d", value)
    }
    assert codes - {exits.REFUSED} <= page  # that one stands for the server's own
    assert page - codes == {"4.*"}


# Verdicts and actions.


def test_the_page_has_every_verdict_worst_first_with_its_action() -> None:
    rows = [
        tuple(re.split(r" Ta ", head))
        for head, _ in items(section("VERDICTS AND ACTIONS"))
        if " Ta " in head and not head.startswith("Em")
    ]
    assert [(row[0], row[2]) for row in rows] == [
        (verdict.name, policy.DEFAULT[verdict]) for verdict in VERDICTS
    ]


def test_the_page_has_every_action() -> None:
    heads = [head for head, _ in items(section("VERDICTS AND ACTIONS")) if head.startswith("Cm ")]
    assert [head.split()[1] for head in heads] == list(policy.ACTIONS)


# The handler.


def test_the_page_has_every_variable_of_the_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: set[str] = set()

    def hand_over(
        run: Run, status: int, argv: object, stdin: int, env: dict[bytes, bytes], directory: int
    ) -> Ended:
        found.update(name.decode() for name in env)
        return Ended(0, b"", late=False)

    monkeypatch.setenv("MAIL_CONFIG", "/etc/postfix")
    monkeypatch.setattr(child, "hand_over", hand_over)
    with spooled(tmp_path) as message:
        how = settings(b"-i", b"/handler")
        answer = Answer("clamd", "", Finding(INFECTED))
        handle.hand_over(message, answer, how, new_run(b"/avcheck"))
    page = [head.removeprefix("Ev ") for head, _ in items(section("HANDLER"))]
    assert sorted(page) == sorted(found)


# Scanners.


def page_of_scanners() -> dict[str, str]:
    """What the page says of each type; an item may have several, separated by commas."""
    return {
        name: text
        for head, text in items(section("SCANNERS"))
        if head.startswith("Cm ")
        for name in head.replace("Cm ", "").replace(",", " ").split()
    }


def test_every_row_has_its_module_and_every_module_a_row() -> None:
    package = Path(scanners.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "rows"}
    parts = {name for name in modules if "_" in name}
    assert {name.partition("_")[0] for name in parts} <= modules - parts
    assert {row.module for row in SCANNERS.values()} == modules - parts


@pytest.mark.parametrize("name", SCANNERS)
def test_a_module_has_the_members_of_a_scanner_and_shows_its_dialogue(name: str) -> None:
    row = SCANNERS[name]
    module = scanners.load(row)
    assert hasattr(module, "run" if row.program else "scan")
    assert any(member.startswith("parse") for member in vars(module))
    assert module.__doc__
    if not row.program:
        assert "C: " in module.__doc__
        assert "S: " in module.__doc__


def test_every_daemon_has_transcripts_and_every_transcript_a_row() -> None:
    directories = {
        path.name
        for path in (ROOT / "tests" / "support" / "transcripts").iterdir()
        if path.is_dir()
    }
    assert directories <= set(SCANNERS)
    played = {SCANNERS[name].module for name in directories}
    assert played == {row.module for row in SCANNERS.values() if not row.program}


def test_the_page_has_every_scanner_and_no_other() -> None:
    assert set(page_of_scanners()) == set(SCANNERS)


@pytest.mark.parametrize("name", SCANNERS)
def test_the_page_says_of_a_scanner_what_its_row_says(name: str) -> None:
    row, text = SCANNERS[name], page_of_scanners()[name]
    if row.help.startswith("Another name for "):
        other = row.help.removeprefix("Another name for ").rstrip(".")
        assert SCANNERS[other].module == row.module
        return
    assert text.startswith(row.help)
    for place in row.where.decode().split(","):
        assert place in text
    for parameter in row.parameters:
        assert parameter in text


@pytest.mark.parametrize("name", SCANNERS)
def test_a_row_makes_sense(name: str) -> None:
    row = SCANNERS[name]
    assert row.ways
    assert set(row.ways) <= {rows.DESCRIPTOR, rows.STREAM, rows.PATH}
    assert row.help.endswith(".")
    assert re.fullmatch("[a-z0-9-]+", name)
    if row.where:
        how = settings(b"-s", name.encode())
        assert how.scanners[-1].type == name


# The journey.


def test_the_page_and_the_package_tell_the_same_journey() -> None:
    told = [text for _, text in items(section("DESCRIPTION"))]
    assert len(told) == len(STEPS)
    for (module, words), text in zip(STEPS, told, strict=True):
        assert words in text, module
    assert avcheck.__doc__
    names = re.findall(r"^    ([a-z]+) ", avcheck.__doc__, re.MULTILINE)
    steps = [module for module, _ in STEPS]
    assert [name for name in names if name in steps] == steps


def test_the_journey_is_that_of_main() -> None:
    """The modules are used in main in the order in which the package lists them."""
    assert avcheck.__doc__
    listed = re.findall(r"^    ([a-z]+) ", avcheck.__doc__, re.MULTILINE)
    assert listed[0] == "main"
    tree = ast.parse(Path(main.__file__).read_text("utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    used: list[str] = []
    for module, attribute in calls(functions["main"], functions):
        if (module, attribute) in SAID_ELSEWHERE:
            continue
        step = STEP_OF.get(module, module)
        if step in listed and step not in used:
            used.append(step)
    wanted = [name for name in listed if name in used]
    assert used == wanted
    # What act imports when it is needed, and what may be refused before, is not called here.
    assert set(wanted) == {"options", "hold", "spool", "ask", "policy", "act", "report"}


def test_the_package_names_every_module() -> None:
    assert avcheck.__doc__
    modules = {path.stem for path in Path(avcheck.__file__).parent.glob("*.py")}
    named = set(re.findall(r"[a-z]+", avcheck.__doc__))
    assert modules - {"__init__", "__main__"} <= named


# The module of a step that is a folder.
STEP_OF = {"reading": "options"}

# What is no step: the end by a refusal, a note for --verbose, and -c, which has no journey.
SAID_ELSEWHERE = {("report", "failure"), ("report", "step"), ("deliver", "inject")}


def calls(node: ast.AST, functions: dict[str, ast.FunctionDef]) -> Iterator[tuple[str, str]]:
    """The calls of functions of modules, in the order in which they are made; -c is left out.

    Those of check are where main calls it.
    """
    for child_ in ast.iter_child_nodes(node):
        if isinstance(child_, ast.If) and "settings.client" in ast.unparse(child_.test):
            continue
        yield from calls(child_, functions)
        if not isinstance(child_, ast.Call):
            continue
        if isinstance(child_.func, ast.Attribute) and isinstance(child_.func.value, ast.Name):
            yield child_.func.value.id, child_.func.attr
        elif ast.unparse(child_.func) == "check":
            yield from calls(functions["check"], functions)

"""The pages of docs/ as avcheckctl reads them: sections, code blocks, and text for 80 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from avcheck.admin import packaged

# What a terminal shows of a line.
WIDTH = 80

# A fenced block: its kind, and the name that some have: ```text master.cf
FENCED = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^(?=## )", re.MULTILINE)
EMPHASIS = re.compile(r"(?<![\w*`])\*([^*`\s](?:[^*`]*[^*`\s])?)\*(?![\w*])")
LINK = re.compile(r"\[([^]]*)\]\(([^)]*)\)")


@dataclass(frozen=True)
class Block:
    """A code block.  Its kind is sh or text; one without a name is an example, or commands."""

    kind: str
    name: str
    text: str


def document(name: str) -> str:
    """The text of docs/NAME.md; raises FileNotFoundError if it was not installed."""
    beside = Path(__file__).parents[2] / "docs" / f"{name}.md"
    if beside.is_file():  # in a copy of the source, and in a package of Debian's
        text = beside.read_text(encoding="utf-8")
        return packaged.as_packaged(text) if packaged.is_packaged() else text
    for file in metadata.files("avcheck") or ():
        if file.parts[-2:] == ("avcheck", f"{name}.md"):
            return Path(str(file.locate())).read_text(encoding="utf-8")
    raise FileNotFoundError(f"share/doc/avcheck/{name}.md was not installed with avcheck")


def blocks(text: str) -> dict[str, str]:
    """The named code blocks of a page."""
    return {found[2]: found[3] for found in FENCED.finditer(text) if found[2]}


def sections(text: str) -> list[str]:
    """The sections of a page, without what stands before the first."""
    return [section for section in SECTION.split(text) if section.startswith("## ")]


def title(section: str) -> str:
    """The heading of a section, without its number."""
    return re.sub(r"^## (\d+\. )?", "", section.partition("\n")[0])


def numbered(section: str) -> str:
    """The heading of a section as it is, for the text names sections by their numbers."""
    return section.partition("\n")[0].removeprefix("## ")


def parts(section: str) -> Iterator[str | Block]:
    """The text and the code blocks of a section, in order, without its heading."""
    text = section.partition("\n")[2]
    end = 0
    for found in FENCED.finditer(text):
        yield text[end : found.start()]
        yield Block(found[1], found[2] or "", found[3])
        end = found.end()
    yield text[end:]


def wrapped(text: str, before: str) -> Iterator[str]:
    """The text of a page as lines for a terminal, each after that; tables become lists."""
    paragraphs = [each for each in re.split(r"\n\s*\n", text.strip("\n")) if each.strip()]
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield before.rstrip()
        lines = paragraph.splitlines()
        if all(line.startswith("|") for line in lines):
            header = _cells(lines[0])
            for line in lines[2:]:  # after its header and the rule below that
                yield from _row(_cells(line), header, before)
        elif lines[0].startswith("- "):
            for item in re.split(r"^- ", paragraph, flags=re.MULTILINE)[1:]:
                yield from _filled(item, f"{before}- ", f"{before}  ")
        else:
            yield from _filled(paragraph, before, before)


def _cells(line: str) -> list[str]:
    return [plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def _row(cells: list[str], header: list[str], before: str) -> Iterator[str]:
    """A row as a list; of more than two columns each cell after the head of its column."""
    if len(cells) > 2:
        pairs = zip(header, cells, strict=False)
        cells = [f"{head}: {cell}" if head else cell for head, cell in pairs]
    yield f"{before}{cells[0]}"
    for cell in cells[1:]:
        yield from _filled(cell, f"{before}    ", f"{before}    ")


def _filled(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        plain(" ".join(text.split())),
        WIDTH - 1,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def plain(text: str) -> str:
    """A text without the marks of Markdown."""
    text = EMPHASIS.sub(r"\1", LINK.sub(_named, text))
    return text.replace("**", "").replace("`", "").lstrip("# ")


def _named(link: re.Match[str]) -> str:
    return link[1] if link[1] == link[2] else f"{link[1]} <{link[2]}>"

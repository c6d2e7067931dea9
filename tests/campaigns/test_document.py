"""docs/faults.md: a campaign rewrites its own section and no other."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.campaigns import document
from tests.campaigns.faults import page as faults_page
from tests.campaigns.rot import page as rot_page


def test_a_section_is_added_at_the_end_and_then_replaced(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    document.section("One", "first\n\n### Part\n\ntext\n", page)
    document.section("Two", "second", page)
    document.section("One", "short", page)
    assert page.read_text() == f"{document.INTRODUCTION}\n## One\n\nshort\n\n## Two\n\nsecond\n"


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    sections = {"One": "### Part\n\n| a |\n|---|", "Two": "text ## not a heading\n#hash"}
    assert document.sections_of(document.rendered(sections)) == sections


def test_a_text_with_a_heading_of_its_own_rank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        document.section("One", "text\n## Two\n", tmp_path / "faults.md")


def test_the_page_is_made_of_sections() -> None:
    page = document.PAGE.read_text()
    assert page == document.rendered(document.sections_of(page))


@pytest.mark.parametrize("page", [faults_page, rot_page], ids=["faults", "rot"])
def test_the_page_has_the_words_that_a_campaign_would_write(page: ModuleType) -> None:
    """So that neither is mended without the other; what has numbers in it is the campaign's."""
    written = " ".join(document.PAGE.read_text().split())
    for paragraph in page.TEXT.split("\n\n"):
        if "{" not in paragraph:
            assert " ".join(paragraph.split()) in written

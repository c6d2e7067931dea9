"""Every target with the inputs that are kept, and with what hypothesis makes of them.

The long form, guided by coverage, is `make fuzz`.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from avcheck.exits import Usage
from avcheck.verdict import CLEAN, FAILED, INFECTED
from tests.campaigns.fuzz import corpus, on_scanners
from tests.campaigns.fuzz.letter import letter
from tests.campaigns.fuzz.notation import items, mark, quoted
from tests.campaigns.fuzz.sabotage import SABOTAGES
from tests.campaigns.fuzz.targets import TARGETS
from tests.unit.scanners import test_transcripts

# How many inputs hypothesis makes, also of the targets that start processes.
EXAMPLES = 100
SLOW_EXAMPLES = 5

MARKS = [mark(kind) for kind in ",|~!p/"]


@st.composite
def mutated(draw: st.DrawFn, known: list[bytes]) -> bytes:
    """One of the known inputs with some changes, parts of another one among them."""
    data = draw(st.sampled_from(known))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = at + draw(st.integers(0, 8))
        other = draw(st.sampled_from(known))
        first = draw(st.integers(0, len(other)))
        part = other[first : first + draw(st.integers(1, 30))]
        new = draw(st.one_of(st.binary(max_size=3), st.sampled_from(MARKS), st.just(part)))
        data = data[:at] + new + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_breaks_nothing(name: str) -> None:
    known = corpus.kept(name)
    assert known
    for data in known:
        TARGETS[name].one(data)


# What the campaign has found, named after what was wrong.
FOUND = sorted(corpus.CORPUS.glob(f"*/{corpus.FOUND}*"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_broke_it_once_does_not_any_more(path: Path) -> None:
    data = path.read_bytes()
    TARGETS[path.parent.name].one(data)
    scanner = path.parent.name.removeprefix("scan-")
    if scanner in on_scanners.VARIANTS:  # what it says is none of its answers
        finding = on_scanners.asked(on_scanners.VARIANTS[scanner][0], items(data[1:]))
        assert finding.verdict in (FAILED, INFECTED)  # never clean


def test_a_wrong_length_of_an_answer_is_said_to_be_wrong() -> None:
    """Neither does it come as a bug, nor is it waited for."""
    for name in ("length-of-5000-digits", "length-with-zeros-before-it"):
        data = (corpus.CORPUS / "scan-kse" / (corpus.FOUND + name)).read_bytes()
        finding = on_scanners.asked(on_scanners.VARIANTS["kse"][0], items(data[1:]))
        assert "more than 8192 bytes" in finding.text


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_made_of_it_breaks_nothing(name: str) -> None:
    @hypothesis.settings(max_examples=SLOW_EXAMPLES if TARGETS[name].slow else EXAMPLES)
    @hypothesis.given(mutated(corpus.kept(name)))
    def breaks_nothing(data: bytes) -> None:
        TARGETS[name].one(data)

    breaks_nothing()


@pytest.mark.parametrize("name", SABOTAGES)
def test_what_is_broken_on_purpose_is_found(name: str) -> None:
    sabotage = SABOTAGES[name]
    with ExitStack() as broken:
        for each in sabotage.patches:
            broken.enter_context(each)
        assert any(_breaks(sabotage.target, data) for data in corpus.inputs(sabotage.target))


def _breaks(name: str, data: bytes) -> bool:
    try:
        TARGETS[name].one(data)
    except Exception:
        return True
    return False


@pytest.mark.parametrize("dialogue", test_transcripts.DIALOGUES, ids=str)
def test_a_peer_without_a_socket_is_like_one_with(dialogue: test_transcripts.Dialogue) -> None:
    """What is found out with notation.py and peer.py is true of the wire."""
    place = dialogue.scanner, dialogue.way, dialogue.where
    fuzzed = on_scanners.VARIANTS[dialogue.scanner]
    # At a place that is not fuzzed nobody else knows what is clean; the dialogue says it.
    other = on_scanners.Variant(*place, lambda said: dialogue.verdict is CLEAN)
    variant = next((each for each in fuzzed if (each.type, each.way, each.where) == place), other)
    try:
        assert variant.settings
    except Usage:  # nobody is asked at such a place, and nobody is clean
        assert dialogue.verdict is FAILED
        return
    said = mark("|").join(map(quoted, test_transcripts.steps(dialogue, letter())))
    finding = on_scanners.asked(variant, items(said))
    assert (finding.verdict, finding.names) == (dialogue.verdict, dialogue.names)

"""Some bytes of the replies of clamd and of mail servers spoilt; `make rot` does all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.campaigns.faults.oracle import DONE, DOUBTFUL, KEPT
from tests.campaigns.rot import campaign, clamdscan, oracle, page
from tests.campaigns.rot.campaign import Result
from tests.campaigns.rot.kinds import CUT, FLIP, HALF, SPLIT, THERE, Rot
from tests.campaigns.rot.middle import Conversation
from tests.campaigns.rot.places import Place
from tests.campaigns.rot.scenes import SCENES, Daemons

WORKERS = 4

Plan = Callable[[Place, Conversation], Iterator[Rot]]


@pytest.fixture(scope="module")
def daemons() -> Iterator[Daemons]:
    with tempfile.TemporaryDirectory(prefix="avcheck-rot-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Daemons(directory) as servers:
            yield servers


def carry_out(name: str, plan: Plan, command: Path, daemons: Daemons) -> list[Result]:
    # clamd looks nowhere else.
    with tempfile.TemporaryDirectory(prefix="test-", dir=daemons.directory) as directory:
        Path(directory).chmod(0o755)
        results = campaign.carry_out(name, command, Path(directory), daemons, plan, WORKERS)
    broken = [
        (str(result.rot), result.text, result.run.ended, result.run.conversations)
        for result in results
        if result.text
    ]
    assert broken == []
    return results


def outcomes(results: list[Result], *kinds: str) -> list[str]:
    return [result.outcome for result in results if result.rot.kind in kinds]


# Of the longer conversations, one in so many is struck.  Nothing else divides it, so that each
# kind has its turn.
EVERY = 13
FEW = 40


def few(plan: Plan) -> Plan:
    """The first of the plan, and then the same ones each time."""

    def fewer(place: Place, whole: Conversation) -> Iterator[Rot]:
        rots = list(plan(place, whole))
        yield from rots if len(rots) <= FEW else rots[::EVERY]

    return fewer


@pytest.mark.parametrize("name", [name for name in SCENES if not name.startswith("c-icap")])
def test_a_reply_that_rots_breaks_no_promise(name: str, command: Path, daemons: Daemons) -> None:
    results = carry_out(name, few(campaign.replies), command, daemons)
    assert {KEPT, DOUBTFUL} & set(outcomes(results, CUT))
    # What comes in pieces is what comes.
    assert set(outcomes(results, SPLIT)) <= {KEPT if "refuses" in name else DONE}
    if name.startswith("clamd, stream"):
        delivered = [result.rot.kind for result in results if result.run.delivered]
        assert set(delivered) == (set() if "infected" in name else {SPLIT, CUT})


@pytest.mark.parametrize("name", ["clamd, stream (TCP), infected", "SMTP, a sink"])
def test_words_cut_off_on_their_way_break_no_promise(
    name: str, command: Path, daemons: Daemons
) -> None:
    results = carry_out(name, few(campaign.requests), command, daemons)
    assert KEPT in outcomes(results, CUT)
    assert KEPT in outcomes(results, HALF)


def test_what_nobody_can_notice_clamdscan_does_not_notice_either(
    command: Path, daemons: Daemons, tmp_path: Path
) -> None:
    """A byte of the virus changed on the way to clamd.

    (One of the size in front of it is noticed: what is ours is longer than a byte can say,
    so none makes nothing of it, and what comes after a shorter piece is no size.)
    """

    def plan(_: Place, whole: Conversation) -> Iterator[Rot]:
        for word in (b"EICAR", b"STANDARD", b"ANTIVIRUS"):
            yield Rot(THERE, whole.there.said.index(word), FLIP, 1)

    results = carry_out("clamd, stream (TCP), infected", plan, command, daemons)
    assert {result.outcome for result in results} == {oracle.BLIND}
    rots = [result.rot for result in results]
    assert clamdscan.compare(rots, daemons.clamd, tmp_path / "clamdscan", WORKERS) == len(rots) == 3


def test_the_page_counts() -> None:
    tallies = {
        "clamd": {("cut, back", DONE): 2, ("cut, there", oracle.BLIND): 1},
        "SMTP": {("cut, back", campaign.VIOLATION): 3},
    }
    text = page.text(tallies, tried=1, same=1)
    assert "6 runs, 3 violations." in text
    assert "| **all** | 6 | 2 | 1 | 3 |" in text
    assert "| cut, back | 2 | 2 | 0 | 0 |" in text
    assert "says OK as well: 1 of 1." in text

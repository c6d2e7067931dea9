"""By avcheck-smtp, after the queue and before it, a message arrives as it does without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.fidelity import CASES
from tests.live.recipe import MailSystem
from tests.live.smtpd import Way, way
from tests.live.test_dkim import CANONICALIZATIONS, LETTERS, Signer
from tests.live.test_fidelity_live import without_received
from tests.support.servers.queue import submit

# smtp(8) on the way to the next hop, and cleanup(8), change nothing by themselves.
MAIN = """\
smtp_line_length_limit = 0
header_size_limit = 20000000
cleanup_replace_stray_cr_lf = no
"""

# A dot between two CRs: some servers take that for the end, and so it is not passed on.
AMBIGUOUS = "CR within a line"


@pytest.fixture(scope="module", params=["after", "before"])
def filtered(request: pytest.FixtureRequest, mail_system: MailSystem) -> Iterator[Way]:
    label = f"smtpd-fidelity-{request.param}"
    with way(mail_system, request.param, main=MAIN, label=label) as found:
        yield found


@pytest.mark.parametrize("name", [each for each in CASES if each != AMBIGUOUS])
def test_a_message_arrives_as_it_does_without_avcheck(
    filtered: Way, mail_system: MailSystem, name: str
) -> None:
    arrived = []
    for port in (filtered.port, filtered.unfiltered):
        mail_system.sink.take()
        submit(port, "anna@example.com", ["bert@example.net"], CASES[name].wire)
        mail_system.sink.wait_for(1)
        (received,) = mail_system.sink.take()
        arrived.append(without_received(received.data))
    assert arrived[0] == arrived[1]


def test_what_can_be_read_in_two_ways_is_not_passed_on(
    filtered: Way, mail_system: MailSystem
) -> None:
    mail_system.sink.take()
    message = CASES[AMBIGUOUS].wire
    sent = filtered.send(message)
    if filtered.before:
        assert sent.code == 550
        assert "Ambiguous.End-of-data" in sent.words
        assert mail_system.sink.take() == []
        return
    (outcome,) = filtered.postfix.wait_for_outcomes(sent.queue_id)
    assert "status=sent (250 2.0.0 unscannable: Ambiguous.End-of-data; infected.sh" in outcome
    mail_system.settle(filtered.postfix)
    assert mail_system.delivered(message) == []
    assert len(mail_system.quarantined(message)) == 1


@pytest.mark.parametrize("how", CANONICALIZATIONS, ids=["simple", "relaxed"])
def test_signatures_are_still_good(
    filtered: Way, mail_system: MailSystem, how: tuple[bytes, bytes]
) -> None:
    signer = Signer()
    mail_system.sink.take()
    for make in LETTERS.values():
        submit(filtered.port, "anna@example.com", ["bert@example.net"], signer.signed(make(), how))
    arrived = mail_system.sink.wait_for(len(LETTERS))
    assert [each for each in arrived if not signer.verifies(each.data)] == []

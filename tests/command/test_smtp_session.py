"""avcheck-smtp: one connection on standard input, as spawn(8) has it."""

from __future__ import annotations

from tests.support.mta import MAIL, RECIPIENT, SENDER, Site
from tests.support.smtp_client import CONTENT, spawn


def test_a_clean_message_is_passed_on_with_the_next_hop_s_words(site: Site) -> None:
    hop = site.smtp()
    with spawn(site) as talk:
        talk.hello()
        assert talk.send() == b"250 2.0.0 taken\r\n"
        talk.quit()
    [letter] = hop.messages
    assert letter.data == CONTENT
    assert letter.sender == b"<%b>" % SENDER
    assert letter.recipients == (RECIPIENT,)
    assert site.left == []

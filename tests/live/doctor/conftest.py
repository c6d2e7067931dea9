"""A Postfix and a clamd that doctor finds nothing wrong with, for one fault at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.doctor.seeded import Seeded, seeded
from tests.live.recipe import MailSystem


@pytest.fixture(scope="module")
def whole(mail_system: MailSystem) -> Iterator[Seeded]:
    with seeded(mail_system) as made:
        yield made


@pytest.fixture
def site(whole: Seeded) -> Iterator[Seeded]:
    with whole.intact_afterwards():
        yield whole

"""avcheckctl doctor: the attributes of pipe(8), before argv=."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from avcheck.admin.look import ERROR, OK, Look
from tests.support.doctor_site import Site, found, levels, text


@pytest.mark.parametrize(
    ("attribute", "level", "said", "remedy"),
    [
        ("size=10240000", OK, "", ""),
        ("size=0", OK, "", ""),
        ("size=1000000", ERROR, "takes messages of 9.8M, and those", "size=0"),
        ("chroot=/jail", ERROR, "finds avcheck nowhere", "remove chroot=/jail from avcheck"),
        ("directory=/", OK, "", ""),
        ("directory=/root/nodir", ERROR, "cannot go there", "directory=/"),
    ],
)
def test_attributes_of_the_pipe(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    attribute: str,
    level: str,
    said: str,
    remedy: str,
) -> None:
    site.change("flags=q", f"{attribute} flags=q")
    monkeypatch.setattr(Look, "acting", lambda self: nullcontext())
    look = site.look()
    assert levels("pipe_attributes", look) == {level}
    assert said in text("pipe_attributes", look)
    assert found("pipe_attributes", look)[0].remedy == remedy


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ([], "receive_override_options = no_address_mappings,no_milters"),
        (
            ["receive_override_options=no_header_body_checks"],
            "smtp inet ... smtpd\n"
            "    -o receive_override_options=no_address_mappings,no_header_body_checks",
        ),
    ],
)
def test_where_a_door_is_told_not_to_expand_aliases(
    site: Site, options: list[str], remedy: str
) -> None:
    site.main["receive_override_options"] = "no_milters"
    lines = "".join(f"    -o {each}\n" for each in options)
    site.change("-       -       smtpd\n", f"-       -       smtpd\n{lines}")
    (result, *_) = found("filter_mappings", site.look())
    assert result.remedy == remedy


def test_a_size_where_there_is_no_limit(site: Site) -> None:
    site.main["message_size_limit"] = "0"
    site.change("flags=q", "size=50000000 flags=q")
    assert "messages of any size" in text("pipe_attributes", site.look())

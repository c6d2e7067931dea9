"""avcheckctl doctor: which conditions of a router are certain to let no mail past."""

from __future__ import annotations

import pytest

from avcheck.admin.exim_conditions import certain

# Of mail that comes in at port 25.
CONDITIONS = {
    "": False,
    "true": True,
    "No": False,
    "${if !eq{$received_port}{10026}}": True,
    "${if ! eq {${received_port}} {10026} {yes} {no}}": True,
    "${if eq{$received_port}{10026}{no}{yes}}": True,
    "${if eq{$received_port}{10026}fail{yes}}": None,
    "${if eq{$received_port}{10026}{false}{1}}": True,
    "${if eq{$received_port}{10026}{${if eq{1}{1}}}{yes}}": True,
    "${if !={$received_port}{10026}}": True,
    "${if != {$interface_port}{25}}": False,
    "${if inlist{$received_port}{10026:10027}{}{yes}}": True,
    "${if !inlist{$received_port}{<; 25 ; 10027}}": False,
    "${if !match{$received_port}{\\N^1002\\d$\\N}}": True,
    "${if match{$received_port}{^25\\$}}": True,
    "${if match{$received_port}{$x}}": None,
    "${if match{$received_port}{\\N(\\N}}": None,
    "${if !eq{$received_protocol}{scanned-ok}}": True,
    "${if !eq{$received_protocol}{esmtp}}": None,
    "${if !eq{$received_protocol}{$x}}": None,
    "${if !and{{eq{$received_port}{10026}}{eq{$sender_host_address}{127.0.0.1}}}}": True,
    "${if or{{!eq{$received_port}{10026}}{def:h_X-Scanned:}}}": True,
    "${if and{{!eq{$received_port}{10026}}{!def:h_X-Scanned:}}}": None,
    "${if and{{bool_lax{${if !eq{$received_port}{10026}}}}{bool_lax{true}}}}": True,
    "${if and{{bool_lax{${if !eq{$received_port}{10026}}}}{bool{$acl_m0}}}}": None,
    "${if !def:h_Mime-Version:}": None,
    "${if !def:sender_host_authenticated {yes}{no}}": None,
    "${if def:sender_host_authenticated {yes}{yes}}": True,
    "${if <{$message_size}{100}}": None,
    "${if !eq{$acl_m_noscan}{1}}": None,
    "${if exists{/etc/scan}}": None,
    "${if forany{1:2}{eq{$item}{3}}{no}{yes}}": None,
    "${if first_delivery}": None,
    "${if unheard_of{x}{y}{z}}": None,
    "${lookup{$domain}lsearch{/etc/x}{yes}{no}}": None,
    "${if eq{$received_port}{10026}{no}{yes}}${acl_m0}": None,
    "${if eq{$received_port}": None,
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_what_is_certain_of_mail_from_a_port(text: str) -> None:
    assert certain(text, "25") is CONDITIONS[text]


def test_the_way_back_is_not_what_the_condition_is_for() -> None:
    assert certain("${if !eq{$received_port}{10026}}", "10026") is False
    assert certain("${if eq{$received_port}{10026}}", "10026") is True

"""avcheckctl doctor: the checks of what is done with mail, each made to fire and made not to."""

from __future__ import annotations

import os
import pwd
import re
from typing import Any

import pytest

from avcheck.admin import checks
from avcheck.admin.checks import handling
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look
from avcheck.admin.services import Service
from tests.support.doctor_site import (
    SOMEBODY,
    Site,
    found,
    levels,
    text,
)


def test_deadlines(site: Site) -> None:
    assert levels("deadline", site.own()) == {OK}
    assert levels("deadline", site.own("--deadline 0")) == {WARNING}
    assert levels("deadline", site.own("-t 500 --deadline 450")) == {WARNING}


def test_programs(site: Site) -> None:
    assert levels("program", site.own()) == {OK}
    (site.bin / "avcheck").chmod(0o644)
    assert levels("program", site.own()) == {ERROR}
    (site.bin / "avcheck").unlink()
    assert levels("program", site.own()) == {ERROR}
    unknown = Look(Service("x", site.own().settings))
    assert levels("program", unknown) == set()
    assert levels("handler", unknown) == {WARNING}
    assert "was not looked at" in text("handler", unknown)


def test_handlers(site: Site) -> None:
    assert levels("handler", site.own()) == {OK}
    assert levels("handler", site.own("-i /nowhere/at/all")) == {ERROR}
    (site.bin / "infected.sh").unlink()
    assert levels("handler", site.own()) == {ERROR}
    verdicts = ("infected", "suspicious", "policy", "encrypted", "unscannable")
    assert levels("handler", site.own(" ".join(f"--on {each}=defer" for each in verdicts))) == set()


def test_a_handler_that_cannot_be_run(site: Site) -> None:
    handler = site.bin / "infected.sh"
    handler.write_text("#!\n")
    assert "needs #!, which cannot be run" in text("handler", site.own())
    handler.unlink()
    os.mkfifo(handler, 0o755)
    assert "infected.sh) is no file: infected mail" in text("handler", site.own())
    handler.unlink()
    assert "infected.sh) is not there: infected mail" in text("handler", site.own())


def test_a_quarantine_that_is_a_link(site: Site) -> None:
    """Nobody is told to name where it leads: a stranger may have chosen that."""
    (site.spool / "q").symlink_to("/etc")
    for each in found("quarantine", site.own("--on infected=quarantine:@spool/q")):
        assert "/etc" not in each.remedy


def test_quarantines(site: Site) -> None:
    look = site.own("--on infected=quarantine:@spool/q")
    assert levels("quarantine", site.own()) == set()  # the handler keeps none
    assert levels("quarantine", look) == {OK}
    (site.spool / "q").mkdir(mode=0o700)
    assert levels("quarantine", look) == {OK}
    (site.spool / "q").chmod(0o755)
    assert levels("quarantine", look) == {ERROR}
    (site.spool / "q").chmod(0o700)
    assert levels("quarantine", site.own("--on infected=quarantine:/nowhere/q")) == {ERROR}


@pytest.mark.parametrize("how", ["--on infected=quarantine:@spool/q", "script", "settings"])
def test_a_quarantine_that_is_not_ours_to_write_to(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Root's, for instance: looked at by its owner, and it is safe, but nothing is stored there."""
    (site.bin / "infected.sh").write_text("#!/bin/sh\nquarantine=q\n")
    if how == "settings":
        (site.bin / "infected.sh").write_text("#!/bin/sh\nquarantine=elsewhere\n")
        file = site.directory / "infected.conf"
        file.write_text("# here\nquarantine='q'\n")
        monkeypatch.setattr(handling, "SETTINGS", os.fsencode(file))
    look = site.own(how if how.startswith("-") else "")
    (site.spool / "q").mkdir(mode=0o700)
    assert levels("quarantine", look) == {OK}
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: False)
    assert levels("quarantine", look) == {ERROR}
    remedies = [result.remedy for result in found("quarantine", look)]
    assert all(f"chown -h avclient {site.spool}/q" in remedy for remedy in remedies)


def test_where_entries_are_made_is_not_ours_to_write_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = site.own("--on infected=quarantine:@spool/q")
    (site.spool / "q").mkdir(mode=0o700)
    (site.spool / "q" / ".new").mkdir(mode=0o700)
    assert levels("quarantine", look) == {OK}
    real = os.access

    def access(path: Any, mode: int, *, effective_ids: bool = False) -> bool:
        new = os.fsencode(path).endswith(b"/.new")
        return not new and real(path, mode, effective_ids=effective_ids)

    monkeypatch.setattr(os, "access", access)
    (result,) = found("quarantine", look)
    assert result.level == ERROR
    assert "/q/.new: not writable" in result.text
    assert result.remedy == f"mv -T {site.spool}/q {site.spool}/q.old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_quarantine_of_roots_in_the_accounts_spool(site: Site) -> None:
    """As the undo of docs/postfix.md leaves it."""
    site.change("--deadline", "--on infected=quarantine:@spool/q --deadline")
    os.chown(site.spool, pwd.getpwnam(SOMEBODY).pw_uid, -1)
    site.directory.chmod(0o755)
    (site.spool / "q").mkdir(mode=0o700)
    result, *_ = found("quarantine", site.look())
    assert result.level == ERROR
    assert "belongs to root, and avcheck cannot store in it" in result.text
    assert result.remedy == f"mv -T {site.spool}/q {site.spool}/q.old"


def test_no_remedy_hands_anything_to_root(site: Site) -> None:
    site.user = "root"
    site.spool.rmdir()
    for name in ("spool_usable", "spool_owner", "quarantine"):
        for result in found(name, site.look()):
            assert not re.search("chown.*root|-o root", result.remedy), result


@pytest.mark.parametrize("whose", ["the service's", "the spool's", "nobody can tell"])
def test_an_account_that_is_not_avchecks_is_told_to_ask_root(
    site: Site, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """What it sees itself says nothing about the account that runs avcheck."""
    look = site.look() if whose == "the service's" else site.own()
    real = os.stat

    def stat(path: str | bytes, **words: Any) -> os.stat_result:
        if os.fsencode(path) != os.fsencode(site.spool):
            return real(path, **words)
        if whose == "nobody can tell":
            raise PermissionError(13, "Permission denied", path)
        return os.stat_result((*real(path)[:4], 3999999998, *real(path)[5:]))

    monkeypatch.setattr(os, "geteuid", lambda: 3999999997)
    monkeypatch.setattr(os, "stat", stat)
    seen = ("spool", "scanner", "handling")
    for check in checks.CHECKS:
        if check.__module__.rpartition(".")[2] not in seen:
            continue
        for result in checks.results(check, look):
            assert result.level in (OK, SKIPPED), result
            assert "install" not in result.remedy
    (result,) = found("spool_usable", look)
    assert (result.level, result.remedy) == (SKIPPED, "run this as root")


def test_what_is_delivered(site: Site) -> None:
    assert levels("delivers_unproved", site.own()) == {OK}
    look = site.own("--on failed=deliver")
    assert levels("delivers_unproved", look) == {WARNING}
    (result,) = found("delivers_unproved", look)
    assert result.remedy == "--on failed=defer"

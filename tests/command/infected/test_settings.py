"""The settings of scripts/infected.sh, and what it refuses."""

from __future__ import annotations

import os

import pytest

from tests.support.infected_site import MAIL, ROOT, Site

# Settings


def test_the_settings_file_is_obeyed(site: Site) -> None:
    elsewhere = site.directory / "else where"
    site.quarantine = elsewhere
    site.configure(
        f"# where\nquarantine={elsewhere}\n\n  notify = x\nnotify=abuse@example.org root\n"
        "host='mx.example.org'\nfrom=\"Guard\" <guard@example.org>\nexcerpt=0\npatience=5"
    )
    status, err = site.run()
    assert status == 75
    assert "no such setting: notify " in err  # blanks around "=" are not taken for nothing

    site.configure(site.settings.read_text().replace("  notify = x\n", ""))
    assert site.run() == (0, "")
    site.assert_stored()
    argv, mail, text = site.report()
    assert argv == [b"-i", b"-f", b"", b"--", b"abuse@example.org", b"root"]
    assert mail["To"] == "abuse@example.org, root@mx.example.org"
    assert mail["From"] == '"Guard" <guard@example.org>'
    assert "@mx.example.org>" in mail["Message-ID"]
    assert " | " not in text
    assert site.about()["host"] == "mx.example.org"


def test_nobody_need_be_told(site: Site) -> None:
    site.configure("notify=\n")
    del site.environment["SENDMAIL"]
    assert site.run() == (0, "")
    site.assert_stored()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("quarantin=/tmp\n", "no such setting"),
        ("quarantine=\n", "is empty"),
        ("quarantine\n", "name=value"),
        ("excerpt=-1\n", "not a number"),
        ("excerpt=10000000\n", "not a number"),
        ("patience=1m\n", "not a number"),
        ("PATH=/tmp\n", "no such setting"),
        ("$(touch oops)=1\n", "no such setting"),
    ],
)
def test_a_wrong_setting_defers(site: Site, text: str, why: str) -> None:
    site.configure(text)
    status, err = site.run()
    assert status == 75
    assert why in err
    site.assert_untouched()
    assert not (site.spool / "oops").exists()


def test_a_setting_is_not_run_as_a_program(site: Site) -> None:
    site.configure("host=$(touch oops)`touch oops`;touch oops\n")
    assert site.run() == (0, "")
    assert site.about()["host"] == "$(touch oops)`touch oops`;touch oops"
    assert not (site.spool / "oops").exists()


@pytest.mark.parametrize("what", ["group", "others", "owner", "directory", "link", "dangling"])
def test_settings_that_others_could_write_are_refused(site: Site, what: str) -> None:
    if what == "owner" and not ROOT:
        pytest.skip("only root can give a file away")
    site.configure("host=mx\n")
    if what == "group":
        site.settings.chmod(0o664)
    if what == "others":
        site.settings.chmod(0o646)
    if what == "owner":
        os.chown(site.settings, 65534, -1)
    if what == "directory":
        site.settings.parent.chmod(0o777)
    if what in ("link", "dangling"):
        site.settings.rename(site.directory / "real")
        site.settings.symlink_to(site.directory / ("real" if what == "link" else "none"))
    status, err = site.run()
    assert status == 75
    assert "must be owned by root" in err
    site.assert_untouched()


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o702, 0o704, 0o720, 0o777])
def test_a_quarantine_open_to_others_is_refused(site: Site, mode: int) -> None:
    site.quarantine.mkdir()
    site.quarantine.chmod(mode)
    status, err = site.run()
    assert status == 75
    assert "closed to others" in err
    site.assert_untouched()


def test_a_group_may_read_the_quarantine(site: Site) -> None:
    site.quarantine.mkdir()
    site.quarantine.chmod(0o750)
    assert site.run() == (0, "")
    site.assert_stored()


@pytest.mark.parametrize("what", ["file", "link", "dangling"])
def test_only_a_directory_is_a_quarantine(site: Site, what: str) -> None:
    real = site.directory / "real"
    real.mkdir(mode=0o700)
    if what == "file":
        site.quarantine.touch()
    else:
        site.quarantine.symlink_to(real if what == "link" else site.directory / "none")
    status, err = site.run()
    assert status == 75
    assert "directory" in err
    assert list(real.iterdir()) == []
    assert site.message.read_bytes() == MAIL

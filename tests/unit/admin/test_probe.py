"""avcheckctl probe, and the mails that it sends."""

from __future__ import annotations

import base64
import email
import io
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from avcheck.admin import samples, trials
from avcheck.admin.archives import EICAR
from avcheck.admin.clamdconf import Conf
from avcheck.admin.progress import Progress
from avcheck.admin.samples import SAMPLES
from avcheck.seen import FRONT
from tests.support.admin import KnowingClamd, avcheckctl, holds_virus
from tests.unit.admin.test_ping import HungClamd

SMALL = {
    "MaxFileSize": 2_000_000,
    "MaxScanSize": 4_000_000,
    "StreamMaxLength": 2_000_000,
    "MaxRecursion": 4,
    "MaxFiles": 20,
}

# The version of the format that whoever unpacks a ZIP64 entry needs.
ZIP64 = 45


def sample(name: str) -> bytes:
    (found,) = [each for each in SAMPLES if each.name == name]
    return b"".join(found.make(SMALL))


def attachment(name: str) -> bytes:
    for part in email.message_from_bytes(sample(name)).walk():
        if part.get_filename():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            return content
    raise AssertionError(name)


def test_eicar_is_eicar_and_not_in_our_files() -> None:
    from tests.support import letters

    assert letters.EICAR == EICAR
    for file in Path(samples.__file__).parent.glob("*.py"):
        assert EICAR not in file.read_bytes()


@pytest.mark.parametrize("name", [each.name for each in SAMPLES])
def test_each_mail_is_lines_with_an_end(name: str) -> None:
    mail = sample(name)
    assert mail.count(b"\r") == 0
    assert max(map(len, mail.split(b"\n"))) < 998


def test_the_archives_hold_the_virus() -> None:
    with zipfile.ZipFile(io.BytesIO(attachment("zip"))) as archive:
        assert archive.read("eicar.com") == EICAR
    with zipfile.ZipFile(io.BytesIO(attachment("zip64"))) as archive:
        assert archive.read("eicar.com") == EICAR
        assert archive.getinfo("eicar.com").extract_version == ZIP64
    with tarfile.open(fileobj=io.BytesIO(attachment("tar-gz"))) as tar:
        file = tar.extractfile("eicar.com")
        assert file is not None
        assert file.read() == EICAR
    content, depth = attachment("deep"), 0
    while content != EICAR:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (name,) = archive.namelist()
            content = archive.read(name)
            depth += 1
    assert depth == SMALL["MaxRecursion"] + 2
    with zipfile.ZipFile(io.BytesIO(attachment("many-files"))) as archive:
        assert len(archive.namelist()) == SMALL["MaxFiles"] + 2
        assert archive.read("eicar.com") == EICAR


def test_the_large_ones_go_beyond_the_limits() -> None:
    with zipfile.ZipFile(io.BytesIO(attachment("large-file"))) as archive:
        (entry,) = archive.infolist()
        assert entry.file_size > SMALL["MaxFileSize"]
        assert entry.extract_version < ZIP64  # clamd would not look into it at all
        assert archive.read(entry).endswith(EICAR)
    with zipfile.ZipFile(io.BytesIO(attachment("large-scan"))) as archive:
        assert sum(each.file_size for each in archive.infolist()) > SMALL["MaxScanSize"]
        assert max(each.file_size for each in archive.infolist()) < SMALL["MaxFileSize"]
        assert archive.namelist()[-1] == "eicar.com"
    assert len(sample("long-mail")) > SMALL["MaxFileSize"]
    assert len(sample("long-stream")) > SMALL["StreamMaxLength"]


def test_the_encrypted_zip_can_be_opened_with_its_password_only() -> None:
    content = attachment("encrypted-zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("eicar.com", b"infected") == EICAR
        # One wrong password in 256 gets as far as the content.
        with pytest.raises((RuntimeError, zlib.error, zipfile.BadZipFile)):
            archive.read("eicar.com", b"guess")
    assert EICAR not in content


def test_the_odd_headers_are_odd() -> None:
    shouted = sample("upper-case")
    head = shouted.partition(b"\n\n")[0]
    assert b"CONTENT-TYPE: MULTIPART/MIXED" in head
    assert b'BOUNDARY="avcheck"' in head
    assert holds_virus(shouted)
    assert sample("unknown-first").startswith(b"X-Unheard-Of:")
    assert sample("no-header").startswith(b"MIME-Version:")
    assert not sample("no-end").endswith(b"--avcheck--\n")
    assert sample("two-boundaries").count(b"boundary=") == 2


def try_all(tmp_path: Path, clamd: KnowingClamd, *words: str) -> tuple[int, dict[str, str], str]:
    conf = tmp_path / "scan.conf"
    conf.write_text("".join(f"{name} {number}\n" for name, number in SMALL.items()))
    place = ("-s", f"clamd:{tmp_path}/clamd", "-d", tmp_path, "--clamd-conf", conf)
    with clamd:
        said = avcheckctl("probe", *place, *words, "--json")
        shown = avcheckctl("probe", *place, *words)
    assert said.status == shown.status
    return said.status, {each["sample"]: each["outcome"] for each in said.facts}, shown.out


def test_what_gets_past_is_named_with_the_setting(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    status, outcomes, shown = try_all(tmp_path, KnowingClamd(tmp_path / "clamd"))
    assert status == 1
    assert outcomes["innocent"] == "PASSES"
    assert outcomes["plain"] == outcomes["base64"] == outcomes["long-mail"] == "stopped"
    assert outcomes["zip"] == outcomes["encrypted-zip"] == "PASSES"  # it knows no archives
    assert outcomes["long-stream"] == "skipped"
    assert "AlertEncrypted yes" in shown
    assert "The test virus gets past clamd: in a zip." in shown
    assert "nothing wrong" not in shown


def test_nothing_gets_past_a_scanner_that_stops_all_but_good_mail(tmp_path: Path) -> None:
    def judge(content: bytes) -> bytes:
        return b"OK" if b"Nothing is wrong" in content else b"Eicar FOUND"

    clamd = KnowingClamd(tmp_path / "clamd", judge=judge)
    status, outcomes, shown = try_all(tmp_path, clamd, "--no-limits")
    assert status == 0
    assert set(outcomes.values()) == {"PASSES", "stopped", "skipped"}
    assert outcomes["deep"] == "skipped"
    assert "gets past" not in shown


def test_the_mails_go_through_the_door_of_all_mail(tmp_path: Path) -> None:
    """With avcheck's own bytes first, as canary.mail has them, and then the sample."""
    tmp_path.chmod(0o700)
    seen: list[bytes] = []

    def judge(content: bytes) -> bytes:
        seen.append(content)
        return b"OK"

    try_all(tmp_path, KnowingClamd(tmp_path / "clamd", judge=judge), "--no-limits")
    assert FRONT + sample("uuencoded") in seen
    assert FRONT + sample("innocent") in seen
    assert all(content.startswith(FRONT) for content in seen)


def test_good_mail_that_is_stopped_is_wrong(tmp_path: Path) -> None:
    clamd = KnowingClamd(tmp_path / "clamd", eager=True)
    status, _, shown = try_all(tmp_path, clamd, "--only", "innocent")
    assert status == 1
    assert "Good mail is stopped by clamd" in shown


def test_without_any_verdict_it_could_not_be_found_out(tmp_path: Path) -> None:
    said = avcheckctl("probe", "-s", "clamd:/nowhere", "-d", tmp_path, "--only", "plain")
    assert said.status == 2
    (line,) = said.out.splitlines()
    assert line.startswith("clamd does not answer: /nowhere: ")
    assert line.endswith("; nothing was sent")
    said = avcheckctl("probe", "-s", "clamd:/nowhere", "-d", "/nowhere/at/all", "--only", "plain")
    assert said.status == 2
    assert "avcheckctl doctor" in said.err


@pytest.mark.parametrize(
    ("name", "words", "limits", "text"),
    [
        ("long-stream", "clamd:/x", SMALL, "not asked by stream"),
        ("long-stream", "clamd:127.0.0.1", SMALL, ""),
        ("deep", "clamd:/x", {"MaxRecursion": 0}, "no limit"),
        ("long-mail", "clamd:/x", {"MaxFileSize": 10**10}, "too large to try"),
        ("deep", "clamd:/x", {"MaxRecursion": 10**6}, "MaxRecursion is 1000000: too large to try"),
        ("many-files", "clamd:/x", {"MaxFiles": 10**9}, "MaxFiles is 1000000000: too large to try"),
        ("zip", "clamd:/x", {}, ""),
        ("deep", "sophie:/x", SMALL, "is clamd's"),
    ],
)
def test_what_makes_no_sense_is_skipped(
    name: str, words: str, limits: dict[str, int], text: str
) -> None:
    from avcheck.admin.services import settings_from
    from avcheck.options.reading import parse_options
    from avcheck.scanners.rows import SCANNERS

    if words.partition(":")[0] not in SCANNERS:
        pytest.skip("there is no such scanner")
    settings = settings_from(parse_options([b"-s", words.encode()])[0], [])
    (found,) = [each for each in SAMPLES if each.name == name]
    assert text in trials._skip(settings.scanners[0], found, limits, True)
    assert bool(text) == bool(trials._skip(settings.scanners[0], found, limits, True))


def test_limits_are_clamds_or_its_defaults() -> None:
    assert trials.limits_of(None)["MaxFiles"] == 10000
    assert trials.limits_of(Conf("x", {"MaxFiles": "7"}))["MaxFiles"] == 7


def test_base64_of_ours_is_base64() -> None:
    assert base64.b64decode(samples.encoded(bytes(range(200)))) == bytes(range(200))


# A clamd that hangs.


def test_a_scanner_that_does_not_answer_is_asked_once_not_for_each_mail(tmp_path: Path) -> None:
    with HungClamd(tmp_path / "clamd") as clamd:
        place = ("-s", f"clamd:{tmp_path}/clamd", "-d", tmp_path, "-t", "0.2", "--no-limits")
        said = avcheckctl("probe", *place, "--json")
    assert said.status == 2
    waiting = [each for each in said.facts if each["outcome"] == "waits"]
    assert len(waiting) > 10
    assert not any(each["sent"] for each in waiting)
    assert {each["said"] for each in waiting} == {f"{tmp_path}/clamd: no answer within 0.2 s"}
    assert len(clamd._clients) == 2  # the other one to see who listens, for his clamd.conf


def test_the_name_of_the_test_and_its_limit_are_shown_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, float]] = []
    monkeypatch.setattr(Progress, "now", lambda self, what, limit=0.0: shown.append((what, limit)))
    with KnowingClamd(tmp_path / "clamd"):
        place = ("-s", f"clamd:{tmp_path}/clamd", "-d", tmp_path)
        assert avcheckctl("probe", *place, "--only", "plain").status == 0
        assert shown[-1] == ("plain: asking clamd", 180.0)
        assert shown[-2] == ("plain: is clamd there?", 10.0)
        assert avcheckctl("probe", *place, "--only", "base64", "-t", "20").status == 0
        assert shown[-1] == ("base64: asking clamd", 20.0)


def test_a_scanner_that_ends_meanwhile_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["", "", "gone"])
    monkeypatch.setattr(trials, "_silent", lambda service, scanner: next(answers, "gone"))
    with KnowingClamd(tmp_path / "clamd"):
        said = avcheckctl("probe", "-s", f"clamd:{tmp_path}/clamd", "-d", tmp_path)
    assert [line for line in said.out.splitlines() if "gone" in line] == [
        "clamd does not answer: gone; no more was sent"
    ]
    assert said.out.count("clamd  ") == 2

"""avcheckctl, run by root, led to files, sockets and commands by an account that is hostile.

What that account names, root reads and runs as that account, and waits for none of it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from avcheck.admin import clamdconf, master_cf, peer, postfix, totals
from avcheck.admin.look import ERROR, SKIPPED, Look
from avcheck.admin.output import Trouble
from avcheck.admin.services import Service, settings_from
from avcheck.options import reading
from tests.support.admin import avcheckctl, ctl, entry, postfix_says
from tests.support.doctor_site import Site, found
from tests.support.hostile import NOBODY, Stage, staged
from tests.support.installed import interpreter
from tests.support.program import Program

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be betrayed")


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


# Files that root is led to read.


@pytest.mark.parametrize("kind", ["pipe", "link", "zero", "sparse", "directory"])
def test_the_metrics_are_a_file_of_the_account_or_nothing(stage: Stage, kind: str) -> None:
    file = stage.spool / "metrics"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    elif kind == "sparse":
        file.touch()
        os.truncate(file, 1 << 40)
    else:
        file.symlink_to("/dev/zero" if kind == "zero" else stage.roots / "secret")
    stage.give()
    said = avcheckctl("stats", "--metrics", file)
    assert said.status == 2
    assert "metrics" in said.err


def test_root_reads_the_metrics_as_the_account(stage: Stage) -> None:
    os.link(stage.roots / "secret", stage.spool / "metrics")
    with pytest.raises(Trouble, match="Permission denied"):
        totals.gather([bytes(stage.spool / "metrics")])


def scanner_named(path: Path) -> peer.Peer:
    return peer.Peer(7, NOBODY, (NOBODY,), "/", ("clamd", "-c", str(path)))


@pytest.mark.parametrize("kind", ["secret", "pipe", "zero", "sparse"])
def test_the_file_that_a_scanner_names_is_read_as_the_scanner(stage: Stage, kind: str) -> None:
    file = stage.roots / "secret"
    if kind != "secret":
        file = stage.spool / "conf"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "sparse":
        file.touch()
        os.truncate(file, 1 << 40)
    stage.give()
    assert clamdconf.of("", scanner_named(file)) is None


def test_the_file_of_an_honest_scanner_is_read(stage: Stage) -> None:
    file = stage.spool / "conf"
    file.write_text("MaxThreads 3\n")
    stage.give()
    conf = clamdconf.of("", scanner_named(file))
    assert conf is not None
    assert conf.number("MaxThreads") == 3
    assert clamdconf.of("", scanner_named(Path("conf"))) is None


LISTEN = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    listener.accept()[0].close()
"""


@pytest.mark.parametrize("honest", [False, True])
def test_whoever_listens_names_no_file_of_roots(stage: Stage, honest: bool) -> None:
    where = stage.spool / "clamd"
    script = stage.spool / "listen"
    script.write_text(LISTEN)
    (stage.spool / "conf").write_text("MaxThreads 3\n")
    stage.give()
    conf = stage.spool / "conf" if honest else stage.roots / "secret"
    words = [str(each) for each in (interpreter(), script, where, f"--config-file={conf}")]
    with subprocess.Popen(
        words, user=NOBODY, group=NOBODY, extra_groups=[], stdout=subprocess.PIPE
    ) as listener:
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"ready\n"
            look = looking(stage, where)
            (_, target), *_ = look.targets
            found = look.peer(target)
            assert found is not None
            assert (found.uid, clamdconf.from_argv(found.argv)) == (NOBODY, str(conf))
            assert (look.conf is not None) == honest
        finally:
            listener.kill()


def looking(stage: Stage, socket: Path) -> Look:
    words = [b"-d", bytes(stage.spool), b"-s", b"clamd:" + bytes(socket)]
    return Look(Service("x", settings_from(reading.parse_options(words)[0], [])))


def test_a_clamconf_that_is_asked_is_asked_as_the_scanner(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = stage.roots / "bin"
    programs.mkdir()
    out = stage.spool / "who"
    (programs / "clamconf").write_text(f"#!/bin/sh\nid -u > {out}\n")
    (programs / "clamconf").chmod(0o755)
    (stage.spool / "clamd.conf").write_text("MaxThreads 3\n")
    stage.give()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert clamdconf.of("", scanner_named(stage.spool / "clamd.conf")) is not None
    assert out.read_text() == f"{NOBODY}\n"


def test_a_postfix_of_somebody_else_is_read_as_somebody_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = stage.roots / "bin"
    programs.mkdir()
    (programs / "postconf").write_text("#!/bin/sh\nid -u\n")
    (programs / "postconf").chmod(0o755)
    monkeypatch.setattr(postfix, "PLACES", str(programs))
    assert postfix.ask(str(stage.spool), "-F") == f"{NOBODY}\n"
    assert postfix.ask(str(stage.roots), "-F") == "0\n"
    assert postfix.ask("", "-F") == "0\n"


@pytest.mark.parametrize("whose", ["directory", "main.cf", "master.cf"])
@pytest.mark.parametrize("what", ["doctor", "ping", "status", "probe", "pause", "resume"])
def test_a_postfix_of_somebody_else_names_nothing_that_is_run(
    stage: Stage, whose: str, what: str
) -> None:
    """Neither the program as the user= of it, nor a scanner, nor its module."""
    out = stage.roots / "ran"
    config = stage.roots / "config"
    program = stage.roots / "avcheck"
    program.write_text(f"#!/bin/sh\ntouch {out}\n")
    program.chmod(0o755)
    module = stage.roots / "module.py"
    module.write_text(f"open({str(out)!r}, 'w')\n")
    line = f"avcheck unix - n n - 10 pipe\n user=root argv={program} -s {module}:/x"
    line += f" -d {stage.spool} -w {stage.spool}/wait -f a -- x\n"
    postfix_says(config, line, {})
    os.chown(config if whose == "directory" else config / whose, NOBODY, NOBODY)
    said = avcheckctl(what, f"--postfix={config}")
    assert said.status == 2
    assert "Postfix wants it to be root's" in said.err
    assert not out.exists()


def test_a_program_is_not_run_as_root_to_see_whether_it_can_be(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (site.bin / "avcheck").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    site.user = "root"
    (result,) = found("program", site.look())
    assert (result.level, result.remedy) == (SKIPPED, "see pipe_user")
    assert not (tmp_path / "ran").exists()


def test_a_socket_is_connected_to_as_the_account(stage: Stage) -> None:
    """Through a link it would be one that only root may talk to."""
    where = stage.roots / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where))
        listener.listen()
        where.chmod(0o600)
        stage.link("s", where)
        look = looking(stage, stage.spool / "s")
        (_, target), *_ = look.targets
        assert look.peer(target) is None
        assert peer.listener(bytes(stage.spool / "s")) == os.getpid()


def test_doctor_looks_at_a_spool_that_is_not_safe_as_nobody_in_particular(stage: Stage) -> None:
    link = stage.link("run", stage.roots)
    before = stage.intact()
    words = ["-d", str(link), "-w", f"{link}/wait", "-s", "clamd:/nowhere", "-S", "unix:/nowhere"]
    said = avcheckctl("doctor", "--json", *words)
    assert said.status == 1
    facts = {each["check"]: each for each in said.facts}
    for name in ("spool_usable", "spool_left_behind", "waitfile", "scanner_knows_virus"):
        assert facts[name]["level"] == ERROR
        assert "symbolic link" in facts[name]["text"]
    assert stage.intact() == before


@pytest.mark.parametrize("check", ["spool_usable", "spool_private", "spool_owner", "quarantine"])
def test_doctor_advises_nothing_that_would_give_roots_directory_away(
    stage: Stage, check: str
) -> None:
    """install -d -o, chown and chmod follow the link that they are told to correct."""
    link = stage.link("q", stage.roots)
    words = ["-s", "clamd:/nowhere", "--on", f"infected=quarantine:{link}"]
    spool = link / "below" if check != "quarantine" else stage.spool
    (stage.roots / "below").mkdir(mode=0o777)
    given_ = reading.parse_options([os.fsencode(word) for word in [*words, "-d", str(spool)]])[0]
    line = master_cf.Line("avcheck", "unix", "10", "pipe", {}, ("user=nobody", "argv=/bin/avcheck"))
    pipe = master_cf.pipe_of(line)
    look = Look(Service("x", settings_from(given_, []), call=pipe))
    for result in found(check, look):
        if check in ("spool_usable", "quarantine"):  # the others leave it to them
            assert result.level == ERROR
            assert "symbolic link" in result.text
        assert not result.remedy.startswith(("install", "chown", "chmod"))


def test_what_was_left_behind_is_removed_as_the_account(stage: Stage) -> None:
    (stage.spool / "avcheck.1").touch()
    os.utime(stage.spool / "avcheck.1", (0, 0))
    stage.give()
    (result,) = found("spool_left_behind", looking(stage, stage.spool / "s"))
    assert result.remedy.startswith("runuser -u nobody -- find ")


# What is recorded is not run by root.


@pytest.mark.parametrize("where", ["about.json", ".log"])
def test_a_recorded_command_is_run_as_the_owner_of_the_quarantine(stage: Stage, where: str) -> None:
    out = stage.spool / "who"
    program = stage.spool / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\ngrep -E '^Uid' /proc/$$/status > {out}\n")
    program.chmod(0o755)
    place = stage.spool / "quarantine"
    entry(place, sendmail=str(program) if where == "about.json" else "")
    if where == ".log":
        act = {"time": "t", "what": "released", "entry": "e", "by": "b", "sendmail": str(program)}
        (place / ".log").write_text(json.dumps(act) + "\n")
    stage.give()
    said = ctl(place, "release", "2")
    assert said.status == 0, said.err
    assert "released, by nobody" in said.out
    assert out.read_text().split() == ["Uid:", *[str(NOBODY)] * 4]


def test_an_entry_of_somebody_else_in_roots_quarantine_is_none(
    stage: Stage, tmp_path: Path
) -> None:
    program = Program(tmp_path / "sendmail")
    place = stage.roots / "own"
    made = entry(place, sendmail=str(program.path))
    os.chown(made, NOBODY, NOBODY)
    said = ctl(place, "release", "2")
    assert said.status == 2
    assert "no such entry" in said.err
    assert program.calls == 0

"""uchroot: its words, its refusals, and, as root, a real chroot."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from avcheck import process, uchroot
from avcheck.uchroot import Failure
from tests.support.servers import packages

NOBODY = 65534


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/r", "cmd"], ("", "/", "/r", ["cmd"])),
        (["-u", "x", "-d", "/y", "/r", "cmd", "-a"], ("x", "/y", "/r", ["cmd", "-a"])),
        (["-ux", "-d/y", "--", "/r", "cmd"], ("x", "/y", "/r", ["cmd"])),
        (["/r", "cmd", "-u", "x"], ("", "/", "/r", ["cmd", "-u", "x"])),
    ],
)
def test_words_are_read(words: list[str], expected: tuple[str, str, str, list[str]]) -> None:
    assert uchroot.parse(words) == expected


@pytest.mark.parametrize(
    "words", [[], ["/r"], ["", "cmd"], ["-x", "/r", "cmd"], ["-u"], ["-u", "", "/r", "cmd"]]
)
def test_wrong_words_are_125_with_the_usage(words: list[str]) -> None:
    with pytest.raises(Failure, match="usage: uchroot") as why:
        uchroot.parse(words)
    assert why.value.status == 125


def test_an_account_is_a_name_or_a_number() -> None:
    nobody = pwd.getpwuid(NOBODY)
    assert uchroot.find(nobody.pw_name) == uchroot.find(str(NOBODY)) == (NOBODY, nobody.pw_gid)


@pytest.mark.parametrize("user", ["no-such-user", "3999999999", "²", "99999999999", "-1"])
def test_no_such_account(user: str) -> None:
    with pytest.raises(Failure, match="no such user"):
        uchroot.find(user)


@pytest.mark.parametrize("user", ["root", "0"])
def test_root_is_no_account_to_switch_to(user: str) -> None:
    with pytest.raises(Failure, match="can leave the new root"):
        uchroot.find(user)


def test_without_root_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chroot", refuse)
    monkeypatch.setattr(os, "chdir", lambda path: None)
    monkeypatch.setattr(process, "close_from", lambda first: None)
    monkeypatch.setattr(sys, "argv", ["uchroot", "/", "true"])
    with pytest.raises(SystemExit) as why:
        uchroot.main()
    assert why.value.code == 125
    assert "only root can do that" in capsys.readouterr().err


class Ids:
    """The system calls of become(), which all succeed; those in kept have no effect."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, regains: str = "", kept: str = ""
    ) -> None:
        self.order: list[str] = []
        refused = PermissionError(1, "Operation not permitted")

        def regain(name: str) -> None:
            if name != regains:
                raise refused

        for name in ("setgroups", "setresgid", "setresuid"):
            monkeypatch.setattr(os, name, lambda *ids, name=name: self.order.append(name))
        for name in ("setuid", "seteuid", "setgid", "setegid"):
            monkeypatch.setattr(os, name, lambda number, name=name: regain(name))
        monkeypatch.setattr(os, "getresuid", lambda: (0,) * 3 if kept == "user" else (7,) * 3)
        monkeypatch.setattr(os, "getresgid", lambda: (8,) * 3)
        monkeypatch.setattr(os, "getgroups", lambda: [0, 8] if kept == "groups" else [8])


def test_groups_go_before_the_group_and_that_before_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = Ids(monkeypatch)
    uchroot.become((7, 8))
    assert ids.order == ["setgroups", "setresgid", "setresuid"]


@pytest.mark.parametrize("call", ["setuid", "seteuid", "setgid", "setegid"])
def test_root_that_can_be_regained_is_found_out(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    Ids(monkeypatch, regains=call)
    with pytest.raises(Failure, match="could be regained"):
        uchroot.become((7, 8))


@pytest.mark.parametrize(("kept", "text"), [("user", "nothing failed"), ("groups", "groups")])
def test_what_was_kept_is_found_out(monkeypatch: pytest.MonkeyPatch, kept: str, text: str) -> None:
    Ids(monkeypatch, kept=kept)
    with pytest.raises(Failure, match=text):
        uchroot.become((7, 8))


def test_what_may_not_be_given_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(groups: list[int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setgroups", refuse)
    with pytest.raises(Failure, match="user 7, group 8: Operation not permitted"):
        uchroot.become((7, 8))


def test_the_steps_come_in_this_order(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []
    monkeypatch.setattr(process, "close_from", lambda first: steps.append(("close", first)))
    monkeypatch.setattr(os, "chdir", lambda path: steps.append(("chdir", path)))
    monkeypatch.setattr(os, "chroot", lambda path: steps.append(("chroot", path)))
    monkeypatch.setattr(uchroot, "become", lambda account: steps.append(("become", account)))
    monkeypatch.setattr(os, "execvp", lambda name, words: steps.append(("exec", words)))
    monkeypatch.setattr(process, "set_default_signals", lambda: steps.append("signals"))
    uchroot.run(["-u", str(NOBODY), "-d", "/sub", "/r", "cmd", "x"])
    assert steps == [
        ("close", 3),
        ("chdir", "/r"),
        ("chroot", "."),
        ("chdir", "/"),
        ("chdir", "/sub"),
        ("become", uchroot.find(str(NOBODY))),
        "signals",
        ("exec", ["cmd", "x"]),
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [(FileNotFoundError(2, "No such file"), 127), (PermissionError(13, "Permission denied"), 126)],
)
def test_a_command_that_does_not_run_has_a_status(
    monkeypatch: pytest.MonkeyPatch, error: OSError, status: int
) -> None:
    def fail(name: str, words: list[str]) -> None:
        raise error

    monkeypatch.setattr(os, "execvp", fail)
    monkeypatch.setattr(process, "set_default_signals", lambda: None)
    with pytest.raises(Failure) as why:
        uchroot.execute(["cmd"])
    assert why.value.status == status


def test_a_directory_that_is_not_in_the_new_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def go(path: str) -> None:
        if path == "/no":
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(process, "close_from", lambda first: None)
    monkeypatch.setattr(os, "chdir", go)
    monkeypatch.setattr(os, "chroot", lambda path: None)
    with pytest.raises(Failure, match="/no in /r: No such file"):
        uchroot.enter("/r", "/no")


# A real chroot.

SHELL = "/bin/busybox"


@pytest.fixture(scope="module")
def jail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a static shell, a directory sub, and a file that cannot be executed."""
    packages.need_root("chroot(2) is for root only")
    packages.need("busybox-static", files=[SHELL])
    root = tmp_path_factory.mktemp("jail")
    root.chmod(0o755)
    (root / "bin").mkdir(mode=0o755)
    (root / "sub").mkdir(mode=0o755)
    shutil.copy(SHELL, root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    (root / "bin" / "data").write_text("no program\n")
    yield root


def inside(
    jail: Path, *words: str, pass_fds: tuple[int, ...] = (), before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run uchroot with these words, by the words before."""
    program = "import sys; from avcheck.uchroot import main; sys.argv[0] = 'uchroot'; main()"
    return subprocess.run(
        [*before, sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        pass_fds=pass_fds,
        env={"PATH": "/bin", "PYTHONPATH": str(Path(uchroot.__file__).parents[1])},
        check=False,
    )


def test_a_command_in_a_chroot_is_nobody_and_sees_nothing_else(jail: Path) -> None:
    script = "pwd; echo /*; /bin/busybox id -u; /bin/busybox id -G; /bin/busybox cat /../etc/passwd"
    done = inside(jail, "-u", "nobody", "-d", "/sub", str(jail), "sh", "-c", script)
    group = pwd.getpwnam("nobody").pw_gid
    assert done.stdout.split() == ["/sub", "/bin", "/sub", str(NOBODY), str(group)]
    assert "No such file" in done.stderr


def test_no_descriptor_above_2_goes_along(jail: Path) -> None:
    outside = os.open("/", os.O_RDONLY)
    try:
        script = f"/bin/busybox test -e /dev/null; : <&{outside}"
        done = inside(jail, "-u", "nobody", str(jail), "sh", "-c", script, pass_fds=(outside,))
    finally:
        os.close(outside)
    assert "bad file descriptor" in done.stderr.lower()


def test_no_descriptor_above_the_limit_is_a_way_out(jail: Path) -> None:
    """One that was opened before the limit was lowered: fchdir(2) would leave the new root."""
    before = ["/bin/bash", "-c", 'exec 900</; ulimit -n 256; exec "$0" "$@"']
    done = inside(jail, "/", "ls", "/proc/self/fd", before=before)
    assert done.stdout.split() == ["0", "1", "2", "3"]  # 3 is what ls itself opens


def test_signals_are_as_a_program_expects_them(jail: Path) -> None:
    done = inside(jail, str(jail), "sh", "-c", "kill -PIPE $$")
    assert done.returncode == -signal.SIGPIPE


@pytest.mark.parametrize("option", ["--ignore-signal", "--block-signal"])
def test_no_signal_is_ignored_or_blocked_because_the_caller_had_it_so(
    jail: Path, option: str
) -> None:
    done = inside(jail, "/", "cat", "/proc/self/status", before=["/usr/bin/env", option])
    masks = dict(line.split(":\t") for line in done.stdout.splitlines() if line[:3] == "Sig")
    # Signals 32 and 33 are the C library's, and not for programs to change.
    assert int(masks["SigIgn"], 16) & ~(0b11 << 31) == 0
    assert int(masks["SigBlk"], 16) == 0


def test_the_status_is_the_commands(jail: Path) -> None:
    assert inside(jail, "-u", str(NOBODY), str(jail), "sh", "-c", "exit 7").returncode == 7


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["-d", "/no", "@", "sh"], 125, "/no in"),
        (["@/no", "sh"], 125, "No such file"),
        (["@", "nixda"], 127, "nixda: No such file or directory (in the new root)"),
        (["@", "/bin/data"], 126, "Permission denied"),
    ],
)
def test_what_goes_wrong_has_a_status(jail: Path, words: list[str], status: int, text: str) -> None:
    done = inside(jail, *[word.replace("@", str(jail)) for word in words])
    assert done.returncode == status
    assert text in done.stderr

"""A run of a program in which one system call is tampered with: what strace(1) cannot do.

    python -I tamper.py LOG TASK CALL NUMBER WHAT PROGRAM WORD...

TASK 0 is the program, 1 the first thread or child that it makes, and so on; a child is left
alone from its exec on.  NUMBER is the call's among those of that name in the task.  WHAT:

    short=N      the call is carried out, for N bytes at most
    after=ERROR  the call is carried out, and says ERROR all the same
    error=ERROR  the call is not carried out, and says ERROR
    signal=NAME  the task's process gets the signal before the call is carried out

LOG is made when it has come to that.  The exit is the program's, by the same signal if it was
one.  By ptrace(2), on x86-64; nothing is needed but Python.  The numbers of calls and registers
are those of <asm/unistd_64.h> and <sys/user.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys

MACHINE = "x86_64"

# name=number
NUMBERS_X86_64 = """
    read=0 write=1 close=3 fstat=5 lstat=6 poll=7 mmap=9 mprotect=10 pread64=17 pwrite64=18
    access=21 select=23 dup=32 dup2=33 sendfile=40 socket=41 connect=42 sendto=44 recvfrom=45
    sendmsg=46 recvmsg=47 socketpair=53 setsockopt=54 getsockopt=55 clone=56 execve=59 wait4=61
    flock=73 fsync=74 fchdir=81 rename=82 mkdir=83 unlink=87 readlink=89 fchmod=91 fchown=93
    setsid=112 getdents64=217 openat=257 mkdirat=258 newfstatat=262 unlinkat=263 renameat=264
    accept4=288 dup3=292 pipe2=293
    getrandom=318 pidfd_open=434 clone3=435
"""
NUMBERS = {
    name: int(number)
    for name, _, number in (each.partition("=") for each in NUMBERS_X86_64.split())
}

# Which register says how many bytes; sendmsg has that in memory.
SIZES = {
    **dict.fromkeys(("read", "write", "pread64", "pwrite64", "sendto", "recvfrom"), "rdx"),
    "sendfile": "r10",
    "getrandom": "rsi",
}
SHORTENED = (*SIZES, "sendmsg")

TRACEME, PEEK, POKE, SYSCALL, DETACH = 0, 2, 5, 24, 17
GETREGS, SETREGS, SETOPTIONS, GETEVENTMSG, SYSCALL_INFO = 12, 13, 0x4200, 0x4201, 0x420E
# TRACESYSGOOD, TRACEFORK, TRACEVFORK, TRACECLONE, TRACEEXEC, EXITKILL
OPTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x100000
NEW_TASKS = (1, 2, 3)  # fork, vfork, clone
EXEC = 4
ENTRY, EXIT = 1, 2
WALL = 0x40000000


REGISTERS = """
    r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax
    rip cs eflags rsp ss fs_base gs_base ds es fs gs
"""


class Registers(ctypes.Structure):
    """struct user_regs_struct."""

    _fields_ = tuple((name, ctypes.c_ulonglong) for name in REGISTERS.split())


class Info(ctypes.Structure):
    """The beginning of struct ptrace_syscall_info."""

    _fields_ = (
        ("op", ctypes.c_ubyte),
        ("arch", ctypes.c_uint32),
        ("at", ctypes.c_ulonglong * 2),
        ("number", ctypes.c_ulonglong),
    )


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def ptrace(request: int, pid: int, address: int = 0, data: object = None) -> int:
    """ptrace(2); raises OSError, ProcessLookupError for a task that was killed."""
    ctypes.set_errno(0)
    given = ctypes.byref(data) if isinstance(data, ctypes.Structure) else data
    result: int = libc.ptrace(request, pid, address, given)
    if ctypes.get_errno():
        raise OSError(ctypes.get_errno(), f"ptrace {request}")
    return result


class Strike:
    """What is to be done, to which call; who counts is the task's calls of that name."""

    def __init__(self, log: str, task: int, call: str, number: int, what: str) -> None:
        self.log = log
        self.task = task
        self.call = NUMBERS[call]
        self.name = call
        self.number = number
        self.kind, _, self.value = what.partition("=")
        self.counted = 0
        self.says = 0  # the errno for the call's exit

    def enter(self, pid: int, number: int) -> None:
        """At the entry of that call of the task."""
        if number != self.call:
            return
        self.counted += 1
        if self.counted != self.number:
            return
        if self.kind == "signal":
            os.kill(pid, signal.Signals[f"SIG{self.value}"])
        elif self.kind == "short":
            if not self._shorten(pid, int(self.value)):
                return
        else:
            self.says = getattr(errno, self.value)
            if self.kind == "error":
                registers = self._registers(pid)
                registers.orig_rax = (1 << 64) - 1  # no call at all
                ptrace(SETREGS, pid, 0, registers)
        with open(self.log, "w") as log:
            log.write("struck\n")

    def leave(self, pid: int) -> None:
        """At the exit of a call of the task."""
        if self.says:
            registers = self._registers(pid)
            registers.rax = (1 << 64) - self.says
            ptrace(SETREGS, pid, 0, registers)
            self.says = 0

    def _shorten(self, pid: int, size: int) -> bool:
        registers = self._registers(pid)
        if self.name == "sendmsg":
            vector = ptrace(PEEK, pid, registers.rsi + 16)  # msg_iov
            whole = ptrace(PEEK, pid, vector + 8)  # iov_len
            if size < whole:
                ptrace(POKE, pid, vector + 8, size)
        else:
            whole = getattr(registers, SIZES[self.name])
            setattr(registers, SIZES[self.name], min(size, whole))
            ptrace(SETREGS, pid, 0, registers)
        return size < whole

    @staticmethod
    def _registers(pid: int) -> Registers:
        registers = Registers()
        ptrace(GETREGS, pid, 0, registers)
        return registers


def run(words: list[str], strike: Strike) -> int:
    """The wait status of the program."""
    main = os.fork()
    if not main:
        ptrace(TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execv(words[0], words)
    os.waitpid(main, 0)
    ptrace(SETOPTIONS, main, 0, OPTIONS)
    ptrace(SYSCALL, main)
    tasks = {main: 0}
    new = set[int]()  # made, and not seen yet, or the other way round
    while True:
        pid, status = os.waitpid(-1, WALL)
        if not os.WIFSTOPPED(status):
            if pid == main:
                return status
            continue
        try:
            _go_on(pid, status, strike, tasks, new)
        except ProcessLookupError:  # killed meanwhile
            continue


def _go_on(pid: int, status: int, strike: Strike, tasks: dict[int, int], new: set[int]) -> None:
    event, number = status >> 16, os.WSTOPSIG(status)
    if number == signal.SIGTRAP | 0x80:
        info = Info()
        ptrace(SYSCALL_INFO, pid, ctypes.sizeof(info), info)
        if tasks.get(pid) == strike.task:
            if info.op == ENTRY:
                strike.enter(pid, info.number)
            elif info.op == EXIT:
                strike.leave(pid)
        number = 0
    elif event in NEW_TASKS:
        made = ctypes.c_ulong()
        libc.ptrace(GETEVENTMSG, pid, None, ctypes.byref(made))
        tasks[made.value] = len(tasks)
        number = 0
        if made.value in new:  # it was here before the news of it
            ptrace(SYSCALL, made.value)
    elif event == EXEC:
        number = 0
        if tasks[pid]:  # a child's program is not ours to look at
            ptrace(DETACH, pid)
            return
    elif number == signal.SIGSTOP and pid not in new and tasks.get(pid) != 0:
        new.add(pid)
        if pid not in tasks:
            return
        number = 0
    ptrace(SYSCALL, pid, 0, number)


def main() -> None:
    log, task, call, number, what, *words = sys.argv[1:]
    status = run(words, Strike(log, int(task), call, int(number), what))
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()

"""Run a program from a process that is smaller than any Python program, and say its peak.

    python -I -S spawner.py PROGRAM ARGUMENTS...     (standard input is the program's)

Linux counts towards ru_maxrss what the memory was before the exec, that is the size
of the process that started the program.  The benchmark itself is larger than the
programs it measures, so this stands between; imports nothing that is not loaded yet.
Writes "STATUS KIB" to standard output; the program's own output is dropped.
"""

import os
import sys

child = os.fork()
if child == 0:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.execve(sys.argv[1], sys.argv[1:], os.environ)
_, ended, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(ended), usage.ru_maxrss)

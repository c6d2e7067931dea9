"""Little of everything, and strange surroundings: each run is done, or kept by the mail system.

    runs.py                what a run is to do, and what came of it: done, kept or died
    test_resources.py      ulimit: open files, memory, file size, processes, processor time, stack
    test_surroundings.py   file systems: read-only, without nameless files, no /proc, no /dev/null
    test_environment.py    variables, command lines, directories, umask
    test_descriptors.py    0, 1 and 2 closed or full
    test_orphan.py         the mail system dies before the first line
    test_after_the_yes.py  a bug at every line after somebody else has taken the message

Each is tried with avcheck itself and with the launcher avcheck-guard.sh.  A Python that cannot
start is not avcheck, and its status 1 would bounce the mail; the launcher makes it 75.
"""

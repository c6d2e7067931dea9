"""Every system call of a run fails once, or gets a signal; then it is looked what came of it.

    scenes.py     what avcheck is told to do, among servers of its own
    errors.py     what the system may say to which call
    strike.py     a run with one fault in it
    oracle.py     what may come of it, and what must not
    campaign.py   all faults of a scene, or a choice; the table

`make faults` runs them all and writes docs/faults.md; test_faults.py runs a few.
"""

"""Every system call of a run fails, or gets a signal; then it is looked what came of it.

    scenes.py     what avcheck is told to do, among servers of its own
    session.py    three messages in one session of avcheck-smtp, and a client
    stage.py      all of these, by name
    errors.py     what the system may say to which call
    tamper.py     a run with one call changed, where strace cannot do that
    strike.py     a run with one fault in it
    oracle.py     what may come of it, and what must not
    session_oracle.py  the same of a session
    campaign.py   all faults of a scene, or a choice; the table
    page.py       the section of docs/faults.md about it
    whole.py      all of it

`make faults` runs them all and writes the section; test_faults.py runs a choice.
"""

"""Twenty runs at a time, for minutes, while everything around them is killed.

    agent.py      a delivery agent of the mail system: one run after the other, in its own process
    mta.py        the mail system: its agents, its queue, what it knows of each run
    sessions.py   avcheck-smtp in its place: who listens, and clients
    hop.py        the next mail server, in its own process, and its journal
    place.py      scanners, next hop, handler, directories, and the command line with every option
    storm.py      what is killed, stopped and restarted
    account.py    where every message is afterwards, and what was left behind; the table

`make load` does both for ten minutes (MINUTES=N for another time) and writes the section "Load" of
docs/faults.md; test_load.py does it for a few hundred messages.
"""

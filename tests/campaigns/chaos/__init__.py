"""Mail under bad conditions: every message is accounted for afterwards.

`make chaos` sends 1000 messages through each mail system; `make check` a few of them.
"""

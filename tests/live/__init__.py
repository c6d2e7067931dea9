"""avcheck among real daemons: ClamAV's clamd, and Postfix with the lines of docs/postfix.md.

Daemons come from Debian's packages, which are installed when they are missing.
As root and in CI nothing here is skipped: what cannot run has failed.
"""

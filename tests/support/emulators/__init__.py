"""Daemons that nobody can install any more, or not without a licence, played.

Each takes requests as the real one does, from anybody's client, opens the files it is
told of, and answers by what it reads in them: content.py has the marks.  They are as
strict as their descriptions are, and no scanner's code of avcheck is used: the tests
in tests/live compare them with clients that are not avcheck's.
"""

"""`make demo`: five messages go their ways, on a real clamd, as a mail system would send them.

screen    what is shown, and whether all went as it should
letters   the messages
stage     clamd, the next mail server, the spool; runs avcheck
__main__  the story
"""

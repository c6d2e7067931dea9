"""avcheck: the journey of one message.

    main      knows the order of what follows
    options   the command line becomes settings, complete and checked
    hold      no message is taken while the waitfile exists
    spool     the message is received into a private file
    ask       every scanner is asked                      scanners/*, conn
    policy    the findings become one action
    deliver   the message goes back to the mail system    smtp, conn, child
    handle    or to the administrator's program           child
    report    what happened is said in one line

What cannot be finished raises Defer (exits) and leaves with 75.
"""

__version__ = "1.0.0"

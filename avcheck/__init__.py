"""avcheck: the journey of one message.

    main        knows the order of what follows
    options     the command line becomes settings         reading, rows, arguments, file
    hold        no message is taken while the waitfile exists
    spool       the message is received into a private file  incoming
                and once more, in other words, if it is not plain  seen, header; rendering, mime
    ask         every scanner is asked                    scanners/*, conn, order, stream, dial, tls
                after the brakes that were asked for      attempts, slots, canary
    policy      the answers become one action
    act         which is carried out:
    deliver     the message goes back to the mail system  smtp, conn, child, program
    handle      or to the administrator's program         child
    quarantine  or into a directory                       draft, entry
    report      what happened is said in one line         metrics

Below all of them: settings, address and verdict; printable and patterns; directory and files;
unix, the system's calls.
Before all of them: loading, which finds these modules; and uchroot is a program of its own.

smtpd is the other way in: many messages, on a connection that standard input is.  It has the
same journey for each of them.  admin is avcheckctl, and nothing of the journey imports it.
state has what runs share in files (hold, attempts, slots, canary, metrics), deliver the ways on.

What belongs to this one message, such as its deadline and whether somebody else has it by
now, travels with it as a Run (run, which asks caller; process is what belongs to them all).
What cannot be finished raises Defer (exits) and leaves with 75.
"""

__version__ = "1.0.0"

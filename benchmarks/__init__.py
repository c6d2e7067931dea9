"""What avcheck costs, beside the programs that people use in its place.

    measure   one run of a program and its price; interleaved rounds; medians and ratios
    table     how results are shown: on the terminal and in docs/performance.md
    machine   what the numbers were taken on
    stage     an installed avcheck, its spool, a clamd and a sink, in a directory that
              unprivileged accounts can read
    meter     the processor time of daemons
    peers     clamsmtp, clamav-milter and amavisd-new, private
    naive     the program that one would write first, to be measured
    link      a mail server that counts, and a slow link to it

    process   one message: avcheck, the shell filter, the naive program
    memory    the peak, for messages from 4 kB to 1 GiB
    through   messages a second and processor time a message, through Postfix
    sessions  the same for avcheck-smtp and those that speak SMTP or milter, both sides of the queue
    smtp      handing on: system calls, packets, a slow link, a message of 100 MB
    syscalls  how many system calls a run makes
    startup   what the start of the interpreter and its imports cost

`python -m benchmarks --help` tells how to run them.  Only ratios between programs
measured in the same run mean anything; no test depends on a time.
"""

#!/bin/sh
# avcheck-guard.sh: runs the avcheck(1) that lies beside it, for the MTA.
#
# avcheck itself never leaves with a status that bounces mail by accident.  But a
# Python that cannot start is not avcheck: an interpreter that was removed leaves
# 127, one that finds no modules 1, and any of them, with no 4.x.x text before it,
# bounces mail.  So name this file in master.cf instead of avcheck:
#
#   argv=/opt/avcheck/bin/avcheck-guard.sh -d /var/spool/avcheck ... -- ${recipient}
#
# It has to be called by its absolute path.  Arguments, standard input and output
# are avcheck's.  So is the status, except those of a Python or a shell in trouble,
# which become 75, EX_TEMPFAIL, and leave the mail in the queue:
#
#   1, 2, 120    the interpreter's own
#   126, 127     no such program, or not executable
#   128 and up   killed by a signal
#
# That is why `-g 1`, `-g 2` and the other numbers above cannot be used with it.

case $0 in
    /*) ;;
    *)
        echo '4.3.5 avcheck-guard.sh has to be called by its absolute path' >&2
        exit 75
        ;;
esac

# avcheck notices when its parent, normally the MTA, is gone.  Here the parent is
# this shell, so it is told who is meant.
AVCHECK_CALLER=$PPID
export AVCHECK_CALLER

# A signal is avcheck's to answer; this shell stays to report the answer, also when
# nobody reads it any more (PIPE).
trap : TERM HUP INT QUIT PIPE

"${0%/*}/avcheck" "$@"
status=$?

case $status in
    1 | 2 | 120 | 126 | 127 | 12[89] | 1[3-9]? | 2??)
        echo "4.3.5 avcheck could not be started (status $status)" >&2
        status=75
        ;;
esac
exit "$status"

#!/bin/sh
{ # All of it is read before any of it is done: one that is cut short is an error, and no success.
# avcheck-guard: runs avcheck(1) for the mail system, and never bounces mail by accident.
#
# avcheck itself never leaves with a status that bounces mail.  But a Python that cannot
# start is not avcheck, and neither is a command that is being replaced at this moment:
# their statuses bounce mail, and a launcher that is still empty even leaves with 0, and
# the mail is gone.  So this file stands before it, outside of the directory that an
# upgrade replaces, and the first word is the avcheck to run:
#
#   argv=/usr/local/libexec/avcheck-guard /opt/avcheck/bin/avcheck -d ... -- ${recipient}
#
# Without that word, that is with an option first, it runs the avcheck beside it, and has
# to be called by its absolute path.  The other words, standard input and output are
# avcheck's.  So is the status, except those of a Python or a shell in trouble, which
# become 75, EX_TEMPFAIL, and leave the mail in the queue:
#
#   1, 2, 120    the interpreter's own, or the shell's
#   126, 127     no such program, or not executable
#   128 and up   killed by a signal
#
#   0            of an interpreter that is an empty file: success is said in another way
#
# That is why `-g 1`, `-g 2` and the other numbers above cannot be used with it: avcheck, which
# sees AVCHECK_GUARD, takes no message with them.
#
# Python is run without its site module (-I -S): it starts faster, and neither the
# environment nor a .pth file can break it.

# What avcheck leaves with in the place of 0.
proved=200

leave() {
    trap - EXIT
    case $1 in
        "$proved") exit 0 ;;
        0 | 1 | 2 | 120 | 126 | 127)
            echo "4.3.5 avcheck could not be started (status $1)" >&2
            exit 75
            ;;
        12[89] | 1[3-9]? | 2??)
            echo "4.3.0 avcheck was killed (status $1): possible duplicate" >&2
            exit 75
            ;;
    esac
    exit "$1"
}

# Whatever ends this shell, a want of memory or of processes too, it leaves by here.
trap 'leave "$?"' EXIT

# A signal is avcheck's to answer; this shell stays to report the answer, also when
# nobody reads it any more (PIPE).
trap : TERM HUP INT QUIT PIPE ALRM XCPU USR1 USR2

avcheck=${0%/*}/avcheck
case ${1-} in
    /*)
        avcheck=$1
        shift
        ;;
esac
case $avcheck in
    /*) ;;
    *)
        echo '4.3.5 avcheck-guard has to be called by its absolute path' >&2
        exit 75
        ;;
esac

# The interpreter of a virtual environment lies beside avcheck; otherwise it is the one
# in avcheck's first line.
python=${avcheck%/*}/python3
if ! [ -e "${avcheck%/*}/../pyvenv.cfg" ]; then
    read -r line <"$avcheck" || exit 127
    line=${line#'#!'}
    python=${line%% -*}
    case $python in /*) ;; *) exit 127 ;; esac
fi

# What is run is not the file, which pip leaves empty for a moment, but the package that
# belongs to it; whatever comes out at the end of this was no avcheck.
launch='
import sys
try:
    del sys.argv[0]
    lib = "%s/lib/python%d.%d/" % (sys.argv[0].rsplit("/", 2)[0], *sys.version_info[:2])
    sys.path += lib + "site-packages", lib + "dist-packages"
    try:
        import avcheck
    except ModuleNotFoundError:
        import site
        site.main()
    from avcheck.__main__ import main
    main('"$proved"')
except BaseException as why:
    sys.exit(f"4.3.5 avcheck: broken installation: {type(why).__name__}: {why}")
sys.exit(1)
'

# avcheck notices when its caller, normally its parent, is gone.  Here the parent is this
# shell, so it is told who is meant.  (A script that calls us may have said so already.)
AVCHECK_CALLER=${AVCHECK_CALLER:-$PPID}
export AVCHECK_CALLER

# And what it tells a handler to send mail with is to be run by this file, too.
AVCHECK_GUARD=$0
export AVCHECK_GUARD

"$python" -I -S -c "$launch" "$avcheck" "$@"
leave "$?"
}

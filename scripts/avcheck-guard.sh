#!/bin/sh
{ # The shell reads all of this before it runs any of it: a file that is cut short is an error.
# avcheck-guard: runs avcheck(1) for the mail system, and never bounces mail by accident.
#
# avcheck itself never exits with a status that bounces mail.  But a Python that cannot
# start does, and so does a command that is just being replaced; and the shell runs a
# launcher that is still empty as a script that exits with 0, and the mail is lost.  So the
# mail system calls this file, which is outside of the directory that an upgrade replaces.
# The first argument is the avcheck to run:
#
#   argv=/usr/local/libexec/avcheck-guard /opt/avcheck/bin/avcheck -d ... -- ${recipient}
#
# If the first argument is an option, this runs the avcheck beside it, and has to be called
# by its absolute path.  All other arguments, standard input and output are avcheck's.  So
# is the exit status, except those of a Python or a shell in trouble, which become 75,
# EX_TEMPFAIL, so that the mail stays in the queue:
#
#   1, 2, 120    the interpreter's own, or the shell's
#   126, 127     no such program, or not executable
#   128 and up   killed by a signal
#
#   0            of an interpreter that is an empty file: success has another number here
#
# That is why `-g 1`, `-g 2` and the other numbers above cannot be used with it: avcheck, which
# sees AVCHECK_GUARD, takes no message with them.
#
# Python is run without its site module (-I -S): it starts faster, and neither the
# environment nor a .pth file can break it.

# What avcheck exits with in place of 0.
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

# Whatever ends this shell, also a lack of memory or of processes, it exits by this.
trap 'leave "$?"' EXIT

# Signals are for avcheck to handle; this shell stays, to report how it ended, also when
# nobody reads its output any more (PIPE).
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

# Called by a link, it still is avcheck of that directory, with the handler there.
real=$avcheck
if [ -L "$real" ]; then real=$(readlink -f "$real"); fi
here=${real%/*}

# The interpreter of a virtual environment lies beside avcheck; otherwise the directory that the
# package is in has its name.
python=$here/python3
if ! [ -e "$here/../pyvenv.cfg" ]; then
    [ -e "$avcheck" ] || exit 127
    name=python3
    for each in "$here"/../lib/python3*/*-packages/avcheck; do
        if [ -d "$each" ]; then
            name=${each%/*/*}
            name=${name##*/}
        fi
    done
    for each in "$here" /usr/bin /usr/local/bin; do
        python=$each/$name
        if [ -x "$python" ]; then break; fi
    done
fi

# Run the package, and not the file, which pip leaves empty for a moment.  If the last line
# is reached, avcheck has not run.
launch='
import sys
try:
    del sys.argv[0]
    base = sys.argv.pop(0)
    lib = "%s/lib/python%d.%d/" % (base, *sys.version_info[:2])
    sys.path += lib + "site-packages", lib + "dist-packages", base
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

# avcheck notices when its caller, normally its parent, is gone.  Its parent is this shell,
# so tell it who the caller is.  (A script that calls us may have done so already.)
AVCHECK_CALLER=${AVCHECK_CALLER:-$PPID}
export AVCHECK_CALLER

# The command that it gives a handler to send mail with goes through this file, too.
AVCHECK_GUARD=$0
export AVCHECK_GUARD

"$python" -I -S -c "$launch" "${here%/*}" "$avcheck" "$@"
leave "$?"
}

#!/bin/sh
# The simple content filter of Postfix's FILTER_README, with clamdscan in it:
# what a site writes that does not want another program.
#
#   shell-filter.sh -f sender -- recipients...

# Localize these (the benchmark does it in its copy).
INSPECT_DIR=/var/spool/filter
SENDMAIL="/usr/sbin/sendmail -G -i"
CLAMD_CONF=/etc/clamav/clamd.conf

EX_TEMPFAIL=75
EX_UNAVAILABLE=69

# Clean up when done or when aborting.
trap 'rm -f "in.$$"' 0 1 2 3 15

cd "$INSPECT_DIR" || {
    echo "$INSPECT_DIR does not exist"
    exit $EX_TEMPFAIL
}

cat >"in.$$" || {
    echo "Cannot save mail to file"
    exit $EX_TEMPFAIL
}

clamdscan --config-file="$CLAMD_CONF" --fdpass --no-summary --quiet "in.$$"
case $? in
0) ;;
1)
    echo "Message content rejected"
    exit $EX_UNAVAILABLE
    ;;
*)
    echo "Cannot scan the message"
    exit $EX_TEMPFAIL
    ;;
esac

# shellcheck disable=SC2086  # the words of the command
$SENDMAIL "$@" <"in.$$"
exit $?

#!/bin/sh
{ # All of it is read before any of it is done: one that is cut short is an error, and no success.
# infected.sh: what avcheck(1) does with mail that must not be delivered.
#
# Stores the message in a private quarantine directory, tells postmaster in one
# short report, and writes to nobody else: the sender of a virus is forged.
#
# Settings: each may be changed here, or in the settings file named first, which
# has lines of the form name=value and comments that begin with "#".  avcheck
# gives its handler a fixed environment, so variables cannot be set outside.
# The settings file says where mail goes; so it is used only if it and its
# directory are owned by root and writable by nobody else, and it is no symbolic
# link.  One that exists and cannot be used defers the mail.

settings=/etc/avcheck/infected.conf

# The quarantine directory.  A relative path starts at the spool directory.  It is
# made when it is missing, but its parent is not; it must not be writable by
# its group nor open to others.
quarantine=quarantine

# Whom to tell: addresses, separated by blanks.  Empty: nobody.  One without a domain
# is handed to the mail system as it is, which knows best where its postmaster is (RFC
# 5321 4.5.1): the name of this host is often none of its local domains.  In the
# header it gets the name of this host, for some mail systems refuse it without: Exim
# 4.96 as Debian sets it up says "550 header syntax" to "To: postmaster", and "550
# relay not permitted" to the recipient postmaster@vm on the host vm.example.org.
notify=postmaster

# Who tells: the From header of the report.  Empty: postmaster at this host.
from=

# The name of this host in the report and the sidecar.  Empty: uname -n.
host=

# How many bytes of the message's header the report shows.  0: none.
excerpt=2048

# How many seconds the report may take to send, where timeout(1) is installed.
# 0: no limit of its own.
patience=60

# How it is called:
#
#   infected.sh MESSAGE TEXT SENDER RECIPIENT...
#
#   MESSAGE     the file with the message, as received; removed before exit 0
#   TEXT        what the scanner said; may be empty or have several lines
#   SENDER      the envelope sender; empty for the null sender
#
#   SENDMAIL          a program and its arguments, separated by blanks, that sends
#                     mail which is not scanned again; empty: no report
#   AVCHECK_VERDICT   infected, suspicious, ...
#   AVCHECK_VIRUS     the names of what was found
#   AVCHECK_SCANNER   which scanner said so
#   AVCHECK_QUEUE_ID  the MTA's queue id
#   AVCHECK_SHA256    the digest of the message; the stored copy is checked
#   AVCHECK_SENDER    is not used here: the argument has it
#
# The working directory is the spool directory.  All of this but MESSAGE may be
# missing, and all of it may have been written by whoever sent the virus.
#
# What it leaves: one directory for each message,
#
#   QUARANTINE/20260102T030405Z-0123456789ab/message    as received
#   QUARANTINE/20260102T030405Z-0123456789ab/about.json the rest
#
# which appears with one rename, complete and on disk, or not at all.  In the
# sidecar, bytes that are not UTF-8 are written \udc80..\udcff, as Python's
# surrogateescape does, so that the envelope can be had back byte by byte.
# QUARANTINE/.new is where entries are made; what a kill or a power cut leaves
# there is removed a day later.  What is in use is locked by flock(1), and stays,
# whatever the clock says.  Without flock(1) nothing tells the one from the other, and
# nothing is removed there.
#
# Exit status: 0, the message is in the quarantine, and standard output has the name
# of the entry (also when the report could not be sent: standard error has that);
# 75, it is not, and nothing of it is left there, so the MTA must keep it.  There is
# no other.
#
# One message may come in several runs, one for each recipient, with the same queue id:
# each has an entry, and the first one sends the report.
#
# If it is killed between the rename and its exit, the MTA tries again.  With a queue
# id, and sha256sum(1), the end of the entry's name is the same at each try: the
# message is found there, with the same bytes, and not stored twice (the report may
# come twice, with one Message-ID).  Therefore an entry that can be seen is not taken
# back then: status 75, and the next try finds it.  Without them there are two
# entries with one digest: twice, but never not at all.

# Where the entry is made, as long as it is nobody else's business.  Descriptor 9 is open
# there meanwhile, and has the lock.
new=

# The sign that postmaster was told of this message, if this run has set it.
mark=

# The end of the entry's name, if it is known before: what each try of this run has in common.
key=

main() {
    # Bytes are bytes; words are split at blanks only, and mean no file names.
    LC_ALL=C
    PATH=${PATH:-/bin:/usr/bin}
    export LC_ALL PATH
    set -f
    umask 077
    trap leave EXIT
    trap 'exit 75' HUP INT TERM PIPE

    [ $# -ge 1 ] || fail 'usage: infected.sh message [text [sender [recipient...]]]'
    message=$1
    text=${2-}
    sender=${3-}
    if [ $# -gt 3 ]; then shift 3; else shift $#; fi
    case $message in
        /*) ;;
        *) message=./$message ;;
    esac
    if [ -L "$message" ] || [ ! -f "$message" ]; then fail "$message: no such message"; fi

    read_settings
    find_out_how_to_sync
    find_out_how_to_lock
    make_quarantine
    identify "$@"
    stored
    again=$entry
    if [ -z "$entry" ]; then store "$@"; fi

    rm -f "$message" || withdraw "$message: cannot be removed"
    printf 'stored as %s\n' "$entry"
    if [ -n "$notify" ] && { [ -n "$again" ] || first; }; then tell "$@"; fi
    exit 0
}

say() { printf 'infected.sh: %s\n' "$*" >&2; }

# Says why and leaves with 75.
fail() {
    say "$@"
    exit 75
}

# The only way out: nothing half made remains, and the status is 0 or 75.
# shellcheck disable=SC2317 # the trap calls it
leave() {
    status=$?
    trap '' HUP INT TERM PIPE
    trap - EXIT
    [ -z "$new" ] || rm -rf "$new"
    [ "$status" -eq 0 ] || exit 75
    exit 0
}

read_settings() {
    if [ -e "$settings" ] || [ -L "$settings" ]; then
        # Others could otherwise say where the mail goes, or replace the file.
        trusted=$(find "$settings" "${settings%/*}" -prune -user 0 ! -perm -020 ! -perm -002 |
            wc -l) || fail "$settings: cannot be examined"
        [ "$trusted" -eq 2 ] ||
            fail "$settings: it and its directory must be owned by root, writable by" \
                "nobody else, and no symbolic links"
        [ -r "$settings" ] || fail "$settings: not readable"
        while read -r line || [ -n "$line" ]; do
            case $line in
                '' | '#'*) ;;
                *=*) change "${line%%=*}" "${line#*=}" ;;
                *) fail "$settings: not of the form name=value: $line" ;;
            esac
        done <"$settings" || fail "$settings: cannot be read"
    fi
    for number in "$excerpt" "$patience"; do
        case $number in
            '' | *[!0-9]* | ???????*) fail "excerpt, patience: not a number: $number" ;;
        esac
    done
    case $quarantine in
        '') fail 'quarantine: is empty' ;;
        /*) ;;
        *) quarantine=./$quarantine ;;
    esac
    host=${host:-$(uname -n)}
    # What a domain in a header is made of (RFC 5321 4.1.2); Exim takes no "_" there.
    domain=$(printf %s "$host" | tr -cd 'A-Za-z0-9.-')
    domain=${domain:-localhost}
    from=${from:-postmaster}
}

# change NAME VALUE: one setting, as the settings file has it.  Quotes around the
# value are not needed; a pair of them is taken off.
change() {
    value=$2
    case $value in
        \"*\" | \'*\')
            value=${value#?}
            value=${value%?}
            ;;
    esac
    case $1 in
        quarantine) quarantine=$value ;;
        notify) notify=$value ;;
        from) from=$value ;;
        host) host=$value ;;
        excerpt) excerpt=$value ;;
        patience) patience=$value ;;
        *) fail "$settings: no such setting: $1" ;;
    esac
}

# Defines `durable PATH...`: these files and directories are on disk.  sync(1) of
# coreutils 8.24 and later takes names and reports errors; others sync everything.
find_out_how_to_sync() {
    if sync . 2>/dev/null; then
        durable() { sync "$@"; }
    else
        durable() { sync; }
    fi
}

# Defines `lock DIRECTORY`, which locks descriptor 9 and fails when another has the lock,
# or when the directory on 9 does not have that name (any more).  Who gets a lock after
# somebody else may get that of a directory which is gone, or has become an entry.
find_out_how_to_lock() {
    locking=
    # shellcheck disable=SC2094,SC3013 # -ef: POSIX.1-2024; in dash, bash and busybox for long
    if command -v flock >/dev/null && [ . -ef /dev/fd/9 ] 9<.; then
        locking=yes
        lock() { flock -n 9 && [ "$1" -ef /dev/fd/9 ]; }
    else
        lock() { [ -d "$1" ]; }
    fi
}

make_quarantine() {
    # Of two at the same time one finds it made: so look again before complaining.
    if [ ! -d "$quarantine" ]; then
        mkdir -m 700 "$quarantine" 2>/dev/null || [ -d "$quarantine" ] ||
            fail "$quarantine: no such directory, and it cannot be made"
        durable "$quarantine/.." || fail "$quarantine: cannot be synced"
    fi
    private=$(find "$quarantine" -prune -type d ! -perm -020 ! -perm -004 ! -perm -002 \
        ! -perm -001) || fail "$quarantine: cannot be examined"
    [ -n "$private" ] ||
        fail "$quarantine: must be a directory, not writable by its group and closed to others"
    [ -d "$quarantine/.new" ] || mkdir -m 700 "$quarantine/.new" 2>/dev/null ||
        [ -d "$quarantine/.new" ] || fail "$quarantine: not writable"
    if [ -n "$locking" ]; then remove_old; fi
}

# What a kill has left, a day later.  Others finish their entries meanwhile, and find(1)
# and the shell complain that they are gone.
remove_old() {
    find "$quarantine/.new/." ! -name . -prune -type d -mtime +0 2>/dev/null |
        while IFS= read -r left; do
            # shellcheck disable=SC2094 # a directory, which is not read
            { lock "$left" && rm -rf "$left"; } 9<"$left"
        done 2>/dev/null
}

# identify RECIPIENT...: the digest and the size of the message, and the key.
identify() {
    digest=$(digest_of "$message") || fail 'the digest cannot be computed'
    size=$(wc -c <"$message") || fail 'the size cannot be found out'
    case $size in
        *[0-9]*) ;;
        *) fail 'the size cannot be found out' ;;
    esac
    if [ -n "$digest" ] && [ -n "${AVCHECK_QUEUE_ID-}" ]; then
        key=$(printf '%s\000' "$AVCHECK_QUEUE_ID" "$digest" "$sender" "$@" | sha256sum |
            cut -c 1-12) || key=
        case $key in
            *[!0-9a-f]* | ???????????) key= ;;
        esac
    fi
}

# Whether nobody has told of this message yet.  A mail system may have a run for each of its
# recipients, at the same time; they have the queue id and the digest in common.  The mark is
# removed a day later, like all that is left there.
first() {
    if [ -z "$key" ] || [ -z "$locking" ]; then return 0; fi
    mark=$quarantine/.new/told-$(printf '%s\000' "$AVCHECK_QUEUE_ID" "$digest" | sha256sum |
        cut -c 1-12)
    if mkdir -m 700 "$mark" 2>/dev/null; then return; fi
    told=$mark
    mark=
    [ ! -d "$told" ]
}

# Sets $entry to the one with this key and these bytes, on disk; empty if there is none.
# Two tries at the same time can make two.  Of those all but the first by name are removed;
# whoever looks last sees both, and all agree on the one that stays.
stored() {
    entry=
    [ -n "$key" ] || return 0
    # shellcheck disable=SC2044 # these names have no blanks
    for name in $(find "$quarantine/." ! -name . -prune -type d -name "[0-9]*T[0-9]*Z-$key" |
        sed 's|.*/||' | sort); do
        cmp -s "$quarantine/$name/message" "$message" || continue
        if [ -z "$entry" ]; then
            durable "$quarantine" || fail "$quarantine: cannot be synced"
            entry=$name
        # With one rename: half an entry is not to be seen.
        elif mv "$quarantine/$name" "$quarantine/.new/$name.$$" 2>/dev/null; then
            rm -rf "$quarantine/.new/$name.$$"
        fi
    done
}

# store RECIPIENT...: the message and its sidecar, in the quarantine, on disk.
store() {
    time=$(date -u '+%Y-%m-%dT%H:%M:%SZ') || fail 'date: does not work'
    # Before it is locked it can be removed, if the clock was set ahead in this very moment.
    for try in 1 2 3 4 5 6 7 8 9; do
        reserve
        if make "$@" 9<"$new"; then return; fi
        rmdir "$new" 2>/dev/null
        new= # if it is still there, it is not ours
    done
    fail "$quarantine/.new: each new entry is removed by somebody; is the clock right?"
}

# make RECIPIENT...: in $new, which is on descriptor 9; fails when that cannot be locked.
make() {
    lock "$new" || return
    cat <"$message" >"$new/message" || fail "$quarantine: the message cannot be stored"
    digest=$(digest_of "$new/message") || fail 'the digest cannot be computed'
    digest=${digest:-${AVCHECK_SHA256-}}
    [ "$digest" = "${AVCHECK_SHA256:-$digest}" ] ||
        fail 'the stored message is not the one that was scanned'
    { sidecar "$@" >"$new/about.json" && [ -s "$new/about.json" ]; } ||
        fail "$quarantine: the sidecar cannot be stored"
    durable "$new/message" "$new/about.json" "$new" || fail "$quarantine: cannot be synced"
    # From here on a signal must not turn a stored message into a 75.  It still ends
    # the program that is running, which then has failed.
    trap : HUP INT TERM PIPE
    { mv "$new" "$quarantine/$entry" && [ -f "$quarantine/$entry/message" ]; } ||
        withdraw "$quarantine: not writable"
    new=
    durable "$quarantine" || withdraw "$quarantine: cannot be synced"
    made=$entry
    stored
    # Another try has stored the same, and stays; or else it is this one.
    if [ -z "$entry" ] || [ "$entry" = "$made" ]; then
        entry=$made
        whole || withdraw "$quarantine/$entry: was removed as it was made"
    fi
}

# Whether the entry that was made has all that was put into it.
whole() {
    # shellcheck disable=SC3013 # see find_out_how_to_lock
    if [ -n "$locking" ] && ! [ "$quarantine/$entry" -ef /dev/fd/9 ]; then return 1; fi
    kept=$(wc -c <"$quarantine/$entry/message") && [ "$kept" -eq "$size" ] &&
        [ -s "$quarantine/$entry/about.json" ]
}

# A name that no entry has, and the directory $new to make it in.  mkdir(1) reserves
# the name; whoever has it reserved may look whether it is taken, for it stays reserved
# until the rename.  So mv(1) never finds something in its way.
reserve() {
    for try in 1 2 3 4 5 6 7 8 9; do
        random=$(od -An -v -N6 -tx1 /dev/urandom | tr -d ' \n') || fail '/dev/urandom: not readable'
        entry=$(printf %s "$time" | tr -d ':-')-${key:-$random}
        new=$quarantine/.new/$entry
        if mkdir -m 700 "$new" 2>/dev/null; then
            [ ! -e "$quarantine/$entry" ] && return
            rmdir "$new"
        fi
        new= # it is not ours to remove
        [ -w "$quarantine/.new" ] || break
        # Another try has it, or what a kill has left.  It is tried again later.
        [ -z "$key" ] || fail "$quarantine/.new: another try is storing this message"
    done
    fail "$quarantine/.new: no entry can be made (tried $try times)"
}

# withdraw WHY: fails, and takes back the entry if it can be seen already, unless another
# try will find it, or may have counted on it.
withdraw() {
    if [ -n "$key" ]; then fail "$@"; fi
    new=$quarantine/.new/$entry
    mv "$quarantine/$entry" "$new" 2>/dev/null || rm -rf "${quarantine:?}/$entry"
    fail "$@"
}

# Empty where there is no sha256sum(1).
digest_of() {
    if command -v sha256sum >/dev/null; then
        sum=$(sha256sum <"$1") && printf %s "${sum%% *}"
    fi
}

# sidecar RECIPIENT...: the JSON text.  Only ASCII comes out; od(1) and awk(1) are
# shown bytes as numbers, so nothing in them can be taken for something else.
sidecar() {
    # A failure on the left of a pipe is seen by the missing end.
    printf '%s\000' "$entry" "$time" "$host" "${AVCHECK_QUEUE_ID-}" "${AVCHECK_VERDICT-}" \
        "${AVCHECK_VIRUS-}" "${AVCHECK_SCANNER-}" "$text" "$digest" "$sender" \
        "${SENDMAIL-}" "$@" |
        od -An -v -tu1 |
        awk -v size="$size" -v expected="$((11 + $#))" '
            function unicode(code) {
                if (code < 65536) return sprintf("\\u%04x", code)
                code -= 65536
                return unicode(55296 + int(code / 1024)) unicode(56320 + code % 1024)
            }
            # The character at position i of byte[1..n], or 0; sets width.  RFC 3629:
            # the shortest form only, no surrogates, nothing above U+10FFFF.
            function character(i, n,    first, code, low, k) {
                first = byte[i]
                if (first >= 194 && first <= 223) { width = 2; code = first - 192; low = 128 }
                else if (first >= 224 && first <= 239) { width = 3; code = first - 224; low = 2048 }
                else if (first >= 240 && first <= 244) { width = 4; code = first - 240; low = 65536 }
                else return 0
                if (i + width - 1 > n) return 0
                for (k = 1; k < width; k++) {
                    if (byte[i + k] < 128 || byte[i + k] > 191) return 0
                    code = code * 64 + byte[i + k] - 128
                }
                if (code < low || code > 1114111 || (code >= 55296 && code <= 57343)) return 0
                return code
            }
            function quoted(n,    i, out, code) {
                out = "\""
                for (i = 1; i <= n; i++) {
                    if (byte[i] == 34 || byte[i] == 92) out = out "\\" sprintf("%c", byte[i])
                    else if (byte[i] >= 32 && byte[i] <= 126) out = out sprintf("%c", byte[i])
                    else if (byte[i] < 128) out = out unicode(byte[i])
                    else if (code = character(i, n)) { out = out unicode(code); i += width - 1 }
                    else out = out unicode(56320 + byte[i])
                }
                return out "\""
            }
            BEGIN {
                names = split("entry time host queue_id verdict virus scanner text sha256 sender sendmail",
                    name, " ")
            }
            {
                for (field = 1; field <= NF; field++) {
                    if ($field != 0) { byte[++n] = $field; continue }
                    value[++values] = quoted(n)
                    n = 0
                }
            }
            END {
                if (values != expected || n) exit 1
                print "{"
                for (i = 1; i <= names; i++) printf "  \"%s\": %s,\n", name[i], value[i]
                printf "  \"recipients\": ["
                for (; i <= values; i++) printf "%s%s", (i > names + 1 ? ", " : ""), value[i]
                printf "],\n  \"size\": %d\n}\n", size
            }'
}

# tell RECIPIENT...: one report.  That it cannot be sent is no reason to fail.
tell() {
    if [ -z "${SENDMAIL-}" ]; then
        say 'no SENDMAIL to send the report with'
        return
    fi
    report "$@" | send || {
        say "the report was not sent (status $?)"
        # So that the run of another recipient sends one.
        if [ -n "$mark" ]; then rmdir "$mark" 2>/dev/null; fi
    }
}

# Standard input, by mail, to those who are to be told.
send() {
    # avcheck's own command is taken apart where its options begin: the directory it
    # is installed in may have blanks in its name.  That of the guard before it has none.
    options=' -c -S '
    case $SENDMAIL in
        /*/avcheck"$options"*)
            program=${SENDMAIL%"$options"*}
            set -- "$program" -c -S "${SENDMAIL##*"$options"}"
            guard=${program%% /*}
            if [ "$guard" != "$program" ] && [ -f "$guard" ]; then
                shift
                set -- "$guard" "${program#* }" "$@"
            fi
            ;;
        *)
            # shellcheck disable=SC2086 # a program and its arguments: to be split
            set -- $SENDMAIL
            ;;
    esac
    if command -v timeout >/dev/null; then set -- timeout "$patience" "$@"; fi
    # The null sender: a bounce of the report must not come back to make another.
    # shellcheck disable=SC2086 # several addresses: to be split
    "$@" -f '' -- $notify >/dev/null
}

# plain TEXT LENGTH: one line of printable ASCII, no longer than LENGTH.
plain() {
    printf %s "$1" | tr '\t\v\f\r\n' '     ' | tr -c ' -~' '?' | cut -c "1-$2"
}

# full ADDRESS...: each with a domain, separated by commas.
full() {
    list=
    for address do
        if [ "${#list}" -gt 600 ]; then break; fi # a line has 998 bytes, RFC 5322 2.1.1
        case $address in
            *@*) ;;
            *'<'*'>'*) address=${address%%>*}@$domain'>' ;;
            *) address=$address@$domain ;;
        esac
        list=$list${list:+, }$address
    done
    plain "$list" 900
}

# shellcheck disable=SC2086 # several addresses: to be split
report() {
    found=$(plain "${AVCHECK_VIRUS:-$text}" 200)
    verdict=$(plain "${AVCHECK_VERDICT:-infected}" 30)
    case $quarantine in
        ./*) where=$(pwd)/${quarantine#./}/$entry ;;
        *) where=$quarantine/$entry ;;
    esac
    printf '%s\n' \
        "From: $(full "$from")" \
        "To: $(full $notify)" \
        "Subject: avcheck on $(plain "$host" 40): $verdict: $(plain "$found" 60)" \
        "Date: $(date -u '+%a, %d %b %Y %H:%M:%S +0000')" \
        "Message-ID: <$entry@$domain>" \
        'Auto-Submitted: auto-generated' \
        'MIME-Version: 1.0' \
        'Content-Type: text/plain; charset=us-ascii' \
        '' \
        "A message was stored in the quarantine on $(plain "$host" 100) and not delivered." \
        'Neither its sender nor its recipients were told.' \
        '' \
        "  Verdict:     $verdict" \
        "  Found:       $found" \
        "  Scanner:     $(plain "${AVCHECK_SCANNER:-(unknown)}" 200)" \
        "  Queue id:    $(plain "${AVCHECK_QUEUE_ID:-(unknown)}" 100)" \
        "  Sender:      <$(plain "$sender" 200)> (often forged)"
    left=10
    for recipient do
        left=$((left - 1))
        [ "$left" -ge 0 ] || break
        printf '  Recipient:   <%s>\n' "$(plain "$recipient" 200)"
    done
    [ $# -le 10 ] || printf '  Recipients:  %d more\n' $(($# - 10))
    printf '%s\n' \
        "  Size:        $((size)) bytes" \
        "  SHA-256:     $(plain "${digest:-(unknown)}" 64)" \
        "  Stored in:   $(plain "$where" 400)"
    [ -z "$key" ] || printf '%s\n' '' \
        'If it had more recipients, they may have entries of their own, with the same queue' \
        'id. There is no report for those.'
    [ "$excerpt" -gt 0 ] || return 0
    printf '\nThe beginning of its header:\n\n'
    # Marked on each line, so that nothing in it is taken for ours.
    dd if="$quarantine/$entry/message" bs="$excerpt" count=1 2>/dev/null |
        tr -d '\r' | tr '\t\v\f' '   ' | tr -c '\n -~' '?' | sed '/^$/,$d' | cut -c 1-200 | sed 's/^/  | /'
}

main "$@"
}

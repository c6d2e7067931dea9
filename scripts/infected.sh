#!/bin/sh
{ # The shell reads all of this before it runs any of it: a file that is cut short is an error.
# infected.sh: what avcheck(1) does with mail that must not be delivered.
#
# It stores the message in a private quarantine directory, and tells postmaster in one
# short report.  It writes to nobody else: the sender of a virus is forged.
#
# Settings: change them here, or in the settings file, which is named first.  It
# has lines of the form name=value, and comments that begin with "#".  Environment
# variables have no effect, because avcheck gives its handler a fixed environment.
# The settings file says where mail goes.  So it is used only if it and its
# directory are owned by root and writable by nobody else, and it is not a symbolic
# link.  If it exists and cannot be used, the mail waits.

settings=/etc/avcheck/infected.conf

# The quarantine directory.  A relative path starts at the spool directory.  The
# directory is created if it is missing (its parent is not).  It must not be writable
# by its group, nor accessible to others.
quarantine=quarantine

# Whom to tell: addresses, separated by blanks.  Empty: nobody.  An address without a
# domain is handed to the mail system as it is, which knows its own postmaster (RFC
# 5321 4.5.1); the name of this host is often not one of its local domains.  In the
# header, the name of this host is added, because some mail systems refuse the report
# without: Exim 4.96, as Debian sets it up, says "550 header syntax" to "To: postmaster",
# and "550 relay not permitted" to the recipient postmaster@vm on the host vm.example.org.
notify=postmaster

# The From header of the report.  Empty: postmaster at this host.
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
# The working directory is the spool directory.  All of these but MESSAGE may be
# missing, and whoever sent the virus may have chosen them.
#
# What it leaves: one directory for each message,
#
#   QUARANTINE/20260102T030405Z-0123456789ab/message    as received
#   QUARANTINE/20260102T030405Z-0123456789ab/about.json the rest
#
# which appears with one rename, complete and on disk, or not at all.  In
# about.json, the sidecar, bytes that are not UTF-8 are written \udc80..\udcff, as by
# Python's surrogateescape, so that the envelope can be restored byte by byte.
# Entries are made in QUARANTINE/.new; what a kill or a power cut leaves
# there is removed a day later.  What is in use is locked by flock(1), and stays,
# whatever the clock says.  Without flock(1) nobody can know what is in use, and
# nothing is removed there.
#
# Exit status: 0: the message is in the quarantine, and standard output has the name
# of the entry (also if the report could not be sent; standard error says so then).
# 75: it is not, and nothing of it is left there, so the MTA must keep it.  There is
# no other.
#
# A message may come in several runs, one for each recipient, with the same queue ID:
# each has an entry, and the first one sends the report.
#
# If this is killed between the rename and its exit, the MTA tries again.  With a queue
# ID, and sha256sum(1), the end of the entry's name is the same at each try: the next
# try finds the message there, with the same bytes, and does not store it twice (the
# report may come twice, with one Message-ID).  So an entry that can be seen already is
# not removed then: status 75, and the next try finds it.  Without them there are two
# entries with one digest: the message is stored twice, but never lost.

# The directory in which the entry is made, before anybody else can see it.  Descriptor 9
# is open on it meanwhile, and has the lock.
new=

# The mark that postmaster was told about this message, if this run has set it.
mark=

# The end of the entry's name, if it is known beforehand: the same at each try of this run.
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

# Says why and exits with 75.
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

# Defines `lock DIRECTORY`, which locks descriptor 9, and fails if another run has the
# lock, or if the directory on 9 does not have that name (any more): after another run has
# given up the lock, the directory may be gone, or have become an entry.
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

# Removes what a kill has left a day ago.  Other runs may finish their entries meanwhile,
# and find(1) and the shell complain that they are gone.
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

# Whether no run has reported this message yet.  A mail system may have a run for each of its
# recipients, at the same time; they have the queue ID and the digest in common.  The mark is
# removed a day later, like everything that is left there.
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
# Two tries at the same time can make two.  All but the first by name are then removed:
# the one that looks last sees both, and all agree on the one that stays.
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
        # By one rename: nobody must see half an entry.
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
    # If another try has stored the same, that entry stays, otherwise this one.
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
# the name until the rename.  Once it is reserved, it is safe to look whether an entry
# has it, and mv(1) never finds something in its way.
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
        # Another try has it, or a killed run has left it.  The mail system tries again later.
        [ -z "$key" ] || fail "$quarantine/.new: another try is storing this message"
    done
    fail "$quarantine/.new: no entry can be made (tried $try times)"
}

# withdraw WHY: fails, and removes the entry if it can be seen already, unless another
# try will find it, or may rely on it.
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

# sidecar RECIPIENT...: the JSON text, in ASCII.  awk(1) gets the bytes as numbers from
# od(1), so that no byte has a special meaning for it.
sidecar() {
    # If the left side of a pipe fails, the end is missing.
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

# tell RECIPIENT...: sends one report.  If that fails, the message is stored all the same.
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

# Sends standard input as mail to those who are to be told.
send() {
    # avcheck's own command is split where its options begin, because the directory that it
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
    # Each line is marked, so that nothing in it is taken for a line of the report.
    dd if="$quarantine/$entry/message" bs="$excerpt" count=1 2>/dev/null |
        tr -d '\r' | tr '\t\v\f' '   ' | tr -c '\n -~' '?' | sed '/^$/,$d' | cut -c 1-200 | sed 's/^/  | /'
}

main "$@"
}

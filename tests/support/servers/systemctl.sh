#!/bin/sh
# systemctl of a machine without systemd (machine.py): what pages tell it to do is done by
# the init scripts of the packages, or by ExecStart= of a unit in /etc/systemd/system.
set -eu

verb=
now=
for word; do
    case $word in
        start | stop | restart | reload | enable | disable | daemon-reload)
            [ -n "$verb" ] || {
                verb=$word
                continue
            }
            ;;
        --now)
            now=yes
            continue
            ;;
    esac
    case $verb$now in
        enable | disable | daemon-reload) continue ;;
        enableyes) do=start ;;
        disableyes) do=stop ;;
        *) do=$verb ;;
    esac
    name=${word%.service}
    unit=/etc/systemd/system/$name.service
    case $word in
        *.socket) ;; # its service is started by itself
        *)
            if [ -f "$unit" ]; then
                if [ "$do" != start ] && [ -f "/run/unit.$name" ]; then
                    kill "$(cat "/run/unit.$name")" || :
                    rm -f "/run/unit.$name"
                fi
                if [ "$do" != stop ]; then
                    command=$(sed -n 's/^ExecStart=//p' "$unit")
                    # shellcheck disable=SC2086 # words, as systemd takes them apart
                    setsid $command </dev/null >/dev/null 2>&1 &
                    echo $! >"/run/unit.$name"
                fi
            else
                "/etc/init.d/$name" "$do" </dev/null
            fi
            ;;
    esac
done

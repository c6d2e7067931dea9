#!/bin/sh
# What tests/support/servers/machine.py starts, in namespaces of its own:
#
#   machine.sh layer DIRECTORY NAME PACKAGE...     install Debian packages into DIRECTORY/upper
#   machine.sh start DIRECTORY LOWER NAME     be the first process of a machine of that name
#
# and what these two run below their new root:
#
#   machine.sh install PACKAGE...     answers for debconf are on standard input; $PURGE names
#                                     packages that go first
#   machine.sh first NAME
set -eu

# mounts DIRECTORY LOWER: a root at DIRECTORY/root, of those files and no others.
mounts() {
    root=$1/root
    mount -t overlay overlay \
        -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    # Not this host's /dev: its /dev/log would be shared.
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for name in null zero full random urandom tty; do
        : >"$root/dev/$name"
        mount --bind "/dev/$name" "$root/dev/$name"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s fd/0 "$root/dev/stdin"
    ln -s fd/1 "$root/dev/stdout"
    ln -s fd/2 "$root/dev/stderr"
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mkdir -m 1777 "$root/run/lock"
    cp "$0" "$root/run/machine.sh"
}

layer() {
    directory=$1
    # Where the name has no dot in it, sendmail waits for a better one when it is installed.
    hostname "$2"
    shift 2
    mounts "$directory" /
    exec chroot "$directory/root" /bin/sh /run/machine.sh install "$@"
}

install_packages() {
    apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 --no-install-recommends install "$@"
}

install() {
    # No service is started by a package.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # several names
    [ -z "${PURGE-}" ] || apt-get -qq -y -o Dpkg::Use-Pty=0 purge $PURGE
    debconf-set-selections
    install_packages "$@" || { apt-get -qq update && install_packages "$@"; }
    rm /usr/sbin/policy-rc.d
}

start() {
    mounts "$1" "$2"
    exec chroot "$1/root" /bin/sh /run/machine.sh first "$3"
}

first() {
    cd /
    ip link set lo up
    hostname "$1"
    printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s %s\n' "$1" "${1%%.*}" >/etc/hosts
    printf '%s\n' "$1" >/etc/hostname
    printf '%s\n' "$1" >/etc/mailname
    echo 512 >/proc/sys/net/unix/max_dgram_qlen  # as systemd does it
    busybox syslogd -O /var/log/syslog
    echo ready
    # Whoever loses its parent becomes a child of this shell, and wait takes care of its end.
    while :; do
        sleep 3600 &
        wait $! || :
    done
}

"$@"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes the disks that bench.sh measures with: real installs of Debian, written by a real kernel, so that
# file systems and a database decide where data lies. Root; some minutes; about 6 GB, and as much again meanwhile.
# usage: make-disks.sh DIR [SUITE]
#   DIR    where they go; what is there already is kept, so that an interrupted run goes on
#   SUITE  of Debian (default: bookworm)
#   MIRROR in the environment: where packages come from (default: http://deb.debian.org/debian)
#
# DIR/day1/base.qcow2    a Debian install in ext4
# DIR/day1/web.qcow2     over base: a web server with its pages
# DIR/day1/db.qcow2      over base: PostgreSQL with a pgbench database
# DIR/day1/second.qcow2  another install of the same, by itself
# DIR/day2/*.qcow2       web and db a day later: packages, pages and logs; pgbench has run
# DIR/load/              what pgbench changed on the disk, as commands for qemu-io: bench.sh writes it again
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin

if (($# < 1 || $# > 2)); then
    sed -n 's/^# usage: /usage: /p; /^#   /s/^# //p' "$0" >&2
    exit 2
fi
[ "$(id -u)" = 0 ] || { echo "make-disks.sh: mounting disks needs root" >&2; exit 1; }
mkdir -p "$1"
dir=$(realpath "$1") suite=${2:-bookworm}
for tool in qemu-img qemu-io qemu-storage-daemon losetup mkfs.ext4 debootstrap chroot python3; do
    command -v $tool >/dev/null || { echo "make-disks.sh: $tool is missing (Debian: debootstrap qemu-utils qemu-system-common e2fsprogs)" >&2; exit 1; }
done
[ -e /dev/fuse ] || { echo "make-disks.sh: there is no /dev/fuse" >&2; exit 1; }
if [ ! -e "$dir/load/commands" ]; then
    need=12 free=$(($(df --output=avail -B1 "$dir" | tail -n 1) + $(du -sB1 "$dir" | cut -f1)))
    ((free >> 30 >= need)) || { echo "make-disks.sh: $dir: $need GiB are needed, and there are $((free >> 30))" >&2; exit 1; }
fi
mnt=$dir/mnt
mkdir -p "$dir/day1" "$dir/day2" "$mnt"

undo=()
undo_all() {
    local i
    for ((i = ${#undo[@]} - 1; i >= 0; i--)); do eval "${undo[i]}" || true; done
    undo=()
}
trap undo_all EXIT

wait_for() { # wait_for COMMAND...: until it succeeds, at most ten seconds
    local try
    for ((try = 0; try < 100; try++)); do
        if "$@"; then return; fi
        sleep 0.1
    done
    echo "make-disks.sh: waited in vain for: $*" >&2
    return 1
}
is_file_of_size() { [ "$(stat -c %s "$1")" -gt 0 ]; }
has_ended() { ! kill -0 "$1" 2>/dev/null; }

# attach IMAGE: as ${device}, through QEMU, so that every write goes where QEMU puts it.
attach() {
    local image=$1 pid
    : >"$dir/export"
    qemu-storage-daemon --daemonize --pidfile "$dir/qsd.pid" \
        --blockdev "driver=file,node-name=f,filename=$image,discard=unmap" \
        --blockdev driver=qcow2,node-name=q,file=f,discard=unmap \
        --export "type=fuse,id=x,node-name=q,mountpoint=$dir/export,writable=on"
    pid=$(cat "$dir/qsd.pid")
    undo+=("kill $pid; wait_for has_ended $pid; rm -f '$dir/export' '$dir/qsd.pid'")
    wait_for is_file_of_size "$dir/export"
    device=$(losetup --find --show "$dir/export")
    undo+=("losetup -d $device")
}

mounted() {
    mount "$device" "$mnt"
    undo+=("umount $mnt")
}

# inside COMMAND...: in the system on the disk; no service starts there.
inside() {
    printf '#!/bin/sh\nexit 101\n' >"$mnt/usr/sbin/policy-rc.d"
    chmod 755 "$mnt/usr/sbin/policy-rc.d"
    mount --bind /proc "$mnt/proc"
    mount --bind /dev "$mnt/dev"
    cp /etc/resolv.conf "$mnt/etc/resolv.conf"
    local code=0
    env -u TMPDIR chroot "$mnt" "$@" </dev/null >"$dir/log" 2>&1 || code=$?
    umount "$mnt/dev" "$mnt/proc"
    [ $code = 0 ] || { tail -n 20 "$dir/log" >&2; return 1; }
}
mirror=${MIRROR:-http://deb.debian.org/debian}

# made FILE: is there; otherwise ${new} is where it is to be made.
made() {
    new=$1.new
    [ -e "$1" ] && return
    rm -f "$new"
    echo "make-disks: ${1#"$dir"/}" >&2
    return 1
}
finish() { # finish FILE: all is on it
    sync -f "$mnt"
    fstrim "$mnt"
    undo_all
    mv "$new" "$1"
}

install_debian() { # install_debian FILE
    if made "$1"; then return; fi
    qemu-img create -q -f qcow2 "$new" 10G
    attach "$new"
    mkfs.ext4 -q "$device"
    mounted
    debootstrap --variant=minbase --include=ca-certificates,less,vim-tiny,python3,man-db "$suite" "$mnt" "$mirror" >"$dir/log" 2>&1 ||
        { tail -n 20 "$dir/log" >&2; return 1; }
    inside apt-get -qq install -y --no-install-recommends build-essential git
    finish "$1"
}

overlay_of_base() { # an overlay as ${new}, mounted
    # The name of the base is relative, so that the folder can be moved.
    (cd "$dir/day1" && qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$new")
    attach "$new"
    mounted
}

# pages FIRST LAST: text and pictures, the same each time.
pages() {
    python3 - "$mnt/var/www/html" "$1" "$2" <<'PY'
import os, random, sys
root, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
words = open("/usr/share/dict/words").read().split() if os.path.exists("/usr/share/dict/words") else \
    ["word%d" % n for n in range(20000)]
for n in range(first, last):
    r = random.Random(n)
    folder = os.path.join(root, "%02d" % (n % 50))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "%d.html" % n), "w") as f:
        f.write("<html><body><p>" + " ".join(r.choices(words, k=r.randrange(200, 4000))) + "</p></body></html>\n")
    if n % 4 == 0:
        with open(os.path.join(folder, "%d.jpg" % n), "wb") as f:
            f.write(r.randbytes(r.randrange(20000, 200000)))
PY
}

as_postgres() { inside setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
# with_server COMMAND: in the guest, while its server runs
with_server() {
    cat >"$mnt/tmp/with-server" <<'SH'
#!/bin/sh
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
cluster=$(echo /var/lib/postgresql/*/main)
config=$(echo /etc/postgresql/*/main/postgresql.conf)
mkdir -p /tmp/run
pg_ctl -D "$cluster" -w -l /tmp/server-log -o "-c config_file=$config -c listen_addresses= -c unix_socket_directories=/tmp/run -c ssl=off -c dynamic_shared_memory_type=mmap" start ||
    { cat /tmp/server-log; exit 1; }
code=0
"$@" || code=$?
pg_ctl -D "$cluster" -w -m fast stop
exit $code
SH
    chmod 755 "$mnt/tmp/with-server"
    as_postgres /tmp/with-server "$@"
}

install_debian "$dir/day1/base.qcow2"
install_debian "$dir/day1/second.qcow2"

if ! made "$dir/day1/web.qcow2"; then
    overlay_of_base
    inside apt-get -qq install -y --no-install-recommends nginx php-fpm
    pages 0 4000
    finish "$dir/day1/web.qcow2"
fi
if ! made "$dir/day1/db.qcow2"; then
    overlay_of_base
    inside apt-get -qq install -y --no-install-recommends postgresql postgresql-contrib
    with_server pgbench -h /tmp/run -q -i -s 40 postgres
    finish "$dir/day1/db.qcow2"
fi
if ! made "$dir/day2/web.qcow2"; then
    (cd "$dir/day1" && cp --sparse=always web.qcow2 "$new" && qemu-img rebase -u -f qcow2 -b ../day1/base.qcow2 -F qcow2 "$new")
    attach "$new"
    mounted
    inside apt-get -qq install -y --no-install-recommends redis-server curl
    pages 3800 4300
    seq 200000 | sed 's/.*/10.0.0.& - - "GET \/index.html HTTP\/1.1" 200 612/' >>"$mnt/var/log/nginx/access.log"
    finish "$dir/day2/web.qcow2"
fi
if ! made "$dir/day2/db.qcow2"; then
    (cd "$dir/day1" && cp --sparse=always db.qcow2 "$new" && qemu-img rebase -u -f qcow2 -b ../day1/base.qcow2 -F qcow2 "$new")
    attach "$new"
    mounted
    with_server pgbench -h /tmp/run -n -c 4 -j 2 -t 1000 postgres
    finish "$dir/day2/db.qcow2"
fi

# What changed, cluster by cluster, to be written again through QEMU to a copy of the first day.
if [ ! -e "$dir/load/commands" ]; then
    echo "make-disks: load" >&2
    rm -rf "$dir/load"
    mkdir "$dir/load"
    for day in 1 2; do qemu-img convert -f qcow2 -O raw "$dir/day$day/db.qcow2" "$dir/load/day$day.raw"; done
    python3 - "$dir/load" <<'PY'
import sys
cluster, dir = 65536, sys.argv[1]
with open(dir + "/day1.raw", "rb") as a, open(dir + "/day2.raw", "rb") as b, \
        open(dir + "/data", "wb") as data, open(dir + "/commands.new", "w") as commands:
    at = 0
    while True:
        x, y = a.read(cluster), b.read(cluster)
        if not y: break
        if x != y:
            n = data.tell()
            data.write(y)
            commands.write(f"{at} {n} {len(y)}\n")
        at += len(y)
PY
    rm "$dir"/load/day?.raw
    mv "$dir/load/commands.new" "$dir/load/commands"
fi
rm -rf "$mnt" "$dir/log"
du -h "$dir"/day?/*.qcow2

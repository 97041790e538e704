#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# What an incremental backup reads, stores and takes, held against its bounds. Exits 1 where one is missed.
# usage: measure-incremental.sh BYRE [--install] [--work DIR] [PART]...
#   BYRE       the program, of a release build
#   --install  installs what is missing from Debian's archive (root); without it, what is missing is said, and that part fails
#   --work     where the disks are made, about 10 GB (default: a temporary folder); they are removed at the end
#   PART       idle bitmap snapshot overlay postgres (default: all)
#
# How it is measured:
# - A passphrase opens the repository, as it does for most. What that takes is measured by `byre list`,
#   which derives the key, reads the log and nothing else: the median of five. It is subtracted.
# - The page cache is warm: the disks were written just before, or read by the backup before.
# - Each change is made and backed up three times, at other places; the median of the times counts, and every
#   byte count has to hold.
# - A disk of 1 TiB with 64 GiB allocated costs nothing but its tables: 64 GiB of clusters are preallocated,
#   holes in the host file that the image calls data, and the disk is grown then. Around the places that
#   change there are 10 times 8 MiB whose 4 KiB blocks all differ, so that there are chunks to be kept; but each
#   repeats 32 bytes, for of a chunk that changed the rest is stored again, too, and is not to count.
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")/.." && pwd)
usage() {
    sed -n 's/^# usage: /usage: /p; /^#   /s/^# //p' "$0" >&2
    exit 2
}

byre='' work='' install=false parts=()
while (($#)); do
    case $1 in
    --install) install=true ;;
    --work) work=${2:?} && shift ;;
    idle | bitmap | snapshot | overlay | postgres) parts+=("$1") ;;
    -*) usage ;;
    *) [ -z "$byre" ] || usage && byre=$(realpath "$1") ;;
    esac
    shift
done
[ -x "$byre" ] || usage
[ ${#parts[@]} -gt 0 ] || parts=(idle bitmap snapshot overlay postgres)

T=$(mktemp -d "${work:-${TMPDIR:-/tmp}}/byre-measure.XXXXXX")
undo=()
# shellcheck disable=SC2317
clean_up() {
    local i code=$?
    set +e
    for ((i = ${#undo[@]} - 1; i >= 0; i--)); do eval "${undo[i]}" >/dev/null 2>&1; done
    cd /
    rm -rf "$T"
    exit "$code"
}
trap clean_up EXIT
cd "$T"
for name in "${!BYRE_@}"; do unset "$name"; done
export BYRE_REPOSITORY=$T/repo BYRE_CACHE_DIR=$T/cache BYRE_STATE_DIR=$T/state
export BYRE_PASSWORD='correct horse battery staple'
"$byre" init -q --reserve 0 >"$T/init"

missed=0
# json EXPRESSION: of ${d}, the summary of the last backup.
json() { python3 -c 'import json, sys; d = json.load(open(sys.argv[2])); print(eval(sys.argv[1]))' "$1" "$T/summary"; }
# held WHAT VALUE BOUND UNIT: a line of the table.
held() {
    local verdict=ok
    python3 -c 'import sys; sys.exit(not float(sys.argv[1]) <= float(sys.argv[2]))' "$2" "$3" || verdict=MISSED
    [ $verdict = ok ] || missed=$((missed + 1))
    printf '  %-34s %14s   at most %12s %-6s %s\n' "$1" "$2" "$3" "$4" "$verdict"
}
missing() {
    echo "  MISSED: $*"
    missed=$((missed + 1))
}
# seconds COMMAND...: how long it takes; its output is in ${T}/out.
seconds() {
    local start=$EPOCHREALTIME
    "$@" >"$T/out" 2>"$T/err" || {
        echo "measure-incremental: exit $?: $*" >&2
        cat "$T/err" >&2
        exit 1
    }
    python3 -c 'import sys; print(round(float(sys.argv[2]) - float(sys.argv[1]), 3))' "$start" "$EPOCHREALTIME"
}
# backup OPTION...: how long it takes; its summary is kept.
backup() {
    seconds "$byre" backup --json "$@"
    tail -n 1 "$T/out" >"$T/summary"
}
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
opening() {
    local times=() i
    for i in 1 2 3 4 5; do times+=("$(seconds "$byre" list)"); done
    median "${times[@]}"
}
# beside TIME...: the median without what opening takes.
beside() { python3 -c 'import sys; print(round(max(0.0, float(sys.argv[1]) - float(sys.argv[2])), 3))' "$(median "$@")" "$(opening)"; }
# A file younger than 2 s when its backup began is not believed to be frozen later.
settle() {
    python3 -c '
import os, sys, time
youngest = max(os.stat(f).st_ctime for f in sys.argv[1:])
while time.time() < youngest + 2.1: time.sleep(0.05)' "$@"
}
io() { qemu-io -f qcow2 "$@" >"$T/qemu-io" 2>&1 || { cat "$T/qemu-io" >&2; exit 1; }; }
rule() { "$byre" show --json "$(json 'd["archive"]')" | python3 -c 'import json, sys; print(", ".join(l["delta"] for l in json.load(sys.stdin)["layers"]))'; }

# -- nothing changed ------------------------------------------------------------------------------
part_idle() {
    local n args=() times=()
    echo "nothing changed, 20 GiB disk with 3 GiB allocated:"
    qemu-img create -q -f qcow2 idle.qcow2 20G
    for n in {0..47}; do args+=(-c "write -q -P $((n + 1)) $((n * 400))M 64M"); done
    io "${args[@]}" idle.qcow2
    settle idle.qcow2
    echo "  first backup: $(backup idle.qcow2) s"
    for n in 1 2 3; do
        times+=("$(backup idle.qcow2)")
        held bytes_read "$(json 'd["bytes_read"]')" 0 B
        # The header's cluster, the L1 and the snapshot table: an L2 table more would be 64 KiB each.
        held bytes_metadata_read "$(json 'd["bytes_metadata_read"]')" $((3 * 65536)) B
    done
    held 'time beside opening' "$(beside "${times[@]}")" 0.1 s
    echo "  rule: $(rule); times ${times[*]}, opening $(opening) s"
    rm idle.qcow2
}

# -- ten clusters of a large disk -----------------------------------------------------------------
# large FILE: 1 TiB, of which 64 GiB are allocated.
large() {
    local n args=()
    qemu-img create -q -f qcow2 -o preallocation=metadata "$1" 64G
    qemu-img resize -q "$1" 1T
    for n in {0..9}; do
        python3 -c '
import hashlib, sys
for block in range(2048):
    sys.stdout.buffer.write(hashlib.sha256(f"{sys.argv[1]} {block}".encode()).digest() * 128)' "$n" >"data-$n"
        args+=(-c "write -q -s data-$n $((n * 6 * 1024))M 8M")
    done
    io "${args[@]}" "$1"
    rm data-*
}
# change FILE ROUND: ten clusters, each with a byte of its own.
change() {
    local n args=()
    for n in {0..9}; do args+=(-c "write -q -P $(($2 * 16 + n)) $((n * 6 * 1048576 + 1024 + $2 * 1280))k 64k"); done
    io "${args[@]}" "$1"
}
# ten_changes [OPTION...]: three rounds; ${image} is what is backed up, after round_begins, the change, and round_ends.
ten_changes() {
    local round times=()
    settle ./*.qcow2
    echo "  first backup: $(backup "$@" "$image") s"
    held 'bytes_allocated (for certain)' "$(json '-d["bytes_allocated"]')" "-$((64 << 30))" B
    for round in 1 2 3; do
        round_begins "$round"
        change "$image" "$round"
        round_ends "$round"
        settle ./*.qcow2
        times+=("$(backup "$@" "$image")")
        held bytes_read "$(json 'd["bytes_read"]')" $((4 << 20)) B
        held bytes_stored "$(json 'd["bytes_stored"]')" $((256 << 10)) B
        echo "  rule: $(rule), metadata read $(json 'd["bytes_metadata_read"]') B"
    done
    held 'time beside opening' "$(beside "${times[@]}")" 1 s
    echo "  times ${times[*]}, opening $(opening) s"
    rm -f ./*.qcow2
}
part_bitmap() {
    echo "1 TiB disk, 64 GiB allocated, 10 clusters changed, by bitmap:"
    image=bitmap.qcow2
    large $image
    round_begins() { :; }
    round_ends() { :; }
    ten_changes --bitmap
}
part_snapshot() {
    echo "the same, by internal snapshot:"
    image=snapshot.qcow2
    large $image
    qemu-img snapshot -c 0 $image
    round_begins() { :; }
    # One before each backup: what has changed since the last one is then what is not in its snapshot.
    round_ends() { qemu-img snapshot -c "$1" $image; }
    ten_changes
}
part_overlay() {
    echo "the same, by a new overlay:"
    image=overlay-0.qcow2
    large $image
    round_begins() {
        qemu-img create -q -f qcow2 -b "$image" -F qcow2 "overlay-$1.qcow2"
        image=overlay-$1.qcow2
    }
    round_ends() { :; }
    ten_changes
}

# -- a database -----------------------------------------------------------------------------------
# run_guest COMMAND...: with the disk pg.qcow2 mounted on mnt and a server on it.
pg_bin=$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1 || true)
as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups env PATH="$pg_bin:$PATH" "$@"); }
guest() {
    local device qsd
    : >"$T/export"
    qemu-storage-daemon --daemonize --pidfile "$T/qsd.pid" --blockdev "driver=file,node-name=f,filename=$T/pg.qcow2,discard=unmap" \
        --blockdev driver=qcow2,node-name=q,file=f,discard=unmap --export "type=fuse,id=x,node-name=q,mountpoint=$T/export,writable=on"
    qsd=$(cat qsd.pid)
    undo+=("kill $qsd")
    device=$(losetup --find --show "$T/export")
    undo+=("losetup -d $device")
    [ "$1" != format ] || { mkfs.ext4 -q "$device" && shift; }
    mkdir -p mnt
    mount "$device" mnt
    undo+=("umount $T/mnt")
    "$@" >"$T/guest" 2>&1 || { tail -n 20 "$T/guest" >&2; exit 1; }
    umount mnt
    losetup -d "$device"
    kill "$qsd"
    tail --pid="$qsd" -f /dev/null
    undo=()
}
with_server() {
    as_postgres pg_ctl -D "$T/mnt/data" -w -l "$T/mnt/log" -o "-k $T/mnt -c listen_addresses=" start
    as_postgres "$@" -h "$T/mnt" postgres
    as_postgres pg_ctl -D "$T/mnt/data" -w -m fast stop
}
initialise() {
    chown postgres mnt
    as_postgres initdb -D "$T/mnt/data"
    with_server pgbench -q -i -s 20
}
# after_pgbench OPTION...: a run of it, and a backup; ${dirty} are the bytes of the clusters that QEMU has marked.
after_pgbench() {
    local name
    guest with_server pgbench -n -c 4 -j 2 "$@"
    sed -n 's/^number of transactions actually processed/  &/p' "$T/guest"
    name=$(qemu-img info --output=json pg.qcow2 | python3 -c '
import json, sys
print(*[b["name"] for b in json.load(sys.stdin)["format-specific"]["data"]["bitmaps"] if b["name"].startswith("byre-")])')
    # By QEMU's own server of bitmaps: qemu:dirty-bitmap:NAME.
    dirty=$(PYTHONDONTWRITEBYTECODE=1 python3 -c '
import sys
sys.path.insert(0, sys.argv[1])
import nbd
cluster, at, dirty = 65536, 0, set()
for length, state in nbd.dump("driver=qcow2,file.driver=file,file.filename=pg.qcow2", [], sys.argv[2].encode())[1]:
    if state & 1: dirty.update(range(at // cluster, -(-(at + length) // cluster)))
    at += length
print(len(dirty) * cluster)' "$here/tests/recipes" "$name")
    took=$(backup --bitmap pg.qcow2)
    echo "  dirty: $dirty B in clusters of 64 KiB; backup: $took s, opening $(opening) s"
    echo "  rule: $(rule), $(json 'd["bytes_new"]') B new, $(json 'd["bytes_stored"]') B stored"
}
part_postgres() {
    local tool dirty took
    echo "a PostgreSQL guest after pgbench, by bitmap:"
    if [ -z "$pg_bin" ] && $install; then
        apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql >/dev/null
        pg_bin=$(find /usr/lib/postgresql/*/bin -maxdepth 0 | sort -V | tail -n 1)
    fi
    [ -n "$pg_bin" ] || { missing "PostgreSQL is not installed (Debian: postgresql; or --install)"; return; }
    if [ "$(id -u)" != 0 ] || [ ! -e /dev/fuse ]; then
        missing "this needs root and /dev/fuse"
        return
    fi
    for tool in qemu-storage-daemon qemu-nbd losetup mkfs.ext4 setpriv; do
        command -v $tool >/dev/null || { missing "$tool is not installed"; return; }
    done
    # The server's user has to get there.
    chmod 711 "$T"
    qemu-img create -q -f qcow2 pg.qcow2 8G
    guest format initialise
    echo "  first backup: $(backup --bitmap pg.qcow2) s, $(json 'd["bytes_allocated"]') B allocated"
    # A busy while, which the bound is for; and a quiet one, which shows what scattered changes cost.
    after_pgbench -T 20
    held bytes_read "$(json 'd["bytes_read"]')" $((dirty * 13 / 10)) B
    after_pgbench -t 100
    echo "  bytes_read $(json 'd["bytes_read"]') B, no bound"
    rm pg.qcow2
}

for part in "${parts[@]}"; do "part_$part"; done
if ((missed)); then
    echo "measure-incremental: $missed bounds missed"
    exit 1
fi
echo "measure-incremental: all bounds held"

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Live backups of a real guest: Debian writes numbered records to two disks and to PostgreSQL (records.py)
# while it is backed up again and again, every other time quiesced by its agent. Each archive is restored,
# its file systems are checked, and it is booted: every record that was acknowledged before is there, none is
# torn, and both disks are of one instant. Once byre is killed while the guest runs on overlays, once both
# are. Not part of the suite: it installs Debian from the network, and the processor is emulated. Root;
# about 20 minutes; about 5 GB below TMPDIR, or /var/tmp.
# usage: BYRE=build/release/src/cli/byre tests/guest/live.sh [DIR]
#   DIR   where the guest was put before, or is to be put (default: a fresh one)
#   RUNS  in the environment: how many backups (default: 10)
#   PAUSE in the environment: seconds that the guest may stand still at most (default: 10)
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
: "${BYRE:?set BYRE to the path of the program under test}"
BYRE=$(realpath "$BYRE")
here=$(realpath "$(dirname "$0")")
scripts=$(realpath "$here/../../scripts")
runs=${RUNS:-10} pause=${PAUSE:-10}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/byre-live.XXXXXX")
undo=("rm -rf '$work'")
undo_to() { # undo_to COUNT: until so many are left
    local last
    while ((${#undo[@]} > $1)); do
        last=${undo[-1]}
        unset 'undo[-1]'
        eval "$last" || true
    done
}
trap 'undo_to 0' EXIT
trap 'exit 130' INT TERM
guest=$(realpath -m "${1:-$work/guest}")

say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }
fail() {
    echo "FAILED: $*" >&2
    [ ! -s "$work/console" ] || tail -n 5 "$work/console" >&2
    exit 1
}
wait_for() { # wait_for SECONDS COMMAND...: until it succeeds
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || fail "waited in vain for: $*"
        sleep 0.2
    done
}
tool() { python3 "$here/live_tools.py" "$@"; }
now() { cut -d ' ' -f 1 /proc/uptime; }
end_process() { # end_process PID
    kill "$1" 2>/dev/null || return 0
    wait_for 20 has_ended "$1"
}
has_ended() { ! kill -0 "$1" 2>/dev/null; }
is_file_of_size() { [ "$(stat -c %s "$1")" -gt 0 ]; }
acknowledged() { tail -n 1 "$work/acks" 2>/dev/null | cut -d ' ' -f 2; } # the last number
has_acknowledged() { [ "$(acknowledged || true)" -ge "$1" ] 2>/dev/null; }

# The guest, on copies of its disks, and a second disk with an internal snapshot.
[ -e "$guest/guest.qcow2" ] || "$scripts/make-guest.sh" --payload "$here/records" "$guest"
for name in "${!BYRE_@}"; do [ "$name" = BYRE ] || unset "$name"; done
export BYRE_REPOSITORY=$work/repository BYRE_PASSWORD=guest BYRE_CACHE_DIR=$work/cache BYRE_STATE_DIR=$work/state
machine=$work/machine
mkdir "$machine"
cp "$guest/base.qcow2" "$guest/guest.qcow2" "$machine/"
truncate -s 1G "$work/raw"
mkfs.ext4 -q -L data -d "$here/.." "$work/raw"
qemu-img convert -f raw -O qcow2 "$work/raw" "$machine/data.qcow2"
qemu-img snapshot -c first "$machine/data.qcow2"
rm "$work/raw"

say "boot"
qemu-system-x86_64 -name live -machine pc -accel tcg -cpu max,la57=off -m 448 -nodefaults -no-user-config \
    -vga std -display none -monitor none -nic none -device virtio-rng-pci -serial "file:$work/console" \
    -qmp "unix:$work/qmp,server=on,wait=off" -qmp "unix:$work/qmp-of-byre,server=on,wait=off" \
    -blockdev "driver=file,node-name=base-file,filename=$machine/base.qcow2,read-only=on" \
    -blockdev driver=qcow2,node-name=base,file=base-file,read-only=on \
    -blockdev "driver=file,node-name=guest-file,filename=$machine/guest.qcow2,discard=unmap" \
    -blockdev driver=qcow2,node-name=guest,file=guest-file,backing=base,discard=unmap \
    -blockdev "driver=file,node-name=data-file,filename=$machine/data.qcow2,discard=unmap" \
    -blockdev driver=qcow2,node-name=data,file=data-file,discard=unmap \
    -device virtio-blk-pci,drive=guest,id=vda,bootindex=1 -device virtio-blk-pci,drive=data,id=vdb \
    -device virtio-serial-pci \
    -chardev "socket,id=agent,path=$work/agent,server=on,wait=off" \
    -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0 \
    -chardev "socket,id=acks,path=$work/acks-socket,server=on,wait=off" \
    -device virtserialport,chardev=acks,name=byre.acks </dev/null >"$work/qemu.log" 2>&1 &
qemu=$!
undo+=("end_process $qemu")
wait_for 30 test -S "$work/acks-socket"
tool acks "$work/acks-socket" "$work/acks" &
undo+=("end_process $!")
wait_for 600 has_acknowledged 20
begin=$(now)
sleep 30 # without a backup, for comparison
tool track "$work/qmp"
tool disks "$work/qmp" >"$work/disks.before"
(cd "$machine" && stat -c '%n %i' ./*) >"$work/files.before"
"$BYRE" init >/dev/null 2>&1
read -r of_guest of_host < <(tool gaps "$work/acks" "$begin" "$(now)")
say "$(acknowledged) records, at most $of_guest s apart ($of_host s on our clock)"

# nothing_left: the machine's disks are the files that they were, and nothing lies about.
nothing_left() {
    tool disks "$work/qmp" | diff "$work/disks.before" - || fail "other disks than before"
    files_as_before
}
files_as_before() {
    (cd "$machine" && stat -c '%n %i' ./*) | diff "$work/files.before" - || fail "other files than before"
    "$BYRE" live status || fail "something is left"
}
is_frozen() { ! tool disks "$work/qmp" | diff -q "$work/disks.before" - >/dev/null; }

# hold_back: a backup stands still while the guest has written for a while on overlays; undone, it is killed.
hold_back() {
    local record
    "$BYRE" backup --full-read --name live --qmp "$work/qmp-of-byre" --disk all >"$work/out" 2>"$work/err" &
    undo+=("kill -KILL $!; wait $! 2>/dev/null")
    wait_for 60 is_frozen
    kill -STOP $!
    is_frozen || fail "the backup was done before it could be stopped"
    record=$(acknowledged)
    wait_for 60 has_acknowledged $((record + 50))
}

# recover: of what was broken off, which is seen before.
recover() {
    local code=0
    "$BYRE" live status >"$work/out" || code=$?
    [ $code = 3 ] || { cat "$work/out" >&2; fail "live status: exit $code, not 3"; }
    "$BYRE" live recover || fail "live recover"
}

before=() after=() ids=() kinds=()
for ((run = 0; run < runs; run++)); do
    how=() kinds[run]=crashed
    ((run % 2)) || how=(--quiesce) kinds[run]=quiesced
    before[run]=$(acknowledged)
    written=$(tool written "$work/qmp")
    begin=$(now) code=0
    "$BYRE" backup --json --name live --qmp "$work/qmp-of-byre" --disk all "${how[@]}" \
        >"$work/out" 2>"$work/err" || code=$?
    end=$(now)
    [ $code = 0 ] || { cat "$work/err" >&2; fail "backup $run, exit $code"; }
    after[run]=$(acknowledged)
    read -r id bytes still < <(tail -n 1 "$work/out" | python3 -c \
        'import json, sys; s = json.load(sys.stdin); print(s["archive"], s["bytes_read"], s["pause_seconds"])')
    ids[run]=$id
    read -r of_guest of_host < <(tool gaps "$work/acks" "$begin" "$end")
    printf '   %s %-9s %5.1f s, records %d to %d, at most %s s apart (%s s on our clock; frozen for %.3f s), %d MiB were written since the last, %d MiB read\n' \
        "${id:0:8}" "${kinds[run]}" "$(awk "BEGIN { print $end - $begin }")" "${before[run]}" "${after[run]}" "$of_guest" "$of_host" "$still" \
        $((written >> 20)) $((bytes >> 20))
    ((run == 0 || bytes <= written * 3 / 2 + (8 << 20))) || fail "read $bytes bytes, where $written were written"
    awk "BEGIN { exit !($of_host < $pause) }" || fail "the guest stood still for $of_host s"
    nothing_left
    wait_for 60 has_acknowledged $((after[run] + 150))
    if ((run == runs / 2)); then
        say "byre is killed, $(acknowledged) records"
        mark=${#undo[@]}
        hold_back
        undo_to "$mark"
        recover
        nothing_left
    fi
done
hold_back
kill -KILL "$qemu"
wait "$qemu" 2>/dev/null || true
undo_to 1
last=$(acknowledged)
say "the power goes off in a backup, $last records"
recover
files_as_before

# check_ext4 IMAGE OFFSET: the file system there, on an overlay; prints whether its journal had to be replayed.
check_ext4() {
    local mark=${#undo[@]} device replayed=clean
    qemu-img create -q -f qcow2 -b "$1" -F qcow2 "$work/overlay"
    : >"$work/export"
    qemu-storage-daemon --daemonize --pidfile "$work/pid" \
        --blockdev "driver=qcow2,node-name=q,file.driver=file,file.filename=$work/overlay" \
        --export "type=fuse,id=x,node-name=q,mountpoint=$work/export,writable=on"
    undo+=("end_process $(cat "$work/pid")")
    wait_for 10 is_file_of_size "$work/export"
    device=$(losetup --find --show --offset "$2" "$work/export")
    undo+=("losetup -d $device")
    if dumpe2fs -h "$device" 2>/dev/null | grep -q needs_recovery; then
        replayed=replayed
        e2fsck -y -E journal_only "$device" >"$work/fsck" 2>&1 || true
    fi
    e2fsck -fn "$device" >"$work/fsck" 2>&1 || { cat "$work/fsck" >&2; fail "e2fsck of $1"; }
    undo_to "$mark"
    rm "$work/overlay"
    echo $replayed
}

# ask DIR: boots the machine whose disks are there; ${line} is what it says of its records.
ask() {
    truncate -s 1M "$1/verify.img"
    mkfs.ext2 -q -L VERIFY "$1/verify.img"
    line=$("$scripts/boot-test.sh" --timeout 600 --log "$work/console" --expect 'VERIFY .* end' \
        --image guest.qcow2 --image data.qcow2 --image verify.img "$1") || fail "it does not boot"
    rm "$1/verify.img"
}

# judge AT-LEAST AT-MOST: whether ${line} is right, with up to a record between these numbers; ${why} it is not.
judge() {
    local first second database
    [[ $line =~ first=([0-9]+)\ second=([0-9]+)\ database=([0-9]+)\ torn=0\ errors=0\ tables=clean ]] || { why="something is damaged" && return 1; }
    first=${BASH_REMATCH[1]} second=${BASH_REMATCH[2]} database=${BASH_REMATCH[3]}
    grep -q 'files are whole' "$work/console" || { why="files of the system are damaged" && return 1; }
    ((first - second == 0 || first - second == 1)) || { why="the disks are of two instants" && return 1; }
    ((second - database == 0 || second - database == 1)) || { why="disk and database are of two instants" && return 1; }
    ((database >= $1 && first <= $2)) || { why="records $1 to $2 are wanted" && return 1; }
}

# hold DIR AT-LEAST AT-MOST HOW: the machine whose disks are in DIR is whole, and has the records that it should have.
hold() {
    local image journals why code
    for image in "$1"/*.qcow2; do
        code=0
        qemu-img check -q "$image" || code=$? # 3: clusters that a killed QEMU could not give back
        [ $code = 0 ] || [ "$4:$code" = killed:3 ] || fail "qemu-img check $image, exit $code"
    done
    journals="$(check_ext4 "$1/guest.qcow2" 1048576) $(check_ext4 "$1/data.qcow2" 0)"
    [ "$4" != quiesced ] || [ "$journals" = "clean clean" ] || fail "quiesced, but its journals had to be replayed: $journals"
    ask "$1"
    judge "$2" "$3" || fail "$why: $line"
    line=${line#*VERIFY } line=${line% end*}
    say "$4, records $2 to $3 are wanted, journals $journals: $line"
}
for ((run = 0; run < runs; run++)); do
    mkdir "$work/restored"
    "$BYRE" restore --quiet "${ids[run]}" --to "$work/restored" || fail "restore"
    hold "$work/restored" "${before[run]}" $((after[run] + 1)) "${kinds[run]}"
    rm -rf "$work/restored"
done

# The other way round: disks of two archives are found out.
"$BYRE" restore --quiet "${ids[0]}" --to "$work/restored"
"$BYRE" restore --quiet "${ids[runs - 1]}" --to "$work/other" --image data.qcow2
find "$work/other" -name data.qcow2 -exec mv {} "$work/restored/" ';'
ask "$work/restored"
! judge "${before[0]}" $((after[0] + 1)) || fail "disks of two archives are taken as those of one"
[ "$why" = "the disks are of two instants" ] || fail "$why: $line"
rm -rf "$work/restored" "$work/other"

say "the machine itself, after it all"
hold "$machine" "$last" $((last + 2)) killed # its last word may not have come through
say "done"

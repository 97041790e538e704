#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Exports of NBD servers: what is kept, what is said to be lost, what is not asked for, and servers
# that nobody should believe.
here=$(realpath "$(dirname "$0")")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$here/lib.sh"
requires qemu-img qemu-io qemu-nbd qemu-storage-daemon python3
new_repository
fast_key
socket=$T/nbd.socket
uri="nbd+unix:///?socket=$socket"

# ends FILE: the server whose process id is in it, unless it has ended with its client.
ends() {
    local pid
    if [ -s "$1" ] && pid=$(<"$1") && grep -qs '^qemu-' "/proc/$pid/comm"; then kill "$pid"; fi
}
# serve ARGUMENT...: qemu-nbd in the background, read-only, for one client.
serve() {
    ends nbd.pid
    rm -f "$socket"
    qemu-nbd --fork --pid-file="$T/nbd.pid" --read-only --socket="$socket" "$@"
}
at_end 'ends nbd.pid; ends tcp.pid; ends qsd.pid'
# backup_of CODE ARGUMENT...: with --json.
backup_of() {
    local code=$1
    shift
    expect_exit "$code" byre backup --json "$@"
}
same_as() {
    rm -rf back
    expect_exit 0 byre restore latest --to back
    same_content "$1" "$2" "${3:-qcow2}" raw
}

random_file noise 3145728 64
qemu-img create -q -f qcow2 base.qcow2 64M
guest_write base.qcow2 noise 1M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 disk.qcow2
io disk.qcow2 'write -P 7 40M 1M' 'write -z 1M 1M' 'write -P 9 63M 1M'

# ---- the first, through a chain: what reads as zeros is not asked for ----
serve -f qcow2 disk.qcow2
backup_of 3 "$uri"
expect_json "d['bytes_read'] == 4 << 20 and d['name'] == 'nbd'"
expect_says err 'only what the guest sees is kept'
expect_exit 0 byre show latest
expect_says out '^ *nbd, as its guest sees it'
expect_says out 'lost: only what'
expect_exit 0 byre show latest --json
expect_json "d['layers'][0]['format'] == 'nbd' and len(d['layers'][0]['losses']) == 1"
expect_json "d['layers'][0]['path'] == '$uri'"
same_as disk.qcow2 back/nbd

# The same disk as a qcow2 file brings next to nothing new; so does the export again.
qemu-img convert -f qcow2 -O qcow2 disk.qcow2 whole.qcow2
backup_of 0 whole.qcow2
expect_json "d['bytes_new'] < 300000"
serve -f qcow2 disk.qcow2
backup_of 3 "$uri"
expect_json "d['bytes_new'] == 0 and d['layers_unchanged'] == 1"
expect_exit 0 byre show latest --json
expect_json "d['layers'][0]['delta'] == 'compared'"

# Two disks of one run, one of them a file; an export by its name, over TCP.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
qemu-nbd --fork --pid-file="$T/tcp.pid" --read-only -b 127.0.0.1 -p "$port" -x a/disk-1 -f qcow2 disk.qcow2
backup_of 3 "nbd://127.0.0.1:$port/a/disk-1" base.qcow2 --name two
rm -rf back
expect_exit 0 byre restore two --to back
same_content disk.qcow2 back/disk-1 qcow2 raw
find back -name base.qcow2 | grep -q . || fail "the other disk did not come back"

# ---- bitmaps of the server ----
cp base.qcow2 b.qcow2
one=$(byre bitmap name)
qemu-img bitmap --add -f qcow2 b.qcow2 "$one"
serve -f qcow2 -B "$one" b.qcow2
backup_of 3 "$uri" --name b --bitmap-name "$one"
expect_exit 0 byre show latest --json
expect_json "d['layers'][0]['server_bitmap'] == '$one'"
same_as b.qcow2 back/nbd

# What was written is read, and the chunks around it; and the next bitmap is recorded.
io b.qcow2 'write -P 5 20M 64k' 'discard 2M 64k'
two=$(byre bitmap name)
qemu-img bitmap --add -f qcow2 b.qcow2 "$two"
serve -f qcow2 -B "$one" b.qcow2
backup_of 3 "$uri" --name b --bitmap-name "$two"
expect_json "0 < d['bytes_read'] < 1 << 20"
expect_exit 0 byre show latest --json
expect_json "d['layers'][0]['delta'] == 'bitmap' and d['layers'][0]['server_bitmap'] == '$two'"
same_as b.qcow2 back/nbd
expect_exit 0 byre check --read-data

# Nothing was written, and another server tells so: nothing is read at all.
cat >exports <<END
--blockdev driver=file,filename=$T/b.qcow2,node-name=f,read-only=on
--blockdev driver=qcow2,file=f,node-name=disk,read-only=on
--nbd-server addr.type=unix,addr.path=$socket
--export type=nbd,id=e,node-name=disk,bitmaps.0=$two
END
rm -f "$socket"
# shellcheck disable=SC2046
qemu-storage-daemon --daemonize --pidfile "$T/qsd.pid" $(<exports)
disk_uri="nbd+unix:///disk?socket=$socket"
backup_of 3 "$disk_uri" --name first # another name, so no parent
expect_json "d['bytes_read'] > 2 << 20 and d['bytes_new'] == 0"
ends qsd.pid
serve -f qcow2 -B "$two" b.qcow2
backup_of 3 "$uri" --name b
expect_json "d['bytes_read'] == 0 and d['layers_unchanged'] == 1"
same_as b.qcow2 back/nbd

# No bitmap was recorded then; none is offered; one of another size; nothing may be believed.
serve -f qcow2 -B "$two" b.qcow2
backup_of 3 "$uri" --name b --bitmap-name "$two"
expect_json "d['bytes_read'] > 2 << 20"
serve -f qcow2 b.qcow2
backup_of 3 "$uri" --name b --bitmap-name "$two"
expect_json "d['bytes_read'] > 2 << 20"
expect_exit 0 byre show latest
expect_says out 'does not offer'
serve -f qcow2 -B "$two" b.qcow2
backup_of 3 "$uri" --name b --bitmap-name "$two" --full-read
expect_json "d['bytes_read'] > 2 << 20"
qemu-img resize -q -f qcow2 b.qcow2 66M
serve -f qcow2 -B "$two" b.qcow2
backup_of 3 "$uri" --name b --bitmap-name "$two"
expect_json "d['bytes_read'] > 2 << 20"
same_as b.qcow2 back/nbd
serve -f qcow2 b.qcow2
backup_of 3 "$uri" --bitmap
expect_says err 'saved without a bitmap'
expect_exit 2 byre backup "$uri" --input-format raw

# ---- servers of all kinds ----
head -c 12000256 /dev/zero >flat # no multiple of a block
dd if=noise of=flat bs=65536 seek=20 conv=notrunc status=none
expect_exit 0 byre backup flat --name flat
# one_client MODE: nbd_server.py for one client.
one_client() {
    rm -f "$socket" ready
    mkfifo ready
    python3 "$here/nbd_server.py" "$socket" flat "$1" >ready &
    server=$!
    [ "$(head -n 1 ready)" = ready ] || fail "the server does not start"
}
for mode in honest tiny plain old blocks; do
    one_client "$mode"
    backup_of 3 "$uri" --name "$mode" --full-read
    expect_json "d['bytes_new'] == 0"
    rm -rf back
    expect_exit 0 byre restore "name:$mode" --to back
    cmp flat back/nbd
    wait $server
done
before=$(archive_count)
for mode in dies empty beyond short mute resized; do
    one_client "$mode"
    got=0
    byre backup "$uri" --name hostile >out 2>err || got=$?
    case $got in 1 | 10 | 11) ;; *) fail "$mode: exit $got: $(cat err)" ;; esac
    expect_says err '^byre: nbd\+unix'
    wait $server || true
done
expect_equal "$(archive_count)" "$before" 'archives after servers that fail'
expect_exit 0 byre check
expect_exit 1 byre backup "nbd+unix:///?socket=$T/nowhere"

# One that falls silent is given up when byre is stopped.
mkfifo asked
one_client silent
"$BYRE" backup "$uri" >out 2>err &
pid=$!
# it tells when it has asked for what it will not be told
head -n 1 asked >/dev/null
kill -TERM $pid
got=0
wait $pid || got=$?
expect_equal "$got" 143 'exit status'
wait $server || true
nothing_left

# ---- what else is done with such an archive ----
rm -rf back
expect_exit 0 byre diff two latest
expect_exit 0 byre stats two
expect_exit 0 byre show two --map
expect_exit 0 byre export two -o two.tar
tar -xf two.tar disk-1.raw # all that a plain tool needs
same_content disk.qcow2 disk-1.raw qcow2 raw
expect_exit 0 byre import two.tar --name again
expect_exit 0 byre restore again --to back
same_content disk.qcow2 back/disk-1.raw qcow2 raw
expect_exit 0 byre drill two
expect_exit 0 byre --repo "$T/other" init --reserve 0
BYRE_FROM_KEY_FILE=$BYRE_KEY_FILE expect_exit 0 byre --repo "$T/other" copy two --from "$BYRE_REPOSITORY"
rm -rf back
expect_exit 0 byre --repo "$T/other" restore two --to back
same_content disk.qcow2 back/disk-1 qcow2 raw

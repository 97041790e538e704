#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Disks that are no files of this host, read through the machine: they are as they were at one
# instant, the same for all disks, while a guest goes on writing; and whatever breaks, the machine
# has its disks as before.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091 source=tests/cli/live.sh
. "$(dirname "$0")/live.sh"
requires qemu-img qemu-io qemu-nbd qemu-storage-daemon qemu-system-x86_64 python3 socat
new_repository
fast_key
mkdir scratch second
export TMPDIR=$T/scratch

# The guest is a boot sector. It counts, and writes each number n, a sector full of it, first to slot
# (n * 37) % 256 of the first disk, then to that of the second one; each write ends before the next.
#     _start: cli; cld; xorw %ax,%ax; movw %ax,%ds; movw %ax,%es; movw %ax,%ss; movw $0x7c00,%sp; sti
#     loop:   incl 0x7e00; movl 0x7e00,%eax; movw $0x8000,%di; movw $128,%cx; rep stosl
#             imull $37,%eax,%eax; andl $255,%eax; pushl %eax; shll $3,%eax; addl $2048,%eax
#             movb $0x80,%dl; call write; popl %eax; shll $6,%eax; movb $0x81,%dl; call write; jmp loop
#     write:  movl %eax,dap+8; movw $dap,%si; movw $0x4300,%ax; int $0x13; ret
#     dap:    .byte 16,0; .word 1,0x8000,0; .quad 0
cat >guest.py <<'END'
import struct, sys, time
code = bytes.fromhex("fafc31c08ed88ec08ed0bc007cfb66ff06007e66a1007ebf0080b9800066f3ab666bc0256625ff000000665066c1e003660500080000b280e80d00665866c1e006b281e80200ebc666a35d7cbe557cb80043cd13c3100001000080")
FIRST, SECOND = (2048 * 512, 8 * 512), (0, 64 * 512)  # where slot 0 is, and how far apart they are
def number(data, at):
    sector = struct.unpack_from("<128I", data, at)
    assert len(set(sector)) == 1, f"torn sector at {at}"
    return sector[0]
def last(path, place):
    data = open(path, "rb").read()
    slots = [number(data, place[0] + i * place[1]) for i in range(256)]
    n = max(slots)
    want = [0] * 256
    for k in range(max(1, n - 255), n + 1): want[k * 37 % 256] = k
    assert slots == want, f"{path}: no state that ever was, up to {n}"
    return n
if sys.argv[1] == "boot":
    sys.stdout.buffer.write(code.ljust(510, b"\0") + b"\x55\xaa")
elif sys.argv[1] in ("now", "wait"):  # while it is written to
    def now():
        data = open(sys.argv[2], "rb").read(256 * SECOND[1])
        return max(struct.unpack_from("<I", data, i * SECOND[1])[0] for i in range(256))
    n = now()
    until = n + int(sys.argv[3]) if sys.argv[1] == "wait" else n
    for _ in range(3000):
        if n >= until: break
        time.sleep(0.02)
        n = now()
    assert n >= until, "the guest does not write"
    print(n)
else:
    first, second = last(sys.argv[2], FIRST), last(sys.argv[3], SECOND)
    assert first in (second, second + 1), f"not of one instant: {first}, {second}"
    print(second)
END

python3 guest.py boot >boot.raw
truncate -s 4M boot.raw
qemu-img convert -f raw -O qcow2 boot.raw boot.qcow2
random_file noise $((16 << 20)) 69
# Of the first 8 MiB the guest may write to all while a backup goes on; never to the noise.
truncate -s 32M far.raw
dd if=noise of=far.raw bs=1M seek=12 conv=notrunc status=none

# vm: boots it from boot.qcow2, with the second disk on a server.
vm() {
    rm -f qmp.sock second/qmp.sock
    qemu-system-x86_64 -nodefaults -display none -accel tcg -m 16 \
        -blockdev "driver=qcow2,node-name=near,file.driver=file,file.filename=$T/boot.qcow2" \
        -device virtio-blk-pci,drive=near,id=vda,bootindex=0 \
        -blockdev "driver=nbd,node-name=net,server.type=unix,server.path=$T/far.sock,export=far" \
        -blockdev driver=raw,node-name=far,file=net -device virtio-blk-pci,drive=far,id=vdb \
        -qmp "unix:$T/qmp.sock,server=on,wait=off" \
        -qmp "unix:$T/second/qmp.sock,server=on,wait=off" -daemonize -pidfile "$T/vm.pid"
    machine_pid=$(<vm.pid)
}
qemu-nbd --fork --pid-file="$T/far.pid" --socket="$T/far.sock" --shared=4 --persistent \
    --export-name=far --format=raw far.raw
# shellcheck disable=SC2016 # far.pid is read then
at_end 'kill "$(<far.pid)"'
vm

# goes_on [N]: until the guest has written N (20) times more.
goes_on() { python3 guest.py wait far.raw "${1:-20}" >/dev/null; }
# second ARGUMENT...: qmp, while byre has the first monitor.
second() { T=$T/second qmp "$@"; }
# graph: all of it that is not the guest's doing. A frozen disk may keep a bitmap more until the next run.
graph() {
    qmp '"\n".join(sorted([n["node-name"] + n["drv"] for n in r[0] if n["node-name"][0] != "#"] +
         [b["name"] + str(b["recording"]) for n in r[0] if n["node-name"] == "far" for b in n.get("dirty-bitmaps", [])] +
         [str(x) for x in r[1] + r[2]]))' query-named-block-nodes '{"flat": true}' \
        query-block-exports '{}' query-block-jobs '{}'
}
# as_before [GRAPH]: nothing is left of a backup, on the machine or the disk.
as_before() {
    expect_empty_folder scratch
    nothing_left_of_it
    [ $# = 0 ] || expect_equal "$(graph)" "$1" "the machine's graph"
    [ -n "$machine_pid" ] || return 0
    # whether a server runs is told by another one's start
    qmp 'r' nbd-server-start "{\"addr\": {\"type\": \"unix\", \"data\": {\"path\": \"$T/other\"}}}" \
        nbd-server-stop '{}' >/dev/null
}
# restored: checks that the newest archive is of one instant, and prints of which.
restored() {
    local near
    rm -rf back
    expect_exit 0 byre restore latest --to back
    near=$(find back -name boot.qcow2)
    qemu-img convert -f qcow2 -O raw "$near" back/near.raw
    python3 guest.py check back/near.raw "$(find back -name far)"
}

goes_on 60

# ---- what is refused, before anything is touched ----
before=$(graph)
expect_exit 1 byre backup --qmp qmp.sock
expect_says err 'disk vdb cannot be frozen: .*--content'
expect_exit 2 byre backup --content boot.qcow2
expect_exit 2 byre backup --qmp qmp.sock --scratch-dir scratch
qmp r nbd-server-start "{\"addr\": {\"type\": \"unix\", \"data\": {\"path\": \"$T/other\"}}}" >/dev/null
expect_exit 1 byre backup --qmp qmp.sock --content
expect_says err 'runs an NBD server already'
qmp r nbd-server-stop '{}' >/dev/null
as_before "$before"

# ---- one instant, whatever the guest writes meanwhile ----
from=$(python3 guest.py now far.raw)
held --content
goes_on 100
released 3
expect_json "d['disks'] == 2"
expect_says held.err 'only what the guest sees is kept'
until=$(python3 guest.py now far.raw)
as_before
instant=$(restored)
if [ "$instant" -lt "$from" ] || [ "$instant" -ge $((until - 70)) ]; then
    fail "not of the instant of its begin: $from, $instant, $until"
fi
cmp -s -n $((16 << 20)) -i $((12 << 20)):0 "$(find back -name far)" noise || fail "the noise is another"

# ---- the second one asks for what has changed; a server's bitmap tells, as on the disk that is here
expect_exit 3 byre --json backup --qmp qmp.sock --content
expect_json "d['bytes_read'] < 12 << 20"
expect_exit 0 byre show latest --json
expect_json "[l['delta'] for l in d['layers']] == ['bitmap'] * 2"
expect_json "d['layers'][1]['path'] == 'qmp:$T/qmp.sock/far'"
[ "$(restored)" -gt "$instant" ] || fail "the guest has stood still"

# ---- byre is killed: nothing is lost, and the bitmap before tells of everything since ----
before=$(graph)
held --content
goes_on
killed_while_held
expect_exit 3 byre live status
expect_says out 'copies what it overwrites to the scratch file'
expect_exit 0 byre live recover
as_before "$before"
goes_on
expect_exit 3 byre --json backup --qmp qmp.sock --content
expect_json "d['bytes_read'] < 12 << 20"
restored >/dev/null

# The same, by hand.
before=$(graph)
held --content
goes_on
killed_while_held
byre live status >hand || true
sed -n 's/^ *\$ //p' hand >hand.sh
while IFS= read -r line <&8; do
    bash -c "$line" >hand.out 2>&1 || { cat hand.out; fail "as typed: $line"; }
    ! grep '"error"' hand.out || fail "as typed: $line"
    for _ in {1..100}; do
        [ "$(qmp 'all(j["status"] in ("ready", "pending", "concluded") for j in r[0] if
            j["type"] == "commit")' query-jobs '{}')" = True ] && break
    done
done 8<hand.sh
expect_exit 0 byre live recover
as_before "$before"
goes_on
expect_exit 3 byre --json backup --qmp qmp.sock --content
expect_json "d['bytes_read'] < 12 << 20"
restored >/dev/null

# ---- somebody ends the job that keeps what is overwritten: no mixture is committed ----
archives=$(archive_count)
held --content
second r job-cancel '{"id": "byre-live-1"}' >/dev/null
goes_on
released 1
expect_says held.err 'byre-live-1 of the machine, which keeps what is overwritten, has ended'
expect_equal "$(archive_count)" "$archives" archives
as_before

# ---- somebody removes an earlier bitmap: none of byre's is left to tell, and others' stay ----
far_bitmaps() { second '" ".join(b["name"] for n in r[0] if n["node-name"] == "far" for b in n.get("dirty-bitmaps", []) if b.get("name") and b["recording"] == '"$1"')' query-named-block-nodes '{"flat": true}'; }
held --content
killed_while_held
second r block-dirty-bitmap-add '{"node": "far", "name": "b"}' \
    block-export-del '{"id": "byre-live-1", "mode": "hard"}' >/dev/null
second r block-dirty-bitmap-remove '{"node": "far", "name": "'"$(far_bitmaps False)"'"}' >/dev/null
expect_exit 0 byre live recover
as_before
expect_equal "$(far_bitmaps True)" b 'bitmaps'
expect_exit 3 byre --json backup --qmp qmp.sock --content
expect_json "d['bytes_read'] > 16 << 20"
second r block-dirty-bitmap-remove '{"node": "far", "name": "b"}' >/dev/null

# ---- no room for what is overwritten: the guest waits, the backup fails, the guest goes on ----
if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=2M none small; then
    # shellcheck disable=SC2016 # it is the same folder then
    at_end 'umount -l "$T/small"'
    held --content --scratch-dir small
    waits() { [ "$(second 'r[0]["status"]' query-status '{}')" = io-error ]; }
    for _ in {1..200}; do
        if waits; then break; fi
        read -rt 0.1 <> <(:) || true
    done
    waits || fail "the guest finds room where there is none"
    released 1
    expect_says held.err "given up, for the machine's sake: .*(I/O error|space runs out)"
    expect_empty_folder small
    as_before
    goes_on
    expect_exit 3 byre --json backup --qmp qmp.sock --content
    expect_json "d['bytes_read'] < 12 << 20"
    restored >/dev/null
fi

# ---- the machine ends: what it kept ends with it ----
held --content
crash
released 1
as_before
qemu-img convert -f qcow2 -O raw boot.qcow2 near.raw
python3 guest.py check near.raw far.raw >/dev/null

# ---- and byre too ----
vm
held --content
killed_while_held
crash
expect_exit 3 byre live status
expect_exit 0 byre live recover
as_before

# ---- files that are exported by FUSE; bitmaps stay in them ----
[ -e /dev/fuse ] || exit 0
head -c 4M noise >little
qemu-img convert -f raw -O qcow2 little one.qcow2
cp one.qcow2 two.qcow2
touch one.raw two.raw
qemu-img create -q -f qcow2 --object secret,id=disk,data=x \
    -o encrypt.format=aes,encrypt.key-secret=disk secret.qcow2 1M 2>/dev/null
# fuse FILE FILE: a machine whose disks one and two are in these files.
fuse() {
    rm -f qmp.sock
    qemu-storage-daemon --object secret,id=disk,data=x --object throttle-group,id=t \
        --blockdev "driver=qcow2,node-name=one,file.driver=file,file.filename=$T/$1" \
        --blockdev "driver=qcow2,node-name=two,file.driver=file,file.filename=$T/$2" \
        --blockdev "driver=file,node-name=file,filename=$T/secret.qcow2" \
        --blockdev driver=throttle,node-name=more,throttle-group=t,file=file \
        --blockdev driver=qcow2,node-name=secret,file=more,encrypt.format=aes,encrypt.key-secret=disk \
        --export "type=fuse,id=x,node-name=one,mountpoint=$T/one.raw,writable=on" \
        --export "type=fuse,id=y,node-name=two,mountpoint=$T/two.raw,writable=on" \
        --chardev "socket,id=qmp,path=$T/qmp.sock,server=on,wait=off" --monitor chardev=qmp \
        --daemonize --pidfile "$T/qsd.pid" || fail "no machine"
    machine_pid=$(<qsd.pid)
}
fuse_backup() {
    expect_exit 3 byre --json backup --qmp qmp.sock --content --disk one --disk two
    expect_json "d['bytes_read'] $1"
    rm -rf back
    expect_exit 0 byre restore latest --to back
    cmp back/one one.raw
    cmp back/two two.raw
    as_before
}
fuse one.qcow2 two.qcow2
expect_exit 1 byre backup --qmp qmp.sock --content --disk secret
expect_says err 'but no encrypted one'
fuse_backup '> 4 << 20'
qemu-io -f raw -c 'write -q -P 1 1M 64k' one.raw
fuse_backup '<= 4 << 20'
shut_down
fuse one.qcow2 two.qcow2
fuse_backup '== 0'
# Disks that have changed their names have not changed their bitmaps.
qemu-io -f raw -c 'write -q -P 2 2M 64k' two.raw
shut_down
fuse two.qcow2 one.qcow2
fuse_backup '> 4 << 20'
shut_down

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A whole QEMU: its disks by the names that people have for them, its guest's file systems frozen by
# the guest's agent, and an encrypted disk, whose overlay has to be encrypted, too.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091 source=tests/cli/live.sh
. "$(dirname "$0")/live.sh"
requires qemu-system-x86_64 qemu-storage-daemon qemu-img qemu-io python3 socat

new_repository
fast_key
random_file noise $((4 << 20)) 70

# agent: what a guest's agent would answer; what it is asked for is in agent.log.
cat >agent.py <<'EOF'
import json, socket, sys, time
refuse, slow = "refuse" in sys.argv, "slow" in sys.argv
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen()
frozen = False
while True:
    s, buf = server.accept()[0], b""
    while data := s.recv(4096):
        buf += data.replace(b"\xff", b"")
        while b"\n" in buf:
            line, buf = buf.split(b"\n", 1)
            if not line.strip(): continue
            m = json.loads(line); c = m["execute"]
            open("agent.log", "a").write(c + "\n")
            out, mark = {"return": {}}, b""
            if c == "guest-fsfreeze-freeze" and slow: time.sleep(9)
            if c == "guest-sync-delimited": out, mark = {"return": m["arguments"]["id"]}, b"\xff"
            elif c == "guest-fsfreeze-status": out = {"return": "frozen" if frozen else "thawed"}
            elif c == "guest-fsfreeze-thaw": out, frozen = {"return": 2}, False
            elif c == "guest-fsfreeze-freeze" and refuse:
                out = {"error": {"class": "GenericError", "desc": "no file systems"}}
            elif c == "guest-fsfreeze-freeze": out, frozen = {"return": 2}, True
            s.sendall(mark + json.dumps(out).encode() + b"\n")
EOF

qemu-img create -q -f qcow2 -o compat=0.10 old.qcow2 16M
guest_write old.qcow2 noise 0
qemu-img create -q -f qcow2 new.qcow2 16M
cp noise raw.raw
qemu-img create -q -f qcow2 cd.qcow2 1M
# As people start it: relative names, nodes that have none, a throttled disk, a CD.
qemu-system-x86_64 -name guest=shop -M q35 -accel tcg -m 32 -display none -S \
    -drive if=virtio,file=old.qcow2,format=qcow2 \
    -blockdev driver=file,filename=new.qcow2,node-name=new-file \
    -blockdev driver=qcow2,file=new-file,node-name=new -device virtio-blk,drive=new,id=vdb \
    -object throttle-group,id=slow -blockdev driver=file,filename=raw.raw,node-name=raw-file \
    -blockdev driver=raw,file=raw-file,node-name=raw \
    -blockdev driver=throttle,throttle-group=slow,file=raw,node-name=above \
    -device virtio-blk,drive=above,id=vdc \
    -drive if=none,id=cd,media=cdrom,readonly=on,file=cd.qcow2,format=qcow2 -device ide-cd,drive=cd \
    -device virtio-serial -chardev "socket,path=$T/agent.sock,server=on,wait=off,id=ga" \
    -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0 \
    -qmp "unix:$T/qmp.sock,server=on,wait=off" -qmp "unix:$T/own.sock,server=on,wait=off" >qemu.out 2>qemu.err &
machine_pid=$!
QMP=$T/own.sock
until qmp '""' query-status '{}' >/dev/null 2>&1; do
    kill -0 $machine_pid || { cat qemu.err; fail 'QEMU does not start'; }
done
# write_in DEVICE COMMAND: as the guest would, by the machine itself.
write_in() {
    qmp 'r[0]' human-monitor-command "{\"command-line\": \"qemu-io -d $1 \\\"$2\\\"\"}" >write.out
    expect_equal "$(cat write.out)" '' "writing in the machine"
}
write_in vdb/virtio-backend 'write -P 1 1M 1M'

expect_exit 0 byre --json -v backup --qmp qmp.sock
expect_json 'd["name"] == "shop" and d["disks"] == 3 and d["layers_total"] == 3'
expect_says err 'cd is read-only, and left out'
nothing_left_of_it
expect_exit 0 byre --json backup --qmp qmp.sock --disk vdb --disk virtio0
expect_json 'd["disks"] == 2'
expect_exit 0 byre --json backup --qmp qmp.sock --disk "$T/raw.raw"
expect_json 'd["disks"] == 1'
held --disk above
write_in vdc/virtio-backend 'write -P 2 2M 1M'
expect_says <(nodes) '^above|raw.raw.byre-live'
released
nothing_left_of_it
expect_exit 1 byre backup --qmp qmp.sock --disk cd
expect_says err 'cd is read-only'

# The guest's file systems are frozen for the switch, and thawed whatever comes.
python3 agent.py fake.sock slow & # it may have a database to quiet first
agent=$!
at_end "kill $agent 2>/dev/null"
until [ -S fake.sock ]; do :; done
expect_exit 0 byre --json backup --qmp qmp.sock --quiesce --agent fake.sock
expect_json 'd["pause_seconds"] > 9'
expect_equal "$(grep -c freeze-freeze agent.log) $(grep -c freeze-thaw agent.log)" '1 1' 'freezes and thaws'
# Refused by the guest: no backup, and it is thawed to be sure.
kill $agent
wait $agent || true
rm fake.sock agent.log
python3 agent.py fake.sock refuse &
agent=$!
at_end "kill $agent 2>/dev/null"
until [ -S fake.sock ]; do :; done
expect_exit 1 byre backup --qmp qmp.sock --quiesce --agent fake.sock
expect_says err 'quiesce.*no file systems'
expect_says agent.log 'freeze-thaw'
nothing_left_of_it
expect_exit 1 byre backup --qmp qmp.sock --quiesce --agent nobody.sock
qmp '""' quit '{}' >/dev/null
machine_ended
unset QMP
expect_exit 0 byre restore latest --to restored
cmp raw.raw restored/raw.raw
same_content new.qcow2 restored/new.qcow2 qcow2 qcow2
same_content old.qcow2 restored/old.qcow2 qcow2 qcow2

# ---- encrypted ----
printf 'the secret' >secret
luks_tool create -q -f qcow2 --object secret,id=disk,file=secret \
    -o encrypt.format=luks,encrypt.key-secret=disk,encrypt.iter-time=10 luks.qcow2 16M
LUKS=$T/secret machine luks=luks.qcow2
guest luks 'write -P 1 0 2M'
held
guest luks 'write -P 171 4M 2M'
guest_copy luks luks.want
python3 -c 'import sys; sys.exit(b"\xab" * 512 in open("luks.qcow2.byre-live", "rb").read())' ||
    fail 'the guest wrote plaintext to the overlay'
released
nothing_left_of_it
guest_copy luks luks.now
cmp luks.want luks.now
# byre and the machine die: the way back needs the disk's secret.
held
guest luks 'write -P 3 8M 1M'
guest_copy luks luks.want
killed_while_held
crash
expect_exit 3 byre live status
expect_exit 1 byre live recover
expect_says err 'secret-file'
expect_exit 0 byre live recover --secret-file secret
nothing_left_of_it
LUKS=$T/secret machine luks=luks.qcow2
guest_copy luks luks.now
cmp luks.want luks.now
shut_down

# ---- a block device, beside which there is no room ----
[ "$(id -u)" = 0 ] || exit 0
qemu-img create -q -f qcow2 block.qcow2 16M
truncate -s 20M block.qcow2
device=$(losetup --show -f block.qcow2) || skip "no loop device"
at_end "losetup -d $device"
mkdir room
qemu-storage-daemon --blockdev "driver=qcow2,node-name=block,file.driver=host_device,file.filename=$device" \
    --nbd-server "addr.type=unix,addr.path=$T/nbd.sock" \
    --export type=nbd,id=x-block,name=block,node-name=block,writable=on \
    --chardev "socket,id=qmp,path=$T/qmp.sock,server=on,wait=off" --monitor chardev=qmp \
    --daemonize --pidfile qsd.pid
machine_pid=$(cat qsd.pid)
guest block 'write -P 7 1M 2M'
guest_copy block block.want
expect_exit 2 byre backup --qmp qmp.sock --name block
expect_says err 'overlay-dir'
# byre may not be let see who else has it open
expect_exit 0 byre --json backup --qmp qmp.sock --name block --overlay-dir room --assume-stopped
expect_json 'd["bytes_read"] >= 2 << 20'
expect_empty_folder room
guest block 'write -P 8 9M 64k'
expect_exit 0 byre --json backup --qmp qmp.sock --name block --overlay-dir room --assume-stopped
guest_copy block block.want
expect_exit 0 byre restore block --flatten --format raw --to block.raw
cmp block.want block.raw
shut_down

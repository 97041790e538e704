#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Domains of libvirt are backed up while they run: by a libvirtd of this scenario's own, in a mount
# namespace, with domains that are never let go, so that their writes are those that are made here.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 strace libvirtd virsh unshare qemu-system-x86_64
requires_root
sanitized && skip "libvirt's own leaks are not looked at"

# Its library is loaded where it is needed, and one that cannot be is said.
new_repository
fast_key
mkdir none
echo no library >none/libvirt.so.0
LD_LIBRARY_PATH=$PWD/none expect_exit 1 byre backup --domain some
expect_says err 'libvirt0, is not there: .*libvirt\.so\.0'
LD_LIBRARY_PATH=$PWD/none expect_exit 0 byre list

# ---- a libvirtd ----
cat >start.sh <<'END'
set -e
mount --make-rprivate /
for folder in etc/libvirt var/lib/libvirt var/log/libvirt var/cache/libvirt run/libvirt; do
    mkdir -p "/$folder" "own/$folder"
    mount --bind "own/$folder" "/$folder"
done
cat >/etc/libvirt/qemu.conf <<CONF
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
dynamic_ownership = 0
stdio_handler = "file"
CONF
cat >/etc/libvirt/libvirtd.conf <<CONF
unix_sock_dir = "$PWD/sock"
auth_unix_rw = "none"
auth_unix_ro = "none"
CONF
# It would ask every emulator that it finds for all that it can do.
mkdir bin sock
ln -s "$(command -v qemu-img)" bin
PATH=$PWD/bin exec "$(command -v libvirtd)" --config /etc/libvirt/libvirtd.conf --pid-file "$PWD/pid"
END
unshare -m true 2>/dev/null || skip "there are no mount namespaces here"
setsid unshare -m bash start.sh >libvirtd.out 2>&1 </dev/null &
daemon=$!
stop_all() {
    local pid
    for pid in own/run/libvirt/qemu/*.pid; do [ ! -e "$pid" ] || kill -KILL "$(cat "$pid")"; done
    kill "$daemon"
    wait "$daemon"
}
at_end stop_all
uri="qemu:///system?socket=$T/sock/libvirt-sock"
export LIBVIRT_DEFAULT_URI=$uri
virsh() { command virsh -q "$@"; }
for ((i = 0; ; i++)); do
    virsh list >virsh.out 2>&1 && break
    kill -0 "$daemon" 2>/dev/null || skip "libvirtd does not run here: $(tail -n 1 libvirtd.out)"
    [ $i -lt 100 ] || skip "libvirtd does not answer: $(tail -n 1 virsh.out)"
    read -rt 0.1 <> <(:) || true
done

# ---- a domain: a chain, and a raw disk ----
random_file data $((4 << 20)) 1
qemu-img create -q -f qcow2 base.qcow2 64M
guest_write base.qcow2 data 1M
qemu-img create -q -f qcow2 -b "$T/base.qcow2" -F qcow2 a.qcow2
guest_write a.qcow2 data 9M
truncate -s 16M b.raw
dd if=data of=b.raw bs=1M seek=3 conv=notrunc status=none
cat >m.xml <<END
<domain type='qemu'>
  <name>m</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>$(command -v qemu-system-x86_64)</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='$T/a.qcow2'/><target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='$T/b.raw'/><target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
END
if ! virsh define m.xml >virsh.out 2>&1 || ! virsh start m --paused >virsh.out 2>&1; then
    skip "no domain can be started here: $(tail -n 2 virsh.out)"
fi
virsh dumpxml --inactive m >m.defined

# as_guest DISK COMMAND: of qemu-io, as if the guest of m gave it.
as_guest() {
    virsh qemu-monitor-command m --hmp \
        "qemu-io -d /machine/peripheral/virtio-disk$1/virtio-backend \"$2\"" >virsh.out
    ! grep -qiE 'error|fail' virsh.out || fail "$2: $(cat virsh.out)"
}

# on_bases: libvirt and the machine are as they were, and nothing is left.
on_bases() {
    for list in "domblklist m" "domblklist m --inactive"; do
        # shellcheck disable=SC2086
        virsh $list >disks
        grep -q "vda *$T/a.qcow2\$" disks || fail "$(cat disks)"
        grep -q "vdb *$T/b.raw\$" disks || fail "$(cat disks)"
    done
    virsh dumpxml --inactive m | diff m.defined - || fail "the domain is defined otherwise"
    { virsh checkpoint-list m --name && virsh snapshot-list m --name; } | tr -d '\n' >lists
    expect_silent lists
    expect_missing a.qcow2.byre-live b.raw.byre-live
    expect_exit 0 byre live status
    expect_empty_folder state/live/*/
}

back_up() { expect_exit "${1:-0}" byre backup --domain m --connect "$uri" --json "${@:2}"; }

# stopped_at SIGNAL: byre backs m up, and gets SIGNAL once the domain writes to its overlays.
stopped_at() {
    rm -f trace
    strace -f -qq -o trace -P "$T/a.qcow2" -e trace=fsync -e inject=fsync:signal="$1":when=1 \
        "$BYRE" backup --domain m --connect "$uri" --json >summary 2>said &
    tracer=$!
    until grep -qE 'stopped by SIGSTOP|killed by SIGKILL' trace 2>/dev/null; do
        kill -0 $tracer 2>/dev/null || break
    done
    virsh domblklist m >disks
    [ "$(grep -cE "vd[ab] *$T/(a.qcow2|b.raw).byre-live\$" disks)" = 2 ] ||
        fail "the domain is not on its overlays: $(cat disks said)"
}

# ---- a backup, during which the guest writes ----
cp a.qcow2 a.before
cp b.raw b.before
stopped_at STOP
as_guest 0 'write -P 1 9M 1M'
as_guest 1 'write -P 2 3M 1M'
back_up 11
expect_says "$T/err" 'another'
kill -CONT "$(sed -n 's/^\([0-9]*\) *--- stopped by SIGSTOP.*/\1/p' trace | head -n 1)"
wait $tracer || fail "exit $?: $(cat said)"
on_bases
as_guest 0 'read -P 1 9M 1M'
as_guest 1 'read -P 2 3M 1M'
expect_json "d['name'] == 'm' and d['disks'] == 2 and d['overlay_bytes'] > 2 << 20" summary
expect_exit 0 byre restore latest --to back
same_content a.before back/a.qcow2 qcow2 qcow2
cmp b.before back/b.raw
for file in m.xml m.live.xml; do
    expect_exit 0 byre show latest --json
    expect_json "any(f['name'] == '$file' for f in d['with'])"
done

# ---- the next one reads what has changed ----
as_guest 0 'write -P 3 20M 512k'
back_up
on_bases
expect_exit 0 byre show latest --json
expect_json "[l['delta'] for l in d['layers']] == ['frozen', 'bitmap', 'compared']"
back_up 0 --disk vda
expect_json "d['disks'] == 1 and d['bytes_read'] < 512 << 10"
on_bases
# A checkpoint of somebody else's stays, and so does what it knows.
virsh checkpoint-create m /dev/stdin >virsh.out <<END
<domaincheckpoint><name>other</name><disks><disk name='vda' checkpoint='bitmap'/></disks></domaincheckpoint>
END
as_guest 0 'write -P 4 30M 64k'
back_up
expect_equal "$(virsh checkpoint-list m --name)" other "checkpoints"
virsh qemu-monitor-command m '{"execute": "query-named-block-nodes", "arguments": {"flat": true}}' >nodes
python3 - "$T/a.qcow2" <<'END'
import json, sys
nodes = json.load(open("nodes"))["return"]
node, = [n for n in nodes if n["file"] == sys.argv[1] and n["drv"] == "qcow2"]
counts = {b["name"]: b["count"] for b in node["dirty-bitmaps"]}
own = [name for name in counts if name.startswith("byre-")]
assert len(own) == 1 and set(counts) == {"other", own[0]}, counts
assert counts["other"] == 65536 and counts[own[0]] == 0, counts
END
virsh checkpoint-delete m other >virsh.out
on_bases

# ---- what cannot be done is said, before anything is touched ----
expect_exit 2 byre backup --domain m --qmp /run/m.qmp
expect_exit 2 byre backup --domain m a.qcow2
expect_exit 2 byre backup --connect "$uri" a.qcow2
expect_exit 2 byre backup --domain m --connect qemu+ssh://host/system
expect_says "$T/err" 'another host'
expect_exit 1 byre backup --domain none
expect_says "$T/err" 'no domain with matching name'
expect_exit 1 byre backup --domain m --disk hda
expect_says "$T/err" 'disk hda cannot be frozen: it is a cdrom'
expect_exit 1 byre backup --domain m --disk sdz
expect_says "$T/err" 'no disk "sdz"'
# The domain is paused, and has no agent either.
expect_exit 1 byre backup --domain m --quiesce
expect_says "$T/err" 'libvirt: '
on_bases

# ---- a backup that was killed ----
stopped_at KILL
as_guest 0 'write -P 5 40M 64k'
expect_exit 3 byre live status --json
expect_exit 0 byre live recover
on_bases
as_guest 0 'read -P 5 40M 64k'

# What the status says to type puts it right, too.
stopped_at KILL
as_guest 1 'write -P 6 5M 64k'
expect_exit 3 byre live status
sed -n 's/^ *\$ //p' "$T/out" >typed
expect_equal "$(grep -c '^virsh .* blockcommit m vd[ab] ' typed)" 2 "commits to type"
sh -e typed >virsh.out
on_bases
as_guest 1 'read -P 6 5M 64k'

# Shut off while it was on its overlays: what it wrote is not lost, nor is it started on them.
stopped_at KILL
as_guest 0 'write -P 7 41M 64k'
as_guest 1 'write -P 8 6M 64k'
as_guest 0 flush
as_guest 1 flush
virsh destroy m >virsh.out
virsh domblklist m | grep -q byre-live || fail "libvirt does not name the overlay"
expect_exit 1 byre backup --domain m --disk none
expect_says "$T/err" 'broken off'
on_bases
io a.qcow2 'read -P 7 41M 64k'
qemu-io -f raw -c 'read -P 8 6M 64k' b.raw >virsh.out
! grep -q failed virsh.out || fail "$(cat virsh.out)"

# One disk that cannot be put right yet does not keep the others, now or later.
virsh start m --paused >virsh.out
stopped_at KILL
as_guest 0 'write -P 11 43M 64k'
as_guest 0 flush
virsh destroy m >virsh.out
mv a.qcow2 elsewhere
for _ in 1 2; do
    expect_exit 1 byre live recover
    expect_missing b.raw.byre-live
done
mv elsewhere a.qcow2
expect_exit 0 byre live recover
on_bases
io a.qcow2 'read -P 11 43M 64k'

# And so by hand, but for the definition, which the status tells how to edit.
virsh start m --paused >virsh.out
stopped_at KILL
as_guest 0 'write -P 9 42M 64k'
as_guest 0 flush
virsh destroy m >virsh.out
expect_exit 3 byre live status
expect_says "$T/out" "virsh .* edit m  # disk vda: source $T/a.qcow2, driver type qcow2"
# Started again on its overlays it goes on, and is brought back from them.
virsh start m --paused >virsh.out
as_guest 0 'read -P 9 42M 64k'
expect_exit 0 byre live recover
on_bases
as_guest 0 'read -P 9 42M 64k'

# ---- the machine ends while it is backed up ----
stopped_at STOP
as_guest 1 'write -P 10 7M 64k'
as_guest 1 flush
virsh destroy m >virsh.out
kill -CONT "$(sed -n 's/^\([0-9]*\) *--- stopped by SIGSTOP.*/\1/p' trace | head -n 1)"
wait $tracer || fail "exit $?: $(cat said)"
on_bases
qemu-io -f raw -c 'read -P 10 7M 64k' b.raw >virsh.out
! grep -q failed virsh.out || fail "$(cat virsh.out)"

# ---- shut off: files like others ----
expect_exit 0 byre backup --domain m
expect_exit 0 byre show latest --json
expect_json "[i['name'] for i in d['images']] == ['a.qcow2', 'b.raw']"
expect_json "[f['name'] for f in d['with']] == ['m.xml']"
expect_exit 0 byre backup --domain m --disk vda --bitmap
expect_exit 0 byre show latest --json
expect_json "any(b['name'].startswith('byre-') for l in d['layers'] for b in l['bitmaps'])"
on_bases

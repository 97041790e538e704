#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Images of other formats: kept as their guests see them, deduplicated with qcow2, and never taken for
# what their bytes say.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io qemu-nbd python3
new_repository
fast_key

formats=(vmdk vpc vhdx vdi qcow)
# option FORMAT: for qemu-img, so that the disk keeps its size.
option() { [ "$1" != vpc ] || echo '-o force_size=on'; }
# saved CODE ARGUMENT...: a backup, and what comes back is what the guest of disk.qcow2 saw.
saved() {
    local code=$1
    shift
    expect_exit "$code" byre backup --json "$@"
    cp out said
    cp err warned
    rm -rf back
    expect_exit 0 byre restore latest --format raw --to back
    same_content disk.qcow2 back qcow2 raw
}
aged() { touch -d '1 hour ago' "$@"; }

random_file noise 20971520 65
qemu-img create -q -f qcow2 disk.qcow2 67109376
guest_write disk.qcow2 noise 1M
io disk.qcow2 'write -P 1 60M 64k' 'write -P 2 67108864 512'
expect_exit 0 byre backup disk.qcow2

# ---- each of them, told by its name ----
for format in "${formats[@]}"; do
    # shellcheck disable=SC2046
    qemu-img convert -f qcow2 -O "$format" $(option "$format") disk.qcow2 "d.$format"
    expect_equal "$(qemu-img info --output=json -f "$format" "d.$format" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["virtual-size"])')" 67109376 "$format"
done
cp d.vpc d.VHD
fingerprint d.* >before
for file in d.vmdk d.VHD d.vhdx d.vdi d.qcow; do
    saved 0 -v "$file"
    expect_json "d['bytes_new'] < 1 << 20 and d['bytes_read'] < 70 << 20" said
    expect_says warned 'as its guest sees it'
    format=${file#*.}
    [ "$format" != VHD ] || format=vpc
    expect_exit 0 byre show latest --json
    expect_json "d['layers'][0]['format'] == '$format' and d['layers'][0]['losses'] == []"
done
fingerprint d.* >after
cmp before after || fail "an image was touched"
expect_exit 0 byre check --read-data

# One that nobody wrote to is not read again, nor is qemu-nbd asked; one that was is compared.
aged d.vmdk
byre backup d.vmdk >out
python3 -c 'import os, time; s = os.stat("d.vmdk").st_ctime
while time.time() < s + 2.5: time.sleep(0.1)'
saved 0 d.vmdk
saved 0 d.vmdk
expect_json "d['bytes_read'] == 0 and d['layers_unchanged'] == 1" said
# As raw it is another disk: its own bytes, which are not believed to be those of yesterday's.
expect_exit 0 byre backup --input-format raw d.vmdk --name asraw
rm -rf back
expect_exit 0 byre restore asraw --to back
cmp d.vmdk back/d.vmdk
saved 0 d.vmdk
qemu-io -f vmdk -c 'write -P 3 2M 64k' d.vmdk >"$T/qemu-io"
expect_exit 0 byre backup --json d.vmdk
rm -rf back
expect_exit 0 byre restore latest --format raw --to back
same_content d.vmdk back vmdk raw

# ---- told by the option ----
cp d.vdi plain.img
saved 0 --input-format vdi plain.img
cp d.vmdk lie.vdi
expect_exit 1 byre backup lie.vdi
expect_says err 'lie.vdi: cannot be read as vdi'
expect_exit 2 byre backup --input-format vmdk5 d.vmdk
expect_exit 1 byre backup --input-format qcow2 d.vmdk
# A raw disk whose guest wrote the header of a qcow2 file, and of a vmdk: raw is what it is.
cp disk.qcow2 guest.img
expect_exit 0 byre backup --input-format raw guest.img --name guest
rm -rf back
expect_exit 0 byre restore guest --to back
cmp disk.qcow2 back/guest.img
cp d.vmdk guest2.img
expect_exit 0 byre backup guest2.img --name guest2
rm -rf back
expect_exit 0 byre restore guest2 --to back
cmp d.vmdk back/guest2.img
# qcow of version 1 by another name, and qcow2 named .qcow.
cp d.qcow old.img
expect_exit 1 byre backup old.img
expect_says err 'input-format qcow'
saved 0 --input-format qcow old.img
cp disk.qcow2 new.qcow
expect_exit 0 byre backup new.qcow
expect_exit 0 byre show latest --json
expect_json "d['layers'][0]['format'] == 'qcow2'"

# ---- what consists of several files ----
qemu-img convert -f qcow2 -O vmdk -o subformat=streamOptimized disk.qcow2 stream.vmdk
saved 0 stream.vmdk
qemu-img convert -f qcow2 -O vmdk -o subformat=monolithicFlat disk.qcow2 flat.vmdk
saved 0 flat.vmdk
expect_exit 1 byre backup flat-flat.vmdk
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse split.vmdk 3G
aged split*.vmdk
expect_exit 0 byre backup split.vmdk
expect_exit 0 byre backup split.vmdk --json
expect_exit 0 byre show latest
expect_says out 'compared .it consists of several files'
# Somebody writes to an extent.
python3 - <<'END' &
import fcntl, os, struct
fd = os.open("split-s002.vmdk", os.O_RDWR)
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 101, 1, 0)
fcntl.fcntl(fd, 37, lock)
open("locked", "w").close()
open("go").read()
END
writer=$!
mkfifo go
until [ -e locked ]; do kill -0 $writer; done
expect_exit 11 byre backup split.vmdk
expect_says err 'somebody is writing'
echo >go
wait $writer
# A chain is flattened, and that is said.
qemu-img create -q -f vmdk -b d.vmdk -F vmdk over.vmdk
qemu-io -f vmdk -c 'write -P 8 3M 64k' over.vmdk >"$T/qemu-io"
expect_exit 3 byre backup over.vmdk
expect_says err 'its chain is not kept'
rm -rf back
expect_exit 0 byre restore latest --format raw --to back
same_content over.vmdk back vmdk raw
expect_exit 0 byre show latest
expect_says out 'lost: its chain'
rm -f base.img
truncate -s 67109376 base.img
qemu-img create -q -f qcow -b base.img -F raw over.qcow
expect_exit 3 byre backup over.qcow
# The guest of the base makes it look like an image with a backing file of its choice.
qemu-img create -q -f qcow2 -b /etc/passwd -F raw trap.img 64M
cp trap.img base.img
expect_exit 1 byre backup over.qcow
expect_says err 'which nobody tells'

# ---- what QEMU would misread, or cannot read ----
qemu-img convert -f qcow2 -O vpc disk.qcow2 diff.vhd
printf '\0\0\0\4' | dd of=diff.vhd bs=1 seek=60 conv=notrunc status=none
expect_exit 1 byre backup diff.vhd
expect_says err 'differencing'
cp d.qcow secret.qcow
printf '\0\0\0\1' | dd of=secret.qcow bs=1 seek=36 conv=notrunc status=none
expect_exit 1 byre backup secret.qcow
expect_says err 'encrypted'
truncate -s 1000 short.vhdx
expect_exit 1 byre backup short.vhdx
mkfifo fifo.qcow
expect_exit 1 byre backup fifo.qcow
mkdir bin
ln -s "$(command -v qemu-img)" bin
PATH=$T/bin expect_exit 1 "$BYRE" backup d.vdi
expect_says err 'qemu-utils'

# ---- qemu-nbd ends with byre ----
cat >bin/qemu-nbd <<END
#!/bin/bash
echo \$\$ >>$T/served
exec $(command -v qemu-nbd) "\$@"
END
chmod +x bin/qemu-nbd
PATH=$T/bin:$PATH expect_exit 0 byre backup d.vdi
while read -r pid; do
    [ ! -e "/proc/$pid" ] || fail "qemu-nbd is still there"
done <served
cat >bin/qemu-nbd <<END
#!/bin/bash
echo \$\$ >$T/served
exec sleep 1000
END
mkfifo started
rm served
mkfifo served
PATH=$T/bin:$PATH "$BYRE" backup d.vdi >out 2>err &
byre_pid=$!
read -r pid <served
kill -KILL $byre_pid
wait $byre_pid || true
for _ in {1..1000}; do
    [ -e "/proc/$pid" ] || break
    python3 -c 'import select; select.select([], [], [], 0.01)'
done
[ ! -e "/proc/$pid" ] || fail "qemu-nbd outlives byre"
find /tmp -maxdepth 1 -name 'byre-nbd.*' -newer noise | grep . && fail "a folder is left behind"

# ---- what else is done with such an archive ----
expect_exit 0 byre backup d.vdi d.vhdx --name two
expect_exit 0 byre diff two latest
expect_exit 0 byre export two -o two.tar
tar -xf two.tar
same_content d.vdi d.vdi.raw vdi raw
expect_exit 0 byre import two.tar --name again
expect_exit 0 byre restore again --to back2
same_content d.vhdx back2/d.vhdx.raw vhdx raw
nothing_left

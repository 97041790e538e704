#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The formats that a restore can write: a guest sees the same disk in each; what cannot be done, or
# is stopped, leaves nothing.
files=$(realpath "$(dirname "$0")/..")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io mke2fs e2fsck python3
real_qemu_img=$(command -v qemu-img)

# A file system with real files; behind it zeros that are written, holes, and an odd last sector. The
# size is no multiple of what a CHS geometry can tell.
size=67109376
truncate -s 48M disk.raw
mke2fs -q -t ext4 -d "$files" disk.raw
truncate -s "$size" disk.raw
qemu-img convert -f raw -O qcow2 disk.raw base.qcow2
random_file data 1048576 66
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 disk.qcow2
guest_write disk.qcow2 data 50M
io disk.qcow2 'write -z 50M 64k' 'write -P 0 52M 1M' 'write -c -P 7 56M 64k'
qemu-img snapshot -c before disk.qcow2
io disk.qcow2 "write -P 9 $((size - 512)) 512" 'write -P 8 60M 512'
new_repository
fast_key
expect_exit 0 byre backup --name disk disk.qcow2

suffix() {
    case $1 in
    vpc) echo vhd ;;
    *) echo "$1" ;;
    esac
}

for format in qcow2 raw vmdk vpc vhdx vdi; do
    file=made/disk.$(suffix $format)
    mkdir made
    expect_exit 0 byre restore disk --format $format --to made --verify --json
    expect_json "len(d['files']) == 1 and d['files'][0]['path'] == '$file'"
    expect_equal "$(ls made)" "${file#made/}" "files of a $format"
    same_content disk.qcow2 "$file" qcow2 $format
    qemu-img info --output=json -f $format "$file" >info.json
    python3 -c 'import json; print(json.dumps(json.load(open("info.json"))))' >"$T/out"
    expect_json "d['format'] == '$format' and d['virtual-size'] == $size"
    expect_equal "$(stat -c '%a %u %Y' "$file")" "$(stat -c '%a %u %Y' disk.qcow2)" "mode, owner and time"
    [ "$(du -k "$file" | cut -f1)" -lt 16384 ] || fail "a $format is not sparse"
    case $format in
    qcow2 | vmdk | vhdx | vdi) qemu-img check -q -f $format "$file" || fail "qemu-img check: $file" ;;
    esac
    # What exists stays without --force, and what a machine uses even then.
    before=$(fingerprint "$file")
    expect_exit 1 byre restore disk --format $format --to "$file"
    expect_says "$T/err" 'exists already; --force'
    expect_equal "$(fingerprint "$file")" "$before" "a $format that was there"
    coproc IO { qemu-io -f $format "$file"; }
    # shellcheck disable=SC2153
    io_pid=$IO_PID
    echo 'length' >&"${IO[1]}"
    read -r _ <&"${IO[0]}"
    expect_exit 11 byre restore disk --format $format --to "$file" --force
    echo quit >&"${IO[1]}"
    wait "$io_pid" || true
    expect_exit 0 byre restore disk --format $format --to "$file" --force
    same_content disk.qcow2 "$file" qcow2 $format
    expect_equal "$(ls -A made)" "${file#made/}" "files after --force"
    rm -r made
done

# A vmdk tells its own name.
expect_exit 0 byre restore disk --format vmdk --to 'odd: name, with=it'
grep -aq 'SPARSE "odd: name, with=it"' 'odd: name, with=it' || fail "a vmdk has another name in it"
same_content disk.qcow2 './odd: name, with=it' qcow2 vmdk

# An internal snapshot, and several images.
qemu-img convert -f qcow2 -l before -O raw disk.qcow2 before.raw
expect_exit 0 byre restore disk --snapshot before --format vdi --to before.vdi
same_content before.raw before.vdi raw vdi
qemu-img create -q -f qcow2 small.qcow2 1M
io small.qcow2 'write -P 5 512k 64k'
truncate -s 1000 odd.img
echo odd >>odd.img
expect_exit 0 byre backup --name two small.qcow2 odd.img
expect_exit 0 byre restore two --format vhdx --to both --verify
expect_equal "$(find both -mindepth 1 | wc -l)" 2 "files of two images"
same_content small.qcow2 both/small.vhdx qcow2 vhdx
same_content odd.img both/odd.vhdx raw vhdx

# Where there is no way.
byre restore disk --format vmdk --to - >"$T/out" 2>"$T/err" && fail "a vmdk went to stdout"
expect_silent "$T/out"
expect_says "$T/err" 'only a raw image can go to stdout'
expect_exit 2 byre restore disk --format vhd --to x
expect_says "$T/err" 'qcow2\|raw\|vmdk\|vpc\|vhdx\|vdi'
qemu-img create -q -f qcow2 huge.qcow2 3T
io huge.qcow2 'write -P 5 3298534817792 64k'
expect_exit 0 byre backup --name huge huge.qcow2
mkdir none
expect_exit 1 byre restore huge --format vpc --to none/huge.vhd
expect_says "$T/err" 'huge.vhd: making a vpc of 3298534883328 bytes: .*too large'
expect_empty_folder none
expect_exit 0 byre restore huge --format vhdx --to huge.vhdx
qemu-io -f vhdx -c 'read -P 5 3298534817792 64k' -c 'read -P 0 3298533769216 1M' huge.vhdx >"$T/out"
! grep -q 'fail' "$T/out" || fail "the end of a large disk"
expect_exit 1 env PATH="$T/none" "$BYRE" restore disk --format vdi --to none/x.vdi
expect_says "$T/err" 'there is no qemu-img here'
expect_empty_folder none

# A qemu-img that runs ${HOOK} before it does ${HOOK_AT}.
mkdir fake
cat >fake/qemu-img <<EOF
#!/bin/bash
[ "\$1" != "\$HOOK_AT" ] || eval "\$HOOK"
exec $real_qemu_img "\$@"
EOF
chmod +x fake/qemu-img
with_hook() {
    local at=$1 hook=$2
    shift 2
    HOOK_AT=$at HOOK=$hook PATH=$T/fake:$PATH "$@"
}

# Stopped before and while qemu-img makes the file; and a file that is not what was written.
for at in create info convert compare; do
    # shellcheck disable=SC2016
    expect_exit 143 with_hook $at 'kill -TERM $PPID; exec tail -f /dev/null' \
        byre restore disk --format vmdk --to none/x.vmdk --verify
    expect_empty_folder none
done
# shellcheck disable=SC2016
expect_exit 1 with_hook compare "qemu-io -f vdi -c 'write -q -P 1 4M 512' x.vdi" \
    byre restore disk --format vdi --to none/x.vdi --verify
expect_says "$T/err" 'x.vdi: what was read back is not what was written: .*4194304'
expect_empty_folder none
# A format that cannot have the size.
expect_exit 1 with_hook info "$real_qemu_img create -q -f vhdx x.vhdx 70M" \
    byre restore disk --format vhdx --to none/x.vhdx
expect_says "$T/err" 'x.vhdx: the disk has 67109376 bytes, and a vhdx would have 73400320'
expect_empty_folder none

if [ "$(id -u)" = 0 ] && mkdir tight && mount -t tmpfs -o size=12M byre-test tight 2>/dev/null; then
    at_end "umount '$T/tight'"
    expect_exit 0 byre restore disk --format raw --to tight/disk.raw
    rm tight/disk.raw
    # The raw disk finds room, what is made of it does not.
    expect_exit 1 byre restore disk --format vdi --to tight/disk.vdi
    expect_says "$T/err" 'disk.vdi: making a vdi of the disk: .*No space left'
    expect_empty_folder tight
    mount -o remount,size=2M tight
    expect_exit 1 byre restore disk --format vdi --to tight/disk.vdi
    expect_says "$T/err" 'No space left'
    expect_empty_folder tight
else
    echo "not tried: no space, for no tmpfs could be mounted"
fi

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A disk that was backed up as what its guest sees comes back in its own format, under its own name.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io qemu-nbd python3
real_qemu_img=$(command -v qemu-img)

# format_of FILE: as qemu-img finds out.
format_of() { qemu-img info --output=json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["format"])'; }

size=67109376
random_file data 1048576 67
qemu-img create -q -f qcow2 disk.qcow2 $size
guest_write disk.qcow2 data 5M
io disk.qcow2 "write -P 9 $((size - 512)) 512" 'write -P 8 60M 512'
new_repository
fast_key

declare -A name=([vmdk]=a.vmdk [vpc]=b.vhd [vhdx]=c.vhdx [vdi]=d.vdi [qcow]=e.qcow)
for format in vmdk vpc vhdx vdi qcow; do
    options=()
    [ $format != vpc ] || options=(-o force_size=on)
    qemu-img convert -f qcow2 -O $format "${options[@]}" disk.qcow2 "${name[$format]}"
    touch -d 2020-02-02 "${name[$format]}"
    chmod 640 "${name[$format]}"
done
expect_exit 0 byre backup --name all disk.qcow2 a.vmdk b.vhd c.vhdx d.vdi e.qcow
expect_exit 0 byre restore all --to back --verify
expect_silent "$T/err"
expect_equal "$(find back -mindepth 1 | wc -l)" 6 "files of six images"
for format in vmdk vpc vhdx vdi qcow; do
    file=back/${name[$format]}
    expect_equal "$(format_of "$file")" $format "the format of $file"
    same_content disk.qcow2 "$file" qcow2 $format
    expect_equal "$(stat -c '%a %U %Y' "$file")" "$(stat -c '%a %U %Y' "${name[$format]}")" "mode, owner and time"
done
grep -aq 'SPARSE "a.vmdk"' back/a.vmdk || fail "a vmdk has another name in it"
same_layer disk.qcow2 back/disk.qcow2

# Nothing that is there is replaced, and then nothing is written.
mkdir half
echo mine >half/d.vdi
expect_exit 1 byre restore all --to half
expect_says "$T/err" 'd.vdi: exists already'
expect_equal "$(ls half)" d.vdi "what a refused restore leaves"
expect_exit 0 byre restore all --image d.vdi --to half --force
same_content disk.qcow2 half/d.vdi qcow2 vdi

# One of them in another format; without qemu-img that is still possible.
mkdir none
for format in qcow2 raw vdi; do
    expect_exit 0 byre restore all --image a.vmdk --format $format --to as/ --verify
    same_content disk.qcow2 as/a.$format qcow2 $format
done
expect_exit 0 env PATH="$T/none" "$BYRE" restore all --image a.vmdk --format raw --to plain.raw
same_content disk.qcow2 plain.raw qcow2 raw
expect_exit 1 env PATH="$T/none" "$BYRE" restore all --to none/all
expect_says "$T/err" 'vmdk: .*there is no qemu-img here'
expect_empty_folder none/all
expect_exit 0 byre drill all

# Stopped while one of them is made: none appears.
mkdir fake
cat >fake/qemu-img <<EOF
#!/bin/bash
case \$* in convert*c.vhdx) kill -TERM "\$PPID" ;; esac
exec $real_qemu_img "\$@"
EOF
chmod +x fake/qemu-img
expect_exit 143 env PATH="$T/fake:$PATH" "$BYRE" restore all --to none/stopped
expect_empty_folder none/stopped

# An export is a raw file with the last part of its name; what it lost is said.
export_uri() { echo "nbd+unix:///$1?socket=$T/$1.sock"; }
for export in ..b disk; do
    qemu-nbd --fork --persistent --read-only --pid-file="$T/$export.pid" --socket="$T/$export.sock" \
        -f qcow2 -x $export disk.qcow2
    at_end "kill $(cat "$export.pid")"
done
expect_exit 3 byre backup --name export "$(export_uri ..b)"
expect_exit 0 byre restore export --to exports --verify
expect_says "$T/err" 'only what the guest sees is kept'
file=$(find exports -mindepth 1)
expect_equal "$(dirname "$file")" exports "where an export is put"
same_content disk.qcow2 "$file" qcow2 raw
[ "$(stat -c %Y "$file")" -gt 1600000000 ] || fail "an export is from 1970"

# It lies in no folder, and has no say in where files are put; a name that is taken gets a number.
mkdir disks disks/disk
cp disk.qcow2 disks/disk/a.qcow2
cp disk.qcow2 disks/b.qcow2
expect_exit 3 byre backup --name mixed "$(export_uri disk)" disks/disk/a.qcow2 disks/b.qcow2
expect_exit 0 byre restore mixed --to mixed
expect_equal "$(cd mixed && find . -type f | sort | tr '\n' ' ')" './b.qcow2 ./disk.2 ./disk/a.qcow2 ' \
    "where files and an export are put"
same_content disk.qcow2 mixed/disk.2 qcow2 raw

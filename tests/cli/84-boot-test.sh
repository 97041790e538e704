#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# scripts/boot-test.sh boots what a drill restored, and changes nothing of it.
boot_test=$(realpath "$(dirname "$0")/../../scripts/boot-test.sh")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io qemu-system-x86_64 python3

# sector TEXT: a boot sector that writes TEXT to the first serial port:
#   cld; xor ax,ax; mov ds,ax; mov si,text
#   next: lodsb; test al,al; jz end; mov ah,al; mov dx,3fdh; wait: in al,dx; test al,20h; jz wait
#   mov dx,3f8h; mov al,ah; out dx,al; jmp next; end: hlt; jmp end; text:
sector() {
    python3 -c '
import sys
code = bytes.fromhex("fc31c08ed8be227cac84c0741288c4bafd03eca82074fbbaf80388e0eeebe9f4ebfd")
text = sys.argv[1].encode() + b"\0"
sys.stdout.buffer.write((code + text).ljust(510, b"\0") + b"\x55\xaa")' "$1"
}

sector $'the base boots\r\n' >one
sector 'byre boots: ' >two
qemu-img create -q -f qcow2 base.qcow2 1M
guest_write base.qcow2 one 0
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
guest_write top.qcow2 two 0
{ sector raw && head -c 65536 /dev/zero; } >second.raw
fingerprint base.qcow2 top.qcow2 second.raw >before
mkdir scratch
export TMPDIR=$T/scratch

# By name; a prompt that ends no line is seen, too. What is below is not written to.
expect_exit 0 "$boot_test" --expect 'byre boots: $' top.qcow2
expect_says "$T/out" '^boot-test: "byre boots: " after [0-9]+ s$'
expect_exit 0 "$boot_test" --image second.raw --expect '^raw$' --bus ide --log log .
expect_says log '^raw$'
expect_exit 0 "$boot_test" --image base.qcow2 --image second.raw --expect 'base boots' --bus scsi .
fingerprint base.qcow2 top.qcow2 second.raw | cmp before - || fail "an image was written to"

# It has to say so, in time; and it has to be clear what boots.
expect_exit 1 "$boot_test" --timeout 2 --expect login: top.qcow2
expect_says "$T/err" 'did not say "login:" within 2 s'
expect_says "$T/err" 'byre boots'
expect_exit 1 "$boot_test" .
expect_says "$T/err" 'which is to boot'
expect_exit 1 "$boot_test" --image no.qcow2 .
expect_exit 1 "$boot_test" --memory 9999999 top.qcow2
expect_says "$T/err" 'the machine ended'
expect_exit 2 "$boot_test"
expect_exit 2 "$boot_test" --timeout soon top.qcow2
expect_exit 2 "$boot_test" --expect 'x*' top.qcow2
expect_exit 2 "$boot_test" --expect '(' top.qcow2
expect_exit 2 "$boot_test" --no-such top.qcow2

# In a drill: the first image of the archive boots.
new_repository
expect_exit 0 byre backup --name vm top.qcow2 second.raw
expect_exit 0 byre drill --json --command "$boot_test --expect 'byre boots' ."
expect_json 'd["ok"] and d["command_exit"] == 0'
expect_exit 1 byre drill --json --command "$boot_test --expect 'byre boots' --timeout 2 --image second.raw ."
expect_json 'd["command_exit"] == 1'
expect_empty_folder scratch

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# All is lost but the repository's folder and the recovery code: everything comes back, and goes on.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 1048576 98
mkdir machine
cd machine
qemu-img create -q -f qcow2 base.qcow2 32M
guest_write base.qcow2 ../data 3M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 root.qcow2
guest_write root.qcow2 ../data 11M
qemu-img snapshot -c before root.qcow2
io root.qcow2 'write -P 5 11M 512k' 'write -z 3M 256k'
qemu-img create -q -f qcow2 -o compression_type=zstd data.qcow2 16M
io data.qcow2 'write -c -P 6 1M 64k' 'write -P 7 8M 1M'
echo '<domain/>' >vm.xml
export BYRE_PASSWORD_FILE=$T/machine/pass
unset BYRE_PASSWORD
(umask 077 && echo 'known to nobody else' >pass)
expect_exit 0 byre init --reserve 0 --recovery-code-file "$T/code"
expect_exit 0 byre backup --name vm root.qcow2 data.qcow2 --with vm.xml
io data.qcow2 'write -P 8 12M 64k'
expect_exit 0 byre backup --name vm root.qcow2 data.qcow2 --with vm.xml
qemu-img convert -l before -O raw root.qcow2 ../want-snapshot.raw
cd ..

# What is left: a copy of the folder elsewhere, and a piece of paper.
cp -r repo usb
mv machine oracle
rm -r repo cache state oracle/pass "$HOME"
for name in "${!BYRE_@}"; do [ "$name" = BYRE ] || unset "$name"; done
unset HOME
mkdir empty
export HOME=$T/empty
cd empty
tr -d '-' <"$T/code" | tr '[:upper:]' '[:lower:]' >paper
chmod 600 paper
opened=(-r "$T/usb" --password-file paper --state-dir here/state --cache-dir here/cache)

expect_exit 0 byre "${opened[@]}" list --json
expect_json '[a["name"] for a in d] == ["vm", "vm"]'
expect_exit 0 byre "${opened[@]}" check --read-data
expect_silent "$T/err"
TMPDIR=$T/empty expect_exit 0 byre "${opened[@]}" drill
expect_says "$T/out" 'drill of [0-9a-f]{8} vm: fine, 4 files'
expect_exit 0 byre "${opened[@]}" restore vm --to back --verify
for layer in base root data; do same_layer "../oracle/$layer.qcow2" "back/$layer.qcow2"; done
same_content ../oracle/root.qcow2 back/root.qcow2 qcow2 qcow2
cmp ../oracle/vm.xml back/side-files/vm.xml || fail "the side file"
expect_exit 0 byre "${opened[@]}" restore vm --image root.qcow2 --snapshot before --format raw --to snapshot.raw
cmp ../want-snapshot.raw snapshot.raw || fail "the snapshot"

# Not with another code.
sed 's/^0/1/;t;s/^./0/' paper >wrong
chmod 600 wrong
expect_exit 12 byre -r "$T/usb" --password-file wrong --state-dir here/state --cache-dir here/cache list

# Life goes on: with a passphrase again, and but for the layers' headers nothing is stored again.
(umask 077 && echo 'a new one' >pass)
expect_exit 0 byre "${opened[@]}" key add --new-password-file pass
opened[3]=pass
expect_exit 0 byre "${opened[@]}" backup --json --name vm back/root.qcow2 back/data.qcow2
expect_json 'd["bytes_new"] <= 3 * 65536 and d["layers_total"] == 3'
expect_exit 0 byre "${opened[@]}" check --read-data

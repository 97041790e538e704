#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes a golden repository with the program at hand: one that later versions must read, and go on with.
# It has all that the format knows: disks of every kind, keys of every role, epochs, tags, a checkpoint, what was forgotten,
# moved, and published without an archive. Run as root, it names no machine but "golden.example".
# usage: BYRE=PROGRAM make-golden.sh NAME ID-HASH     writes tests/data/NAME, which must be absent, with ids made by ID-HASH
if [ "$(id -u)" = 0 ] && [ "$(hostname)" != golden.example ]; then
    # shellcheck disable=SC2016
    exec unshare --uts bash -c 'hostname golden.example; exec bash "$0" "$@"' "$0" "$@"
fi
data=$(realpath "$(dirname "$0")")
name=${1:?usage: make-golden.sh NAME ID-HASH}
id_hash=${2:?usage: make-golden.sh NAME ID-HASH}
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$data/../cli/lib.sh"
# shellcheck disable=SC1091 source=tests/data/sums.sh
. "$data/sums.sh"
for needed in qemu-img qemu-io python3 strace; do
    command -v "$needed" >/dev/null || fail "$needed is not installed"
done
[ ! -e "$data/$name" ] || fail "$data/$name is there already"
umask 077

# numbered FILE MIB SEED: blocks of 4 KiB that all differ, and take no space once compressed.
numbered() {
    python3 -c '
import struct, sys
name, mib, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(name, "wb") as f:
    for i in range(mib * 256): f.write(struct.pack("<II", seed, i) * 512)' "$@"
}

mkdir golden
for role in full backup append removed; do
    printf 'the %s key of a golden repository\n' "$role" >"golden/$role.key"
done
echo 'open, cowshed' >golden/passphrase
unset BYRE_PASSWORD
export BYRE_KEY_FILE=$T/golden/full.key
expect_exit 0 byre init --reserve 4k --id-hash "$id_hash" --recovery-code-file golden/recovery-code
expect_exit 0 byre key add --new-password-file golden/passphrase
for role in backup append; do
    expect_exit 0 byre key add --role "$role" --new-key-file "golden/$role.key"
done
expect_exit 0 byre key add --role append --new-key-file golden/removed.key --json
removed=$(json 'd["key"]')

# A chain of all kinds, with snapshots and bitmaps; the second time it has changed.
random_file noise 65536 1
random_file small 4096 2
numbered text 1 3
mkdir disks
qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=4k disks/base.qcow2 8M
guest_write disks/base.qcow2 noise 64k
guest_write disks/base.qcow2 text 1M
qemu-img create -q -f qcow2 -o cluster_size=4k,compression_type=zstd -b base.qcow2 -F qcow2 disks/middle.qcow2
io disks/middle.qcow2 'write -P 5 2M 12k' 'write -z 3M 64k' 'write -c -P 7 4M 4k'
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=16k -b middle.qcow2 -F qcow2 disks/top.qcow2 16M
guest_write disks/top.qcow2 small 512k
qemu-img snapshot -c before disks/top.qcow2
io disks/top.qcow2 'write -P 8 512k 2k' 'discard 1M 64k' 'write -z 5M 8k'
qemu-img bitmap --add disks/top.qcow2 theirs
io disks/top.qcow2 'write -P 9 10M 1k'
echo '<domain/>' >domain.xml
expect_exit 0 byre backup --name chain --tag weekly --bitmap --with domain.xml disks/top.qcow2
guest_write disks/top.qcow2 small 6M
qemu-img snapshot -c after disks/top.qcow2
expect_exit 0 byre --key-file golden/append.key backup --name chain --bitmap disks/top.qcow2

# Compressed clusters, a raw disk, LUKS: in an epoch of their own.
expect_exit 0 byre key remove "$removed" --new-epoch
{ head -c 300000 text; cat small; head -c 100000 /dev/zero; } >plain
qemu-img convert -c -f raw -O qcow2 -o compression_type=zlib,cluster_size=4k plain disks/zlib.qcow2
qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd,cluster_size=64k plain disks/zstd.qcow2
cp plain disks/plain.raw
luks_tool create -q -f qcow2 --object secret,id=s,data=x -o "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,\
encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=plain64" disks/luks.qcow2 1M
qemu-io --object secret,id=s,data=x -c 'write -q -P 77 64k 4k' --image-opts \
    driver=qcow2,file.filename=disks/luks.qcow2,encrypt.key-secret=s >luks.out 2>&1 || fail "$(cat luks.out)"
expect_exit 0 byre backup --name kinds disks/zlib.qcow2 disks/zstd.qcow2 disks/plain.raw disks/luks.qcow2

# What an archive needs that stays lies beside what only one needs that goes: so it moves.
numbered whole 3 4
expect_exit 0 byre backup --name whole whole
head -c 1M whole >part
expect_exit 0 byre backup --name part part
expect_exit 0 byre --key-file golden/backup.key forget name:whole
expect_exit 0 byre --key-file golden/backup.key prune --no-grace --max-unused 0 --json
expect_json 'd["packs_rewritten"] > 0 and d["packs_deleted"] > 0'

# Enough entries for a checkpoint, which the next commit writes.
expect_exit 0 byre tag name:kinds --add gold --add silver
for ((i = 0; i < 70; i++)); do
    if ((i % 2 == 0)); then
        expect_exit 0 byre tag name:part --add "t$i"
    else
        expect_exit 0 byre tag name:part --remove "t$((i - 3))"
    fi
done
entries() { find "$BYRE_REPOSITORY/log" -type f | wc -l; }
before=$(entries)
expect_exit 0 byre backup --name last part
expect_equal "$(entries)" $((before + 2)) "entries with an archive and a checkpoint"

# A run that was stopped behind its first frame: what it has published belongs to no archive.
numbered stopped 24 5
before=$(entries)
for ((at = 4; $(entries) == before; at++)); do
    code=0
    strace -f -qq -e trace=pread64 -e inject=pread64:signal=SIGINT:when="$at" -o strace "$BYRE" backup --threads 1 \
        --name stopped stopped >out 2>err || code=$?
    [ "$code" = 130 ] || fail "exit $code, not stopped at read $at: $(cat err)"
done

expect_exit 0 byre check --read-data
nothing_left
sums >golden/expected.sha256
byre list --json >golden/expected-list.json
tar -C "$T" --sort=name --owner=0 --group=0 --numeric-owner -cf - repo | gzip -9n >golden/repository.tar.gz
chmod -R u=rwX,go=rX golden
cp -r golden "$data/$name"
du -b "$data/$name/repository.tar.gz"

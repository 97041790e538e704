#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What a guest wrote is nowhere to be read: not in repository, cache, state, or messages.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

marker=$(python3 -c 'import secrets; print(secrets.token_hex(24))')
# block OFFSET IMAGE: the marker, once and many times over, into a guest's disk.
python3 -c 'import sys; m = sys.argv[1].encode(); sys.stdout.buffer.write((b"x" + m + b"\n" + m * 1400).ljust(65536 * 2, b"."))' "$marker" >block
qemu-img create -q -f raw raw.img 2M
dd if=block of=raw.img bs=64k seek=3 conv=notrunc status=none
qemu-img create -q -f qcow2 -b raw.img -F raw top.qcow2
guest_write top.qcow2 block 1M
echo "<secret>$marker</secret>" >"domain.xml"
qemu-img convert -f raw -O qcow2 -c raw.img compressed.qcow2
name=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
mkdir "dir-$name"
cp top.qcow2 "dir-$name/image-$name.qcow2"
qemu-img rebase -u -f qcow2 -b ../raw.img -F raw "dir-$name/image-$name.qcow2"
new_repository
byre backup -v -v --name "name-$name" --tag "tag-$name" --with domain.xml top.qcow2 compressed.qcow2 \
    "dir-$name/image-$name.qcow2" >"$T/out" 2>"$T/err"
cat "$T/out" "$T/err" >messages
byre restore latest --to back >>messages 2>&1
grep -qaF "$marker" back/raw.img || fail "the marker is not where it should be"
for secret in "$marker" "$name" "$BYRE_PASSWORD"; do
    # Names are told to the user, and to nobody who reads the repository, cache or state.
    for where in repo cache state; do
        ! grep -rqaF -- "$secret" $where || fail "$where holds \"$secret\": $(grep -rlaF -- "$secret" $where)"
        find $where >names
        ! grep -qF -- "$secret" names || fail "a file in $where is named \"$secret\""
    done
done
! grep -qaF "$marker" messages || fail "messages hold guest data"
# In another encoding neither.
for where in repo cache state; do
    ! grep -rqaF -- "$(printf %s "$marker" | base64 -w0 | head -c 40)" $where || fail "$where holds it in base 64"
done

# The cache is only a cache: without it, or with a spoilt one, all works.
rm -r cache
expect_exit 0 byre restore latest --to back2
cmp back/top.qcow2 back2/top.qcow2 || fail "without a cache something else comes back"
rm -r cache
expect_exit 0 byre backup --json top.qcow2
expect_json 'd["chunks_new"] == 0'
find cache -type f | while read -r file; do echo spoilt >"$file"; done
expect_exit 0 byre restore latest --to back3
cmp back/top.qcow2 back3/top.qcow2 || fail "with a spoilt cache something else comes back"
find cache -type f | while read -r file; do
    printf 'X' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none
done
expect_exit 0 byre backup --json top.qcow2
expect_json 'd["chunks_new"] == 0'
expect_exit 0 byre check --read-data
find cache -type f -exec truncate -s 0 {} +
expect_exit 0 byre restore latest --to back4
cmp back/top.qcow2 back4/top.qcow2 || fail "with an empty cache something else comes back"
expect_equal "$(stat -c %a cache state | sort -u)" 700 "mode of cache and state"
# A place where no cache can be is no reason to fail.
expect_exit 0 byre list --cache-dir /proc/nowhere

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A removed key with a new epoch: the others go on, old archives and new, the removed one is out.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

random_file data 131072 13
random_file more 65536 14
qemu-img create -q -f qcow2 disk.qcow2 4M
guest_write disk.qcow2 data 1M
expect_exit 0 byre init --reserve 0 --recovery-code-file code
for who in gone stays append; do echo "secret of $who" >"pw-$who"; done
head -c 64 /dev/zero | tr '\0' k >keyfile
expect_exit 0 byre key add --new-password-file pw-gone --json
gone=$(json 'd["key"]')
expect_exit 0 byre key add --new-password-file pw-stays
expect_exit 0 byre key add --role append --new-password-file pw-append
expect_exit 0 byre key add --new-key-file keyfile
expect_exit 0 byre backup --name old disk.qcow2
cp -a repo repo.before

expect_exit 0 byre key remove "$gone" --new-epoch
cp disk.qcow2 disk.old
guest_write disk.qcow2 more 2M
as() { env -u BYRE_PASSWORD "$BYRE" "$@" </dev/null; }
expect_exit 0 byre backup --name new disk.qcow2 --json
expect_json 'd["bytes_new"] >= 65536'
expect_exit 0 as backup --name new-append --password-file pw-append disk.qcow2 --json
expect_json 'd["chunks_new"] == 0'

# Who remains reads both, with caches of before and none.
who=0
for secret in pw-stays code; do
    for cache in cache "cache-$secret"; do
        expect_exit 0 as restore old --password-file "$secret" --cache-dir "$cache" --to "old$who"
        same_layer disk.old "old$who/disk.qcow2"
        for archive in new new-append; do
            expect_exit 0 as restore $archive --password-file "$secret" --cache-dir "$cache" --to "$archive$who"
            same_layer disk.qcow2 "$archive$who/disk.qcow2"
        done
        who=$((who + 1))
    done
done
expect_exit 0 as restore new --key-file keyfile --to by-key
same_layer disk.qcow2 by-key/disk.qcow2
expect_exit 0 as list --password-file pw-append
expect_exit 12 as restore old --password-file pw-append --to never
expect_exit 0 byre check --read-data

# Who is removed reads nothing; even with a slot kept from before, nothing new.
expect_exit 12 as list --password-file pw-gone
expect_exit 12 as restore old --password-file pw-gone --to never
cp -n repo.before/keys/"$gone"* repo/keys/
as restore new --password-file pw-gone --cache-dir cache3 --state-dir state3 --to never >"$T/out" 2>"$T/err" &&
    fail "a slot that was put back reads what was written after its removal"
expect_missing never/disk.qcow2
as backup --name forged --password-file pw-gone --cache-dir cache3 --state-dir state3 disk.qcow2 >"$T/out" 2>"$T/err" &&
    fail "a removed key, put back, writes archives"
rm repo/keys/"$gone"*
expect_exit 0 byre check --read-data

# A second epoch on top of it.
append=$(byre key list --json | python3 -c 'import json, sys; print(*[k["id"] for k in json.load(sys.stdin) if k["role"] == "append"])')
expect_exit 0 byre key remove "$append" --new-epoch
expect_exit 12 as list --password-file pw-append
expect_exit 0 byre backup --name newest disk.qcow2
for archive in old new newest; do
    expect_exit 0 as restore "$archive" --password-file pw-stays --cache-dir cache4 --to "last-$archive"
    clean_qcow2 "last-$archive/disk.qcow2"
done
same_layer disk.qcow2 last-newest/disk.qcow2
expect_exit 0 byre key add --role append --new-password-file pw-append
expect_exit 0 as backup --name again --password-file pw-append disk.qcow2
expect_exit 0 byre check --read-data

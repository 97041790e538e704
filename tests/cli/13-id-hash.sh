#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Whichever function makes a repository's ids: what goes in comes out, what changed is told from what did not, and damage is
# found. A repository whose config asks for a function that nobody here knows is refused.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3
unset BYRE_PASSWORD
(umask 077 && head -c 64 /dev/urandom >full.key && head -c 64 /dev/urandom >append.key)
export BYRE_KEY_FILE=$T/full.key

random_file data 2097152 1
random_file more 65536 2
for hash in blake2b sha256; do
    export BYRE_REPOSITORY=$T/$hash
    expect_exit 0 byre init --reserve 0 --id-hash "$hash"
    qemu-img create -q -f qcow2 "$hash.qcow2" 16M
    guest_write "$hash.qcow2" data 1M
    expect_exit 0 byre backup --json "$hash.qcow2"
    expect_json 'd["chunks_new"] == d["chunks_total"] > 10'
    # The same bytes elsewhere are known, by a key that cannot read them, too.
    expect_exit 0 byre key add --role append --new-key-file append.key
    guest_write "$hash.qcow2" data 9M
    guest_write "$hash.qcow2" more 5M
    BYRE_KEY_FILE=$T/append.key expect_exit 0 byre backup --json --full-read "$hash.qcow2"
    expect_json '65536 <= d["bytes_new"] < 1 << 20 and d["chunks_new"] < d["chunks_total"] / 2'
    expect_exit 0 byre check --read-data
    expect_says "$T/out" 'no errors'
    expect_exit 0 byre restore latest --to "$hash.back" --verify --threads 2
    cmp "$hash.qcow2" "$hash.back/$hash.qcow2" || same_content "$hash.qcow2" "$hash.back/$hash.qcow2" qcow2 qcow2
    # The cache is made again, and the index from the packs.
    rm -rf "$BYRE_CACHE_DIR"
    find "$BYRE_REPOSITORY/segments" -type f -delete
    expect_exit 0 byre check --repair
    expect_exit 0 byre restore latest --format raw --to "$hash.raw"
    same_content "$hash.qcow2" "$hash.raw" qcow2 raw
done

# Equal bytes have other ids by each.
ids() { byre --repo "$T/$1" show latest --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["layers"][0]["id"])'; }
[ "$(ids blake2b)" != "$(ids sha256)" ] || fail "the functions do not differ"

# Feature bit 1 is no function, whatever the rest of the config says; bit 0 is one, but the key slots pin it.
set_features() { # set_features REPOSITORY FEATURES: with the right checksum
    python3 - "$1/config" "$2" <<'PY'
import hashlib, struct, sys
with open(sys.argv[1], "r+b") as f:
    data = bytearray(f.read())
    struct.pack_into("<Q", data, 16, int(sys.argv[2]))
    data[104:] = hashlib.blake2b(data[:104], digest_size=32, person=b"byre hash".ljust(16, b"\0")).digest()
    f.seek(0)
    f.write(data)
PY
}
expect_equal "$(od -An -tu8 -j16 -N8 blake2b/config | tr -d ' ')" 0 "features with blake2b"
expect_equal "$(od -An -tu8 -j16 -N8 sha256/config | tr -d ' ')" 1 "features with sha256"
chmod u+w blake2b/config sha256/config
for features in 2 3; do
    set_features sha256 $features
    expect_exit 1 byre --repo sha256 list
    expect_says "$T/err" 'config: needs features 0x2 that this program lacks'
done
set_features sha256 0
expect_exit 4 byre --repo sha256 list
set_features blake2b 1
expect_exit 4 byre --repo blake2b list
set_features sha256 1
expect_exit 0 byre --repo sha256 list

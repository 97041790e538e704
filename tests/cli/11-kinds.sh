#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Every cluster size, version, compression and refcount width comes back as it was.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

# one OPTIONS SIZE [c]: makes an image of its own, and its name is in ${images}.
images=()
random_file data 65536 4
one() {
    local name=i${#images[@]}.qcow2
    qemu-img create -q -f qcow2 -o "$1" "$name" "$2"
    images+=("$name")
    if [ "$2" != 0 ] && [ "$2" -ge 200000 ]; then
        guest_write "$name" data 4096
        guest_write "$name" data $(($2 / 512 * 512 - 65536))
        io "$name" 'write -P 5 100k 3k'
        [ -z "${3:-}" ] || io "$name" 'write -c -P 200 131072 2048'
    elif [ "$2" -gt 0 ]; then
        io "$name" 'write -P 77 0 512'
    fi
}

for size in 512 1k 2k 4k 8k 16k 32k 64k 128k 256k 512k 1M 2M; do
    one "cluster_size=$size" 1000000
    one "cluster_size=$size,compat=0.10" 8388608
done
for bits in 1 2 4 8 16 32 64; do one "refcount_bits=$bits" 3000000; done
one 'refcount_bits=64,cluster_size=512' 4000000
one 'refcount_bits=1,cluster_size=2M' 5000000
one 'lazy_refcounts=on' 5000000
one 'preallocation=metadata' 9000000
one 'preallocation=falloc,cluster_size=4k' 9000000
for size in 0 512 513 1024 65535 65536 65537 2097153 1048575; do one 'cluster_size=64k' "$size"; done
one 'cluster_size=512' 0
one 'compat=0.10' 0
# Compressed ones: both algorithms, through qemu-img.
{ cat data; head -c 3000000 /dev/zero | tr '\0' 'x'; cat data; yes compressible | head -c 777777 || true; } >plain
for options in compression_type=zlib compression_type=zstd compat=0.10 \
    compression_type=zstd,cluster_size=512 compression_type=zlib,cluster_size=512 \
    compression_type=zstd,cluster_size=2M compression_type=zlib,cluster_size=2M,refcount_bits=1; do
    name=c${#images[@]}.qcow2
    qemu-img convert -c -f raw -O qcow2 -o "$options" plain "$name"
    # Overwriting some of them leaves gaps and mixed tables.
    io "$name" 'write -P 1 0 1000' 'write -P 2 3M 64k'
    images+=("$name")
done
fingerprint "${images[@]}" >before

# The virtual size is in the header, at 24; QEMU takes whole sectors.
virtual_size() { echo $((16#$(od -An -tx1 -j24 -N8 "$1" | tr -d ' \n') / 512 * 512)); }

new_repository
expect_exit 0 byre backup --json --name all "${images[@]}"
expect_json "d['layers_total'] == ${#images[@]}"
fingerprint "${images[@]}" | cmp - before || fail "a backup changed its sources"
expect_exit 0 byre restore name:all --to back --verify
for image in "${images[@]}"; do
    same_info "$image" "back/$image"
    clean_qcow2 "back/$image"
    same_map "$image" "back/$image"
    compare_layer_alone "$image" "back/$image"
done
expect_exit 0 byre backup --json --name all "${images[@]}"
expect_json 'd["chunks_new"] == 0 and d["bytes_new"] == 0'

# Flattened, each looks the same to a guest, and keeps cluster size, version and compression type.
mkdir flat raw
expect_exit 0 byre restore name:all --flatten --to flat
expect_exit 0 byre restore name:all --format raw --to raw
for image in "${images[@]}"; do
    same_content "$image" "flat/$image" qcow2 qcow2
    same_info "$image" "flat/$image"
    clean_qcow2 "flat/$image"
    same_content "$image" "raw/${image%.qcow2}.raw" qcow2 raw
    [ "$(stat -c %s "raw/${image%.qcow2}.raw")" = "$(virtual_size "$image")" ] || fail "size of $image as raw"
done

# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2034,SC2154,SC2317,SC2329
# Formats, sizes and allocation.

r_plain() { mk '' 4M; w 'write -P 1 0 1M' 'write -P 2 3M 4k'; }
r_empty() { mk '' 4M; }

cluster() {
    mk "cluster_size=$1" 9M
    w 'write -P 1 0 70k' 'write -P 2 5M 3M' 'write -z 5M 2M' 'discard 6M 1M' 'write -P 4 8M 512'
    snap one
    w 'write -P 5 6M 100k'
}
each cluster 512 1k 2k 4k 8k 16k 32k 64k 128k 256k 512k 1M 2M

cluster_v2() {
    mk "cluster_size=$1,compat=0.10" 9M
    w 'write -P 1 0 70k' 'write -P 2 5M 3M' 'discard 6M 1M' 'write -P 4 8M 512'
    snap one
    w 'write -P 5 6M 100k'
}
each cluster_v2 512 1k 2k 4k 8k 16k 32k 64k 128k 256k 512k 1M 2M

refcount() { mk "refcount_bits=$1" 5M; w 'write -P 1 0 1M' 'write -z 4M 64k'; }
each refcount 1 2 4 8 16 32 64
refcount_snap() { refcount "$1"; snap a; w 'write -P 2 512k 1M'; [ "$1" = 2 ] || snap b; w 'write -P 3 0 64k'; }
each refcount_snap 2 4 8 16 32 64
r_refcount_64_small_clusters() { mk 'refcount_bits=64,cluster_size=512' 4M; w 'write -P 9 0 3M'; snap a; w 'write -P 8 1M 1M'; }
r_refcount_1_compressed() { mk 'refcount_bits=1' 4M; w 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k' 'write -P 3 1M 64k'; }

size() { mk '' "$1"; [ "$1" = 0 ] || w 'write -P 77 0 512'; }
each size 0 512 1024 65024 65536 66048 2097152 2097664 1048064
r_size_0_v2() { mk compat=0.10 0; }
r_size_0_small_clusters() { mk cluster_size=512 0; }
r_size_1_eib() {
    huge=true
    mk 'cluster_size=2M' 1E
    w 'write -P 1 0 4k' 'write -P 2 1048575T 2M' "write -P 3 $(((1 << 60) - 2097152)) 2M"
    reads 'read -P 1 0 4k' 'read -P 2 1048575T 2M' "read -P 3 $(((1 << 60) - 2097152)) 2M"
}
r_size_16_tib() {
    huge=true
    mk '' 16T
    w 'write -P 1 0 4k' 'write -P 2 15T 2M'
    reads 'read -P 1 0 4k' 'read -P 2 15T 2M'
}
# QEMU takes whole sectors of what the header says.
r_size_not_of_sectors() { mk '' 1M; w 'write -P 1 0 1M'; poke top.qcow2 'i.put(24, "Q", 1048476)'; }

r_zlib() { python3 -c 'import sys; sys.stdout.buffer.write(b"".join(bytes([n % 251]) * 3000 + bytes(range(256)) * 9 for n in range(900)))' >p; qemu-img convert -c -f raw -O qcow2 p top.qcow2; }
r_zstd() { random_file p 3000000 1; truncate -s 5M p; qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd p top.qcow2; w 'write -c -P 9 4M 64k' 'write -P 3 0 64k'; }
zip_cluster() {
    yes 'some text that can be made smaller' | head -c 5000000 >p || true
    random_file q 100000 7
    cat q >>p
    qemu-img convert -c -f raw -O qcow2 -o "cluster_size=$1" p top.qcow2
    snap one
    w 'write -P 1 0 3M'
}
each zip_cluster 512 4k 64k 2M
zstd_cluster() {
    yes 'some text that can be made smaller' | head -c 5000000 >p || true
    qemu-img convert -c -f raw -O qcow2 -o "compression_type=zstd,cluster_size=$1" p top.qcow2
    snap one
    w 'write -P 1 0 3M'
}
each zstd_cluster 512 4k 64k 2M
r_zip_v2_snap() { mk compat=0.10 4M; w 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k'; snap a; w 'write -P 3 0 64k'; }
# The last stream's sector ends past the end of the file.
r_zip_file_ends_early() {
    random_file q 40000 3
    { cat q; head -c 25536 /dev/zero; } >p
    qemu-img convert -c -f raw -O qcow2 p top.qcow2
    poke top.qcow2 'w = i.get(i.l2_address(0)); o, n = i.compressed(w); d = image.zlib.decompressobj(-15); d.decompress(i.at(o, n)); i.f.truncate(o + n - len(d.unused_data))'
}
# A size field larger than the stream needs does no harm.
r_zip_inflated_size() {
    mk '' 4M
    w 'write -c -P 1 0 64k' 'write -P 2 1M 64k'
    poke top.qcow2 'a = i.l2_address(0); i.put(a, "Q", i.get(a) + (3 << (62 - (i.cluster_bits - 8))))'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
}

pre() { mk "preallocation=$1" 6M; w 'write -P 1 1M 64k' 'write -P 2 5M 512'; }
each pre off metadata falloc full
pre_snap() { pre "$1"; snap a; w 'write -P 3 1M 1M'; }
each pre_snap metadata falloc full
r_pre_small_clusters() { mk preallocation=metadata,cluster_size=1k 3M; w 'write -P 1 1M 64k'; }

r_lazy() { mk lazy_refcounts=on 4M; w 'write -P 1 0 64k'; }
r_dirty() {
    mk lazy_refcounts=on 4M
    qemu-io -c 'write -P 1 0 1M' -c 'write -P 5 2M 64k' -c abort top.qcow2 >/dev/null 2>&1 || true
    [ "$(od -An -tx1 -j79 -N1 top.qcow2 | tr -d ' ')" = 01 ] || fail "the dirty bit is not set"
    reads 'read -P 1 0 64k'
}
r_dirty_snap() {
    mk lazy_refcounts=on 4M
    w 'write -P 1 0 1M'
    snap a
    qemu-io -c 'write -P 2 0 512k' -c abort top.qcow2 >/dev/null 2>&1 || true
}
# The dirty bit with refcounts that are all wrong.
r_dirty_no_refcounts() {
    mk lazy_refcounts=on 4M
    w 'write -P 1 0 1M'
    poke top.qcow2 'i.put(72, "Q", 1); i.raw(i.get(i.rt_offset) & MASK, bytes(i.cs))'
    # QEMU would repair it on its copies.
    cp top.qcow2 ref && qemu-img check -q -r all ref >/dev/null 2>&1 && like[top.qcow2]=$PWD/ref
    after() { clean_qcow2 "$T/back/top.qcow2"; }
}
r_leaks() {
    mk '' 4M
    w 'write -P 1 0 1M'
    poke top.qcow2 'b = i.get(i.rt_offset) & MASK; n = os.path.getsize("top.qcow2") // i.cs; [i.put(b + 2 * k, "H", 1) for k in range(n, n + 4)]; [i.append(b"leaked") for k in range(4)]'
    qemu-img check -q top.qcow2 >/dev/null 2>&1 && fail "no leak"
    after() { ! grep -q leaked "$T/back/top.qcow2" || fail "a leak was restored"; }
}
r_wrong_refcounts() {
    mk '' 4M
    w 'write -P 1 0 1M'
    poke top.qcow2 'b = i.get(i.rt_offset) & MASK; i.put(b + 12, "H", 9)'
}
r_zero_alloc() { mk '' 4M; w 'write -P 170 0 1M' 'write -z 0 512k' 'write -z 3M 64k'; }
r_discard_v3() { mk '' 4M; w 'write -P 1 0 2M' 'discard 64k 1M'; }
r_discard_unmap_zero() { mk '' 4M; w 'write -P 1 0 2M' 'write -z -u 64k 1M'; }

r_l1_too_big() {
    mk cluster_size=4k 8M
    w 'write -P 1 0 1M' 'write -P 2 7M 64k'
    qemu-img resize -q --shrink top.qcow2 3M
    poke top.qcow2 'assert i.l1_size >= 4; i.put(24, "Q", 1 << 20)'
}
# Hundreds of entries more than the disk needs, in clusters of their own.
r_l1_far_too_big() {
    mk '' 4M
    w 'write -P 1 0 64k'
    poke top.qcow2 't = i.at(i.l1_offset, 8 * i.l1_size); a = i.append(t.ljust(8 * 20000, b"\0")); i.put(36, "IQ", 20000, a)'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
}
r_l1_past_the_end_of_disk() {
    mk cluster_size=4k 8M
    w 'write -P 1 0 8M'
    poke top.qcow2 'i.put(24, "Q", 2 << 20)'
}
r_two_refcount_blocks() { mk cluster_size=512 3M; w 'write -P 1 0 3M'; }
r_refcount_table_grown() { mk cluster_size=512,refcount_bits=64 8M; w 'write -P 1 0 8M'; }
r_resized_up() { mk '' 1M; w 'write -P 1 0 1M'; qemu-img resize -q top.qcow2 3G; w 'write -P 2 2G 64k'; }
r_resized_prealloc() { mk preallocation=metadata 1M; qemu-img resize -q --preallocation=metadata top.qcow2 5M; }
r_amended_to_v2() { mk '' 4M; w 'write -P 1 0 1M'; snap a; qemu-img amend -q -f qcow2 -o compat=0.10 top.qcow2; w 'write -P 3 0 64k'; }
r_amended_to_v3() { mk compat=0.10 4M; w 'write -P 1 0 1M'; snap a; qemu-img amend -q -f qcow2 -o compat=1.1,refcount_bits=64 top.qcow2; w 'write -z 0 64k'; }
r_file_ends_within_a_cluster() { mk '' 4M; w 'write -P 1 0 1M'; truncate -s -1000 top.qcow2; }
r_file_has_a_tail() { mk '' 4M; w 'write -P 1 0 1M'; head -c 100000 /dev/zero | tr '\0' 'x' >>top.qcow2; }

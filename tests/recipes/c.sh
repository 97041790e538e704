# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2034,SC2154,SC2317,SC2329
# Bitmaps and extended L2.

bits() { mk "${2:-}" 16M; w 'write -P 1 0 64k'; bitmap -g "$1" top.qcow2 b; w 'write -P 2 1M 64k' 'write -P 3 5M 512' 'write -z 9M 1M' 'write -P 4 16776704 512'; }
each bits 512 4k 64k 1M 16M 2G
r_bits_small_clusters() { bits 512 cluster_size=512; }
r_bits_2m_clusters() { bits 64k cluster_size=2M; }
r_bits_several() { mk '' 8M; for n in 1 2 3 4 5; do bitmap -g $((n * 4 < 8 ? 4096 : 65536)) top.qcow2 "bitmap $n ü/x"; w "write -P $n ${n}M 100k"; done; }
r_bits_disabled() { mk '' 8M; bitmap top.qcow2 on; bitmap top.qcow2 off; w 'write -P 1 1M 64k'; bitmap2 --disable off; w 'write -P 2 2M 64k'; }
bitmap2() { qemu-img bitmap "$1" top.qcow2 "$2"; }
r_bits_created_disabled() { mk '' 8M; bitmap --disable top.qcow2 off; w 'write -P 1 1M 64k'; }
r_bits_cleared() { mk '' 8M; bitmap top.qcow2 b; w 'write -P 1 1M 64k'; bitmap2 --clear b; }
r_bits_removed() { mk '' 8M; bitmap top.qcow2 b; bitmap top.qcow2 c; w 'write -P 1 1M 64k'; bitmap2 --remove b; }
r_bits_last_removed() { mk '' 8M; bitmap top.qcow2 b; w 'write -P 1 1M 64k'; bitmap2 --remove b; }
r_bits_merged() { mk '' 8M; bitmap top.qcow2 a; w 'write -P 1 1M 64k'; bitmap top.qcow2 b; w 'write -P 1 3M 64k'; qemu-img bitmap --merge a top.qcow2 b; }
r_bits_all_set() { mk cluster_size=4k 1G; bitmap -g 4k top.qcow2 b; qemu-img resize -q top.qcow2 1G; poke top.qcow2 'b = i.bitmaps()[0]; [i.put(b["table"] + 8 * k, "Q", 1) for k in range(b["n"])]'; w 'write -P 1 1M 64k'; }
r_bits_long_name() { mk '' 8M; bitmap top.qcow2 "$(printf 'b%.0s' {1..1023})"; w 'write -P 1 0 64k'; }
r_bits_with_snapshots() { mk '' 8M; w 'write -P 1 0 1M'; snap a; bitmap top.qcow2 b; w 'write -P 2 512k 1M'; snap c; w 'write -P 3 2M 64k'; }
r_bits_over_base() { mk '' 8M base.qcow2; io base.qcow2 'write -P 9 0 8M'; bitmap base.qcow2 inner; io base.qcow2 'write -P 8 0 64k'; over base.qcow2; bitmap top.qcow2 b; w 'write -P 3 1M 64k'; }
r_bits_compressed() { mk '' 8M; bitmap top.qcow2 b; w 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k'; }
r_bits_extended() { mk extended_l2=on 8M; bitmap -g 2k top.qcow2 b; w 'write -P 1 0 4k' 'write -P 1 70k 4k'; }
r_bits_resized() { mk '' 8M; bitmap top.qcow2 b; w 'write -P 1 0 4k'; qemu-img resize -q top.qcow2 20M; w 'write -P 1 18M 4k'; }
r_bits_refcount_1() { mk refcount_bits=1 8M; bitmap top.qcow2 b; w 'write -P 1 0 4k'; }
r_bits_many() { mk cluster_size=4k 8M; for n in $(seq 40); do bitmap top.qcow2 "b$n"; done; w 'write -P 1 0 1M'; }
r_bits_big_disk() { huge=true; mk cluster_size=4k 4T; bitmap -g 64k top.qcow2 b; w 'write -P 1 0 4k' 'write -P 1 3T 1M'; }
# A machine that went away: reported, and kept as in use, for nobody may trust it.
r_bits_in_use() { mk '' 8M; bitmap top.qcow2 b; bitmap top.qcow2 good; w 'write -P 1 0 4k'; poke top.qcow2 'b = i.bitmaps()[0]; i.put(b["at"] + 12, "I", b["flags"] | 1)'; says='bitmap'; }
r_bits_in_use_really() { mk '' 8M; bitmap top.qcow2 b; qemu-io -c 'write -P 1 1M 64k' -c abort top.qcow2 >/dev/null 2>&1 || true; poke top.qcow2 'assert i.bitmaps()[0]["flags"] & 1'; says='bitmap'; }
# Written by something that knows no bitmaps.
r_bits_autoclear_cleared() { mk '' 8M; bitmap top.qcow2 b; w 'write -P 1 0 4k'; cp top.qcow2 ref; poke top.qcow2 'i.put(88, "Q", 0)'; nobits ref; }
# nobits FILE: what the source is like without its bitmaps; malformed ones are dropped, and the data is saved.
nobits() {
    poke "$1" 'i.put(88, "Q", i.autoclear & ~1); i.write_extensions([(k, d) for k, d, _ in i.extensions() if k != BITMAPS])'
    like[top.qcow2]=$PWD/$1 dropped=true says=bitmap
}
# malformed BAD STATEMENT: QEMU refuses such an image; the others come back.
malformed() {
    local bad=$1
    shift
    mk '' 8M
    bitmap top.qcow2 first
    bitmap top.qcow2 second
    w 'write -P 1 0 1M'
    cp top.qcow2 ref
    poke top.qcow2 "$1"
    if [ "$bad" = all ]; then
        nobits ref
    else
        qemu-img bitmap --remove ref "$bad"
        like[top.qcow2]=$PWD/ref says=bitmap
    fi
}
r_bits_bad_type() { malformed second 'i.put(i.bitmaps()[1]["at"] + 16, "B", 9)'; }
r_bits_bad_granularity() { malformed second 'i.put(i.bitmaps()[1]["at"] + 17, "B", 60)'; }
r_bits_bad_flags() { malformed second 'i.put(i.bitmaps()[1]["at"] + 12, "I", 0x80000002)'; }
r_bits_bad_name_length() { malformed all 'i.put(i.bitmaps()[1]["at"] + 18, "H", 60000)'; }
r_bits_bad_extra() { malformed all 'i.put(i.bitmaps()[1]["at"] + 20, "I", 0xfffffff0)'; }
r_bits_bad_table_offset() { malformed first 'i.put(i.bitmaps()[0]["at"], "Q", 1 << 50)'; }
r_bits_bad_table_align() { malformed first 'i.put(i.bitmaps()[0]["at"], "Q", i.bitmaps()[0]["table"] + 8)'; }
r_bits_bad_table_zero() { malformed first 'i.put(i.bitmaps()[0]["at"], "Q", 0)'; }
r_bits_bad_table_size() { malformed first 'i.put(i.bitmaps()[0]["at"] + 8, "I", 0xffffffff)'; }
r_bits_bad_table_entry() { malformed first 'i.put(i.bitmaps()[0]["table"], "Q", 1 << 50)'; }
r_bits_bad_count() { malformed all 'i.put(i.extension(BITMAPS)[1], "I", 60000)'; }
r_bits_bad_directory() { malformed all 'i.put(i.extension(BITMAPS)[1] + 16, "Q", 1 << 60)'; }
r_bits_bad_directory_size() { malformed all 'i.put(i.extension(BITMAPS)[1] + 8, "Q", 1 << 60)'; }
r_bits_bad_directory_past_end() { malformed all 'i.put(i.extension(BITMAPS)[1] + 16, "Q", 1 << 40)'; }
r_bits_bad_equal_names() { malformed all 'b = i.bitmaps(); i.raw(b[1]["at"] + 24, b"first"); i.put(b[1]["at"] + 18, "H", 5)'; }

x() { mk "extended_l2=on${1:+,$1}" 8M; }
mix() { w 'write -P 1 0 2k' 'write -P 2 6k 4k' 'write -z 8k 2k' 'write -z 64k 64k' 'write -P 3 130k 2k' 'write -P 4 256k 64k' 'discard 260k 8k' 'write -z 1M 2k' 'write -P 5 2M 1M' 'write -z 2100k 40k' 'write -P 6 8388096 512'; }
r_x_mix() { x; mix; }
xc() { x "cluster_size=$1"; mix; snap a; w 'write -P 7 0 30k' 'write -z 2M 100k'; }
each xc 16k 32k 64k 128k 512k 2M
r_x_empty() { x; }
xpre() { x "preallocation=$1"; mix; }
each xpre metadata falloc full
r_x_pre_untouched() { x preallocation=metadata; }
r_x_snapshots() { x; mix; snap a; mix; w 'write -P 9 6k 2k' 'write -z 0 1k' 'discard 256k 64k'; snap b; w 'write -z 2M 1M'; snap c; w 'write -P 4 2100k 2k'; }
r_x_zero_shares_with_snapshot() { x; w 'write -P 1 0 1M'; snap a; w 'write -z 0 64k' 'write -z 130k 2k'; }
r_x_compressed() { x; w 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k' 'write -P 3 128k 2k'; snap a; w 'write -P 4 2k 2k'; }
r_x_zstd() { x compression_type=zstd; w 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k' 'write -P 3 128k 2k'; snap a; w 'write -P 4 2k 2k'; }
r_x_over_base() { mk '' 8M base.qcow2; io base.qcow2 'write -P 9 0 8M'; over base.qcow2 extended_l2=on; mix; snap a; w 'write -P 1 4M 512' 'write -z 5M 2k' 'discard 5100k 2k'; }
r_x_base_and_top() { mk extended_l2=on,cluster_size=16k 8M base.qcow2; io base.qcow2 'write -P 9 0 3k' 'write -P 8 2M 1M' 'write -z 2100k 2k'; over base.qcow2 extended_l2=on,cluster_size=2M; mix; }
# An allocated cluster of which no subcluster is, over something: what is below shows.
r_x_alloc_no_bits() { mk '' 8M base.qcow2; io base.qcow2 'write -P 9 0 8M'; over base.qcow2 extended_l2=on; w 'write -P 1 0 64k'; poke top.qcow2 'i.put(i.l2_address(0) + 8, "Q", 0)'; reads 'read -P 9 0 64k'; }
r_x_zero_bits_over_data() { x; w 'write -P 85 0 64k'; poke top.qcow2 'i.put(i.l2_address(0) + 8, "Q", 0x0000ffff0f0f0000 | 0xf0f00000 >> 4 & 0)'; reads 'read -P 0 0 32k'; }
r_x_each_bit() { x; w 'write -P 1 0 2M'; poke top.qcow2 '[i.put(i.l2_address(k << 16) + 8, "Q", 1 << k | (0xffffffff ^ (1 << k)) << 32) for k in range(32)]'; }
r_x_lone_zero_bits() { x; w 'write -z 0 2k' 'write -z 66k 2k' 'write -z 140k 100k'; }
r_x_refcount_64() { x refcount_bits=64; mix; snap a; w 'write -P 5 0 2k'; }
r_x_refcount_1() { x refcount_bits=1; mix; }
r_x_lazy() { x lazy_refcounts=on; mix; }
r_x_bad_bits() { x; w 'write -P 1 0 64k'; poke top.qcow2 'i.put(i.l2_address(0) + 8, "Q", 0x00000001ffffffff)'; refused='subcluster|bitmap|both|L2'; }

# daemon SIGNAL IMAGE: a storage daemon writes through an export, and ends by SIGNAL.
daemon() {
    local pid sock
    sock=$(mktemp -u "$T/nbd.XXXX")
    qemu-storage-daemon --blockdev "driver=file,filename=$2,node-name=f" --blockdev driver=qcow2,file=f,node-name=q \
        --nbd-server "addr.type=unix,addr.path=$sock" --export type=nbd,id=e,node-name=q,name=d,writable=on &
    pid=$!
    for _ in {1..200}; do [ ! -S "$sock" ] || break; sleep 0.02; done
    qemu-io -f raw -c 'write -P 7 1M 200k' -c 'write -P 8 3M 4k' -c 'write -z 2M 64k' -c 'discard 1M 64k' -c flush \
        "nbd+unix:///d?socket=$sock" >/dev/null
    kill "-$1" "$pid"
    wait "$pid" 2>/dev/null || true
}
r_daemon() { mk '' 4M; w 'write -P 1 0 4M'; snap a; daemon TERM top.qcow2; reads 'read -P 7 1114112 64k' 'read -P 8 3M 4k'; }
r_daemon_bitmap() { mk '' 4M; bitmap top.qcow2 b; daemon TERM top.qcow2; reads 'read -P 8 3M 4k'; after() { poke "$T/back/top.qcow2" 'assert i.bitmaps()[0]["flags"] == 2; assert any(i.bitmap_bits(i.bitmaps()[0]))'; }; }
r_daemon_killed() { mk lazy_refcounts=on 4M; daemon KILL top.qcow2; reads 'read -P 8 3M 4k'; }
r_daemon_killed_bitmap() { mk '' 4M; bitmap top.qcow2 b; daemon KILL top.qcow2; says=bitmap; }
r_daemon_extended() { mk extended_l2=on 4M; w 'write -P 1 0 4M'; daemon TERM top.qcow2; reads 'read -P 8 3M 4k'; }
# A bitmap where the version knows none.
r_bits_bad_version() { mk '' 8M; bitmap top.qcow2 b; w 'write -P 1 0 1M'; qemu-img create -q -f qcow2 -o compat=0.10 ref 8M; io ref 'write -P 1 0 1M'; cp ref top.qcow2; poke top.qcow2 'i.write_extensions([(BITMAPS, struct.pack(">IIQQ", 1, 0, 32, 3 << 16))])'; like[top.qcow2]=$PWD/ref dropped=true says=bitmap; }

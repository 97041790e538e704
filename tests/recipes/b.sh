# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2034,SC2154,SC2317,SC2329
# Internal snapshots.

r_snap_several() { mk '' 4M; for n in 1 2 3 4 5 6; do w "write -P $n $((n * 300))k 200k"; snap "s$n"; done; }
r_snap_equal_names() { mk '' 4M; w 'write -P 1 0 64k'; snap same; w 'write -P 2 0 64k'; snap same; w 'write -P 3 0 64k'; snap same; }
r_snap_names() { mk '' 4M; w 'write -P 1 0 64k'; snap 'weekly/Ünïcödé €'; snap 'a "quoted" \ name, with comma'; snap "$(printf 'n%.0s' {1..200})"; snap 2; snap ' '; }
r_snap_unnamed() { mk '' 4M; w 'write -P 1 0 64k'; snap x; snap y; poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(name=b""))'; qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true; }
r_snap_odd_ids() { mk '' 4M; w 'write -P 1 0 64k'; snap x; w 'write -P 2 0 64k'; snap y; poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(id=b"id-" + s["id"] * 30))'; qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true; }
r_snap_resized_up() { mk '' 2M; w 'write -P 1 0 2M'; snap small; qemu-img resize -q top.qcow2 8M; w 'write -P 2 7M 1M'; snap big; }
r_snap_resized_down() { mk '' 8M; w 'write -P 1 0 8M'; snap big; qemu-img resize -q --shrink top.qcow2 2M; w 'write -P 2 1M 1M'; snap small; }
r_snap_resized_l1() { mk cluster_size=4k 2M; w 'write -P 1 0 2M'; snap s; qemu-img resize -q top.qcow2 64M; w 'write -P 2 60M 1M'; snap b; qemu-img resize -q --shrink top.qcow2 1M; }
r_snap_zero() { mk '' 4M; w 'write -P 1 0 1M'; snap a; w 'write -z 0 256k' 'write -z 2M 64k'; snap b; w 'write -P 2 0 64k'; }
# A zero entry that keeps the host cluster it shares with a snapshot's data.
r_snap_zero_alloc_shares() { mk '' 4M; w 'write -P 1 0 1M'; snap a; w 'write -z 0 1M'; after() { cp "$T/back/top.qcow2" "$T/x.qcow2"; qemu-img snapshot -a a "$T/x.qcow2"; io "$T/x.qcow2" 'read -P 1 0 1M'; }; }
r_snap_discard() { mk '' 4M; w 'write -P 1 0 1M'; snap a; w 'discard 128k 512k'; snap b; }
r_snap_discard_v2() { mk compat=0.10 4M; w 'write -P 1 0 1M'; snap a; w 'discard 128k 512k'; snap b; }
r_snap_compressed() { mk '' 4M; w 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k' 'write -c -P 3 128k 64k'; snap a; w 'write -P 4 64k 64k'; snap b; w 'write -P 5 0 4k'; }
r_snap_compressed_zstd() { mk compression_type=zstd 4M; w 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k' 'write -c -P 3 128k 64k'; snap a; w 'write -P 4 64k 64k'; snap b; w 'write -P 5 0 4k'; }
r_snap_deleted() { mk '' 4M; w 'write -P 1 0 1M'; snap a; w 'write -P 2 0 1M'; snap b; w 'write -P 3 512k 1M'; snap c; qemu-img snapshot -d b top.qcow2; }
r_snap_all_deleted() { mk '' 4M; w 'write -P 1 0 1M'; snap a; w 'write -P 2 0 1M'; qemu-img snapshot -d a top.qcow2; }
r_snap_applied() { mk '' 4M; w 'write -P 1 0 1M'; snap a; w 'write -P 2 0 1M'; snap b; qemu-img snapshot -a a top.qcow2; w 'write -P 7 64k 64k'; }
r_snap_of_empty() { mk '' 4M; snap a; w 'write -P 1 0 64k'; }
r_snap_of_size_0() { mk '' 0; snap a; qemu-img resize -q top.qcow2 1M; w 'write -P 1 0 64k'; }
r_snap_v2() { mk compat=0.10 4M; w 'write -P 1 0 1M'; snap a; w 'write -P 2 0 512k'; snap b; w 'write -P 3 0 64k'; }
r_snap_over_base() { mk '' 4M base.qcow2; io base.qcow2 'write -P 9 0 4M'; over base.qcow2; w 'write -P 1 0 64k'; snap a; w 'write -z 0 1M' 'discard 2M 64k'; snap b; w 'write -P 2 0 4k'; }
r_snap_in_base_too() { mk '' 4M base.qcow2; io base.qcow2 'write -P 9 0 4M'; snap inner base.qcow2; io base.qcow2 'write -P 8 1M 64k'; over base.qcow2; w 'write -P 1 0 64k'; snap a; }
r_snap_over_longer_base() { mk '' 8M base.qcow2; io base.qcow2 'write -P 9 0 8M'; over base.qcow2 '' top.qcow2 2M; snap a; qemu-img resize -q top.qcow2 8M; w 'write -P 1 0 64k'; snap b; }
r_snap_hundred() { mk cluster_size=4k 1M; for n in $(seq 100); do snap "s$n"; [ $((n % 10)) != 0 ] || w "write -P $n ${n}k 8k"; done; }
r_snap_table_of_clusters() { mk cluster_size=512 1M; for n in $(seq 30); do snap "name of snapshot $n"; done; w 'write -P 1 0 64k'; snap last; }

# State of a machine by poking: a snapshot's L1 that goes on behind the disk, and a size.
vm_state() {
    mk "$1" 4M
    w 'write -P 1 0 1M'
    # Grown to make room for the state, and shrunk as the disk's size says; QEMU stores it just so.
    poke top.qcow2 'n = -(-i.size // (i.cs * i.l2n)); a = i.append(i.at(i.l1_offset, 8 * i.l1_size).ljust(8 * (n + 3), b"\0")); t = i.append(b""); d = [i.append(bytes([65 + k]) * i.cs) for k in range(5)]; [i.raw(t + i.entry * k, struct.pack(">QQ", d[k], 0xffffffff) if i.extended else struct.pack(">Q", d[k])) for k in range(5)]; i.put(a + 8 * n, "Q", t); i.put(36, "IQ", n + 3, a)'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    snap running
    poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(vm32=4 * i.cs + 1000 if 4 * i.cs + 1000 < 1 << 32 else 0, clock=123456789012, extra=struct.pack(">QQQ", 4 * i.cs + 1000, i.size, 77777)))'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    w 'write -P 2 0 64k'
    after() { expect_equal "$(qemu-img snapshot -l "$T/back/top.qcow2")" "$(qemu-img snapshot -l top.qcow2)"; }
}
r_vm_state() { vm_state ''; }
r_vm_state_small_clusters() { vm_state cluster_size=4k; }
r_vm_state_v3_64_bit_refcounts() { vm_state refcount_bits=64; }
r_vm_state_extended() { vm_state extended_l2=on; }
r_vm_state_v2() { vm_state compat=0.10; }
# The 64-bit size counts, not the other.
r_vm_state_sizes_differ() { mk '' 4M; w 'write -P 1 0 1M'; snap a; poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(vm32=0xffffffff, extra=struct.pack(">QQQ", 12345, i.size, 1)))'; qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true; }

snap_extra() {
    mk "${2:-}" 4M
    w 'write -P 1 0 1M'
    snap a
    w 'write -P 2 0 64k'
    snap b
    poke top.qcow2 "i.rewrite_snapshots(lambda s: s.update(extra=(struct.pack('>QQQ', 0, 4 << 20, 42) + b'unknown tail ' * 80)[:$1]))"
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
}
r_snap_extra_16() { snap_extra 16; }
r_snap_extra_24() { snap_extra 24; }
r_snap_extra_25() { snap_extra 25; }
r_snap_extra_100() { snap_extra 100; }
r_snap_extra_1024() { snap_extra 1024; }
r_snap_extra_0_v2() { snap_extra 0 compat=0.10; }
r_snap_extra_8_v2() { snap_extra 8 compat=0.10; }
r_snap_extra_100_v2() { snap_extra 100 compat=0.10; }
# A snapshot that knows no size takes the disk's.
r_snap_extra_0_v2_resized() { mk compat=0.10 4M; w 'write -P 1 0 4M'; snap a; poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(extra=b""))'; qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true; }

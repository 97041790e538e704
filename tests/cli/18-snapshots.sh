#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What internal snapshots seem to prove, and do not; and clusters that are reused under an entry that
# looks the same.
# shellcheck disable=SC1091 source=tests/cli/unchanged.sh
# shellcheck disable=SC2317,SC2329
. "$(dirname "$0")/unchanged.sh"

# The snapshot of that id and name is another one: only its time of day tells.
plain_snapshot_made_again() {
    local before
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    saved
    before=$(entry top.qcow2 0)
    snap -d a
    io top.qcow2 'write -P 2 0 64k'
    snap -c a
    expect_equal "$(entry top.qcow2 0)" "$before" "the entry that was to look the same"
    saved
    snap -d a
    io top.qcow2 'write -P 3 64k 64k'
    saved
    snap -c a
    saved
}

# Even its L1 looks the same, and the second is the same one.
plain_snapshot_made_again_in_the_same_second() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(sec=1700000000, nsec=1))'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    saved
    snap -d a
    io top.qcow2 'write -P 2 0 64k'
    snap -c a
    poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(sec=1700000000, nsec=2))'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    saved
}

plain_snapshot_applied() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    io top.qcow2 'write -P 2 0 128k'
    snap -c b
    saved
    snap -a a
    saved
    io top.qcow2 'write -P 3 64k 64k'
    saved
    snap -a b
    io top.qcow2 'write -P 4 0 4k'
    saved
}

# What a snapshot has pinned is free to be written in place once it is gone.
plain_snapshot_deleted() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    snap -c b
    saved
    snap -d a
    io top.qcow2 'write -P 2 0 64k'
    saved
    snap -d b
    io top.qcow2 'write -P 3 64k 64k'
    saved
    io top.qcow2 'write -P 4 64k 64k' 'write -P 4 128k 64k'
    saved
}

plain_snapshots_exchanged() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    io top.qcow2 'write -P 2 0 1M'
    snap -c b
    saved
    # The first name and id belong to the later state now.
    poke top.qcow2 's = i.snapshots(); n = {s[0]["id"]: s[1], s[1]["id"]: s[0]}; i.rewrite_snapshots(lambda t: t.update(l1=n[t["id"]]["l1"]))'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    saved
    snap -a 1
    saved
}

plain_snapshot_and_resize() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 4M'
    snap -c a
    saved
    qemu-img resize -q --shrink top.qcow2 1M
    saved
    qemu-img resize -q top.qcow2 8M
    io top.qcow2 'write -P 2 2M 64k'
    saved
    snap -c b
    snap -a a
    saved
}

# The snapshot of a copy that was the same once, in the original's place.
plain_snapshot_of_a_copy() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    cp top.qcow2 copy.qcow2
    saved
    # In the copy it is made again, with all that can be seen of the other.
    poke top.qcow2 's = i.snapshots()[0]; print(s["sec"], s["nsec"], file=open("when", "w"))'
    qemu-img snapshot -d a copy.qcow2
    io copy.qcow2 'write -P 2 0 64k'
    qemu-img snapshot -c a copy.qcow2
    poke copy.qcow2 'sec, nsec = map(int, open("when").read().split()); a = i.snapshots()[0]["at"]; i.put(a + 16, "II", sec, nsec)'
    mv copy.qcow2 top.qcow2
    saved
}

# The older state of the file, in place: the snapshot that it holds is gone from the newer.
plain_older_file_put_back() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    saved
    cp top.qcow2 old.qcow2
    snap -d a
    io top.qcow2 'write -P 2 0 64k'
    snap -c a
    saved
    cat old.qcow2 >top.qcow2
    saved
}

# Flags that promise a cluster to the active state alone, though a snapshot has it too: QEMU then
# writes in place, below the snapshot. Such an image is broken, but its bytes are what they are.
copied() { poke top.qcow2 'a = i.l1_offset; e = i.get(a); i.put(a, "Q", e | 1 << 63)' 'b = i.l2_address(0); i.put(b, "Q", i.get(b) | 1 << 63)'; }
plain_copied_flags_lie() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    saved
    copied
    io top.qcow2 'write -P 2 0 64k'
    saved
    io top.qcow2 'write -P 3 0 64k'
    saved
}
plain_copied_flag_of_a_cluster_lies() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    saved
    poke top.qcow2 'b = i.l2_address(0); i.put(b, "Q", i.get(b) | 1 << 63)'
    # A table of its own by a write elsewhere; the flag came along.
    io top.qcow2 'write -P 5 512k 64k' 'write -P 2 0 64k'
    saved
}
# The table is the active state's alone, it is said: then a write changes it below the snapshot, too.
plain_copied_flag_of_a_table_lies() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    snap -c a
    saved
    poke top.qcow2 'a = i.l1_offset; i.put(a, "Q", i.get(a) | 1 << 63)'
    io top.qcow2 'write -P 2 0 64k'
    saved
}

# Whatever lost the end of the file: that a snapshot was there is no proof that it is.
plain_snapshot_cut_off() {
    mk top.qcow2 1G
    io top.qcow2 'write -P 1 0 64k'
    snap -c empty
    # What the discard frees is taken by all that follows, so that the snapshot's own comes last.
    io top.qcow2 'write -P 2 700M 512k' 'write -P 3 600M 128k' 'discard 700M 512k'
    snap -c a
    snap -a empty
    saved
    truncate -s -131072 top.qcow2
    expect_exit 1 byre backup --full-read top.qcow2
    expect_exit 1 byre backup top.qcow2
}

# -- clusters that come again ---------------------------------------------------------------------
case_discarded_and_written_again() {
    local before
    mk top.qcow2 8M
    io top.qcow2 'write -P 1 0 1M'
    saved
    before=$(entry top.qcow2 65536)
    io top.qcow2 'discard 64k 64k' 'write -P 2 64k 64k'
    expect_equal "$(entry top.qcow2 65536)" "$before" "the entry that was to look the same"
    saved
    io top.qcow2 'discard 128k 64k' 'write -P 3 5M 64k'
    saved
    io top.qcow2 'discard 0 64k' 'discard 256k 64k' 'write -P 4 256k 64k' 'write -P 5 0 64k'
    saved
}

# A stream of the same length in the same place.
compressed() {
    local before
    mk top.qcow2 8M "$1"
    io top.qcow2 'write -P 9 1M 64k' 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k'
    saved
    before=$(entry top.qcow2 0)
    io top.qcow2 'discard 0 128k' 'write -c -P 3 0 64k' 'write -c -P 4 64k 64k'
    expect_equal "$(entry top.qcow2 0)" "$before" "the entry that was to look the same"
    saved
    io top.qcow2 'discard 0 64k' 'write -c -P 5 2M 64k'
    saved
    io top.qcow2 'discard 64k 64k' 'discard 2M 64k' 'write -P 6 0 64k' 'write -c -P 7 64k 64k'
    saved
}
case_compressed_again() { compressed ''; }
case_compressed_again_zstd() { compressed compression_type=zstd; }

plain_snapshot_frees_a_stream() {
    mk top.qcow2 8M
    io top.qcow2 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k'
    snap -c a
    saved
    snap -d a
    io top.qcow2 'discard 0 128k' 'write -c -P 3 0 64k' 'write -c -P 4 64k 64k'
    snap -c a
    saved
}

case_zeroed_and_written_again() {
    mk top.qcow2 8M
    io top.qcow2 'write -P 1 0 1M'
    saved
    io top.qcow2 'write -z 0 64k' 'write -z -u 64k 64k' 'discard 128k 64k'
    saved
    io top.qcow2 'write -P 2 0 64k' 'write -P 3 64k 64k' 'write -P 4 128k 64k'
    saved
}

# A zero entry keeps its cluster, whose bytes nobody can see: until data is written there again.
case_zero_over_a_cluster_and_back() {
    mk base.qcow2 4M
    io base.qcow2 'write -P 9 0 4M'
    over base.qcow2 top.qcow2
    io top.qcow2 'write -P 1 0 1M' 'write -z 0 256k'
    saved
    io top.qcow2 'write -P 2 0 512' 'write -P 3 65536 64k'
    saved
    io top.qcow2 'write -z 0 256k'
    saved
}

case_subclusters() {
    mk base.qcow2 4M
    io base.qcow2 'write -P 9 0 4M'
    over base.qcow2 top.qcow2 extended_l2=on,cluster_size=64k
    io top.qcow2 'write -P 1 0 4k' 'write -P 2 64k 64k' 'write -z 132k 8k'
    saved
    io top.qcow2 'write -P 3 0 2k'
    saved
    io top.qcow2 'write -P 4 4k 2k' 'write -z 66k 2k' 'write -P 5 132k 512'
    saved
    io top.qcow2 'discard 64k 64k' 'write -P 6 64k 64k'
    saved
    copy_on_read top.qcow2 'read 200k 2k' 'read 0 64k'
    saved
}

case_small_and_large_clusters() {
    local size
    for size in 512 4k 2M; do
        mk "$size.qcow2" 8M "cluster_size=$size"
        io "$size.qcow2" 'write -P 1 0 6M'
    done
    tops=(512.qcow2 4k.qcow2 2M.qcow2)
    saved
    for size in 512 4k 2M; do io "$size.qcow2" 'write -P 2 1000k 512' 'discard 2M 2M' 'write -P 3 2M 4k'; done
    saved
    for size in 512 4k 2M; do io "$size.qcow2" 'discard 0 2M' 'write -P 4 512 512' 'write -z 5M 512'; done
    saved
}

# -- the state of a machine -----------------------------------------------------------------------
# Behind the end of the disk, where no bitmap reaches. See r_vm_state of the recipes.
vm_state() {
    mk top.qcow2 4M "$1"
    io top.qcow2 'write -P 1 0 1M'
    poke top.qcow2 'n = -(-i.size // (i.cs * i.l2n)); a = i.append(i.at(i.l1_offset, 8 * i.l1_size).ljust(8 * (n + 3), b"\0")); t = i.append(b""); d = [i.append(bytes([65 + k]) * i.cs) for k in range(5)]; [i.raw(t + i.entry * k, struct.pack(">QQ", d[k], 0xffffffff) if i.extended else struct.pack(">Q", d[k])) for k in range(5)]; i.put(a + 8 * n, "Q", t); i.put(36, "IQ", n + 3, a)'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    saved
    # Another state over it, in place.
    stamp top.qcow2
    poke top.qcow2 'n = -(-i.size // (i.cs * i.l2n)); t = i.get(i.l1_offset + 8 * n) & MASK; [i.raw(i.get(t + i.entry * k) & MASK, bytes([97 + k]) * i.cs) for k in range(2, 5)]'
    back_in_time top.qcow2
    saved
}
case_vm_state_overwritten() { vm_state ''; }
case_vm_state_overwritten_small_clusters() { vm_state cluster_size=4k; }
case_vm_state_overwritten_subclusters() { vm_state extended_l2=on; }
plain_vm_state_of_a_snapshot() {
    vm_state ''
    snap -c running
    poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(vm32=4 * i.cs + 1000, clock=123456789012, extra=struct.pack(">QQQ", 4 * i.cs + 1000, i.size, 77777)))'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    saved
    snap -d running
    poke top.qcow2 'n = -(-i.size // (i.cs * i.l2n)); t = i.get(i.l1_offset + 8 * n) & MASK; [i.raw(i.get(t + i.entry * k) & MASK, bytes([48 + k]) * i.cs) for k in range(5)]'
    snap -c running
    poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(vm32=4 * i.cs + 1000, clock=123456789012, extra=struct.pack(">QQQ", 4 * i.cs + 1000, i.size, 77777)))'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    saved
}

run_cases

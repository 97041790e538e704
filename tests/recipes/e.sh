# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2034,SC2154,SC2317,SC2329
# Headers, extensions and feature bits; what is to be refused.

r_header_104() { mk '' 4M; w 'write -P 1 0 64k'; poke top.qcow2 'i.write_extensions([(k, d) for k, d, _ in i.extensions()], 104)'; }
r_header_128() { mk '' 4M; w 'write -P 1 0 64k'; poke top.qcow2 'i.write_extensions([(k, d) for k, d, _ in i.extensions()], 128, b"sixteenunknown\1\2")'; }
r_header_1024() { mk '' 4M; w 'write -P 1 0 64k'; poke top.qcow2 'i.write_extensions([(k, d) for k, d, _ in i.extensions()], 1024, b"x" * 900)'; }
r_header_no_extensions() { mk '' 4M; poke top.qcow2 'i.write_extensions([])'; w 'read 0 64k'; }
r_ext_unknown() { mk '' 4M; w 'write -P 1 0 64k'; poke top.qcow2 'i.write_extensions([(k, d) for k, d, _ in i.extensions()] + [(0x12345678, b"hello"), (0xDEADBEEF, b"y" * 1000), (0x12345678, b"")])'; }
r_ext_unknown_v2() { mk compat=0.10 4M; poke top.qcow2 'i.write_extensions([(0x12345678, b"hello")])'; w 'write -P 1 0 64k'; }
r_ext_unknown_over_base() { mk '' 4M base.qcow2; over base.qcow2; w 'write -P 1 0 64k'; poke top.qcow2 'i.write_extensions([(k, d) for k, d, _ in i.extensions()] + [(0x12345678, b"hello" * 77)])'; }
r_ext_feature_names() { mk '' 4M; poke top.qcow2 'i.write_extensions([(0x6803F857, b"\1\5" + b"a bit of my own".ljust(46, b"\0"))])'; }
r_ext_no_end_mark() { mk cluster_size=512 1M; poke top.qcow2 'i.write_extensions([(0x11111111, b"z" * 384)]) if i.header_length + 8 + 384 + 8 <= 512 else 0; i.raw(i.header_length, struct.pack(">II", 0x11111111, 512 - i.header_length - 8) + b"z" * (512 - i.header_length - 8))'; w 'read 0 64k'; }
r_bits_compatible() { mk lazy_refcounts=on 4M; w 'write -P 1 0 64k'; poke top.qcow2 'i.put(80, "Q", i.compatible | 0x8000000000000f00)'; }
r_bits_autoclear() { mk '' 4M; w 'write -P 1 0 64k'; poke top.qcow2 'i.put(88, "Q", 0x4000000000000080)'; after() { [ "$(od -An -tx1 -j88 -N8 "$T/back/top.qcow2" | tr -d ' ')" = 0000000000000000 ] || fail "autoclear"; }; }
r_bits_incompatible() { mk '' 4M; poke top.qcow2 'i.put(72, "Q", 1 << 40)'; refused='incompatible|feature|unknown'; }
r_corrupt() {
    mk '' 4M
    w 'write -P 1 0 1M'
    snap a
    poke top.qcow2 'i.put(72, "Q", 2)'
    refused='force-corrupt|corrupt'
    backup_flags=(--force-corrupt)
    cp top.qcow2 ref
    after() { qemu-img info "$T/back/top.qcow2" | grep -q 'corrupt: true' || fail "the corrupt bit is gone"; }
}
r_version_4() { mk '' 4M; poke top.qcow2 'i.put(4, "I", 4)'; refused='version'; }
r_crypt_unknown() { mk '' 4M; poke top.qcow2 'i.put(32, "I", 3)'; refused='encrypt|crypt'; }
r_tables_past_the_end() { mk '' 4M; w 'write -P 1 0 1M'; poke top.qcow2 'i.f.truncate(i.l1_offset)'; refused='end of|past|beyond|file|short'; }
r_data_past_the_end() { mk '' 4M; w 'write -P 1 0 1M'; poke top.qcow2 'i.f.truncate(i.l1_offset + 8 * i.cs)'; refused='end of|past|beyond|file'; }
r_snapshot_l1_garbage() { mk '' 4M; w 'write -P 1 0 1M'; snap a; poke top.qcow2 'i.put(i.snapshots()[0]["at"], "Q", 1 << 45)'; refused='snapshot'; }
r_snapshot_table_past_the_end() { mk '' 4M; snap a; poke top.qcow2 'i.put(64, "Q", 1 << 45)'; refused='snapshot'; }
r_v2_zero_bit() { mk compat=0.10 4M; w 'write -P 1 0 64k'; poke top.qcow2 'a = i.l2_address(0); i.put(a, "Q", i.get(a) | 1)'; refused='zero|version|L2|reserved'; }
r_data_misaligned() { mk '' 4M; w 'write -P 1 0 64k'; poke top.qcow2 'a = i.l2_address(0); i.put(a, "Q", i.get(a) + 512)'; refused='align|L2|cluster'; }
r_stream_broken() { mk '' 4M; w 'write -c -P 1 0 64k'; poke top.qcow2 'o, n = i.compressed(i.get(i.l2_address(0))); i.raw(o, b"\xff" * 64)'; refused='compress|inflate|stream|zlib'; }
r_stream_size_too_small() {
    random_file p 65024 5
    truncate -s 64k p
    qemu-img convert -c -f raw -O qcow2 p top.qcow2
    poke top.qcow2 'a = i.l2_address(0); w = i.get(a); assert w >> 62 & 1, "not compressed"; x = 62 - (i.cluster_bits - 8); i.put(a, "Q", w & ~(((1 << (62 - x)) - 1) << x))'
    refused='compress|inflate|stream|zlib'
}
# One host cluster for two guest clusters: nothing that QEMU writes, but it can be read.
r_cluster_used_twice() {
    mk '' 4M
    w 'write -P 1 0 128k'
    poke top.qcow2 'a, b = i.l2_address(0), i.l2_address(65536); v = i.get(a) & MASK; i.put(a, "Q", v); i.put(b, "Q", v)'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    reads 'read -P 1 0 128k'
}

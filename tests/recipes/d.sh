# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2034,SC2154,SC2317,SC2329
# Encryption: without the key to back up and to restore, with the key to see that it was right.

k() { kio top.qcow2 "$@"; }
ksnap() { kimg snapshot top.qcow2 -c "$1"; }
kbitmap() { qemu-img bitmap --add --object "secret,id=s0,data=${key[top.qcow2]}" --image-opts driver=qcow2,file.filename=top.qcow2,encrypt.key-secret=s0 "$1"; }

r_luks() { luks abc real 4M; k 'write -P 1 0 1M' 'write -P 2 3M 512' 'write -z 512k 64k'; reads 'read -P 1 0 512k' 'read -P 0 512k 64k' 'read -P 2 3M 512'; }
r_luks_v2() { luks abc encrypt.cipher-alg=aes-256,compat=0.10 4M; k 'write -P 1 0 1M' 'write -P 2 3M 512'; reads 'read -P 1 0 1M' 'read -P 2 3M 512'; }
r_luks_empty() { luks abc '' 4M; reads 'read -P 0 0 4M'; }
r_luks_snapshots() { luks abc '' 4M; k 'write -P 1 0 1M'; ksnap a; k 'write -P 2 512k 1M'; ksnap b; k 'write -P 3 0 64k' 'write -z 1M 64k' 'discard 1200k 64k'; reads 'read -P 3 0 64k' 'read -P 1 64k 64k' 'read -P 2 512k 512k'; after() { local n; for n in 1 2; do cp "$T/back/top.qcow2" "$T/top.qcow2"; (cd "$T" && kimg snapshot top.qcow2 -a "$n" && kio top.qcow2 'read -P 1 0 512k'); done; expect_exit 1 byre restore "name:$name" --snapshot 1 --to "$T/state"; expect_says "$T/err" encrypt; }; }
r_luks_v2_snapshots() { luks abc compat=0.10 4M; k 'write -P 1 0 1M'; ksnap a; k 'write -P 2 512k 1M'; reads 'read -P 1 0 512k' 'read -P 2 512k 1M'; }
r_luks_bitmaps() { luks abc '' 4M; kbitmap b; k 'write -P 1 1M 64k'; kbitmap c; k 'write -P 2 2M 64k'; reads 'read -P 1 1M 64k'; }
r_luks_compressed() { luks abc '' 4M; k 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k' 'write -P 3 128k 64k' 'write -c -P 4 256k 64k'; reads 'read -P 1 0 64k' 'read -P 2 64k 64k' 'read -P 3 128k 64k' 'read -P 4 256k 64k'; }
r_luks_compressed_snapshots() { luks abc '' 4M; k 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k' 'write -P 3 128k 64k'; ksnap a; k 'write -P 4 0 64k' 'write -P 5 130k 1k'; ksnap b; k 'write -P 6 64k 4k'; reads 'read -P 4 0 64k' 'read -P 6 64k 4k' 'read -P 5 130k 1k'; }
r_luks_zstd() { luks abc compression_type=zstd 4M; k 'write -c -P 1 0 64k' 'write -c -P 2 64k 64k' 'write -P 3 128k 64k'; reads 'read -P 1 0 64k' 'read -P 2 64k 64k' 'read -P 3 128k 64k'; }
r_luks_extended() { luks abc extended_l2=on 4M; k 'write -P 1 0 2k' 'write -P 2 6k 4k' 'write -z 64k 64k' 'write -z 130k 2k' 'write -P 3 1M 1M'; reads 'read -P 1 0 2k' 'read -P 2 6k 4k' 'read -P 0 64k 64k' 'read -P 3 1M 1M'; }
r_luks_extended_snapshots() { luks abc extended_l2=on 4M; k 'write -P 1 0 2k' 'write -P 3 1M 1M'; ksnap a; k 'write -P 2 2k 2k' 'write -z 1M 10k' 'write -P 4 1100k 2k' 'write -c -P 7 3M 64k'; reads 'read -P 1 0 2k' 'read -P 2 2k 2k' 'read -P 4 1100k 2k' 'read -P 7 3M 64k'; }
r_luks_extended_over_base() { mk '' 4M base.qcow2; io base.qcow2 'write -P 9 0 4M'; luks abc extended_l2=on 4M top.qcow2 -b base.qcow2 -F qcow2; k 'write -P 1 0 2k' 'write -z 64k 4k'; reads 'read -P 1 0 2k' 'read -P 9 2k 60k' 'read -P 9 2M 1M'; }
r_luks_cluster_512() { luks abc cluster_size=512 1M; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_luks_cluster_4k() { luks abc cluster_size=4k 4M; k 'write -P 1 0 1M'; ksnap a; k 'write -P 2 0 4k'; reads 'read -P 2 0 4k' 'read -P 1 4k 1020k'; }
r_luks_cluster_2m() { luks abc cluster_size=2M 8M; k 'write -P 1 0 1M' 'write -P 2 5M 1k'; reads 'read -P 1 0 1M' 'read -P 2 5M 1k'; }
r_luks_refcount_64() { luks abc refcount_bits=64 4M; k 'write -P 1 0 1M'; ksnap a; k 'write -P 2 0 4k'; reads 'read -P 2 0 4k' 'read -P 1 4k 1020k'; }
r_luks_refcount_1() { luks abc refcount_bits=1 4M; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_luks_lazy() { luks abc lazy_refcounts=on 4M; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_luks_pre_metadata() { luks abc preallocation=metadata 4M; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_luks_pre_falloc() { luks abc preallocation=falloc 4M; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_luks_data_file() { luks abc data_file=data.img 4M; k 'write -P 1 0 1M'; after() { (cd "$T/back" && kio top.qcow2 'read -P 1 0 1M'); }; }
r_luks_data_file_raw() { luks abc data_file=data.img,data_file_raw=on 4M; k 'write -P 1 0 1M'; after() { (cd "$T/back" && kio top.qcow2 'read -P 1 0 1M'); }; }
r_luks_cipher_cbc() { luks abc encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256 4M; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_luks_cipher_serpent() { luks abc encrypt.cipher-alg=serpent-256,encrypt.cipher-mode=xts,encrypt.hash-alg=sha512 4M; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_luks_cipher_ecb() { luks abc encrypt.cipher-alg=aes-256,encrypt.cipher-mode=ecb 4M; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_luks_holes_by_discard() { luks abc '' 4M; k 'write -P 1 0 4M' 'discard 256k 2M' 'write -P 2 3M 64k'; reads 'read -P 1 0 256k' 'read -P 2 3M 64k'; }
r_luks_leaks() { luks abc '' 4M; k 'write -P 1 0 1M'; poke top.qcow2 'b = i.get(i.rt_offset) & MASK; n = os.path.getsize("top.qcow2") // i.cs; [i.put(b + 2 * m, "H", 1) for m in range(n, n + 4)]; [i.append(b"leaked") for m in range(4)]'; reads 'read -P 1 0 1M'; after() { ! grep -q leaked "$T/back/top.qcow2" || fail leak; }; }
r_luks_resized() { luks abc '' 2M; k 'write -P 1 0 2M'; ksnap a; kimg resize top.qcow2 8M 2>/dev/null || qemu-img resize -q --object secret,id=s0,data=abc --image-opts driver=qcow2,file.filename=top.qcow2,encrypt.key-secret=s0 8M; k 'write -P 2 7M 64k'; reads 'read -P 1 0 2M' 'read -P 2 7M 64k'; }
# A key slot changes in place; the slots are as they were on that day.
r_luks_slot_added() { luks abc '' 4M; k 'write -P 1 0 1M'; luks_tool amend -q --object secret,id=s0,data=abc --object secret,id=s1,data=other --image-opts driver=qcow2,file.filename=top.qcow2,encrypt.key-secret=s0 -o encrypt.state=active,encrypt.new-secret=s1,encrypt.iter-time=10; reads 'read -P 1 0 1M'; after() { key[top.qcow2]=other; kio "$T/back/top.qcow2" 'read -P 1 0 1M'; }; }
# Two archives, two days: each with its own slots.
r_luks_slot_changes() {
    luks abc '' 4M
    k 'write -P 1 0 1M'
    after() {
        luks_tool amend -q --object secret,id=s0,data=abc --object secret,id=s1,data=other --image-opts "driver=qcow2,file.filename=$T/src/top.qcow2,encrypt.key-secret=s0" -o encrypt.state=active,encrypt.new-secret=s1,encrypt.iter-time=10
        expect_exit 0 byre backup --name luks_slot_changes_2 "$T/src/top.qcow2"
        expect_exit 0 byre restore name:luks_slot_changes_2 --to "$T/back2" --verify
        expect_exit 0 byre restore name:luks_slot_changes --to "$T/back1" --verify
        key[top.qcow2]=other
        kio "$T/back2/top.qcow2" 'read -P 1 0 1M'
        if (kio "$T/back1/top.qcow2" 'read -P 1 0 1M') 2>/dev/null; then fail "the old archive has the new slot"; fi
    }
}
r_luks_over_plain() { mk '' 4M base.qcow2; io base.qcow2 'write -P 9 0 4M'; luks abc '' 4M top.qcow2 -b base.qcow2 -F qcow2; k 'write -P 1 1M 64k'; reads 'read -P 9 0 1M' 'read -P 1 1M 64k'; }
r_plain_over_luks() { luks abc real 4M base.qcow2; kio base.qcow2 'write -P 9 0 1M'; qemu-img create -q -f qcow2 -u -b base.qcow2 -F qcow2 top.qcow2 4M; poke top.qcow2 'i.size'; }
luks_luks() {
    luks abc "$1" 4M base.qcow2
    kio base.qcow2 'write -P 9 0 1M' 'write -P 8 2M 64k'
    luks other "$2" 4M top.qcow2 -u -b base.qcow2 -F qcow2
    chain=,backing.driver=qcow2,backing.file.filename=base.qcow2,backing.encrypt.key-secret=s1
    qemu-io --object secret,id=s0,data=other --object secret,id=s1,data=abc -c 'write -P 1 512k 64k' -c 'write -P 2 3M 1k' \
        --image-opts "driver=qcow2,file.filename=top.qcow2,encrypt.key-secret=s0$chain" >/dev/null
    chain=
    after() {
        qemu-io --object secret,id=s0,data=other --object secret,id=s1,data=abc -c 'read -P 9 0 512k' -c 'read -P 1 512k 64k' \
            -c 'read -P 8 2M 64k' -c 'read -P 2 3M 1k' --image-opts \
            "driver=qcow2,file.filename=$top,encrypt.key-secret=s0,backing.driver=qcow2,backing.file.filename=$(dirname "$top")/base.qcow2,backing.encrypt.key-secret=s1" >"$T/io"
        ! grep -qi fail "$T/io" || fail "$(cat "$T/io")"
    }
}
r_luks_over_luks() { luks_luks '' ''; }
r_luks_over_luks_clusters() { luks_luks cluster_size=4k cluster_size=128k; }
r_luks_over_luks_v2() { luks_luks compat=0.10 extended_l2=on; }
r_luks_vm_state() {
    luks abc '' 4M
    k 'write -P 1 0 1M'
    poke top.qcow2 'n = -(-i.size // (i.cs * i.l2n)); a = i.append(i.at(i.l1_offset, 8 * i.l1_size).ljust(8 * (n + 2), b"\0")); t = i.append(b""); d = [i.append(os.urandom(i.cs)) for m in range(3)]; [i.put(t + 8 * m, "Q", d[m]) for m in range(3)]; i.put(a + 8 * n, "Q", t); i.put(36, "IQ", n + 2, a)'
    kimg check top.qcow2 -q -r all || true
    ksnap running
    poke top.qcow2 'i.rewrite_snapshots(lambda s: s.update(vm32=150000, clock=99, extra=struct.pack(">QQQ", 150000, i.size, 5)))'
    kimg check top.qcow2 -q -r all || true
    k 'write -P 2 0 64k'
    reads 'read -P 2 0 64k' 'read -P 1 64k 64k'
}
r_luks_wrong_length() { luks abc '' 4M; poke top.qcow2 'd, o = i.extension(LUKS); i.put(o + 8, "Q", 1 << 50)'; refused='LUKS|encrypt|end of|past|beyond|long'; unset 'key[top.qcow2]'; }
r_luks_no_extension() { luks abc '' 4M; poke top.qcow2 'i.write_extensions([(k, d) for k, d, _ in i.extensions() if k != LUKS])'; refused='LUKS|encrypt|crypt'; unset 'key[top.qcow2]'; }

aes() { key[top.qcow2]=abc; qemu-img create -q -f qcow2 --object secret,id=s0,data=abc -o "encrypt.format=aes,encrypt.key-secret=s0${1:+,$1}" "${@:2}" top.qcow2 4M; }
r_aes() { aes; k 'write -P 1 0 1M' 'write -P 2 3M 512'; reads 'read -P 1 0 1M' 'read -P 2 3M 512'; }
r_aes_v2() { aes compat=0.10; k 'write -P 1 0 1M'; reads 'read -P 1 0 1M'; }
r_aes_snapshots() { aes; k 'write -P 1 0 1M'; ksnap a; k 'write -P 2 512k 1M'; reads 'read -P 1 0 512k' 'read -P 2 512k 1M'; }
r_aes_compressed() { aes; k 'write -c -P 1 0 64k' 'write -P 2 64k 64k'; reads 'read -P 1 0 64k' 'read -P 2 64k 64k'; }
r_aes_bitmap() { aes; kbitmap b; k 'write -P 1 1M 64k'; reads 'read -P 1 1M 64k'; }
r_aes_extended() { aes extended_l2=on; k 'write -P 1 1M 2k'; reads 'read -P 1 1M 2k'; }
r_aes_over_plain() { mk '' 4M base.qcow2; io base.qcow2 'write -P 9 0 4M'; aes '' -b base.qcow2 -F qcow2; k 'write -P 1 1M 64k'; reads 'read -P 9 0 1M' 'read -P 1 1M 64k'; }

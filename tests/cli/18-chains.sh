#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Chains whose layers change places, are merged, cut, emptied or made anew.
# shellcheck disable=SC1091 source=tests/cli/unchanged.sh
# shellcheck disable=SC2317,SC2329
. "$(dirname "$0")/unchanged.sh"

# chain: base <- middle <- top, with something in each.
chain() {
    mk base.qcow2 8M
    io base.qcow2 'write -P 1 0 4M'
    over base.qcow2 middle.qcow2
    io middle.qcow2 'write -P 2 1M 1M' 'write -z 3M 64k'
    over middle.qcow2 top.qcow2
    io top.qcow2 'write -P 3 1536k 256k'
}

case_shrunk_and_grown() {
    mk top.qcow2 8M
    io top.qcow2 'write -P 1 0 8M'
    saved
    [ ${#flags[@]} = 0 ] || own_bitmap top.qcow2 >/dev/null
    qemu-img resize -q --shrink top.qcow2 2M
    qemu-img resize -q top.qcow2 8M
    saved
    qemu-img resize -q --shrink top.qcow2 2M
    qemu-img resize -q top.qcow2 8M
    io top.qcow2 'write -P 2 6M 64k' 'write -P 3 2M 1M'
    saved
}

case_shrunk_and_grown_over_a_base() {
    chain
    io top.qcow2 'write -P 4 2M 6M'
    saved
    qemu-img resize -q --shrink top.qcow2 2M
    saved
    qemu-img resize -q top.qcow2 8M
    saved
    qemu-img resize -q --shrink middle.qcow2 1M
    qemu-img resize -q middle.qcow2 8M
    saved
}

case_grown() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 4M'
    saved
    qemu-img resize -q top.qcow2 40M
    saved
    io top.qcow2 'write -P 2 39M 64k'
    saved
    qemu-img resize -q --preallocation=falloc top.qcow2 41M
    saved
}

# Not a multiple of anything.
case_grown_within_a_cluster() {
    mk top.qcow2 1000448
    io top.qcow2 'write -P 1 0 1000448'
    saved
    qemu-img resize -q top.qcow2 1010688
    saved
    io top.qcow2 'write -P 2 1000448 10240'
    saved
    qemu-img resize -q --shrink top.qcow2 1000448
    qemu-img resize -q top.qcow2 1010688
    saved
}

# Entries appear, though no guest has written.
case_copy_on_read() {
    chain
    saved
    copy_on_read top.qcow2 'read 0 512' 'read 1M 64k' 'read 3M 64k' 'read 5M 64k'
    saved
    copy_on_read middle.qcow2 'read 512k 64k'
    saved
}

# Only 512 bytes are a guest's, and the whole cluster is new.
case_small_write_in_a_new_cluster() {
    chain
    saved
    io top.qcow2 'write -P 4 700000 512' 'write -P 5 2031616 512'
    saved
    io top.qcow2 'write -P 6 700512 512'
    saved
}

# The view changes, and no cluster does.
case_rebased_unsafely() {
    chain
    mk other.qcow2 8M
    io other.qcow2 'write -P 7 0 8M'
    touch -r middle.qcow2 other.qcow2
    saved
    qemu-img rebase -f qcow2 -u -b other.qcow2 -F qcow2 top.qcow2
    saved
    qemu-img rebase -f qcow2 -u -b middle.qcow2 -F qcow2 top.qcow2
    saved
    qemu-img rebase -f qcow2 -u -b '' top.qcow2
    saved
}

case_rebased() {
    chain
    saved
    qemu-img rebase -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
    saved
    cp base.qcow2 copy.qcow2
    io copy.qcow2 'write -P 8 0 128k'
    qemu-img rebase -f qcow2 -b copy.qcow2 -F qcow2 top.qcow2
    saved
    qemu-img rebase -f qcow2 -b '' top.qcow2
    saved
}

case_committed() {
    chain
    saved
    qemu-img commit -q -f qcow2 top.qcow2
    saved
    io top.qcow2 'write -P 5 0 64k'
    saved
    qemu-img commit -q -f qcow2 -d top.qcow2
    saved
    qemu-img commit -q -f qcow2 -b base.qcow2 top.qcow2
    saved
    tops=(base.qcow2)
    saved
}

case_new_overlay() {
    chain
    saved
    over top.qcow2 new.qcow2
    io new.qcow2 'write -P 5 0 64k'
    tops=(new.qcow2)
    saved
    # An overlay of the same name that is not the same.
    rm new.qcow2
    over top.qcow2 new.qcow2
    io new.qcow2 'write -P 6 0 64k'
    saved
    # The former top, written once more, as nobody should; and given back.
    io top.qcow2 'write -P 7 1536k 64k'
    saved
    tops=(top.qcow2)
    saved
}

case_overlay_made_anew() {
    chain
    saved
    stamp top.qcow2
    rm top.qcow2
    over middle.qcow2 top.qcow2
    io top.qcow2 'write -P 4 1536k 256k'
    back_in_time top.qcow2
    saved
}

case_layers_change_places() {
    chain
    saved
    mv middle.qcow2 x
    mv top.qcow2 middle.qcow2
    mv x top.qcow2
    qemu-img rebase -f qcow2 -u -b base.qcow2 -F qcow2 middle.qcow2
    qemu-img rebase -f qcow2 -u -b middle.qcow2 -F qcow2 top.qcow2
    saved
}

# The layer as top, as base, and in two chains at once.
case_shared_base() {
    chain
    over base.qcow2 other.qcow2
    io other.qcow2 'write -P 6 0 64k'
    tops=(top.qcow2 other.qcow2)
    saved
    tops=(other.qcow2)
    io base.qcow2 'write -P 8 0 64k'
    saved
    tops=(top.qcow2)
    saved
    io middle.qcow2 'write -P 9 1M 64k'
    tops=(middle.qcow2 other.qcow2)
    saved
    tops=(top.qcow2)
    saved
}

case_base_written_below_its_overlays() {
    chain
    saved
    stamp base.qcow2 middle.qcow2
    io base.qcow2 'write -P 8 0 64k' 'discard 64k 64k' 'write -P 9 5M 64k'
    io middle.qcow2 'write -P 7 1M 64k'
    back_in_time base.qcow2 middle.qcow2
    saved
}

case_format_changed() {
    random_file base.img 1048576 1
    over base.img top.qcow2 '' raw
    saved
    qemu-img convert -f raw -O qcow2 base.img new.img
    touch -r base.img new.img
    mv new.img base.img
    qemu-img rebase -f qcow2 -u -b base.img -F qcow2 top.qcow2
    saved
    # As raw bytes the same file is another disk.
    qemu-img rebase -f qcow2 -u -b base.img -F raw top.qcow2
    saved
}

# The same guest view in clusters of another size, version or kind, under the same name.
case_converted() {
    local options
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M' 'write -P 2 3M 64k'
    saved
    for options in cluster_size=4k compat=1.1,extended_l2=on compression_type=zstd; do
        qemu-img convert -f qcow2 -O qcow2 -o "$options" top.qcow2 new.qcow2
        cat new.qcow2 >top.qcow2
        saved
    done
    qemu-img convert -c -f qcow2 -O qcow2 top.qcow2 new.qcow2
    cat new.qcow2 >top.qcow2
    saved
}

# hosts IMAGE: where the file holds each of the disk's first 64 clusters.
hosts() { poke "$1" 'print(*[i.get(i.l2_address(g << 16)) & MASK for g in range(64)])'; }
# mk_base FILE: with something behind those clusters, too.
mk_base() {
    mk "$1" 16M
    io "$1" 'write -P 9 4M 12M'
}
# fill IMAGE SEED: those clusters, with bytes that are cut into chunks as a disk's are.
fill() {
    random_file "$T/bytes" 4194304 "$2"
    guest_write "$1" "$T/bytes" 0
}
# filled_as IMAGE FORMER: copies by reading as many of these clusters as will land just where they were before, by
# FORMER: clusters are given out in the file's order, whoever asks. A copy tells which come next.
filled_as() {
    local order found
    cp "$1" try.qcow2
    mapfile -t order < <(for g in {0..63}; do echo "read $((g * 64))k 64k"; done)
    copy_on_read try.qcow2 "${order[@]}"
    mapfile -t order < <(python3 -c '
import sys
former = {host: guest for guest, host in enumerate(sys.argv[1].split())}
for n, host in enumerate(sys.argv[2].split()): print(f"read {former.get(host, 64 + n) * 64}k 64k")' "$2" "$(hosts try.qcow2)")
    rm try.qcow2
    copy_on_read "$1" "${order[@]}"
    found=$(python3 -c '
import sys
print(sum(x == y for x, y in zip(sys.argv[1].split(), sys.argv[2].split())))' "$2" "$(hosts "$1")")
    ((found >= 48)) || fail "only $found of 64 clusters have come to where they were"
}

# Emptied by a commit; the base is written to; and reading fills the overlay again, at the same places
# in the file: the entries look as they did, and no bitmap was told.
case_emptied_and_filled_again() {
    local former
    mk_base base.qcow2
    fill base.qcow2 1
    over base.qcow2 top.qcow2
    fill top.qcow2 2
    saved
    former=$(hosts top.qcow2)
    qemu-img commit -q -f qcow2 top.qcow2
    fill base.qcow2 3
    filled_as top.qcow2 "$former"
    saved
    # And once more with a backup in between.
    former=$(hosts top.qcow2)
    qemu-img commit -q -f qcow2 top.qcow2
    saved
    fill base.qcow2 4
    filled_as top.qcow2 "$former"
    saved
}

# The same without a guest's write since: what was read before is read again, and is other bytes.
case_filled_from_another_base() {
    local former
    mk_base one.qcow2
    mk_base two.qcow2
    fill one.qcow2 1
    fill two.qcow2 2
    over one.qcow2 top.qcow2
    copy_on_read top.qcow2 'read 0 4M'
    saved
    former=$(hosts top.qcow2)
    qemu-img commit -q -f qcow2 top.qcow2
    qemu-img rebase -f qcow2 -u -b two.qcow2 -F qcow2 top.qcow2
    filled_as top.qcow2 "$former"
    saved
    # The base's name stays, and another file has it.
    former=$(hosts top.qcow2)
    qemu-img commit -q -f qcow2 top.qcow2
    fill one.qcow2 3
    mv one.qcow2 two.qcow2
    filled_as top.qcow2 "$former"
    saved
}

# And without touching the base at all: it is the base's base that changes.
case_filled_through_an_empty_layer() {
    local former
    mk_base base.qcow2
    fill base.qcow2 1
    over base.qcow2 middle.qcow2
    over middle.qcow2 top.qcow2
    copy_on_read top.qcow2 'read 0 4M'
    saved
    former=$(hosts top.qcow2)
    # Into the middle, which is given back its old self; so only the bottom differs.
    cp -p middle.qcow2 empty.qcow2
    qemu-img commit -q -f qcow2 top.qcow2
    cat empty.qcow2 >middle.qcow2
    touch -r empty.qcow2 middle.qcow2
    fill base.qcow2 5
    filled_as top.qcow2 "$former"
    saved
}

# The base was another in between, and is what it was: what the overlay has read from it is not.
case_filled_while_the_base_was_another() {
    local former
    mk_base base.qcow2
    fill base.qcow2 1
    cp base.qcow2 kept.qcow2
    over base.qcow2 top.qcow2
    fill top.qcow2 2
    saved
    former=$(hosts top.qcow2)
    qemu-img commit -q -f qcow2 top.qcow2
    fill base.qcow2 3
    filled_as top.qcow2 "$former"
    cat kept.qcow2 >base.qcow2
    saved
}

run_cases

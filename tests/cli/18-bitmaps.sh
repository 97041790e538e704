#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Bitmaps that say "clean" and are wrong, and bitmaps that were never meant.
# shellcheck disable=SC1091 source=tests/cli/unchanged.sh
# shellcheck disable=SC2317,SC2329
. "$(dirname "$0")/unchanged.sh"

disk() {
    mk top.qcow2 8M
    io top.qcow2 'write -P 1 0 4M'
}
# clear_bits IMAGE NAME: as if nothing had been written.
clear_bits() { qemu-img bitmap --clear -f qcow2 "$1" "$2"; }

bitmap_written() {
    disk
    saved
    io top.qcow2 'write -P 2 64k 512' 'write -P 3 3M 1M' 'write -P 4 7M 64k'
    saved
    io top.qcow2 'discard 3M 128k' 'write -z 1M 64k' 'write -P 5 1M 1k'
    saved
    saved
}

# Nothing is tracked while it is off.
bitmap_disabled() {
    disk
    saved
    qemu-img bitmap --disable -f qcow2 top.qcow2 "$(own_bitmap top.qcow2)"
    io top.qcow2 'write -P 2 64k 64k'
    saved
    io top.qcow2 'write -P 3 128k 64k'
    saved
}

# A writer that was killed leaves it in use: then it says nothing.
bitmap_of_a_killed_writer() {
    disk
    saved
    qemu-io -f qcow2 -c 'write -P 2 64k 64k' -c flush -c 'sigraise 9' top.qcow2 >"$T/qemu-io" 2>&1 || true
    qemu-img info --output=json top.qcow2 >facts
    grep -q in-use facts || fail "the bitmap is not in use: $(cat "$T/qemu-io")"
    exit_code=0
    saved
    expect_not top.qcow2 bitmap
    io top.qcow2 'write -P 3 128k 64k'
    saved
}

# Whoever writes without knowing of bitmaps says so by a cleared bit in the header.
bitmap_that_a_writer_did_not_know() {
    disk
    saved
    poke top.qcow2 'i.put(88, "Q", i.autoclear & ~1)' 'i.raw(i.get(i.l2_address(65536)) & MASK, b"2" * 65536)'
    saved
    expect_not top.qcow2 bitmap
}
plain_bitmap_that_a_writer_did_not_know() {
    local name
    disk
    saved --bitmap
    name=$(own_bitmap top.qcow2)
    poke top.qcow2 'i.put(88, "Q", i.autoclear & ~1)' 'i.raw(i.get(i.l2_address(65536)) & MASK, b"2" * 65536)'
    # Nothing touches the image before byre reads it: the name is there, and means nothing.
    python3 -c 'import sys; sys.exit(sys.argv[2].encode() not in open(sys.argv[1], "rb").read())' top.qcow2 "$name"
    saved
    expect_not top.qcow2 bitmap
}

# named: writes, with a bitmap that was added by hand, so that bits are set when a backup records it.
named() {
    name=$(byre bitmap name)
    disk
    qemu-img bitmap --add -f qcow2 ${1:+-g "$1"} top.qcow2 "$name"
    io top.qcow2 'write -P 2 64k 64k'
    flags=()
    saved --bitmap-name "$name"
}
# The bits that were recorded are no longer there: somebody else has had it in his hands.
bitmap_cleared() {
    local name
    named
    io top.qcow2 'write -P 3 1M 64k'
    clear_bits top.qcow2 "$name"
    saved
    expect_not top.qcow2 bitmap
}
bitmap_removed_and_added() {
    local name
    named
    io top.qcow2 'write -P 3 1M 64k'
    qemu-img bitmap --remove -f qcow2 top.qcow2 "$name"
    qemu-img bitmap --add -f qcow2 top.qcow2 "$name"
    saved --bitmap
    expect_not top.qcow2 bitmap
    # And once more while the bits that are set are others.
    io top.qcow2 'write -P 4 1M 64k'
    saved
}
bitmap_removed_and_added_later_written() {
    local name
    named
    io top.qcow2 'write -P 3 1M 64k'
    qemu-img bitmap --remove -f qcow2 top.qcow2 "$name"
    qemu-img bitmap --add -f qcow2 top.qcow2 "$name"
    io top.qcow2 'write -P 4 2M 64k'
    saved
    expect_not top.qcow2 bitmap
}
bitmap_of_another_granularity() {
    local name
    disk
    saved
    name=$(own_bitmap top.qcow2)
    io top.qcow2 'write -P 3 1M 64k'
    qemu-img bitmap --remove -f qcow2 top.qcow2 "$name"
    qemu-img bitmap --add -f qcow2 -g 4k top.qcow2 "$name"
    saved
    expect_not top.qcow2 bitmap
}
# Granules smaller and larger than clusters, and the last one cut by the disk's end.
bitmap_granularities() {
    local name size
    for size in 512 4k 2M; do
        rm -f top.qcow2
        named "$size"
        io top.qcow2 'write -P 3 1M 512' 'write -P 4 5000192 512' 'write -P 5 8388096 512'
        saved --bitmap-name "$name"
        io top.qcow2 'write -P 6 0 512' 'write -P 7 8388096 512'
        saved
    done
}
# A bitmap that is as old as the disk: it says too much, never too little.
bitmap_merged_into() {
    local name
    named
    io top.qcow2 'write -P 3 1M 64k'
    qemu-img bitmap --add -f qcow2 top.qcow2 other
    io top.qcow2 'write -P 4 2M 64k'
    qemu-img bitmap --merge other -f qcow2 top.qcow2 "$name"
    saved --bitmap
    qemu-img info top.qcow2 >facts
    grep -q 'name: other' facts || fail "somebody else's bitmap is gone"
}
# Of another kind: consistent, but no dirty bits that go on.
bitmap_of_another_size() {
    disk
    saved
    qemu-img resize -q top.qcow2 9M
    io top.qcow2 'write -P 2 8M 64k'
    saved
    qemu-img resize -q --shrink top.qcow2 3M
    qemu-img resize -q top.qcow2 9M
    saved
}

# -- copies ---------------------------------------------------------------------------------------
# A copy carries the bitmap, and both go on.
bitmap_in_a_copy() {
    disk
    saved
    cp top.qcow2 copy.qcow2
    io top.qcow2 'write -P 2 64k 64k'
    saved
    tops=(copy.qcow2)
    saved
    expect_not copy.qcow2 bitmap
    io copy.qcow2 'write -P 3 128k 64k'
    saved
    tops=(top.qcow2)
    saved
    tops=(top.qcow2 copy.qcow2)
    saved
}
# The clean copy under the name of the original, which was backed up once more in between.
bitmap_in_a_copy_moved_over() {
    disk
    saved
    cp -p top.qcow2 copy.qcow2
    io top.qcow2 'write -P 2 64k 64k'
    saved
    mv copy.qcow2 top.qcow2
    saved
}
bitmap_in_a_copy_moved_over_with_bits() {
    disk
    saved
    cp -p top.qcow2 copy.qcow2
    io top.qcow2 'write -P 2 64k 64k'
    # What was read has the old bitmap still, with bits.
    flags=()
    saved
    flags=(--bitmap)
    io copy.qcow2 'write -P 3 1M 64k'
    mv copy.qcow2 top.qcow2
    saved
}
# The same into the same inode, so that the file is the same as before to all who ask.
bitmap_in_a_copy_put_back_in_place() {
    disk
    saved
    cp -p top.qcow2 copy.qcow2
    io top.qcow2 'write -P 2 64k 64k'
    flags=()
    saved
    stamp copy.qcow2
    cat copy.qcow2 >top.qcow2
    back_in_time copy.qcow2
    touch -r copy.qcow2 top.qcow2
    saved
    expect_not top.qcow2 bitmap
    flags=(--bitmap)
    saved
}
bitmap_swept_and_put_back_in_place() {
    disk
    saved
    cp -p top.qcow2 copy.qcow2
    io top.qcow2 'write -P 2 64k 64k'
    saved
    # The newest archive knows this token by the bits that it had.
    cat copy.qcow2 >top.qcow2
    saved
    io copy.qcow2 'write -P 3 1M 64k'
    cat copy.qcow2 >top.qcow2
    saved
}
bitmap_restored_over_its_image() {
    disk
    saved
    io top.qcow2 'write -P 2 64k 64k'
    saved
    # An archive by its own means, in the image's place.
    expect_exit 0 byre restore --to "$T/place" "$(json 'd[0]["id"]' <(byre list --json))"
    cat "$T/place/top.qcow2" >top.qcow2
    saved
    mv "$T/place/top.qcow2" top.qcow2
    saved
}
bitmap_under_another_name() {
    disk
    saved
    mv top.qcow2 moved.qcow2
    io moved.qcow2 'write -P 2 64k 64k'
    tops=(moved.qcow2)
    saved
    disk
    tops=(top.qcow2)
    saved
    tops=(top.qcow2 moved.qcow2)
    saved
}

# -- what no bitmap tells -------------------------------------------------------------------------
bitmap_and_a_write_behind_it() {
    # A cluster that came by reading, emptied and come again, is in 18-chains; this is an entry that points elsewhere.
    disk
    saved
    poke top.qcow2 'a, b = i.l2_address(0), i.l2_address(65536); v, w = i.get(a), i.get(b); i.put(a, "Q", w); i.put(b, "Q", v)'
    io top.qcow2 'write -P 2 0 512'
    saved
}
bitmap_and_check_repairs() {
    disk
    saved
    poke top.qcow2 'a = i.append(b"x" * i.cs); i.put(i.l2_address(4 << 20), "Q", a | 1 << 63)'
    qemu-img check -q -r all top.qcow2 >/dev/null 2>&1 || true
    saved
}
# Two repositories have one each, and neither takes the other's.
bitmap_of_another_repository() {
    local here=$BYRE_REPOSITORY
    disk
    saved
    export BYRE_REPOSITORY=$T/second
    expect_exit 0 byre init --reserve 0
    io top.qcow2 'write -P 2 64k 64k'
    saved
    export BYRE_REPOSITORY=$here
    io top.qcow2 'write -P 3 128k 64k'
    saved
    export BYRE_REPOSITORY=$T/second
    saved
    expect_exit 0 byre check --read-data
    export BYRE_REPOSITORY=$here
}
# With and without, in turns; and under other names.
bitmap_now_and_then() {
    disk
    saved
    flags=()
    io top.qcow2 'write -P 2 64k 64k'
    saved
    io top.qcow2 'write -P 3 128k 64k'
    saved --name other
    flags=(--bitmap)
    io top.qcow2 'write -P 4 192k 64k'
    saved --name third
    io top.qcow2 'write -P 5 256k 64k'
    saved --full-read
    io top.qcow2 'write -P 6 0 64k'
    saved
}
# The same image as a base later on, and as a top again.
bitmap_below_an_overlay() {
    disk
    saved
    over top.qcow2 new.qcow2
    io new.qcow2 'write -P 2 0 64k'
    tops=(new.qcow2)
    saved
    io top.qcow2 'write -P 3 64k 64k'
    saved
    qemu-img commit -q -f qcow2 new.qcow2
    saved
    tops=(top.qcow2)
    saved
}
bitmap_in_small_and_large_clusters() {
    local size
    for size in 512 4k 2M; do
        mk "$size.qcow2" 8M "cluster_size=$size"
        io "$size.qcow2" 'write -P 1 0 6M'
    done
    tops=(512.qcow2 4k.qcow2 2M.qcow2)
    saved
    for size in 512 4k 2M; do io "$size.qcow2" 'write -P 2 1000k 512' 'discard 2M 2M' 'write -P 3 2M 4k'; done
    saved
    for size in 512 4k 2M; do io "$size.qcow2" 'write -P 4 512 512' 'write -P 4 8388096 512'; done
    saved
}

run_cases

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What did not change is not read, and the archive says why.
# shellcheck disable=SC1091 source=tests/cli/unchanged.sh
# shellcheck disable=SC2317,SC2329
. "$(dirname "$0")/unchanged.sh"
case $(stat -f -c %T .) in
ext2/ext3 | xfs | btrfs | zfs | f2fs | nfs) ;;
*) skip "nothing is believed to be frozen on a $(stat -f -c %T .); set TMPDIR" ;;
esac

# What a change may cost to read: a few chunks around it, and never a large part of the disk.
near=$((400 * 1024))
# All that `disk` has is read to be compared. Where chunks are cut is the repository's secret, and so is
# whether those behind a write have to be read once more.
all_of_disk="16 << 20 <= d['bytes_read'] <= (16 << 20) + $near"

# chain: 16 MiB of random bytes in the base, 4 in the middle.
chain() {
    random_file data 16777216 1
    mk base.qcow2 64M
    guest_write base.qcow2 data 0
    over base.qcow2 middle.qcow2
    random_file data 4194304 2
    guest_write middle.qcow2 data 20M
    over middle.qcow2 top.qcow2
    io top.qcow2 'write -P 1 30M 1M'
    rm data
}
# disk [OPTIONS]: 16 MiB of random bytes.
disk() {
    random_file data 16777216 3
    mk top.qcow2 64M "${1:-}"
    guest_write top.qcow2 data 1M
    rm data
}
archive() { json 'd["archive"]' "$T/summary"; }

plain_nothing_changed() {
    local first
    chain
    saved
    summary 'd["parent"] is None and d["layers_unchanged"] == 0'
    expect_not top.qcow2 frozen
    first=$(archive)
    saved
    for layer in base middle top; do expect_rule $layer.qcow2 frozen; done
    summary 'd["bytes_read"] == 0 and d["bytes_new"] == 0 and d["chunks_new"] == 0'
    summary 'd["layers_unchanged"] == 3 and d["layers_total"] == 3 and d["bytes_metadata_read"] <= 3 * 3 * 65536'
    expect_equal "$(json 'd["parent"]' "$T/summary")" "$first" parent
    expect_json 'd[1]["parent"] == d[0]["id"]' <(byre list --json)
    summary 'd["bytes_allocated"] == 21 << 20'
    # Whatever the name, and however often.
    saved --name other
    for layer in base middle top; do expect_rule $layer.qcow2 frozen; done
    rm -rf "$T/cache"
    saved
    summary 'd["bytes_read"] == 0 and d["layers_unchanged"] == 3'
}

plain_nothing_changed_in_a_raw_base() {
    random_file base.raw 9000001 1
    over base.raw top.qcow2 '' raw
    saved
    saved
    expect_rule base.raw frozen
    summary 'd["bytes_read"] == 0 and d["layers_unchanged"] == 2'
}

plain_nothing_changed_with_data_files() {
    local options
    for options in '' ,data_file_raw=on; do
        rm -f top.qcow2 top.data
        mk top.qcow2 4M "data_file=top.data$options"
        io top.qcow2 'write -P 1 0 1M'
        saved
        saved
        expect_rule top.qcow2 frozen
        summary 'd["bytes_read"] == 0'
    done
}

plain_full_read() {
    chain
    saved
    saved --full-read
    for layer in base middle top; do expect_rule $layer.qcow2 full-read; done
    summary 'd["bytes_read"] == 21 << 20 and d["layers_unchanged"] == 0 and d["bytes_new"] == 0'
    saved
    for layer in base middle top; do expect_rule $layer.qcow2 frozen; done
}

# What only the ctime tells is read and compared, unless it is to be believed.
plain_mode_changed() {
    disk
    saved
    chmod 600 top.qcow2
    saved
    expect_rule top.qcow2 compared
    summary 'd["bytes_read"] == 16 << 20 and d["bytes_new"] == 0'
    chmod 640 top.qcow2
    saved --trust-mtime
    expect_rule top.qcow2 mtime
    summary 'd["bytes_read"] == 0'
    saved
    expect_rule top.qcow2 frozen
    # A time that moved is not believed, whatever is asked for.
    touch top.qcow2
    saved --trust-mtime
    expect_rule top.qcow2 compared
}

plain_renamed() {
    disk
    saved
    mv top.qcow2 moved.qcow2
    tops=(moved.qcow2)
    # A rename moves the ctime.
    saved --trust-mtime
    expect_rule moved.qcow2 mtime
    summary 'd["bytes_read"] == 0 and d["parent"] is not None'
    saved
    expect_rule moved.qcow2 frozen
    mkdir elsewhere
    mv moved.qcow2 elsewhere
    tops=(elsewhere/moved.qcow2)
    saved
    expect_rule moved.qcow2 compared
    summary 'd["bytes_new"] == 0 and d["parent"] is not None'
}

# The folder that a file lies in is not the file.
plain_folder_renamed() {
    mkdir one
    (cd one && chain)
    tops=(one/top.qcow2)
    saved
    mv one two
    tops=(two/top.qcow2)
    saved
    for layer in base middle top; do expect_rule $layer.qcow2 frozen; done
    summary 'd["bytes_read"] == 0'
}

plain_snapshot() {
    disk
    snap -c a
    saved
    io top.qcow2 'write -P 7 5M 64k' 'write -P 8 12M 512'
    saved
    expect_rule top.qcow2 snapshot
    summary "d['bytes_read'] <= 2 * $near and d['bytes_new'] <= 4 << 18"
    # One more, which the parent does not know: the first will do.
    snap -c b
    io top.qcow2 'write -P 9 2M 64k'
    saved
    expect_rule top.qcow2 snapshot
    summary "d['bytes_read'] <= 3 * $near"
    # By the second.
    snap -d a
    io top.qcow2 'write -P 10 3M 64k'
    saved
    expect_rule top.qcow2 snapshot
    summary "d['bytes_read'] <= 4 * $near"
}

plain_snapshot_of_compressed_clusters() {
    random_file data 4194304 1
    qemu-img convert -c -f raw -O qcow2 data top.qcow2
    rm data
    snap -c a
    saved
    io top.qcow2 'write -P 7 1M 64k'
    saved
    expect_rule top.qcow2 snapshot
    summary "d['bytes_read'] <= $near"
}

# The snapshot was deleted: nothing is known of what it had pinned.
plain_snapshot_gone() {
    disk
    snap -c a
    saved
    snap -d a
    io top.qcow2 'write -P 7 5M 64k'
    saved
    expect_rule top.qcow2 compared
    summary "$all_of_disk and d['bytes_new'] <= 2 << 18"
}

bitmap_dirty_clusters() {
    disk
    saved
    summary 'd["bitmaps_obsolete"] == 0'
    io top.qcow2 'write -P 7 5M 64k' 'write -P 8 12M 512'
    saved
    expect_rule top.qcow2 bitmap
    summary "d['bytes_read'] <= 2 * $near and d['bytes_new'] <= 4 << 18"
    # Nothing at all.
    saved
    expect_rule top.qcow2 bitmap
    summary 'd["bytes_read"] == 0'
    # A run without --bitmap uses the last one too.
    io top.qcow2 'write -P 9 2M 64k'
    flags=()
    saved
    expect_rule top.qcow2 bitmap
    summary "d['bytes_read'] <= $near"
    io top.qcow2 'write -P 10 3M 64k'
    saved
    expect_rule top.qcow2 bitmap
    summary "d['bytes_read'] <= 2 * $near"
    expect_equal "$(own_bitmap top.qcow2 | head -c 5)" byre- 'the one bitmap'
}

# Zeros and discards cost no reading.
bitmap_zeros() {
    disk
    saved
    io top.qcow2 'write -z 2M 1M' 'discard 6M 1M'
    saved
    expect_rule top.qcow2 bitmap
    summary "d['bytes_read'] <= 2 * $near"
}

bitmap_named() {
    local name
    disk
    name=$(byre bitmap name)
    qemu-img bitmap --add -f qcow2 top.qcow2 "$name"
    flags=()
    saved --bitmap-name "$name"
    io top.qcow2 'write -P 7 5M 64k'
    saved --bitmap
    expect_rule top.qcow2 bitmap
    summary "d['bytes_read'] <= $near"
}

bitmap_small_and_large_clusters() {
    local size
    for size in 4k 2M; do
        rm -f top.qcow2
        disk "cluster_size=$size"
        saved
        io top.qcow2 'write -P 7 5M 512'
        saved
        expect_rule top.qcow2 bitmap
        summary "d['bytes_read'] <= 2 * $near + (2 << 20)"
    done
}

# What was the top is the base now, and nobody writes to it.
plain_new_overlay() {
    disk
    saved
    over top.qcow2 new.qcow2
    io new.qcow2 'write -P 1 0 64k'
    tops=(new.qcow2)
    saved
    expect_rule top.qcow2 frozen
    summary 'd["bytes_read"] == 65536 and d["layers_unchanged"] == 1 and d["layers_total"] == 2'
    summary 'd["parent"] is None'
    over new.qcow2 newer.qcow2
    tops=(newer.qcow2)
    saved
    expect_rule new.qcow2 frozen
    summary 'd["bytes_read"] == 0 and d["layers_unchanged"] == 2'
}

bitmap_new_overlay() {
    disk
    saved
    over top.qcow2 new.qcow2
    io new.qcow2 'write -P 1 0 64k'
    tops=(new.qcow2)
    saved
    # The bitmap moved its times when it was added, and is still a proof.
    expect_rule top.qcow2 bitmap
    summary 'd["bytes_read"] == 65536'
    saved
    expect_rule top.qcow2 frozen
    summary 'd["bytes_read"] <= 65536'
}

plain_committed() {
    chain
    saved
    qemu-img commit -q -f qcow2 top.qcow2
    saved
    expect_rule base.qcow2 frozen
    expect_rule middle.qcow2 compared
    summary "5 << 20 <= d['bytes_read'] <= (5 << 20) + $near"
    # Its bytes are in the repository already, from the top that it was.
    summary 'd["bytes_new"] <= 4 << 18 and d["layers_unchanged"] == 1'
}

plain_base_of_another_chain() {
    chain
    saved
    over middle.qcow2 other.qcow2
    io other.qcow2 'write -P 1 0 64k'
    tops=(other.qcow2)
    saved --name other
    expect_rule base.qcow2 frozen
    expect_rule middle.qcow2 frozen
    summary 'd["bytes_read"] == 65536 and d["layers_unchanged"] == 2 and d["parent"] is None'
}

# The first image's top has a parent, or there is none; each layer looks for its own.
plain_parents() {
    local first second
    mk a.qcow2 4M
    mk b.qcow2 4M
    io a.qcow2 'write -P 1 0 1M'
    io b.qcow2 'write -P 2 0 1M'
    tops=(a.qcow2)
    saved --name a
    first=$(archive)
    tops=(b.qcow2)
    saved --name b
    second=$(archive)
    tops=(b.qcow2 a.qcow2)
    saved --name both
    expect_equal "$(json 'd["parent"]' "$T/summary")" "$second" 'parent of b and a'
    summary 'd["layers_unchanged"] == 2 and d["bytes_read"] == 0'
    tops=(a.qcow2 b.qcow2)
    saved --name both
    [ "$(json 'd["parent"]' "$T/summary")" != "$first" ] || fail "the parent is not the newest archive that has the file"
}

# What another key that may only append says of a file is not believed; what a full key says is.
plain_other_keys() {
    local name
    disk
    for name in a b; do
        random_file "$T/$name.key" 64 "${#name}$((16#$name))"
        chmod 600 "$T/$name.key"
        expect_exit 0 byre key add --role append --new-key-file "$T/$name.key"
    done
    BYRE_KEY_FILE=$T/a.key backed_up
    BYRE_KEY_FILE=$T/b.key backed_up
    expect_rule top.qcow2 none
    summary 'd["parent"] is None and d["bytes_new"] == 0'
    BYRE_KEY_FILE=$T/a.key backed_up
    expect_rule top.qcow2 frozen
    saved
    expect_rule top.qcow2 none
    BYRE_KEY_FILE=$T/b.key backed_up
    expect_rule top.qcow2 frozen
}

# A name for a file that nothing is known of: everything is read, and the reason says so.
plain_reasons() {
    disk
    saved
    expect_rule top.qcow2 none
    expect_json 'min(len(l["delta_reason"]) for l in d["layers"]) > 0' "$T/show"
    cp top.qcow2 copy.qcow2
    tops=(copy.qcow2)
    saved
    expect_rule copy.qcow2 none
    summary 'd["bytes_read"] == 16 << 20 and d["bytes_new"] == 0 and d["parent"] is None'
}

plain_dry_run() {
    disk
    saved
    expect_exit 0 byre backup --json --dry-run top.qcow2
    expect_json 'd["bytes_read"] == 0 and d["layers_unchanged"] == 1'
    io top.qcow2 'write -P 7 5M 64k'
    expect_exit 0 byre backup --json --dry-run top.qcow2
    expect_json "$all_of_disk and d['layers_unchanged'] == 0"
    saved
}

run_cases

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A file that looks untouched, and is not: whatever is done to times and names, a backup holds what
# the file holds.
# shellcheck disable=SC1091 source=tests/cli/unchanged.sh
# shellcheck disable=SC2317,SC2329
. "$(dirname "$0")/unchanged.sh"

case_time_set_back() {
    mk top.qcow2 8M
    io top.qcow2 'write -P 1 0 4M'
    saved
    stamp top.qcow2
    io top.qcow2 'write -P 2 64k 64k'
    back_in_time top.qcow2
    saved
    expect_not top.qcow2 frozen
}

case_time_set_back_on_a_base() {
    mk base.qcow2 8M
    io base.qcow2 'write -P 1 0 4M'
    over base.qcow2 top.qcow2
    io top.qcow2 'write -P 2 1M 1M'
    saved
    stamp base.qcow2
    io base.qcow2 'write -P 3 3M 64k'
    back_in_time base.qcow2
    saved
    expect_not base.qcow2 frozen
}

case_raw_base_written() {
    random_file base.raw 3000001 1
    over base.raw top.qcow2 '' raw
    saved
    stamp base.raw
    raw_write base.raw x 3000000
    back_in_time base.raw
    saved
    expect_not base.raw frozen
    raw_write base.raw y 0
    back_in_time base.raw
    saved
    expect_not base.raw frozen
}

case_raw_base_replaced() {
    random_file base.raw 3000000 1
    over base.raw top.qcow2 '' raw
    saved
    random_file other.raw 3000000 2
    touch -r base.raw other.raw
    mv other.raw base.raw
    saved
    expect_not base.raw frozen
}

# The inode is likely to be the same.
case_raw_base_made_anew() {
    random_file base.raw 3000000 1
    over base.raw top.qcow2 '' raw
    saved
    stamp base.raw
    rm base.raw
    random_file base.raw 3000000 2
    back_in_time base.raw
    saved
    expect_not base.raw frozen
}

case_raw_base_overwritten_as_a_whole() {
    random_file base.raw 3000000 1
    over base.raw top.qcow2 '' raw
    saved
    stamp base.raw
    random_file base.raw 3000000 2
    back_in_time base.raw
    saved
}

case_raw_base_cut_and_grown() {
    random_file base.raw 3000000 1
    over base.raw top.qcow2 '' raw
    saved
    stamp base.raw
    truncate -s 1M base.raw
    truncate -s 3000000 base.raw
    back_in_time base.raw
    saved
}

case_raw_base_with_a_hole_punched() {
    random_file base.raw 3000000 1
    over base.raw top.qcow2 '' raw
    saved
    stamp base.raw
    fallocate -p -o 1M -l 64k base.raw
    back_in_time base.raw
    saved
    expect_not base.raw frozen
    qemu-io -f raw -c 'write -P 7 1M 64k' base.raw >/dev/null
    back_in_time base.raw
    saved
}

case_raw_base_grows_by_a_byte() {
    random_file base.raw 3000001 1
    over base.raw top.qcow2 '' raw
    saved
    stamp base.raw
    printf x >>base.raw
    back_in_time base.raw
    saved
    truncate -s 2999999 base.raw
    back_in_time base.raw
    saved
}

# Writes that a change of time may not show: one in the same tick as a backup, again and again.
plain_young_file() {
    local i
    random_file top.raw 65536 1
    tops=(top.raw) settle=false
    for i in {1..10}; do
        raw_write top.raw "$i" $((i * 5000))
        stamp top.raw
        backed_up
        raw_write top.raw "$i$i" $((i * 5000))
        back_in_time top.raw
        saved
        expect_not top.raw frozen
    done
}

# Younger than 2 s when the parent began: not to be believed, even where nothing happened since.
plain_young_file_that_nobody_wrote() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    settle=false
    backed_up
    settle=true
    saved
    expect_not top.qcow2 frozen
}

# Pages that are mapped: what was stored through a mapping, and again after it was read.
plain_mapped_pages() {
    random_file base.raw 1048576 1
    over base.raw top.qcow2 '' raw
    mkfifo "$T/commands" "$T/answers"
    python3 -c '
import mmap, sys
f = open("base.raw", "r+b"); m = mmap.mmap(f.fileno(), 0)
for line in open(sys.argv[1]):
    at, text = line.split(); m[int(at):int(at) + len(text)] = text.encode()
    with open(sys.argv[2], "w") as answer: answer.write("done")' "$T/commands" "$T/answers" &
    exec 9>"$T/commands"
    store() { echo "$1 $2" >&9; read -r _ <"$T/answers" || true; }
    store 0 first
    saved
    store 0 again
    saved
    expect_not base.raw frozen
    store 0 third
    saved
    exec 9>&-
    wait
}

case_files_swap_names() {
    random_file a.raw 1000000 1
    random_file b.raw 1000000 2
    mk c.qcow2 4M
    mk d.qcow2 4M
    io c.qcow2 'write -P 1 0 1M'
    io d.qcow2 'write -P 2 0 1M'
    touch -d '2020-01-01' ./*.raw ./*.qcow2
    over a.raw top.qcow2 '' raw
    over c.qcow2 other.qcow2
    tops=(top.qcow2 other.qcow2)
    [ ${#flags[@]} = 0 ] || tops+=(d.qcow2)
    saved
    mv a.raw x && mv b.raw a.raw && mv x b.raw
    mv c.qcow2 x && mv d.qcow2 c.qcow2 && mv x d.qcow2
    saved
    mv a.raw x && mv b.raw a.raw && mv x b.raw
    saved
}

case_name_taken_by_another() {
    mk base.qcow2 4M
    io base.qcow2 'write -P 1 0 1M'
    touch -d '2020-01-01' base.qcow2
    over base.qcow2 top.qcow2
    saved
    mv base.qcow2 moved.qcow2
    mk base.qcow2 4M
    io base.qcow2 'write -P 2 0 1M'
    touch -d '2020-01-01' base.qcow2
    saved
    expect_not base.qcow2 frozen
    over moved.qcow2 other.qcow2
    tops=(top.qcow2 other.qcow2)
    saved
}

case_hard_link() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    ln top.qcow2 link.qcow2
    saved
    stamp top.qcow2
    io link.qcow2 'write -P 2 0 64k'
    back_in_time top.qcow2
    saved
    expect_not top.qcow2 frozen
    tops=(link.qcow2)
    io top.qcow2 'write -P 3 64k 64k'
    back_in_time top.qcow2
    saved
    expect_not link.qcow2 frozen
}

case_symlinked_base_turned_to_another() {
    mk one.qcow2 4M
    mk two.qcow2 4M
    io one.qcow2 'write -P 1 0 1M'
    io two.qcow2 'write -P 2 0 1M'
    touch -d '2020-01-01' one.qcow2 two.qcow2
    ln -s one.qcow2 base.qcow2
    over base.qcow2 top.qcow2
    rewritten=true
    saved
    ln -sf two.qcow2 base.qcow2
    saved
}

case_copy_moved_over_the_original() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    saved
    cp -p top.qcow2 copy.qcow2
    stamp top.qcow2
    io copy.qcow2 'write -P 2 0 64k'
    mv copy.qcow2 top.qcow2
    back_in_time top.qcow2
    saved
    expect_not top.qcow2 frozen
}

# An older state put back, by a rename and in place.
case_older_copy_put_back() {
    mk top.qcow2 4M
    io top.qcow2 'write -P 1 0 1M'
    saved
    cp -p top.qcow2 old.qcow2
    stamp top.qcow2
    io top.qcow2 'write -P 2 0 64k'
    saved
    cat old.qcow2 >top.qcow2
    back_in_time top.qcow2
    saved
    io top.qcow2 'write -P 3 0 64k'
    saved
    cp -p old.qcow2 top.new
    mv top.new top.qcow2
    saved
    expect_not top.qcow2 frozen
}

# A guest's writes go to the data file alone.
data_file() {
    mk top.qcow2 4M "data_file=top.data$1"
    io top.qcow2 'write -P 1 0 1M'
    saved
    stamp top.qcow2 top.data
    io top.qcow2 'write -P 2 0 64k'
    back_in_time top.qcow2 top.data
    saved
    expect_not top.qcow2 frozen
    stamp top.qcow2
    settled
    backed_up
    raw_write top.data behind 131072
    back_in_time top.data
    saved
    expect_not top.qcow2 frozen
    random_file new.data "$(stat -c %s top.data)" 9
    touch -r top.data new.data
    mv new.data top.data
    saved
    expect_not top.qcow2 frozen
}
plain_data_file() { data_file ''; }
plain_raw_data_file() { data_file ,data_file_raw=on; }
plain_data_file_in_a_base() {
    mk base.qcow2 4M data_file=base.data,data_file_raw=on
    io base.qcow2 'write -P 1 0 1M'
    over base.qcow2 top.qcow2
    saved
    raw_write base.data behind 4096
    saved
    expect_not base.qcow2 frozen
}

# A device has no times that could tell.
plain_block_device() {
    if [ "$(id -u)" != 0 ] || ! command -v losetup >/dev/null; then
        echo "SKIPPED: no root, or no losetup"
        return
    fi
    mk disk.qcow2 4M
    io disk.qcow2 'write -P 1 0 1M'
    truncate -s 8M backing
    device=$(losetup --find --show backing) || { echo "SKIPPED: no loop device to be had"; return; }
    trap 'losetup -d "$device"' EXIT
    dd if=disk.qcow2 of="$device" conv=notrunc,fsync status=none
    # Not through the device's node: what is written to the disk leaves its times alone.
    device_saved() {
        blockdev --flushbufs "$device"
        backed_up --assume-stopped
        rm -rf "$T/back"
        expect_exit 0 byre restore --format raw --to "$T/back" "$(json 'd["archive"]' "$T/summary")"
        qemu-img compare -q -f qcow2 -F raw "$device" "$T/back" || fail "the device came back otherwise"
        json '"\n".join(l["delta"] for l in d["layers"])' "$T/show" >"$T/rules"
        ! grep -qE 'frozen|mtime' "$T/rules" || fail "a block device was taken to be frozen"
    }
    tops=("$device")
    device_saved
    device_saved
    io disk.qcow2 'write -P 2 0 64k'
    dd if=disk.qcow2 of="$device" conv=notrunc,fsync status=none
    device_saved
}

# Only the ctime may have moved for --trust-mtime, nothing else.
plain_trust_mtime() {
    random_file base.raw 3000000 1
    touch -d '2020-01-01' base.raw
    over base.raw top.qcow2 '' raw
    flags=(--trust-mtime)
    saved
    random_file other.raw 3000000 2
    touch -r base.raw other.raw
    mv other.raw base.raw
    saved
    expect_not base.raw mtime
    expect_not base.raw frozen
    raw_write base.raw x 100
    saved
    expect_not base.raw mtime
    expect_not base.raw frozen
    raw_write base.raw y 200
    touch -d '2019-01-01' base.raw
    saved
    expect_not base.raw mtime
    io top.qcow2 'write -P 1 0 64k'
    saved
    expect_not top.qcow2 mtime
}

# Fields of a header that no cluster shows.
case_header_changed() {
    mk top.qcow2 4M lazy_refcounts=off
    io top.qcow2 'write -P 1 0 1M'
    saved
    stamp top.qcow2
    qemu-img amend -f qcow2 -o lazy_refcounts=on top.qcow2
    back_in_time top.qcow2
    saved
    mk one.qcow2 4M
    mk two.qcow2 4M
    io two.qcow2 'write -P 3 0 64k'
    qemu-img rebase -f qcow2 -u -b one.qcow2 -F qcow2 top.qcow2
    back_in_time top.qcow2
    saved
    qemu-img rebase -f qcow2 -u -b two.qcow2 -F qcow2 top.qcow2
    back_in_time top.qcow2
    saved
}

# One byte, anywhere, in a file that is read: nothing else tells.
plain_one_byte() {
    local at
    random_file base.raw 9000000 1
    random_file data 9000448 2
    over base.raw top.qcow2 '' raw
    mk other.qcow2 10M
    guest_write other.qcow2 data 0
    tops=(top.qcow2 other.qcow2)
    saved
    for at in 0 4095 4194303 4194304 5000001 8999999; do
        raw_write base.raw '!' $at
        stamp other.qcow2
        # Behind QEMU's back.
        poke other.qcow2 "a = i.get(i.l2_address($at)) & MASK; i.raw(a + $at % 65536, b'!')"
        back_in_time other.qcow2
        settle=false
        saved
    done
}

run_cases

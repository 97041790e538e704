#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# However many threads copy: the same ids and trees, into a repository with the same chunker or with
# its own; each frame of the source is read once; damage is told.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

(umask 077 && for k in one two three; do head -c 64 /dev/urandom >"$k.key"; done)
unset BYRE_REPOSITORY BYRE_PASSWORD
BYRE_KEY_FILE=one.key expect_exit 0 byre init --reserve 0 --repo one
BYRE_KEY_FILE=two.key BYRE_FROM_KEY_FILE=one.key \
    expect_exit 0 byre init --reserve 0 --repo two --chunker-from one
BYRE_KEY_FILE=three.key expect_exit 0 byre init --reserve 0 --repo three
in_one() { BYRE_KEY_FILE=one.key byre --repo one "$@"; }

# More regions than there are buffers; leaves that are equal, full of runs, all zeros, or shared by
# views and by archives.
random_file data 12582912 91
random_file small 4096 92
qemu-img create -q -f qcow2 -o cluster_size=4k base.qcow2 160M
for at in 1M 24M 48M 72M; do guest_write base.qcow2 data $at; done
for at in {0..40}; do
    io_commands+=("write -q -s small $((100000 + at * 20))k 4k" "write -q -P $at $((110000 + at * 12))k 8k")
done
io base.qcow2 "${io_commands[@]}" 'write -z 90M 8M'
qemu-img snapshot -c before base.qcow2
io base.qcow2 'write -P 3 25M 300k' 'write -c -P 9 130M 64k' 'discard 50M 1M'
random_file uneven.raw 5000001 93
expect_exit 0 in_one backup --name a base.qcow2 uneven.raw
guest_write base.qcow2 small 30M
guest_write base.qcow2 data 140M
expect_exit 0 in_one backup --name a base.qcow2
expect_exit 0 in_one restore a --to from-one

# What is told of a copy, and all that the archives are made of, but for the times; and for the
# chunks that were looked at: a leaf that comes again is known only when the first one is stored.
facts() {
    BYRE_KEY_FILE=$1.key byre --repo "$1-$2" list --json
    for id in $(json '" ".join(a["archive"] for a in d["archives"])'); do
        BYRE_KEY_FILE=$1.key byre --repo "$1-$2" show "$id" --json
        BYRE_KEY_FILE=$1.key byre --repo "$1-$2" stats "$id" --json
    done
    cat "$T/out"
}

for to in two three; do
    for threads in 1 2 5; do
        export BYRE_STATE_DIR=$T/state-$threads BYRE_CACHE_DIR=$T/cache-$threads
        cp -a $to $to-$threads
        BYRE_KEY_FILE=$to.key BYRE_FROM_KEY_FILE=one.key \
            expect_exit 0 byre copy --repo $to-$threads --from one --threads $threads --quiet --json \
            "$(in_one list --json | json 'd[0]["id"]' /dev/stdin)" latest
        expect_json "[a['state'] for a in d['archives']] == ['copied', 'copied']"
        facts $to $threads | grep -v '"status"' |
            sed -E 's/"(seconds|chunks_total)": *[0-9.e-]+/"\1"/g' >$to-$threads.facts
        diff $to-1.facts $to-$threads.facts >"$T/diff" ||
            fail "1 and $threads threads: $(head -c 2000 "$T/diff")"
    done
    BYRE_KEY_FILE=$to.key expect_exit 0 byre --repo $to-5 check --read-data
    BYRE_KEY_FILE=$to.key expect_exit 0 byre --repo $to-5 restore a --to from-$to
    diff -r from-one from-$to >"$T/diff" || fail "what comes back from $to: $(cat "$T/diff")"
done

# Each frame once: of a disk of which nothing was stored before.
random_file plain.raw 25000000 94
expect_exit 0 in_one backup --name plain plain.raw
if command -v strace >/dev/null && ! sanitized; then
    for threads in 1 4; do
        rm -rf two-$threads
        export BYRE_STATE_DIR=$T/state-strace-$threads BYRE_CACHE_DIR=$T/cache-strace-$threads
        cp -a two two-$threads
        BYRE_KEY_FILE=two.key BYRE_FROM_KEY_FILE=one.key expect_exit 0 \
            strace -f -y -e trace=pread64 -o "$T/trace" \
            "$BYRE" copy --repo two-$threads --from one --threads $threads plain
        python3 - "$T/trace" <<'PY' || fail "a frame was read twice, with $threads threads"
import collections, re, sys
reads = collections.Counter()
for line in open(sys.argv[1]):
    m = re.search(r'pread64\(\d+<[^>]*/one/packs/(\w+)>.*, (\d+), (\d+)(\) += |\s+<unfinished)', line)
    if m and int(m[2]) > 200000:  # frames; trailers are smaller
        reads[m[1], m[3]] += 1
assert reads and max(reads.values()) == 1, reads
PY
    done
fi

# A frame in the middle is damaged: nothing of the archive is committed, and it is said why.
export BYRE_STATE_DIR=$T/state-damage BYRE_CACHE_DIR=$T/cache-damage
largest=$(find one/packs -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
printf 'damage' | dd of="$largest" bs=1 seek=$(($(stat -c %s "$largest") / 2)) conv=notrunc status=none
for threads in 1 4; do
    rm -rf three-$threads "$BYRE_STATE_DIR"
    cp -a three three-$threads
    BYRE_KEY_FILE=three.key BYRE_FROM_KEY_FILE=one.key \
        expect_exit 4 byre copy --repo three-$threads --from one --threads $threads a plain
    expect_says "$T/err" "not copied.*$(basename "$largest"): frame [0-9]+"
    expect_empty_folder three-$threads/tmp
done

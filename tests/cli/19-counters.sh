#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What a backup says that it read and stored, held against strace and the files of the repository.
# shellcheck disable=SC1091 source=tests/cli/unchanged.sh
# shellcheck disable=SC2119,SC2317,SC2329
. "$(dirname "$0")/unchanged.sh"
requires strace
strace -f -o /dev/null true 2>/dev/null || skip "strace may not trace here"
# The leak checker cannot work below a tracer.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

stored() { find "$BYRE_REPOSITORY" -type f -printf '%s\n' | python3 -c 'import sys; print(sum(map(int, sys.stdin)))'; }

# counted [OPTION...]: backs ${tops} up under strace, and holds the counters against what it saw.
counted() {
    local before
    if $settle; then settled; fi
    rm -rf "$T/trace"
    mkdir "$T/trace"
    before=$(stored)
    expect_exit "$exit_code" timeout 120 strace -ff -y -o "$T/trace/of" -e trace=execve,clone,clone3,read,readv,pread64,preadv,preadv2 \
        "$BYRE" backup --json --name x "${flags[@]}" "$@" "${tops[@]}"
    cp "$T/out" "$T/summary"
    python3 - "$T" "$BYRE" "$before" "$(stored)" <<'END'
import json, os, re, sys
place, byre, before, after = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
summary = json.loads(open(f"{place}/summary").read().splitlines()[-1])
traces = {}
for name in os.listdir(f"{place}/trace"):
    traces[name.split(".")[-1]] = open(f"{place}/trace/{name}", errors="surrogateescape").read()
read = []
# byre and its workers; not qemu-img, which adds and removes bitmaps
own = [thread for thread, trace in traces.items() if f'execve("{byre}"' in trace]
own += re.findall(r"^clone3?\(.*CLONE_THREAD.* = (\d+)$", "\n".join(traces[t] for t in own), re.M)
for thread in own:
    for m in re.finditer(r"^\w+\(\d+<(.*?)>, .* = (\d+)$", traces[thread], re.M):
        if m[1].startswith(f"{place}/src/"):
            read.append((os.path.basename(m[1]), int(m[2])))
seen = sum(n for _, n in read)
said = summary["bytes_read"] + summary["bytes_metadata_read"]
if seen != said:
    print(f"{seen} bytes were read, {said} are counted: {summary}")
    print(read)
if after - before != summary["bytes_stored"]:
    print(f"the repository grew by {after - before}, {summary['bytes_stored']} are counted")
sys.exit(seen != said or after - before != summary["bytes_stored"])
END
}

case_chain() {
    random_file base.raw 3000001 1
    over base.raw middle.qcow2 '' raw
    io middle.qcow2 'write -P 1 1M 300k'
    over middle.qcow2 top.qcow2
    io top.qcow2 'write -P 2 2M 64k' 'write -z 512k 64k'
    counted
    counted
    io top.qcow2 'write -P 3 1500k 5k'
    counted
    counted --full-read
    tops=(top.qcow2 middle.qcow2 top.qcow2)
    counted
}

case_snapshots() {
    mk top.qcow2 16M
    random_file data 6291456 2
    guest_write top.qcow2 data 0
    snap -c a
    snap -c b
    counted
    io top.qcow2 'write -P 1 1M 4k' 'discard 2M 64k' 'write -z 3M 100k'
    counted
    snap -d a
    counted
}

case_kinds() {
    local options
    for options in cluster_size=512 cluster_size=2M extended_l2=on compression_type=zstd; do
        rm -f top.qcow2
        mk top.qcow2 8M "$options"
        random_file data 3145728 3
        guest_write top.qcow2 data 4096
        counted
        io top.qcow2 'write -P 1 1M 4k'
        counted
    done
}

case_compressed() {
    yes 'what repeats itself' | head -c 4194304 >data || true
    qemu-img convert -c -f raw -O qcow2 data top.qcow2
    counted
    io top.qcow2 'write -P 1 1M 4k'
    counted
}

plain_data_file() {
    mk top.qcow2 4M data_file=top.data,data_file_raw=on
    io top.qcow2 'write -P 1 0 1M'
    printf 'more' >>top.data
    counted
    counted
}

plain_luks() {
    local secret=--object=secret,id=s,data=x
    luks_tool create -q "$secret" -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
        top.qcow2 4M
    qemu-io "$secret" --image-opts -c 'write -P 1 0 1M' driver=qcow2,file.filename=top.qcow2,encrypt.key-secret=s >/dev/null
    counted
    counted
}

run_cases

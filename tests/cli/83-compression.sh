#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The level of compression changes what is stored and nothing else: ids stay, and all comes back.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3
new_repository
fast_key

# Text that compresses, the better the harder one tries.
python3 -c '
import random
r = random.Random(83)
words = ["".join(r.choices("etaoinshrdlu", k=r.randrange(2, 9))) for _ in range(3000)]
text = " ".join(r.choices(words, [1 / (n + 1) for n in range(3000)], k=1000000))
open("data", "w").write(text[:4 << 20])'
qemu-img create -q -f qcow2 disk.qcow2 64M
guest_write disk.qcow2 data 1M

# Each in a repository of its own, made from one: so the ids are comparable.
cp -r repo empty
for level in none 0 1 19 auto; do
    rm -rf repo cache state restored
    cp -r empty repo
    expect_exit 0 byre backup --json --compression $level disk.qcow2
    tail -n 1 out >"$level.json"
    expect_exit 0 byre show --json latest
    json 'd["layers"][0]["id"]' >>layers
    # Another level finds it all again.
    expect_exit 0 byre backup --json --full-read --compression 2 disk.qcow2
    expect_json 'd["bytes_new"] == 0 and d["chunks_total"] > 0 and d["compression_lowest"] is None'
    expect_exit 0 byre restore --to restored latest
    same_layer disk.qcow2 restored/disk.qcow2
    expect_exit 0 byre check --read-data
done
python3 - <<'PY' || fail "levels"
import json
d = {n: json.load(open(n + ".json")) for n in ("none", "0", "1", "19", "auto")}
assert len({x["bytes_new"] for x in d.values()}) == 1
assert len({x["chunks_total"] for x in d.values()}) == 1
size = {n: x["bytes_stored"] for n, x in d.items()}
assert min(size["none"], size["0"]) > 4 << 20, size
assert size["19"] < size["auto"] < size["1"] < 3 << 20, size
used = {n: (x["compression_lowest"], x["compression_highest"]) for n, x in d.items()}
assert used == {"none": (None, None), "0": (None, None), "1": (1, 1), "19": (19, 19), "auto": (3, 3)}, used
PY
expect_equal "$(sort -u layers | wc -l)" 1 "layers of different levels"

# Copying is storing, too.
cp -r repo source
cp -r state source-state
export BYRE_FROM_KEY_FILE=$BYRE_KEY_FILE
unset BYRE_KEY_FILE
export BYRE_PASSWORD=other
expect_exit 0 byre -r target init --reserve 0
expect_exit 0 byre -r target copy --json --compression none --from source latest
expect_json 'd["bytes_stored"] > 4 << 20 and d["compression_highest"] is None'
expect_exit 0 byre -r target copy --json --compression auto --from source name:disk
expect_json 'd["bytes_new"] == 0'

for level in '' 20 -1 3x automatic; do
    for command in 'backup disk.qcow2' 'copy --from source latest'; do
        # shellcheck disable=SC2086
        expect_exit 2 byre -r target $command --compression "$level"
        expect_says err 'not a number from 1 to 19, none or auto'
    done
done
expect_exit 2 byre benchmark --compression auto

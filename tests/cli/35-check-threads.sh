#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# However many threads check: the same is found, and told in the same order, whatever is damaged.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img python3

# Packs of many frames and of one, and more of them than are looked at together.
new_repository
echo 'another' >pw
expect_exit 0 byre key add --role append --new-password-file pw
fast_key
for i in 1 2 3 4 5; do
    random_file "disk-$i.raw" $((i % 3 * 7000000 + 300000)) "$i"
    expect_exit 0 byre backup --name "of-$i" "disk-$i.raw"
done
for threads in 1 4; do
    expect_exit 0 byre check --read-data --threads $threads
    expect_silent "$T/err"
done
cp -a repo whole

# damage.py SEED: does to some files what may happen to files. The keys stay, for one has to open it.
cat >damage.py <<'PY'
import os, random, shutil, sys
r = random.Random(int(sys.argv[1]))
def files(folder):
    return sorted(os.path.join("repo", folder, n) for n in os.listdir(os.path.join("repo", folder)))
def flip(path):
    size = os.path.getsize(path)
    if size == 0: return
    with open(path, "r+b") as f:
        at = r.choice((r.randrange(size), r.randrange(size), 20 % size, max(size - 30, 0)))
        f.seek(at)
        c = f.read(1)[0]
        f.seek(at)
        f.write(bytes((c ^ 1 << r.randrange(8),)))
def cut(path): os.truncate(path, r.randrange(os.path.getsize(path) + 1))
def extend(path):
    with open(path, "ab") as f: f.write(b"more")
def swap(path):
    other = r.choice(files(os.path.basename(os.path.dirname(path))))
    os.rename(path, "kept")
    if other != path: os.rename(other, path)
    os.rename("kept", other)
# Frames here and there, so that many of them are bad at the same time; then whatever it may be.
for path in sorted(files("packs"), key=os.path.getsize)[-4:]:
    size = os.path.getsize(path)
    for _ in range(r.randrange(3)):
        with open(path, "r+b") as f:
            f.seek(r.randrange(size - 4096))
            f.write(b"damage")
for _ in range(r.randrange(4)):
    r.choice((flip, flip, cut, os.unlink, swap, extend))(r.choice(files(r.choice(("packs", "packs", "segments")))))
PY

# facts FILE: without what may be another in the next run.
facts() { grep -v '"status"' "$1" | sed -E 's/"seconds": *[0-9.e-]+/"seconds"/; s/, [0-9.]+ s$/, s/'; }

# both WHAT OPTION...: one thread and several find the same. What one says is in ${T}/by-1.
both() {
    local threads code
    for threads in 1 2 6; do
        code=0
        byre check "${@:2}" --threads $threads >"$T/out" 2>"$T/err" || code=$?
        { echo "exit $code"; facts "$T/out"; facts "$T/err"; } >"$T/by-$threads" || true
        diff "$T/by-1" "$T/by-$threads" >"$T/diff" ||
            fail "1 and $threads threads, $1: $(cat "$T/diff")"
    done
}

told=0
for seed in 1 2 3 4 5 6; do
    rm -rf repo
    cp -a whole repo
    chmod -R u+w repo
    python3 damage.py $seed
    both "seed $seed" --json
    both "seed $seed, read" --read-data
    grep -q '^exit 4' by-1 || fail "seed $seed: damage is not found"
    told=$((told + $(wc -l <by-1)))
    [ $((seed % 3)) = 0 ] || continue
    both "seed $seed, read, JSON" --read-data --json
    # Whoever cannot open frames of data has their checksums.
    BYRE_KEY_FILE='' BYRE_PASSWORD_FILE=$T/pw both "seed $seed, append" --read-data
    expect_says by-1 '^exit 4'
done
[ $told -gt 60 ] || fail "only $told lines tell of damage"

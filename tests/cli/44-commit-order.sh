#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# However many threads: each file of a commit is flushed before it has its name, and packs and
# segments have theirs durably before the log entry that makes them true; then comes the memory of it.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires strace python3
strace -f -o /dev/null true 2>/dev/null || skip "strace may not trace here"
export ASAN_OPTIONS=detect_leaks=0 # which cannot be done under strace

# holds: the calls in the file `calls` are in such an order, and these were flushed: the folders.
holds() {
    python3 - "$T/repo" "$@" <<'P'
import re, sys
repo, expected = sys.argv[1], set(sys.argv[2:])
flushing, flushed, fresh, durable, synced, head = {}, set(), set(), set(), set(), False

def end(name, names):
    if name.startswith(repo + "/tmp/"):
        flushed.add(name[len(repo) + 1:])
    elif name.startswith(repo + "/"):
        synced.add(re.sub(r"^log/0+$", "entries", name[len(repo) + 1:]))
        durable.update(names)

def fail(line, why):
    sys.exit(f"{why}: {line}")

for line in open("calls"):
    pid, call = line.rstrip().split(None, 1)
    if m := re.match(r"fsync\(\d+<(.*?)>(\) += 0| <unfinished)", call):
        inside = {n for n in fresh if m[1] == f"{repo}/" + n.rsplit("/", 1)[0]}
        if "unfinished" in m[2]:
            flushing[pid] = m[1], inside
        else:
            end(m[1], inside)
    elif re.match(r"<\.\.\. fsync resumed>\) += 0", call):
        end(*flushing.pop(pid))
    elif m := re.match(r'linkat\(.*?, "(.*?)", .*?, "(.*?)", 0(\) += 0| <unfinished)', call):
        if m[1] not in flushed:
            fail(line, "named before it was flushed")
        if m[2].startswith("log/") and fresh - durable:
            fail(line, "an entry before what it makes true")
        fresh.add(m[2])
    elif re.match(r'rename\(".*/head', call):
        head = True
        if fresh - durable:
            fail(line, "remembered before it was durable")
kinds = {n.split("/")[0] for n in fresh}
if kinds != {"packs", "segments", "log"} or not head or fresh - durable:
    sys.exit(f"not a whole commit: {fresh}")
if synced != expected:
    sys.exit(f"other folders were synced: {synced}")
P
}

truncate -s 1M small.raw
random_file large.raw 73400320 44 # more than a pack holds
new_repository
fast_key
expect_exit 0 byre backup --name first small.raw
for threads in 1 2 4; do
    random_file new 1048576 "4$threads"
    dd if=new of=large.raw bs=1M seek="$threads" conv=notrunc status=none
    dd if=new of=small.raw bs=1M conv=notrunc status=none
    for file in large small; do
        strace -f -y -e trace=fsync,linkat,rename -o calls "$BYRE" backup -q --threads "$threads" --name a "$file.raw"
        holds packs segments entries || fail "$file, $threads threads"
    done
done

# Who has seen no entry of the folder before does not know that it is durable.
random_file small.raw 1048576 45
expect_exit 0 byre backup --name other small.raw
random_file small.raw 1048576 46
strace -f -y -e trace=fsync,linkat,rename -o calls "$BYRE" backup -q --state-dir "$T/elsewhere" --name a small.raw
holds packs segments entries log || fail "from elsewhere"

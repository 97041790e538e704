#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Archives are forgotten, by name or by rules, tagged, and what nobody needs is freed, also while a
# backup goes on. What stays is whole.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3

repository_bytes() { du -sb "$BYRE_REPOSITORY/packs" "$BYRE_REPOSITORY/segments" | awk '{ n += $1 } END { print n }'; }
files() { (cd "$BYRE_REPOSITORY" && find packs segments -type f | sort); }
names() { byre list --json | python3 -c 'import json, sys; print(*[a["name"] for a in json.load(sys.stdin)])'; }

expect_exit 0 byre init --reserve 1M
fast_key
head -c 64 /dev/urandom >append.key
head -c 64 /dev/urandom >backup.key
expect_exit 0 byre key add --role append --new-key-file append.key
expect_exit 0 byre key add --role backup --new-key-file backup.key

# A disk that changes: each backup brings 6 MiB, and the next writes over 3 of them.
qemu-img create -q -f qcow2 base.qcow2 32M
random_file old 4194304 1
guest_write base.qcow2 old 24M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 disk.qcow2
for n in 1 2 3 4 5; do
    random_file data 6291456 "7$n"
    guest_write disk.qcow2 data "$((n * 3))M"
    expect_exit 0 byre backup --name "day$n" --tag "n$n" --json disk.qcow2
    byre restore "day$n" --to "want$n" -q
done

# ---- forget ----
expect_exit 2 byre forget
expect_exit 2 byre forget day1 --keep-last 1
expect_exit 2 byre forget --keep-last x
expect_exit 2 byre forget --keep-within soon
expect_exit 2 byre forget --group-by size --keep-last 1
expect_exit 2 byre forget --keep-last 0
expect_exit 1 byre forget no-such-archive
expect_exit 1 byre forget day1 no-such-archive
# Every name is a group; of each there is one archive, which is the last.
expect_exit 0 byre forget --keep-last 1
expect_says "$T/out" '0 archives forgotten, 5 kept'
expect_exit 0 byre forget --group-by host --keep-last 2 --keep-tag n1 --dry-run --json
expect_json 'd["message_type"] == "summary" and d["dry_run"] is True'
expect_json '[a["name"] for a in d["kept"]] == ["day5", "day4", "day1"]'
expect_json '[a["reasons"] for a in d["kept"]] == [["last"], ["last"], ["tag n1"]]'
expect_json 'sorted(a["name"] for a in d["forgotten"]) == ["day2", "day3"]'
expect_equal "$(names)" 'day1 day2 day3 day4 day5' "archives after a dry run"
# Rules that would keep none are refused, and nothing is forgotten.
expect_exit 2 byre forget --group-by host --keep-tag no-such
expect_says "$T/err" 'keep none'
expect_equal "$(names)" 'day1 day2 day3 day4 day5' "archives after a refusal"
# Who may only append may not.
for command in 'forget day1' 'forget --keep-last 1 --group-by host' 'prune' 'prune --dry-run' 'tag day1 --add x'; do
    # shellcheck disable=SC2086
    expect_exit 12 byre --key-file append.key $command
done

# ---- tag ----
expect_exit 2 byre tag day2
expect_exit 2 byre tag day2 --add a/b
expect_exit 0 byre tag day2 --add gold --add n2 --remove none
expect_exit 0 byre tag day2 --remove n2 --json
expect_json 'd["tags"] == ["gold"]'
expect_exit 0 byre list --tag gold --json
expect_json '[a["name"] for a in d] == ["day2"]'

# ---- prune ----
expect_exit 2 byre prune --max-unused 101
expect_exit 2 byre prune --max-unused much
expect_exit 0 byre prune
expect_says "$T/out" '0 packs deleted, 0 rewritten'
before=$(files)
# By a key that cannot read what it moves.
expect_exit 0 byre --key-file backup.key forget day1 day3
expect_equal "$(names)" 'day2 day4 day5' "archives after forget"
expect_equal "$(files)" "$before" "files after forget: it frees nothing"
bytes=$(repository_bytes)
expect_exit 0 byre --key-file backup.key prune --dry-run --max-unused 0 --json
expect_json 'd["bytes_before"] > d["bytes_after"] and d["packs_deleted"] + d["packs_rewritten"] > 0'
expect_equal "$(files)" "$before" "files after a dry run"
expect_exit 0 byre --key-file backup.key prune --max-unused 0 --json
expect_json 'd["message_type"] == "summary" and d["dry_run"] is False'
[ "$(repository_bytes)" -lt "$bytes" ] || fail "prune has freed nothing"
expect_exit 0 byre check --read-data
for n in 2 4 5; do
    expect_exit 0 byre restore "day$n" --to "got$n" --verify
    diff -r "want$n" "got$n" || fail "day$n is another after prune"
    rm -r "got$n"
done
# Again: nothing is left to be done.
before=$(files)
expect_exit 0 byre prune --max-unused 0
expect_says "$T/out" '^0 B freed.*0 packs deleted, 0 rewritten'
expect_equal "$(files)" "$before" "files after a second prune"
# Both at once. The base stays, for the last archive needs it.
expect_exit 0 byre forget --group-by '' --keep-last 1 --prune --json
expect_json 'd["bytes_after"] < d["bytes_before"] and len(d["forgotten"]) == 2'
expect_exit 0 byre restore day5 --to got5 --verify
diff -r want5 got5 || fail "day5 is another after forget --prune"
rm -r got5
expect_exit 0 byre check --read-data
nothing_left

# ---- beside a backup ----
# The backup finds what another process forgets and frees meanwhile.
random_file big.raw $((24 << 20)) 77
expect_exit 0 byre backup --name big big.raw
random_file more.raw $((8 << 20)) 78
cat more.raw >>big.raw
rm -f lines
mkfifo lines
"$BYRE" --json backup --compression 19 --threads 1 --name again big.raw >lines 2>err.backup &
pid=$!
pruned=0
while IFS= read -r line; do
    case $line in
    *'"percent_done":0.'*)
        [ "$pruned" = 0 ] || continue
        pruned=1
        byre forget -q big >/dev/null
        byre prune -q --no-grace --max-unused 0
        ;;
    esac
done <lines
code=0
wait $pid || code=$?
[ "$code" = 0 ] || { cat err.backup >&2; fail "a backup beside a prune exits with $code"; }
[ "$pruned" = 1 ] || fail "the backup was done before anything could be pruned"
expect_exit 0 byre restore again --format raw --to again.raw
cmp big.raw again.raw || fail "a backup beside a prune is another"
expect_exit 0 byre check --read-data
# And many of both, side by side.
for n in 1 2 3 4; do
    random_file "part$n.raw" $((4 << 20)) "8$n"
    byre backup -q --name "part$n" "part$n.raw" &
    pids[n]=$!
    byre prune -q --no-grace --max-unused 0 2>"err.$n" || grep -q 'another prune' "err.$n" || fail "prune: $(cat "err.$n")"
done
for n in 1 2 3 4; do wait "${pids[n]}" || fail "backup $n beside prunes exits with $?"; done
for n in 1 2 3 4; do
    expect_exit 0 byre restore "part$n" --format raw --to "back$n.raw"
    cmp "part$n.raw" "back$n.raw" || fail "part$n is another"
done
expect_exit 0 byre check --read-data

# ---- killed ----
# At any moment: what is live stays whole, and the next prune does the rest.
for seconds in 0.01 0.03 0.06 0.1 0.15 0.2; do
    random_file "part1.raw" $((4 << 20)) "9${seconds#0.}"
    expect_exit 0 byre backup --name part1 part1.raw
    byre forget -q part1 >/dev/null
    { timeout -s KILL "$seconds" "$BYRE" prune --max-unused 0 || true; } >/dev/null 2>&1
    expect_exit 0 byre check --read-data
done
expect_exit 0 byre prune --no-grace --max-unused 0
expect_exit 0 byre restore day5 --to got5 --verify
diff -r want5 got5 || fail "day5 is another at the end"
# Everything forgotten: nothing is left but the index of nothing.
mapfile -t all < <(byre list --json | python3 -c 'import json, sys; [print(a["id"]) for a in json.load(sys.stdin)]')
expect_exit 0 byre forget "${all[@]}" --prune
expect_equal "$(files | grep -c packs/ || true)" 0 "packs of no archive"
expect_exit 0 byre check --read-data
expect_equal "$(stat -c %s "$BYRE_REPOSITORY/reserve")" 1048576 "the reserve"

# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# What the scenarios of incremental backups share. A case is a function: case_NAME runs without and
# with --bitmap, plain_NAME only without, bitmap_NAME only with it. Each makes its images in an empty
# folder of its own, and calls `saved` whenever a backup is due, which must come back as the source is,
# whatever was done since the one before: each layer alone by qemu-img compare and map, each snapshot
# gone back to, and everything once more by a reader that knows no byre. Cases run side by side.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
. "$here/lib.sh"
requires qemu-img qemu-io qemu-nbd python3
recipes=$here/../recipes
export PYTHONDONTWRITEBYTECODE=1
place=$T

(umask 077 && printf 'k%.0s' {1..64} >"$place/key")
unset BYRE_PASSWORD
export BYRE_KEY_FILE=$place/key
new_repository

# run_cases: all that the scenario has defined, or those that ${CASES} names, eight at a time, for they wait most
# of the time. With ${KEEP}, a folder, what failed is moved there.
run_cases() {
    local name mode running=0 chosen=() failed=()
    for name in $(compgen -A function | grep -E '^(case|plain|bitmap)_'); do
        for mode in plain bitmap; do
            case $mode:$name in plain:bitmap_* | bitmap:plain_*) continue ;; esac
            [ -z "${CASES:-}" ] || [[ " $CASES " == *" ${name#*_} "* ]] || continue
            chosen+=("$name.$mode")
        done
    done
    for name in "${chosen[@]}"; do
        if ((running >= 8)); then
            wait -n || true
            running=$((running - 1))
        fi
        run_case "${name%.*}" "${name#*.}" >"$place/$name.log" 2>&1 &
        running=$((running + 1))
    done
    wait
    for name in "${chosen[@]}"; do
        sed -n "s/^SKIPPED:/${name#*_}: skipped:/p" "$place/$name.log"
        [ -e "$place/$name.done" ] && continue
        failed+=("${name#*_}")
        { echo "${name#*_}:"; sed 's/^/  /' "$place/$name.log" | head -n 40; } >&2
        [ -z "${KEEP:-}" ] || mv "$place/$name" "$KEEP/"
    done
    [ ${#failed[@]} = 0 ] || fail "${#failed[@]} of ${#chosen[@]} cases: ${failed[*]}"
    echo "${#chosen[@]} cases passed"
}

# run_case FUNCTION MODE: in a folder and a repository of its own. To be run in the background.
run_case() {
    T=$place/$1.$2
    mkdir -p "$T/src" "$T/scratch"
    cp -r "$place/repo" "$T/repo"
    export BYRE_REPOSITORY=$T/repo BYRE_CACHE_DIR=$T/cache BYRE_STATE_DIR=$T/state
    trap 'echo "FAILED: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
    cd "$T/src"
    tops=(top.qcow2) flags=() exit_code=0 check_code=0 settle=true rewritten=false
    [ "$2" = plain ] || flags=(--bitmap)
    "$1"
    expect_exit "$check_code" byre check --read-data
    rm -rf "$T"
    touch "$T.done"
}

# -- for cases ------------------------------------------------------------------------------------
# mk FILE SIZE [OPTIONS]; over BASE FILE [OPTIONS [FORMAT]]
mk() { qemu-img create -q -f qcow2 ${3:+-o "$3"} "$1" "$2"; }
over() { qemu-img create -q -f qcow2 ${3:+-o "$3"} -b "$1" -F "${4:-qcow2}" "$2"; }
poke() { python3 "$recipes/poke.py" "$@"; }
snap() { qemu-img snapshot "$@" top.qcow2; }

# settled: a file that was written to less than 2 s before a backup is never believed to be frozen. What is to tempt byre
# has to be older.
settled() {
    python3 -c '
import os, sys, time
files = [os.path.join(d, f) for d, _, fs in os.walk(".") for f in fs]
youngest = max(os.lstat(f).st_ctime for f in files)
while time.time() < youngest + 2.1: time.sleep(0.05)'
}

# backed_up [OPTION...]: backs ${tops} up; the summary is in ${T}/summary, what `show` says in ${T}/show.
backed_up() {
    if $settle; then settled; fi
    expect_exit "$exit_code" timeout 120 "$BYRE" backup --json --name x "${flags[@]}" "$@" "${tops[@]}"
    cp "$T/out" "$T/summary"
    cp "$T/err" "$T/warnings"
    expect_exit 0 byre show --json "$(json 'd["archive"]' "$T/summary")"
    cp "$T/out" "$T/show"
}

# saved [OPTION...]: the same, and it is what the files hold.
saved() {
    backed_up "$@"
    rm -rf "$T/back"
    expect_exit 0 timeout 120 "$BYRE" restore --json --to "$T/back" --verify "$(json 'd["archive"]' "$T/summary")"
    printf 'ignore\tbyre-\n' >"$T/facts"
    python3 "$recipes/plan.py" "$T" "$rewritten" false false >"$T/tops"
    python3 "$recipes/hold.py" "$T/plan" >"$T/held" 2>&1 ||
        { cat "$T/held" >&2; fail "it came back otherwise ($(rules))"; }
}

# rule_of FILE: by which the newest archive has taken it.
rule_of() { json "next(l['delta'] for l in d['layers'] if l['path'].endswith('/$1'))" "$T/show"; }
rules() { json '"; ".join(l["path"].split("/")[-1] + " " + l["delta"] + ": " + l["delta_reason"] for l in d["layers"])' "$T/show"; }
expect_rule() { expect_equal "$(rule_of "$1")" "$2" "the rule for $1 ($(rules))"; }
expect_not() { [ "$(rule_of "$1")" != "$2" ] || fail "$1 was taken to be as before ($(rules))"; }
# summary EXPRESSION: is true of the newest backup's summary.
summary() { expect_json "$1" "$T/summary"; }

# stamp FILE...; back_in_time FILE...: each has the modification time again that it had at its stamp.
stamp() {
    local file
    for file; do touch -r "$file" "$T/stamp-${file//\//_}"; done
}
back_in_time() {
    local file
    for file; do touch -m -r "$T/stamp-${file//\//_}" "$file"; done
}
# raw_write FILE TEXT OFFSET: in place.
raw_write() { printf %s "$2" | dd of="$1" bs=1 seek="$3" conv=notrunc status=none; }
# copy_on_read IMAGE COMMAND...
copy_on_read() {
    local image=$1 command args=()
    shift
    for command; do args+=(-c "$command"); done
    qemu-io -C -f qcow2 "${args[@]}" "$image" >"$T/qemu-io" 2>&1 || { cat "$T/qemu-io" >&2; fail "qemu-io -C: $image"; }
    ! grep -qiE 'fail|error' "$T/qemu-io" || { cat "$T/qemu-io" >&2; fail "qemu-io -C: $image"; }
}
# entry IMAGE GUEST-OFFSET: the L2 entry without COPIED, to show that a case makes what it says.
entry() { poke "$1" "print(hex(i.get(i.l2_address($2)) & ~(1 << 63)))"; }
# own_bitmap IMAGE: the name of the one that byre keeps there.
own_bitmap() {
    qemu-img info --output=json "$1" | python3 -c '
import json, sys
names = [b["name"] for b in json.load(sys.stdin)["format-specific"]["data"].get("bitmaps", [])]
names = [n for n in names if n.startswith("byre-")]
assert len(names) == 1, names
print(names[0])'
}

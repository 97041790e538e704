# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# What all scenarios share: a fresh place, expectations, and qemu-img as the oracle.
# A scenario sources this file, and finds itself in an empty folder ${T} with a repository's name,
# its own cache and state folders, and a passphrase in the environment. All goes when it ends.
set -euo pipefail
export LC_ALL=C TZ=UTC
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
: "${BYRE:?set BYRE to the path of the program under test}"
BYRE=$(realpath "$BYRE")
export BYRE

T=$(mktemp -d "${TMPDIR:-/tmp}/byre-cli.XXXXXX")
undo=()

# Called by the trap below.
# shellcheck disable=SC2317
clean_up() {
    local i code=$?
    set +e
    trap '' INT TERM
    for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
        eval "${undo[i]}" >"$T/undo" 2>&1 || cat "$T/undo" >&2
    done
    cd /
    rm -rf "$T"
    exit "$code"
}
trap clean_up EXIT
trap 'echo "FAILED: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR

# at_end COMMAND: run at the end, the last one first.
at_end() { undo+=("$1"); }

for name in "${!BYRE_@}"; do unset "$name"; done
unset NO_COLOR XDG_CACHE_HOME XDG_STATE_HOME XDG_CONFIG_HOME
export HOME=$T/home
export BYRE_REPOSITORY=$T/repo BYRE_CACHE_DIR=$T/cache BYRE_STATE_DIR=$T/state
export BYRE_PASSWORD='correct horse battery staple'
mkdir "$HOME"
cd "$T"

fail() {
    local i
    echo "FAILED: $*" >&2
    for ((i = 1; i < ${#FUNCNAME[@]}; i++)); do
        echo "  at ${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}" >&2
    done
    exit 1
}

skip() {
    echo "SKIPPED: $*"
    exit 0
}

# requires TOOL...: skips the scenario where one is missing.
requires() {
    local tool
    for tool; do
        command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
}

requires_root() { [ "$(id -u)" = 0 ] || skip "this needs root"; }

sanitized() { grep -qE '__(asan|tsan|ubsan|msan)_' "$BYRE"; }

byre() { "$BYRE" "$@"; }

# expect_exit CODE COMMAND...: the output is in ${T}/out and ${T}/err.
expect_exit() {
    local want=$1 got=0
    shift
    "$@" >"$T/out" 2>"$T/err" || got=$?
    [ "$got" = "$want" ] && return
    sed 's/^/  stdout: /' "$T/out" | head -n 20 >&2
    sed 's/^/  stderr: /' "$T/err" | head -n 20 >&2
    fail "exit $got, not $want: $*"
}

# expect_says FILE PATTERN: an extended regular expression, any case.
expect_says() {
    grep -qiE -- "$2" "$1" && return
    sed 's/^/  /' "$1" | head -n 20 >&2
    fail "${1##*/} does not say \"$2\""
}

expect_equal() { [ "$1" = "$2" ] || fail "${3:-values differ}: \"$1\" is not \"$2\""; }

expect_silent() { [ ! -s "$1" ] || fail "${1##*/} should be empty: $(head -n 5 "$1")"; }

expect_missing() {
    local path
    for path; do
        if [ -e "$path" ] || [ -L "$path" ]; then fail "$path should not exist"; fi
    done
}

# expect_empty_folder DIR: nothing below it, or no such folder.
expect_empty_folder() {
    local left
    left=$(find "$1" -mindepth 1 2>/dev/null || true)
    [ -z "$left" ] || fail "left in $1: $left"
}

# json EXPRESSION [FILE]: of ${d}, the last JSON line of FILE (default: stdout of expect_exit), in
# Python; ${all} are all lines.
json() {
    python3 -c '
import json, sys
all = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
d = all[-1]
value = eval(sys.argv[1])
if isinstance(value, bool): value = "true" if value else "false"
elif value is None: value = "null"
elif isinstance(value, (dict, list)): value = json.dumps(value)
print(value)' "$1" "${2:-$T/out}"
}

# expect_json EXPRESSION [FILE]: is true.
expect_json() {
    [ "$(json "$1" "${2:-$T/out}")" = true ] && return
    cat "${2:-$T/out}" >&2
    fail "not so in the JSON: $1"
}

new_repository() { expect_exit 0 byre init --reserve 0; }

# fast_key: from here on a key file opens the repository, for scenarios that open it a hundred times:
# a passphrase takes its time on purpose.
fast_key() {
    (umask 077 && printf 'k%.0s' {1..64} >"$T/fast-key")
    expect_exit 0 byre key add --new-key-file "$T/fast-key"
    unset BYRE_PASSWORD
    export BYRE_KEY_FILE=$T/fast-key
}

archive_count() { byre list --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))'; }

# commands: the names of all that help lists.
commands() {
    byre help --json |
        python3 -c 'import json, sys; print(*[c["name"] for c in json.load(sys.stdin)["commands"]])'
}

# random_file PATH BYTES SEED: the same bytes for the same seed.
random_file() {
    python3 -c '
import random, sys
r = random.Random(int(sys.argv[3])); n = int(sys.argv[2])
with open(sys.argv[1], "wb") as f:
    while n:
        f.write(r.randbytes(min(n, 1 << 20))); n -= min(n, 1 << 20)' "$@"
}

# guest_write IMAGE FILE OFFSET: FILE into the disk IMAGE at OFFSET, as a guest would. Its size has
# to be a multiple of 512.
guest_write() {
    qemu-io -f qcow2 -c "write -q -s $2 $3 $(stat -Lc %s "$2")" "$1" >"$T/qemu-io" 2>&1 ||
        { cat "$T/qemu-io" >&2; fail "qemu-io could not write to $1"; }
    [ ! -s "$T/qemu-io" ] || { cat "$T/qemu-io" >&2; fail "qemu-io complains about $1"; }
}

# io IMAGE COMMAND...: qemu-io, which exits 0 even where a command failed.
io() {
    local image=$1 command args=()
    shift
    for command; do args+=(-c "$command"); done
    qemu-io -f qcow2 "${args[@]}" "$image" >"$T/qemu-io" 2>&1 ||
        { cat "$T/qemu-io" >&2; fail "qemu-io: $image"; }
    ! grep -qiE 'fail|error|invalid|unsupported' "$T/qemu-io" ||
        { cat "$T/qemu-io" >&2; fail "qemu-io: $image"; }
}

# luks_tool ARGUMENT...: qemu-img create or amend with LUKS, as often as it takes: QEMU measures the
# time that it uses, and may find none.
luks_tool() {
    local try
    for try in {1..50}; do
        qemu-img "$@" >"$T/luks" 2>&1 && return
        grep -q 'CPU usage' "$T/luks" || break
    done
    fail "no LUKS after $try tries: $(cat "$T/luks")"
}

# fingerprint FILE...: contents and modification times, to see that nothing touched them.
fingerprint() {
    sha256sum -- "$@"
    stat -Lc '%n %s %Y %y %a %u %g' -- "$@"
}

# same_info A B: two layers look alike to qemu-img info.
same_info() {
    qemu-img info --output=json "$1" >"$T/info-a"
    qemu-img info --output=json "$2" >"$T/info-b"
    python3 -c '
import json, sys
def facts(name):
    i = json.load(open(name))
    s = i.get("format-specific", {}).get("data", {})
    return {k: i.get(k) for k in ("virtual-size", "cluster-size", "format", "backing-filename",
            "backing-filename-format", "encrypted")} | {k: s.get(k) for k in ("compat",
            "compression-type", "lazy-refcounts", "refcount-bits", "extended-l2", "corrupt")}
a, b = facts(sys.argv[1]), facts(sys.argv[2])
for k in a:
    if a[k] != b[k]: print(f"{k}: {a[k]!r} became {b[k]!r}")
sys.exit(a != b)' "$T/info-a" "$T/info-b" || fail "qemu-img info differs: $1 and $2"
}

# alone COPY LAYER: a copy of the qcow2 LAYER without its backing name.
alone() {
    cp --sparse=always "$2" "$1"
    chmod u+w "$1"
    qemu-img rebase -f qcow2 -u -b '' "$1"
}

# same_map A B: two qcow2 layers, each alone, hold every cluster in the same way, the uncompressed
# ones at the same host offset.
same_map() {
    alone "$T/map-a" "$1"
    alone "$T/map-b" "$2"
    qemu-img map -f qcow2 --output=json "$T/map-a" >"$T/map-a.json"
    qemu-img map -f qcow2 --output=json "$T/map-b" >"$T/map-b.json"
    rm -f "$T/map-a" "$T/map-b"
    # Whether the host file has a hole below a data cluster ("zero") is no matter of the layer.
    python3 -c '
import json, sys
def runs(name):
    out = []
    for r in json.load(open(name)):
        zero = r["zero"] and not r["data"] and "offset" not in r
        run = [r["start"], r["length"], r["present"], zero, r.get("offset")]
        p = out[-1] if out else None
        if p and p[2:4] == run[2:4] and (p[4] is None) == (run[4] is None) and \
           (p[4] is None or p[4] + p[1] == run[4]): p[1] += run[1]
        else: out.append(run)
    return out
a, b = runs(sys.argv[1]), runs(sys.argv[2])
for r in a:
    if r not in b: print("before:", r)
for r in b:
    if r not in a: print("after: ", r)
sys.exit(a != b)' "$T/map-a.json" "$T/map-b.json" || fail "qemu-img map differs: $1 and $2"
}

# compare_layer_alone A B: without their backing files, two qcow2 layers hold the same. Both are
# copied with the same holes, because "compare -s" takes a hole in the host file for a zero cluster.
compare_layer_alone() {
    alone "$T/alone-a" "$1"
    alone "$T/alone-b" "$2"
    qemu-img compare -q -s -f qcow2 -F qcow2 "$T/alone-a" "$T/alone-b" ||
        fail "qemu-img compare -s, layers alone: $1 and $2"
    rm -f "$T/alone-a" "$T/alone-b"
}

# clean_qcow2 FILE: qemu-img check has nothing to say.
clean_qcow2() {
    qemu-img check -q -f qcow2 "$1" >"$T/qemu-check" 2>&1 ||
        { cat "$T/qemu-check" >&2; fail "qemu-img check: $1"; }
}

# same_layer A B: all of the above, for a qcow2 layer and its restored twin.
same_layer() {
    same_info "$1" "$2"
    compare_layer_alone "$1" "$2"
    same_map "$1" "$2"
    clean_qcow2 "$2"
}

# same_content A B [FORMAT-A [FORMAT-B]]: two disks look the same to a guest.
same_content() {
    qemu-img compare -q ${3:+-f "$3"} ${4:+-F "$4"} "$1" "$2" || fail "guest views differ: $1 and $2"
}

# nothing_left: no temporary file is in the repository.
nothing_left() { expect_empty_folder "$BYRE_REPOSITORY/tmp"; }

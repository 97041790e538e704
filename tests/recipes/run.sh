#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Every qcow2 there is, restored as it was: run.sh NAME|GROUP|all..., run.sh --list [GROUP].
# A recipe is a function r_NAME, made by one of the files [a-z].sh, the groups. It makes top.qcow2, or what it
# says, in an empty folder; what this script then expects of it, it can say in the variables below.
# It goes on after a failure, and names all of them at the end.
here=$(realpath "$(dirname "$0")")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$here/../cli/lib.sh"
place=$T
export PYTHONDONTWRITEBYTECODE=1

# each PREFIX VALUE...: a recipe for each value, r_PREFIX_VALUE, that calls PREFIX VALUE.
each() {
    local prefix=$1 value
    shift
    for value; do eval "r_${prefix}_${value//[^a-zA-Z0-9]/_}() { $prefix '$value'; }"; done
}

groups=()
declare -A group=()
for file in "$here"/[a-z].sh; do
    # shellcheck disable=SC1090
    . "$file"
    groups+=("$(basename "$file" .sh)")
    for name in $(compgen -A function r_); do : "${group[${name#r_}]:=$(basename "$file" .sh)}"; done
done
recipes_of() { for name in "${!group[@]}"; do [ "${group[$name]}" != "$1" ] || echo "$name"; done | sort; }

chosen=()
list=
for word; do
    case $word in
    --list) list=1 ;;
    all) for g in "${groups[@]}"; do mapfile -t -O ${#chosen[@]} chosen < <(recipes_of "$g"); done ;;
    ?) mapfile -t -O ${#chosen[@]} chosen < <(recipes_of "$word") ;;
    *) chosen+=("$word") ;;
    esac
done
if [ -n "$list" ]; then
    [ ${#chosen[@]} -gt 0 ] || for g in "${groups[@]}"; do mapfile -t -O ${#chosen[@]} chosen < <(recipes_of "$g"); done
    printf '%s\n' "${chosen[@]}"
    exit 0
fi
[ ${#chosen[@]} -gt 0 ] || fail "no recipe is named; run.sh --list"
for tool in qemu-img qemu-io qemu-nbd python3; do command -v "$tool" >/dev/null || fail "$tool is missing"; done

# -- for recipes --------------------------------------------------------------------------------------
# mk OPTIONS SIZE [FILE [qemu-img create's options...]]
mk() {
    local options=$1 size=$2 file=${3:-top.qcow2}
    shift $(($# < 3 ? $# : 3))
    qemu-img create -q -f qcow2 ${options:+-o "$options"} "$@" "$file" "$size"
}
# over BASE [OPTIONS [FILE [SIZE]]]: an overlay.
over() { qemu-img create -q -f qcow2 ${2:+-o "$2"} -b "$1" -F qcow2 "${3:-top.qcow2}" ${4:+"$4"}; }
w() { io top.qcow2 "$@"; }
snap() { qemu-img snapshot -c "$1" "${2:-top.qcow2}"; }
poke() { python3 "$here/poke.py" "$@"; }
bitmap() { qemu-img bitmap --add "$@"; }
# new_luks SECRET OPTIONS SIZE FILE [create's options...]: takes seconds.
new_luks() {
    local secret=$1 options=$2 size=$3 file=$4
    shift 4
    luks_tool create -q -f qcow2 --object "secret,id=s0,data=$secret" \
        -o "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10${options:+,$options}" \
        "$@" "$file" "$size"
}
# luks SECRET OPTIONS SIZE [FILE [create's options...]]: an encrypted image. The LUKS header of the first
# one with a secret serves all that ask for no cipher of their own
# and have no base.
luks() {
    local secret=$1 options=$2 size=$3 file=${4:-top.qcow2} model=$place/luks-$1
    shift $(($# < 4 ? $# : 4))
    key[$file]=$secret
    if [[ $# -gt 0 || $options == *encrypt.* || $options == real ]]; then
        new_luks "$secret" "${options#real}" "$size" "$file" "$@"
        return
    fi
    [ -e "$model" ] || new_luks "$secret" '' 1M "$model"
    qemu-img create -q -f qcow2 ${options:+-o "$options"} "$@" "$file" "$size"
    poke "$file" 'o, n = struct.unpack(">QQ", image.Image("'"$model"'").extension(LUKS)[0]); d = image.Image("'"$model"'").at(o, n)' \
        'a = i.append(d); i.put(32, "I", 2)' 'i.write_extensions([(LUKS, struct.pack(">QQ", a, n))] + [(k, d) for k, d, _ in i.extensions()])'
    kimg check "$file" -q -r all >"$T/luks" 2>&1 || true
    kimg check "$file" -q
}
# kio FILE COMMAND...: qemu-io with the secrets, on the file alone. ${chain} adds options.
kio() {
    local file=$1 command args=()
    shift
    for command; do args+=(-c "$command"); done
    qemu-io --object "secret,id=s0,data=${key[$(basename "$file")]}" "${args[@]}" --image-opts \
        "driver=qcow2,file.filename=$file,encrypt.key-secret=s0${chain:-}" >"$T/qemu-io" 2>&1 ||
        { cat "$T/qemu-io" >&2; fail "qemu-io: $file"; }
    ! grep -qiE 'fail|error|invalid|unsupported' "$T/qemu-io" || { cat "$T/qemu-io" >&2; fail "qemu-io: $file"; }
}
kimg() {
    local command=$1 file=$2
    shift 2
    qemu-img "$command" --object "secret,id=s0,data=${key[$file]}" "$@" --image-opts \
        "driver=qcow2,file.filename=$file,encrypt.key-secret=s0"
}
# reads PATTERN...: what the restored top has to say to qemu-io.
reads() { patterns+=("$@"); }

make_one() {
    local name=$1 image path layers id sid count
    T=$place/w
    rm -rf "$T"
    mkdir -p "$T/src" "$T/scratch"
    cd "$T/src"
    tops=(top.qcow2) backup_flags=() restore_flags=() patterns=() exit_code=0 says='' refused='' rewritten=false
    huge=false dropped=false restored_says=''
    declare -gA key=() like=() raw=()
    after() { :; }
    "r_$name"

    fingerprint "${tops[@]}" >"$T/before"
    if [ -n "$refused" ]; then
        expect_exit 1 timeout 60 "$BYRE" backup -q --name "$name" "${tops[@]}"
        expect_says "$T/err" "$refused"
        fingerprint "${tops[@]}" | cmp - "$T/before" || fail "a refused backup changed its sources"
        [ ${#backup_flags[@]} -gt 0 ] || return 0
    fi
    expect_exit "$exit_code" timeout 120 "$BYRE" backup --json --name "$name" "${backup_flags[@]}" "${tops[@]}"
    [ -z "$says" ] || expect_says "$T/err" "$says"
    fingerprint "${tops[@]}" | cmp - "$T/before" || fail "a backup changed its sources"
    expect_exit 0 byre show --json "name:$name"
    cp "$T/out" "$T/show"
    expect_exit 0 timeout 120 "$BYRE" restore --json "name:$name" --to "$T/back" --verify "${restore_flags[@]}"
    [ -z "$restored_says" ] || expect_says "$T/err" "$restored_says"
    for path in "${!key[@]}"; do printf 'key\t%s\t%s\n' "$path" "${key[$path]}"; done >"$T/facts"
    for path in "${!like[@]}"; do printf 'like\t%s\t%s\n' "$path" "${like[$path]}"; done >>"$T/facts"
    for path in "${!raw[@]}"; do printf 'raw\t%s\n' "$path"; done >>"$T/facts"
    python3 "$here/plan.py" "$T" "$rewritten" "$huge" "$dropped" >"$T/tops" ||
        fail "show and restore do not name the same layers: $(cat "$T/show" "$T/out")"
    python3 "$here/hold.py" "$T/plan" >"$T/held" 2>&1 || { cat "$T/held" >&2; fail "$name came back otherwise"; }

    # Nothing new the second time.
    expect_exit "$exit_code" timeout 120 "$BYRE" backup --json --name "$name" "${backup_flags[@]}" "${tops[@]}"
    expect_json 'd["chunks_new"] == 0 and d["bytes_new"] == 0'
    [ -z "$says" ] || expect_says "$T/err" "$says"

    top=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[0])' "$T/tops")
    [ ${#patterns[@]} -eq 0 ] || if [ -n "${key[$(basename "${tops[0]}")]:-}" ]; then
        kio "$top" "${patterns[@]}"
    else
        io "$top" "${patterns[@]}"
    fi
    after

    # A state of its own each, or a refusal where only the key could tell.
    [ ${#tops[@]} = 1 ] || return 0
    image=${tops[0]}
    if [ ${#key[@]} -gt 0 ]; then
        expect_exit 1 byre restore "name:$name" --flatten --to "$T/flat"
        expect_says "$T/err" 'encrypt'
        expect_missing "$T/flat"
        expect_exit 1 byre restore "name:$name" --format raw --to "$T/flat"
        expect_says "$T/err" 'encrypt'
        expect_missing "$T/flat"
        return 0
    fi
    [ "$huge" = false ] || return 0
    expect_exit 0 byre restore "name:$name" --flatten --to "$T/flat"
    clean_qcow2 "$T/flat"
    local oracle=${like[$image]:-$image}
    if [ "${raw[$image]:-}" ]; then
        same_content "$image" "$T/flat" raw qcow2
    else
        same_content "$oracle" "$T/flat" qcow2 qcow2
    fi
    count=0
    for id in $(python3 -c '
import json, sys
d = json.load(open(sys.argv[1])); top = d["images"][0]["layers"][0]
print(*[s["id"] for l in d["layers"] if l["id"] == top for s in l["snapshots"]])' "$T/show"); do
        count=$((count + 1))
        expect_exit 0 byre restore "name:$name" --snapshot "$id" --to "$T/state"
        clean_qcow2 "$T/state"
        # Beside the source, for its backing name.
        sid=$(dirname "$oracle")/.state
        cp "$oracle" "$sid"
        poke "$sid" 'i.version < 3 or (i.put(88, "Q", i.autoclear & ~1), i.put(72, "Q", i.incompatible & ~2))'
        qemu-img snapshot -a "$id" "$sid" || fail "the source cannot go back to $id"
        same_content "$sid" "$T/state" qcow2 qcow2
        expect_equal "$(qemu-img info -f qcow2 --output=json "$T/state" | grep -m1 virtual-size)" \
            "$(qemu-img info -f qcow2 --output=json "$sid" | grep -m1 virtual-size)" "size of snapshot $id"
        rm -f "$T/state" "$sid"
    done
    layers=$(python3 -c '
import struct, sys
h = open(sys.argv[1], "rb").read(64); print(struct.unpack(">I", h[60:64])[0] if h[:4] == b"QFI\xfb" else 0)' "$image")
    [ "${raw[$image]:-}" ] || expect_equal "$count" "$layers" "number of snapshots shown"
}

(umask 077 && printf 'k%.0s' {1..64} >"$place/key")
unset BYRE_PASSWORD
export BYRE_KEY_FILE=$place/key
new_repository

passed=0 failed=()
for recipe in "${chosen[@]}"; do
    declare -F "r_$recipe" >/dev/null || fail "there is no recipe $recipe"
    set +e
    (
        set -e
        make_one "$recipe"
    ) >"$place/log" 2>&1
    code=$?
    set -e
    if [ "$code" = 0 ]; then
        passed=$((passed + 1))
    else
        failed+=("$recipe")
        echo "recipe $recipe:" >&2
        sed 's/^/  /' "$place/log" | head -n 40 >&2
    fi
done
expect_exit 0 byre check
echo "$passed of ${#chosen[@]} recipes passed${failed[*]:+; FAILED: ${failed[*]}}"
[ ${#failed[@]} -eq 0 ]

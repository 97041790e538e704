#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Everything that has to hold before a change goes in, on a bare Debian 12 machine. The tests of the
# dev build come last, so that ctest's summary ends the output.
# usage: test.sh [PART]...   parts: deps clang check fuzz asan tsan readme dev (default: all, in this order)
#   JOBS          how much to do at once (default: the cores there are)
#   FUZZ_SECONDS  how long each fuzzer runs (default: 10)
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
parts=(deps clang check fuzz asan tsan readme dev)
jobs=${JOBS:-$(nproc)}
failed=()

say() { printf '\n== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

# build NAME PRESET [OPTION...]: in build/NAME, quietly but for warnings.
build() {
    local folder=build/$1 preset=$2
    shift 2
    cmake --preset "$preset" -B "$folder" --log-level=WARNING "$@" >/dev/null &&
        cmake --build "$folder" --parallel "$jobs" -- --quiet
}

# tests NAME [CTEST-OPTION...]: those of build/NAME; ${front} is what ctest runs below.
front=()
tests() {
    local folder=build/$1
    shift
    # more than there are cores: many wait for disks, or for a time stamp to be old enough
    "${front[@]}" ctest --test-dir "$folder" --parallel $((jobs + jobs / 2)) --output-on-failure \
        --no-tests=error "$@"
}

part_deps() { scripts/install-deps.sh test; }

# The second compiler, its warnings errors too.
part_clang() { build clang dev -DCMAKE_C_COMPILER=clang; }

part_check() { build dev dev && scripts/check.sh; }

# Each fuzzer goes on from a copy of its corpus for a while.
part_fuzz() {
    local fuzzer name scratch code=0
    build fuzz fuzz || return
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/byre-fuzz.XXXXXX")
    for fuzzer in build/fuzz/tests/fuzz_*; do
        if [ ! -f "$fuzzer" ] || [ ! -x "$fuzzer" ]; then continue; fi
        name=$(basename "$fuzzer")
        mkdir "$scratch/$name"
        cp -r "tests/fuzz/corpus/${name#fuzz_}/." "$scratch/$name/" || code=1
        echo "$name"
    done >"$scratch/names"
    if [ ! -s "$scratch/names" ]; then
        echo "there is no fuzzer" >&2
        code=1
    fi
    # shellcheck disable=SC2016
    xargs -P "$jobs" -I '{}' bash -c '
        if "build/fuzz/tests/$1" -max_total_time="$2" -timeout=20 -rss_limit_mb=2048 \
            -print_final_stats=1 -artifact_prefix="build/fuzz/$1-" "$3/$1" >"$3/$1.log" 2>&1; then
            echo "$1: $(sed -n "s/^Done //p" "$3/$1.log")"
        else
            tail -n 60 "$3/$1.log"
            echo "$1: FAILED"
            exit 1
        fi' - '{}' "${FUZZ_SECONDS:-10}" "$scratch" <"$scratch/names" || code=1
    rm -rf "$scratch"
    return "$code"
}

# Of the recipes, those with hostile headers are enough here, and of what mostly waits or repeats the
# same code many times a part: the dev build runs all.
part_asan() {
    build asan asan || return
    ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1 \
        UBSAN_OPTIONS=print_stacktrace=1 tests asan --exclude-regex '^recipes-[abcdf]$|^cli-18-[bcfs]|^cli-(11|12|16|17|20|21|33|90)-|^cli-54-completion$|^cli-19-counters$|^reader$|^unit-qcow2-luks$|^crash-(faults|power-cut)$|^(model-|random$|soak$|live-kill$)|^cli-(66|76)-|^cli-(67-live-machine|68-live-recover|69-live-content)$'
}

# Newer kernels spread addresses wider than this sanitizer can follow, so that is turned off where
# it may be. What brings no new threads is left out: programs that use one, and scenarios that only try
# many inputs one by one.
part_tsan() {
    local front=()
    if setarch -R true 2>/dev/null; then front=(setarch -R); fi
    build tsan tsan || return
    TSAN_OPTIONS=second_deadlock_stack=1 tests tsan --exclude-regex \
        '^tamper$|^cli-.*(kinds|backing-names|keys|stolen-key|epochs|damage|bad-input|permissions|full-disk|command-line|bitmap-tokens|id-hash|rollback|what-next|manual|completion|golden|init|archives|repair|changing|drill|end-to-end|disaster)|^cli-1[789]-|^crash-|^model-|^random$|^reader$|^recipes-|^soak$|^live-kill$|^cli-(6[5689]|67-(formats|live-)|76)|^unit-(qcow2|engine-clock|cs-(rechunk|chunker)|cs-store-(prune|repair|log|faults|state))'
}

# All commands of README.md, those too that build; the tests of dev leave them out.
part_readme() {
    build dev dev && BYRE_README_BUILD=1 BYRE=$PWD/build/dev/src/cli/byre bash tests/cli/97-readme.sh
}

part_dev() {
    build dev dev || return
    tests dev
}

(($#)) || set -- "${parts[@]}"
for part; do
    [[ " ${parts[*]} " == *" $part "* ]] || {
        echo "test.sh: no part $part (there are: ${parts[*]})" >&2
        exit 2
    }
done
last=${*: -1}
for part; do
    if [ "$part" = "$last" ] && ((${#failed[@]})); then
        printf '\ntest.sh: FAILED so far: %s\n' "${failed[*]}" >&2
    fi
    say "$part"
    "part_$part" || failed+=("$part")
    if [ "$part" = deps ] && ((${#failed[@]})); then
        echo "test.sh: FAILED: without its tools nothing goes on" >&2
        break
    fi
done
((${#failed[@]} == 0)) || exit 1

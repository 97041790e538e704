#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The gates that need no test to run. Each is a function; all run by default, and each runs alone.
# usage: check.sh [GATE]...   BUILD: a configured and built folder (default: build/dev, made if absent)
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
gates=(format lint shellcheck symbols headers layers man texts)
build=${BUILD:-build/dev}

# Prints what is wrong, and makes the gate fail at its end.
bad=0
wrong() {
    echo "$*" >&2
    bad=1
}

# sources PATTERN...: the project's own files, new ones too; in an exported tree, all there are.
sources() {
    local pattern name=()
    if git -c safe.directory="$PWD" rev-parse --git-dir >/dev/null 2>&1; then
        git -c safe.directory="$PWD" ls-files -co --exclude-standard -- "$@" | while read -r file; do
            [ ! -f "$file" ] || echo "$file" # deleted, and not yet committed
        done
    else
        for pattern; do name+=(${name[0]:+-o} -path "./$pattern"); done
        find . -path ./build -prune -o -type f \( "${name[@]}" \) -print | sed 's|^\./||'
    fi
}

need_build() {
    if [ ! -f "$build/build.ninja" ]; then
        cmake --preset dev -B "$build" --log-level=WARNING >/dev/null || return
    fi
    cmake --build "$build" -- --quiet
}

# The layout is .clang-format's.
gate_format() {
    sources '*.c' '*.h' | xargs clang-format --dry-run -Werror || bad=1
}

# .clang-tidy has nothing to say about the program and its library.
gate_lint() {
    need_build || return 1
    sources 'src/*.c' 'chunkstore/*.c' |
        xargs -P "$(nproc)" -n 1 clang-tidy -p "$build" --quiet 2>/dev/null || bad=1
}

# A function may well take arguments that this caller does not give (SC2119, SC2120).
gate_shellcheck() {
    { sources '*.sh' '*.bash' 'scripts/package/debian/post*' && echo .ci/run; } | xargs shellcheck -x -e SC2119,SC2120 || bad=1
}

# exported LIBRARY: "object symbol" of each symbol that others could link with.
exported() {
    nm -g --defined-only "$1" 2>/dev/null |
        awk '/\.c\.o:$/ { sub(/\.c\.o:$/, ""); object = $1 } NF == 3 { print object, $3 }' |
        grep -v ' __\(asan\|odr\|tsan\|ubsan\|start\|stop\)' || true
}

# The library exports cs_ names only. In src/, a file thing.c exports names that begin with its own
# first word or its folder's, or what thing.h declares.
gate_symbols() {
    local folder object symbol word
    need_build || return 1
    while read -r object symbol; do
        [[ $symbol == cs_* ]] || wrong "chunkstore/$object.c exports $symbol, which is no cs_ name"
    done < <(exported "$build/chunkstore/libchunkstore.a")
    for folder in src/*/; do
        folder=$(basename "$folder")
        while read -r object symbol; do
            word=${object%%_*}
            [[ $symbol == "$word" || $symbol == "$word"[_s]* || $symbol == "$folder"_* ]] ||
                grep -qsw "$symbol" "src/$folder/$object.h" ||
                wrong "src/$folder/$object.c exports $symbol, which neither its name nor its header tells"
        done < <(exported "$build/src/$folder/lib$folder.a")
    done
}

# include_paths FILE: the folders that a header of that place may include from.
include_paths() {
    case $1 in
    chunkstore/include/*) ;;
    chunkstore/*) echo -Ichunkstore -Ichunkstore/include ;;
    src/base/* | src/qcow2/* | src/live/*) echo -Isrc ;;
    src/*) echo -Isrc -Ichunkstore/include ;;
    *) echo -Isrc -Ichunkstore -Ichunkstore/include -Itests/unit ;;
    esac
}

# Each header compiles alone, twice over, and with no more on its path than its layer may see.
gate_headers() {
    local header flags
    while read -r header; do
        read -ra flags < <(include_paths "$header"; echo)
        printf '#include "%s"\n' "$PWD/$header" "$PWD/$header" |
            gcc -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Wall -Wextra -Werror \
                -fsyntax-only "${flags[@]}" -x c - || wrong "$header does not compile alone"
    done < <(sources '*.h')
}

# includes WHO WHAT: no file of the folder WHO includes what the pattern WHAT matches.
includes() {
    local found
    found=$(sources "$1/*.c" "$1/*.h" |
        xargs grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" /dev/null || true)
    [ -z "$found" ] || wrong "$1 reaches where it must not:
$found"
}

# Arrows go one way: cli -> { engine -> { qcow2, chunkstore }, live }; and only src/cli prints or
# exits, but for the child that a guard has forked.
gate_layers() {
    local library found
    includes chunkstore '\.\./|src/|base/|qcow2/|engine/|cli/'
    includes src/base '\.\./|qcow2/|engine/|live/|cli/|chunkstore'
    includes src/qcow2 '\.\./|engine/|live/|cli/|chunkstore'
    includes src/engine '\.\./|live/|cli/|chunkstore/'
    includes src/live '\.\./|qcow2/|engine/|cli/|chunkstore'
    includes src/cli '\.\./|qcow2/|chunkstore/'
    need_build || return 1
    for library in chunkstore/libchunkstore.a \
        src/{base/libbase,qcow2/libqcow2,engine/libengine,live/liblive}.a; do
        found=$(nm -u "$build/$library" 2>/dev/null | awk '
            /:$/ { object = $1 }
            object == "guard.c.o:" && $2 == "_exit" { next }
            $2 ~ /^(__)?(v?printf|puts|putchar|perror|warnx?|errx?)(_chk)?$/ ||
            $2 ~ /^(stdout|stderr|exit|_exit|_Exit|quick_exit|abort)$/ { print "  " object, $2 }')
        [ -z "$found" ] || wrong "$library prints or exits:
$found"
    done
}

gate_man() {
    sources 'src/*.1' 'src/*.5' 'src/*.7' | xargs mandoc -T lint -W warning || bad=1
}

# none_match PATTERN WHAT: in the files that stdin names.
none_match() {
    local found
    found=$(xargs grep -InE -- "$1" /dev/null || true)
    [ -z "$found" ] || wrong "$2:
$found"
}

# No leftovers of a machine or of unfinished work; plain, complete lines.
gate_texts() {
    local file
    sources '*' | none_match '(^|[^A-Za-z0-9._-])/(work|Users|home)/[a-z]' 'a path of one machine'
    sources '*' | none_match '\b(TO[D]O|FIX[M]E)\b' 'unfinished'
    sources '*' | none_match '[[:blank:]]$' 'blanks at the end of a line'
    sources '*' | none_match $'\r' 'carriage returns'
    sources '*.c' '*.h' '*.sh' '*.py' '*.md' '*.txt' '*.cmake' '*.json' '*.1' '.*' | while read -r file; do
        [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo "$file: no newline at the end"
    done | grep . >&2 && bad=1
    sources '*.c' '*.h' '*.sh' | while read -r file; do
        head -n 3 "$file" | grep -q 'SPDX-License-Identifier: BSD-2-Clause' ||
            echo "$file: no SPDX line"
    done | grep . >&2 && bad=1
    return 0
}

failed=()
for gate; do
    [[ " ${gates[*]} " == *" $gate "* ]] || {
        echo "check.sh: no gate $gate (there are: ${gates[*]})" >&2
        exit 2
    }
done
(($#)) || set -- "${gates[@]}"
for gate; do
    bad=0 start=$SECONDS
    "gate_$gate" || bad=1
    if ((bad)); then
        failed+=("$gate")
        echo "check $gate: FAILED ($((SECONDS - start)) s)"
    else
        echo "check $gate: ok ($((SECONDS - start)) s)"
    fi
done
if ((${#failed[@]})); then
    echo "check: FAILED: ${failed[*]}" >&2
    exit 1
fi

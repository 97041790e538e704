#compdef byre
# SPDX-License-Identifier: BSD-2-Clause
# zsh: asks byre itself what may stand on its command line.
compdef _byre byre

_byre() {
    local line word kind
    local -a lines offers
    lines=("${(@f)$("${(Q)${~words[1]}}" __complete -- "${(@Q)words[2,CURRENT-1]}" \
        "${(Q)PREFIX}" 2>/dev/null)}")
    kind=$lines[1]
    shift lines
    case $kind in
    files | directories)
        if [[ $PREFIX == --*=* ]]; then compset -P '*='; fi
        if [[ $kind == files ]]; then _files; else _files -/; fi
        ;;
    words)
        for line in $lines; do
            word=${line%%$'\t'*}
            offers+=("${word//:/\\:}:${line#*$'\t'}")
        done
        _describe -V byre offers
        ;;
    esac
}

if [ "$funcstack[1]" = _byre ]; then _byre "$@"; fi

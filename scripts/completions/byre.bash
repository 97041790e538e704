# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# bash: asks byre itself what may stand on its command line.

_byre() {
    local line=${COMP_LINE:0:COMP_POINT} blank rest word kind i skip='' words=()
    # readline takes words apart at = and : too; byre wants them as they were typed.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        blank=${line%%[![:space:]]*}
        rest=${line#"$blank"}
        if ((i == COMP_CWORD)); then word=$rest; fi
        line=${rest#"$word"}
        if [[ $i != 0 && -z $blank ]]; then
            skip=${words[-1]}
            words[-1]+=$word
            case $word in = | :) skip=${words[-1]} ;; esac
        else
            skip=''
            words+=("$word")
        fi
    done
    for i in "${!words[@]}"; do
        word=${words[i]//[\\\"\']/}
        if [[ $word == \~/* ]]; then word=$HOME${word#\~}; fi
        words[i]=$word
    done

    COMPREPLY=()
    {
        read -r kind
        case $kind in
        files) compopt -o default ;;
        directories) compopt -o dirnames ;;
        words)
            while IFS=$'\t' read -r word _; do
                printf -v word %q "${word#"$skip"}"
                COMPREPLY+=("$word")
            done
            ;;
        esac
    } < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
}

complete -F _byre byre

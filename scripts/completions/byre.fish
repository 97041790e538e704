# SPDX-License-Identifier: BSD-2-Clause
# fish: asks byre itself what may stand on its command line.

function __byre_complete
    set -l words (commandline -opc)
    set -l token (string unescape -- (commandline -ct))
    set -l lines ($words[1] __complete -- $words[2..-1] "$token" 2>/dev/null)
    set -l prefix (string match -r -- '^--[^=]*=' "$token")
    set -l path (string replace -r -- '^--[^=]*=' '' "$token")
    switch "$lines[1]"
        case files
            printf "$prefix%s\n" (__fish_complete_path "$path")
        case directories
            printf "$prefix%s\n" (__fish_complete_directories "$path" '')
        case words
            printf '%s\n' $lines[2..-1]
    end
end

complete -c byre -f -a '(__byre_complete)'

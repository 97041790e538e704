# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# What a repository's archives give back, as sums: for whoever makes a golden repository, and for whoever holds the program
# against it. To be sourced after tests/cli/lib.sh.

# ways ARCHIVE: each image of the archive, and each snapshot in it, that can be had as a raw file.
ways() {
    byre show "$1" --json | python3 -c '
import json, sys
archive = json.load(sys.stdin)
layers = {layer["id"]: layer for layer in archive["layers"]}
for image in archive["images"]:
    chain = [layers[i] for i in image["layers"]]
    if any(layer["encryption"] for layer in chain): continue
    print(image["path"])
    for snapshot in chain[0]["snapshots"]: print(image["path"], snapshot["id"])'
}

# sums: restores all archives, every file as it was and every disk as a guest saw it, and prints the sum of each, with a
# name that begins with the archive's.
sums() {
    local id name path snapshot
    byre list --json | python3 -c '
import json, sys
for archive in json.load(sys.stdin): print(archive["id"], archive["name"])' >"$T/archives"
    while read -r id name; do
        name=$name-${id:0:8}
        expect_exit 0 byre restore "$id" --to "$T/sums/$name/files" --verify
        ways "$id" >"$T/ways"
        while read -r path snapshot; do
            expect_exit 0 byre restore "$id" --image "$path" --format raw ${snapshot:+--snapshot "$snapshot"} \
                --to "$T/sums/$name/raw/${path##*/}${snapshot:+@$snapshot}"
        done <"$T/ways"
    done <"$T/archives"
    (cd "$T/sums" && find . -type f -exec sha256sum {} + | sed 's, \./, ,' | sort -k 2)
    rm -r "$T/sums"
}

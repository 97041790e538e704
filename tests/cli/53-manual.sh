#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The manual has a page for each command, and each page all options of its command and no others.
here=$(realpath "$(dirname "$0")")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$here/lib.sh"
requires python3

# says PATTERN: the pages in the folder ${T}/pages differ from the table, and that is named.
says() {
    expect_exit 1 python3 "$here/manual.py" pages "$BYRE"
    expect_says "$T/out" "$1"
    cp "$here"/../../src/byre*.[1-9] pages
}

expect_exit 0 python3 "$here/manual.py" "$here/../../src" "$BYRE"
expect_silent "$T/out"

# What is missing is found, on either side.
mkdir pages
cp "$here"/../../src/byre*.[1-9] pages
sed -i '/^\.It Fl -trust-mtime/d' pages/byre-backup.1
says 'byre-backup.1 has no --trust-mtime'
sed -i '/^\.Op Fl -trust-mtime/d' pages/byre-backup.1
says 'synopsis of backup has no --trust-mtime'
sed -i 's/^\.It Fl -trust-mtime/&s/' pages/byre-backup.1
says 'byre-backup.1 has --trust-mtimes'
sed -i 's/^\.It Fl -last Ar k/.It Fl -last/' pages/byre-list.1
says 'byre-list.1 has no --last k'
sed -i 's/^\.Ar archive archive/.Ar archive/' pages/byre-diff.1
says 'synopsis of diff has the operands "archive", help has "archive archive"'
sed -i 's/^\.Nm byre ,/.Nm ,/; s/^\.Nm byre$/.Nm/' pages/byre-benchmark.1
says 'byre-benchmark.1: .Nm alone'
sed -i '0,/^\.It Fl -new-key-file/{//d}' pages/byre-key.1
says 'key add has no --new-key-file'
sed -i '/^\.It Fl -rate-limit/d' pages/byre.1
says 'byre.1 has no --rate-limit'
sed -i '/^\.It Xr byre-prune 1/d' pages/byre.1
says 'Commands lists'
rm pages/byre-prune.1
says 'there is no byre-prune.1'
cp pages/byre-prune.1 pages/byre-plum.1
says 'byre-plum.1 is of no command'
rm pages/byre-plum.1
sed -i 's/^\.Xr byre-tag 1/.Xr byre-tug 1/' pages/byre-list.1
says 'byre-list.1 refers to byre-tug'
expect_exit 0 python3 "$here/manual.py" pages "$BYRE"

# Help names the page.
for command in $(commands); do
    expect_exit 0 byre help "$command"
    expect_says "$T/out" "byre-$command\(1\)"
done

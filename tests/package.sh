#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What is installed, and the Debian package: what is in it, with which modes, and what lintian says.
# BUILD: the build folder. The package of scripts/package.sh is put to use; this one only looked at.
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/cli/lib.sh"
requires cmake python3
: "${BUILD:?}"
if sanitized; then skip "nobody installs a build with sanitizers"; fi

# cmake --install: below any prefix and DESTDIR, a page for each command, completions as printed.
DESTDIR=$T/staged cmake --install "$BUILD" --prefix /opt/byre >/dev/null
cd staged/opt/byre
for command in $(commands); do
    [ -f "share/man/man1/byre-$command.1" ] || fail "byre-$command.1 is not installed"
done
[ -f share/man/man1/byre.1 ]
[ -f share/man/man5/byre.conf.5 ]
cmp <("$BYRE" completion bash) share/bash-completion/completions/byre
cmp <("$BYRE" completion zsh) share/zsh/site-functions/_byre
cmp <("$BYRE" completion fish) share/fish/vendor_completions.d/byre.fish
[ -f lib/systemd/system/byre@.service ]
expect_exit 0 bin/byre version
cd "$T"

requires cpack dpkg-deb dpkg-shlibdeps dpkg-parsechangelog lintian
for again in 1 2; do
    cpack -G DEB --config "$BUILD/CPackConfig.cmake" -B "$T/$again" >cpack.log ||
        fail "cpack: $(cat cpack.log)"
    rm -rf "$again/_CPack_Packages"
done
package=$(echo 1/byre_*.deb)
cmp "$package" "2/${package##*/}" || fail "two packages of one build differ"
TMPDIR=$T lintian --fail-on error --allow-root "$package" || fail "lintian"

dpkg-deb -f "$package" >fields
expect_says fields '^Package: byre$'
expect_says fields '^Depends: adduser, .*libsodium23'
expect_says fields '^Recommends: qemu-utils$'
expect_says fields '^Suggests: libvirt0$'
expect_says fields '^Section: admin$'
expect_says fields '^Maintainer: .*<.*@.*>$'

# Everything is root's, and nobody else may write to it; only the program can be run, and scripts.
dpkg-deb -c "$package" >contents
awk '$2 != "root/root" || $1 !~ /^(drwxr-xr-x|-rw-r--r--)$/ { print }' contents | grep -v ' ./usr/share/byre/[^/]*\.sh$' >odd
sed -E 's|^(\S+ \S+) .* (\S+)$|\1 \2|' odd >odd-modes
expect_equal "$(cat odd-modes)" '-rwxr-xr-x root/root ./usr/bin/byre' "odd modes"
for path in share/man/man1/byre-backup.1.gz share/man/man5/byre.conf.5.gz lib/systemd/system/byre@.timer \
    share/doc/byre/{copyright,changelog.gz,changelog.Debian.gz,README.md,examples/{keeper,machine}.conf} \
    share/zsh/vendor-completions/_byre; do
    grep -q " ./usr/$path\$" contents || fail "the package lacks $path"
done
dpkg-deb -x "$package" x
(cd x && dpkg-deb -I "../$package" md5sums | md5sum -c --quiet)
expect_exit 0 x/usr/bin/byre version
expect_equal "$(dpkg-deb -f "$package" Version)" "$(sed 's/^byre //' "$T/out")-1" "the version"
# A manual that man(1) renders without a complaint.
if command -v man >/dev/null; then
    man --warnings -E UTF-8 -l x/usr/share/man/man1/byre-key.1.gz >/dev/null 2>rendered
    expect_silent rendered
fi

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The units for systemd and the example files: systemd takes them, the sandbox is tight, and a job
# needs nothing that the sandbox keeps from it.
scripts=$(realpath "$(dirname "$0")/../../scripts")
# shellcheck disable=SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires systemd-analyze qemu-img python3 strace setpriv

# The program need not be installed, nor the manual.
mkdir units
cp "$scripts"/systemd/* units
sed -i "s|^ExecStart=byre |ExecStart=$BYRE |" units/byre@.service
systemd-analyze verify --man=no units/byre@web.service units/byre@web.timer >verified 2>&1 ||
    fail "systemd-analyze verify: $(cat verified)"
expect_silent verified
systemd-analyze security --offline=true --no-pager --threshold=25 units/byre@.service >exposure ||
    fail "systemd-analyze security: $(tail -n 1 exposure)"

# As a drop-in says, it also runs as a user who only keeps repositories, or backs up machines.
for drop_in in keeper machine; do
    mkdir -p "$drop_in/byre@.service.d"
    cp units/byre@.service "$drop_in"
    sed "s|=byre |=$BYRE |" "$scripts/systemd/$drop_in.conf" >"$drop_in/byre@.service.d/override.conf"
    systemd-analyze verify --man=no "$drop_in/byre@web.service" >verified 2>&1 ||
        fail "systemd-analyze verify: $drop_in: $(cat verified)"
    expect_silent verified
done

# unit KEY: what the service has for it.
unit() { sed -n "s/^$1=//p" units/byre@.service; }

new_repository
random_file data $((1 << 20)) 7
qemu-img create -q -f qcow2 disk.qcow2 8M
guest_write disk.qcow2 data 1M
cat >byre.conf <<END
[repository local]
path = $T/repo
password-file = $T/pass
[job web]
repository = local
images = $T/disk.qcow2
bitmap = yes
keep-last = 1
prune = yes
check = yes
nice = 5
ionice = idle
rate-limit = 500 MiB/s
hook-after = cat >/dev/null
metrics-file = $T/%j.prom
END
(umask 077 && echo "$BYRE_PASSWORD" >pass)
unset BYRE_PASSWORD
export BYRE_CONFIG=$T/byre.conf

# A job makes no system call that the filter refuses.
if sanitized; then
    echo "a sanitizer makes calls of its own: the filter is not looked at"
    expect_exit 0 byre run web
else
    strace -f -qq -o trace "$BYRE" run web
    systemd-analyze --no-pager syscall-filter >filters 2>/dev/null
    unit SystemCallFilter >filter
    python3 - <<'END'
import re
groups, name = {}, None
for line in open("filters"):
    if line.startswith("@"):
        name = line.strip()
        groups[name] = []
    elif line.startswith("    ") and name and not line.strip().startswith("#"):
        groups[name].append(line.strip())
def calls(group):
    for member in groups[group]:
        if member.startswith("@"): yield from calls(member)
        else: yield member
allowed = set()
for word in open("filter").read().split():
    allowed |= set(calls(word)) if word.startswith("@") else {word}
used = {m[1] for m in re.finditer(r"^\d+ +(\w+)\(", open("trace").read(), re.M)}
assert len(used) > 40, used
allowed |= {"cachestat", "syscall_0x1c3"}  # systemd 252 has no name for it; refused, mincore does instead
assert used <= allowed, f"kept from it: {used - allowed}"
END
fi

# Nor does it need more than the one capability, to read what is not root's.
if [ "$(id -u)" = 0 ]; then
    sed -i '/^bitmap/d' byre.conf
    chown 65534:65534 disk.qcow2
    chmod 600 disk.qcow2
    caps=$(unit CapabilityBoundingSet | tr '[:upper:]' '[:lower:]')
    setpriv --bounding-set "-all,+${caps#cap_}" --inh-caps=-all --no-new-privs \
        "$BYRE" run web 2>"$T/err" || fail "with $caps alone: $(cat "$T/err")"
    expect_silent "$T/err"
fi

# The example is a configuration, and cron's names jobs of it.
while read -r user command jobs; do
    [ "$user $command" = "root byre" ] || fail "cron.example: $user $command"
    for job in ${jobs#run }; do
        grep -qxF "[job $job]" "$scripts/byre.conf.example" || fail "cron.example: no job $job"
    done
done < <(sed -n 's/^[0-9]\([^ ]* *\)\{5\}\(root.*\)/\2/p' "$scripts/cron.example")
sed "s|^images = .*|images = $T/disk.qcow2|; /^    /d" "$scripts/byre.conf.example" >example.conf
expect_exit 0 byre --config example.conf run --dry-run web db weekly-check
expect_silent "$T/err"

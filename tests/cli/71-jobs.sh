#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Jobs of a configuration file: what they run, what becomes of failures, hooks, metrics, overlaps.
# Hooks have a shell of their own for what is in single quotes.
# shellcheck disable=SC2016,SC1091 source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-io python3 strace

new_repository
fast_key
unset BYRE_KEY_FILE BYRE_REPOSITORY
repo=$T/repo
mkdir vm
for name in a b; do
    random_file data $((1 << 20)) "${#name}"
    qemu-img create -q -f qcow2 "vm/$name.qcow2" 8M
    guest_write "vm/$name.qcow2" data 1M
done
printf '<domain/>\n' >'vm/my domain.xml'

# conf LINE...: the configuration: a repository, and a job web of these lines.
conf() {
    {
        printf '[repository local]\npath = %s\nkey-file = %s\n\n[job web]\nrepository = local\n' \
            "$repo" "$T/fast-key"
        printf '%s\n' "$@"
    } >byre.conf
    chmod 600 byre.conf
}
export BYRE_CONFIG=$T/byre.conf
in_repo() { byre -r "$repo" --key-file "$T/fast-key" "$@"; }
archives() { in_repo list --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))'; }

# ---- all of it, and not a word about it ----
conf "images = $T/vm/*.qcow2" "  $T/vm/a.qcow2" "with = $T/vm/my domain.xml" 'tags = nightly, two words' \
    'name = Web server' 'compression = 1' 'keep-last = 2' 'prune = yes' 'check = 50%' 'nice = 3' \
    'ionice = best-effort:6' 'hook-before = cat >before.in; env >before.env; echo said' \
    'hook-after = cat >after.in; env >after.env' 'hook-failure = cat >failure.in; env >failure.env' \
    "metrics-file = $T/%j.prom"
expect_exit 0 byre run web
expect_silent "$T/out"
expect_equal "$(cat "$T/err")" said "all that is said"
expect_equal "$(archives)" 1 archives
in_repo list --json >archives.json
in_repo show latest --json >latest.json
python3 -c '
import json
a, = json.load(open("archives.json")); s = json.load(open("latest.json"))
assert a["name"] == "Web server" and a["tags"] == ["nightly", "two words"], a
assert [i["path"].rsplit("/", 1)[1] for i in s["images"]] == ["a.qcow2", "b.qcow2"], s["images"]
assert s["with"] == [{"name": "my domain.xml", "bytes": 10}], s["with"]'

# Hooks know the job, and none of its secrets.
expect_silent before.in
expect_missing failure.in
expect_says before.env '^BYRE_JOB=web$'
expect_says after.env "^BYRE_REPOSITORY=$repo\$"
expect_says after.env '^BYRE_NAME=Web server$'
expect_says after.env '^BYRE_EXIT=0$'
expect_says after.env "^BYRE_ARCHIVE=$(python3 -c 'import json; print(json.load(open("archives.json"))[0]["id"])')\$"
expect_json "d['message_type'] == 'job' and d['exit_code'] == 0 and d['failed_step'] is None" after.in
expect_json "[s['step'] for s in d['steps']] == ['backup', 'forget', 'prune', 'check']" after.in
expect_json "all[0]['steps'][0]['summary']['archive'] == d['archive']" after.in
export BYRE_PASSWORD=secret BYRE_FROM_PASSWORD=secret
expect_exit 0 byre run web
! grep -q secret before.env after.env || fail "a hook was given a passphrase"
unset BYRE_PASSWORD BYRE_FROM_PASSWORD

# ---- for monitors ----
python3 - web.prom <<'END'
import os, re, sys, time
path = sys.argv[1]
text = open(path).read()
values = {}
for line in text.splitlines():
    if line.startswith("#"):
        assert re.fullmatch(r"# (HELP|TYPE) byre_job_\w+ .+", line), line
        continue
    m = re.fullmatch(r'(byre_job_\w+)\{name="web"\} (\S+)', line)
    assert m, line
    values[m[1]] = float(m[2])
assert abs(values["byre_job_last_success_timestamp_seconds"] - time.time()) < 300, values
assert values["byre_job_exit_code"] == 0 and values["byre_job_duration_seconds"] > 0
assert values["byre_job_bytes_stored"] > 0 and "byre_job_bytes_read" in values
assert text.endswith("\n") and os.stat(path).st_mode & 0o777 == 0o644
END
[ "$(find . -name 'web.prom*' | wc -l)" = 1 ] || fail "the metrics left a file behind"

expect_exit 0 byre --json run web
expect_json "d['message_type'] == 'summary' and d['jobs_run'] == 1 and d['exit_code'] == 0"
expect_json "all[-2]['message_type'] == 'job' and all[-2]['bytes_stored'] > 0"
expect_json "[l['step'] for l in all if l['message_type'] == 'step'] == ['backup', 'forget', 'prune', 'check']"
expect_equal "$(archives)" 2 "archives that --keep-last 2 leaves of three"
expect_exit 0 byre -v run web
expect_says "$T/out" '^job web: backup: archive [0-9a-f]{8} saved'

# The priorities reach the steps, and nothing else.
if ! sanitized; then
    strace -f -qq -e trace=execve,ioprio_set,setpriority -o trace "$BYRE" run web 2>/dev/null
    [ "$(grep -c 'ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)) *= 0' trace)" = 4 ] ||
        fail "ionice: $(cat trace)"
    nice=$(($(nice) + 3 < 19 ? $(nice) + 3 : 19))
    [ "$(grep -c "setpriority(PRIO_PROCESS, 0, $nice) *= 0" trace)" = 4 ] || fail "nice: $(cat trace)"
fi

# What is shown would do the same: words come apart as they were.
rm -f before.* after.*
count=$(archives)
expect_exit 0 byre run --dry-run web
expect_missing before.in
expect_equal "$(archives)" "$count" "archives after a dry run"
expect_says "$T/out" "^/bin/sh -c 'cat >before.in; env >before.env; echo said'\$"
cp "$T/out" shown
PATH=$(dirname "$BYRE"):$PATH sh -e ./shown </dev/null >/dev/null 2>&1 ||
    fail "what a dry run shows does not run"
expect_says before.env '^HOME='
in_repo list --json --last 1 | python3 -c '
import json, sys
a, = json.load(sys.stdin)
assert a["name"] == "Web server" and a["tags"] == ["nightly", "two words"], a'
expect_exit 0 byre --json run --dry-run web
expect_json "all[0]['dry_run'] and all[0]['steps'][1]['argv'][-2:] == ['--name=Web server', '--keep-last=2']"

# A machine takes the place of images.
cp byre.conf kept.conf
conf 'domain = my vm' 'connect = qemu:///system' 'disks = vda, vdb' 'quiesce = yes'
expect_exit 0 byre --json run --dry-run web
expect_json "all[0]['steps'][0]['argv'][-5:] == ['--domain=my vm', '--connect=qemu:///system', '--disk=vda', '--disk=vdb', '--quiesce']"
conf 'qmp = /run/m.qmp' 'bitmap = yes' 'quiesce = no' 'overlay-dir = /var/tmp'
expect_exit 0 byre --json run --dry-run web
expect_json "all[0]['steps'][0]['argv'][-3:] == ['--name=web', '--qmp=/run/m.qmp', '--overlay-dir=/var/tmp']"
# An export is what it is called, though that looks like a pattern.
conf 'images = nbd+unix:///disk?socket=/run/n*' '  nbd+unix:///disk?socket=/run/n*'
expect_exit 0 byre --json run --dry-run web
expect_json "all[0]['steps'][0]['argv'][-2:] == ['--name=web', 'nbd+unix:///disk?socket=/run/n*']"
mv kept.conf byre.conf

# ---- failures ----
# Nothing is forgotten where nothing was saved; after and failure hooks are told.
rm -f after.* failure.*
count=$(archives)
printf 'not a qcow2' >vm/c.qcow2
sed -i 's/^keep-last = 2/keep-last = 1/' byre.conf
before=$(grep last_success_timestamp web.prom | tail -n 1)
expect_exit 1 byre run web
expect_silent "$T/out"
expect_says "$T/err" '^byre: job web: backup: .*c\.qcow2'
expect_says "$T/err" '^byre: job web: failed \(backup\), exit status 1$'
expect_equal "$(archives)" "$count" "archives after a backup that failed"
expect_says after.env '^BYRE_EXIT=1$'
expect_says failure.env '^BYRE_FAILED_STEP=backup$'
expect_json "d['exit_code'] == 1 and d['failed_step'] == 'backup' and d['archive'] is None" failure.in
expect_json "any('c.qcow2' in m['message'] for m in d['messages'])" failure.in
expect_says web.prom 'byre_job_exit_code\{name="web"\} 1$'
expect_equal "$(grep last_success_timestamp web.prom | tail -n 1)" "$before" "the last success"
expect_exit 1 byre --json run web
expect_json "d['jobs_failed'] == 1 and d['exit_code'] == 1"
grep -v '^said$' "$T/err" >errors
expect_json "all[0]['message_type'] == 'error' and d['code'] == 1" errors
rm vm/c.qcow2

# An image in use, and a pattern that matches nothing.
exec 9<>vm/a.qcow2
python3 -c '
import fcntl, struct
fcntl.fcntl(9, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))' # F_OFD_SETLK
expect_exit 11 byre run web
exec 9>&-
conf "images = $T/vm/none*.qcow2"
expect_exit 1 byre run web
expect_says "$T/err" 'byre\.conf:[0-9]+: \[job web\] images: nothing matches ".*none\*\.qcow2"'
expect_exit 1 byre run --dry-run web

# What is saved in part is said, and makes nothing older be forgotten.
conf "images = $T/vm/a.qcow2" "  $T/data" 'name = Web server' 'bitmap = yes' 'keep-last = 1' \
    'hook-failure = echo "$BYRE_EXIT $BYRE_FAILED_STEP ${#BYRE_ARCHIVE}" >failure'
count=$(archives)
expect_exit 3 byre run web
expect_equal "$(cat failure)" '3 backup 64' "what the failure hook knows"
expect_equal "$(archives)" $((count + 1)) "archives after one that lacks something"

# A hook that fails, or does not end, fails the job; the one after runs in any case.
conf "images = $T/vm/a.qcow2" 'hook-before = false' 'hook-after = echo "$BYRE_EXIT" >after' \
    'hook-failure = echo "$BYRE_FAILED_STEP" >failure'
count=$(archives)
expect_exit 1 byre run web
expect_says "$T/err" 'job web: hook-before: failed with status 1'
expect_equal "$(cat after failure)" "1
hook-before"
expect_equal "$(archives)" "$count" "archives after a hook that failed"
conf "images = $T/vm/a.qcow2" 'hook-before = cat <>never' 'hook-timeout = 1s'
mkfifo never
expect_exit 1 byre run web
expect_says "$T/err" 'hook-before: ended, since it took longer than 1 s'
conf "images = $T/vm/a.qcow2" 'hook-after = exit 7'
expect_exit 1 byre run web
expect_says "$T/err" 'hook-after: failed with status 7'
expect_equal "$(archives)" $((count + 1)) "archives after a hook-after that failed"

# All jobs are run, and the worst counts.
conf "images = $T/vm/none.qcow2"
printf '[job other]\nrepository = local\nimages = %s\n[job third]\nrepository = local\nkeep-last = x\n' \
    "$T/vm/b.qcow2" >>byre.conf
expect_exit 2 byre run other
expect_says "$T/err" 'byre\.conf:[0-9]+: \[job third\] keep-last: '
sed -i '/third/,$d' byre.conf
count=$(archives)
expect_exit 1 byre run web other
expect_equal "$(archives)" $((count + 1)) "archives of the second job"
expect_exit 2 byre run other wbe
expect_says "$T/err" 'there is no job wbe \(did you mean web\?\)'
expect_equal "$(archives)" $((count + 1)) "archives after a wrong name"

# ---- secrets ----
# The command's words are in no argument list.
cat >byre.conf <<END
[repository local]
path = $repo
password-command = printf 'correct horse battery staple'
[job web]
repository = local
check = yes
END
chmod 644 byre.conf
export BYRE_PASSWORD_FILE=$T/none
expect_exit 0 byre run web
expect_says "$T/err" 'byre\.conf has a password-command, and can be read by everybody'
if ! sanitized; then
    strace -f -qq -s 4096 -e trace=execve -o trace "$BYRE" run web 2>/dev/null
    grep -q 'staple' trace || fail "the trace does not tell"
    ! grep '"byre"' trace | grep -q staple || fail "the passphrase command is among the arguments"
fi
unset BYRE_PASSWORD_FILE
expect_exit 0 byre run --dry-run web
! grep -q staple "$T/out" || fail "a dry run shows the passphrase command"
random_file wrong-key 64 5
expect_exit 12 byre run --key-file "$T/wrong-key" web

# ---- one at a time ----
conf 'check = yes' 'hook-before = echo >up; exec cat down'
mkfifo up down
"$BYRE" run web &
first=$!
read -r <up
expect_exit 1 byre run web
expect_says "$T/err" 'job web: lock: it is running already'
echo >down
wait $first || fail "the first was disturbed"
"$BYRE" run web 2>/dev/null &
first=$!
read -r <up
kill -KILL $first
{ wait $first || true; } 2>/dev/null
conf 'check = yes'
expect_exit 0 byre run web

# ---- stopped ----
random_file slow $((16 << 20)) 9
conf "images = $T/slow" 'rate-limit = 500 KiB/s' 'hook-after = echo "$BYRE_EXIT" >after' \
    'hook-failure = echo "$BYRE_FAILED_STEP" >failure'
rm -f after failure
count=$(archives)
mkfifo lines

# start: runs the job, and returns when its backup has begun; ${job} is its process.
start() {
    local line
    "$BYRE" --json run web >lines 2>"$T/err" &
    job=$!
    exec 8<lines
    read -r line <&8
    [[ $line == *'"percent_done":0'* ]] || fail "no progress: $line"
}

start
kill -TERM "$job"
cat <&8 >rest
code=0
wait "$job" || code=$?
expect_equal "$code" 143 "exit code of a job that was stopped"
expect_equal "$(cat after failure)" "143
backup"
expect_json "d['message_type'] == 'summary' and d['exit_code'] == 143" rest
expect_equal "$(archives)" "$count" "archives of a job that was stopped"

# Killed outright, it leaves no step behind that goes on.
start
step=$(python3 -c '
import glob, sys
for name in glob.glob("/proc/[0-9]*/stat"):
    try: fields = open(name).read().rpartition(")")[2].split()
    except OSError: continue
    if fields[1] == sys.argv[1]: print(name.split("/")[2])' "$job")
kill -KILL "$job"
{ wait "$job" || true; } 2>/dev/null
timeout 20 tail -f --pid="${step:?}" /dev/null || fail "the step goes on alone"
expect_equal "$(archives)" "$count" "archives of a job that was killed"

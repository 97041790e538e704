# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Machines for the scenarios of live backup: a qemu-storage-daemon, whose guests are NBD clients.
# To be sourced after lib.sh.

machine_pid=

# machine NODE=FILE...: starts one with these disks, each an export of the same name. The format is
# raw for *.raw, else qcow2. QSD_OPTIONS goes first.
machine() {
    local disk node file options=()
    rm -f "$T/qmp.sock" "$T/nbd.sock"
    for disk; do
        node=${disk%%=*} file=$T/${disk#*=}
        case $file in
        *.raw) options+=(--blockdev "driver=raw,node-name=$node,file.driver=file,file.filename=$file") ;;
        *) options+=(--blockdev "driver=qcow2,node-name=$node,discard=unmap,file.driver=file,file.filename=$file${LUKS:+,encrypt.format=luks,encrypt.key-secret=disk}") ;;
        esac
        options+=(--export "type=nbd,id=x-$node,name=$node,node-name=$node,writable=on")
    done
    qemu-storage-daemon ${LUKS:+--object "secret,id=disk,file=$LUKS"} \
        --nbd-server "addr.type=unix,addr.path=$T/nbd.sock" "${options[@]}" \
        --chardev "socket,id=qmp,path=$T/qmp.sock,server=on,wait=off" --monitor chardev=qmp \
        --daemonize --pidfile "$T/qsd.pid" || fail "the machine does not start"
    machine_pid=$(cat "$T/qsd.pid")
}

machine_ended() {
    for _ in {1..500}; do
        kill -0 "$machine_pid" 2>/dev/null || { machine_pid=; return 0; }
        read -rt 0.02 <> <(:) || true
    done
    fail "the machine does not end"
}
# shut_down, crash: it ends in order, or at once.
shut_down() { kill "$machine_pid" && machine_ended; }
crash() { kill -9 "$machine_pid" && machine_ended; }
# shellcheck disable=SC2016
at_end '[ -z "$machine_pid" ] || kill -9 "$machine_pid"'

# guest NODE COMMAND...: qemu-io in the guest, flushed.
guest() {
    local node=$1 command args=()
    shift
    for command; do args+=(-c "$command"); done
    qemu-io -f raw "${args[@]}" -c flush "nbd+unix:///$node?socket=$T/nbd.sock" >"$T/qemu-io" 2>&1 ||
        { cat "$T/qemu-io" >&2; fail "the guest cannot: $*"; }
    ! grep -qiE 'fail|error|invalid' "$T/qemu-io" || { cat "$T/qemu-io" >&2; fail "the guest: $*"; }
}

# guest_copy NODE FILE: what the guest sees now.
guest_copy() { qemu-img convert -f raw -O raw "nbd+unix:///$1?socket=$T/nbd.sock" "$2"; }

# qmp EXPRESSION [COMMAND [ARGUMENTS]]...: runs them, and prints the Python expression of r, the list
# of what they returned. QMP is the monitor, if not byre's.
qmp() {
    python3 -c '
import json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rw")
def reply():
    while True:
        m = json.loads(f.readline())
        if "event" not in m: return m
r = []
f.readline()
for c in [["qmp_capabilities", "{}"]] + [sys.argv[i:i + 2] for i in range(3, len(sys.argv), 2)]:
    f.write(json.dumps({"execute": c[0], "arguments": json.loads(c[1])}) + "\n"); f.flush()
    m = reply()
    if "return" not in m: sys.exit(c[0] + ": " + m["error"]["desc"])
    r.append(m["return"])
r = r[1:]
print(eval(sys.argv[2]))' "${QMP:-$T/qmp.sock}" "$@"
}

# nodes: "NODE FILE" of what the machine has open for writing, sorted.
nodes() {
    qmp '"\n".join(sorted(n["node-name"] + " " + n["file"].split("/")[-1] for n in r[0]
         if not n["ro"] and n["drv"] in ("qcow2", "raw")))' query-named-block-nodes '{"flat": true}'
}

# back_on NODE=FILE...: the machine writes to these, and nothing is left of a backup.
back_on() {
    expect_equal "$(nodes)" "$(printf '%s\n' "${@/=/ }" | sort)" "what the machine writes to"
    nothing_left_of_it
}

nothing_left_of_it() {
    local left
    # what was killed may have left its empty lock, which the next one takes over
    left=$(find "$T" -name '*.byre-live*' -o -path "$T/state/live/*" ! -name '*.lock' ! -name '*.tmp')
    [ -z "$left" ] || fail "left: $left"
    expect_exit 0 byre live status
    expect_says "$T/out" 'nothing is left'
}

# held OPTION...: starts a backup of the machine in the background, and stops it while it reads. It
# reads so slowly that it cannot be over before.
# shellcheck disable=SC2120
held() {
    local line
    rm -f "$T/lines"
    mkfifo "$T/lines"
    "$BYRE" --json backup --qmp "$T/qmp.sock" --compression 19 --threads 1 "$@" \
        >"$T/lines" 2>"$T/held.err" &
    held_pid=$!
    exec 7<"$T/lines"
    while IFS= read -r line <&7; do
        [[ $line != *percent_done* ]] && continue
        kill -STOP "$held_pid"
        return
    done
    cat "$T/held.err" >&2
    fail "the backup was over before it could be held"
}

# released [CODE]: lets it go on to its end; its summary is in ${T}/out.
# shellcheck disable=SC2120
released() {
    local code=0
    kill -CONT "$held_pid"
    cat <&7 >"$T/out"
    exec 7<&-
    wait "$held_pid" || code=$?
    [ "$code" = "${1:-0}" ] || { cat "$T/held.err" >&2; fail "exit $code, not ${1:-0}: the held backup"; }
}

# killed_while_held: and byre is dead.
killed_while_held() {
    kill -9 "$held_pid"
    exec 7<&-
    wait "$held_pid" 2>/dev/null || true
}

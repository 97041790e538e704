# SPDX-License-Identifier: BSD-2-Clause
"""hold.py PLAN.json: holds restored layers against their sources, with qemu-img, qemu-nbd and image.py.
Prints what differs, and exits 1 then."""
import json
import os
import subprocess
import sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import image  # noqa: E402
import nbd  # noqa: E402

plan = json.load(open(sys.argv[1], encoding="utf-8"))
scratch = plan["scratch"]
problems = []


def run(*command, ok=(0,)):
    p = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape")
    if p.returncode not in ok:
        problems.append(f"{' '.join(command)}: exit {p.returncode}: {(p.stderr or p.stdout).strip()[:400]}")
        return None
    return p


def quoted(path):
    return os.path.abspath(path).replace(",", ",,")


def is_qcow2(path):
    with open(path, "rb") as f:
        return f.read(4) == b"QFI\xfb"


def data_file(path):
    data, _ = image.Image(path).extension(image.DATA_FILE)
    return data and os.path.join(os.path.dirname(os.path.abspath(path)), os.fsdecode(data))


def options(path, secret=None, data=None, prefix="", lone=True, keys=None):
    """--image-opts of a qcow2 file; with its backing files where not ${lone}."""
    out = [f"{prefix}driver=qcow2", f"{prefix}file.driver=file", f"{prefix}file.filename={quoted(path)}"]
    if secret:
        out.append(f"{prefix}encrypt.key-secret={secret}")
    data = data or data_file(path)
    if data:
        out += [f"{prefix}data-file.driver=file", f"{prefix}data-file.filename={quoted(data)}"]
    if not lone:
        i = image.Image(path)
        if i.backing:
            base = os.path.join(os.path.dirname(os.path.abspath(path)), os.fsdecode(i.backing))
            out += options(base, keys.get(os.path.basename(base)), None, prefix + "backing.", False, keys)
    return out


def copy_alike(path, copy):
    """Without holes, for "compare -s" takes one for a zero cluster; "cp" makes holes as it likes."""
    subprocess.run(["cp", "--sparse=never" if os.path.getsize(path) < 64 << 20 else "--sparse=always", path, copy], check=True)
    os.chmod(copy, 0o600)


def lone(path, name, writable=True):
    """A copy without a backing name and, if ${writable}, without flags that forbid to write."""
    copy = os.path.join(scratch, name)
    copy_alike(path, copy)
    i = image.Image(copy, "r+b")
    i.f.truncate(image.up(i.size_of_file, i.cs))
    i.put(8, "QI", 0, 0)
    if i.version >= 3 and writable:
        i.put(72, "Q", i.incompatible & ~2)
        i.put(88, "Q", i.autoclear & ~1)
    data = data_file(path)
    if data:
        copy_alike(data, copy + ".data")
    return copy, (copy + ".data" if data else None)


def info(path):
    # Neither the image's key nor its data file is needed for this.
    p = run("qemu-img", "info", "--output=json", "-f", "qcow2", path)
    if not p:
        return {}
    d = json.loads(p.stdout)
    for k in ("actual-size", "filename", "full-backing-filename", "dirty-flag"):
        d.pop(k, None)
    if plan["ignore"]:
        data = d.get("format-specific", {}).get("data", {})
        data["bitmaps"] = [b for b in data.get("bitmaps", []) if not b["name"].startswith(plan["ignore"])]
    if plan["rewritten"]:
        d.pop("backing-filename", None)
        d.pop("backing-filename-format", None)
        d.get("format-specific", {}).get("data", {}).pop("data-file", None)
    return d


def runs(text):
    out = []
    for r in json.loads(text):
        zero = r["zero"] and not r["data"] and "offset" not in r
        item = [r["start"], r["length"], r["present"], zero, r.get("offset"), r.get("compressed")]
        p = out[-1] if out else None
        if p and p[2:4] == item[2:4] and (p[4] is None) == (item[4] is None) and \
           (p[4] is None or p[4] + p[1] == item[4]):
            p[1] += item[1]
        else:
            out.append(item)
    return out


def snapshot_ids(path):
    return [s["id"].decode() for s in image.Image(path).snapshots()]


def hold(source, restored):
    secret = plan["keys"].get(os.path.basename(source))
    objects = ["--object", f"secret,id=s,data={secret}"] if secret else []
    key = "s" if secret else None
    shown = plan["like"].get(os.path.basename(source), source)
    dropped = plan["dropped"]
    # The source itself may be beyond reading.
    a, b = image.Image(shown), image.Image(restored)
    ignore = plan["ignore"] and plan["ignore"].encode()
    problems.extend(f"{source}: {m}" for m in image.differences(a, b, dropped, ignore))
    x, y = info(shown), info(restored)
    if x != y:
        for k in sorted(x.keys() | y.keys()):
            if x.get(k) != y.get(k):
                problems.append(f"{source}: info: {k}: {x.get(k)!r} became {y.get(k)!r}")
    checked, data = restored, None
    if plan["keys"]:
        # Alone, for the base may want a key of its own.
        checked, data = lone(restored, "c.qcow2", writable=False)
    p = run("qemu-img", "check", "--output=json", *objects, "--image-opts", ",".join(options(checked, key, data)))
    if p:
        c = json.loads(p.stdout)
        if any(c.get(k) for k in ("corruptions", "leaks", "check-errors")):
            problems.append(f"{restored}: {c}")
    if plan["huge"]:
        return
    (ca, da), (cb, db) = lone(shown, "a.qcow2"), lone(restored, "b.qcow2")
    oa, ob = ",".join(options(ca, key, da)), ",".join(options(cb, key, db))
    run("qemu-img", "compare", "-q", "-s", *objects, "--image-opts", oa, ob)
    ma, mb = (run("qemu-img", "map", "--output=json", *objects, "--image-opts", o) for o in (oa, ob))
    if ma and mb and runs(ma.stdout) != runs(mb.stdout):
        ra, rb = runs(ma.stdout), runs(mb.stdout)
        problems.append(f"{source}: map: {[r for r in ra if r not in rb][:3]} became {[r for r in rb if r not in ra][:3]}")
    # What is behind the disk's end is nobody's.
    if da and a.autoclear & 2 and open(da, "rb").read(a.size) != open(db, "rb").read(a.size):
        problems.append(f"{source}: its raw data file differs")
    # Each snapshot as if it had been gone back to.
    for sid in snapshot_ids(shown):
        for path, name in ((shown, "a.qcow2"), (restored, "b.qcow2")):
            lone(path, name)
            run("qemu-img", "snapshot", *objects, "-a", sid, "--image-opts", oa if name == "a.qcow2" else ob)
        run("qemu-img", "compare", "-q", "-s", *objects, "--image-opts", oa, ob)
        if image.Image(ca).size != image.Image(cb).size:
            problems.append(f"{source}: snapshot {sid}: size")
    # Bitmaps through QEMU's own eyes.
    if not dropped and a.autoclear & 1:
        for bitmap in a.bitmaps():
            if bitmap["flags"] & 1 or (ignore and bitmap["name"].startswith(ignore)):
                continue
            try:
                da, db = (nbd.dump(",".join(options(i, key)), objects, bitmap["name"]) for i in (shown, restored))
            except OSError as e:
                problems.append(f"{source}: bitmap {bitmap['name']!r}: {e}")
                continue
            if da != db:
                problems.append(f"{source}: bitmap {bitmap['name']!r}: {da} became {db}")


def guest_view(source, restored):
    """A chain as the guest sees it, with the keys of all its layers."""
    keys = {name: f"s{n}" for n, name in enumerate(plan["keys"])}
    objects = []
    for n, (name, secret) in enumerate(plan["keys"].items()):
        objects += ["--object", f"secret,id=s{n},data={secret}"]
    source = plan["like"].get(os.path.basename(source), source)
    if objects:
        oa, ob = (",".join(options(i, keys.get(os.path.basename(i)), lone=False, keys=keys)) for i in (source, restored))
        run("qemu-img", "compare", "-q", *objects, "--image-opts", oa, ob)
        return
    if is_qcow2(source) and source not in plan["raw"] and data_file(source):
        oa, ob = (",".join(options(i, lone=False, keys={})) for i in (source, restored))
        run("qemu-img", "compare", "-q", "--image-opts", oa, ob)
        return
    fmt = "raw" if source in plan["raw"] else "qcow2"
    run("qemu-img", "compare", "-q", "-f", fmt, "-F", fmt, source, restored)


for source, restored in plan["pairs"]:
    if not os.path.exists(restored):
        problems.append(f"{source}: {restored} is not there")
    elif source in plan["raw"]:
        if subprocess.run(["cmp", source, restored]).returncode:
            problems.append(f"{source}: the raw file differs")
    else:
        hold(source, restored)
if not plan["huge"]:
    for source, restored in plan["tops"]:
        guest_view(source, restored)
for message in problems[:25]:
    print(message)
sys.exit(bool(problems))

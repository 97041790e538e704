#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Holds restored chains against their originals, layer by layer, with qemu-img as the judge.

usage: same-layers.py RESTORED-FOLDER IMAGE...

Each layer is opened without its backing file, so that it alone is compared, and read-only. Expects
the layers where `byre restore` puts them: relative to the deepest folder that all of them share.
"""
import json
import os
import subprocess
import sys


def qemu_img(*args):
    """The output of qemu-img, or None where it failed; its complaint goes to stderr."""
    done = subprocess.run(["qemu-img", *args], stdout=subprocess.PIPE, check=False)
    return done.stdout if done.returncode == 0 else None


def chain(image):
    """What qemu-img info says of each layer, the top first."""
    out = qemu_img("info", "--backing-chain", "--output=json", image)
    if out is None:
        sys.exit(f"same-layers: {image}: qemu-img cannot read the chain")
    return json.loads(out)


def alone(path, kind):
    """A name by which qemu-img opens the layer at path without its backing file."""
    node = {"driver": kind, "file": {"driver": "file", "filename": path}}
    if kind == "qcow2":
        node["backing"] = None
    return "json:" + json.dumps(node)


def facts(path):
    """What a restore has to bring back of a layer's header."""
    info = json.loads(qemu_img("info", "--output=json", path) or "{}")
    known = ("virtual-size", "cluster-size", "format", "backing-filename-format", "snapshots")
    extra = ("compat", "compression-type", "lazy-refcounts", "refcount-bits", "extended-l2", "bitmaps")
    data = info.get("format-specific", {}).get("data", {})
    return [info.get(key) for key in known] + [data.get(key) for key in extra]


def clusters(name):
    """The runs of a layer's map. Whether the host file has a hole below data does not count."""
    runs = []
    for run in json.loads(qemu_img("map", "--output=json", name) or "null") or [{}]:
        if not run:
            return None
        state = run["present"], not run["data"], "offset" in run
        start, length, offset = run["start"], run["length"], run.get("offset", 0)
        if runs and runs[-1][0] == state and (not state[2] or runs[-1][3] + runs[-1][2] == offset):
            runs[-1][2] += length
        else:
            runs.append([state, start, length, offset])
    return runs


def judge(original, restored, kind):
    """Yields the name and the outcome of each test of one layer."""
    before, after = alone(original, kind), alone(restored, kind)
    yield "compare -s", qemu_img("compare", "-q", "-s", before, after) is not None
    if kind == "qcow2":
        yield "check", qemu_img("check", "-q", after) is not None
        yield "info", facts(original) == facts(restored)
        runs = clusters(before)
        yield "map", runs is not None and runs == clusters(after)


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: same-layers.py RESTORED-FOLDER IMAGE...")
    target, images = sys.argv[1], sys.argv[2:]
    layers = {}
    for image in images:
        for info in chain(image):
            layers[os.path.realpath(info["filename"])] = info["format"]
    folder = os.path.commonpath([os.path.dirname(path) for path in layers])
    bad = 0
    for original, kind in layers.items():
        relative = os.path.relpath(original, folder)
        results = list(judge(original, os.path.join(target, relative), kind))
        wrong = [name for name, good in results if not good]
        bad += bool(wrong)
        print(f"  {'DIFFERS' if wrong else 'same':7}  {relative}  ({', '.join(wrong or [n for n, _ in results])})")
    for image in images:
        relative = os.path.relpath(os.path.realpath(image), folder)
        good = qemu_img("compare", "-q", image, os.path.join(target, relative)) is not None
        bad += not good
        print(f"  {'same' if good else 'DIFFERS':7}  {relative} as its guest sees it, through the whole chain")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

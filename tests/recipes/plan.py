# SPDX-License-Identifier: BSD-2-Clause
"""plan.py PLACE REWRITTEN HUGE DROPPED: what hold.py has to hold, from the output of `byre show --json`
(PLACE/show), of `byre restore --json` (PLACE/out) and facts about the layers (PLACE/facts). Writes
PLACE/plan, and prints the restored tops."""
import glob
import json
import sys

place, flags = sys.argv[1], dict(zip(("rewritten", "huge", "dropped"), (a == "true" for a in sys.argv[2:])))
show = json.load(open(place + "/show"))
files = [json.loads(line) for line in open(place + "/out")][-1]["files"]
plan = dict(flags, scratch=place + "/scratch", keys={}, like={}, ignore=None, raw=[], pairs=[], tops=[])
for line in open(place + "/facts"):
    kind, *rest = line.rstrip("\n").split("\t")
    if kind == "ignore":
        plan["ignore"] = rest[0]
    elif kind != "raw":
        plan["keys" if kind == "key" else "like"][rest[0]] = rest[1]


def real(path):
    # JSON cannot say what is not UTF-8.
    return glob.glob(path.replace("\ufffd", "?"))[0] if "\ufffd" in path else path


path_of = {layer["id"]: real(layer["path"]) for layer in show["layers"]}
back = {}
for f in files:
    if f["layer"] in path_of and f["layer"] not in back:
        back[f["layer"]] = real(f["path"])
        plan["pairs"].append((path_of[f["layer"]], back[f["layer"]]))
plan["raw"] = [real(layer["path"]) for layer in show["layers"] if layer["format"] == "raw"]
plan["tops"] = [(path_of[i["layers"][0]], back[i["layers"][0]]) for i in show["images"]]
json.dump(plan, open(place + "/plan", "w"))
assert set(path_of) == set(back), (path_of, back)
print(json.dumps([top[1] for top in plan["tops"]]))

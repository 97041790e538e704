# SPDX-License-Identifier: BSD-2-Clause
"""Backups of a world, and a reference of its own for each: copies of the files, as they were."""
import json
import os
import shutil
import subprocess
import sys
from collections import Counter

from tools import SECRET, Failure, killed, run

HOLD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "recipes", "hold.py")


class Archives:
    def __init__(self, byre, folder, log):
        self.byre, self.folder, self.log = byre, folder, log
        self.references = []  # (id, {path of a layer: its copy}, tops, secrets)
        self.rules = Counter()
        self.seconds = 0.2
        self.cache = os.path.join(folder, "cache")
        key = os.path.join(folder, "key")
        with open(key, "w", encoding="ascii") as f:
            f.write("k" * 64)
        os.chmod(key, 0o600)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("BYRE_")}
        self.env.update(LC_ALL="C", PYTHONDONTWRITEBYTECODE="1", BYRE_REPOSITORY=os.path.join(folder, "repo"),
                        BYRE_KEY_FILE=key, BYRE_CACHE_DIR=self.cache, BYRE_STATE_DIR=os.path.join(folder, "state"))
        self.call(["init", "--reserve", "0"], [0])

    def call(self, args, good):
        return run(self.log, self.byre, *args, cwd=self.folder, env=self.env, good=good).stdout

    def drop_cache(self):
        self.log("  the cache is deleted")
        shutil.rmtree(self.cache, ignore_errors=True)

    def kill_one(self, folder, args, after, whole_group):
        """A backup that is killed. It may have been done before; that archive has no reference."""
        killed(self.log, [self.byre, "backup", "--json", *args], self.env, after * self.seconds, whole_group, folder)

    def back_up(self, folder, args, tops, secrets, code):
        """Saves ${tops}, which has to exit with ${code}, and copies all files that the archive says it holds."""
        done = run(self.log, self.byre, "backup", "--json", *args, *tops, cwd=folder, env=self.env, good=[code])
        summary = json.loads(done.stdout.splitlines()[-1])
        self.seconds = max(0.05, summary["seconds"])
        show = json.loads(self.call(["show", "--json", summary["archive"]], [0]))
        reference = os.path.join(self.folder, "references", str(len(self.references)))
        os.makedirs(reference)
        copies = {}
        for layer in show["layers"]:
            self.rules[layer["delta"]] += 1
            copies[layer["path"]] = os.path.join(reference, os.path.basename(layer["path"]))
            subprocess.run(["cp", "--reflink=auto", "--sparse=always", "--preserve=mode,timestamps", layer["path"],
                            copies[layer["path"]]], check=True)
        self.references.append((summary["archive"], copies, secrets))
        self.log(f"  reference {len(self.references) - 1}: archive {summary['archive'][:12]}, "
                 + ", ".join(f"{os.path.basename(layer['path'])} {layer['delta']}" for layer in show["layers"]))
        return len(self.references) - 1

    def verify(self, number):
        """Restores an archive and holds every layer against its copy, alone and each snapshot of it."""
        archive, copies, secrets = self.references[number]
        back, scratch = os.path.join(self.folder, "back"), os.path.join(self.folder, "scratch")
        for folder in back, scratch:
            shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(scratch)
        show = json.loads(self.call(["show", "--json", archive], [0]))
        out = self.call(["restore", "--json", "--verify", "--to", back, archive], [0])
        files = {f["layer"]: os.path.join(self.folder, f["path"]) for f in json.loads(out.splitlines()[-1])["files"]}
        source = {layer["id"]: copies[layer["path"]] for layer in show["layers"]}
        if set(files) != set(source):
            raise Failure(f"reference {number}: restore and show do not name the same layers")
        plan = {"scratch": scratch, "rewritten": False, "huge": False, "dropped": False, "like": {}, "ignore": "byre-",
                "keys": {name: SECRET for name in secrets},
                "raw": [source[layer["id"]] for layer in show["layers"] if layer["format"] == "raw"],
                "pairs": [(source[i], files[i]) for i in source],
                "tops": [(source[i["layers"][0]], files[i["layers"][0]]) for i in show["images"]]}
        with open(os.path.join(self.folder, "plan"), "w", encoding="utf-8") as f:
            json.dump(plan, f)
        done = subprocess.run([sys.executable, HOLD, os.path.join(self.folder, "plan")], capture_output=True, text=True,
                              env=self.env, check=False)
        if done.returncode:
            rules = {os.path.basename(layer["path"]): (layer["delta"], layer["delta_reason"]) for layer in show["layers"]}
            raise Failure(f"reference {number}, archive {archive}, rules {rules}:\n{done.stdout}{done.stderr}")
        shutil.rmtree(back)

    def verify_all(self):
        for number in range(len(self.references)):
            self.verify(number)
        self.call(["check", "--read-data"], [0])

#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Hundreds of random steps on random disks, with backups in between; at the end every archive has to hold what the files
held. usage: run.py [--seed N] [--steps M] [--folder DIR] [--worlds W] [--kind KIND] [--each] [--keep]

Each of the W worlds is a process of its own with a repository of its own: world i has seed N + i, and a kind of
disk of its own unless one is named. A failure names its seed and step, and leaves DIR with the log; the same
seed makes the same steps again, but for the moments at which a backup is killed. ${BYRE} is the program.
--each restores every archive at once, so that the step that spoilt it is the last one."""
import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import KINDS, World  # noqa: E402
from tools import Failure, adopt_orphans  # noqa: E402


def one_world(byre, folder, seed, kind, steps, each, results):
    os.makedirs(folder)
    # No other byre's settings, no other language.
    os.environ["LC_ALL"] = "C"
    start, step, name = time.monotonic(), 0, "begin"
    with open(os.path.join(folder, "log"), "w", encoding="utf-8", buffering=1) as out:
        def log(line):
            print(f"{time.monotonic() - start:8.2f} {line}", file=out)

        try:
            adopt_orphans()
            world = World(byre, folder, seed, kind, log)
            for step in range(1, steps + 1):
                log(f"step {step}")
                name, reference = world.step()
                if each and reference is not None:
                    world.archives.verify(reference)
            step, name = steps + 1, "the last backup"
            world.step_backup(always=True)
            name = "restoring all archives"
            world.archives.verify_all()
            rules = ", ".join(f"{rule} {count}" for rule, count in sorted(world.archives.rules.items()))
            results.put((seed, None, f"seed {seed}, {kind}: {steps} steps, {len(world.archives.references)} archives, "
                         f"layers {rules}, {time.monotonic() - start:.0f} s"))
        except Exception as e:
            text = str(e) if isinstance(e, Failure) else traceback.format_exc()
            log(f"FAILED: {text}")
            results.put((seed, folder, f"FAILED: seed {seed}, {kind}, step {step} ({name}):\n{text}\n"
                         f"again: {sys.argv[0]} --seed {seed} --steps {steps} --kind {kind} --worlds 1 --each\n"
                         f"log: {folder}/log"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folder", help="a folder to be made; default: a temporary one, gone at the end unless it failed")
    parser.add_argument("--worlds", type=int, default=len(KINDS))
    parser.add_argument("--kind", choices=sorted(set(KINDS)))
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the folder in any case")
    args = parser.parse_args()
    byre = os.environ.get("BYRE")
    if not byre:
        sys.exit("run.py: set BYRE to the path of the program under test")
    for tool in ("qemu-img", "qemu-io", "qemu-nbd"):
        if not shutil.which(tool):
            print(f"SKIPPED: {tool} is not installed")
            return
    byre = os.path.realpath(byre)
    folder = args.folder or tempfile.mkdtemp(prefix="byre-random.")
    os.makedirs(folder, exist_ok=True)
    results = multiprocessing.Queue()
    worlds = [(args.seed + i, args.kind or KINDS[(args.seed + i) % len(KINDS)]) for i in range(args.worlds)]
    processes = [multiprocessing.Process(target=one_world, args=(byre, os.path.join(folder, str(seed)), seed, kind, args.steps,
                                                                 args.each, results)) for seed, kind in worlds]
    # More than the cores, for they wait now and then.
    running, failed = 0, False
    for process in processes + [None] * len(processes):
        if running and (process is None or running >= (os.cpu_count() or 1) + 1):
            _, left, text = results.get()
            running -= 1
            print(text, flush=True)
            failed = failed or left is not None
        if process is not None:
            process.start()
            running += 1
    for process in processes:
        process.join()
    if failed or args.keep:
        print(f"left in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(failed)


if __name__ == "__main__":
    main()

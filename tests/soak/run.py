#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Many processes at work on one repository, for a while: backups of disks that change, forget by rules, prune with and
without grace, check, tag, copies to another repository, restores. usage: run.py [--seconds S] [--processes N]
[--seed N] [--folder DIR] [--keep]

Each process has disks, a home and a state folder of its own. A command may exit only as it is documented; what is live is
restored now and then, and all of it at the end, and has to be what qemu-img read from the disk when it was backed
up. ${BYRE} is the program. The seed decides on the disks; which command meets which is chance."""
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
from worker import Byre, Failure, Worker, sha256_of  # noqa: E402


def work(byre, folder, number, seed, end, stop, results):
    try:
        worker = Worker(byre, folder, number, seed)
        while time.monotonic() < end and not stop.is_set():
            worker.step()
        results.put((number, None, worker.references, worker.copies, worker.counts))
    except Exception as e:
        stop.set()
        text = str(e) if isinstance(e, Failure) else traceback.format_exc()
        results.put((number, text, {}, {}, {}))


def run_workers(byre, arguments):
    stop, results = multiprocessing.Event(), multiprocessing.Queue()
    end = time.monotonic() + arguments.seconds
    processes = [multiprocessing.Process(target=work, args=(byre, arguments.folder, i, arguments.seed, end, stop, results))
                 for i in range(arguments.processes)]
    for process in processes:
        process.start()
    references, copies, counts = {}, {}, {}
    failures = []
    for _ in processes:
        number, failure, some_references, some_copies, some_counts = results.get()
        if failure:
            failures.append(f"process {number}: {failure}")
        references.update(some_references)
        copies.update(some_copies)
        for what, count in some_counts.items():
            counts[what] = counts.get(what, 0) + count
    for process in processes:
        process.join()
    if failures:
        raise Failure("\n".join(failures))
    return references, copies, counts


def compare_all(byre, repository, references, folder):
    """Restores every live archive of the repository, and returns how many there are."""
    live = byre.live(repository)
    for archive in live:
        if archive not in references:
            raise Failure(f"{repository}: nobody has made archive {archive}")
        target = os.path.join(folder, "restored")
        byre.run("restore", archive, "--format", "raw", "--to", target, repo=repository)
        if sha256_of(target) != references[archive]:
            raise Failure(f"{repository}: archive {archive} is another disk than was backed up")
        os.unlink(target)
    return len(live)


def soak(arguments):
    byre = Byre(os.path.realpath(os.environ["BYRE"]), arguments.folder, "last")
    byre.run("init", "--reserve", "1M")
    byre.run("init", "--reserve", "1M", "--chunker-from", byre.repository, repo=byre.copies)
    references, copies, counts = run_workers(byre, arguments)
    restored = 0
    for repository, expected in (byre.repository, references), (byre.copies, copies):
        for step in ("before", "after"):
            byre.run("check", "--read-data", repo=repository)
            left = os.listdir(os.path.join(repository, "tmp"))
            if left:
                raise Failure(f"{repository}: left in tmp/: {left}")
            if step == "before":
                byre.run("prune", "--no-grace", "--max-unused", "0", repo=repository)
        restored += compare_all(byre, repository, expected, arguments.folder)
    told = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
    print(f"soak: {arguments.processes} processes, {arguments.seconds} s: {told}; {restored} archives restored equal "
          "at the end")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="must not be there")
    parser.add_argument("--keep", action="store_true", help="leave the folder, though all is well")
    arguments = parser.parse_args()
    if arguments.folder:
        os.mkdir(arguments.folder)
        arguments.folder = os.path.realpath(arguments.folder)
    else:
        arguments.folder = tempfile.mkdtemp(prefix="byre-soak.")
    os.environ["LC_ALL"] = "C"
    for name in [name for name in os.environ if name.startswith("BYRE_")]:
        del os.environ[name]
    try:
        soak(arguments)
    except Failure as e:
        print(f"FAILED, see {arguments.folder}:\n{e}")
        return 1
    if not arguments.keep:
        shutil.rmtree(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: BSD-2-Clause
"""The programs that a world is driven with: qemu-img, qemu-io and the byre under test."""
import ctypes
import os
import signal
import subprocess
import time

SECRET = "abc"


class Failure(Exception):
    """What the test is there to find."""


def run(log, *command, cwd=None, env=None, good=None):
    """Runs ${command}, logs it with its outcome, and returns it; an exit code that is not in ${good} is a Failure."""
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", check=False)
    said = (done.stderr or done.stdout).strip().splitlines()
    log(f"  [{done.returncode}] {' '.join(command)}" + (f"  # {said[-1]}" if done.returncode and said else ""))
    if good is not None and done.returncode not in good:
        raise Failure(f"exit {done.returncode}: {' '.join(command)}: {' / '.join(said[-4:])}")
    return done


def unlocked(log, *command, cwd=None):
    """The same for a program that writes to an image. It may refuse what is asked; but a lock goes away by itself,
    for its holder was killed a moment ago."""
    for _ in range(100):
        done = run(log, *command, cwd=cwd)
        if 'Failed to get "' not in done.stderr + done.stdout:
            break
        time.sleep(0.05)
    return done


def options(disk):
    """How the tools are told to open the qcow2 or raw file ${disk}."""
    if disk.luks:
        return ["--object", f"secret,id=s0,data={SECRET}", "--image-opts",
                f"driver=qcow2,file.filename={disk.name},encrypt.key-secret=s0"]
    return ["-f", disk.kind, disk.name]


def qemu_io(log, folder, disk, *commands, flags=()):
    args = [word for command in commands for word in ("-c", command)]
    return unlocked(log, "qemu-io", *flags, *args, *options(disk), cwd=folder)


def qemu_img(log, folder, *args):
    return unlocked(log, "qemu-img", *args, cwd=folder)


def adopt_orphans():
    """From here on a process whose parent was killed is a child of this one (PR_SET_CHILD_SUBREAPER)."""
    if ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def wait_for_orphans():
    """A qemu-img may outlive the byre that started it, and holds the image for a moment."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def killed(log, command, env, after, whole_group, cwd):
    """Starts ${command}, kills it after so many seconds, with its children where ${whole_group}. Returns the exit code, which
    tells whether it came to an end before."""
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    wait_for_orphans()
    log(f"  [{process.returncode}] {' '.join(command)}  # killed after {after:.3f} s")
    return process.returncode

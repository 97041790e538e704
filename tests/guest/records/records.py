#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs in the guest of live.sh. Writes numbered records to a file on the first disk, then to one on the second, then to
PostgreSQL, each of them to the disk before the next; the number is told to the host only then, with the time since the
one before. Now and then a file makes way for another, and its room is discarded. Where there is a disk labelled VERIFY
it holds all that there is against what it should be instead, and says so on the console."""
import glob
import hashlib
import os
import re
import subprocess
import time

import psycopg2

FIRST, SECOND = "/var/lib/records/records", "/data/records"
ACKS = "/dev/virtio-ports/byre.acks"
FILLER = "/data/filler-"  # and the sum of what is in it
FILLER_SIZE = 4 << 20
PAUSE = 0.02  # seconds between two records, so that the guest is not all load


def say(text):
    with open("/dev/ttyS0", "w") as console:
        console.write(text + "\r\n")


def connect():
    for _ in range(600):
        try:
            return psycopg2.connect(dbname="postgres", user="postgres", connect_timeout=10)
        except psycopg2.OperationalError as e:
            why = e
            time.sleep(0.5)
    raise why


def payload_of(n):
    return hashlib.shake_128(str(n).encode()).hexdigest(512)


def sum_of(n, payload, written):
    return hashlib.sha256(f"{n}|{payload}|{written}".encode()).hexdigest()


def append(file, line):
    file.write(line)
    os.fsync(file.fileno())


def replace_filler():
    old = glob.glob(FILLER + "*")
    content = os.urandom(FILLER_SIZE)
    with open("/data/new", "wb", 0) as f:
        append(f, content)
    os.rename("/data/new", FILLER + hashlib.sha256(content).hexdigest())
    for path in old:
        os.unlink(path)


def write():
    database = connect()
    cursor = database.cursor()
    cursor.execute("CREATE TABLE record (n bigint PRIMARY KEY, payload text, written bigint, sum text)")
    cursor.execute("CREATE TABLE counter (n bigint)")
    cursor.execute("INSERT INTO counter VALUES (0)")
    database.commit()
    n, last, told = 0, None, time.monotonic()
    with open(FIRST, "xb", 0) as first, open(SECOND, "xb", 0) as second, open(ACKS, "wb", 0) as acks:
        while True:
            n += 1
            payload, written = payload_of(n), time.time_ns()
            line = f"{n} {payload} {written} {sum_of(n, payload, written)}\n"
            append(first, line.encode())
            append(second, line.encode())
            cursor.execute("INSERT INTO record VALUES (%s, %s, %s, %s)", line.split())
            cursor.execute("UPDATE counter SET n = %s", (n,))
            database.commit()
            now = time.monotonic()
            acks.write(b"%d %d\n" % (n, (now - (last or now)) * 1e6))
            last = now
            if n % 100 == 0:
                replace_filler()
            if now - told >= 10:
                say(f"RECORDS {n}")
                told = now
            time.sleep(PAUSE)


class Verifier:
    def __init__(self):
        self.torn = 0

    def held(self, rows):
        """The last number of ${rows}, each a record's fields; whatever is not the next one, whole, is torn."""
        last = 0
        for row in rows:
            n, payload, written, sum_ = ([str(x) for x in row] + [""] * 4)[:4]
            if n == str(last + 1) and payload == payload_of(n) and sum_ == sum_of(n, payload, written):
                last += 1
            else:
                self.torn += 1
        return last

    def file(self, path):
        with open(path) as f:
            return self.held(line.split() if line.endswith("\n") else ["cut"] for line in f)

    def filler(self):
        for path in glob.glob(FILLER + "*"):
            with open(path, "rb") as f:
                self.torn += hashlib.sha256(f.read()).hexdigest() != path.removeprefix(FILLER)

    def database(self):
        database = connect()
        cursor = database.cursor()
        cursor.execute("SELECT n, payload, written, sum FROM record ORDER BY n")
        last = self.held(cursor)
        cursor.execute("SELECT n FROM counter")
        counter = cursor.fetchall()
        database.close()
        if counter != [(last,)]:
            self.torn += 1
        return last


def ext4_errors():
    count = sum(int(open(path).read()) for path in glob.glob("/sys/fs/ext4/*/errors_count"))
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    return count + len(re.findall(r"EXT4-fs error|EXT4-fs warning|I/O error|JBD2: .*(?:error|bad)", log))


def amcheck():
    """PostgreSQL's own opinion of the tables and their indexes."""
    program = glob.glob("/usr/lib/postgresql/*/bin/pg_amcheck")[0]
    done = subprocess.run([program, "-U", "postgres", "-d", "postgres", "--install-missing", "--heapallindexed",
                           "--table", "record", "--table", "counter"], capture_output=True, text=True)
    return "clean" if done.returncode == 0 else "DAMAGED:" + repr(done.stdout + done.stderr)


def verify():
    verifier = Verifier()
    first, second, database = verifier.file(FIRST), verifier.file(SECOND), verifier.database()
    verifier.filler()
    tables = amcheck()
    # The files of the system are looked at by a service of their own, which goes on meanwhile.
    done = ["systemctl", "show", "-P", "ExecMainExitTimestampMonotonic", "whole.service"]
    while subprocess.run(done, capture_output=True, text=True, check=True).stdout.strip() == "0":
        time.sleep(0.5)
    while True:  # the console may be taken over by its login prompt meanwhile
        say(f"VERIFY first={first} second={second} database={database} torn={verifier.torn} "
            f"errors={ext4_errors()} tables={tables} end")
        time.sleep(3)


if os.path.exists("/dev/disk/by-label/VERIFY"):
    try:
        verify()
    except Exception as e:
        while True:
            say(f"VERIFY failed: {e!r} end")
            time.sleep(3)
write()

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QEMU's byte locks as a reader takes and probes them; of a block device, whose
 * nodes do not share locks, the writers that opener.c finds. Opens no image and
 * waits for nobody.
 */
#include "qcow2/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qcow2/opener.h"

/* "I use permission i" is byte USE + i, "I do not share permission i" UNSHARED + i. */
enum {
    USE = 100,
    UNSHARED = 200,
    CONSISTENT_READ = 0,
    WRITE = 1,
    RESIZE = 3,
    BYRE = 299, /* held by a reading byre, known to nobody else */
};

static struct flock byte_range(short type, off_t start, off_t len)
{
    /* An l_pid of 0 is what the OFD commands demand. */
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
}

static int take(int fd, const char *name, off_t byte, struct error *err)
{
    struct flock lock = byte_range(F_RDLCK, byte, 1);

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return error_set(err, ERROR_IN_USE, "%s: in use: somebody has locked it exclusively", name);
    return error_sys(err, errno, "%s: cannot lock byte %lld", name, (long long)byte);
}

/* Sets ${*held} to whether a lock of ${type} on ${len} bytes (0: all) from ${start} on would meet
 * somebody else's: every other open file description, even of this process. */
static int probe(int fd, const char *name, short type, off_t start, off_t len, bool *held,
                 struct error *err)
{
    struct flock lock = byte_range(type, start, len);

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return error_sys(err, errno, "%s: cannot look for locks", name);
    *held = lock.l_type != F_UNLCK;
    return 0;
}

/*
 * A probe tells of one holder only, not of all. So with byte 299 held by another byre, a machine
 * that reads the file at the same time cannot be told from it, and does not count.
 */
static int find_reader(int fd, const char *name, bool *found, struct error *err)
{
    bool uses = false, unshares = false, byre = false;
    int rc;

    if ((rc = probe(fd, name, F_WRLCK, USE + CONSISTENT_READ, 1, &uses, err)) < 0 ||
        (rc = probe(fd, name, F_WRLCK, UNSHARED + WRITE, 1, &unshares, err)) < 0 ||
        (rc = probe(fd, name, F_WRLCK, BYRE, 1, &byre, err)) < 0)
        return rc;
    *found = (uses || unshares) && !byre;
    return 0;
}

/* Says that ${what} somebody does, and who it is where that can be seen. */
static int refuse_conflict(int fd, const char *name, const char *what, off_t byte,
                           struct error *err)
{
    struct opener writer = {0};
    struct stat st;

    if (fstat(fd, &st) == 0)
        opener_find_writer(&st, &writer);
    return error_set(err, ERROR_IN_USE, "%s: in use: %s (lock on byte %lld)%s%s%s%s%s", name, what,
                     (long long)byte, writer.pid[0] ? "; process " : "", writer.pid,
                     writer.pid[0] ? " (" : "", writer.program,
                     writer.pid[0] ? ") has it open for writing" : "");
}

int lock_for_reading(int fd, const char *name, bool *used_as_base, struct error *err)
{
    static const off_t mine[] = {USE + CONSISTENT_READ, UNSHARED + WRITE, UNSHARED + RESIZE, BYRE};
    static const struct {
        off_t byte;
        const char *what;
    } conflicts[] = {
        {USE + WRITE, "somebody is writing to it"},
        {USE + RESIZE, "somebody may resize it"},
        {UNSHARED + CONSISTENT_READ, "somebody forbids reading it"},
    };
    bool held = false;
    int rc;

    /* Own locks first, then the look at others': whoever comes in between sees ours. */
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++)
        if ((rc = take(fd, name, mine[i], err)) < 0)
            return rc;
    for (size_t i = 0; i < sizeof conflicts / sizeof conflicts[0]; i++) {
        if ((rc = probe(fd, name, F_WRLCK, conflicts[i].byte, 1, &held, err)) < 0)
            return rc;
        if (held)
            return refuse_conflict(fd, name, conflicts[i].what, conflicts[i].byte, err);
    }
    /* Other tools' exclusive locks. A probe with F_WRLCK would meet QEMU's own readers, too, and
     * so refuse every base of a running machine. */
    if ((rc = probe(fd, name, F_RDLCK, 0, 0, &held, err)) < 0)
        return rc;
    if (held)
        return error_set(err, ERROR_IN_USE, "%s: in use: somebody has locked it exclusively", name);
    return used_as_base ? find_reader(fd, name, used_as_base, err) : 0;
}

int lock_probe_unused(int fd, const char *name, struct error *err)
{
    bool held = false;
    int rc;

    if ((rc = probe(fd, name, F_WRLCK, 0, 0, &held, err)) < 0)
        return rc;
    if (held)
        return error_set(err, ERROR_IN_USE, "%s: in use: somebody has it open and locked", name);
    return 0;
}

static int refuse_unseen(const char *name, struct error *err)
{
    return error_set(err, ERROR_IN_USE,
                     "%s: cannot look into every process for one that writes to this device; run "
                     "as root, or say that nobody does with --assume-stopped",
                     name);
}

int lock_probe_device(int fd, const char *name, struct error *err)
{
    struct opener writer;
    struct stat st;
    bool all;

    if (fstat(fd, &st) < 0)
        return error_sys(err, errno, "%s: cannot stat", name);
    if (!S_ISBLK(st.st_mode))
        return error_set(err, ERROR_USAGE, "%s: not a block device", name);
    all = opener_find_writer(&st, &writer);
    if (writer.pid[0])
        return error_set(err, ERROR_IN_USE,
                         "%s: in use: process %s (%s) has the device open for "
                         "writing",
                         name, writer.pid, writer.program);
    /* /proc may hide processes without a trace */
    return all && geteuid() == 0 ? 0 : refuse_unseen(name, err);
}

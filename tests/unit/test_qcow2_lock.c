/* SPDX-License-Identifier: BSD-2-Clause */
/* The locks against QEMU's own: who writes is seen, who reads is no hindrance, and QEMU sees us. */
#include "qcow2/lock.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qcow2_fixture.h"

/* A qemu-io that has an image open, and waits for commands. */
struct qemu {
    pid_t pid;
    int in, out;
};

/* Starts qemu-io with ${args} and the image ${name}, and returns once it has opened it. */
static struct qemu start_qemu(const char *args, const char *name)
{
    int in[2], out[2];
    struct qemu q;
    char seen[4096] = "";
    size_t len = 0;

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    q.pid = fork();
    assert_true(q.pid >= 0);
    if (q.pid == 0) {
        char command[256];

        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(out[1], 2);
        close(in[1]);
        close(out[0]);
        snprintf(command, sizeof(command), "exec qemu-io %s %s", args, name);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    q.in = in[1];
    q.out = out[0];
    assert_int_equal(write(q.in, "length\n", 7), 7);
    while (!strstr(seen, "MiB")) {
        ssize_t n = read(q.out, seen + len, sizeof(seen) - 1 - len);

        if (n <= 0)
            fail_msg("qemu-io: %s", seen);
        len += (size_t)n;
        seen[len] = '\0';
    }
    return q;
}

static void stop_qemu(struct qemu *q)
{
    close(q->in);
    close(q->out);
    waitpid(q->pid, NULL, 0);
}

static int open_for_reading(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* Locks ${name} for reading with a descriptor of its own, and lets it go. */
static int try_lock(const char *name, bool *used_as_base, struct error *err)
{
    int fd = open_for_reading(name), ret;

    ret = lock_for_reading(fd, name, used_as_base, err);
    close(fd);
    return ret;
}

static void test_nobody_else(void **state)
{
    struct error err;
    bool base = true;
    int fd;

    (void)state;
    run("qemu-img create -q -f qcow2 a.qcow2 1M");
    assert_int_equal(try_lock("a.qcow2", &base, &err), 0);
    assert_false(base);
    assert_int_equal(try_lock("a.qcow2", NULL, &err), 0);
    fd = open_for_reading("a.qcow2");
    assert_int_equal(lock_probe_unused(fd, "a.qcow2", &err), 0);
    close(fd);
}

static void test_a_writer(void **state)
{
    struct qemu q = start_qemu("-f qcow2", "a.qcow2");
    struct error err;

    (void)state;
    assert_int_equal(try_lock("a.qcow2", NULL, &err), ERROR_IN_USE);
    assert_non_null(strstr(err.message, "a.qcow2: in use"));
    stop_qemu(&q);
    assert_int_equal(try_lock("a.qcow2", NULL, &err), 0);
}

static void test_a_reader_is_no_writer(void **state)
{
    struct qemu q = start_qemu("-r -f qcow2", "a.qcow2");
    struct error err;
    bool base = false;
    int fd;

    (void)state;
    assert_int_equal(try_lock("a.qcow2", &base, &err), 0);
    assert_true(base);
    fd = open_for_reading("a.qcow2");
    assert_int_equal(lock_probe_unused(fd, "a.qcow2", &err), ERROR_IN_USE);
    close(fd);
    stop_qemu(&q);
}

static void test_the_base_of_a_running_machine(void **state)
{
    struct error err;
    bool base = false;
    struct qemu q;

    (void)state;
    run("qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2");
    q = start_qemu("-f qcow2", "over.qcow2");
    assert_int_equal(try_lock("a.qcow2", &base, &err), 0);
    assert_true(base);
    assert_int_equal(try_lock("over.qcow2", NULL, &err), ERROR_IN_USE);
    stop_qemu(&q);
}

/* Another byre does not count as somebody who uses the image as a base. */
static void test_two_of_our_own(void **state)
{
    int fd = open_for_reading("a.qcow2"), other = open_for_reading("a.qcow2");
    struct error err;
    bool base = true;

    (void)state;
    assert_int_equal(lock_for_reading(fd, "a.qcow2", &base, &err), 0);
    assert_false(base);
    base = true;
    assert_int_equal(lock_for_reading(other, "a.qcow2", &base, &err), 0);
    assert_false(base);
    assert_int_equal(lock_probe_unused(other, "a.qcow2", &err), ERROR_IN_USE);
    close(fd);
    assert_int_equal(lock_probe_unused(other, "a.qcow2", &err), 0);
    close(other);
}

static void test_qemu_may_not_write_meanwhile(void **state)
{
    int fd = open_for_reading("a.qcow2");
    struct error err;
    char *text;

    (void)state;
    assert_int_equal(lock_for_reading(fd, "a.qcow2", NULL, &err), 0);
    text = output_of("! qemu-io -f qcow2 -c 'write 0 64k' a.qcow2");
    assert_non_null(strstr(text, "Failed to get \"write\" lock"));
    free(text);
    run("qemu-io -r -f qcow2 -c 'read 0 64k' a.qcow2");
    run("qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2");
    run("qemu-io -f qcow2 -c 'write 0 64k' over.qcow2");
    close(fd);
    run("qemu-io -f qcow2 -c 'write 0 64k' a.qcow2");
}

/* A tool that is not QEMU, on any byte, with either kind of lock. */
static void test_exclusive_locks_of_others(void **state)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open("a.qcow2", O_RDWR | O_CLOEXEC);
    struct error err;

    (void)state;
    assert_true(fd >= 0);
    lock.l_start = 5000;
    lock.l_len = 1;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_int_equal(try_lock("a.qcow2", NULL, &err), ERROR_IN_USE);
    lock.l_start = 0;
    lock.l_len = 0;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_int_equal(try_lock("a.qcow2", NULL, &err), ERROR_IN_USE);
    lock.l_type = F_UNLCK;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    lock.l_type = F_WRLCK;
    assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
    assert_int_equal(try_lock("a.qcow2", NULL, &err), ERROR_IN_USE);
    close(fd);
    assert_int_equal(try_lock("a.qcow2", NULL, &err), 0);
}

/* Attaches disk.raw to a free loop device; its name goes to ${path}, its descriptor is returned. */
static int attach_loop(char path[32])
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file, number, fd = -1;

    if (control < 0)
        return -1;
    number = ioctl(control, LOOP_CTL_GET_FREE);
    close(control);
    snprintf(path, 32, "/dev/loop%d", number);
    if (number < 0 || (fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
        return -1;
    file = open("disk.raw", O_RDWR | O_CLOEXEC);
    if (ioctl(fd, LOOP_SET_FD, file) < 0) {
        close(fd);
        fd = -1;
    }
    close(file);
    return fd;
}

static void test_writers_of_a_block_device(void **state)
{
    struct error err;
    char path[32];
    int writer, reader;

    (void)state;
    run("qemu-img create -q -f raw disk.raw 1M");
    writer = attach_loop(path);
    if (writer < 0) {
        print_message("skipped: no loop device may be made here\n");
        skip();
    }
    reader = open_for_reading(path);
    assert_int_equal(lock_probe_device(reader, path, &err), ERROR_IN_USE);
    assert_non_null(strstr(err.message, "has the device open for writing"));
    close(writer);
    /* Where not every process may be looked at (not root, or a container's), that is said. */
    if (lock_probe_device(reader, path, &err) < 0) {
        assert_int_equal(err.code, ERROR_IN_USE);
        assert_non_null(strstr(err.message, "--assume-stopped"));
        print_message("not all of /proc can be read here\n");
    }
    /* Another node of the same device is the same device. */
    run("mknod other b 7 %s", path + strlen("/dev/loop"));
    writer = open("other", O_RDWR | O_CLOEXEC);
    if (writer >= 0) {
        assert_int_equal(lock_probe_device(reader, path, &err), ERROR_IN_USE);
        assert_non_null(strstr(err.message, "has the device open for writing"));
        close(writer);
    }
    ioctl(reader, LOOP_CLR_FD, 0);
    close(reader);
}

static void test_a_file_is_no_device(void **state)
{
    int fd = open_for_reading("a.qcow2");
    struct error err;

    (void)state;
    assert_int_equal(lock_probe_device(fd, "a.qcow2", &err), ERROR_USAGE);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_else),
        cmocka_unit_test(test_a_writer),
        cmocka_unit_test(test_a_reader_is_no_writer),
        cmocka_unit_test(test_the_base_of_a_running_machine),
        cmocka_unit_test(test_two_of_our_own),
        cmocka_unit_test(test_qemu_may_not_write_meanwhile),
        cmocka_unit_test(test_exclusive_locks_of_others),
        cmocka_unit_test(test_writers_of_a_block_device),
        cmocka_unit_test(test_a_file_is_no_device),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}

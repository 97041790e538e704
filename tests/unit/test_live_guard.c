/* SPDX-License-Identifier: BSD-2-Clause */
/* A guard acts when its process is killed or too slow, and not when it was released. */
#include "live_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live/guard.h"

/* The last thing: a byte into the pipe that it keeps. */
static void tell(void *arg)
{
    int fd = *(int *)arg;
    if (write(fd, "x", 1) != 1)
        _exit(1);
}

/* Whether the byte came before all writers have gone. */
static bool was_told(int fd)
{
    char byte = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    ssize_t n = read(fd, &byte, 1);
    assert_true(n >= 0);
    return n == 1;
}

static void test_released_it_does_nothing(void **state)
{
    struct error err = {0};
    struct guard *g = NULL;
    int fds[2];
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(guard_start(&g, 60, &fds[1], 1, tell, &fds[1], &err), 0);
    close(fds[1]);
    assert_false(guard_release(g));
    assert_false(was_told(fds[0]));
    close(fds[0]);
    assert_false(guard_release(NULL));
}

static void test_it_acts_when_the_time_is_up(void **state)
{
    struct error err = {0};
    struct guard *g = NULL;
    int fds[2];
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(guard_start(&g, 1, &fds[1], 1, tell, &fds[1], &err), 0);
    close(fds[1]);
    assert_true(was_told(fds[0]));
    assert_true(guard_release(g));
    close(fds[0]);
}

/* A process with a guard, killed by ${signal} to its whole group; ${fd} goes to both. */
static void kill_one(int signal, int fd)
{
    int ready[2], status;
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct guard *g = NULL, *second = NULL;
        setpgid(0, 0);
        /* The later one must not keep the earlier one waiting. */
        if (guard_start(&g, 60, &fd, 1, tell, &fd, NULL) < 0 ||
            guard_start(&second, 60, NULL, 0, tell, &fd, NULL) < 0 || write(ready[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    kill(-pid, signal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void test_it_acts_when_its_process_dies(void **state)
{
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP};
    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        kill_one(signals[i], fds[1]);
        close(fds[1]);
        assert_true(was_told(fds[0]));
        assert_false(was_told(fds[0])); /* once */
        close(fds[0]);
    }
}

static void test_it_keeps_nothing_but_what_it_needs(void **state)
{
    char path[] = "/tmp/byre-guard.XXXXXX";
    struct error err = {0};
    struct guard *g = NULL;
    int fds[2], other[2];
    char byte;
    (void)state;
    int locked = mkstemp(path);
    assert_int_equal(flock(locked, LOCK_EX), 0);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pipe(other), 0);
    int high = fcntl(other[1], F_DUPFD, 500);
    close(other[1]);
    assert_int_equal(guard_start(&g, 60, &fds[1], 1, tell, &fds[1], &err), 0);
    close(high);
    close(locked);
    /* The pipe ends and the lock goes with this process's own descriptors, while it waits. */
    assert_int_equal(read(other[0], &byte, 1), 0);
    locked = open(path, O_RDWR);
    assert_int_equal(flock(locked, LOCK_EX), 0);
    assert_false(guard_release(g));
    close(locked);
    close(other[0]);
    close(fds[0]);
    close(fds[1]);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_released_it_does_nothing),
        cmocka_unit_test(test_it_acts_when_the_time_is_up),
        cmocka_unit_test(test_it_acts_when_its_process_dies),
        cmocka_unit_test(test_it_keeps_nothing_but_what_it_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

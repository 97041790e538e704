/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest agent: a guest that says too much, nothing, or no. */
#include "live_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "live/agent.h"

/* Answers a sync; ${before} stands before the reply and its mark. */
static void sync_behind(int fd, const char *before)
{
    char reply[128];
    json_t *request = fake_hear(fd);
    const char *execute = json_string_value(json_object_get(request, "execute"));
    if (execute == NULL || strcmp(execute, "guest-sync-delimited") != 0)
        abort();
    json_t *id = json_object_get(json_object_get(request, "arguments"), "id");
    fake_say(fd, before);
    snprintf(reply, sizeof reply, "\xff{\"return\": %lld}\n", (long long)json_integer_value(id));
    fake_say(fd, reply);
    json_decref(request);
}

static struct agent *open_it(struct fake *f, void (*script)(int fd))
{
    struct error err = {0};
    struct agent *a = NULL;
    fake_start(f, script);
    if (agent_open(&a, f->path, 10, &err) < 0)
        fail_msg("%s", err.message);
    return a;
}

static void willing(int fd)
{
    /* Of another client: a reply, half a reply, and what a sync of it would have got. */
    sync_behind(fd, "{\"return\": 0}\n\xff{\"return\": 1}\n\xff{\"retur{\"return\": {");
    fake_serve(fd, "guest-fsfreeze-freeze", "{\"return\": 2}\n");
    sync_behind(fd, "");
    fake_serve(fd, "guest-fsfreeze-thaw", "{\"return\": 2}\n");
    fake_wait(fd);
}

static void test_stale_bytes_then_freeze_and_thaw(void **state)
{
    struct fake f;
    struct error err = {0};
    (void)state;
    struct agent *a = open_it(&f, willing);
    assert_int_equal(agent_freeze(a, 10, &err), 0);
    assert_int_equal(agent_thaw(a, 10, &err), 0);
    agent_close(a);
    fake_end(&f);
}

static void unwilling(int fd)
{
    sync_behind(fd, "");
    fake_serve(fd, "guest-fsfreeze-freeze",
               "{\"error\": {\"class\": \"GenericError\", \"desc\": \"hook failed\"}}\n");
    sync_behind(fd, "");
    fake_serve(fd, "guest-fsfreeze-thaw", "{\"error\": 1}\n");
}

static void test_refusals_have_the_agents_words(void **state)
{
    struct fake f;
    struct error err = {0};
    (void)state;
    struct agent *a = open_it(&f, unwilling);
    assert_int_equal(agent_freeze(a, 10, &err), ERROR_IO);
    assert_string_equal(err.message, "the guest agent refuses guest-fsfreeze-freeze: hook failed");
    assert_int_equal(agent_thaw(a, 10, &err), ERROR_IO);
    agent_close(a);
    fake_end(&f);
}

/* A freeze that takes too long: its reply is there before that of the sync behind it. */
static void slow(int fd)
{
    sync_behind(fd, "");
    fake_serve(fd, "guest-fsfreeze-freeze", "");
    sync_behind(fd, "{\"return\": 2}\n");
    fake_serve(fd, "guest-fsfreeze-thaw", "{\"return\": 7}\n");
    fake_wait(fd);
}

static void test_thaw_after_a_freeze_out_of_time(void **state)
{
    struct fake f;
    struct error err = {0};
    (void)state;
    struct agent *a = open_it(&f, slow);
    assert_int_equal(agent_freeze(a, 0, &err), ERROR_IO);
    assert_non_null(strstr(err.message, "in time"));
    assert_int_equal(agent_thaw(a, 10, &err), 0);
    agent_close(a);
    fake_end(&f);
}

/* It answers nothing any more, and the thaw must have been sent all the same. */
static void busy(int fd)
{
    sync_behind(fd, "");
    json_decref(fake_hear(fd));
    json_decref(fake_hear(fd));
    json_t *request = fake_hear(fd);
    if (strcmp(json_string_value(json_object_get(request, "execute")), "guest-fsfreeze-thaw") != 0)
        abort();
    json_decref(request);
}

static void test_thaw_is_sent_to_an_agent_that_is_busy(void **state)
{
    struct fake f;
    struct error err = {0};
    (void)state;
    struct agent *a = open_it(&f, busy);
    assert_int_equal(agent_freeze(a, 0, &err), ERROR_IO);
    assert_true(agent_thaw(a, 0, &err) < 0);
    fake_end(&f);
    agent_close(a);
}

static void silent(int fd)
{
    fake_wait(fd);
}

/* A guest that never stops talking, and never answers. */
static void babbler(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, MSG_DONTWAIT) != 0)
        fake_say(fd, "\xff{\"return\": 1}\nblah blah \xff\n");
}

static void no_end(int fd)
{
    char block[4097];
    json_decref(fake_hear(fd));
    memset(block, '[', sizeof block - 1);
    block[sizeof block - 1] = 0;
    fake_say(fd, "\xff");
    for (int i = 0; i < 64; i++)
        fake_say(fd, block);
}

static void expect_no_opening(void (*script)(int fd), unsigned seconds, int want)
{
    struct fake f;
    struct error err = {0};
    struct agent *a = NULL;
    fake_start(&f, script);
    int rc = agent_open(&a, f.path, seconds, &err);
    if (rc != want)
        fail_msg("%d: %s", rc, err.message);
    assert_null(a);
    fake_end(&f);
}

static void test_who_does_not_answer(void **state)
{
    (void)state;
    expect_no_opening(silent, 0, ERROR_NOT_FOUND);
    expect_no_opening(babbler, 1, ERROR_NOT_FOUND);
    expect_no_opening(no_end, 10, ERROR_CORRUPT);
}

static const char PORTS[] =
    "{\"return\": [{\"name\": \"type\", \"type\": \"string\"}, {\"name\": \"a\", \"type\": "
    "\"child<virtserialport>\"}, {\"name\": \"b\", \"type\": \"child<virtserialport>\"}], "
    "\"id\": \"%s\"}\n";

static void look(int fd, const char *chardevs)
{
    fake_say(fd, "{\"QMP\": {}}\n");
    fake_serve(fd, "qmp_capabilities", "{\"return\": {}, \"id\": \"%s\"}\n");
    fake_serve(fd, "qom-list", "{\"return\": [], \"id\": \"%s\"}\n");
    fake_serve(fd, "qom-list", PORTS);
    fake_serve(fd, "qom-get", "{\"return\": \"com.redhat.spice.0\", \"id\": \"%s\"}\n");
    fake_serve(fd, "qom-get", "{\"return\": \"org.qemu.guest_agent.0\", \"id\": \"%s\"}\n");
    fake_serve(fd, "qom-get", "{\"return\": \"ga\", \"id\": \"%s\"}\n");
    fake_serve(fd, "query-chardev", chardevs);
}

static void has_a_socket(int fd)
{
    look(fd, "{\"return\": [{\"label\": \"x\", \"filename\": \"unix:/x,server=on\"}, {\"label\": "
             "\"ga\", \"filename\": \"disconnected:unix:/run/a,b.sock,server=on\"}], \"id\": "
             "\"%s\"}\n");
}

static void has_a_pipe(int fd)
{
    look(fd, "{\"return\": [{\"label\": \"ga\", \"filename\": \"pipe:/x\"}], \"id\": \"%s\"}\n");
}

static void has_no_channel(int fd)
{
    fake_say(fd, "{\"QMP\": {}}\n");
    fake_serve(fd, "qmp_capabilities", "{\"return\": {}, \"id\": \"%s\"}\n");
    fake_serve(fd, "qom-list", "{\"return\": [], \"id\": \"%s\"}\n");
    fake_serve(fd, "qom-list", "{\"return\": [], \"id\": \"%s\"}\n");
}

static void expect_found(void (*script)(int fd), const char *want, const char *message)
{
    struct fake f;
    struct error err = {0};
    struct qmp *q = NULL;
    char *path = NULL;
    fake_start(&f, script);
    assert_int_equal(qmp_open(&q, f.path, 10, &err), 0);
    int rc = agent_find(q, &path, &err);
    if (want != NULL) {
        assert_int_equal(rc, 0);
        assert_string_equal(path, want);
    } else {
        assert_int_equal(rc, ERROR_NOT_FOUND);
        assert_null(path);
        assert_non_null(strstr(err.message, message));
    }
    free(path);
    qmp_close(q);
    fake_end(&f);
}

static void test_the_channel_is_found(void **state)
{
    (void)state;
    expect_found(has_a_socket, "/run/a,b.sock", NULL);
    expect_found(has_a_pipe, NULL, "no unix socket");
    expect_found(has_no_channel, NULL, "no channel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stale_bytes_then_freeze_and_thaw),
        cmocka_unit_test(test_refusals_have_the_agents_words),
        cmocka_unit_test(test_thaw_after_a_freeze_out_of_time),
        cmocka_unit_test(test_thaw_is_sent_to_an_agent_that_is_busy),
        cmocka_unit_test(test_who_does_not_answer),
        cmocka_unit_test(test_the_channel_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

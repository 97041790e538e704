/* SPDX-License-Identifier: BSD-2-Clause */
/* QMP: what comes out of order, in pieces, too late, too long or not at all. */
#include "live_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "live/qmp.h"

static const char GREETING[] = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";

static void greet(int fd)
{
    fake_say(fd, GREETING);
    fake_serve(fd, "qmp_capabilities", "{\"return\": {}, \"id\": \"%s\"}\r\n");
}

static struct qmp *open_it(struct fake *f, void (*script)(int fd))
{
    struct error err = {0};
    struct qmp *q = NULL;
    fake_start(f, script);
    if (qmp_open(&q, f->path, 10, &err) < 0)
        fail_msg("%s", err.message);
    return q;
}

static void expect_call(struct qmp *q, int want, const char *message)
{
    struct error err = {0};
    int rc = qmp_call(q, "do-it", NULL, NULL, &err);
    if (rc != want || (message && strstr(err.message, message) == NULL))
        fail_msg("%d: %s", rc, err.message);
}

static void expect_event(struct qmp *q, const char *name)
{
    struct error err = {0};
    json_t *event = NULL;
    assert_int_equal(qmp_next_event(q, 5000, &event, &err), 0);
    assert_non_null(event);
    assert_string_equal(json_string_value(json_object_get(event, "event")), name);
    json_decref(event);
}

static void events_and_strangers(int fd)
{
    greet(fd);
    json_t *request = fake_hear(fd);
    char reply[256];
    fake_say(fd, "{\"event\": \"STOP\"}\r\n{\"return\": 1, \"id\": \"byre-0\"}\r\n\r\n");
    fake_say(fd,
             "{\"error\": {\"class\": \"GenericError\", \"desc\": \"old\"}}\r\n{\"event\": \"JO");
    fake_say(fd, "B_STATUS_CHANGE\", \"data\": {\"id\": \"a\"}}\r\n");
    snprintf(reply, sizeof reply, "{\"return\": {\"n\": 42}, \"id\": \"%s\"}\r\n",
             json_string_value(json_object_get(request, "id")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(request, "arguments"), "x")), 5);
    json_decref(request);
    for (const char *p = reply; *p; p++)
        fake_say(fd, (char[]){*p, 0});
    fake_wait(fd);
}

static void test_replies_are_matched_and_events_kept(void **state)
{
    struct fake f;
    struct error err = {0};
    json_t *result = NULL, *event = NULL;
    (void)state;
    struct qmp *q = open_it(&f, events_and_strangers);
    assert_int_equal(qmp_peer(q), getpid());
    assert_int_equal(qmp_call(q, "do-it", json_pack("{s:i}", "x", 5), &result, &err), 0);
    assert_int_equal(json_integer_value(json_object_get(result, "n")), 42);
    json_decref(result);
    expect_event(q, "STOP");
    expect_event(q, "JOB_STATUS_CHANGE");
    assert_int_equal(qmp_next_event(q, 0, &event, &err), 0);
    assert_null(event);
    assert_false(qmp_is_gone(q));
    qmp_close(q);
    fake_end(&f);
}

static void refusals(int fd)
{
    greet(fd);
    fake_serve(fd, "do-it",
               "{\"id\": \"%s\", \"error\": {\"class\": \"CommandNotFound\", \"desc\": "
               "\"no do-it\"}}\r\n");
    fake_serve(
        fd, "do-it",
        "{\"id\": \"%s\", \"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no x\"}}\r\n");
    fake_serve(
        fd, "do-it",
        "{\"id\": \"%s\", \"error\": {\"class\": \"GenericError\", \"desc\": \"busy\"}}\r\n");
    fake_serve(fd, "do-it", "{\"id\": \"%s\", \"error\": 7}\r\n");
    fake_serve(fd, "do-it", "{\"id\": \"%s\"}\r\n");
    fake_serve(fd, "do-it", "[1]\r\n{\"id\": \"%s\", \"return\": 0}\r\n");
    fake_serve(fd, "do-it",
               "{\"id\": \"%s\", \"return\": 0}\r\n{\"event\": \"BLOCK_JOB_READY\"}\r\n"
               "{\"event\": \"RES");
}

static void test_refusals_and_the_end(void **state)
{
    struct fake f;
    struct error err = {0};
    json_t *event = NULL;
    (void)state;
    struct qmp *q = open_it(&f, refusals);
    expect_call(q, ERROR_UNSUPPORTED, "QEMU refuses do-it: no do-it");
    expect_call(q, ERROR_NOT_FOUND, "no x");
    assert_false(qmp_is_gone(q));
    expect_call(q, ERROR_IO, "busy");
    expect_call(q, ERROR_IO, "does not say why");
    expect_call(q, ERROR_CORRUPT, "without a result");
    expect_call(q, ERROR_CORRUPT, "no JSON object");
    expect_call(q, 0, NULL); /* what was late for the call before is passed over */
    expect_event(q, "BLOCK_JOB_READY");
    assert_int_equal(qmp_next_event(q, 5000, &event, &err), ERROR_NOT_FOUND);
    assert_true(qmp_is_gone(q));
    expect_call(q, ERROR_NOT_FOUND, NULL);
    qmp_close(q);
    fake_end(&f);
}

static void junk(int fd)
{
    greet(fd);
    json_decref(fake_hear(fd));
    char *block = malloc((1 << 20) + 1);
    memset(block, 'x', 1 << 20);
    block[1 << 20] = 0;
    for (int i = 0; i < 64; i++)
        fake_say(fd, block);
    free(block);
}

static void test_a_line_without_end_is_bounded(void **state)
{
    struct fake f;
    (void)state;
    struct qmp *q = open_it(&f, junk);
    expect_call(q, ERROR_CORRUPT, "more than 16777216 bytes");
    expect_call(q, ERROR_NOT_FOUND, NULL);
    qmp_close(q);
    fake_end(&f);
}

static void long_message(int fd)
{
    greet(fd);
    json_t *request = fake_hear(fd);
    char *text = NULL, *block = malloc((8 << 20) + 1);
    memset(block, 'y', 8 << 20);
    block[8 << 20] = 0;
    assert_true(asprintf(&text, "{\"return\": \"%s\", \"id\": \"%s\"}\n", block,
                         json_string_value(json_object_get(request, "id"))) > 0);
    fake_say(fd, text);
    free(text);
    free(block);
    json_decref(request);
}

static void test_a_long_message_is_fine(void **state)
{
    struct fake f;
    struct error err = {0};
    json_t *result = NULL;
    (void)state;
    struct qmp *q = open_it(&f, long_message);
    assert_int_equal(qmp_call(q, "do-it", NULL, &result, &err), 0);
    assert_int_equal(json_string_length(result), 8 << 20);
    json_decref(result);
    qmp_close(q);
    fake_end(&f);
}

static void many_events(int fd)
{
    greet(fd);
    for (int i = 0; i < 5000; i++)
        fake_say(fd, "{\"event\": \"RTC_CHANGE\"}\n");
    fake_say(fd, "{\"event\": \"BLOCK_IO_ERROR\"}\n");
    fake_serve(fd, "do-it", "{\"return\": {}, \"id\": \"%s\"}\n");
    fake_wait(fd);
}

static void test_only_events_of_no_interest_are_dropped(void **state)
{
    struct fake f;
    struct error err = {0};
    json_t *event = NULL;
    int others = 0;
    (void)state;
    struct qmp *q = open_it(&f, many_events);
    expect_call(q, 0, NULL);
    for (;;) {
        assert_int_equal(qmp_next_event(q, 0, &event, &err), 0);
        assert_non_null(event);
        bool other = strcmp(json_string_value(json_object_get(event, "event")), "RTC_CHANGE") == 0;
        json_decref(event);
        if (!other)
            break;
        others++;
    }
    assert_in_range(others, 1, 256);
    qmp_close(q);
    fake_end(&f);
}

static void event_flood(int fd)
{
    greet(fd);
    for (int i = 0; i < 70000; i++)
        fake_say(fd, "{\"event\": \"BLOCK_JOB_READY\"}\n");
}

static void test_events_are_bounded(void **state)
{
    struct fake f;
    (void)state;
    struct qmp *q = open_it(&f, event_flood);
    expect_call(q, ERROR_CORRUPT, "events");
    qmp_close(q);
    fake_end(&f);
}

static void silent(int fd)
{
    greet(fd);
    fake_wait(fd);
}

/* Never idle, and never an answer. */
static void chatter(int fd)
{
    char byte;
    greet(fd);
    while (recv(fd, &byte, 1, MSG_DONTWAIT) != 0)
        fake_say(fd, "\n\n{\"return\": 1}\n");
}

static void expect_timeout(void (*script)(int fd))
{
    struct fake f;
    struct error err = {0};
    struct qmp *q = NULL;
    json_t *event = NULL;
    fake_start(&f, script);
    assert_int_equal(qmp_open(&q, f.path, 1, &err), 0);
    expect_call(q, ERROR_IO, "no reply to do-it within 1 s");
    assert_false(qmp_is_gone(q));
    assert_int_equal(qmp_next_event(q, 20, &event, &err), 0);
    assert_null(event);
    qmp_close(q);
    fake_end(&f);
}

static void test_silence_and_chatter_end(void **state)
{
    (void)state;
    expect_timeout(silent);
    expect_timeout(chatter);
}

static void says_nothing(int fd)
{
    fake_wait(fd);
}

static void hangs_up(int fd)
{
    (void)fd;
}

static void is_no_qmp(int fd)
{
    fake_say(fd, "220 mail.example.org ESMTP\r\n");
    fake_wait(fd);
}

static void is_an_agent(int fd)
{
    fake_say(fd, "{\"return\": {}}\r\n");
    fake_wait(fd);
}

static void expect_no_opening(void (*script)(int fd), unsigned seconds, int want)
{
    struct fake f;
    struct error err = {0};
    struct qmp *q = NULL;
    fake_start(&f, script);
    assert_int_equal(qmp_open(&q, f.path, seconds, &err), want);
    assert_null(q);
    fake_end(&f);
}

static void test_who_does_not_answer(void **state)
{
    struct error err = {0};
    struct qmp *q = NULL;
    char path[200];
    (void)state;
    expect_no_opening(says_nothing, 0, ERROR_IN_USE);
    expect_no_opening(hangs_up, 10, ERROR_NOT_FOUND);
    expect_no_opening(is_no_qmp, 10, ERROR_UNSUPPORTED);
    expect_no_opening(is_an_agent, 10, ERROR_UNSUPPORTED);
    assert_int_equal(qmp_open(&q, "/no/such/socket", 1, &err), ERROR_NOT_FOUND);
    assert_int_equal(qmp_open(&q, "", 1, &err), ERROR_USAGE);
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = 0;
    assert_int_equal(qmp_open(&q, path, 1, &err), ERROR_USAGE);
}

static void test_others_wait_in_front(void **state)
{
    struct fake f;
    struct error err = {0};
    struct qmp *first = NULL, *second = NULL;
    (void)state;
    fake_start(&f, NULL); /* one place in the queue, and nobody accepts */
    assert_int_equal(qmp_open(&first, f.path, 0, &err), ERROR_IN_USE);
    assert_int_equal(qmp_open(&second, f.path, 0, &err), ERROR_IN_USE);
    fake_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_are_matched_and_events_kept),
        cmocka_unit_test(test_refusals_and_the_end),
        cmocka_unit_test(test_a_line_without_end_is_bounded),
        cmocka_unit_test(test_a_long_message_is_fine),
        cmocka_unit_test(test_only_events_of_no_interest_are_dropped),
        cmocka_unit_test(test_events_are_bounded),
        cmocka_unit_test(test_silence_and_chatter_end),
        cmocka_unit_test(test_who_does_not_answer),
        cmocka_unit_test(test_others_wait_in_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What a journal tells comes back; one that somebody has changed is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "live/journal.h"

static void fill(struct journal *j)
{
    *j = (struct journal){.kind = JOURNAL_QMP,
                          .socket = strdup("/run/qmp.sock"),
                          .name = strdup("shop"),
                          .boot_id = "0b1e",
                          .machine = 77,
                          .machine_since = 1234,
                          .started = 1700000000,
                          .byre = 78,
                          .phase = JOURNAL_FROZEN};
    struct journal_disk *d = journal_add_disk(j);
    d->node = strdup("root");
    d->device = strdup("vda");
    d->format = strdup("qcow2");
    d->base = strdup("/var/a b\"c.qcow2");
    d->overlay = strdup("/var/a b\"c.qcow2.byre-live");
    d->overlay_node = strdup("byre-live-0");
    d->bitmap = strdup("byre-1");
    d->encrypted = true;
    d->size = 1 << 30;
    d->step = JOURNAL_SWITCHED;
    d->stat = (struct journal_stat){.known = true,
                                    .device = UINT64_C(0xfffffffffffffff0),
                                    .inode = 12,
                                    .size = 13,
                                    .seconds = -5,
                                    .nanoseconds = 999999999};
}

static char *text_of(void)
{
    struct journal j;
    char *text = NULL;
    fill(&j);
    assert_int_equal(journal_encode(&j, &text, NULL), 0);
    journal_clear(&j);
    return text;
}

static void test_comes_back(void **state)
{
    struct journal j = {0};
    struct error err = {0};
    char *text = text_of(), *again = NULL;
    (void)state;
    assert_int_equal(journal_decode(&j, "x", text, strlen(text), &err), 0);
    assert_int_equal(journal_encode(&j, &again, &err), 0);
    assert_string_equal(text, again);
    assert_int_equal(j.disks[0].step, JOURNAL_SWITCHED);
    assert_true(j.disks[0].stat.device == UINT64_C(0xfffffffffffffff0));
    journal_clear(&j);
    free(text);
    free(again);
}

/* Each text with one thing exchanged. */
static void test_changed_is_refused(void **state)
{
    static const char *const changes[][2] = {
        {"\"version\": 1", "\"version\": 2"},
        {"\"kind\": \"qmp\"", "\"kind\": \"xen\""},
        {"\"socket\": \"/run", "\"socket\": \"run"},
        {"\"phase\": \"frozen\"", "\"phase\": \"melted\""},
        {"\"byre\": 78", "\"byre\": -1"},
        {"\"byre\": 78", "\"byre\": 99999999999"},
        {"\"boot_id\": \"0b1e\"",
         "\"boot_id\": \"0123456789012345678901234567890123456789012345678901\""},
        {"\"base\": \"/var", "\"base\": \"var"},
        {".byre-live\"", ".qcow2\""}, /* what is no overlay is not deleted */
        {"\"overlay\": \"/var", "\"overlay\": \"../var"},
        {"\"format\": \"qcow2\"", "\"format\": \"vmdk\""},
        {"\"step\": \"switched\"", "\"step\": \"\""},
        {"\"encrypted\": true", "\"encrypted\": 1"},
        {"\"size\": 1073741824", "\"size\": -1"},
        {"\"nanoseconds\": 999999999", "\"nanoseconds\": 1000000000"},
        {"\"bitmap\": \"byre-1\"", "\"key_file\": \"/etc/passwd\""},
        {"\"node\": \"root\"", "\"node\": \"\""},
        {"\"node\": \"root\"", "\"node\": \"a\\u0000b\""},
        {"\"disks\": [", "\"disks\": [7, "},
        {"\"machine\": 77", "\"machine\": 77, \"machine\": 78"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct journal j = {0};
        struct error err = {0};
        char *text = text_of(), *changed = NULL;
        char *at = strstr(text, changes[i][0]);
        assert_non_null(at);
        assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, changes[i][1],
                             at + strlen(changes[i][0])) > 0);
        if (journal_decode(&j, "x.json", changed, strlen(changed), &err) != ERROR_CORRUPT)
            fail_msg("taken: %s", changes[i][1]);
        assert_non_null(strstr(err.message, "x.json"));
        journal_clear(&j);
        free(text);
        free(changed);
    }
}

static void test_cut_is_refused(void **state)
{
    char *text = text_of();
    (void)state;
    for (size_t n = 0; n + 1 < strlen(text); n++) {
        struct journal j = {0};
        struct error err = {0};
        assert_int_equal(journal_decode(&j, "x", text, n, &err), ERROR_CORRUPT);
        journal_clear(&j);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_changed_is_refused),
        cmocka_unit_test(test_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

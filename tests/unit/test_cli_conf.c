/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration: what is read out of it, and where it is said to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/conf.h"
#include "cli/conf_key.h"

#define REPOSITORY "[repository r]\npath = /r\n"
#define JOB        REPOSITORY "[job j]\nrepository = r\nimages = /i\n"

static int parse(struct conf *conf, const char *text, struct error *err)
{
    memset(conf, 0, sizeof *conf);
    return conf_parse(conf, "c", text, strlen(text), err);
}

static void values_are_what_stands_there(void **state)
{
    static const char text[] = "; comments\n"
                               "# of both kinds\n"
                               "[defaults]\r\n"
                               "repository = main\r\n"
                               "keep-daily: 7\n"
                               "nice=5\n"
                               "\n"
                               "[repository main]\n"
                               "path = /srv/my disks \n"
                               "password-command = pass show 'a = b' ; true # yes\n"
                               "[job web-1.a_b]\n"
                               "images = /vm/*.qcow2\n"
                               "\t/vm/with blank\n"
                               "  ; a comment between\n"
                               "  /vm/[ab]\n"
                               "tags = a, b c ,d\n"
                               "  e\n"
                               "nice = 0\n"
                               "bitmap = yes";
    struct conf conf;
    struct error err = {0};
    const struct conf_section *job;
    const struct conf_section *main;
    const struct conf_value *value;

    (void)state;
    assert_int_equal(parse(&conf, text, &err), 0);
    job = conf_find(&conf, CONF_JOB, "web-1.a_b");
    main = conf_find(&conf, CONF_REPOSITORY, "main");
    assert_non_null(job);
    assert_non_null(main);
    assert_null(conf_find(&conf, CONF_JOB, "main"));
    assert_string_equal(conf_text(&conf, main, CONF_PATH), "/srv/my disks");
    assert_string_equal(conf_text(&conf, main, CONF_PASSWORD_COMMAND),
                        "pass show 'a = b' ; true # yes");
    value = conf_value(&conf, job, CONF_IMAGES);
    assert_int_equal(value->count, 3);
    assert_int_equal(value->line, 12);
    assert_string_equal(value->items[1], "/vm/with blank");
    assert_string_equal(value->items[2], "/vm/[ab]");
    value = conf_value(&conf, job, CONF_TAGS);
    assert_int_equal(value->count, 4);
    assert_string_equal(value->items[1], "b c");
    assert_string_equal(value->items[3], "e");
    /* The defaults stand in for what is not there. */
    assert_string_equal(conf_text(&conf, job, CONF_KEEP_DAILY), "7");
    assert_string_equal(conf_text(&conf, job, CONF_NICE), "0");
    assert_string_equal(conf_text(&conf, job, CONF_IN_REPOSITORY), "main");
    assert_null(conf_text(&conf, job, CONF_CHECK));
    assert_true(conf_flag(&conf, job, CONF_BITMAP));
    assert_false(conf_flag(&conf, job, CONF_PRUNE));
    conf_clear(&conf);
}

static void errors_have_line_and_key(void **state)
{
    static const struct {
        const char *text;
        const char *where;
        const char *what;
    } cases[] = {
        {"path = /r\n", "c:1: ", "before the first [section]"},
        {"[repositories r]\npath = /r\n", "c:2: ", "[repositories r]: none of"},
        {"[job]\nimages = /i\n", "c:2: ", "[job]: not a name"},
        {"[job a/b]\nimages = /i\n", "c:2: ", "[job a/b]: not a name"},
        {"[job ..]\nimages = /i\n", "c:2: ", "not a name"},
        {"[defaults x]\nnice = 1\n", "c:2: ", "defaults have no name"},
        {REPOSITORY "\n[repository r]\npath = /q\n", "c:5: ", "there is one already, in line 2"},
        {JOB "image = /i\n", "c:6: ", "[job j] unknown key \"image\" (did you mean images?)"},
        {JOB "password-file = /f\n", "c:6: ", "[job j] unknown key \"password-file\""},
        {REPOSITORY "images = /i\n", "c:3: ", "[repository r] unknown key \"images\""},
        {JOB "images = /j\n", "c:6: ", "images: given already, in line 5"},
        {JOB "prune = yes\nprune = no\n", "c:7: ", "prune: given already, in line 6"},
        {JOB "prune = yes\n  check = yes\n", "c:7: ", "prune: takes one value"},
        {JOB "prune =\n", "c:6: ", "prune: there is no value"},
        {JOB "tags = a,,b\n", "c:6: ", "tags: there is no value"},
        {JOB "prune = true\n", "c:6: ", "prune: neither yes nor no: \"true\""},
        {JOB "bitmap\n", "c:6: ", "neither [section], nor key = value"},
        {JOB "[job k\n", "c:6: ", "neither [section], nor key = value"},
        {JOB "keep-last = x\n", "c:6: ", "keep-last: not a number"},
        {JOB "keep-last = -1\n", "c:6: ", "keep-last: not a number"},
        {JOB "keep-within = 2x\n", "c:6: ", "keep-within: "},
        {JOB "compression = 20\n", "c:6: ", "compression: not a number from 1 to 19"},
        {JOB "check = 0\n", "c:6: ", "check: none of"},
        {JOB "check = 101%\n", "c:6: ", "check: none of"},
        {JOB "nice = -1\n", "c:6: ", "nice: not a number from 0 to 19"},
        {JOB "ionice = best-effort:8\n", "c:6: ", "ionice: none of"},
        {JOB "ionice = realtime\n", "c:6: ", "ionice: none of"},
        {JOB "rate-limit = fast\n", "c:6: ", "rate-limit: not a rate"},
        {JOB "hook-timeout = 5m\n", "c:6: ", "hook-timeout: not a time"},
        {JOB "name = a/b\n", "c:6: ", "name: "},
        {JOB "with = x.xml\n", "c:6: ", "with: not an absolute path"},
        {JOB "metrics-file = m.prom\n", "c:6: ", "metrics-file: not an absolute path"},
        {JOB "metrics-file = /m/%h\n", "c:6: ", "metrics-file: behind %"},
        {JOB "metrics-file = /m/%\n", "c:6: ", "metrics-file: behind %"},
        {JOB "  relative\n", "c:6: ", "images: not an absolute path: \"relative\""},
        {"[job j]\nimages = /i\nrepository = q\n", "c:3: ", "no [repository] of that name"},
        {"[defaults]\nrepository = q\n", "c:2: ", "no [repository] of that name"},
        {"[repository r]\nkey-file = /k\n", "c:2: ", "[repository r] there is no path"},
        {REPOSITORY "key-file = /k\npassword-file = /p\n", "c:4: ", "another secret already"},
        {"[job j]\nnice = 3\n", "c:2: ", "[job j] there is nothing to do"},
        {"[job j]\ncheck = no\n", "c:2: ", "[job j] there is nothing to do"},
        {JOB "domain = m\n", "c:6: ", "domain: there are images"},
        {JOB "qmp = /m\n", "c:6: ", "qmp: there are images"},
        {JOB "quiesce = yes\n", "c:6: ", "quiesce: there is no domain or qmp"},
        {"[job j]\ndomain = m\nqmp = /m\n", "c:3: ", "qmp: there is a domain already"},
        {"[job j]\nqmp = /m\nconnect = u\n", "c:3: ", "connect: there is no domain"},
        {"[job j]\nqmp = m\n", "c:2: ", "qmp: not an absolute path"},
        {"[job j]\ndomain = m\nquiesce = 1\n", "c:3: ", "quiesce: neither yes nor no"},
        {"[job j]\ncheck = yes\ntags = a\n", "c:3: ", "tags: there are no images"},
        {"[defaults]\nprune = yes\ncheck = 5\nkeep-last = 1\n[job j]\nnice = 3\n",
         "c:6: ", "there is nothing to do"},
        {"[job latest]\nimages = /i\n", "c:2: ", "[job latest] name: "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct conf conf;
        struct error err = {0};

        assert_int_equal(parse(&conf, cases[i].text, &err), ERROR_USAGE);
        if (strncmp(err.message, cases[i].where, strlen(cases[i].where)) != 0 ||
            !strstr(err.message, cases[i].what))
            fail_msg("\"%s\" is not told as \"%s...%s\"", err.message, cases[i].where,
                     cases[i].what);
        conf_clear(&conf);
    }
}

/* inih has buffers of its own for lines and headings. */
static void nothing_is_cut_in_silence(void **state)
{
    char text[8192];
    struct conf conf;
    struct error err = {0};

    (void)state;
    snprintf(text, sizeof text, REPOSITORY "password-command = %0*d\n", 4000, 7);
    assert_int_equal(parse(&conf, text, &err), 0);
    assert_int_equal(strlen(conf.sections[0].values[CONF_PASSWORD_COMMAND].items[0]), 4000);
    conf_clear(&conf);
    snprintf(text, sizeof text, REPOSITORY "password-command = %0*d\n", 4096, 7);
    assert_int_equal(parse(&conf, text, &err), ERROR_USAGE);
    assert_non_null(strstr(err.message, "c:3: the line is longer than"));
    conf_clear(&conf);
    snprintf(text, sizeof text, "[job %045d]\nimages = /i\n", 7);
    assert_int_equal(parse(&conf, text, &err), 0);
    assert_int_equal(strlen(conf.sections[0].name), 45);
    conf_clear(&conf);
    snprintf(text, sizeof text, "[job %046d]\nimages = /i\n", 7);
    assert_int_equal(parse(&conf, text, &err), ERROR_USAGE);
    assert_non_null(strstr(err.message, "c:1: the heading is longer than"));
    conf_clear(&conf);
    memset(&conf, 0, sizeof conf);
    assert_int_equal(conf_parse(&conf, "c", "[job j]\nimages = /i\0j\n", 22, &err), ERROR_USAGE);
    assert_non_null(strstr(err.message, "c:2: the line has a zero byte"));
    conf_clear(&conf);
}

static void priorities_are_what_the_kernel_takes(void **state)
{
    int priority = 0;

    (void)state;
    assert_int_equal(conf_key_ionice("x", "idle", &priority, NULL), 0);
    assert_int_equal(priority, 3 << 13);
    assert_int_equal(conf_key_ionice("x", "best-effort", &priority, NULL), 0);
    assert_int_equal(priority, 2 << 13 | 4);
    assert_int_equal(conf_key_ionice("x", "best-effort:7", &priority, NULL), 0);
    assert_int_equal(priority, 2 << 13 | 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_what_stands_there),
        cmocka_unit_test(errors_have_line_and_key),
        cmocka_unit_test(nothing_is_cut_in_silence),
        cmocka_unit_test(priorities_are_what_the_kernel_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* byre list: the archives of the log, filtered. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/archive_view.h"
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/table.h"
#include "cli/units.h"

struct list_args {
    const char *name;
    const char *host;
    struct option_list tags;
    const char *last;
};

static bool has_tag(const struct cs_archive *archive, const char *tag)
{
    for (size_t i = 0; i < archive->tag_count; i++) {
        if (strcmp(archive->tags[i], tag) == 0)
            return true;
    }
    return false;
}

/* Whether the archive has the name, the host and every tag asked for. */
static bool wanted(const struct cs_archive *archive, const struct list_args *args)
{
    if (args->name && strcmp(archive->name, args->name) != 0)
        return false;
    if (args->host && strcmp(archive->host, args->host) != 0)
        return false;
    for (size_t i = 0; i < args->tags.count; i++) {
        if (!has_tag(archive, args->tags.items[i]))
            return false;
    }
    return true;
}

/* Sets ${*chosen}, for the caller to free, to the last ${last} archives wanted, in order. */
static int choose(const struct cs_store *store, const struct list_args *args, size_t last,
                  const struct cs_archive ***chosen, size_t *count, struct error *err)
{
    size_t total = cs_archive_count(store);
    size_t found = 0;

    *count = 0;
    *chosen = calloc(total + 1, sizeof(struct cs_archive *));
    if (!*chosen)
        return error_no_memory(err);
    for (size_t i = 0; i < total; i++) {
        const struct cs_archive *archive = cs_archive_at(store, i);

        if (wanted(archive, args))
            (*chosen)[found++] = archive;
    }
    *count = found < last ? found : last;
    memmove(*chosen, *chosen + (found - *count), *count * sizeof(struct cs_archive *));
    return 0;
}

static int list_json(const struct cs_archive *const *archives, size_t count, struct error *err)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        struct engine_summary summary;
        int rc = engine_read_summary(archives[i], &summary, err);

        if (rc) {
            json_decref(list);
            return rc;
        }
        json_array_append_new(list, archive_view_json(archives[i], &summary));
    }
    output_json(stdout, list);
    return 0;
}

static int add_row(struct table *table, const struct cs_archive *archive, int digits,
                   struct error *err)
{
    struct engine_summary summary;
    char hex[CS_ID_HEX];
    char time[UNITS_TEXT];
    char images[UNITS_TEXT];
    char allocated[UNITS_TEXT];
    char stored[UNITS_TEXT];
    char *tags = NULL;
    int rc = engine_read_summary(archive, &summary, err);

    if (rc)
        return rc;
    tags = archive_view_tags(archive, ",");
    if (!tags)
        return error_no_memory(err);
    cs_id_hex(&archive->id, hex)[digits] = '\0';
    snprintf(images, sizeof images, "%llu", (unsigned long long)summary.images);
    {
        const char *const cells[] = {
            hex,
            units_local_time(archive->time, time),
            archive->name,
            archive->host,
            tags,
            images,
            units_size(summary.bytes_allocated, allocated),
            units_size(archive->bytes_stored, stored),
        };

        for (size_t i = 0; !rc && i < sizeof cells / sizeof cells[0]; i++)
            rc = table_add(table, cells[i], err);
    }
    free(tags);
    return rc;
}

/* How many there are, of all that there are. */
static void print_total(size_t count, size_t all)
{
    printf("%zu archive%s", count, count == 1 ? "" : "s");
    if (count < all)
        printf(" of %zu", all);
    putchar('\n');
}

static int list_table(const struct cli *cli, const struct cs_store *store,
                      const struct cs_archive *const *archives, size_t count, struct error *err)
{
    enum { NAME = 1 << 2, HOST = 1 << 3, TAGS = 1 << 4 };
    static const char *const headings[] = {"ID",   "TIME",   "NAME",      "HOST",
                                           "TAGS", "IMAGES", "ALLOCATED", "STORED"};
    static const bool right[] = {false, false, false, false, false, true, true, true};
    struct terminal terminal = terminal_of(stdout, cli->options.verbose > 0);
    int digits = archive_view_digits(store);
    struct table table;
    int rc = 0;

    table_begin(&table, sizeof headings / sizeof headings[0], headings, right);
    for (size_t i = 0; !rc && i < count; i++)
        rc = add_row(&table, archives[i], digits, err);
    if (!rc && count)
        table_print_fit(&table, &terminal, NAME | HOST | TAGS, stdout);
    else if (!rc)
        message_info("no archives");
    if (!rc && count && !cli->options.quiet)
        print_total(count, cs_archive_count(store));
    table_clear(&table);
    return rc;
}

static int run(const struct cli *cli)
{
    const struct list_args *args = cli->args;
    const struct cs_archive **archives = NULL;
    struct cs_store *store = NULL;
    struct error err = {0};
    size_t count = 0;
    long last = LONG_MAX;
    int code;
    int rc;

    if (args->last && option_number("--last", args->last, 1, LONG_MAX, &last, &err))
        return fail_error(&err);
    code = repository_open(&store, &cli->options);
    if (code)
        return code;
    rc = choose(store, args, (size_t)last, &archives, &count, &err);
    if (!rc && cli->options.json)
        rc = list_json(archives, count, &err);
    else if (!rc)
        rc = list_table(cli, store, archives, count, &err);
    if (rc)
        code = fail_error(&err);
    free(archives);
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"name", 0, OPTION_VALUE, offsetof(struct list_args, name), "NAME",
     "only archives of this name", NULL},
    {"host", 0, OPTION_VALUE, offsetof(struct list_args, host), "HOST",
     "only archives of this host", NULL},
    {"tag", 0, OPTION_LIST, offsetof(struct list_args, tags), "TAG",
     "only archives with this tag; repeated: with all", NULL},
    {"last", 0, OPTION_VALUE, offsetof(struct list_args, last), "K", "only the newest K", NULL},
    {0},
};

const struct command cmd_list = {
    .name = "list",
    .usage = "",
    .summary = "shows the archives, the newest last",
    .specs = specs,
    .args_size = sizeof(struct list_args),
    .run = run,
};

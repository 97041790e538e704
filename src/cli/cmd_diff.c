/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * byre diff: where the disks of two archives differ. There may be millions of
 * ranges, so that they are written as they come.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/units.h"

enum { ROWS_MAX = 20, COLUMNS = 3 }; /* of the table, without -v */

struct diff_args {
    const char *image;
};

struct printer {
    bool exact;         /* every range, in bytes */
    bool begun;         /* an image */
    struct table table; /* the first ranges of the image at hand */
    struct error err;   /* of the table */
};

static const char *const kinds[] = {[ENGINE_DIFF_DATA] = "data", [ENGINE_DIFF_ZERO] = "zero"};

/* ---- JSON ---- */

static void json_member(const char *name, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    printf("\"%s\":%s,", name, text ? text : "null");
    free(text);
    json_decref(value);
}

static void json_begin(void *arg, const struct engine_diff_image *image)
{
    struct printer *p = arg;

    fputs(p->begun ? ",{" : "[{", stdout);
    p->begun = true;
    json_member("image", output_string(image->name));
    json_member("path", output_string(image->path));
    json_member("virtual_size_a", image->in_a ? output_size(image->virtual_size_a) : json_null());
    json_member("virtual_size_b", image->in_b ? output_size(image->virtual_size_b) : json_null());
    json_member("encrypted", json_boolean(image->encrypted));
    fputs("\"ranges\":[", stdout);
}

static bool json_range(void *arg, const struct engine_diff_image *image, uint64_t offset,
                       uint64_t length, enum engine_diff_kind kind)
{
    (void)arg;
    printf("%s{\"offset\":%" PRIu64 ",\"length\":%" PRIu64 ",\"kind\":\"%s\"}",
           image->ranges > 1 ? "," : "", offset, length, kinds[kind]);
    return !ferror(stdout);
}

static void json_end(void *arg, const struct engine_diff_image *image)
{
    (void)arg;
    printf("],\"bytes_changed\":%" PRIu64 ",\"bytes_zeroed\":%" PRIu64 "}", image->bytes_changed,
           image->bytes_zeroed);
}

/* ---- text ---- */

static void text_begin(void *arg, const struct engine_diff_image *image)
{
    static const char *const headings[COLUMNS] = {"OFFSET", "LENGTH", "KIND"};
    static const bool right[COLUMNS] = {true, true, false};
    struct printer *p = arg;
    char *path = strdup(image->path);
    char size[UNITS_TEXT];
    char before[UNITS_TEXT];

    message_hold();
    message_line(NULL);
    printf("%s%s, %s", p->begun ? "\n" : "", path ? text_clean(path) : "?",
           units_size(image->in_b ? image->virtual_size_b : image->virtual_size_a, size));
    if (!image->in_a || !image->in_b)
        fputs(image->in_a ? ": removed" : ": added", stdout);
    else if (image->virtual_size_a != image->virtual_size_b)
        printf(", %s before", units_size(image->virtual_size_a, before));
    puts(image->encrypted ? "; encrypted: ranges of the ciphertext" : "");
    fflush(stdout);
    message_release();
    free(path);
    p->begun = true;
    table_begin(&p->table, COLUMNS, headings, right);
}

static bool text_range(void *arg, const struct engine_diff_image *image, uint64_t offset,
                       uint64_t length, enum engine_diff_kind kind)
{
    struct printer *p = arg;
    char offset_text[UNITS_TEXT];
    char length_text[UNITS_TEXT];

    if (p->exact) {
        if (image->ranges == 1)
            printf("%20s  %20s  KIND\n", "OFFSET", "LENGTH");
        printf("%20" PRIu64 "  %20" PRIu64 "  %s\n", offset, length, kinds[kind]);
        return !ferror(stdout);
    }
    if (image->ranges > ROWS_MAX)
        return true;
    return table_add(&p->table, units_size(offset, offset_text), &p->err) == 0 &&
           table_add(&p->table, units_size(length, length_text), &p->err) == 0 &&
           table_add(&p->table, kinds[kind], &p->err) == 0;
}

static void text_end(void *arg, const struct engine_diff_image *image)
{
    struct printer *p = arg;
    char changed[UNITS_TEXT];
    char zeroed[UNITS_TEXT];

    message_hold();
    message_line(NULL);
    if (p->table.cell_count)
        table_print(&p->table, stdout);
    table_clear(&p->table);
    if (!p->exact && image->ranges > ROWS_MAX)
        printf("and %" PRIu64 " more, which -v shows\n", image->ranges - ROWS_MAX);
    if (image->ranges)
        printf("%" PRIu64 " range%s: %s changed, %s zeroed\n", image->ranges,
               image->ranges == 1 ? "" : "s", units_size(image->bytes_changed, changed),
               units_size(image->bytes_zeroed, zeroed));
    else if (image->in_a && image->in_b)
        puts("no difference");
    fflush(stdout);
    message_release();
}

/* ---- both ---- */

static int diff(struct cs_store *store, const char *const *names,
                const struct engine_diff_options *options, struct error *err)
{
    const struct cs_archive *a = NULL, *b = NULL;
    struct engine_diff_result result;
    int rc = engine_find_archive(store, names[0], &a, err);

    if (!rc)
        rc = engine_find_archive(store, names[1], &b, err);
    return rc ? rc : engine_diff(store, a, b, options, &result, err);
}

static int run(const struct cli *cli)
{
    const struct diff_args *args = cli->args;
    bool json = cli->options.json;
    struct printer printer = {.exact = cli->options.verbose > 0};
    struct engine_diff_options options = {
        .image = args->image,
        .begin = json ? json_begin : text_begin,
        .range = json ? json_range : text_range,
        .end = json ? json_end : text_end,
        .arg = &printer,
    };
    struct cs_store *store = NULL;
    struct progress progress;
    struct error err = {0};
    int code = repository_open(&store, &cli->options);

    if (code)
        return code;
    progress_begin(&progress, &cli->options, stdout);
    options.listener = listener_for(&progress);
    if (json || printer.exact) /* it would be drawn into the result */
        options.listener.progress = NULL;
    if (diff(store, cli->operands.items, &options, &err)) {
        progress_end(&progress);
        if (ferror(stdout))
            code = EXIT_CODE_FAILED; /* which is reported where it is closed */
        else
            code = fail_error(printer.err.code ? &printer.err : &err);
    } else {
        progress_end(&progress);
        if (json)
            puts(printer.begun ? "]" : "[]");
    }
    table_clear(&printer.table);
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"image", 0, OPTION_VALUE, offsetof(struct diff_args, image), "NAME",
     "only this one: the end of its path", NULL},
    {0},
};

const struct command cmd_diff = {
    .name = "diff",
    .usage = "ARCHIVE ARCHIVE",
    .summary = "shows where the disks of two archives differ",
    .description = COMMAND_ARCHIVE_HELP
    "\n"
    "The earlier one comes first. Chunks of 16 to 256 KiB are compared, not bytes: all\n"
    "that differs is in a range, but not all of a range need differ. \"zero\" is what\n"
    "had data and reads as zeros now. -v shows all ranges, in bytes.\n",
    .specs = specs,
    .args_size = sizeof(struct diff_args),
    .operands_min = 2,
    .operands_max = 2,
    .run = run,
};

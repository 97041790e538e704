/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * byre diff: where the disks of two archives differ. There may be millions of
 * ranges, so that they are written as they come.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/archive_find.h"
#include "cli/command.h"
#include "cli/diff_map.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/table.h"
#include "cli/units.h"

enum { ROWS_MAX = 20, COLUMNS = 3 }; /* of the table, without -v */

struct diff_args {
    const char *image;
    struct maps_args maps;
};

struct printer {
    bool json;
    bool exact;         /* every range, in bytes */
    bool begun;         /* an image */
    struct table table; /* the first ranges of the image at hand */
    struct maps *maps;  /* NULL: nothing is drawn */
    struct error err;   /* of the table, or of the maps */
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
    struct terminal terminal = terminal_of(stdout, p->exact);
    bool resized = image->in_a && image->in_b && image->virtual_size_a != image->virtual_size_b;
    char size[UNITS_TEXT];
    char before[UNITS_TEXT];
    char *text = NULL;

    message_hold();
    message_line(NULL);
    if (p->begun)
        putchar('\n');
    if (asprintf(&text, "%s, %s%s%s%s%s%s", image->path,
                 units_size(image->in_b ? image->virtual_size_b : image->virtual_size_a, size),
                 image->in_b ? "" : ": removed", image->in_a ? "" : ": added", resized ? ", " : "",
                 resized ? units_size(image->virtual_size_a, before) : "",
                 resized ? " before" : "") >= 0)
        terminal_print(stdout, &terminal, "", "  ", text);
    free(text);
    if (image->encrypted)
        puts("encrypted: ranges of the ciphertext");
    fflush(stdout);
    message_release();
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

static void on_begin(void *arg, const struct engine_diff_image *image)
{
    struct printer *p = arg;

    if (p->maps && !p->err.code)
        diff_map_begin(p->maps, image, &p->err);
    (p->json ? json_begin : text_begin)(arg, image);
}

static bool on_data(void *arg, const struct engine_diff_image *image, bool later, uint64_t offset,
                    uint64_t length, uint64_t bytes)
{
    struct printer *p = arg;

    (void)image;
    diff_map_data(p->maps, later, offset, length, bytes);
    return !p->err.code;
}

static bool on_range(void *arg, const struct engine_diff_image *image, uint64_t offset,
                     uint64_t length, enum engine_diff_kind kind)
{
    struct printer *p = arg;

    if (p->maps)
        diff_map_range(p->maps, offset, length, kind);
    return !p->err.code && (p->json ? json_range : text_range)(arg, image, offset, length, kind);
}

static void on_end(void *arg, const struct engine_diff_image *image)
{
    struct printer *p = arg;

    (p->json ? json_end : text_end)(arg, image);
    if (p->maps && !p->err.code)
        diff_map_end(p->maps, image, &p->err);
}

/* Begins the file for the picture before anything is printed: it may not be possible. */
static int begin_maps(struct maps *maps, const struct cli *cli, const struct cs_archive *a,
                      const struct cs_archive *b, struct error *err)
{
    const struct diff_args *args = cli->args;
    char hex[2][CS_ID_HEX];
    char time[2][UNITS_TEXT];
    char *title = NULL;
    int rc;

    cs_id_hex(&a->id, hex[0])[8] = '\0';
    cs_id_hex(&b->id, hex[1])[8] = '\0';
    if (asprintf(&title, "from %s, %s of %s, to %s, %s of %s", a->name, hex[0],
                 units_local_time(a->time, time[0]), b->name, hex[1],
                 units_local_time(b->time, time[1])) < 0)
        return error_no_memory(err);
    rc = maps_begin(maps, &args->maps, cli->options.json, title, err);
    free(title);
    return rc;
}

static int diff(struct cs_store *store, const struct cli *cli, struct maps *maps,
                const struct engine_diff_options *options, struct error *err)
{
    const struct cs_archive *a = NULL, *b = NULL;
    struct engine_diff_result result;
    int rc = archive_find(store, cli->operands.items[0], &a, err);

    if (!rc)
        rc = archive_find(store, cli->operands.items[1], &b, err);
    if (!rc)
        rc = begin_maps(maps, cli, a, b, err);
    return rc ? rc : engine_diff(store, a, b, options, &result, err);
}

static int run(const struct cli *cli)
{
    const struct diff_args *args = cli->args;
    bool json = cli->options.json;
    bool draws = maps_wanted(&args->maps);
    struct maps maps = {0};
    struct printer printer = {
        .json = json,
        .exact = cli->options.verbose > 0,
        .maps = draws ? &maps : NULL,
    };
    struct engine_diff_options options = {
        .image = args->image,
        .begin = on_begin,
        .range = on_range,
        .end = on_end,
        .data = draws ? on_data : NULL,
        .parts = MAPS_PARTS,
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
    if (diff(store, cli, &maps, &options, &err) || printer.err.code) {
        progress_end(&progress);
        if (ferror(stdout))
            code = EXIT_CODE_FAILED; /* which is reported where it is closed */
        else
            code = fail_error(printer.err.code ? &printer.err : &err);
    } else {
        progress_end(&progress);
        if (json)
            puts(printer.begun ? "]" : "[]");
        if (draws && maps_finish(&maps, &err))
            code = fail_error(&err);
    }
    table_clear(&printer.table);
    maps_clear(&maps);
    cs_close(store);
    return code;
}

#define ARG(member) offsetof(struct diff_args, member)

static const struct option_spec specs[] = {
    {"image", 0, OPTION_VALUE, ARG(image), "NAME", "only this one: the end of its path", NULL},
    {"map", 0, OPTION_FLAG, ARG(maps.map), NULL, "draw the disks, as blocks", NULL},
    {"svg", 0, OPTION_VALUE, ARG(maps.svg), "FILE", "draw them into FILE, for a report", NULL},
    {"force", 0, OPTION_FLAG, ARG(maps.force), NULL, "replace FILE where it exists", NULL},
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

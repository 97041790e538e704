/* SPDX-License-Identifier: BSD-2-Clause */
/* byre stats: what archives hold, and what it takes to keep that. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/archive_find.h"
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/text.h"
#include "cli/units.h"
#include "engine/upkeep.h"

/* What both ways of printing tell, worked out once. */
struct figures {
    const struct engine_stats_result *result;
    uint64_t unique; /* bytes of chunks, before compression */
    uint64_t data;   /* stored */
    uint64_t metadata;
    uint64_t unneeded; /* stored */
};

static struct figures work_out(const struct engine_stats_result *result)
{
    const struct cs_stats *s = &result->store;

    return (struct figures){
        .result = result,
        .unique = s->needed[CS_USAGE_DATA].bytes,
        .data = s->needed[CS_USAGE_DATA].stored,
        .metadata = s->needed[CS_USAGE_META].stored,
        .unneeded = s->all[CS_USAGE_DATA].stored - s->needed[CS_USAGE_DATA].stored +
                    s->all[CS_USAGE_META].stored - s->needed[CS_USAGE_META].stored,
    };
}

/* ---- JSON ---- */

/* With three digits behind the point; null where ${whole} has no part to compare with. */
static json_t *ratio(uint64_t whole, uint64_t part)
{
    if (!part)
        return json_null();
    return json_real((double)(uint64_t)((double)whole / (double)part * 1000 + 0.5) / 1000);
}

static void print_json(const struct figures *f, const struct cs_archive *archive, double seconds)
{
    const struct cs_stats *s = &f->result->store;
    json_t *json = json_pack("{s:s}", "message_type", "summary");

    if (archive) {
        json_object_set_new(json, "archive", output_id(&archive->id));
        json_object_set_new(json, "name", output_string(archive->name));
    } else {
        json_object_set_new(json, "archives", output_size(f->result->archives));
    }
    json_object_set_new(json, "images", output_size(f->result->images));
    json_object_set_new(json, "bytes_virtual", output_size(f->result->bytes_virtual));
    json_object_set_new(json, "bytes_allocated", output_size(f->result->bytes_allocated));
    json_object_set_new(json, "bytes_unique", output_size(f->unique));
    json_object_set_new(json, "chunks", output_size(s->needed[CS_USAGE_DATA].objects));
    json_object_set_new(json, "bytes_stored", output_size(f->data + f->metadata));
    json_object_set_new(json, "bytes_stored_data", output_size(f->data));
    json_object_set_new(json, "bytes_stored_metadata", output_size(f->metadata));
    json_object_set_new(json, "ratio", ratio(f->result->bytes_allocated, f->data + f->metadata));
    json_object_set_new(json, "ratio_deduplication", ratio(f->result->bytes_allocated, f->unique));
    json_object_set_new(json, "ratio_compression", ratio(f->unique, f->data));
    if (archive) {
        json_object_set_new(json, "bytes_unique_alone", output_size(s->alone[CS_USAGE_DATA].bytes));
        json_object_set_new(json, "chunks_alone", output_size(s->alone[CS_USAGE_DATA].objects));
        json_object_set_new(
            json, "bytes_stored_alone",
            output_size(s->alone[CS_USAGE_DATA].stored + s->alone[CS_USAGE_META].stored));
    } else {
        json_object_set_new(json, "packs", output_size(s->packs));
        json_object_set_new(json, "bytes_index", output_size(s->bytes_segments));
        json_object_set_new(json, "bytes_unneeded", output_size(f->unneeded));
    }
    json_object_set_new(json, "seconds", output_seconds(seconds));
    output_json(stdout, json);
}

/* ---- text ---- */

static void line(const char *what, uint64_t bytes)
{
    char size[UNITS_TEXT];

    printf("%-16s %12s", what, units_size(bytes, size));
}

static void end_line(uint64_t whole, uint64_t part, const char *what)
{
    if (part)
        printf("  %s %.2f times that", what, (double)whole / (double)part);
    putchar('\n');
}

static void print_text(const struct figures *f, const struct cs_archive *archive)
{
    const struct cs_stats *s = &f->result->store;
    uint64_t stored = f->data + f->metadata;

    if (archive) {
        char hex[CS_ID_HEX];
        char *name = text_utf8(archive->name);

        printf("archive %s %s\n", cs_id_hex(&archive->id, hex), name ? text_clean(name) : "");
        free(name);
    } else {
        printf("%" PRIu64 " archive%s, %" PRIu64 " pack%s\n", f->result->archives,
               f->result->archives == 1 ? "" : "s", s->packs, s->packs == 1 ? "" : "s");
    }
    line("virtual", f->result->bytes_virtual);
    printf("  %" PRIu64 " image%s\n", f->result->images, f->result->images == 1 ? "" : "s");
    line("allocated", f->result->bytes_allocated);
    putchar('\n');
    line("unique", f->unique);
    end_line(f->result->bytes_allocated, f->unique, "allocated is");
    line("stored", stored);
    end_line(f->result->bytes_allocated, stored, "allocated is");
    line("  data", f->data);
    end_line(f->unique, f->data, "unique is");
    line("  metadata", f->metadata);
    putchar('\n');
    if (archive) {
        line("unique to it", s->alone[CS_USAGE_DATA].bytes);
        putchar('\n');
        line("  stored", s->alone[CS_USAGE_DATA].stored + s->alone[CS_USAGE_META].stored);
        putchar('\n');
    } else {
        line("index", s->bytes_segments);
        putchar('\n');
        line("not needed", f->unneeded);
        putchar('\n');
    }
}

static int run(const struct cli *cli)
{
    struct engine_stats_options options = {0};
    struct engine_stats_result result = {0};
    struct cs_store *store = NULL;
    struct progress progress;
    struct error err = {0};
    double seconds;
    int code = repository_open(&store, &cli->options);

    if (code)
        return code;
    if (cli->operands.count &&
        archive_find(store, cli->operands.items[0], &options.archive, &err)) {
        code = fail_error(&err);
        goto out;
    }
    progress_begin(&progress, &cli->options, stdout);
    options.listener = listener_for(&progress);
    if (engine_stats(store, &options, &result, &err))
        code = fail_error(&err);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (!code) {
        struct figures figures = work_out(&result);

        if (cli->options.json)
            print_json(&figures, options.archive, seconds);
        else
            print_text(&figures, options.archive);
    }
out:
    cs_close(store);
    return code;
}

const struct command cmd_stats = {
    .name = "stats",
    .usage = "[ARCHIVE]",
    .summary = "shows how much archives hold, and what it takes to keep it",
    .description = COMMAND_ARCHIVE_HELP
    "\n"
    "Virtual is what the disks could hold, allocated what their layers do hold; unique\n"
    "are the bytes of different chunks in it, and stored is what they take, compressed.\n"
    "Of one archive it also shows what no other archive has; of all, what none needs.\n",
    .operands_max = 1,
    .run = run,
};

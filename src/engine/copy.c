/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Archives from one repository into another: their records and log entries. What a record names is
 * copy_layer.c's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/copy_known.h"
#include "engine/parent.h"
#include "engine/summary.h"
#include "engine/upkeep.h"

enum { CLUSTER_MIN = 512, TRIES = 3 /* where a prune frees what a run rests on */ };

struct copy {
    struct copy_run run;
    const struct engine_copy_options *options;
    struct engine_copy_result *result;
};

/* ---- which ---- */

static int compare_entries(const void *a, const void *b)
{
    uint64_t x = ((const struct engine_copied *)a)->source->entry;
    uint64_t y = ((const struct engine_copied *)b)->source->entry;
    return x < y ? -1 : x > y;
}

/* The older ones first, whatever the order in which they were named. */
static int choose(struct copy *c, struct error *err)
{
    struct engine_copy_result *r = c->result;
    size_t n = c->options->archive_count, kept = 0;
    r->archives = calloc(n + 1, sizeof *r->archives);
    if (r->archives == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < n; i++)
        r->archives[i].source = c->options->archives[i];
    qsort(r->archives, n, sizeof *r->archives, compare_entries);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || r->archives[kept - 1].source != r->archives[i].source)
            r->archives[kept++] = r->archives[i];
    r->count = kept;
    return 0;
}

/* ---- one archive ---- */

static int encode_summary(struct copy *c, const struct cs_archive *source,
                          const struct record_archive *record, char **json, size_t *len,
                          struct error *err)
{
    struct summary_details d = {0};
    char parent[CS_ID_HEX];
    int rc = summary_decode(&d, source, err);
    if (rc < 0)
        return rc;
    memcpy(parent, d.summary.parent, sizeof parent);
    rc = copy_find_parent(&c->run, parent, d.summary.parent, err);
    free(d.files); /* they are told by keyed digests */
    d.files = calloc(record->layer_count + 1, sizeof *d.files);
    d.file_count = record->layer_count;
    d.summary.bytes_allocated = 0;
    if (rc == 0 && d.files == NULL)
        rc = error_no_memory(err);
    for (size_t i = 0; rc == 0 && i < record->layer_count; i++) {
        parent_tags(c->run.to, &record->layers[i], record->host, &d.files[i]);
        d.summary.bytes_allocated += record->layers[i].bytes_allocated;
    }
    if (rc == 0)
        rc = summary_encode(&d, json, len, err);
    summary_clear(&d);
    return rc;
}

static int store_record(struct copy *c, enum cs_type type, char *json, size_t len, struct cs_id *id,
                        struct error *err)
{
    struct cs_error ce;
    int rc = cs_write_object(c->run.writer, type, json, len, id, &ce);
    free(json);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

/* Stores all that ${record} names, then itself and its layers'. */
static int store_archive(struct copy *c, struct record_archive *record, struct error *err)
{
    char *json = NULL;
    size_t len = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < record->layer_count; i++) {
        struct record_layer *layer = &record->layers[i];
        rc = copy_layer(&c->run, layer, err);
        if (rc == 0)
            rc = record_layer_encode(layer, &json, &len, err);
        if (rc == 0)
            rc = store_record(c, CS_LAYER_RECORD, json, len, &layer->id, err);
    }
    for (size_t i = 0; rc == 0 && i < record->with_count; i++)
        rc = copy_blob(&c->run, &record->with[i].blob, err);
    if (rc == 0)
        rc = record_archive_encode(record, &json, &len, err);
    return rc < 0 ? rc : store_record(c, CS_ARCHIVE_RECORD, json, len, &record->id, err);
}

/* The record says of tags what the log entry does; those may have changed since. */
static int take_tags(struct record_archive *record, const struct cs_archive *source,
                     struct error *err)
{
    char **tags = calloc(source->tag_count + 1, sizeof *tags);
    if (tags == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < record->tag_count; i++)
        free(record->tags[i]);
    free(record->tags);
    record->tags = tags;
    for (record->tag_count = 0; record->tag_count < source->tag_count; record->tag_count++) {
        tags[record->tag_count] = strdup(source->tags[record->tag_count]);
        if (tags[record->tag_count] == NULL)
            return error_no_memory(err);
    }
    return 0;
}

/* An archive that is stored, but not in the log yet. */
struct stored {
    struct record_archive record;
    char *summary;
    size_t summary_len;
};

static int store(struct copy *c, const struct cs_archive *source, struct stored *out,
                 struct error *err)
{
    int rc = record_archive_read(&out->record, c->run.from, &source->id, err);
    if (rc == 0)
        rc = take_tags(&out->record, source, err);
    if (rc == 0)
        rc = store_archive(c, &out->record, err);
    return rc < 0 ? rc
                  : encode_summary(c, source, &out->record, &out->summary, &out->summary_len, err);
}

/* Somebody else may be copying the same archive: whoever commits it first has done it. */
static void add_counters(struct cs_counters *sum, const struct cs_counters *more)
{
    sum->bytes_new += more->bytes_new;
    sum->bytes_stored += more->bytes_stored;
    sum->chunks_total += more->chunks_total;
    sum->chunks_new += more->chunks_new;
    sum->bytes_total += more->bytes_total;
    if (sum->level_lowest == 0 ||
        (more->level_lowest > 0 && more->level_lowest < sum->level_lowest))
        sum->level_lowest = more->level_lowest;
    if (more->level_highest > sum->level_highest)
        sum->level_highest = more->level_highest;
}

static int commit(struct copy *c, struct engine_copied *copied, const struct stored *stored,
                  struct error *err)
{
    struct cs_error ce;
    struct cs_counters counters = {0};
    const struct cs_archive *source = copied->source;
    const struct cs_id *id = &stored->record.id;
    struct cs_commit commit = {
        .archive = *id,
        .time = source->time,
        .name = source->name,
        .host = source->host,
        .tags = (const char *const *)source->tags,
        .tag_count = source->tag_count,
        .summary = stored->summary,
        .summary_len = stored->summary_len,
    };
    bool present = copy_is_live(c->run.to, id);
    if (!present && cs_writer_commit(c->run.writer, &commit, &counters, &ce) < 0) {
        present = copy_is_live(c->run.to, id);
        if (!present)
            return engine_store_error(err, &ce);
    }
    copied->archive = *id;
    copied->state = present ? ENGINE_COPY_PRESENT : ENGINE_COPY_DONE;
    add_counters(&c->result->stored, &counters);
    if (!present && copy_use(&c->run, id, NULL) < 0)
        copy_forget(&c->run);
    return 0;
}

static int begin_writer(struct copy *c, struct error *err)
{
    struct cs_error ce;
    struct cs_writer_options options = {
        .compression_level = c->options->compression_level,
        .dry_run = c->options->dry_run,
        .regions_lent = COPY_REGIONS,
    };
    if (c->run.writer != NULL)
        return 0;
    if (cs_writer_begin(&c->run.writer, c->run.to, &options, &ce) < 0)
        return engine_store_error(err, &ce);
    return copy_use_again(&c->run, err);
}

/* Ends an archive's writer: each begins one of its own, so that each is told what it stored. Where
 * nothing is committed, that would count what they share again and again. */
static void end_writer(struct copy *c, int rc, enum engine_copy_state state)
{
    if (c->options->dry_run)
        return;
    /* what a stopped run has stored, the next one finds */
    if (rc == ERROR_INTERRUPTED)
        cs_writer_publish(c->run.writer, NULL);
    cs_writer_end(c->run.writer);
    c->run.writer = NULL;
    if (state != ENGINE_COPY_DONE) /* what the memo was told of is gone with the writer */
        copy_forget(&c->run);
}

/* ---- all of them ---- */

/* Damage makes an end of one archive, anything else of all. */
static int tolerate(struct copy *c, const struct engine_copied *copied, struct error *err)
{
    char hex[CS_ID_HEX];
    if (engine_unless_forgotten(c->run.from, copied->source, err) != ERROR_CORRUPT)
        return err->code;
    cs_id_hex(&copied->source->id, hex);
    error_wrap(err, "archive %.16s of %s is not copied", hex, copied->source->name);
    c->options->report(c->options->listener.arg, err->message);
    c->result->damaged++;
    *err = (struct error){0};
    return 0;
}

static int copy_archive(struct copy *c, struct engine_copied *copied, struct error *err)
{
    struct stored stored = {0};
    int rc = begin_writer(c, err);
    if (rc == 0)
        rc = copy_learn_earlier(&c->run, copied->source, err);
    if (rc < 0)
        return rc;
    rc = store(c, copied->source, &stored, err);
    bool whole = rc == 0;
    if (whole && c->options->dry_run)
        copied->state = ENGINE_COPY_DONE;
    else if (whole)
        rc = commit(c, copied, &stored, err);
    end_writer(c, rc, copied->state);
    record_archive_clear(&stored.record);
    free(stored.summary);
    return rc < 0 && !whole ? tolerate(c, copied, err) : rc;
}

/* Whether the archive is to be copied: tells in ${*wanted}. Counts what there is to do. */
static int survey(struct copy *c, struct engine_copied *copied, bool *wanted, struct error *err)
{
    struct record_archive record = {0};
    bool found = false;
    *wanted = false;
    int rc = record_archive_read(&record, c->run.from, &copied->source->id, err);
    if (rc == 0)
        rc = copy_find(&c->run, copied->source, record.nonce, &copied->archive, &found, err);
    for (size_t i = 0; rc == 0 && !found && i < record.layer_count; i++)
        for (size_t k = 0; k < record.layers[i].view_count; k++)
            c->run.total += record.layers[i].views[k].content.bytes;
    record_archive_clear(&record);
    if (rc < 0)
        return tolerate(c, copied, err);
    if (found)
        copied->state = ENGINE_COPY_PRESENT;
    *wanted = !found;
    return 0;
}

static int copy_all(struct copy *c, bool *wanted, struct error *err)
{
    struct engine_copy_result *r = c->result;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->count; i++)
        rc = survey(c, &r->archives[i], &wanted[i], err);
    for (size_t i = 0; rc == 0 && i < r->count; i++) {
        if (!wanted[i])
            continue;
        rc = ERROR_CONFLICT;
        for (int tries = 0; rc == ERROR_CONFLICT && tries < TRIES; tries++)
            rc = copy_archive(c, &r->archives[i], err);
    }
    if (rc == 0 && c->run.writer != NULL)
        cs_writer_counters(c->run.writer, &r->stored);
    return rc;
}

static int check_both(struct cs_store *from, struct cs_store *to, struct error *err)
{
    struct cs_error ce;
    if (memcmp(cs_repository_id(from), cs_repository_id(to), sizeof(struct cs_id)) == 0)
        return error_set(err, ERROR_USAGE, "%s and %s are one repository", cs_path(from),
                         cs_path(to));
    if (cs_region_size(from) != cs_region_size(to))
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s divides disks into regions of %u bytes, %s into such of %u",
                         cs_path(from), (unsigned)cs_region_size(from), cs_path(to),
                         (unsigned)cs_region_size(to));
    if (cs_require_data_key(from, &ce) < 0) {
        engine_store_error(err, &ce);
        return error_wrap(err, "%s", cs_path(from));
    }
    return 0;
}

int engine_copy(struct cs_store *from, struct cs_store *to,
                const struct engine_copy_options *options, struct engine_copy_result *result,
                struct error *err)
{
    struct error e = {0};
    struct cs_error ce;
    struct copy c = {
        .run = {.from = from, .to = to, .listener = &options->listener},
        .options = options,
        .result = result,
    };
    *result = (struct engine_copy_result){0};
    int rc = check_both(from, to, err);
    if (rc < 0)
        return rc;
    bool *wanted = calloc(options->archive_count + 1, sizeof *wanted);
    c.run.places = calloc(cs_region_size(from) / CLUSTER_MIN, sizeof *c.run.places);
    if (wanted == NULL || c.run.places == NULL)
        rc = error_no_memory(&e);
    if (rc == 0)
        rc = copy_batch_new(&c.run.batch, from, &e);
    if (rc == 0 &&
        cs_find_missing_packs(to, options->listener.warning, options->listener.arg, &ce) < 0)
        rc = engine_store_error(&e, &ce);
    if (rc == 0)
        rc = choose(&c, &e);
    if (rc == 0)
        rc = copy_all(&c, wanted, &e);
    cs_writer_end(c.run.writer);
    copy_memo_clear(&c.run.memo);
    free(c.run.used);
    copy_batch_free(c.run.batch);
    free(c.run.places);
    free(wanted);
    if (rc < 0 && err != NULL)
        *err = e;
    return rc;
}

void engine_copy_result_clear(struct engine_copy_result *result)
{
    free(result->archives);
    *result = (struct engine_copy_result){0};
}

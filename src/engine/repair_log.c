/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Repairing the log: the store does it, and asks here what the record of an
 * archive says, and which archives are whole.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/check.h"
#include "engine/record.h"
#include "engine/summary.h"
#include "engine/upkeep.h"

struct repair_log {
    struct cs_store *store;
    const struct engine_repair_log_options *options;
};

static int store_code(struct cs_error *out, const struct error *err)
{
    enum cs_code code = CS_IO;
    if (err->code == ERROR_CORRUPT)
        code = CS_CORRUPT;
    else if (err->code == ERROR_NO_MEMORY)
        code = CS_NO_MEMORY;
    else if (err->code == ERROR_INTERRUPTED)
        code = CS_CANCELLED;
    return cs_fail(out, code, "%s", err->message);
}

/* The lost entry's summary, as far as the record has it. Files are not told, so that no backup
 * takes such an archive for its parent. */
static int make_summary(const struct record_archive *record, struct cs_archive *archive,
                        struct error *err)
{
    char *json = NULL;
    struct summary_details details = {
        .summary = {.images = record->image_count},
        .started_ns = archive->time * 1000000000,
        .file_count = record->layer_count,
    };
    details.files = calloc(record->layer_count + 1, sizeof *details.files);
    if (details.files == NULL)
        return error_no_memory(err);
    int rc = summary_encode(&details, &json, &archive->summary_len, err);
    archive->summary = (uint8_t *)json;
    free(details.files);
    return rc;
}

static int read_time(const struct record_archive *record, int64_t *seconds, struct error *err)
{
    struct tm tm = {0};
    const char *end = strptime(record->time, "%Y-%m-%dT%H:%M:%SZ", &tm);
    *seconds = (int64_t)timegm(&tm);
    if (end == NULL || *end != 0 || tm.tm_year > 400)
        return error_set(err, ERROR_CORRUPT, "archive record: its time is \"%.40s\"", record->time);
    return 0;
}

static int describe(void *arg, const void *json, size_t len, struct cs_archive *archive,
                    struct cs_error *err)
{
    struct record_archive record = {0};
    struct error why = {0};
    (void)arg;
    int rc = record_archive_decode(&record, json, len, &why);
    if (rc == 0)
        rc = read_time(&record, &archive->time, &why);
    if (rc == 0)
        rc = make_summary(&record, archive, &why);
    if (rc == 0) { /* they change hands */
        archive->name = record.name;
        archive->host = record.host;
        archive->tags = record.tags;
        archive->tag_count = record.tag_count;
        record.name = record.host = NULL;
        record.tags = NULL;
        record.tag_count = 0;
    }
    record_archive_clear(&record);
    return rc < 0 ? store_code(err, &why) : 0;
}

static void no_report(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static int damaged(void *arg, struct cs_id **ids, size_t *count, struct cs_error *err)
{
    const struct repair_log *r = arg;
    struct error why = {0};
    struct engine_check_result result = {0};
    const struct cs_damage nothing = {0};
    struct engine_check_options options = {
        .report = no_report,
        .listener = {.cancel = r->options->listener.cancel},
    };
    int rc = engine_check_archives(r->store, &options, &nothing, &result, &why);
    if (rc == 0) {
        *ids = result.damaged;
        *count = result.damaged_count;
        result.damaged = NULL;
    }
    engine_check_result_clear(&result);
    return rc < 0 ? store_code(err, &why) : 0;
}

static void tell(void *arg, const char *message)
{
    const struct repair_log *r = arg;
    r->options->report(r->options->listener.arg, message);
}

int engine_repair_log(struct cs_store *store, const struct engine_repair_log_options *options,
                      bool *written, struct error *err)
{
    struct repair_log r = {.store = store, .options = options};
    struct cs_repair_log_options store_options = {
        .report = tell,
        .describe = describe,
        .damaged = damaged,
        .arg = &r,
    };
    struct cs_error ce;
    if (cs_repair_log(store, &store_options, written, &ce) < 0)
        return engine_store_error(err, &ce);
    return 0;
}

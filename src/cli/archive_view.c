/* SPDX-License-Identifier: BSD-2-Clause */
/* The log entry of an archive, as JSON and in pieces for tables. */
#include "cli/archive_view.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/units.h"

enum { DIGITS_MIN = 8 };

json_t *archive_view_json(const struct cs_archive *archive, const struct engine_summary *summary)
{
    json_t *json = json_object();
    json_t *tags = json_array();
    char time[UNITS_TEXT];

    for (size_t i = 0; i < archive->tag_count; i++)
        json_array_append_new(tags, output_string(archive->tags[i]));
    json_object_set_new(json, "id", output_id(&archive->id));
    json_object_set_new(json, "name", output_string(archive->name));
    json_object_set_new(json, "host", output_string(archive->host));
    json_object_set_new(json, "time", json_string(units_utc_time(archive->time, time)));
    json_object_set_new(json, "tags", tags);
    json_object_set_new(json, "images", output_size(summary->images));
    json_object_set_new(json, "bytes_allocated", output_size(summary->bytes_allocated));
    json_object_set_new(json, "bytes_stored", output_size(archive->bytes_stored));
    json_object_set_new(json, "parent",
                        summary->parent[0] ? json_string(summary->parent) : json_null());
    return json;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct cs_id));
}

/* The number of hex digits at the beginning that ${a} and ${b} share. */
static int shared_digits(const struct cs_id *a, const struct cs_id *b)
{
    int digits = 0;

    for (size_t i = 0; i < CS_ID_SIZE; i++, digits += 2) {
        if (a->bytes[i] != b->bytes[i])
            return digits + ((a->bytes[i] ^ b->bytes[i]) < 0x10);
    }
    return digits;
}

int archive_view_digits(const struct cs_store *store)
{
    size_t count = cs_archive_count(store);
    struct cs_id *ids = count > 1 ? calloc(count, sizeof *ids) : NULL;
    int digits = DIGITS_MIN;

    if (!ids)
        return count > 1 ? CS_ID_HEX - 1 : digits;
    for (size_t i = 0; i < count; i++)
        ids[i] = cs_archive_at(store, i)->id;
    qsort(ids, count, sizeof *ids, compare_ids);
    for (size_t i = 1; i < count; i++) {
        int shared = shared_digits(&ids[i - 1], &ids[i]);

        if (digits < shared + 1)
            digits = shared + 1;
    }
    free(ids);
    return digits < CS_ID_HEX ? digits : CS_ID_HEX - 1;
}

char *archive_view_tags(const struct cs_archive *archive, const char *separator)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    bool failed;

    if (!stream)
        return NULL;
    for (size_t i = 0; i < archive->tag_count; i++)
        fprintf(stream, "%s%s", i ? separator : "", archive->tags[i]);
    failed = ferror(stream);
    if (fclose(stream) || failed) {
        free(text);
        return NULL;
    }
    return text;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The summary in an archive's log entry, as JSON. */
#include "engine/summary.h"

#include <stdlib.h>
#include <string.h>

#include "engine/json.h"

static json_t *tag_json(const char *tag)
{
    return *tag != 0 ? json_string(tag) : json_null();
}

int summary_encode(const struct summary_details *d, char **text, size_t *len, struct error *err)
{
    json_t *o = json_object(), *files = json_array();
    for (size_t i = 0; i < d->file_count; i++)
        json_array_append_new(
            files, json_pack("[o,o]", tag_json(d->files[i].file), tag_json(d->files[i].path)));
    bool whole = json_array_size(files) == d->file_count;
    json_object_set_new(o, "images", json_from_u64(d->summary.images));
    json_object_set_new(o, "bytes_allocated", json_from_u64(d->summary.bytes_allocated));
    json_object_set_new(o, "bytes_read", json_from_u64(d->bytes_read));
    json_object_set_new(o, "layers", json_from_u64(d->file_count));
    json_object_set_new(o, "files", files);
    json_object_set_new(o, "started_ns", json_from_i64(d->started_ns));
    json_object_set_new(o, "parent", tag_json(d->summary.parent));
    int rc =
        whole && json_object_size(o) == 7 ? json_encode(o, text, len, err) : error_no_memory(err);
    json_decref(o);
    return rc;
}

static void get_tag(const json_t *value, char tag[SUMMARY_TAG])
{
    const char *text = json_string_value(value);
    if (text != NULL && strlen(text) == SUMMARY_TAG - 1)
        memcpy(tag, text, SUMMARY_TAG);
}

static int get_files(struct json_reader *r, const json_t *root, struct summary_details *d)
{
    const json_t *files = json_list(r, root, "files");
    size_t n = json_array_size(files);
    if (r->bad)
        return ERROR_CORRUPT;
    d->files = calloc(n + 1, sizeof *d->files);
    if (d->files == NULL)
        return error_no_memory(r->err);
    for (; d->file_count < n; d->file_count++) {
        const json_t *pair = json_array_get(files, d->file_count);
        get_tag(json_array_get(pair, 0), d->files[d->file_count].file);
        get_tag(json_array_get(pair, 1), d->files[d->file_count].path);
    }
    return 0;
}

int summary_decode(struct summary_details *d, const struct cs_archive *archive, struct error *err)
{
    struct json_reader r = {.what = "summary of an archive", .err = err};
    json_error_t e;
    json_t *root = json_loadb((const char *)archive->summary, archive->summary_len,
                              JSON_REJECT_DUPLICATES, &e);
    *d = (struct summary_details){0};
    d->summary.images = json_get_u64(&r, root, "images");
    d->summary.bytes_allocated = json_get_u64(&r, root, "bytes_allocated");
    d->bytes_read = json_get_u64(&r, root, "bytes_read");
    d->started_ns = json_get_i64(&r, root, "started_ns");
    const json_t *parent = json_member(&r, root, "parent");
    if (!r.bad && !json_is_null(parent)) {
        struct cs_id id;
        json_to_id(&r, parent, "parent", &id);
        cs_id_hex(&id, d->summary.parent);
    }
    int rc = get_files(&r, root, d);
    json_decref(root);
    if (rc == 0 && r.bad)
        rc = ERROR_CORRUPT;
    if (rc < 0)
        summary_clear(d);
    return rc;
}

void summary_clear(struct summary_details *d)
{
    free(d->files);
    *d = (struct summary_details){0};
}

int engine_read_summary(const struct cs_archive *archive, struct engine_summary *summary,
                        struct error *err)
{
    struct summary_details d;
    *summary = (struct engine_summary){0};
    int rc = summary_decode(&d, archive, err);
    if (rc < 0)
        return rc;
    *summary = d.summary;
    summary_clear(&d);
    return 0;
}

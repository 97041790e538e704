/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An archive as a tar: where that goes, its beginning and its end. What files
 * are in it, export_chains.c and export_since.c know; export_file.c sends them.
 */
#include "engine/export.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/fd_stream.h"

struct output {
    struct exporter *e;
    struct target target; /* path NULL: standard output */
    struct fd_stream stream;
};

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n > k && strcmp(s + n - k, suffix) == 0;
}

static int choose_filter(const char *to, enum bundle_filter *filter, struct error *err)
{
    if (strcmp(to, "-") == 0 || ends_with(to, ".tar"))
        *filter = BUNDLE_PLAIN;
    else if (ends_with(to, ".tar.zst"))
        *filter = BUNDLE_ZSTD;
    else if (ends_with(to, ".tar.gz"))
        *filter = BUNDLE_GZIP;
    else
        return error_set(err, ERROR_USAGE,
                         "%s: its suffix tells how it is compressed, and has to be .tar, .tar.zst "
                         "or .tar.gz",
                         to);
    return 0;
}

int engine_export_check_name(const char *to, struct error *err)
{
    enum bundle_filter filter;
    return choose_filter(to, &filter, err);
}

void engine_export_result_clear(struct engine_export_result *result)
{
    for (size_t i = 0; i < result->file_count; i++)
        free(result->files[i].path);
    free(result->files);
    *result = (struct engine_export_result){0};
}

static int idle(void *arg, struct error *err)
{
    struct output *o = arg;
    return restore_step(&o->e->r, NULL, 0, err);
}

static int on_write(void *arg, const void *buf, size_t len, struct error *err)
{
    struct output *o = arg;
    int rc = fd_stream_write(&o->stream, buf, len, idle, o, err);
    if (rc == 0)
        o->e->result->bytes_written += len;
    return rc;
}

static int fill_manifest(struct exporter *e, struct error *err)
{
    const struct record_archive *a = &e->r.archive;
    const struct cs_archive *archive = e->archive, *since = e->options->since;
    struct manifest *m = &e->manifest;
    cs_id_hex(&a->id, m->archive);
    m->name = strdup(a->name);
    m->host = strdup(a->host);
    m->time = strdup(a->time);
    m->tags = calloc(archive->tag_count + 1, sizeof *m->tags);
    if (m->name == NULL || m->host == NULL || m->time == NULL || m->tags == NULL)
        return error_no_memory(err);
    for (; m->tag_count < archive->tag_count; m->tag_count++) {
        m->tags[m->tag_count] = strdup(archive->tags[m->tag_count]);
        if (m->tags[m->tag_count] == NULL)
            return error_no_memory(err);
    }
    if (since == NULL)
        return 0;
    char text[64];
    struct tm tm;
    time_t t = since->time;
    if (gmtime_r(&t, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        text[0] = 0;
    cs_id_hex(&since->id, m->since);
    m->since_name = strdup(since->name);
    m->since_time = strdup(text);
    return m->since_name == NULL || m->since_time == NULL ? error_no_memory(err) : 0;
}

static int open_output(struct output *o, struct error *err)
{
    struct exporter *e = o->e;
    enum bundle_filter filter = BUNDLE_PLAIN;
    const struct bundle_sink sink = {.write = on_write, .arg = o};
    int rc = choose_filter(e->options->to, &filter, err);
    if (rc == 0 && strcmp(e->options->to, "-") != 0)
        rc = target_open(&o->target, e->options->to, e->options->force, err);
    if (rc < 0)
        return rc;
    o->stream = o->target.path != NULL ? fd_stream_open(o->target.fd, o->target.path)
                                       : fd_stream_open(STDOUT_FILENO, "standard output");
    return bundle_writer_new(&e->tar, filter, cs_fetch_threads(e->r.fetch), &sink, err);
}

static int send_sums(struct exporter *e, struct error *err)
{
    const struct bundle_file file = {
        .name = MANIFEST_SUMS,
        .size = e->sums_len,
        .mode = 0644,
        .uid = geteuid(),
        .gid = getegid(),
        .mtime_ns = (int64_t)time(NULL) * 1000000000,
    };
    int rc = bundle_writer_begin(e->tar, &file, err);
    return rc == 0 ? bundle_writer_data(e->tar, e->sums, e->sums_len, err) : rc;
}

static int close_output(struct output *o, struct error *err)
{
    const struct target_attributes attributes = {
        .mode = S_IFREG | 0600,
        .uid = geteuid(),
        .gid = getegid(),
        .mtime_ns = (int64_t)time(NULL) * 1000000000,
    };
    int rc = bundle_writer_finish(o->e->tar, err);
    if (rc == 0 && o->target.path != NULL)
        rc = target_seal(&o->target, &attributes, err);
    if (rc == 0 && o->target.path != NULL)
        rc = target_place(&o->target, err);
    return rc;
}

static int run(struct exporter *e, struct error *err)
{
    struct output output = {.e = e, .target = {.fd = -1}, .stream = {.other_fd = -1}};
    int rc = fill_manifest(e, err);
    if (rc == 0)
        rc = open_output(&output, err);
    if (rc == 0)
        rc = e->options->since != NULL ? export_since(e, e->options->since, err)
                                       : export_chains(e, err);
    if (rc == 0)
        rc = send_sums(e, err);
    if (rc == 0)
        rc = close_output(&output, err);
    bundle_writer_free(e->tar);
    fd_stream_close(&output.stream);
    target_clear(&output.target);
    return rc;
}

int engine_export(struct cs_store *store, const struct cs_archive *archive,
                  const struct engine_export_options *options, struct engine_export_result *result,
                  struct error *err)
{
    struct engine_restore_result files = {0};
    const struct engine_restore_options restore = {.listener = options->listener};
    struct exporter e = {
        .r = {.store = store, .options = &restore, .result = &files},
        .options = options,
        .result = result,
        .archive = archive,
    };
    struct cs_error ce;
    *result = (struct engine_export_result){0};
    if (cs_require_data_key(store, &ce) < 0)
        return engine_store_error(err, &ce);
    e.buf = malloc(EXPORT_BUFFER);
    int rc = e.buf == NULL ? error_no_memory(err) : sha256_new(&e.sha, err);
    if (rc == 0)
        rc = record_archive_read(&e.r.archive, store, &archive->id, err);
    if (rc == 0)
        rc = export_name_contents(&e.r.archive, err);
    if (rc == 0 && cs_fetch_new(&e.r.fetch, store, &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc == 0)
        rc = run(&e, err);
    cs_fetch_free(e.r.fetch);
    record_archive_clear(&e.r.archive);
    engine_restore_result_clear(&files);
    manifest_clear(&e.manifest);
    sha256_free(e.sha);
    free(e.sums);
    free(e.buf);
    if (rc < 0)
        rc = engine_unless_forgotten(store, archive, err);
    return rc < 0 && options->since != NULL ? engine_unless_forgotten(store, options->since, err)
                                            : rc;
}

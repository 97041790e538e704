/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which archive a layer is compared with. The log entries of archives tell by
 * digests which files they hold. Whether such a file is unchanged is not known
 * here.
 */
#include "engine/parent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/needs.h"

struct loaded {
    struct cs_id id;
    struct record_archive *record; /* NULL: it could not be read */
};

struct parents {
    struct cs_store *store;
    const struct engine_listener *listener;
    bool doubtful; /* something is missing in the repository */
    struct loaded *archives;
    size_t count;
};

/* What is known of a file's parent before any record is read. */
struct candidate {
    const struct cs_archive *archive; /* NULL: none yet */
    size_t position;
    int64_t started_ns;
    bool same_file;
};

static void digest(const struct cs_store *store, const char *a, const char *b,
                   char hex[SUMMARY_TAG])
{
    struct cs_id id;
    char whole[CS_ID_HEX];
    char *text = NULL;
    hex[0] = 0;
    if (asprintf(&text, "%s\n%s", a, b) < 0)
        return; /* such a file has no parent */
    cs_digest(store, "byre file", text, strlen(text), &id);
    free(text);
    snprintf(hex, SUMMARY_TAG, "%s", cs_id_hex(&id, whole));
}

void parent_tags(const struct cs_store *store, const struct record_layer *layer, const char *host,
                 struct summary_file *tags)
{
    char inode[32];
    *tags = (struct summary_file){0};
    snprintf(inode, sizeof inode, "%" PRIu64, layer->file.inode);
    if (layer->file.fs.id != NULL && S_ISREG(layer->file.mode))
        digest(store, layer->file.fs.id, inode, tags->file);
    digest(store, host, layer->file.real_path, tags->path);
}

static bool same_tag(const char *a, const char *b)
{
    return *a != 0 && strcmp(a, b) == 0;
}

/* Looks through one archive; returns how many files have their parent for good now. */
static size_t look_through(const struct cs_archive *archive, const struct summary_details *details,
                           const struct summary_file *tags, size_t n, struct candidate *found)
{
    size_t settled = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < details->file_count && !found[i].same_file; k++) {
            bool same = same_tag(tags[i].file, details->files[k].file);
            if (!same &&
                (found[i].archive != NULL || !same_tag(tags[i].path, details->files[k].path)))
                continue;
            found[i] = (struct candidate){archive, k, details->started_ns, same};
            settled += same;
        }
    return settled;
}

static bool tells_any(const struct summary_details *details, const struct summary_file *tags,
                      size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < details->file_count; k++)
            if (same_tag(tags[i].file, details->files[k].file) ||
                same_tag(tags[i].path, details->files[k].path))
                return true;
    return false;
}

int parent_is_trusted(struct cs_store *store, const struct cs_archive *archive, bool *trusted,
                      struct error *err)
{
    struct cs_author author;
    struct cs_error ce;
    *trusted = false;
    int rc = cs_archive_author(store, archive, &author, &ce);
    if (rc == CS_CORRUPT || rc == CS_NOT_FOUND)
        return 0;
    if (rc < 0)
        return engine_store_error(err, &ce);
    *trusted = author.own || (author.role == CS_ROLE_FULL && !author.removed);
    return 0;
}

static int find_candidates(struct cs_store *store, const struct summary_file *tags, size_t n,
                           struct candidate *found, struct error *err)
{
    size_t settled = 0;
    for (size_t i = cs_archive_count(store); i-- > 0 && settled < n;) {
        struct summary_details details;
        const struct cs_archive *archive = cs_archive_at(store, i);
        int rc = summary_decode(&details, archive, err);
        if (rc == ERROR_NO_MEMORY)
            return rc;
        if (rc < 0) /* somebody else's words */
            continue;
        bool trusted = false;
        rc = tells_any(&details, tags, n) ? parent_is_trusted(store, archive, &trusted, err) : 0;
        if (trusted)
            settled += look_through(archive, &details, tags, n, found);
        summary_clear(&details);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What cannot be read is left NULL, and the listener is told. */
static int load(struct parents *p, struct loaded *loaded, struct error *err)
{
    struct error why = {0};
    struct record_archive *a = calloc(1, sizeof *a);
    if (a == NULL)
        return error_no_memory(err);
    bool whole = true;
    int rc = record_archive_read(a, p->store, &loaded->id, &why);
    if (rc == 0 && p->doubtful)
        rc = needs_are_met(p->store, &loaded->id, p->listener->cancel, &whole, &why, &why);
    if (rc == 0 && whole) {
        loaded->record = a;
        return 0;
    }
    record_archive_clear(a);
    free(a);
    if (rc == ERROR_NO_MEMORY || rc == ERROR_INTERRUPTED) {
        *err = why;
        return rc;
    }
    error_wrap(&why, "the earlier backup cannot be compared with, so all is read");
    if (p->listener->warning != NULL)
        p->listener->warning(p->listener->arg, why.message);
    return 0;
}

/* The record of ${archive}, read once. */
static int get_record(struct parents *p, const struct cs_archive *archive,
                      const struct record_archive **record, struct error *err)
{
    size_t i = 0;
    while (i < p->count && memcmp(&p->archives[i].id, &archive->id, sizeof archive->id) != 0)
        i++;
    if (i == p->count) {
        struct loaded *more = reallocarray(p->archives, i + 1, sizeof *more);
        if (more == NULL)
            return error_no_memory(err);
        p->archives = more;
        more[i] = (struct loaded){.id = archive->id};
        p->count++;
        int rc = load(p, &more[i], err);
        if (rc < 0)
            return rc;
    }
    *record = p->archives[i].record;
    return 0;
}

int parents_choose(struct parents **out, struct cs_store *store, const struct summary_file *tags,
                   size_t n, struct parent *chosen, const struct engine_listener *listener,
                   struct error *err)
{
    struct parents *p = calloc(1, sizeof *p);
    struct candidate *found = calloc(n + 1, sizeof *found);
    int rc = p == NULL || found == NULL ? error_no_memory(err) : 0;
    if (rc == 0) {
        struct cs_error ce;
        *p = (struct parents){.store = store, .listener = listener};
        if (cs_lacks_objects(store, &p->doubtful, &ce) < 0)
            rc = engine_store_error(err, &ce);
    }
    if (rc == 0)
        rc = find_candidates(store, tags, n, found, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        chosen[i] = (struct parent){0};
        if (found[i].archive == NULL)
            continue;
        const struct record_archive *record = NULL;
        rc = get_record(p, found[i].archive, &record, err);
        if (rc == 0 && record != NULL && found[i].position < record->layer_count)
            chosen[i] =
                (struct parent){record, found[i].position, found[i].started_ns, found[i].same_file};
    }
    free(found);
    if (rc < 0) {
        parents_free(p);
        p = NULL;
    }
    *out = p;
    return rc;
}

void parents_free(struct parents *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++) {
        if (p->archives[i].record != NULL)
            record_archive_clear(p->archives[i].record);
        free(p->archives[i].record);
    }
    free(p->archives);
    free(p);
}

const struct record_layer *parent_layer(const struct parent *parent)
{
    return parent->archive != NULL ? &parent->archive->layers[parent->position] : NULL;
}

bool parent_below(const struct parent *parent, size_t *position)
{
    for (size_t i = 0; i < parent->archive->image_count; i++) {
        const struct record_image *image = &parent->archive->images[i];
        for (size_t k = 0; k + 1 < image->layer_count; k++)
            if (image->layers[k] == *position) {
                *position = image->layers[k + 1];
                return true;
            }
    }
    return false;
}

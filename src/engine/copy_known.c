/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which archives of one repository are in another already, and what those that
 * are tell of what has become of leaves. An archive's nonce tells its copy, in
 * whatever repository.
 */
#include "engine/copy_known.h"

#include <stdlib.h>
#include <string.h>

#include "engine/needs.h"
#include "engine/parent.h"

/* As far as the log can tell. */
static bool is_alike(const struct cs_archive *a, const struct cs_archive *b)
{
    return a->time == b->time && strcmp(a->name, b->name) == 0 && strcmp(a->host, b->host) == 0;
}

int copy_find(struct copy_run *run, const struct cs_archive *source, const char *nonce,
              struct cs_id *id, bool *found, struct error *err)
{
    int rc = 0;
    *found = false;
    for (size_t i = 0; rc == 0 && !*found && i < cs_archive_count(run->to); i++) {
        const struct cs_archive *a = cs_archive_at(run->to, i);
        struct record_archive record = {0};
        if (!is_alike(a, source))
            continue;
        bool trusted = false;
        *id = a->id;
        rc = record_archive_read_alone(&record, run->to, &a->id, err);
        if (rc == 0 && strcmp(record.nonce, nonce) == 0)
            rc = parent_is_trusted(run->to, a, &trusted, err);
        *found = rc == 0 && trusted;
        record_archive_clear(&record);
    }
    return rc;
}

int copy_find_parent(struct copy_run *run, const char *parent, char hex[CS_ID_HEX],
                     struct error *err)
{
    struct cs_id id, copied;
    const struct cs_archive *source = NULL;
    struct record_archive record = {0};
    struct error why = {0};
    bool found = false;
    hex[0] = 0;
    if (!cs_id_parse(&id, parent))
        return 0;
    for (size_t i = 0; source == NULL && i < cs_archive_count(run->from); i++)
        if (memcmp(&cs_archive_at(run->from, i)->id, &id, sizeof id) == 0)
            source = cs_archive_at(run->from, i);
    if (source == NULL || record_archive_read_alone(&record, run->from, &source->id, &why) < 0)
        return 0;
    int rc = copy_find(run, source, record.nonce, &copied, &found, err);
    if (rc == 0 && found)
        cs_id_hex(&copied, hex);
    record_archive_clear(&record);
    return rc;
}

/* ---- what the memo rests on ---- */

bool copy_is_live(const struct cs_store *store, const struct cs_id *id)
{
    for (size_t i = 0; i < cs_archive_count(store); i++)
        if (memcmp(&cs_archive_at(store, i)->id, id, sizeof *id) == 0)
            return true;
    return false;
}

void copy_forget(struct copy_run *run)
{
    copy_memo_clear(&run->memo);
    run->used_count = 0;
}

int copy_use(struct copy_run *run, const struct cs_id *id, struct error *err)
{
    struct cs_error ce;
    struct cs_id *used = reallocarray(run->used, run->used_count + 1, sizeof *used);
    if (used == NULL)
        return error_no_memory(err);
    run->used = used;
    used[run->used_count++] = *id;
    if (run->writer != NULL && cs_writer_uses_archive(run->writer, id, &ce) < 0)
        return engine_store_error(err, &ce);
    return 0;
}

int copy_use_again(struct copy_run *run, struct error *err)
{
    struct cs_error ce;
    int rc = 0;
    for (size_t i = 0; i < run->used_count; i++)
        if (!copy_is_live(run->to, &run->used[i]))
            copy_forget(run);
    for (size_t i = 0; rc == 0 && i < run->used_count; i++)
        rc = cs_writer_uses_archive(run->writer, &run->used[i], &ce);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

/* Whether the log of ${store} has an archive that may be a copy of ${source}. */
static bool may_have(const struct cs_store *store, const struct cs_archive *source)
{
    for (size_t i = 0; i < cs_archive_count(store); i++)
        if (is_alike(cs_archive_at(store, i), source))
            return true;
    return false;
}

/* Whether all of the archive is there: a memo of what is missing would make more that lack it. */
static int is_whole(struct copy_run *run, const struct cs_id *id, bool *whole, struct error *err)
{
    struct cs_error ce;
    bool lacks = false;
    if (cs_lacks_objects(run->to, &lacks, &ce) < 0)
        return engine_store_error(err, &ce);
    *whole = true;
    return lacks ? needs_are_met(run->to, id, run->listener->cancel, whole, NULL, err) : 0;
}

/* Learns from ${earlier} and its copy, if it has one: tells in ${*learnt}. */
static int learn_from(struct copy_run *run, const struct cs_archive *earlier, bool *learnt,
                      struct error *err)
{
    struct record_archive record = {0}, copy = {0};
    struct cs_id id;
    int rc = record_archive_read(&record, run->from, &earlier->id, err);
    if (rc == 0)
        rc = copy_find(run, earlier, record.nonce, &id, learnt, err);
    if (rc == 0 && *learnt)
        rc = is_whole(run, &id, learnt, err);
    if (rc == 0 && *learnt)
        rc = copy_use(run, &id, err);
    if (rc == 0 && *learnt)
        rc = record_archive_read(&copy, run->to, &id, err);
    for (size_t i = 0; rc == 0 && i < record.layer_count && i < copy.layer_count; i++)
        rc = copy_learn(run, &record.layers[i], &copy.layers[i], err);
    record_archive_clear(&record);
    record_archive_clear(&copy);
    return rc;
}

int copy_learn_earlier(struct copy_run *run, const struct cs_archive *source, struct error *err)
{
    bool learnt = false;
    int rc = 0;
    for (size_t i = cs_archive_count(run->from); rc == 0 && !learnt && i-- > 0;) {
        const struct cs_archive *a = cs_archive_at(run->from, i);
        if (a->entry >= source->entry || strcmp(a->name, source->name) != 0 ||
            strcmp(a->host, source->host) != 0 || !may_have(run->to, a))
            continue;
        struct error why = {0};
        rc = learn_from(run, a, &learnt, &why);
        if (rc == ERROR_CORRUPT) {
            copy_forget(run);
            rc = 0;
        } else if (rc < 0) {
            *err = why;
        }
    }
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Forgetting archives: those that are named, or those that no rule keeps. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/policy.h"
#include "engine/upkeep.h"

static int compare_text(const char *a, const char *b)
{
    int order = strcmp(a, b);
    return order < 0 ? -1 : order > 0;
}

/* Whether two archives are of one group; else their order. */
static int compare_groups(const struct engine_forget_options *o, const struct cs_archive *a,
                          const struct cs_archive *b)
{
    int order = o->group_by_name ? compare_text(a->name, b->name) : 0;
    return order != 0 || !o->group_by_host ? order : compare_text(a->host, b->host);
}

/* By group, then the newest first; of one second, the last in the log first. */
static int compare_decisions(const void *x, const void *y, void *arg)
{
    const struct cs_archive *a = ((const struct engine_decision *)x)->archive;
    const struct cs_archive *b = ((const struct engine_decision *)y)->archive;
    int order = compare_groups(arg, a, b);
    if (order != 0)
        return order;
    if (a->time != b->time)
        return a->time > b->time ? -1 : 1;
    return a->entry > b->entry ? -1 : a->entry < b->entry;
}

static int decide_group(const struct engine_forget_options *o, struct engine_decision *decisions,
                        size_t n, struct error *err)
{
    int rc = policy_apply(&o->keep, (int64_t)time(NULL), decisions, n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (decisions[i].keep)
            return 0;
    if (rc < 0)
        return rc;
    const struct cs_archive *a = decisions[0].archive;
    return error_set(err, ERROR_USAGE,
                     "these rules would keep none of %zu archive%s%s%s%s%s; nothing was forgotten",
                     n, n == 1 ? "" : "s", o->group_by_name ? " of " : "",
                     o->group_by_name ? a->name : "", o->group_by_host ? " from " : "",
                     o->group_by_host ? a->host : "");
}

static bool has_tag(const struct cs_archive *archive, const char *tag)
{
    for (size_t i = 0; i < archive->tag_count; i++)
        if (strcmp(archive->tags[i], tag) == 0)
            return true;
    return false;
}

/* Whether the rules are to look at ${archive}. */
static bool is_wanted(const struct cs_archive *archive, const struct engine_forget_options *o)
{
    if ((o->name != NULL && strcmp(archive->name, o->name) != 0) ||
        (o->host != NULL && strcmp(archive->host, o->host) != 0))
        return false;
    for (size_t i = 0; i < o->tag_count; i++)
        if (!has_tag(archive, o->tags[i]))
            return false;
    return true;
}

static int decide_by_rules(struct cs_store *store, const struct engine_forget_options *o,
                           struct engine_forget_result *result, struct error *err)
{
    for (size_t i = 0; i < cs_archive_count(store); i++) {
        const struct cs_archive *archive = cs_archive_at(store, i);
        if (is_wanted(archive, o))
            result->decisions[result->count++].archive = archive;
    }
    qsort_r(result->decisions, result->count, sizeof *result->decisions, compare_decisions,
            (void *)o);
    int rc = 0;
    for (size_t i = 0, next; rc == 0 && i < result->count; i = next) {
        next = i + 1;
        while (next < result->count && compare_groups(o, result->decisions[i].archive,
                                                      result->decisions[next].archive) == 0)
            next++;
        rc = decide_group(o, result->decisions + i, next - i, err);
    }
    return rc;
}

static void decide_named(const struct engine_forget_options *o, struct engine_forget_result *result)
{
    for (size_t i = 0; i < o->archive_count; i++) {
        size_t k = 0;
        while (k < result->count && result->decisions[k].archive != o->archives[i])
            k++;
        if (k == result->count)
            result->decisions[result->count++].archive = o->archives[i];
    }
}

int engine_forget(struct cs_store *store, const struct engine_forget_options *o,
                  struct engine_forget_result *result, struct error *err)
{
    struct cs_error ce;
    bool rules = policy_is_set(&o->keep);
    *result = (struct engine_forget_result){0};
    if (rules == (o->archive_count > 0))
        return error_set(
            err, ERROR_USAGE,
            "either archives or rules for keeping some say what to forget: byre forget "
            "ARCHIVE, or byre forget --keep-daily 7 --keep-weekly 4");
    size_t room = cs_archive_count(store) + o->archive_count + 1;
    result->decisions = calloc(room, sizeof *result->decisions);
    result->forgotten = calloc(room, sizeof *result->forgotten);
    if (result->decisions == NULL || result->forgotten == NULL)
        return error_no_memory(err);
    int rc = 0;
    if (rules)
        rc = decide_by_rules(store, o, result, err);
    else
        decide_named(o, result);
    for (size_t i = 0; rc == 0 && i < result->count; i++)
        if (!result->decisions[i].keep && result->decisions[i].archive != NULL)
            result->forgotten[result->forgotten_count++] = result->decisions[i].archive->id;
    if (rc == 0 && !o->dry_run &&
        cs_forget(store, result->forgotten, result->forgotten_count, &ce) < 0)
        rc = engine_store_error(err, &ce);
    return rc;
}

void engine_forget_result_clear(struct engine_forget_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        for (size_t k = 0; k < result->decisions[i].reason_count; k++)
            free(result->decisions[i].reasons[k]);
        free(result->decisions[i].reasons);
    }
    free(result->decisions);
    free(result->forgotten);
    *result = (struct engine_forget_result){0};
}

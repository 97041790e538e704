/* SPDX-License-Identifier: BSD-2-Clause */
/* Archives in the fold: their texts, forgetting them, their tags. */
#include <stdlib.h>
#include <string.h>

#include "state_parts.h"

struct cs_archive *cs_state_new_archive(struct cs_state *state)
{
    struct cs_archive *archive = calloc(1, sizeof *archive);
    struct cs_archive **slot =
        archive != NULL ? CS_STATE_GROW(state->archives, state->archive_count) : NULL;
    if (slot == NULL) {
        free(archive);
        return NULL;
    }
    *slot = archive;
    return archive;
}

/* What an archive entry and a checkpoint have in common. */
int cs_state_get_archive_text(struct cs_reader *r, struct cs_archive *archive)
{
    archive->name = cs_get_str16(r);
    archive->host = cs_get_str16(r);
    uint16_t tags = cs_get_count16(r, 2);
    if (tags > 0) {
        archive->tags = calloc(tags, sizeof *archive->tags);
        if (archive->tags == NULL)
            return CS_NO_MEMORY;
    }
    for (uint16_t i = 0; i < tags && !r->bad; i++) {
        archive->tags[i] = cs_get_str16(r);
        archive->tag_count = i + 1U;
    }
    archive->summary_len = cs_get_u32(r);
    const uint8_t *summary = cs_get_bytes(r, archive->summary_len);
    if (summary == NULL) {
        archive->summary_len = 0;
        return 0;
    }
    archive->summary = malloc(archive->summary_len + 1);
    if (archive->summary == NULL)
        return CS_NO_MEMORY;
    memcpy(archive->summary, summary, archive->summary_len);
    archive->summary[archive->summary_len] = 0;
    return 0;
}

/* ---- forget ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, CS_ID_SIZE);
}

int cs_state_apply_forget(struct cs_state *state, uint64_t number, struct cs_reader r, bool change,
                          struct cs_error *err)
{
    uint32_t n = cs_get_count32(&r, CS_ID_SIZE);
    const uint8_t *ids = cs_get_bytes(&r, (size_t)n * CS_ID_SIZE);
    if (!cs_reader_done(&r))
        return cs_state_corrupt(err, number, &r);
    if (!change || n == 0)
        return 0;
    struct cs_id *sorted = calloc(n, sizeof *sorted);
    struct cs_archive **forgotten = reallocarray(
        state->forgotten, state->forgotten_count + state->archive_count + 1, sizeof *forgotten);
    if (forgotten != NULL)
        state->forgotten = forgotten;
    if (sorted == NULL || forgotten == NULL) {
        free(sorted);
        return cs_fail_memory(err);
    }
    memcpy(sorted, ids, (size_t)n * CS_ID_SIZE);
    qsort(sorted, n, sizeof *sorted, compare_ids);
    size_t kept = 0;
    for (size_t i = 0; i < state->archive_count; i++) {
        struct cs_archive *archive = state->archives[i];
        if (bsearch(&archive->id, sorted, n, sizeof *sorted, compare_ids) == NULL)
            state->archives[kept++] = archive;
        else
            state->forgotten[state->forgotten_count++] = archive;
    }
    state->archive_count = kept;
    free(sorted);
    return 0;
}

/* ---- tag ---- */

static void tags_free(char **tags, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(tags[i]);
    free(tags);
}

static bool has_tag(char *const *tags, size_t n, const char *tag)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(tags[i], tag) == 0)
            return true;
    return false;
}

static int get_tags(struct cs_reader *r, char ***tags, uint16_t *count)
{
    uint16_t n = cs_get_count16(r, 2);
    *tags = calloc(n + 1U, sizeof **tags);
    if (*tags == NULL)
        return CS_NO_MEMORY;
    for (uint16_t i = 0; i < n && !r->bad; i++) {
        (*tags)[i] = cs_get_str16(r);
        *count = i + 1;
    }
    return 0;
}

/* The tags of ${archive} without ${removed}, then those of ${added} that are not among them. Those
 * that are dropped are freed, those that are taken over are NULL in ${added} afterwards. */
static int change_tags(struct cs_archive *archive, char *const *removed, size_t removed_count,
                       char **added, size_t added_count)
{
    char **tags = calloc(archive->tag_count + added_count + 1, sizeof *tags);
    size_t n = 0;
    if (tags == NULL)
        return CS_NO_MEMORY;
    for (size_t i = 0; i < archive->tag_count; i++)
        if (has_tag(removed, removed_count, archive->tags[i]))
            free(archive->tags[i]);
        else
            tags[n++] = archive->tags[i];
    for (size_t i = 0; i < added_count; i++)
        if (!has_tag(tags, n, added[i])) {
            tags[n++] = added[i];
            added[i] = NULL;
        }
    free(archive->tags);
    archive->tags = tags;
    archive->tag_count = n;
    return 0;
}

int cs_state_apply_tag(struct cs_state *state, uint64_t number, struct cs_reader r, bool change,
                       struct cs_error *err)
{
    struct cs_id id;
    char **removed = NULL, **added = NULL;
    uint16_t removed_count = 0, added_count = 0;
    cs_get_copy(&r, &id, sizeof id);
    int rc = get_tags(&r, &removed, &removed_count);
    if (rc == 0)
        rc = get_tags(&r, &added, &added_count);
    if (rc < 0)
        cs_fail_memory(err);
    else if (!cs_reader_done(&r) || removed_count + added_count > CS_TAG_CHANGES)
        rc = cs_state_corrupt(err, number, &r);
    size_t at = cs_state_archive(state, &id);
    if (rc == 0 && !change && at < state->archive_count &&
        state->archives[at]->tag_count + added_count > CS_TAGS_MAX)
        rc = cs_fail(err, CS_CORRUPT, "log entry %llu: gives an archive more than %d tags",
                     (unsigned long long)number, CS_TAGS_MAX);
    if (rc == 0 && change && at < state->archive_count &&
        change_tags(state->archives[at], removed, removed_count, added, added_count) < 0)
        rc = cs_fail_memory(err);
    tags_free(removed, removed_count);
    tags_free(added, added_count);
    return rc;
}

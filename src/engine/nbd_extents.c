/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the server says of the export's blocks: which read as zeros, which a
 * dirty bitmap has. An answer is kept until something outside of it is asked
 * for, and one that contradicts itself is none.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/nbd_source_parts.h"

enum {
    QUERY = 1 << 30,       /* bytes whose state is asked for at once */
    EXTENTS_MAX = 1 << 16, /* what is kept of an answer */
    DIRTY = 1 << 0,        /* flag of QEMU's dirty bitmaps */
};

void nbd_extents_clear(struct nbd_extents *e)
{
    free(e->list);
    *e = (struct nbd_extents){0};
}

/* Keeps what fits; a stretch that is like the one before is one with it. */
static int on_extents(void *arg, const char *context, uint64_t offset, uint32_t *entries,
                      size_t count, int *error)
{
    struct nbd_source *s = arg;
    struct nbd_extents *e = s->dirty.context != NULL && strcmp(context, s->dirty.context) == 0
                                ? &s->dirty
                                : &s->allocation;
    uint64_t at = offset;
    (void)error;
    e->wrong |= e->count > 0 || offset != e->from || count % 2 != 0;
    for (size_t i = 0; !e->wrong && i + 1 < count; i += 2) {
        uint64_t length = entries[i];
        if (length == 0 || length > s->size - at) {
            e->wrong = true;
            break;
        }
        at += length;
        if (e->count > 0 && e->list[e->count - 1].flags == entries[i + 1])
            e->list[e->count - 1].end = at;
        else if (e->count < EXTENTS_MAX)
            e->list[e->count++] = (struct nbd_extent){at, entries[i + 1]};
        else
            break;
    }
    return 0;
}

static int prepare(struct nbd_extents *e, uint64_t at, struct error *err)
{
    if (e->context != NULL && e->list == NULL)
        e->list = calloc(EXTENTS_MAX, sizeof *e->list);
    if (e->context != NULL && e->list == NULL)
        return error_no_memory(err);
    e->from = at;
    e->count = 0;
    e->next = 0;
    e->wrong = false;
    return 0;
}

static int check_answer(const struct nbd_source *s, const struct nbd_extents *e, struct error *err)
{
    if (e->context == NULL || (e->count > 0 && !e->wrong))
        return 0;
    return error_set(err, ERROR_CORRUPT, "%s: the server contradicts itself in %s at %" PRIu64,
                     s->name, e->context, e->from);
}

/* Asks for what is at ${at} and behind, in all contexts. */
static int ask_for_extents(struct nbd_source *s, uint64_t at, struct error *err)
{
    uint64_t length = s->size - at < QUERY ? s->size - at : QUERY;
    int rc = prepare(&s->allocation, at, err);
    if (rc == 0)
        rc = prepare(&s->dirty, at, err);
    if (rc < 0)
        return rc;
    nbd_extent_callback each = {.callback = on_extents, .user_data = s};
    int64_t cookie = nbd_aio_block_status(s->nbd, length, at, each, nbd_source_expect_ending(s), 0);
    if (cookie < 0)
        return nbd_source_fail(s, err);
    rc = nbd_source_wait_for_ending(s, err);
    if (rc == 0 && nbd_aio_command_completed(s->nbd, (uint64_t)cookie) < 0)
        rc = nbd_source_fail(s, err);
    if (rc == 0)
        rc = check_answer(s, &s->allocation, err);
    if (rc == 0)
        rc = check_answer(s, &s->dirty, err);
    return rc;
}

/* The extent that ${at} is in; NULL: it is not among those that are kept. */
static const struct nbd_extent *extent_at(struct nbd_extents *e, uint64_t at)
{
    if (e->count == 0 || at < e->from || at >= e->list[e->count - 1].end)
        return NULL;
    if (e->next > 0 && at < e->list[e->next - 1].end)
        e->next = 0;
    while (at >= e->list[e->next].end)
        e->next++;
    return &e->list[e->next];
}

/* The next stretch of ${e} where (flags & mask) is ${wanted}. */
static int find_next(struct nbd_source *s, struct nbd_extents *e, uint32_t mask, uint32_t wanted,
                     uint64_t at, uint64_t end, uint64_t *begin, uint64_t *stop, struct error *err)
{
    *begin = *stop = end;
    while (at < end) {
        const struct nbd_extent *x = extent_at(e, at);
        if (x == NULL) {
            pthread_mutex_lock(&s->lock);
            int rc = s->failed ? nbd_source_has_failed(s, err) : ask_for_extents(s, at, err);
            pthread_mutex_unlock(&s->lock);
            if (rc < 0)
                return rc;
            continue;
        }
        if ((x->flags & mask) == wanted) {
            *begin = at;
            *stop = x->end < end ? x->end : end;
            return 0;
        }
        at = x->end;
    }
    return 0;
}

int nbd_source_next_data(struct nbd_source *s, uint64_t at, uint64_t end, uint64_t *begin,
                         uint64_t *stop, struct error *err)
{
    if (s->allocation.context != NULL)
        return find_next(s, &s->allocation, LIBNBD_STATE_ZERO, 0, at, end, begin, stop, err);
    *begin = at;
    *stop = end;
    return 0;
}

int nbd_source_next_dirty(struct nbd_source *s, uint64_t at, uint64_t end, uint64_t *begin,
                          uint64_t *stop, struct error *err)
{
    return find_next(s, &s->dirty, DIRTY, DIRTY, at, end, begin, stop, err);
}

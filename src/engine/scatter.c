/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is wanted of the chunks, and where it goes. The order of reading is the
 * store's; what a region is, and where its bytes belong, the caller's.
 */
#include "engine/scatter.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/engine.h"
#include "engine/gather.h"

enum {
    CHUNKS = 128 << 10, /* of a batch, about; 8 GiB of the usual ones */
    PLACES = 512 << 10, /* of a batch, about */
};

static const uint64_t nowhere = UINT64_MAX;

struct place {       /* of a part of a chunk; parts lie end to end */
    uint64_t offset; /* in the file; nowhere: not wanted */
    uint32_t length;
};

struct span { /* of a region */
    uint32_t at, end;
    uint64_t offset; /* in the file */
};

struct scatter {
    struct cs_fetch *fetch;
    struct scatter_target target;
    struct gather_file file;  /* of the target; its direct_fd is ours */
    struct cs_wanted *wanted; /* tag: the first of its places */
    size_t wanted_count, wanted_room;
    struct place *places;
    size_t place_count, place_room;
    const struct cs_content *content; /* of the region at hand */
    struct span *spans;
    size_t span_count, span_room;
    uint64_t put;       /* bytes */
    uint64_t written;   /* bytes */
    bool going;         /* the store is at work */
    struct error error; /* of the caller's own, while the store is at work */
};

int scatter_new(struct scatter **out, struct cs_fetch *fetch, const struct scatter_target *target,
                struct error *err)
{
    struct scatter *s = calloc(1, sizeof *s);
    if (s == NULL)
        return error_no_memory(err);
    s->fetch = fetch;
    s->target = *target;
    s->file = (struct gather_file){
        .fd = target->fd,
        .direct_fd = target->direct && target->memory == NULL ? io_open_direct(target->fd) : -1,
        .name = target->name,
        .holes = target->holes,
    };
    *out = s;
    return 0;
}

void scatter_free(struct scatter *s)
{
    if (s == NULL)
        return;
    if (s->going)
        cs_fetch_stop(s->fetch);
    if (s->file.direct_fd >= 0)
        close(s->file.direct_fd);
    free(s->wanted);
    free(s->places);
    free(s->spans);
    free(s);
}

uint64_t scatter_put_bytes(const struct scatter *s)
{
    return s->put;
}

uint64_t scatter_written(const struct scatter *s)
{
    return s != NULL ? s->written : 0;
}

/* Makes room for one element more of an array. */
static int grow(void **array, size_t *room, size_t count, size_t size, struct error *err)
{
    if (count < *room)
        return 0;
    size_t more = *room > 0 ? *room * 2 : 1024;
    void *grown = reallocarray(*array, more, size);
    if (grown == NULL)
        return error_no_memory(err);
    *array = grown;
    *room = more;
    return 0;
}

/* ---- collecting ---- */

void scatter_begin(struct scatter *s, const struct cs_content *content)
{
    s->content = content;
    s->span_count = 0;
}

int scatter_put(struct scatter *s, size_t at, size_t len, uint64_t offset, struct error *err)
{
    int rc = grow((void **)&s->spans, &s->span_room, s->span_count, sizeof *s->spans, err);
    if (rc == 0)
        s->spans[s->span_count++] = (struct span){(uint32_t)at, (uint32_t)(at + len), offset};
    s->put += len;
    return rc;
}

/* Appends a part of the chunk at hand, whose places begin at ${first}. */
static int add_place(struct scatter *s, size_t first, uint64_t offset, uint32_t length,
                     struct error *err)
{
    struct place *last = s->place_count > first ? &s->places[s->place_count - 1] : NULL;
    if (length == 0)
        return 0;
    if (last != NULL &&
        (offset == nowhere ? last->offset == nowhere
                           : last->offset != nowhere && last->offset + last->length == offset)) {
        last->length += length;
        return 0;
    }
    int rc = grow((void **)&s->places, &s->place_room, s->place_count, sizeof *s->places, err);
    if (rc == 0)
        s->places[s->place_count++] = (struct place){.offset = offset, .length = length};
    return rc;
}

/* Bytes ${begin} to ${end} of the region are the next of the chunk; ${*span} is the first that may
 * have some of them. */
static int add_part(struct scatter *s, size_t first, uint32_t begin, uint32_t end, size_t *span,
                    struct error *err)
{
    int rc = 0;
    while (rc == 0 && begin < end) {
        while (*span < s->span_count && s->spans[*span].end <= begin)
            (*span)++;
        const struct span *at = *span < s->span_count ? &s->spans[*span] : NULL;
        uint32_t stop = end;
        uint64_t offset = nowhere;
        if (at != NULL && at->at <= begin) {
            offset = at->offset + (begin - at->at);
            stop = at->end < end ? at->end : end;
        } else if (at != NULL && at->at < end) {
            stop = at->at;
        }
        rc = add_place(s, first, offset, stop - begin, err);
        begin = stop;
    }
    return rc;
}

static int add_wanted(struct scatter *s, const struct cs_chunk *chunk, size_t first,
                      struct error *err)
{
    if (s->place_count == first + 1 && s->places[first].offset == nowhere) {
        s->place_count = first; /* nobody wants it */
        return 0;
    }
    int rc = grow((void **)&s->wanted, &s->wanted_room, s->wanted_count, sizeof *s->wanted, err);
    if (rc == 0)
        s->wanted[s->wanted_count++] =
            (struct cs_wanted){.id = chunk->id, .length = chunk->length, .tag = (uint32_t)first};
    return rc;
}

int scatter_end(struct scatter *s, struct error *err)
{
    const struct cs_content *c = s->content;
    size_t run = 0, span = 0;
    uint32_t used = 0; /* bytes of the run that are taken */
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->chunk_count; i++) {
        size_t first = s->place_count;
        for (uint32_t at = 0; rc == 0 && at < c->chunks[i].length;) { /* a chunk may span runs */
            const struct cs_run *r = &c->runs[run];
            if (r->zero || used == r->length) {
                run++;
                used = 0;
                continue;
            }
            uint32_t n = r->length - used;
            if (n > c->chunks[i].length - at)
                n = c->chunks[i].length - at;
            rc = add_part(s, first, r->offset + used, r->offset + used + n, &span, err);
            used += n;
            at += n;
        }
        if (rc == 0)
            rc = add_wanted(s, &c->chunks[i], first, err);
    }
    s->content = NULL;
    if (rc == 0 && s->target.memory == NULL &&
        (s->wanted_count >= CHUNKS || s->place_count >= PLACES))
        rc = scatter_flush(s, err);
    return rc;
}

/* ---- writing ---- */

/* An error of a file on its way through the store. */
static int to_store(const struct error *err, struct cs_error *out)
{
    cs_fail(out, err->code == ERROR_NO_SPACE ? CS_NO_SPACE : CS_IO, "%s", err->message);
    if (out != NULL)
        out->sys = err->sys;
    return err->code == ERROR_NO_SPACE ? CS_NO_SPACE : CS_IO;
}

/* In a worker. */
static int use(void *arg, const struct cs_fetched *chunks, size_t n, uint64_t done[2],
               struct cs_error *out)
{
    const struct scatter *s = arg;
    struct gather gather;
    struct error err = {0};
    int rc = 0;
    gather.file = &s->file;
    gather.written = gather.count = 0; /* the parts are left as they are, for they are many */
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct place *place = &s->places[chunks[i].wanted->tag];
        uint32_t length = chunks[i].wanted->length;
        for (uint32_t at = 0; rc == 0 && at < length; at += (place++)->length) {
            if (place->offset == nowhere)
                continue;
            if (s->target.memory != NULL)
                memcpy(s->target.memory + place->offset, chunks[i].data + at, place->length);
            else
                rc = gather_add(&gather, place->offset, chunks[i].data + at, place->length, &err);
            done[0] += place->length;
        }
    }
    if (rc == 0)
        rc = gather_flush(&gather, &err);
    done[1] = gather.written;
    return rc < 0 ? to_store(&err, out) : 0;
}

static int used(void *arg, const uint64_t done[2], struct cs_error *out)
{
    struct scatter *s = arg;
    s->written += done[1];
    int rc = s->target.progress(s->target.arg, done[0], &s->error);
    return rc < 0 ? cs_fail(out, CS_CANCELLED, "%s", s->error.message) : 0;
}

int scatter_start(struct scatter *s, struct error *err)
{
    struct cs_fetch_user user = {.use = use, .used = used, .arg = s};
    struct cs_error ce;
    s->error = (struct error){0};
    int rc = cs_fetch_begin(s->fetch, &user, s->wanted, s->wanted_count, &ce);
    s->going = rc == 0;
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

int scatter_step(struct scatter *s, bool wait, bool *more, struct error *err)
{
    struct cs_error ce;
    int rc = cs_fetch_step(s->fetch, wait, more, &ce);
    s->going = *more;
    if (!*more)
        s->wanted_count = s->place_count = 0;
    if (rc < 0 && s->error.code != 0) {
        if (err != NULL)
            *err = s->error;
        return s->error.code;
    }
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

int scatter_flush(struct scatter *s, struct error *err)
{
    bool more = true;
    int rc = scatter_start(s, err);
    while (rc == 0 && more)
        rc = scatter_step(s, true, &more, err);
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection to an NBD server by libnbd, and reads of which several are on
 * their way. Which bytes are wanted is the caller's.
 */
#include "engine/nbd_source_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TICK = 100,           /* milliseconds between looks at cancel */
    PATIENCE = 300 * 10,  /* such looks without a sign of the server */
    REQUEST = 1 << 20,    /* bytes */
    BLOCK_MIN = 512,      /* bytes: runs of regions are not to end inside of these */
    BLOCK_MAX = 64 << 10, /* bytes: the most that the protocol allows for a minimum */
};

static const char allocation_context[] = LIBNBD_CONTEXT_BASE_ALLOCATION;
static const char bitmap_prefix[] = "qemu:dirty-bitmap:";

/* ---- waiting ---- */

int nbd_source_fail(struct nbd_source *s, struct error *err)
{
    const char *why = nbd_get_error();
    s->failed = true;
    return error_set(err, ERROR_IO, "%s: %s", s->name, why != NULL ? why : "the connection failed");
}

int nbd_source_has_failed(const struct nbd_source *s, struct error *err)
{
    return error_set(err, ERROR_IO, "%s: the connection has failed", s->name);
}

/* Waits for the server, for a while; ${*idle} counts for how long there was nothing. */
static int wait_a_while(struct nbd_source *s, unsigned *idle, struct error *err)
{
    if (s->cancel != NULL && __atomic_load_n(s->cancel, __ATOMIC_RELAXED)) {
        s->failed = true;
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    }
    int rc = nbd_poll(s->nbd, TICK);
    if (rc < 0)
        return nbd_source_fail(s, err);
    *idle = rc > 0 ? 0 : *idle + 1;
    if (*idle < PATIENCE)
        return 0;
    s->failed = true;
    return error_set(err, ERROR_IO, "%s: the server has not answered for %d seconds", s->name,
                     PATIENCE * TICK / 1000);
}

static int on_ending(void *arg, int *error)
{
    struct nbd_ending *ending = arg;
    ending->there = true;
    ending->sys = *error;
    return 0;
}

/* What tells ${s->ending}. */
nbd_completion_callback nbd_source_expect_ending(struct nbd_source *s)
{
    s->ending = (struct nbd_ending){0};
    return (nbd_completion_callback){.callback = on_ending, .user_data = &s->ending};
}

int nbd_source_wait_for_ending(struct nbd_source *s, struct error *err)
{
    unsigned idle = 0;
    int rc = 0;
    while (rc == 0 && !s->ending.there)
        rc = wait_a_while(s, &idle, err);
    return rc;
}

/* ---- opening ---- */

void nbd_source_close(struct nbd_source *s)
{
    if (s == NULL)
        return;
    if (s->nbd != NULL)
        nbd_close(s->nbd);
    nbd_extents_clear(&s->allocation);
    nbd_extents_clear(&s->dirty);
    pthread_mutex_destroy(&s->lock);
    free(s->bitmap_context);
    free(s->name);
    free(s);
}

static int create(struct nbd_source **out, const char *name, const volatile int *cancel,
                  struct error *err)
{
    struct nbd_source *s = calloc(1, sizeof *s);
    *out = NULL;
    if (s == NULL)
        return error_no_memory(err);
    pthread_mutex_init(&s->lock, NULL);
    s->cancel = cancel;
    s->name = strdup(name);
    s->nbd = nbd_create();
    if (s->name == NULL || s->nbd == NULL || nbd_set_opt_mode(s->nbd, true) < 0 ||
        nbd_set_uri_allow_local_file(s->nbd, true) < 0) {
        nbd_source_close(s);
        return error_no_memory(err);
    }
    *out = s;
    return 0;
}

/* Until options can be sent, or, where the server is too old for that, nothing is left to do. */
static int wait_until_connected(struct nbd_source *s, struct error *err)
{
    unsigned idle = 0;
    int rc = 0;
    while (rc == 0 && !nbd_aio_is_negotiating(s->nbd) && !nbd_aio_is_ready(s->nbd)) {
        if (nbd_aio_is_dead(s->nbd) || nbd_aio_is_closed(s->nbd))
            return nbd_source_fail(s, err);
        rc = wait_a_while(s, &idle, err);
    }
    return rc;
}

static int ask_to_go(struct nbd_source *s, struct error *err)
{
    if (nbd_aio_opt_go(s->nbd, nbd_source_expect_ending(s)) < 0)
        return nbd_source_fail(s, err);
    int rc = nbd_source_wait_for_ending(s, err);
    if (rc < 0)
        return rc;
    if (s->ending.sys != 0) {
        s->failed = true;
        return error_sys(err, s->ending.sys, "%s: the server refuses the export", s->name);
    }
    s->ready = true;
    return 0;
}

/* A server that does not know the question is asked to go on at once; it has no bitmaps then. */
static int ask_for_info(struct nbd_source *s, struct error *err)
{
    if (nbd_aio_opt_info(s->nbd, nbd_source_expect_ending(s)) < 0)
        return nbd_source_fail(s, err);
    int rc = nbd_source_wait_for_ending(s, err);
    if (rc < 0 || s->ending.sys == 0)
        return rc;
    if (s->ending.sys == ENOTSUP)
        return nbd_add_meta_context(s->nbd, allocation_context) < 0 ? nbd_source_fail(s, err)
                                                                    : ask_to_go(s, err);
    s->failed = true;
    return error_sys(err, s->ending.sys, "%s: the server refuses the export", s->name);
}

static int learn_sizes(struct nbd_source *s, struct error *err)
{
    int64_t size = nbd_get_size(s->nbd);
    int64_t least = nbd_get_block_size(s->nbd, LIBNBD_SIZE_MINIMUM);
    int64_t most = nbd_get_block_size(s->nbd, LIBNBD_SIZE_MAXIMUM);
    if (size < 0)
        return nbd_source_fail(s, err);
    if (least <= 0)
        least = 1;
    if (least > BLOCK_MAX || (least & (least - 1)) != 0 || (most > 0 && most < least)) {
        s->failed = true;
        return error_set(err, ERROR_CORRUPT,
                         "%s: the server wants reads of %" PRId64 " to %" PRId64 " bytes", s->name,
                         least, most);
    }
    s->size = (uint64_t)size;
    s->block = least > BLOCK_MIN ? (uint32_t)least : BLOCK_MIN;
    s->request = REQUEST;
    if (most >= s->block && most < s->request)
        s->request = (uint32_t)(most / s->block * s->block);
    else if (most > 0 && most < s->block)
        s->request = (uint32_t)most;
    return 0;
}

static int negotiate(struct nbd_source *s, struct error *err)
{
    int rc = wait_until_connected(s, err);
    if (rc == 0 && nbd_aio_is_ready(s->nbd))
        s->ready = true;
    else if (rc == 0)
        rc = ask_for_info(s, err);
    return rc < 0 ? rc : learn_sizes(s, err);
}

int nbd_source_open(struct nbd_source **out, const char *uri, const volatile int *cancel,
                    struct error *err)
{
    struct nbd_source *s = NULL;
    int rc = create(&s, uri, cancel, err);
    *out = NULL;
    if (rc < 0)
        return rc;
    rc = nbd_aio_connect_uri(s->nbd, uri) < 0 ? nbd_source_fail(s, err) : negotiate(s, err);
    if (rc < 0)
        nbd_source_close(s);
    else
        *out = s;
    return rc;
}

int nbd_source_open_socket(struct nbd_source **out, int fd, const char *name,
                           const volatile int *cancel, struct error *err)
{
    struct nbd_source *s = NULL;
    int rc = create(&s, name, cancel, err);
    *out = NULL;
    if (rc < 0) {
        close(fd);
        return rc;
    }
    /* libnbd has taken it over, also where this fails */
    rc = nbd_aio_connect_socket(s->nbd, fd) < 0 ? nbd_source_fail(s, err) : negotiate(s, err);
    if (rc < 0)
        nbd_source_close(s);
    else
        *out = s;
    return rc;
}

uint64_t nbd_source_size(const struct nbd_source *s)
{
    return s->size;
}

uint32_t nbd_source_block(const struct nbd_source *s)
{
    return s->block;
}

static int add_contexts(struct nbd_source *s, const char *bitmap, struct error *err)
{
    size_t room = sizeof bitmap_prefix + (bitmap != NULL ? strlen(bitmap) : 0);
    if (nbd_add_meta_context(s->nbd, allocation_context) < 0)
        return nbd_source_fail(s, err);
    if (bitmap == NULL)
        return 0;
    s->bitmap_context = malloc(room);
    if (s->bitmap_context == NULL)
        return error_no_memory(err);
    memcpy(s->bitmap_context, bitmap_prefix, sizeof bitmap_prefix - 1);
    memcpy(s->bitmap_context + sizeof bitmap_prefix - 1, bitmap, strlen(bitmap) + 1);
    return nbd_add_meta_context(s->nbd, s->bitmap_context) < 0 ? nbd_source_fail(s, err) : 0;
}

int nbd_source_begin(struct nbd_source *s, const char *bitmap, bool *offered, struct error *err)
{
    *offered = false;
    if (!s->ready) {
        uint64_t size = s->size;
        int rc = add_contexts(s, bitmap, err);
        if (rc == 0)
            rc = ask_to_go(s, err);
        if (rc == 0)
            rc = learn_sizes(s, err);
        if (rc < 0)
            return rc;
        if (s->size != size)
            return error_set(err, ERROR_CHANGED, "%s: the server told another size before",
                             s->name);
    }
    if (nbd_can_meta_context(s->nbd, allocation_context) == 1)
        s->allocation.context = allocation_context;
    if (s->bitmap_context != NULL && nbd_can_meta_context(s->nbd, s->bitmap_context) == 1)
        s->dirty.context = s->bitmap_context;
    *offered = s->dirty.context != NULL;
    return 0;
}

/* ---- reading ---- */

/* Takes away the requests that have ended. */
static int collect(struct nbd_source *s, struct error *err)
{
    for (size_t i = 0; i < s->in_flight;) {
        int rc = nbd_aio_command_completed(s->nbd, (uint64_t)s->cookies[i]);
        if (rc < 0)
            return nbd_source_fail(s, err);
        if (rc > 0)
            s->cookies[i] = s->cookies[--s->in_flight];
        else
            i++;
    }
    return 0;
}

/* Until no more than ${n} requests are on their way. */
static int wait_until_left(struct nbd_source *s, size_t n, struct error *err)
{
    unsigned idle = 0;
    int rc = collect(s, err);
    while (rc == 0 && s->in_flight > n) {
        rc = wait_a_while(s, &idle, err);
        if (rc == 0)
            rc = collect(s, err);
    }
    return rc;
}

static int begin_read(struct nbd_source *s, uint64_t offset, size_t length, uint8_t *to,
                      struct error *err)
{
    if (s->failed)
        return nbd_source_has_failed(s, err);
    for (size_t n; length > 0; offset += n, to += n, length -= n) {
        n = length < s->request ? length : s->request;
        int rc = wait_until_left(s, NBD_IN_FLIGHT - 1, err);
        if (rc < 0)
            return rc;
        int64_t cookie = nbd_aio_pread(s->nbd, to, n, offset, NBD_NULL_COMPLETION, 0);
        if (cookie < 0)
            return nbd_source_fail(s, err);
        s->cookies[s->in_flight++] = cookie;
    }
    return 0;
}

static int finish(struct nbd_source *s, struct error *err)
{
    return s->failed ? nbd_source_has_failed(s, err) : wait_until_left(s, 0, err);
}

int nbd_source_read(struct nbd_source *s, uint64_t offset, size_t length, uint8_t *to,
                    struct error *err)
{
    pthread_mutex_lock(&s->lock);
    int rc = begin_read(s, offset, length, to, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int nbd_source_finish(struct nbd_source *s, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    int rc = finish(s, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int nbd_source_read_now(struct nbd_source *s, uint64_t offset, size_t length, uint8_t *to,
                        struct error *err)
{
    uint64_t begin = offset / s->block * s->block, end = offset + length;
    if (end % s->block != 0)
        end = s->size - end < s->block ? s->size : (end / s->block + 1) * s->block;
    bool whole = begin == offset && end == offset + length;
    uint8_t *blocks = whole ? to : malloc((size_t)(end - begin));
    if (blocks == NULL)
        return error_no_memory(err);
    pthread_mutex_lock(&s->lock);
    int rc = begin_read(s, begin, (size_t)(end - begin), blocks, err);
    if (rc == 0)
        rc = finish(s, err);
    pthread_mutex_unlock(&s->lock);
    if (rc == 0 && !whole)
        memcpy(to, blocks + (offset - begin), length);
    /* after a failure the server's answer may still be on its way to them, but nobody takes it */
    if (!whole)
        free(blocks);
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading objects by their ids: index, trailer, frame, bytes; held against the
 * id before they are handed out. Trailers and frames are cached, the least
 * recently used go first.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pack_read.h"

enum {
    CACHED_PACKS = 64,
    CACHED_FRAMES = 128,
    CACHED_BYTES = 32 << 20,
};

struct cached_pack {
    struct cs_pack pack;
    uint64_t used; /* 0: empty */
};

struct cached_frame {
    struct cs_name pack;
    uint32_t frame;
    uint8_t *plain;
    size_t len;
    uint64_t used; /* 0: empty */
};

struct cs_pack_cache {
    struct cached_pack packs[CACHED_PACKS];
    struct cached_frame frames[CACHED_FRAMES];
    size_t bytes; /* of all frames */
    uint64_t clock;
};

void cs_pack_cache_free(struct cs_pack_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < CACHED_PACKS; i++)
        if (cache->packs[i].used != 0)
            cs_pack_clear(&cache->packs[i].pack);
    for (size_t i = 0; i < CACHED_FRAMES; i++)
        free(cache->frames[i].plain);
    free(cache);
}

int cs_read_pack(struct cs_store *store, const struct cs_name *name, const struct cs_pack **pack,
                 struct cs_error *err)
{
    if (store->packs == NULL)
        store->packs = calloc(1, sizeof *store->packs);
    if (store->packs == NULL)
        return cs_fail_memory(err);
    struct cs_pack_cache *cache = store->packs;
    struct cached_pack *oldest = &cache->packs[0];
    for (size_t i = 0; i < CACHED_PACKS; i++) {
        struct cached_pack *p = &cache->packs[i];
        if (p->used != 0 && memcmp(&p->pack.name, name, sizeof *name) == 0) {
            p->used = ++cache->clock;
            *pack = &p->pack;
            return 0;
        }
        if (p->used < oldest->used)
            oldest = p;
    }
    struct cs_pack loaded;
    int rc = cs_pack_load(&loaded, store, name, err);
    if (rc < 0)
        return rc;
    if (oldest->used != 0)
        cs_pack_clear(&oldest->pack);
    oldest->pack = loaded;
    oldest->used = ++cache->clock;
    *pack = &oldest->pack;
    return 0;
}

static void drop_frame(struct cs_pack_cache *cache, struct cached_frame *f)
{
    free(f->plain);
    cache->bytes -= f->len;
    *f = (struct cached_frame){0};
}

/* An empty slot, with room for ${len} more bytes in the cache. */
static struct cached_frame *room_for(struct cs_pack_cache *cache, size_t len)
{
    for (;;) {
        struct cached_frame *empty = NULL, *oldest = NULL;
        for (size_t i = 0; i < CACHED_FRAMES; i++) {
            struct cached_frame *f = &cache->frames[i];
            if (f->used == 0)
                empty = f;
            else if (oldest == NULL || f->used < oldest->used)
                oldest = f;
        }
        if (empty != NULL && (oldest == NULL || cache->bytes + len <= CACHED_BYTES))
            return empty;
        drop_frame(cache, oldest);
    }
}

static int cached_frame(struct cs_store *store, const struct cs_pack *pack, uint32_t n,
                        const uint8_t **plain, struct cs_error *err)
{
    struct cs_pack_cache *cache = store->packs;
    for (size_t i = 0; i < CACHED_FRAMES; i++) {
        struct cached_frame *f = &cache->frames[i];
        if (f->used != 0 && f->frame == n && memcmp(&f->pack, &pack->name, sizeof f->pack) == 0) {
            f->used = ++cache->clock;
            *plain = f->plain;
            return 0;
        }
    }
    const struct cs_frame *frame = &pack->trailer.frames[n];
    uint8_t *sealed = malloc(frame->stored), *opened = malloc(frame->plain);
    int rc = 0;
    if (sealed == NULL || opened == NULL)
        rc = cs_fail_memory(err);
    if (rc == 0)
        rc = cs_pack_read_frame(store, pack, n, sealed, err);
    if (rc == 0)
        rc = cs_pack_open_frame(store, pack, n, sealed, opened, err);
    free(sealed);
    if (rc < 0) {
        free(opened);
        return rc;
    }
    struct cached_frame *f = room_for(cache, frame->plain);
    *f = (struct cached_frame){.pack = pack->name,
                               .frame = n,
                               .plain = opened,
                               .len = frame->plain,
                               .used = ++cache->clock};
    cache->bytes += f->len;
    *plain = opened;
    return 0;
}

/* Its pack, lent by the cache, and what the trailer says of it. CS_NOT_FOUND: another is there. */
static int place_of(struct cs_store *store, const struct cs_id *id, const struct cs_location *where,
                    const struct cs_pack **pack, const struct cs_object **object,
                    struct cs_error *err)
{
    char name[64];
    cs_pack_file(name, &where->pack);
    int rc = cs_read_pack(store, &where->pack, pack, err);
    if (rc < 0) /* what is missing as a whole is damage, too */
        return rc == CS_NOT_FOUND ? cs_fail(err, CS_CORRUPT, "%s: is missing", name) : rc;
    const struct cs_trailer *t = &(*pack)->trailer;
    if (where->frame >= t->frame_count || where->slot >= t->frames[where->frame].objects)
        return cs_fail(err, CS_CORRUPT, "%s: has no object %u in frame %u, as the index says", name,
                       where->slot, where->frame);
    *object = &t->objects[t->frames[where->frame].first + where->slot];
    if (memcmp(&(*object)->id, id, sizeof *id) != 0)
        return cs_fail(err, CS_NOT_FOUND, "%s: holds another object of this prefix", name);
    return 0;
}

/* The object at ${where}: its bytes, lent until the next call, and its type. CS_NOT_FOUND: another
 * is there. */
static int object_at(struct cs_store *store, enum cs_class class, const struct cs_id *id,
                     const struct cs_location *where, const uint8_t **data, size_t *len,
                     uint8_t *type, struct cs_error *err)
{
    const struct cs_pack *pack = NULL;
    const struct cs_object *object = NULL;
    const uint8_t *plain = NULL;
    char name[64], hex[CS_ID_HEX];
    cs_pack_file(name, &where->pack);
    int rc = place_of(store, id, where, &pack, &object, err);
    if (rc < 0)
        return rc;
    if (pack->header.class != class)
        return cs_fail(err, CS_NOT_FOUND, "%s: holds another object of this prefix", name);
    rc = cached_frame(store, pack, where->frame, &plain, err);
    if (rc < 0)
        return rc;
    const struct cs_object *first = object - where->slot;
    size_t at = 0;
    for (uint32_t i = 0; i < where->slot; i++)
        at += first[i].length;
    struct cs_id actual;
    rc = cs_object_id(store, class, object->type, plain + at, object->length, &actual, err);
    if (rc < 0)
        return rc;
    if (memcmp(&actual, id, sizeof actual) != 0)
        return cs_fail(err, CS_CORRUPT,
                       "%s: the bytes of object %s in frame %u do not have this id", name,
                       cs_id_hex(id, hex), where->frame);
    *data = plain + at;
    *len = object->length;
    *type = object->type;
    return 0;
}

int cs_read_place(struct cs_store *store, const struct cs_location *where, const struct cs_id *id,
                  enum cs_class *class, uint8_t *type, struct cs_error *err)
{
    const struct cs_pack *pack = NULL;
    const struct cs_object *object = NULL;
    int rc = place_of(store, id, where, &pack, &object, err);
    if (rc < 0)
        return rc;
    *class = pack->header.class;
    *type = object->type;
    return 0;
}

/* From now on nothing new relies on what is in ${pack}. */
static int note_unreadable(struct cs_store *store, const struct cs_name *pack, struct cs_error *err)
{
    if (cs_names_find(&store->unreadable, pack, NULL))
        return 0;
    return cs_names_add(&store->unreadable, pack, 0) < 0 ? cs_fail_memory(err) : 0;
}

static int find_once(struct cs_store *store, enum cs_class class, const struct cs_id *id,
                     const uint8_t **data, size_t *len, uint8_t *type, struct cs_error *err)
{
    char hex[CS_ID_HEX];
    struct cs_error first = {0};
    for (unsigned nth = 0;; nth++) { /* a damaged copy may have a sound one elsewhere */
        struct cs_location where;
        struct cs_error e = {0};
        bool found = false;
        int rc = cs_index_find(store, id, nth, &where, &found, err);
        if (rc < 0)
            return rc;
        if (!found)
            break;
        rc = object_at(store, class, id, &where, data, len, type, &e);
        if (rc == 0)
            return 0;
        if (rc == CS_AUTH || rc == CS_NO_MEMORY)
            return cs_fail(err, rc, "%s", e.message);
        if (rc == CS_NOT_FOUND)
            continue;
        if (first.code == 0)
            first = e;
        rc = note_unreadable(store, &where.pack, err);
        if (rc < 0)
            return rc;
    }
    if (first.code != 0)
        return cs_fail(err, first.code, "%s", first.message);
    return cs_fail(err, CS_CORRUPT, "object %s is missing: the index does not have it",
                   cs_id_hex(id, hex));
}

/* A pack that is missing may have been condemned since the log was last read, and what it had
 * moved: only what is nowhere then is damage. */
static int find_object(struct cs_store *store, enum cs_class class, const struct cs_id *id,
                       const uint8_t **data, size_t *len, uint8_t *type, struct cs_error *err)
{
    for (;;) {
        struct cs_error e = {0};
        uint64_t known = store->position.next;
        int rc = find_once(store, class, id, data, len, type, &e);
        if (rc == CS_CORRUPT && cs_log_catch_up(store, NULL) == 0 &&
            store->position.next != known) {
            rc = cs_index_refresh(store, err);
            if (rc < 0)
                return rc;
            continue;
        }
        return rc < 0 ? cs_fail(err, rc, "%s", e.message) : 0;
    }
}

int cs_has_object(struct cs_store *store, const struct cs_id *id, bool *found, struct cs_error *err)
{
    struct cs_location where;
    return cs_index_find(store, id, 0, &where, found, err);
}

static int wrong_type(const struct cs_id *id, uint8_t type, struct cs_error *err)
{
    char hex[CS_ID_HEX];
    return cs_fail(err, CS_CORRUPT, "object %s: is of type %u, which is out of place here",
                   cs_id_hex(id, hex), type);
}

/* Decodes a list of pieces into fresh memory. */
static int decode_list(const struct cs_id *id, const uint8_t *list, size_t len,
                       struct cs_id **pieces, size_t *count, uint64_t *total, struct cs_error *err)
{
    char hex[CS_ID_HEX];
    struct cs_reader r = cs_reader_of(list, len);
    *total = cs_get_u64(&r);
    uint64_t n = (*total + CS_META_OBJECT_MAX - 1) / CS_META_OBJECT_MAX;
    if (r.bad || *total <= CS_META_OBJECT_MAX || *total > CS_LARGE_OBJECT_MAX ||
        cs_reader_left(&r) != n * CS_ID_SIZE)
        return cs_fail(err, CS_CORRUPT, "object %s: is a malformed list of pieces",
                       cs_id_hex(id, hex));
    *pieces = calloc((size_t)n, sizeof **pieces);
    if (*pieces == NULL)
        return cs_fail_memory(err);
    *count = (size_t)n;
    for (size_t i = 0; i < n; i++)
        cs_get_copy(&r, (*pieces)[i].bytes, CS_ID_SIZE);
    return 0;
}

int cs_read_list(struct cs_store *store, const struct cs_id *id, struct cs_id **pieces,
                 size_t *count, struct cs_error *err)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    uint64_t total;
    uint8_t type = 0;
    int rc = find_object(store, CS_META, id, &bytes, &len, &type, err);
    if (rc == 0 && !(type & CS_LIST))
        rc = wrong_type(id, type, err);
    return rc < 0 ? rc : decode_list(id, bytes, len, pieces, count, &total, err);
}

/* A large object: the pieces of its list, end to end. */
static int read_pieces(struct cs_store *store, const struct cs_id *id, const uint8_t *list,
                       size_t list_len, void **data, size_t *len, struct cs_error *err)
{
    struct cs_id *pieces = NULL;
    size_t count = 0;
    uint64_t total = 0;
    uint8_t *out = NULL;
    int rc = decode_list(id, list, list_len, &pieces, &count, &total, err);
    if (rc < 0)
        return rc;
    out = malloc((size_t)total);
    if (out == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    for (size_t i = 0, at = 0; rc == 0 && i < count; i++) {
        const uint8_t *bytes = NULL;
        size_t n = 0,
               want = total - at < CS_META_OBJECT_MAX ? (size_t)(total - at) : CS_META_OBJECT_MAX;
        uint8_t type = 0;
        rc = find_object(store, CS_META, &pieces[i], &bytes, &n, &type, err);
        if (rc == 0 && (type != CS_PIECE || n != want))
            rc = wrong_type(&pieces[i], type, err);
        if (rc == 0)
            memcpy(out + at, bytes, n);
        at += want;
    }
    if (rc == 0) {
        *data = out;
        *len = (size_t)total;
        out = NULL;
    }
out:
    free(out);
    free(pieces);
    return rc;
}

int cs_read_object(struct cs_store *store, enum cs_type type, const struct cs_id *id, void **data,
                   size_t *len, struct cs_error *err)
{
    const uint8_t *bytes = NULL;
    size_t n = 0;
    uint8_t found = 0;
    int rc = find_object(store, CS_META, id, &bytes, &n, &found, err);
    if (rc < 0)
        return rc;
    if (found == (type | CS_LIST))
        return read_pieces(store, id, bytes, n, data, len, err);
    if (found != type)
        return wrong_type(id, found, err);
    void *copy = malloc(n > 0 ? n : 1);
    if (copy == NULL)
        return cs_fail_memory(err);
    memcpy(copy, bytes, n);
    *data = copy;
    *len = n;
    return 0;
}

int cs_read_chunk(struct cs_store *store, const struct cs_id *id, void *buf, size_t len,
                  struct cs_error *err)
{
    char hex[CS_ID_HEX];
    const uint8_t *bytes = NULL;
    size_t n = 0;
    uint8_t type = 0;
    int rc = find_object(store, CS_DATA, id, &bytes, &n, &type, err);
    if (rc < 0)
        return rc;
    if (bytes == NULL || n != len)
        return cs_fail(err, CS_CORRUPT, "chunk %s: has %zu bytes, %zu are expected",
                       cs_id_hex(id, hex), n, len);
    memcpy(buf, bytes, n);
    return 0;
}

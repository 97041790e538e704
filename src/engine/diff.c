/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What two archives differ in: which of their images belong together, and
 * which of their layers can be compared. The comparing is diff_walk.c's.
 */
#include "engine/diff.h"

#include <stdlib.h>
#include <string.h>

#include "engine/choose.h"
#include "engine/flat_map.h"
#include "engine/path.h"

struct diff {
    struct cs_store *store;
    const struct engine_diff_options *options;
    struct engine_diff_result *result;
    struct record_archive a, b;
    struct diff_pair *pairs; /* as diff_match makes them */
    size_t count;
};

struct match { /* of images */
    const struct record_archive *a, *b;
    struct diff_pair *pairs;
    size_t count;
};

/* ---- images ---- */

static bool is_taken(const struct match *m, const struct record_image *a)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->pairs[i].a == a)
            return true;
    return false;
}

typedef bool belongs_fn(const struct match *m, const struct record_image *a,
                        const struct record_image *b);

static bool same_path(const struct match *m, const struct record_image *a,
                      const struct record_image *b)
{
    (void)m;
    return strcmp(a->path, b->path) == 0;
}

static bool same_name(const struct match *m, const struct record_image *a,
                      const struct record_image *b)
{
    (void)m;
    return strcmp(a->name, b->name) == 0;
}

static bool is_below(const struct record_archive *archive, const struct record_image *image,
                     const char *path)
{
    for (size_t i = 1; i < image->layer_count; i++)
        if (strcmp(archive->layers[image->layers[i]].file.path, path) == 0)
            return true;
    return false;
}

/* An overlay was put on top of the one, or committed into the other. */
static bool same_chain(const struct match *m, const struct record_image *a,
                       const struct record_image *b)
{
    return is_below(m->b, b, a->path) || is_below(m->a, a, b->path);
}

/* Pairs what is left over and belongs together, where no other that is left does with either. */
static void match_by(struct match *m, belongs_fn *belongs)
{
    for (size_t i = 0; i < m->b->image_count; i++) {
        const struct record_image *b = m->pairs[i].b, *found = NULL;
        size_t matches = 0;
        if (m->pairs[i].a != NULL)
            continue;
        for (size_t k = 0; matches < 2 && k < m->a->image_count; k++)
            if (belongs(m, &m->a->images[k], b) && !is_taken(m, &m->a->images[k])) {
                found = &m->a->images[k];
                matches++;
            }
        for (size_t k = 0; matches == 1 && k < m->b->image_count; k++)
            if (k != i && m->pairs[k].a == NULL && belongs(m, found, m->pairs[k].b))
                matches++;
        if (matches == 1)
            m->pairs[i].a = found;
    }
}

int diff_match(const struct record_archive *a, const struct record_archive *b,
               struct diff_pair **pairs, size_t *count, struct error *err)
{
    struct match m = {.a = a, .b = b};
    m.pairs = *pairs = calloc(a->image_count + b->image_count + 1, sizeof *m.pairs);
    if (m.pairs == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < b->image_count; i++)
        m.pairs[m.count++].b = &b->images[i];
    match_by(&m, same_path);
    match_by(&m, same_name);
    match_by(&m, same_chain);
    for (size_t i = 0; i < a->image_count; i++)
        if (!is_taken(&m, &a->images[i]))
            m.pairs[m.count++].a = &a->images[i];
    *count = m.count;
    return 0;
}

/* Leaves only the pair that is asked for. */
static int choose(struct diff *d, struct error *err)
{
    const char *wanted = d->options->image;
    size_t matches = 0;
    if (wanted == NULL)
        return 0;
    for (size_t i = 0; i < d->count; i++) {
        const struct diff_pair p = d->pairs[i];
        if ((p.a != NULL && path_ends_with(p.a->path, wanted)) ||
            (p.b != NULL && path_ends_with(p.b->path, wanted)))
            d->pairs[matches++] = p;
    }
    if (matches == 0) {
        int rc = error_set(err, ERROR_NOT_FOUND, "neither archive has an image %s, but", wanted);
        for (size_t i = 0; i < d->count; i++) {
            const struct record_image *image =
                d->pairs[i].b != NULL ? d->pairs[i].b : d->pairs[i].a;
            if (image != NULL)
                choose_add(err, i == 0, image->path);
        }
        return rc;
    }
    d->count = matches;
    if (matches > 1)
        return error_set(err, ERROR_USAGE, "%s is ambiguous: %zu images end with it", wanted,
                         matches);
    return 0;
}

/* ---- layers ---- */

int diff_require_whole(const struct record_archive *archive, const struct record_image *image,
                       struct error *err)
{
    const struct record_layer *base = &archive->layers[image->layers[image->layer_count - 1]];
    char hex[CS_ID_HEX];
    if (base->backing_file == NULL)
        return 0;
    return error_set(err, ERROR_UNSUPPORTED,
                     "%s: cannot be compared, for its backing file %s is not part of archive %.16s",
                     image->path, base->backing_file, cs_id_hex(&archive->id, hex));
}

static bool same_blob(const struct record_blob *a, const struct record_blob *b)
{
    return a->count == b->count && a->count > 0 &&
           memcmp(a->ids, b->ids, a->count * sizeof *a->ids) == 0;
}

/* Whether two encrypted layers have the same key, as far as can be told: it is one file, or the
 * LUKS header is the same. Equal bytes under other keys are not to be expected, only not trusted.
 */
static bool same_key(const struct record_layer *a, const struct record_layer *b)
{
    return a->qcow2.crypt_method == b->qcow2.crypt_method &&
           (strcmp(a->file.path, b->file.path) == 0 ||
            same_blob(&a->qcow2.crypto, &b->qcow2.crypto));
}

static bool set_domains(struct diff_side *a, struct diff_side *b)
{
    size_t na = flat_layer_count(a->flat), nb = flat_layer_count(b->flat);
    bool encrypted = false;
    for (size_t i = 0; i < na; i++)
        if (layer_view_layer(flat_layer(a->flat, i))->qcow2.crypt_method != 0)
            a->domains[i] = (unsigned)i + 1;
    for (size_t k = 0; k < nb; k++) {
        const struct record_layer *layer = layer_view_layer(flat_layer(b->flat, k));
        if (layer->qcow2.crypt_method == 0)
            continue;
        b->domains[k] = (unsigned)(na + k) + 1;
        for (size_t i = na; i-- > 0;)
            if (a->domains[i] != 0 && same_key(layer_view_layer(flat_layer(a->flat, i)), layer))
                b->domains[k] = a->domains[i];
    }
    for (size_t i = 0; i < na; i++)
        encrypted |= a->domains[i] != 0;
    for (size_t k = 0; k < nb; k++)
        encrypted |= b->domains[k] != 0;
    return encrypted;
}

static int open_side(struct diff_side *side, struct cs_store *store,
                     const struct record_archive *archive, const struct record_image *image,
                     struct error *err)
{
    side->domains = calloc(image->layer_count, sizeof *side->domains);
    side->tokens = calloc(image->layer_count, sizeof *side->tokens);
    if (side->domains == NULL || side->tokens == NULL)
        return error_no_memory(err);
    return flat_open(&side->flat, store, archive, image, 0, err);
}

static void close_side(struct diff_side *side)
{
    flat_close(side->flat);
    free(side->domains);
    free(side->tokens);
    free(side->extents.at);
}

/* ---- all of it ---- */

static uint64_t virtual_size(const struct record_archive *archive, const struct record_image *image)
{
    return archive->layers[image->layers[0]].virtual_size;
}

struct data_teller {
    const struct engine_diff_options *options;
    const struct engine_diff_image *image;
    bool later;
};

static bool on_data(void *arg, uint64_t offset, uint64_t length, uint64_t bytes, size_t layer)
{
    const struct data_teller *t = arg;
    (void)layer;
    return t->options->data(t->options->arg, t->image, t->later, offset, length, bytes);
}

/* Tells what data ${flat} has, where that is wanted. */
static int tell_data(struct cs_store *store, const struct engine_diff_options *o,
                     const struct engine_diff_image *image, bool later, struct flat_image *flat,
                     struct error *err)
{
    struct data_teller teller = {.options = o, .image = image, .later = later};
    struct flat_map map = {
        .region_size = cs_region_size(store),
        .parts = o->parts,
        .name = image->name,
        .range = on_data,
        .arg = &teller,
        .listener = &o->listener,
    };
    return o->data != NULL ? flat_map_walk(&map, flat, err) : 0;
}

int diff_images(struct cs_store *store, const struct record_archive *a,
                const struct record_archive *b, const struct diff_pair *p,
                const struct engine_diff_options *o, struct engine_diff_image *image,
                struct error *err)
{
    struct diff_side x = {0}, y = {0};
    *image = (struct engine_diff_image){
        .name = p->b->name,
        .path = p->b->path,
        .in_a = true,
        .in_b = true,
        .virtual_size_a = virtual_size(a, p->a),
        .virtual_size_b = virtual_size(b, p->b),
    };
    int rc = open_side(&x, store, a, p->a, err);
    if (rc == 0)
        rc = open_side(&y, store, b, p->b, err);
    if (rc == 0)
        image->encrypted = set_domains(&x, &y);
    if (rc == 0 && o->begin != NULL)
        o->begin(o->arg, image);
    if (rc == 0)
        rc = tell_data(store, o, image, false, x.flat, err);
    if (rc == 0)
        rc = tell_data(store, o, image, true, y.flat, err);
    if (rc == 0)
        rc = diff_walk(cs_region_size(store), &x, &y, o, image, err);
    if (rc == 0 && o->end != NULL)
        o->end(o->arg, image);
    close_side(&x);
    close_side(&y);
    return rc;
}

static int diff_pair(struct diff *d, const struct diff_pair *p, struct error *err)
{
    struct engine_diff_image image;
    int rc = diff_images(d->store, &d->a, &d->b, p, d->options, &image, err);
    d->result->images++;
    d->result->ranges += image.ranges;
    d->result->bytes_changed += image.bytes_changed;
    d->result->bytes_zeroed += image.bytes_zeroed;
    return rc;
}

static int tell_single(const struct diff *d, const struct record_archive *archive,
                       const struct record_image *which, struct error *err)
{
    const struct engine_diff_options *o = d->options;
    struct engine_diff_image image = {
        .name = which->name,
        .path = which->path,
        .in_a = archive == &d->a,
        .in_b = archive == &d->b,
        .virtual_size_a = archive == &d->a ? virtual_size(archive, which) : 0,
        .virtual_size_b = archive == &d->b ? virtual_size(archive, which) : 0,
    };
    struct flat_image *flat = NULL;
    int rc = 0;
    if (o->data != NULL)
        rc = flat_open(&flat, d->store, archive, which, 0, err);
    if (rc == 0 && o->begin != NULL)
        o->begin(o->arg, &image);
    if (rc == 0)
        rc = tell_data(d->store, o, &image, image.in_b, flat, err);
    if (rc == 0 && o->end != NULL)
        o->end(o->arg, &image);
    flat_close(flat);
    return rc;
}

int engine_diff(struct cs_store *store, const struct cs_archive *a, const struct cs_archive *b,
                const struct engine_diff_options *options, struct engine_diff_result *result,
                struct error *err)
{
    struct diff d = {.store = store, .options = options, .result = result};
    *result = (struct engine_diff_result){0};
    int rc = record_archive_read(&d.a, store, &a->id, err);
    if (rc == 0)
        rc = record_archive_read(&d.b, store, &b->id, err);
    if (rc == 0)
        rc = diff_match(&d.a, &d.b, &d.pairs, &d.count, err);
    if (rc == 0)
        rc = choose(&d, err);
    /* before anything is said of the first */
    for (size_t i = 0; rc == 0 && i < d.count; i++)
        if (d.pairs[i].a != NULL && d.pairs[i].b != NULL) {
            rc = diff_require_whole(&d.a, d.pairs[i].a, err);
            if (rc == 0)
                rc = diff_require_whole(&d.b, d.pairs[i].b, err);
        }
    for (size_t i = 0; rc == 0 && i < d.count; i++)
        if (d.pairs[i].a != NULL && d.pairs[i].b != NULL)
            rc = diff_pair(&d, &d.pairs[i], err);
        else if (d.pairs[i].b != NULL)
            rc = tell_single(&d, &d.b, d.pairs[i].b, err);
        else if (d.pairs[i].a != NULL)
            rc = tell_single(&d, &d.a, d.pairs[i].a, err);
    free(d.pairs);
    record_archive_clear(&d.a);
    record_archive_clear(&d.b);
    if (rc < 0)
        rc = engine_unless_forgotten(store, a, err);
    return rc < 0 ? engine_unless_forgotten(store, b, err) : 0;
}

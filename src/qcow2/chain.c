/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the name of an image to its open, locked layers: which file a backing
 * name means, whether it may be followed, and what is shared. Reads no guest
 * data; single files are source.c's, formats are judged by header.c and image.c.
 */
#include "qcow2/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "qcow2/backing_name.h"
#include "qcow2/data_file.h"
#include "qcow2/source.h"

enum { MAX_DEPTH = 256, MAGIC_LENGTH = 4 };

/* The layers opened for one image, top first; all end with the chain, or with a layer of the set.
 */
struct new_chain {
    struct layer *layers[MAX_DEPTH];
    size_t count;
};

static void layer_free(struct layer *layer)
{
    if (!layer)
        return;
    qcow2_image_close(layer->image);
    data_file_close(layer->data_file);
    for (size_t i = 0; i < layer->other_count; i++)
        data_file_close(layer->others[i]);
    free(layer->others);
    if (layer->fd >= 0)
        close(layer->fd);
    free(layer->path);
    free(layer->real_path);
    free(layer->opened_as);
    free(layer);
}

void layer_set_clear(struct layer_set *set)
{
    /* Overlays before the bases that they point to. */
    while (set->count > 0)
        layer_free(set->layers[--set->count]);
    free(set->layers);
    memset(set, 0, sizeof *set);
}

static bool is_named_qcow2(const char *path)
{
    size_t n = strlen(path);

    return n > 6 && strcmp(path + n - 6, ".qcow2") == 0;
}

/* Whether ${path}, resolved, lies where ${options} allow it; looks at nothing else of it. */
static int check_inside(const struct chain_options *options, const char *path, struct error *err)
{
    size_t n = options->inside ? strlen(options->inside) : 0;
    char *real;
    int rc = 0;

    if (!options->inside)
        return 0;
    if (!(real = realpath(path, NULL)))
        return error_sys(err, errno, "%s", path);
    if (strncmp(real, options->inside, n) != 0 || real[n] != '/')
        rc = error_set(err, ERROR_UNSUPPORTED, "%s: is not below %s", path, options->inside);
    free(real);
    return rc;
}

/* ${other}: it is neither raw nor qcow2. */
static int find_format(struct layer *layer, enum backing_format declared, bool other,
                       struct error *err)
{
    static const uint8_t magic[MAGIC_LENGTH] = {'Q', 'F', 'I', 0xfb};
    uint8_t head[MAGIC_LENGTH];
    size_t got;
    int rc;

    layer->format = other ? LAYER_OTHER : declared == BACKING_QCOW2 ? LAYER_QCOW2 : LAYER_RAW;
    if (other || declared != BACKING_PROBED)
        return 0;
    if ((rc = io_read_some(layer->fd, layer->path, 0, head, sizeof head, &got, err)) < 0)
        return rc;
    layer->head_read += got;
    if (got == sizeof head && memcmp(head, magic, sizeof head) == 0)
        layer->format = LAYER_QCOW2;
    else if (is_named_qcow2(layer->path)) /* QEMU would take it for raw, and nobody would notice */
        return error_set(
            err, ERROR_CORRUPT,
            "%s: is named like a qcow2 file and is none (damaged?); rename it if it is "
            "meant to be a raw disk",
            layer->path);
    return 0;
}

/* Opens what ${layer}, a qcow2 file, needs besides itself, and has the name of. */
static int open_data_file(struct layer *layer, const struct chain_options *options,
                          struct error *err)
{
    struct qcow2_header h = {0};
    uint8_t *cluster = NULL;
    char *name = NULL;
    int rc;

    if ((rc = qcow2_header_read(&h, &cluster, layer->fd, layer->path, layer->file_size,
                                &layer->head_read, err)) < 0)
        return rc;
    if (h.incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        if ((rc = qcow2_data_file_name(&h, cluster, &name, err)) == 0 && name)
            rc = data_file_open(&layer->data_file, layer->path, &layer->st, name,
                                options->assume_stopped, err);
        if (rc == 0 && layer->data_file)
            rc = check_inside(options, layer->data_file->real_path, err);
        if (rc < 0)
            error_wrap(err, "%s", layer->path);
    }
    free(name);
    free(cluster);
    qcow2_header_clear(&h);
    return rc;
}

static int parse_file(struct layer *layer, enum backing_format declared, bool other,
                      const struct chain_options *options, struct error *err)
{
    struct qcow2_open_options how = {.force_corrupt = options->force_corrupt, .data_fd = -1};
    int rc;

    if ((rc = find_format(layer, declared, other, err)) < 0)
        return rc;
    layer->virtual_size = layer->file_size;
    if (layer->format != LAYER_QCOW2)
        return 0;
    if ((rc = open_data_file(layer, options, err)) < 0)
        return rc;
    if (layer->data_file) {
        how.data_fd = layer->data_file->fd;
        how.data_size = layer->data_file->size;
        how.data_name = layer->data_file->path;
    }
    if ((rc = qcow2_image_open(&layer->image, layer->fd, layer->path, layer->file_size, &how,
                               err)) < 0)
        return rc;
    layer->virtual_size = qcow2_image_virtual_size(layer->image);
    return 0;
}

uint64_t layer_metadata_read(const struct layer *layer)
{
    return layer->head_read + (layer->image ? qcow2_image_metadata_read(layer->image) : 0);
}

/* Sets ${*below}, to be cleared, to what ${layer} has below it; its path is NULL for nothing. */
static int backing_of(const struct layer *layer, struct backing_name *below, struct error *err)
{
    const struct qcow2_header *h;
    int rc;

    memset(below, 0, sizeof *below);
    if (!layer->image)
        return 0;
    h = qcow2_image_header(layer->image);
    if (h->backing_file[0] == '\0')
        return 0;
    if ((rc = backing_name_parse(below, h->backing_file, h->backing_format, err)) < 0)
        return error_wrap(err, "%s", layer->path);
    return 0;
}

/* The path of ${below} as seen from an overlay reached as ${overlay}; given to the caller. */
static char *resolve_backing(const char *overlay, const struct backing_name *below)
{
    return source_resolve(below->in_working_folder ? NULL : overlay, below->path);
}

/* The data file of ${layer}, reached as ${path}. */
static int check_same_data_file(const struct layer *layer, const char *path, struct error *err)
{
    char *name;
    int rc;

    if (!layer->data_file)
        return 0;
    if ((rc = qcow2_data_file_name(qcow2_image_header(layer->image),
                                   qcow2_image_header_cluster(layer->image), &name, err)) < 0)
        return rc;
    rc = data_file_check_same(layer->data_file, path, name, err);
    free(name);
    return rc;
}

/*
 * ${layer} of the set was opened under another name than ${path}: from there, each relative name of
 * a data file or of what is below it must mean the same file, or it would be two layers in one.
 */
static int check_same_below(const struct layer *layer, const char *path, struct error *err)
{
    char *here = strdup(path);
    int rc = 0;

    if (!here)
        return error_no_memory(err);
    while ((rc = check_same_data_file(layer, here, err)) == 0 && layer->backing) {
        struct backing_name below;
        struct stat st;
        char *next;

        if ((rc = backing_of(layer, &below, err)) < 0)
            break;
        next = resolve_backing(here, &below);
        backing_name_clear(&below);
        free(here);
        if (!(here = next))
            return error_sys(err, errno, "%s: cannot resolve its backing file's name", layer->path);
        if (stat(here, &st) < 0 || !source_same_file(&st, &layer->backing->st)) {
            rc = error_set(err, ERROR_UNSUPPORTED,
                           "%s: reached under two names, from which its backing file is not the "
                           "same: %s is not %s",
                           layer->path, here, layer->backing->path);
            break;
        }
        layer = layer->backing;
    }
    free(here);
    return rc;
}

static const char *format_name(const struct layer *layer)
{
    return layer->format == LAYER_RAW     ? "raw"
           : layer->format == LAYER_QCOW2 ? "qcow2"
                                          : "another format";
}

/* Whether ${known}, of the set, can be what ${layer}, the same file, was opened for. */
static int check_shared(const struct layer *known, struct layer *layer,
                        enum backing_format declared, bool other, size_t above, struct error *err)
{
    size_t depth = above;
    int rc;

    if ((rc = find_format(layer, declared, other, err)) < 0)
        return rc;
    if (known->format != layer->format)
        return error_set(err, ERROR_UNSUPPORTED, "%s: used as %s by one image and as %s by another",
                         layer->path, format_name(layer), format_name(known));
    for (const struct layer *l = known; l; l = l->backing)
        depth++;
    if (depth > MAX_DEPTH)
        return error_set(err, ERROR_CORRUPT, "%s: the chain is deeper than %d", layer->path,
                         MAX_DEPTH);
    return check_same_below(known, layer->path, err);
}

static struct layer *find_layer(struct layer *const *layers, size_t count, const struct stat *st)
{
    for (size_t i = 0; i < count; i++)
        if (source_same_file(&layers[i]->st, st))
            return layers[i];
    return NULL;
}

/*
 * Opens the file that ${name}, in full ${opened_as}, means below ${overlay} (NULL: the top) as the
 * next layer of ${chain}, or sets ${*known} where the set has it.
 */
static int open_layer(const struct layer_set *set, struct new_chain *chain, struct layer *overlay,
                      const char *opened_as, const struct backing_name *name,
                      const struct chain_options *options, struct layer **known, struct error *err)
{
    bool other = overlay == NULL && options->top == CHAIN_TOP_OTHER;
    struct layer *layer = NULL;
    int rc;

    *known = NULL;
    if (!(layer = calloc(1, sizeof *layer)))
        return error_no_memory(err);
    layer->fd = -1;
    if (!(layer->path = resolve_backing(overlay ? overlay->path : NULL, name)) ||
        !(layer->opened_as = strdup(opened_as))) {
        rc = error_sys(err, errno, "%s: cannot resolve the name", opened_as);
        goto fail;
    }
    if ((rc = check_inside(options, layer->path, err)) < 0 ||
        (rc = source_open(layer->path, &layer->fd, &layer->st, err)) < 0)
        goto fail;
    if (find_layer(chain->layers, chain->count, &layer->st)) {
        rc = error_set(err, ERROR_CORRUPT, "%s: the chain of backing files is a loop", layer->path);
        goto fail;
    }
    if ((*known = find_layer(set->layers, set->count, &layer->st))) {
        rc = check_shared(*known, layer, name->format, other, chain->count, err);
        (*known)->head_read += layer->head_read;
        goto fail;
    }
    if (chain->count == MAX_DEPTH) {
        rc = error_set(err, ERROR_CORRUPT, "%s: the chain is deeper than %d", layer->path,
                       MAX_DEPTH);
        goto fail;
    }
    if ((rc = source_lock(layer->path, layer->fd, options->assume_stopped, &layer->used_as_base,
                          &layer->st, &layer->file_size, &layer->real_path, err)) < 0 ||
        (rc = parse_file(layer, name->format, other, options, err)) < 0)
        goto fail;
    chain->layers[chain->count++] = layer;
    return 0;

fail: /* or known: the descriptor goes, and the lock of the set's own stays */
    layer_free(layer);
    return rc;
}

/* Follows the backing names from ${path} on, and links each new layer to the one below it. */
static int open_chain(const struct layer_set *set, struct new_chain *chain, const char *path,
                      const struct chain_options *options, struct layer **top, struct error *err)
{
    static const enum backing_format formats[] = {
        [CHAIN_TOP_PROBED] = BACKING_PROBED,
        [CHAIN_TOP_RAW] = BACKING_RAW,
        [CHAIN_TOP_QCOW2] = BACKING_QCOW2,
        [CHAIN_TOP_OTHER] = BACKING_RAW,
    };
    struct backing_name name = {.path = strdup(path), .format = formats[options->top]};
    struct layer *overlay = NULL;
    const char *opened_as = path;
    int rc;

    if (!name.path)
        return error_no_memory(err);
    while (name.path) {
        struct layer *layer;

        rc = open_layer(set, chain, overlay, opened_as, &name, options, &layer, err);
        backing_name_clear(&name);
        if (rc < 0) {
            if (overlay && rc == ERROR_NOT_FOUND)
                error_add(err, "; put it back, or leave it out with --only-top");
            if (overlay)
                error_wrap(err, "backing file of %s", overlay->path);
            return rc;
        }
        if (!layer) {
            layer = chain->layers[chain->count - 1];
            if (!options->only_top && (rc = backing_of(layer, &name, err)) < 0)
                return rc;
            if (name.path)
                opened_as = qcow2_image_header(layer->image)->backing_file;
        }
        if (overlay)
            overlay->backing = layer;
        else
            *top = layer;
        overlay = layer;
    }
    return 0;
}

int layer_set_open(struct layer_set *set, const char *path, const struct chain_options *options,
                   struct layer **top, struct error *err)
{
    struct new_chain chain = {.count = 0};
    struct layer *found = NULL;
    struct layer **layers;
    int rc;

    *top = NULL;
    if (*path == '\0')
        return error_set(err, ERROR_USAGE, "the name of the image is empty");
    if ((rc = open_chain(set, &chain, path, options, &found, err)) < 0)
        goto fail;
    layers = reallocarray(set->layers, set->count + chain.count + 1, sizeof(struct layer *));
    if (!layers) {
        rc = error_no_memory(err);
        goto fail;
    }
    set->layers = layers;
    while (chain.count > 0)
        set->layers[set->count++] = chain.layers[--chain.count];
    *top = found;
    return 0;

fail:
    for (size_t i = 0; i < chain.count; i++)
        layer_free(chain.layers[i]);
    return rc;
}

int layer_set_add(struct layer_set *set, const char *name, struct layer **top, struct error *err)
{
    struct layer *layer;
    struct layer **layers;

    *top = NULL;
    for (size_t i = 0; i < set->count; i++)
        if (set->layers[i]->fd < 0 && strcmp(set->layers[i]->path, name) == 0) {
            *top = set->layers[i];
            return 0;
        }
    if (!(layers = reallocarray(set->layers, set->count + 1, sizeof(struct layer *))))
        return error_no_memory(err);
    set->layers = layers;
    if (!(layer = calloc(1, sizeof *layer)))
        return error_no_memory(err);
    layer->fd = -1;
    layer->format = LAYER_OTHER;
    layer->path = strdup(name);
    layer->real_path = strdup(name);
    layer->opened_as = strdup(name);
    if (!layer->path || !layer->real_path || !layer->opened_as) {
        layer_free(layer);
        return error_no_memory(err);
    }
    set->layers[set->count++] = *top = layer;
    return 0;
}

int layer_add_file(struct layer *layer, const char *name, const struct chain_options *options,
                   struct error *err)
{
    struct data_file **others;
    struct stat st;
    int rc;

    if (stat(name, &st) == 0 && source_same_file(&st, &layer->st))
        return 0;
    others = reallocarray(layer->others, layer->other_count + 1, sizeof(struct data_file *));
    if (!others)
        return error_no_memory(err);
    layer->others = others;
    rc = data_file_open(&others[layer->other_count], layer->path, &layer->st, name,
                        options->assume_stopped, err);
    if (rc < 0)
        return error_wrap(err, "%s", layer->path);
    layer->other_count++;
    return 0;
}

int layer_set_verify_unchanged(const struct layer_set *set, struct error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct layer *layer = set->layers[i];
        const struct data_file *data = layer->data_file;
        int rc = 0;

        if (layer->fd < 0)
            continue;
        for (size_t k = 0; rc == 0 && k < layer->other_count; k++)
            rc = source_verify(layer->others[k]->path, layer->others[k]->fd, &layer->others[k]->st,
                               layer->others[k]->size, err);
        if (rc < 0)
            return rc;
        if ((rc = source_verify(layer->path, layer->fd, &layer->st, layer->file_size, err)) < 0)
            return rc;
        if (data && (rc = source_verify(data->path, data->fd, &data->st, data->size, err)) < 0)
            return rc;
    }
    return 0;
}

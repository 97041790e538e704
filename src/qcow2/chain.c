/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the name of an image to its open, locked layers: which file a backing
 * name means, whether it may be followed, and what is shared. Reads no guest
 * data; names are resolved here, formats are judged by header.c and image.c.
 */
#include "qcow2/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"
#include "qcow2/lock.h"

enum { MAX_DEPTH = 256, MAGIC_LENGTH = 4 };

/* The format that the overlay declares for what is below it. */
enum declared { DECLARED_NONE, DECLARED_RAW, DECLARED_QCOW2 };

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

static bool same_file(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
        return a->st_rdev == b->st_rdev;
    return (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT) && a->st_dev == b->st_dev &&
           a->st_ino == b->st_ino;
}

/* ${name} as seen from the folder part of ${overlay}, or from the working directory where
 * ${overlay} is NULL. Symlinks are left to the kernel. NULL with errno on failure. */
static char *resolve(const char *overlay, const char *name)
{
    char *path = NULL, *cwd = NULL;
    int n;

    if (*name == '/')
        return strdup(name);
    if (overlay) {
        const char *slash = strrchr(overlay, '/');

        n = asprintf(&path, "%.*s/%s", slash ? (int)(slash - overlay) : 1, slash ? overlay : ".",
                     name);
    } else {
        if (!(cwd = getcwd(NULL, 0)))
            return NULL;
        n = asprintf(&path, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, name);
        free(cwd);
    }
    return n < 0 ? NULL : path;
}

/* As QEMU sees it: a colon before the first slash begins something that is no path. */
static bool has_protocol(const char *name)
{
    return name[strcspn(name, ":/")] == ':';
}

static int check_followable(const char *path, const struct stat *st, struct error *err)
{
    if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, "%s: neither a regular file nor a block device", path);
}

static int device_size(int fd, const char *path, uint64_t *size, struct error *err)
{
    if (ioctl(fd, BLKGETSIZE64, size) < 0)
        return error_sys(err, errno, "%s: cannot get the size of the device", path);
    return 0;
}

/* Opens layer->path, and holds it against what stat() said it would be. */
static int open_file(struct layer *layer, struct error *err)
{
    int rc;

    /* Before the open: opening some devices does something. */
    if (stat(layer->path, &layer->st) < 0)
        return error_sys(err, errno, "%s: cannot open", layer->path);
    if ((rc = check_followable(layer->path, &layer->st, err)) < 0)
        return rc;
    /* What it is may have changed since; a FIFO must not make us wait. */
    layer->fd = open(layer->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (layer->fd < 0)
        return error_sys(err, errno, "%s: cannot open", layer->path);
    if (fstat(layer->fd, &layer->st) < 0)
        return error_sys(err, errno, "%s: cannot stat", layer->path);
    return check_followable(layer->path, &layer->st, err);
}

static int lock_file(struct layer *layer, const struct chain_options *options, struct error *err)
{
    bool device = S_ISBLK(layer->st.st_mode);
    int rc;

    if ((rc = lock_for_reading(layer->fd, layer->path, &layer->used_as_base, err)) < 0)
        return rc;
    if (device && !options->assume_stopped &&
        (rc = lock_probe_device(layer->fd, layer->path, err)) < 0)
        return rc;
    /* A power cut may take back dirty pages that we have read, and leave a time stamp that says
     * that nothing changed. */
    if (fsync(layer->fd) < 0 && errno != EINVAL && errno != EROFS)
        return error_sys(err, errno, "%s: cannot fsync", layer->path);
    if (fstat(layer->fd, &layer->st) < 0)
        return error_sys(err, errno, "%s: cannot stat", layer->path);
    layer->file_size = (uint64_t)layer->st.st_size;
    if (device && (rc = device_size(layer->fd, layer->path, &layer->file_size, err)) < 0)
        return rc;
    if (!(layer->real_path = realpath(layer->path, NULL)))
        return error_sys(err, errno, "%s: cannot resolve the path", layer->path);
    return 0;
}

static int find_format(struct layer *layer, enum declared declared, struct error *err)
{
    static const uint8_t magic[MAGIC_LENGTH] = {'Q', 'F', 'I', 0xfb};
    uint8_t head[MAGIC_LENGTH];
    size_t got;
    int rc;

    layer->format = declared == DECLARED_QCOW2 ? LAYER_QCOW2 : LAYER_RAW;
    if (declared != DECLARED_NONE)
        return 0;
    if ((rc = io_read_some(layer->fd, layer->path, 0, head, sizeof head, &got, err)) < 0)
        return rc;
    if (got == sizeof head && memcmp(head, magic, sizeof head) == 0)
        layer->format = LAYER_QCOW2;
    return 0;
}

static int parse_file(struct layer *layer, enum declared declared, struct error *err)
{
    int rc;

    if ((rc = find_format(layer, declared, err)) < 0)
        return rc;
    layer->virtual_size = layer->file_size;
    if (layer->format == LAYER_RAW)
        return 0;
    if ((rc = qcow2_image_open(&layer->image, layer->fd, layer->path, layer->file_size, err)) < 0)
        return rc;
    layer->virtual_size = qcow2_image_virtual_size(layer->image);
    return 0;
}

/* Sets ${*name} to the name of what is below ${layer}, NULL for nothing, and ${*declared}. */
static int backing_of(const struct layer *layer, const char **name, enum declared *declared,
                      struct error *err)
{
    const struct qcow2_header *h;

    *name = NULL;
    *declared = DECLARED_NONE;
    if (!layer->image)
        return 0;
    h = qcow2_image_header(layer->image);
    if (h->backing_file[0] == '\0')
        return 0;
    if (has_protocol(h->backing_file))
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: the backing file \"%s\" is no plain path; --only-top leaves it out",
                         layer->path, h->backing_file);
    if (strcmp(h->backing_format, "qcow2") == 0)
        *declared = DECLARED_QCOW2;
    else if (strcmp(h->backing_format, "raw") == 0)
        *declared = DECLARED_RAW;
    else if (h->backing_format[0] != '\0')
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: the backing file \"%s\" has the format \"%s\"; --only-top leaves it "
                         "out",
                         layer->path, h->backing_file, h->backing_format);
    *name = h->backing_file;
    return 0;
}

/*
 * ${layer} of the set was opened under another name than ${path}: from there, each relative
 * backing name below it must mean the same file, or it would be two layers in one.
 */
static int check_same_below(const struct layer *layer, const char *path, struct error *err)
{
    char *here = strdup(path);
    int rc = 0;

    if (!here)
        return error_no_memory(err);
    for (; layer->backing; layer = layer->backing) {
        char *below = resolve(here, qcow2_image_header(layer->image)->backing_file);
        struct stat st;

        free(here);
        if (!(here = below))
            return error_no_memory(err);
        if (stat(here, &st) < 0 || !same_file(&st, &layer->backing->st)) {
            rc = error_set(err, ERROR_UNSUPPORTED,
                           "%s: reached under two names, from which its backing file is not the "
                           "same: %s is not %s",
                           layer->path, here, layer->backing->path);
            break;
        }
    }
    free(here);
    return rc;
}

/* Whether ${known}, of the set, can be what ${layer}, the same file, was opened for. */
static int check_shared(const struct layer *known, struct layer *layer, enum declared declared,
                        size_t above, struct error *err)
{
    size_t depth = above;
    int rc;

    if ((rc = find_format(layer, declared, err)) < 0)
        return rc;
    if (known->format != layer->format)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: used as raw by one image and as qcow2 by another", layer->path);
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
        if (same_file(&layers[i]->st, st))
            return layers[i];
    return NULL;
}

/*
 * Opens the file that ${name} means below ${overlay} (NULL: the top) as the next layer of ${chain},
 * or sets ${*known} where the set has it.
 */
static int open_layer(const struct layer_set *set, struct new_chain *chain, struct layer *overlay,
                      const char *name, enum declared declared, const struct chain_options *options,
                      struct layer **known, struct error *err)
{
    struct layer *layer = NULL;
    int rc;

    *known = NULL;
    if (!(layer = calloc(1, sizeof *layer)))
        return error_no_memory(err);
    layer->fd = -1;
    if (!(layer->path = resolve(overlay ? overlay->path : NULL, name)) ||
        !(layer->opened_as = strdup(name))) {
        rc = error_sys(err, errno, "%s: cannot resolve the name", name);
        goto fail;
    }
    if ((rc = open_file(layer, err)) < 0)
        goto fail;
    if (find_layer(chain->layers, chain->count, &layer->st)) {
        rc = error_set(err, ERROR_CORRUPT, "%s: the chain of backing files is a loop", layer->path);
        goto fail;
    }
    if ((*known = find_layer(set->layers, set->count, &layer->st))) {
        rc = check_shared(*known, layer, declared, chain->count, err);
        goto fail;
    }
    if (chain->count == MAX_DEPTH) {
        rc = error_set(err, ERROR_CORRUPT, "%s: the chain is deeper than %d", layer->path,
                       MAX_DEPTH);
        goto fail;
    }
    if ((rc = lock_file(layer, options, err)) < 0 || (rc = parse_file(layer, declared, err)) < 0)
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
    enum declared declared = DECLARED_NONE;
    struct layer *overlay = NULL;
    const char *name = path;
    int rc;

    while (name) {
        struct layer *layer;

        rc = open_layer(set, chain, overlay, name, declared, options, &layer, err);
        if (rc < 0) {
            if (overlay)
                error_wrap(err, "backing file of %s", overlay->path);
            return rc;
        }
        name = NULL;
        if (!layer) {
            layer = chain->layers[chain->count - 1];
            if (!options->only_top && (rc = backing_of(layer, &name, &declared, err)) < 0)
                return rc;
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

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int verify_layer(const struct layer *layer, struct error *err)
{
    bool device = S_ISBLK(layer->st.st_mode);
    uint64_t size;
    struct stat st;
    int rc;

    if (fstat(layer->fd, &st) < 0)
        return error_sys(err, errno, "%s: cannot stat", layer->path);
    size = (uint64_t)st.st_size;
    if (device && (rc = device_size(layer->fd, layer->path, &size, err)) < 0)
        return rc;
    if (size != layer->file_size)
        return error_set(err, ERROR_CHANGED,
                         "%s: changed while it was read (from %" PRIu64 " to %" PRIu64 " bytes)",
                         layer->path, layer->file_size, size);
    if (!same_time(&st.st_mtim, &layer->st.st_mtim))
        return error_set(err, ERROR_CHANGED, "%s: changed while it was read (mtime)", layer->path);
    /* Who may open a device node changes with every session, and its ctime with that. */
    if (!device && !same_time(&st.st_ctim, &layer->st.st_ctim))
        return error_set(err, ERROR_CHANGED, "%s: changed while it was read (ctime)", layer->path);
    if (stat(layer->path, &st) < 0)
        return error_set(err, ERROR_CHANGED, "%s: went away while it was read", layer->path);
    if (!same_file(&st, &layer->st))
        return error_set(err, ERROR_CHANGED, "%s: replaced by another file while it was read",
                         layer->path);
    return 0;
}

int layer_set_verify_unchanged(const struct layer_set *set, struct error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        int rc = verify_layer(set->layers[i], err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

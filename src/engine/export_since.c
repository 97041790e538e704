/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an archive's disks differ in from an earlier one's, into a tar: which
 * overlays there are, what they and their backing files are called. What is in
 * them, export_overlay.c writes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/export_overlay.h"
#include "engine/path.h"

enum { SHORT_ID = 8 };

struct overlays {
    struct exporter *e;
    struct record_archive old;
    struct diff_pair *pairs; /* of the new archive's images first, in their order */
    size_t count;            /* of those */
};

static int require_plain(const struct record_archive *a, const struct record_image *image,
                         struct error *err)
{
    for (size_t i = 0; image != NULL && i < image->layer_count; i++)
        if (a->layers[image->layers[i]].qcow2.crypt_method != 0)
            return error_set(err, ERROR_UNSUPPORTED,
                             "%s: is encrypted, so that what its guest saw is not known, and "
                             "ciphertext cannot be moved to another file without the key; export "
                             "the archive without --since",
                             a->layers[image->layers[i]].file.path);
    return image != NULL ? diff_require_whole(a, image, err) : 0;
}

/* "disk.qcow2" becomes "disk.1234abcd-since-5678cdef.qcow2", beside the earlier file where there is
 * one: no two exports have a name in common. */
static char *overlay_name(const struct overlays *o, const struct diff_pair *pair, unsigned n)
{
    const struct record_archive *a = pair->a != NULL ? &o->old : &o->e->r.archive;
    const struct record_image *image = pair->a != NULL ? pair->a : pair->b;
    const char *placed = a->layers[image->layers[0]].file.placed_path;
    const char *base = path_base(placed), *dot = strrchr(base, '.');
    char id[CS_ID_HEX], since[CS_ID_HEX], number[16] = "";
    char *name = NULL;
    int stem = (int)(dot != NULL && dot != base ? dot - placed : (ptrdiff_t)strlen(placed));
    if (n > 1)
        snprintf(number, sizeof number, ".%u", n);
    cs_id_hex(&o->e->r.archive.id, id)[SHORT_ID] = 0;
    cs_id_hex(&o->old.id, since)[SHORT_ID] = 0;
    return asprintf(&name, "%.*s.%s-since-%s%s.qcow2", stem, placed, id, since, number) < 0 ? NULL
                                                                                            : name;
}

/* Two disks may differ in nothing but their suffix. */
static char *unique_name(const struct overlays *o, const struct diff_pair *pair)
{
    char *name = overlay_name(o, pair, 1);
    for (unsigned n = 2; name != NULL && manifest_find(&o->e->manifest, name) != NULL; n++) {
        free(name);
        name = overlay_name(o, pair, n);
    }
    return name;
}

static int describe_file(struct overlays *o, const struct diff_pair *pair, char *name,
                         struct error *err)
{
    const struct record_archive *a = &o->e->r.archive;
    const struct record_layer *top = &a->layers[pair->b->layers[0]];
    struct manifest_file *file = manifest_add_file(&o->e->manifest);
    if (file == NULL) {
        free(name);
        return error_no_memory(err);
    }
    file->kind = MANIFEST_QCOW2;
    file->name = name;
    file->virtual_size = (top->virtual_size + 511) / 512 * 512;
    file->mode = S_ISREG(top->file.mode) ? top->file.mode & 07777 : 0600;
    file->uid = top->file.uid;
    file->gid = top->file.gid;
    file->mtime_ns = top->file.mtime_ns;
    cs_id_hex(&top->id, file->layer);
    if (pair->a == NULL)
        return 0;
    const struct record_layer *old = &o->old.layers[pair->a->layers[0]];
    const char *base = path_base(old->file.placed_path);
    if (asprintf(&file->backing_file, "%s%s", path_is_protocol(base) ? "./" : "", base) < 0)
        file->backing_file = NULL;
    file->backing_format = strdup(old->is_qcow2 ? "qcow2" : "raw");
    return file->backing_file == NULL || file->backing_format == NULL ? error_no_memory(err) : 0;
}

static int describe(struct overlays *o, const struct diff_pair *pair, struct error *err)
{
    char *name = unique_name(o, pair);
    if (name == NULL)
        return error_no_memory(err);
    struct manifest_image *image = manifest_add_image(&o->e->manifest);
    if (image != NULL) {
        image->name = strdup(pair->b->name);
        image->path = strdup(pair->b->path);
    }
    if (image == NULL || image->name == NULL || image->path == NULL ||
        !manifest_image_add(image, name)) {
        free(name);
        return error_no_memory(err);
    }
    return describe_file(o, pair, name, err);
}

static int send(struct overlays *o, const struct diff_pair *pair, const struct manifest_file *file,
                struct error *err)
{
    struct target spool = {.fd = -1};
    int rc = export_spool(o->e, file->name, &spool, err);
    if (rc == 0)
        rc = pair->a != NULL ? export_overlay(o->e, &o->old, pair, file, &spool, err)
                             : export_whole(o->e, pair->b, &spool, err);
    if (rc == ERROR_NO_SPACE)
        rc = export_no_room(o->e, err);
    if (rc == 0)
        rc = export_send(o->e, file, &spool, err);
    target_clear(&spool);
    return rc;
}

static int prepare(struct overlays *o, struct error *err)
{
    const struct record_archive *a = &o->e->r.archive;
    int rc = diff_match(&o->old, a, &o->pairs, &o->count, err);
    o->count = a->image_count;
    for (size_t i = 0; rc == 0 && i < o->count; i++) {
        rc = require_plain(a, o->pairs[i].b, err);
        if (rc == 0)
            rc = require_plain(&o->old, o->pairs[i].a, err);
    }
    for (size_t i = 0; rc == 0 && i < o->count; i++) {
        o->e->r.bytes_total += a->layers[o->pairs[i].b->layers[0]].virtual_size;
        rc = describe(o, &o->pairs[i], err);
    }
    return rc;
}

int export_since(struct exporter *e, const struct cs_archive *earlier, struct error *err)
{
    struct overlays o = {.e = e};
    int rc = record_archive_read(&o.old, e->r.store, &earlier->id, err);
    if (rc == 0)
        rc = export_name_contents(&o.old, err);
    if (rc == 0)
        rc = prepare(&o, err);
    for (size_t i = 0; rc == 0 && i < e->r.archive.with_count; i++)
        rc = export_describe_side_file(e, &e->r.archive.with[i], err);
    if (rc == 0)
        rc = export_manifest(e, err);
    const struct manifest_file *next = e->manifest.files;
    for (size_t i = 0; rc == 0 && i < o.count; i++)
        rc = send(&o, &o.pairs[i], next++, err);
    for (size_t i = 0; rc == 0 && i < e->r.archive.with_count; i++)
        rc = export_send_side_file(e, &e->r.archive.with[i], next++, err);
    free(o.pairs);
    record_archive_clear(&o.old);
    return rc;
}

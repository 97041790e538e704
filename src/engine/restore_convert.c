/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks in formats that byre does not write itself: the disk goes to a raw file
 * that is as sparse as can be, and qemu-img makes the other file of that. How
 * the raw file is written is its caller's, qemu-img's words are qemu_img.c's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/path.h"
#include "engine/qemu_img.h"
#include "engine/restore.h"

/* Without force_size a vpc gets the next size that its CHS geometry can tell. One that stands for
 * ENGINE_AS_STORED is only what a layer was in. */
static const struct {
    enum engine_format format;
    struct restore_format is;
} formats[] = {
    {ENGINE_VMDK, {"vmdk", ".vmdk", NULL}},      {ENGINE_VPC, {"vpc", ".vhd", "force_size=on"}},
    {ENGINE_VHDX, {"vhdx", ".vhdx", NULL}},      {ENGINE_VDI, {"vdi", ".vdi", NULL}},
    {ENGINE_AS_STORED, {"qcow", ".qcow", NULL}},
};

enum { FORMATS = sizeof formats / sizeof *formats };

const struct restore_format *restore_format_of(enum engine_format format)
{
    for (size_t i = 0; format != ENGINE_AS_STORED && i < FORMATS; i++)
        if (formats[i].format == format)
            return &formats[i].is;
    return NULL;
}

const struct restore_format *restore_format_of_layer(const struct record_layer *layer)
{
    for (size_t i = 0; layer->content != NULL && i < FORMATS; i++)
        if (strcmp(formats[i].is.name, layer->content->format) == 0)
            return &formats[i].is;
    return NULL;
}

/* The file that qemu-img makes, as it is called where it is made. */
static struct qemu_img_file made(const struct restore_conversion *c)
{
    return (struct qemu_img_file){
        .folder = c->target->folder,
        .name = path_base(c->target->temporary),
        .format = c->format->name,
    };
}

/* Made empty at first: what a format cannot have shows before the disk is written. */
static int make_empty(const struct restore_conversion *c, const struct restore *r, uint64_t size,
                      struct error *err)
{
    const volatile int *cancel = r->options->listener.cancel;
    const struct qemu_img_file file = made(c);
    const char *path = c->target->path;
    uint64_t got = 0;
    int rc = qemu_img_create(&file, c->format->options, size, cancel, err);
    if (rc == 0)
        rc = qemu_img_size(&file, cancel, &got, err);
    if (rc < 0)
        return error_wrap(err, "%s: making a %s of %" PRIu64 " bytes", path, c->format->name, size);
    if (got != size)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: the disk has %" PRIu64 " bytes, and a %s would have %" PRIu64, path,
                         size, c->format->name, got);
    return 0;
}

int restore_conversion_begin(struct restore_conversion *c, struct restore *r,
                             const struct restore_format *format, struct target *target,
                             const char *path, uint64_t size, struct error *err)
{
    *c = (struct restore_conversion){
        .format = format, .target = target, .raw = {.fd = -1}, .begin = r->bytes_done};
    int rc = target_open_aside(target, path, r->options->force, err);
    if (rc == 0)
        rc = make_empty(c, r, (size + 511) / 512 * 512, err);
    if (rc < 0)
        return rc;
    char *raw = path_join(target->folder, "raw");
    rc = raw == NULL ? error_no_memory(err) : target_open(&c->raw, raw, false, err);
    free(raw);
    return rc;
}

struct filling { /* qemu-img at work, as far as its file tells */
    const struct restore_conversion *c;
    struct restore *r;
    uint64_t begin;  /* bytes of progress before it, */
    uint64_t weight; /* and those that it is */
    uint64_t blocks; /* of the raw file */
};

static void step_to(const struct filling *f, uint64_t done)
{
    uint64_t have = f->r->bytes_done - f->begin;
    restore_step(f->r, "converting", done > have ? done - have : 0, NULL);
}

static void tell_filling(void *arg)
{
    const struct filling *f = arg;
    struct stat st;
    if (f->blocks == 0 || stat(f->c->target->temporary, &st) < 0)
        return;
    double part = (double)st.st_blocks / (double)f->blocks;
    step_to(f, (uint64_t)((part < 1 ? part : 1) * (double)f->weight));
}

static int fill(struct restore_conversion *c, struct restore *r, const struct qemu_img_file *raw,
                const struct qemu_img_file *file, struct error *err)
{
    struct filling f = {.c = c, .r = r, .begin = r->bytes_done};
    struct stat st;
    f.weight = f.begin - c->begin;
    if (fstat(c->raw.fd, &st) < 0)
        return error_sys(err, errno, "%s", c->raw.path);
    f.blocks = (uint64_t)st.st_blocks;
    int rc = qemu_img_fill(file, raw, r->options->listener.cancel, tell_filling, &f, err);
    if (rc < 0)
        return error_wrap(err, "%s: making a %s of the disk", c->target->path, c->format->name);
    step_to(&f, f.weight);
    return 0;
}

int restore_conversion_finish(struct restore_conversion *c, struct restore *r, struct error *err)
{
    const volatile int *cancel = r->options->listener.cancel;
    const char *path = c->target->path;
    const struct qemu_img_file file = made(c);
    const struct qemu_img_file raw = {
        .folder = file.folder, .name = path_base(c->raw.temporary), .format = "raw"};
    char message[QEMU_IMG_MESSAGE];
    bool same = true;
    int rc = restore_step(r, "converting", 0, err);
    if (rc < 0)
        return rc;
    rc = fill(c, r, &raw, &file, err);
    if (rc == 0 && r->options->verify) {
        rc = qemu_img_compare(&raw, &file, cancel, &same, message, err);
        if (rc < 0)
            return error_wrap(err, "%s: reading it back", path);
        if (!same)
            return error_set(err, ERROR_IO, "%s: what was read back is not what was written: %s",
                             path, message);
    }
    return rc < 0 ? rc : target_take(c->target, err);
}

void restore_conversion_clear(struct restore_conversion *c)
{
    target_clear(&c->raw);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When a backup adds, expects and removes byre's own bitmaps. Images are changed
 * by qemu-img alone, and never while byre holds them locked.
 */
#include "engine/backup_bitmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "engine/backup_images.h"
#include "engine/nbd_uri.h"
#include "engine/qemu_img.h"

struct backup_bitmap {
    char name[OWN_BITMAP_NAME]; /* this run's; "": none */
    uint64_t granularity;       /* bytes, of the one to add */
    bool added;                 /* by this run, or perhaps */
    bool without;               /* it was said that the image has none */
    bool there;                 /* under the lock, and tracking */
    char (*obsolete)[OWN_BITMAP_NAME];
    size_t obsolete_count;
};

static bool is_wanted(const struct backup_bitmaps *b)
{
    return b->options->bitmap_name != NULL || (b->options->bitmap && !b->options->dry_run);
}

static void go_without(struct backup_bitmaps *b, size_t i, const char *why)
{
    const struct engine_listener *l = &b->options->listener;
    say(b->options->running ? l->note : l->warning, l->arg, "%s: is saved without a bitmap: %s",
        b->options->images[i], why);
    b->items[i].without = true;
    b->result->partial |= !b->options->running;
}

/* Whether image ${i} is one that came before, by another name maybe. */
static bool is_again(struct layer *const *tops, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (tops[k] == tops[i])
            return true;
    return false;
}

/* ---- before ---- */

/* Why ${top} cannot have a bitmap; NULL: nothing against it is known. */
static const char *hindrance(const struct layer *top)
{
    if (top->format != LAYER_QCOW2)
        return "only qcow2 has bitmaps, and it is raw";
    if (qcow2_image_header(top->image)->version < 3)
        return "it is qcow2 of version 2, which has none";
    if (qcow2_image_header(top->image)->crypt_method != 0)
        return "it is encrypted; add one with its secret, and name it by --bitmap-name";
    return NULL;
}

/* Why image ${i} cannot have one, whatever it is like; NULL: it may. */
static const char *why_not_other(const struct backup_bitmaps *b, size_t i)
{
    if (!backup_images_is_other(b->images, i))
        return NULL;
    if (!nbd_uri_is(b->options->images[i]))
        return "only qcow2 has bitmaps, and it is of another format";
    return b->options->bitmap_name != NULL
               ? NULL
               : "its server has to add one; name that by --bitmap-name";
}

static int choose_names(struct backup_bitmaps *b, struct error *err)
{
    struct layer_set set = {0};
    size_t n = b->options->image_count;
    struct layer **tops = calloc(n, sizeof *tops);
    int rc = tops == NULL ? error_no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct chain_options chain = backup_images_chain(b->images, i);
        const char *why = why_not_other(b, i);
        if (why != NULL)
            go_without(b, i, why);
        else
            rc = layer_set_open(&set, b->options->images[i], &chain, &tops[i], err);
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (tops[i] == NULL)
            continue;
        const char *why = is_again(tops, i) ? NULL : hindrance(tops[i]);
        if (why != NULL) {
            go_without(b, i, why);
        } else if (!is_again(tops, i)) {
            own_bitmap_make(b->repository, b->items[i].name);
            b->items[i].granularity = own_bitmap_granularity(tops[i]->image);
        }
    }
    for (size_t i = 0; i < set.count; i++)
        b->result->bytes_metadata_read += layer_metadata_read(set.layers[i]);
    layer_set_clear(&set);
    free(tops);
    return rc;
}

static int add(struct backup_bitmaps *b, size_t i, struct error *err)
{
    struct backup_bitmap *item = &b->items[i];
    struct error why = {0};
    const volatile int *cancel = b->options->listener.cancel;
    item->added = cancel == NULL || !*cancel; /* also where it is stopped in the middle */
    int rc =
        qemu_img_bitmap_add(b->options->images[i], item->name, item->granularity, cancel, &why);
    if (rc == ERROR_INTERRUPTED || rc == ERROR_NO_MEMORY) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    item->added = rc == 0;
    if (rc < 0)
        go_without(b, i, why.message);
    return 0;
}

int backup_bitmaps_add(struct backup_bitmaps *b, struct error *err)
{
    const char *given = b->options->bitmap_name;
    size_t n = b->options->image_count;
    if (given != NULL && !own_bitmap_is(b->repository, given))
        return error_set(err, ERROR_USAGE,
                         "%s: is no bitmap name of this repository (byre bitmap name makes one)",
                         given);
    if (!is_wanted(b))
        return 0;
    b->items = calloc(n, sizeof *b->items);
    if (b->items == NULL)
        return error_no_memory(err);
    if (given != NULL) {
        for (size_t i = 0; i < n; i++) {
            const char *why = why_not_other(b, i);
            if (why != NULL)
                go_without(b, i, why);
            snprintf(b->items[i].name, sizeof b->items[i].name, "%s", given);
        }
        return 0;
    }
    int rc = choose_names(b, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (b->items[i].name[0] != 0)
            rc = add(b, i, err);
    return rc;
}

/* ---- under the lock ---- */

static bool is_of_this_run(const struct backup_bitmaps *b, const char *name)
{
    for (size_t i = 0; i < b->options->image_count; i++)
        if (strcmp(b->items[i].name, name) == 0)
            return true;
    return false;
}

static int look(struct backup_bitmaps *b, size_t i, const struct layer *top, struct error *err)
{
    struct backup_bitmap *item = &b->items[i];
    struct own_bitmap *list = NULL;
    size_t count = 0;
    char *problem = NULL;
    if (top->format != LAYER_QCOW2) {
        go_without(b, i, "only qcow2 has bitmaps, and it is raw");
        return 0;
    }
    int rc = own_bitmap_list(top->image, b->repository, &list, &count, &problem, err);
    free(problem); /* whoever stores them says so */
    for (size_t k = 0; rc == 0 && k < count; k++)
        item->there |= list[k].tracks && strcmp(list[k].name, item->name) == 0;
    if (rc == 0 && !item->there) {
        char why[128];
        snprintf(why, sizeof why, "%s is not there, or nobody keeps it up to date",
                 item->name[0] != 0 ? item->name : "it is another file now, and the bitmap");
        go_without(b, i, why);
    }
    /* without a new one, the ones before go on being of use */
    if (rc == 0 && item->there && count > 0) {
        item->obsolete = calloc(count, sizeof *item->obsolete);
        if (item->obsolete == NULL)
            rc = error_no_memory(err);
    }
    for (size_t k = 0; item->obsolete != NULL && k < count; k++)
        if (!is_of_this_run(b, list[k].name))
            memcpy(item->obsolete[item->obsolete_count++], list[k].name, sizeof list[k].name);
    free(list);
    return rc;
}

int backup_bitmaps_check(struct backup_bitmaps *b, struct error *err)
{
    struct layer *const *tops = b->images->tops;
    int rc = 0;
    for (size_t i = 0; b->items != NULL && rc == 0 && i < b->options->image_count; i++)
        if (!b->items[i].without && !backup_images_is_other(b->images, i) && !is_again(tops, i))
            rc = look(b, i, tops[i], err);
    return rc;
}

/* ---- after ---- */

static void remove_obsolete(struct backup_bitmaps *b, size_t i)
{
    const struct backup_bitmap *item = &b->items[i];
    const char *image = b->options->images[i];
    struct error err = {0};
    uint64_t left = 0;
    for (size_t k = 0; k < item->obsolete_count; k++)
        if (qemu_img_bitmap_remove(image, item->obsolete[k], b->options->listener.cancel, &err) < 0)
            left++;
    b->result->bitmaps_obsolete += left;
    if (left > 0)
        say(b->options->listener.note, b->options->listener.arg,
            "%s: %llu obsolete bitmaps stay, until the next backup with a new one can remove them: "
            "%s",
            image, (unsigned long long)left, err.message);
}

/* A run that is stopped takes its own back, too. */
static void take_back(struct backup_bitmaps *b, size_t i)
{
    struct error err = {0};
    if (qemu_img_bitmap_remove(b->options->images[i], b->items[i].name, NULL, &err) < 0)
        say(b->options->listener.note, b->options->listener.arg,
            "%s: bitmap %s stays, until the next backup removes it: %s", b->options->images[i],
            b->items[i].name, err.message);
}

void backup_bitmaps_finish(struct backup_bitmaps *b, bool committed)
{
    for (size_t i = 0; b->items != NULL && i < b->options->image_count; i++) {
        if (committed && b->items[i].there && !b->options->running)
            remove_obsolete(b, i);
        else if (b->items[i].added)
            take_back(b, i);
        free(b->items[i].obsolete);
    }
    free(b->items);
    b->items = NULL;
}

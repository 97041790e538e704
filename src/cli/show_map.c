/* SPDX-License-Identifier: BSD-2-Clause */
/* The pictures of "show": where each image has data, and of which layer. */
#include <stdlib.h>
#include <string.h>

#include "cli/listener.h"
#include "cli/message.h"
#include "cli/show.h"
#include "cli/text.h"
#include "cli/units.h"

struct drawing {
    const struct record_archive *record;
    struct maps *maps;
    size_t next; /* image */
};

static int on_begin(void *arg, const struct engine_map_image *image, struct error *err)
{
    struct drawing *d = arg;

    return maps_image(d->maps, PICTURE_DENSITY, image->virtual_size, err);
}

static bool on_range(void *arg, const struct engine_map_image *image, uint64_t offset,
                     uint64_t length, uint64_t bytes, size_t layer)
{
    struct drawing *d = arg;

    (void)image;
    maps_add(d->maps, offset, length, bytes, layer);
    return true;
}

/* What the layers of ${image} are called, for the caller to free; ${*count}: kinds. */
static int name_kinds(const struct record_archive *record, const struct record_image *image,
                      char *names[PICTURE_KINDS], size_t *count, struct error *err)
{
    *count = image->layer_count < PICTURE_KINDS ? image->layer_count : PICTURE_KINDS;
    for (size_t i = 0; i < *count; i++) {
        const char *path = record->layers[image->layers[i]].file.path;
        const char *slash = strrchr(path, '/');
        bool more = i + 1 == *count && image->layer_count > *count;

        if (asprintf(&names[i], "%s%s", slash ? slash + 1 : path, more ? " and below" : "") < 0) {
            names[i] = NULL;
            return error_no_memory(err);
        }
    }
    return 0;
}

static void print_image(const struct maps *maps, const char *title, char *const *names,
                        size_t count)
{
    struct picture_style style = {.utf8 = maps->terminal.utf8, .colour = maps->terminal.colour};
    char size[UNITS_TEXT];

    message_line(NULL);
    putchar('\n');
    terminal_print(stdout, &maps->terminal, "", "  ", title);
    picture_print(&maps->coarse, &style, stdout);
    for (size_t i = 0; count > 1 && i < count; i++) {
        uint64_t sum = picture_sum(&maps->coarse, i);
        char prefix[64];

        snprintf(prefix, sizeof prefix, "%11s%9s of ", "", units_size(sum, size));
        terminal_print_path(stdout, &maps->terminal, prefix, names[i]);
    }
}

static int on_end(void *arg, const struct engine_map_image *image, struct error *err)
{
    struct drawing *d = arg;
    const struct record_image *of = NULL;
    char *names[PICTURE_KINDS] = {NULL};
    char size[UNITS_TEXT];
    char data[UNITS_TEXT];
    char *title = NULL;
    size_t count = 0;
    int rc;

    /* They come in the order of the record, some perhaps left out. */
    for (; !of && d->next < d->record->image_count; d->next++) {
        if (strcmp(d->record->images[d->next].path, image->path) == 0)
            of = &d->record->images[d->next];
    }
    if (!of)
        return error_set(err, ERROR_CORRUPT, "%s: is not among the archive's images", image->path);
    rc = name_kinds(d->record, of, names, &count, err);
    if (!rc && asprintf(&title, "%s, %s: %s of data%s%s", image->name,
                        units_size(image->virtual_size, size), units_size(image->bytes_data, data),
                        image->encrypted ? ", encrypted" : "",
                        image->incomplete ? ", without its backing file" : "") < 0) {
        title = NULL;
        rc = error_no_memory(err);
    }
    if (!rc && d->maps->args->map)
        print_image(d->maps, title, names, count);
    if (!rc)
        maps_draw(d->maps, title, (const char *const *)names, count);
    free(title);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    return rc;
}

int show_map(struct maps *maps, const struct global_options *global, struct cs_store *store,
             const struct cs_archive *archive, const struct record_archive *record,
             const char *image, struct error *err)
{
    struct drawing drawing = {.record = record, .maps = maps};
    struct progress progress;
    struct engine_map_options options = {
        .image = image,
        .parts = MAPS_PARTS,
        .begin = on_begin,
        .range = on_range,
        .end = on_end,
        .arg = &drawing,
    };
    int rc;

    progress_begin(&progress, global, stdout);
    options.listener = listener_for(&progress);
    if (global->json) /* it is one document */
        options.listener.progress = NULL;
    rc = engine_map(store, archive, &options, err);
    progress_end(&progress);
    return rc ? rc : maps_finish(maps, err);
}

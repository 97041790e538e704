/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BACKUP_IMAGES_H
#define BYRE_ENGINE_BACKUP_IMAGES_H

#include "engine/content.h"
#include "engine/engine.h"
#include "qcow2/chain.h"

/* The images of a run: what each is, and its layers, open and locked. For one thread. */

struct backup_images {
    const struct engine_backup_options *options;
    const char **formats; /* of each: "raw", "qcow2", NULL (told by its bytes), or those that others
                             read: "nbd", and input_format.h */
    struct layer_set set;
    struct layer **tops;       /* of each */
    struct content **contents; /* of each; NULL: byre reads it, or a layer before has it */
};

/* Finds out what the images are that ${images->options} name; opens none for longer. */
int backup_images_tell(struct backup_images *images, struct error *err);

/* Whether somebody else reads image ${i}. */
bool backup_images_is_other(const struct backup_images *images, size_t i);

/* The bitmap of the image whose top is ${layer}; NULL: none. Lent. */
const char *backup_images_bitmap(const struct backup_images *images, const struct layer *layer);

/* How its chain is to be opened. */
struct chain_options backup_images_chain(const struct backup_images *images, size_t i);

/* Opens them all. What is doubtful about one the listener is told, and ${result}. */
int backup_images_open(struct backup_images *images, struct engine_backup_result *result,
                       struct error *err);

/* What ${layer} is read by; NULL: byre itself. Lent. */
struct content *backup_images_content(const struct backup_images *images,
                                      const struct layer *layer);

void backup_images_clear(struct backup_images *images); /* the locks go here */

/* The name of the archive: as it was given, or that of the first image without its suffix. */
int backup_images_name(const struct engine_backup_options *options, char name[256],
                       struct error *err);

#endif

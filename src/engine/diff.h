/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_DIFF_H
#define BYRE_ENGINE_DIFF_H

#include "engine/engine.h"
#include "engine/flat_image.h"

/* What the parts of a diff share: one side of it, and what a region of that holds. */

/* A stretch of a region where the guest's bytes are not known to be zeros. */
struct diff_extent {
    uint32_t begin, end; /* of the region, bytes */
    unsigned domain;
    const struct cs_id *id; /* of the chunk that it is a part of; NULL: zeros of an encrypted layer,
                               which its guest may see as anything */
    uint32_t at;            /* where in the chunk it begins, bytes */
};

struct diff_extents {
    struct diff_extent *at; /* ascending */
    size_t count;
    size_t room;
};

struct diff_token { /* what one layer has in a subtree, as far as the guest sees it */
    struct cs_id id;
    unsigned domain;
    uint64_t end; /* what lies behind is hidden; bytes of the disk */
};

struct diff_side {
    struct flat_image *flat;
    /* For each layer what its bytes mean: 0 for the guest's own; else they are ciphertext, and only
     * those of equal number can be compared. */
    unsigned *domains;
    struct diff_token *tokens; /* room for one a layer */
    size_t token_count;
    struct diff_extents extents;
};

struct diff_pair { /* of images; NULL: it is not in that archive */
    const struct record_image *a;
    const struct record_image *b;
};

/* Pairs the images of two archives, as engine_diff does: those of ${b} in its order, then what
 * ${a} has beside them. ${*pairs} is fresh memory. */
int diff_match(const struct record_archive *a, const struct record_archive *b,
               struct diff_pair **pairs, size_t *count, struct error *err);

/* ERROR_UNSUPPORTED where something below ${image} is not part of ${archive}. */
int diff_require_whole(const struct record_archive *archive, const struct record_image *image,
                       struct error *err);

/* Compares one pair, both of which are there and whole; tells ${options} of it, and ${*image} in
 * the end. */
int diff_images(struct cs_store *store, const struct record_archive *a,
                const struct record_archive *b, const struct diff_pair *pair,
                const struct engine_diff_options *options, struct engine_diff_image *image,
                struct error *err);

/* Reads what ${region} of ${side} holds into its extents; they lend from the layers' views. */
int diff_region_read(struct diff_side *side, uint64_t region, struct error *err);

/* Calls ${emit} for each stretch of a region (bytes) where ${a} and ${b} differ, ascending; ends
 * where that fails. */
int diff_region_compare(const struct diff_extents *a, const struct diff_extents *b,
                        int (*emit)(void *arg, uint32_t begin, uint32_t end,
                                    enum engine_diff_kind kind, struct error *err),
                        void *arg, struct error *err);

/*
 * Compares the two sides of ${image}, and counts and reports ranges as engine_diff does. Subtrees
 * that both have are passed over.
 */
int diff_walk(uint32_t region_size, struct diff_side *a, struct diff_side *b,
              const struct engine_diff_options *options, struct engine_diff_image *image,
              struct error *err);

#endif

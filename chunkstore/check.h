/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CHECK_H
#define CS_CHECK_H

#include "names.h"
#include "segment.h"

/* What the parts of a check share. All of it is the owner's thread's. */

struct cs_check {
    struct cs_store *store;
    const struct cs_check_options *options;
    struct cs_check_result *result;
    struct cs_state state; /* folded from entry 0 */
    struct cs_segment *segments;
    size_t segment_count;
    uint64_t **expected; /* entries that each segment has of each of its packs, less those found */
    struct cs_damage *damage;
    struct cs_names listed; /* packs that are there; made when one is first missed */
    bool is_listed;
};

/* Says what is wrong, and counts it. */
void cs_check_report(void *check, const char *message);

/* Reports damage, and returns 0; returns ${rc} where it is a failure that ends the check. */
int cs_check_tolerate(void *check, int rc, struct cs_error *err);

/* Whether a prune has made an end of it since the log was read, so that it is rightly missing. */
bool cs_check_is_condemned(struct cs_check *check, enum cs_file_kind kind,
                           const struct cs_name *name);

/* Notes that the index segment ${name} is damaged. */
int cs_check_add_segment(struct cs_check *check, const struct cs_name *name, struct cs_error *err);

/* Holds the packs of the log against it and the index, and as many as are asked for against their
 * checksums, seals and ids; says what that tells of the others. */
int cs_check_packs(struct cs_check *check, struct cs_error *err);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_CHOOSE_H
#define BYRE_ENGINE_CHOOSE_H

#include "engine/record.h"

/* Images of an archive by what people call them. Pure. */

/*
 * Sets ${*chosen} to the position of the image of ${archive} whose path ends with ${wanted}, or to
 * the count of them where that is NULL: all are meant. ERROR_NOT_FOUND, with those there are;
 * ERROR_USAGE where several end with it, with those.
 */
int choose_image(const struct record_archive *archive, const char *wanted, size_t *chosen,
                 struct error *err);

/* Adds ", "${path} to the list at the end of ${err}'s message, or ": " and ${path} where it is the
 * first; "..." in place of what finds no room. */
void choose_add(struct error *err, bool first, const char *path);

#endif

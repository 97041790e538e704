/* SPDX-License-Identifier: BSD-2-Clause */
/* Which image of an archive is meant; where none is, the message tells which there are. */
#include "engine/choose.h"

#include <stdio.h>
#include <string.h>

#include "engine/path.h"

enum { LIST_ROOM = 512 }; /* bytes of a message that a list may take it to */

void choose_add(struct error *err, bool first, const char *path)
{
    size_t len = strlen(err->message);
    if (len >= 3 && strcmp(err->message + len - 3, "...") == 0)
        return;
    snprintf(err->message + len, sizeof err->message - len, "%s%s", first ? ": " : ", ",
             len + strlen(path) < LIST_ROOM ? path : "...");
}

int choose_image(const struct record_archive *archive, const char *wanted, size_t *chosen,
                 struct error *err)
{
    size_t matches = 0, listed = 0;
    *chosen = archive->image_count;
    if (wanted == NULL)
        return 0;
    for (size_t i = 0; i < archive->image_count; i++) {
        if (!path_ends_with(archive->images[i].path, wanted))
            continue;
        *chosen = i;
        matches++;
    }
    if (matches == 1)
        return 0;
    int rc = matches == 0
                 ? error_set(err, ERROR_NOT_FOUND, "the archive has no image %s, but", wanted)
                 : error_set(err, ERROR_USAGE, "%s is ambiguous: %zu images end with it", wanted,
                             matches);
    for (size_t i = 0; i < archive->image_count; i++)
        if (matches == 0 || path_ends_with(archive->images[i].path, wanted))
            choose_add(err, listed++ == 0, archive->images[i].path);
    return rc;
}

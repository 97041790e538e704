/* SPDX-License-Identifier: BSD-2-Clause */
/* Archives that are not there: the nearest name of one that is. */
#include "cli/archive_find.h"

#include <string.h>

#include "cli/suggest.h"

int archive_find(const struct cs_store *store, const char *argument,
                 const struct cs_archive **archive, struct error *err)
{
    const char *name = strncmp(argument, "name:", 5) == 0 ? argument + 5 : argument;
    struct suggest suggest;
    int rc = engine_find_archive(store, argument, archive, err);

    if (rc != ERROR_NOT_FOUND)
        return rc;
    suggest_begin(&suggest, name);
    suggest_offer(&suggest, "latest");
    for (size_t i = 0; i < cs_archive_count(store); i++)
        suggest_offer(&suggest, cs_archive_at(store, i)->name);
    if (!cs_archive_count(store))
        return error_set(err, rc, "there is no archive %s: the repository has none yet", argument);
    if (!suggest_nearest(&suggest))
        return rc;
    return error_set(err, rc, "there is no archive %s (did you mean %s?); byre list shows them",
                     argument, suggest_nearest(&suggest));
}

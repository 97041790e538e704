/* SPDX-License-Identifier: BSD-2-Clause */
/* Journals of any bytes: what is taken says the same once it was written again, and names files by
 * absolute paths, for as root they are committed and removed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "live/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void hold_against_itself(const struct journal *j)
{
    struct journal again = {0};
    char *text = NULL, *second = NULL;
    require(journal_encode(j, &text, NULL) == 0);
    require(journal_decode(&again, "again", text, strlen(text), NULL) == 0);
    require(journal_encode(&again, &second, NULL) == 0);
    require(strcmp(text, second) == 0);
    for (size_t i = 0; i < again.disk_count; i++) {
        const struct journal_disk *d = &again.disks[i];
        require(d->overlay == NULL || d->overlay[0] == '/');
        require(d->key_file == NULL || d->key_file[0] == '/');
    }
    free(second);
    free(text);
    journal_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal j = {0};
    struct error err = {0};
    int rc = journal_decode(&j, "fuzz", (const char *)data, size, &err);
    if (rc == 0)
        hold_against_itself(&j);
    else
        require(err.code == rc && strncmp(err.message, "fuzz", 4) == 0);
    journal_clear(&j);
    return 0;
}

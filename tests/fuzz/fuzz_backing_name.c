/* SPDX-License-Identifier: BSD-2-Clause */
/* Backing names from anywhere. The first byte chooses the format that the header has; what is taken
 * must name a file, in the format that the header has where it has one. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2/backing_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"", "raw", "qcow2", "vmdk"};
    const char *format = formats[size > 0 ? data[0] % 4 : 0];
    struct backing_name b;
    struct error err = {0};
    char *name = NULL;

    if (size == 0 || !(name = malloc(size)))
        return 0;
    memcpy(name, data + 1, size - 1);
    name[size - 1] = '\0';
    if (backing_name_parse(&b, name, format, &err) < 0) {
        require(err.code == ERROR_UNSUPPORTED && strstr(err.message, "--only-top"));
    } else {
        require(b.path && *b.path);
        require(b.format != BACKING_PROBED || *format == '\0');
        require(*format == '\0' || (b.format == BACKING_RAW) == (strcmp(format, "raw") == 0));
        require(strcmp(format, "vmdk") != 0);
        backing_name_clear(&b);
    }
    free(name);
    return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_BYTES_H
#define BYRE_BASE_BYTES_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The text in ${n} bytes that need not end with a zero byte, up to the first one: fresh memory,
 * NULL where there is none. */
static inline char *bytes_to_text(const void *bytes, size_t n)
{
    const void *end = memchr(bytes, 0, n);
    size_t len = end ? (size_t)((const char *)end - (const char *)bytes) : n;
    char *text = malloc(len + 1);

    if (text) {
        memcpy(text, bytes, len);
        text[len] = '\0';
    }
    return text;
}

#endif

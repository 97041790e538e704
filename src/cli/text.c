/* SPDX-License-Identifier: BSD-2-Clause */
/* What is shown may come from a guest or from another host: it must not steer the terminal. */
#include "cli/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *text_clean(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        } else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) {
            /* U+0080 to U+009F: control characters as well. */
            c[0] = '?';
            c[1] = '?';
        }
    }
    return text;
}

size_t text_columns(const char *text)
{
    size_t columns = 0;

    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

/* The bytes that the first ${columns} of ${text} take. */
static size_t bytes_of_columns(const char *text, size_t columns)
{
    size_t at = 0;

    for (; text[at]; at++) {
        if (((unsigned char)text[at] & 0xc0) != 0x80 && columns-- == 0)
            break;
    }
    return at;
}

char *text_cut(const char *text, size_t columns, bool utf8)
{
    const char *ellipsis = utf8 ? "\xe2\x80\xa6" : "...";
    size_t all = text_columns(text);
    size_t dots = utf8 ? 1 : 3;
    size_t head, tail;
    char *copy;

    if (all <= columns)
        return strdup(text);
    if (columns <= dots)
        return strndup(text, bytes_of_columns(text, columns));
    /* The end of a path says more than its beginning. */
    tail = (columns - dots + 1) / 2;
    head = bytes_of_columns(text, columns - dots - tail);
    tail = bytes_of_columns(text, all - tail);
    return asprintf(&copy, "%.*s%s%s", (int)head, text, ellipsis, text + tail) < 0 ? NULL : copy;
}

/* The length of the valid UTF-8 sequence at ${s}, which ends with a zero byte; 0: none. */
static size_t sequence(const unsigned char *s)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

char *text_utf8(const char *text)
{
    const unsigned char *in = (const unsigned char *)text;
    size_t len = strlen(text);
    char *copy = len <= SIZE_MAX / 3 - 1 ? malloc(3 * len + 1) : NULL;
    char *out = copy;

    if (!copy)
        return NULL;
    while (*in) {
        size_t n = sequence(in);

        if (n) {
            memcpy(out, in, n);
            out += n;
            in += n;
        } else {
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
            in++;
        }
    }
    *out = '\0';
    return copy;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What is shown may come from a guest or from another host: it must not steer the terminal. */
#include "cli/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

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

/* The columns of the character at ${text}, of ${*len} bytes. What is no UTF-8 is shown as one sign
 * a byte. */
static size_t character(const char *text, size_t *len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = sequence(s);
    wchar_t c = n == 1 ? s[0] : n == 2 ? s[0] & 0x1f : n == 3 ? s[0] & 0x0f : s[0] & 0x07;
    int width;

    *len = n ? n : 1;
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3f);
    width = n > 1 ? wcwidth(c) : 1;
    return width < 0 ? 1 : (size_t)width;
}

size_t text_columns(const char *text)
{
    size_t columns = 0;
    size_t len;

    for (; *text; text += len)
        columns += character(text, &len);
    return columns;
}

size_t text_cut(char *text, size_t columns)
{
    static const char dots[] = "...";
    size_t kept = 0;
    size_t at = 0;
    size_t len;

    if (text_columns(text) <= columns)
        return text_columns(text);
    if (columns < sizeof dots) {
        text[0] = '\0';
        return 0;
    }
    for (;;) {
        size_t width = character(text + at, &len);

        if (kept + width + sizeof dots - 1 > columns)
            break;
        kept += width;
        at += len;
    }
    /* What goes takes four columns at least, so there are bytes enough for the dots. */
    memcpy(text + at, dots, sizeof dots);
    return kept + sizeof dots - 1;
}

/* The bytes of the first characters of ${text} that take at most ${columns}. */
static size_t bytes_within(const char *text, size_t columns)
{
    size_t at = 0;
    size_t len;

    for (; text[at]; at += len) {
        size_t width = character(text + at, &len);

        if (width > columns)
            break;
        columns -= width;
    }
    return at;
}

char *text_abridge(const char *text, size_t columns, bool utf8)
{
    const char *ellipsis = utf8 ? "\xe2\x80\xa6" : "...";
    size_t all = text_columns(text);
    size_t dots = utf8 ? 1 : 3;
    size_t head, tail;
    char *copy;

    if (all <= columns)
        return strdup(text);
    if (columns <= dots)
        return strndup(text, bytes_within(text, columns));
    /* The end of a path says more than its beginning. */
    head = bytes_within(text, (columns - dots) / 2);
    tail = strlen(text);
    for (size_t at = head; tail > at; at++) {
        if (text_columns(text + at) <= (columns - dots + 1) / 2 && (text[at] & 0xc0) != 0x80)
            tail = at;
    }
    return asprintf(&copy, "%.*s%s%s", (int)head, text, ellipsis, text + tail) < 0 ? NULL : copy;
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

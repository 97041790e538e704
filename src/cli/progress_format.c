/* SPDX-License-Identifier: BSD-2-Clause */
/* One line of progress: percentage, bar, amounts, rate, time left, and the file where there is
 * room. */
#include <stdio.h>
#include <string.h>

#include "cli/progress.h"
#include "cli/text.h"
#include "cli/units.h"

enum { BAR_MIN = 10, BAR_MAX = 30, WHAT_MIN = 8 };

/* Appends ${n} times ${c} to the text of ${size} bytes. */
static void append_run(char *text, size_t size, char c, size_t n)
{
    size_t len = strlen(text);

    for (; n && len + 1 < size; n--)
        text[len++] = c;
    text[len] = '\0';
}

static void append(char *text, size_t size, const char *more)
{
    size_t len = strlen(text);

    snprintf(text + len, size - len, "%s", more);
}

/* The bar of ${width} columns, brackets included. */
static void append_bar(char *line, size_t size, size_t width, double fraction, bool colour)
{
    size_t inner = width - 2;
    size_t filled = (size_t)((double)inner * fraction);

    append(line, size, colour ? "[\033[32m" : "[");
    append_run(line, size, '#', filled);
    append(line, size, colour ? "\033[0m" : "");
    append_run(line, size, '-', inner - filled);
    append(line, size, "]");
}

void progress_format(char *line, size_t size, size_t columns, bool colour, const char *what,
                     uint64_t done, uint64_t total, double seconds)
{
    double fraction = total ? (double)done / (double)total : 0;
    char percent[16];
    char amounts[160];
    char done_text[UNITS_TEXT];
    char total_text[UNITS_TEXT];
    char rate_text[UNITS_TEXT];
    char left_text[UNITS_TEXT] = "-:--";
    char name[256] = "";
    size_t used;

    if (fraction > 1)
        fraction = 1;
    if (fraction > 0)
        units_clock(seconds / fraction - seconds, left_text);
    snprintf(percent, sizeof percent, "%3u%%", (unsigned)(100 * fraction));
    snprintf(amounts, sizeof amounts, "  %s of %s  %s/s  ETA %s", units_size(done, done_text),
             units_size(total, total_text),
             units_size(seconds > 0 ? (uint64_t)((double)done / seconds) : 0, rate_text),
             left_text);
    line[0] = '\0';
    append(line, size, percent);
    used = strlen(percent);
    if (used + strlen(amounts) > columns)
        return;
    if (used + 1 + BAR_MIN + strlen(amounts) <= columns) {
        size_t bar = columns - used - 1 - strlen(amounts);

        if (bar > BAR_MAX)
            bar = BAR_MAX;
        append(line, size, " ");
        append_bar(line, size, bar, fraction, colour);
        used += 1 + bar;
    }
    append(line, size, amounts);
    used += strlen(amounts);
    if (!what || used + 2 + WHAT_MIN > columns)
        return;
    what = strrchr(what, '/') ? strrchr(what, '/') + 1 : what;
    snprintf(name, sizeof name, "%s", what);
    if (used + 2 + text_columns(name) > columns)
        return;
    append(line, size, "  ");
    append(line, size, text_clean(name));
}

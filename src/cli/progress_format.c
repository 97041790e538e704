/* SPDX-License-Identifier: BSD-2-Clause */
/* One line of progress: percentage, bar, amounts, rate, what is new, time left, and the file. */
#include "cli/progress_format.h"

#include <stdio.h>
#include <string.h>

#include "cli/text.h"
#include "cli/units.h"

enum { BAR_MIN = 10, BAR_MAX = 30, WHAT_FAIR = 20, PART = 300 };

/* In the order in which they are shown. */
enum part { AMOUNTS, RATE, FRESH, LEFT, WHAT, PARTS };

/* In the order in which they are given room. */
static const enum part by_importance[PARTS] = {LEFT, WHAT, RATE, FRESH, AMOUNTS};

static double fraction_of(const struct progress_state *state)
{
    if (!state->total)
        return 0;
    return state->done < state->total ? (double)state->done / (double)state->total : 1;
}

/* Nothing is all done before it ends, and what is shown here has not ended. */
static unsigned percent_of(const struct progress_state *state)
{
    unsigned percent = (unsigned)(100 * fraction_of(state));

    return percent < 100 ? percent : 99;
}

/* "2/5 web.qcow2", made harmless; empty where nothing is at hand. */
static void format_what(char text[PART], const struct progress_state *state)
{
    const char *what = state->what;

    text[0] = '\0';
    if (!what || !*what)
        return;
    what = strrchr(what, '/') ? strrchr(what, '/') + 1 : what;
    if (state->number && state->count > 1)
        snprintf(text, PART, "%zu/%zu %s", state->number, state->count, what);
    else
        snprintf(text, PART, "%s", what);
    text_clean(text);
}

static void format_left(char text[PART], const char *before, double left, const char *after)
{
    char clock[UNITS_TEXT] = "-:--";

    if (left >= 0)
        units_clock(left, clock);
    snprintf(text, PART, "%s%s%s", before, clock, after);
}

static void format_rate(char text[PART], double rate)
{
    char size[UNITS_TEXT] = "- B";

    if (rate >= 0)
        units_size((uint64_t)rate, size);
    snprintf(text, PART, "%s/s", size);
}

static void format_parts(char parts[PARTS][PART], const struct progress_state *state)
{
    char done[UNITS_TEXT];
    char total[UNITS_TEXT];

    snprintf(parts[AMOUNTS], PART, "%s of %s", units_size(state->done, done),
             units_size(state->total, total));
    format_rate(parts[RATE], state->rate);
    parts[FRESH][0] = '\0';
    if (state->counts_fresh)
        snprintf(parts[FRESH], PART, "%s new", units_size(state->fresh, done));
    format_left(parts[LEFT], "ETA ", state->left, "");
    format_what(parts[WHAT], state);
}

/* Leaves of each part what there is room for, the most important first. Returns the columns taken
 * of ${columns}; each part that stays has two before it. */
static size_t fit(char parts[PARTS][PART], size_t columns)
{
    size_t name = text_columns(parts[WHAT]);
    size_t all = columns;
    size_t used = 0;

    for (size_t i = 0; i < PARTS; i++) {
        char *part = parts[by_importance[i]];
        size_t width = text_columns(part);

        /* A long name gets no more at first, so that others get theirs. */
        if (by_importance[i] == WHAT && width > WHAT_FAIR)
            width = WHAT_FAIR;
        /* The bar comes before the amounts. */
        if (by_importance[i] == AMOUNTS && columns > 1 + BAR_MIN)
            columns -= 1 + BAR_MIN;
        if (width && used + 2 + width <= columns) {
            used += 2 + width;
        } else {
            part[0] = '\0';
            name = by_importance[i] == WHAT ? 0 : name;
        }
    }
    if (name > WHAT_FAIR) {
        /* Where no bar fits, its room is for the name. */
        size_t spare = (columns >= used ? columns : all) - used;

        used -= WHAT_FAIR;
        used += text_cut(parts[WHAT], WHAT_FAIR + spare);
    }
    return used;
}

static void append(char *text, size_t size, const char *more)
{
    size_t len = strlen(text);

    snprintf(text + len, size - len, "%s", more);
}

static void append_run(char *text, size_t size, char c, size_t n)
{
    size_t len = strlen(text);

    for (; n && len + 1 < size; n--)
        text[len++] = c;
    text[len] = '\0';
}

/* The bar of ${width} columns, brackets included. */
static void append_bar(char *line, size_t size, size_t width, double fraction, bool colour)
{
    size_t inner = width - 2;
    size_t filled = (size_t)((double)inner * fraction);

    append(line, size, colour ? " [\033[32m" : " [");
    append_run(line, size, '#', filled);
    append(line, size, colour ? "\033[0m" : "");
    append_run(line, size, '-', inner - filled);
    append(line, size, "]");
}

void progress_format(char *line, size_t size, size_t columns, bool colour,
                     const struct progress_state *state)
{
    char parts[PARTS][PART];
    size_t used;

    format_parts(parts, state);
    snprintf(line, size, "%3u%%", percent_of(state));
    used = strlen(line);
    used += fit(parts, columns > used ? columns - used : 0);
    if (used + 1 + BAR_MIN <= columns) {
        size_t bar = columns - used - 1;

        append_bar(line, size, bar < BAR_MAX ? bar : BAR_MAX, fraction_of(state), colour);
    }
    for (size_t i = 0; i < PARTS; i++) {
        if (!parts[i][0])
            continue;
        append(line, size, "  ");
        append(line, size, parts[i]);
    }
}

void progress_describe(char *text, size_t size, const struct progress_state *state)
{
    char parts[PARTS][PART];

    format_parts(parts, state);
    format_left(parts[LEFT], "", state->left, " left");
    snprintf(text, size, "%u%%", percent_of(state));
    for (size_t i = 0; i < PARTS; i++) {
        if (!parts[i][0])
            continue;
        append(text, size, ", ");
        append(text, size, parts[i]);
    }
}

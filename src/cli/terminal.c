/* SPDX-License-Identifier: BSD-2-Clause */
/* Fits results to the terminal that shows them; other output is made for 80 columns. */
#include "cli/terminal.h"

#include <langinfo.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/text.h"

enum { COLUMNS_USUAL = 80, COLUMNS_MIN = 40, WORD_MIN = 8 };

static bool colour_wanted(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    return !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

/* What the user's locale says, for main has set another. */
static bool is_utf8(void)
{
    locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    bool utf8 = locale && strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;

    if (locale)
        freelocale(locale);
    return utf8;
}

struct terminal terminal_of(FILE *stream, bool whole)
{
    struct winsize size = {0};
    struct terminal terminal = {
        .columns = COLUMNS_USUAL,
        .utf8 = is_utf8(),
    };

    if (isatty(fileno(stream))) {
        terminal.colour = colour_wanted();
        if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col)
            terminal.columns = size.ws_col < COLUMNS_MIN ? COLUMNS_MIN : size.ws_col;
    }
    if (whole)
        terminal.columns = SIZE_MAX;
    return terminal;
}

/* Prints ${word} in no more than ${columns}. */
static size_t print_word(FILE *stream, const struct terminal *terminal, const char *word,
                         size_t columns)
{
    char *fit = text_abridge(word, columns, terminal->utf8);
    size_t taken = fit ? text_columns(fit) : 1;

    fputs(fit ? fit : "?", stream);
    free(fit);
    return taken;
}

/* The columns behind ${prefix}. */
static size_t room_behind(const struct terminal *terminal, const char *prefix)
{
    size_t taken = text_columns(prefix);

    return terminal->columns > taken + WORD_MIN ? terminal->columns - taken : WORD_MIN;
}

void terminal_print_path(FILE *stream, const struct terminal *terminal, const char *prefix,
                         const char *path)
{
    char *copy = strdup(path);

    fputs(prefix, stream);
    if (copy)
        print_word(stream, terminal, text_clean(copy), room_behind(terminal, prefix));
    fputc('\n', stream);
    free(copy);
}

void terminal_print(FILE *stream, const struct terminal *terminal, const char *prefix,
                    const char *next, const char *text)
{
    char *copy = strdup(text);
    size_t room = room_behind(terminal, prefix);
    size_t taken = 0;
    char *rest = copy;
    char *word;

    fputs(prefix, stream);
    if (copy)
        text_clean(copy);
    while ((word = strsep(&rest, " ")) != NULL) {
        size_t columns = text_columns(word);

        if (taken && taken + 1 + columns > room) {
            fprintf(stream, "\n%s", next);
            room = room_behind(terminal, next);
            taken = 0;
        } else if (word != copy) {
            fputc(' ', stream);
            taken++;
        }
        taken += print_word(stream, terminal, word, taken < room ? room - taken : 1);
    }
    fputc('\n', stream);
    free(copy);
}

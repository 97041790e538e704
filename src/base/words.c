/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists of words, and how a shell is told of them. */
#include "base/words.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int words_add(struct words *words, struct error *err, const char *fmt, ...)
{
    char **items = reallocarray(words->items, words->count + 2, sizeof *items);
    char *word = NULL;
    va_list args;
    int len;

    if (!items)
        return error_no_memory(err);
    words->items = items;
    items[words->count] = NULL;
    va_start(args, fmt);
    len = vasprintf(&word, fmt, args);
    va_end(args);
    if (len < 0)
        return error_no_memory(err);
    items[words->count++] = word;
    items[words->count] = NULL;
    return 0;
}

void words_clear(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
    free(words->items);
    words->items = NULL;
    words->count = 0;
}

int words_add_environment(struct words *words, char *const *environment, const char *const *but,
                          size_t count, struct error *err)
{
    int rc = 0;

    for (; !rc && *environment; environment++) {
        bool left_out = false;

        for (size_t i = 0; i < count; i++) {
            size_t len = strlen(but[i]);

            left_out |= strncmp(*environment, but[i], len) == 0 && (*environment)[len] == '=';
        }
        if (!left_out)
            rc = words_add(words, err, "%s", *environment);
    }
    return rc;
}

/* What steers a terminal must not be in a line that is shown: the shell makes it anew. */
static void quote_control(FILE *out, const char *word)
{
    fputs("\"$(printf '", out);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", out);
        else if (*word == '\\' || *word == '%')
            fprintf(out, "%c%c", *word, *word);
        else if ((unsigned char)*word < ' ' || *word == 0x7f)
            fprintf(out, "\\%03o", (unsigned)*word);
        else
            putc(*word, out);
    }
    fputs("')\"", out);
}

/* Single quotes keep everything but themselves. */
static void quote(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "%+,-./:=@_";
    size_t len = strlen(word);
    bool steers = false;

    for (size_t i = 0; i < len; i++)
        steers |= (unsigned char)word[i] < ' ' || word[i] == 0x7f;
    if (len && !word[strspn(word, plain)]) {
        fputs(word, out);
        return;
    }
    if (steers && word[len - 1] != '\n') { /* which $() would drop */
        quote_control(out, word);
        return;
    }
    putc('\'', out);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", out);
        else
            putc(*word, out);
    }
    putc('\'', out);
}

char *words_quoted(const struct words *words)
{
    char *line = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&line, &size);

    if (!out)
        return NULL;
    for (size_t i = 0; i < words->count; i++) {
        if (i)
            putc(' ', out);
        quote(out, words->items[i]);
    }
    if (fclose(out)) {
        free(line);
        return NULL;
    }
    return line;
}

char *words_quote(const char *word)
{
    char *items[] = {(char *)word, NULL};

    return words_quoted(&(struct words){.items = items, .count = 1});
}

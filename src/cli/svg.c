/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes SVG by hand, since it is text: one path for all cells of a kind and a
 * level. All that came from elsewhere goes through escape(). The head, which
 * tells the height, is as long for every height and written twice.
 */
#include "cli/svg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/text.h"
#include "cli/units.h"

enum {
    MARGIN = 16,
    LABELS = 76, /* for the offsets at the left */
    CELL = 6,    /* pixels, as all here */
    LINE = 18,
    TEXT_MAX = 110, /* characters that fit the width */
    WIDTH = 2 * MARGIN + LABELS + 128 * CELL,
};

static const char *const opacities[PICTURE_LEVELS] = {".3", ".5", ".75", "1"};

/* Colours that are told apart on white and on black; those of changes, then those of layers. */
static const char *const change_colours[PICTURE_CHANGE_KINDS] = {"#8a94a0", "#d98a00", "#2a9d4a",
                                                                 "#d64550"};
static const char *const layer_colours[PICTURE_KINDS] = {
    "#2f7fd0", "#2a9d4a", "#d98a00", "#9b5fc0", "#d64550", "#1a9c9c", "#b0762f", "#8a94a0"};

/* Writes ${text} as the content of an element. */
static void escape(FILE *stream, const char *text)
{
    char *utf8 = text_utf8(text);

    for (const char *c = utf8 ? text_clean(utf8) : "?"; *c; c++) {
        if (*c == '&')
            fputs("&amp;", stream);
        else if (*c == '<')
            fputs("&lt;", stream);
        else if (*c == '>')
            fputs("&gt;", stream);
        else if (memcmp(c, "\xef\xbf\xbe", strnlen(c, 3)) == 0 ||
                 memcmp(c, "\xef\xbf\xbf", strnlen(c, 3)) == 0) {
            fputs("??", stream); /* U+FFFE and U+FFFF, which XML has no place for */
            c += 2;
        } else {
            fputc(*c, stream);
        }
    }
    free(utf8);
}

static void put_text(struct svg *svg, unsigned x, unsigned y, const char *class, const char *text)
{
    char *fit = text_abridge(text, TEXT_MAX, true);

    fprintf(svg->stream, "<text x=\"%u\" y=\"%u\" class=\"%s\">", x, y, class);
    escape(svg->stream, fit ? fit : "?");
    fputs("</text>\n", svg->stream);
    free(fit);
}

static void put_head(struct svg *svg)
{
    fprintf(svg->stream,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%010u\" "
            "viewBox=\"0 0 %d %010u\" role=\"img\">\n",
            WIDTH, svg->y + MARGIN, WIDTH, svg->y + MARGIN);
}

int svg_begin(struct svg *svg, const char *path, bool force, const char *title, struct error *err)
{
    int fd;
    int rc;

    *svg = (struct svg){.y = MARGIN + LINE};
    rc = target_open(&svg->target, path, force, err);
    if (rc)
        return rc;
    fd = dup(svg->target.fd);
    svg->stream = fd < 0 ? NULL : fdopen(fd, "w");
    if (!svg->stream) {
        rc = error_sys(err, errno, "%s", path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    put_head(svg);
    fputs("<title>", svg->stream);
    escape(svg->stream, title);
    fputs("</title>\n<style>"
          "svg{background:#fff;color:#1c1c1c;font:12px sans-serif}"
          "text{fill:currentColor}.h{font-weight:bold;font-size:14px}"
          ".o{text-anchor:end;font-size:10px}"
          ".g{fill:currentColor;fill-opacity:.06}"
          "@media(prefers-color-scheme:dark){svg{background:#161616;color:#e4e4e4}}"
          "</style>\n",
          svg->stream);
    put_text(svg, MARGIN, svg->y, "h", title);
    svg->y += LINE;
    return 0;
}

static const char *colour_of(const struct picture *p, size_t kind)
{
    return p->mode == PICTURE_CHANGES ? change_colours[kind] : layer_colours[kind];
}

/* One path of all cells of ${kind} and ${level}, neighbours in a row as one. */
static void put_cells(struct svg *svg, const struct picture *p, size_t kind, unsigned level)
{
    bool any = false;

    for (size_t i = 0, end; i < p->count; i = end) {
        size_t at = 0;
        size_t row_end = i - i % p->columns + p->columns;

        for (end = i; end < p->count && end < row_end; end++) {
            unsigned found = picture_level(p, end, &at);

            if (found != level || at != kind)
                break;
        }
        if (end == i) {
            end++;
            continue;
        }
        if (!any)
            fprintf(svg->stream, "<path fill=\"%s\" fill-opacity=\"%s\" d=\"", colour_of(p, kind),
                    opacities[level - 1]);
        any = true;
        fprintf(svg->stream, "M%zu %zuh%zuv%dh-%zuz", MARGIN + LABELS + i % p->columns * CELL,
                svg->y + i / p->columns * CELL, (end - i) * CELL, CELL, (end - i) * CELL);
    }
    if (any)
        fputs("\"/>\n", svg->stream);
}

static void put_legend(struct svg *svg, const struct picture *p, const char *const *names,
                       size_t count)
{
    char size[UNITS_TEXT];
    char *text = NULL;

    for (size_t kind = 0; kind < count; kind++) {
        uint64_t sum = picture_sum(p, kind);

        if (sum == 0)
            continue;
        fprintf(svg->stream, "<rect x=\"%d\" y=\"%u\" width=\"10\" height=\"10\" fill=\"%s\"/>\n",
                MARGIN + LABELS, svg->y - 10, colour_of(p, kind));
        if (asprintf(&text, "%s, %s", names[kind], units_size(sum, size)) < 0)
            return;
        put_text(svg, MARGIN + LABELS + 16, svg->y, "l", text);
        free(text);
        svg->y += LINE;
    }
}

void svg_add(struct svg *svg, const struct picture *p, const char *title, const char *const *names,
             size_t count)
{
    size_t rows = (p->count + p->columns - 1) / p->columns;
    char size[UNITS_TEXT];
    char line[128];

    svg->y += LINE;
    fputs("<g>\n<title>", svg->stream);
    escape(svg->stream, title);
    fputs("</title>\n", svg->stream);
    put_text(svg, MARGIN, svg->y, "h", title);
    svg->y += LINE / 2;
    for (size_t row = 0; row < rows; row++) {
        size_t width = p->count - row * p->columns;

        fprintf(svg->stream, "<rect class=\"g\" x=\"%d\" y=\"%zu\" width=\"%zu\" height=\"%d\"/>\n",
                MARGIN + LABELS, svg->y + row * CELL,
                (width < p->columns ? width : p->columns) * CELL, CELL);
        if (row % 4 == 0)
            put_text(svg, MARGIN + LABELS - 6, svg->y + (unsigned)row * CELL + CELL + 2, "o",
                     units_size((uint64_t)row * p->columns * p->cell, size));
    }
    for (size_t kind = 0; kind < PICTURE_KINDS; kind++) {
        for (unsigned level = 1; level <= PICTURE_LEVELS; level++)
            put_cells(svg, p, kind, level);
    }
    svg->y += (unsigned)rows * CELL + LINE;
    snprintf(line, sizeof line, "a cell is %s, a row %s; the fuller, the stronger",
             units_size(p->cell, size), units_size(p->cell * p->columns, (char[UNITS_TEXT]){0}));
    put_text(svg, MARGIN + LABELS, svg->y, "l", line);
    svg->y += LINE;
    put_legend(svg, p, names, count);
    fputs("</g>\n", svg->stream);
}

void svg_line(struct svg *svg, const char *text)
{
    put_text(svg, MARGIN, svg->y, "l", text);
    svg->y += LINE;
}

int svg_finish(struct svg *svg, struct error *err)
{
    mode_t mask = umask(0);
    struct target_attributes attributes = {
        .mode = S_IFREG | (0666 & ~mask),
        .uid = geteuid(),
        .gid = getegid(),
        .mtime_ns = (int64_t)time(NULL) * 1000000000,
    };
    int failed;
    int rc;

    umask(mask);
    fputs("</svg>\n", svg->stream);
    failed = fflush(svg->stream);
    if (!failed)
        failed = fseek(svg->stream, 0, SEEK_SET);
    if (!failed)
        put_head(svg);
    failed |= ferror(svg->stream);
    failed |= fclose(svg->stream);
    svg->stream = NULL;
    if (failed)
        return error_sys(err, errno ? errno : EIO, "%s: writing", svg->target.path);
    rc = target_seal(&svg->target, &attributes, err);
    return rc ? rc : target_place(&svg->target, err);
}

void svg_clear(struct svg *svg)
{
    if (svg->stream)
        fclose(svg->stream);
    if (svg->target.path)
        target_clear(&svg->target);
    *svg = (struct svg){0};
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one place that uses inih, which splits lines. What it does in silence is
 * seen to here: lines are handed to it one by one, so that it neither cuts long
 * ones nor cuts headings, and it may neither join sections of one name nor take
 * a ';' in a value for a comment. What values mean is conf_key.c's, whether all
 * of it makes sense conf_check.c's.
 */
#include "cli/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/conf_check.h"
#include "cli/conf_key.h"
#include "cli/suggest.h"

enum {
    FILE_LIMIT = 1 << 20,
    LINE_LIMIT = 4096,
    HEADING_LIMIT = 49, /* inih has no more room */
    ITEMS_LIMIT = 1024, /* of a list */
    SECTIONS_LIMIT = 1024,
};

static const char blanks[] = " \t\r\n\v\f";

struct parser {
    struct conf *conf;
    const char *text;
    size_t len;
    size_t at;
    unsigned line; /* the one at hand, from 1 */
    bool indented; /* it begins with a blank: it may go on with the value before */
    bool in_section;
    bool failed; /* ${err} is set */
    struct error *err;
};

static struct conf_section *section_of(struct parser *p)
{
    return &p->conf->sections[p->conf->count - 1];
}

/* Returns false, for inih. */
static bool fail(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct parser *p, const char *fmt, ...)
{
    char message[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    error_set(p->err, ERROR_USAGE, "%s:%u: %s", p->conf->path, p->line, message);
    p->failed = true;
    return false;
}

static bool fail_memory(struct parser *p)
{
    error_no_memory(p->err);
    p->failed = true;
    return false;
}

/* fgets for inih. NULL: the end, or something is wrong with the line. */
static char *next_line(char *buf, int size, void *arg)
{
    struct parser *p = arg;
    const char *begin = p->text + p->at;
    const char *end = memchr(begin, '\n', p->len - p->at);
    size_t len = end ? (size_t)(end - begin) + 1 : p->len - p->at;

    if (len == 0)
        return NULL;
    p->line++;
    if (len >= LINE_LIMIT || len >= (size_t)size) {
        fail(p, "the line is longer than %d bytes", LINE_LIMIT - 2);
        return NULL;
    }
    if (memchr(begin, 0, len)) {
        fail(p, "the line has a zero byte");
        return NULL;
    }
    memcpy(buf, begin, len);
    buf[len] = '\0';
    p->at += len;
    p->indented = strchr(blanks, buf[0]) != NULL;
    if (buf[0] == '[') {
        p->in_section = false;
        if (strcspn(buf + 1, "]") > HEADING_LIMIT) {
            fail(p, "the heading is longer than %d bytes", HEADING_LIMIT);
            return NULL;
        }
    }
    return buf;
}

/* The kind that ${heading} begins with; ${*name} is what follows it. 0: none. */
static unsigned kind_of(const char *heading, const char **name)
{
    static const struct {
        const char *word;
        enum conf_kind kind;
    } kinds[] = {{"repository", CONF_REPOSITORY}, {"job", CONF_JOB}, {"defaults", CONF_DEFAULTS}};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t len = strlen(kinds[i].word);

        if (strncmp(heading, kinds[i].word, len) == 0 &&
            (!heading[len] || strchr(blanks, heading[len]))) {
            *name = heading + len + strspn(heading + len, blanks);
            return kinds[i].kind;
        }
    }
    return 0;
}

static bool open_section(struct parser *p, const char *heading)
{
    struct conf *conf = p->conf;
    struct error err = {0};
    struct conf_section *sections;
    const char *name = NULL;
    unsigned kind = kind_of(heading, &name);
    char *copy;

    if (!kind)
        return fail(p, "[%s]: none of [repository NAME], [job NAME] and [defaults]", heading);
    if (kind == CONF_DEFAULTS ? *name != '\0' : conf_key_section_name(name, &err) != 0)
        return fail(p, "[%s]: %s", heading,
                    kind == CONF_DEFAULTS ? "defaults have no name" : err.message);
    if (conf_find(conf, kind, name))
        return fail(p, "[%s]: there is one already, in line %u", heading,
                    conf_find(conf, kind, name)->line);
    if (conf->count >= SECTIONS_LIMIT)
        return fail(p, "more than %d sections", SECTIONS_LIMIT);
    sections = reallocarray(conf->sections, conf->count + 1, sizeof *sections);
    if (!sections)
        return fail_memory(p);
    conf->sections = sections;
    copy = strdup(name);
    if (!copy)
        return fail_memory(p);
    memset(&sections[conf->count], 0, sizeof *sections);
    sections[conf->count].kind = kind;
    sections[conf->count].name = copy;
    sections[conf->count].line = p->line;
    conf->count++;
    p->in_section = true;
    return true;
}

/* The key ${name} of the section at hand; CONF_KEYS: none. */
static enum conf_key find_key(const struct conf_section *section, const char *name)
{
    for (unsigned i = 0; i < CONF_KEYS; i++) {
        if ((conf_keys[i].kinds & section->kind) && strcmp(conf_keys[i].name, name) == 0)
            return i;
    }
    return CONF_KEYS;
}

static bool unknown_key(struct parser *p, const char *heading, const char *name)
{
    struct suggest suggest = {0};

    suggest_begin(&suggest, name);
    for (unsigned i = 0; i < CONF_KEYS; i++) {
        if (conf_keys[i].kinds & section_of(p)->kind)
            suggest_offer(&suggest, conf_keys[i].name);
    }
    if (suggest_nearest(&suggest))
        return fail(p, "[%s] unknown key \"%s\" (did you mean %s?)", heading, name,
                    suggest_nearest(&suggest));
    return fail(p, "[%s] unknown key \"%s\"", heading, name);
}

/* Adds the ${len} bytes at ${text} but for blanks around them. */
static bool add_item(struct parser *p, const char *heading, const struct conf_key_spec *spec,
                     struct conf_value *value, const char *text, size_t len)
{
    struct error err = {0};
    char **items;

    while (len && strchr(blanks, text[0])) {
        text++;
        len--;
    }
    while (len && strchr(blanks, text[len - 1]))
        len--;
    if (len == 0)
        return fail(p, "[%s] %s: there is no value", heading, spec->name);
    if (value->count >= ITEMS_LIMIT)
        return fail(p, "[%s] %s: more than %d values", heading, spec->name, ITEMS_LIMIT);
    items = reallocarray(value->items, value->count + 1, sizeof *items);
    if (!items)
        return fail_memory(p);
    value->items = items;
    items[value->count] = strndup(text, len);
    if (!items[value->count])
        return fail_memory(p);
    value->count++;
    if (spec->check(spec->name, items[value->count - 1], &err))
        return fail(p, "[%s] %s", heading, err.message);
    return true;
}

static bool add_value(struct parser *p, const char *heading, enum conf_key key, const char *text)
{
    const struct conf_key_spec *spec = &conf_keys[key];
    struct conf_value *value = &section_of(p)->values[key];
    bool words = spec->list == CONF_WORDS;

    if (value->count && !p->indented)
        return fail(p, "[%s] %s: given already, in line %u", heading, spec->name, value->line);
    if (value->count && spec->list == CONF_ONE)
        return fail(p,
                    "[%s] %s: takes one value, which this line goes on with, since it begins with "
                    "a blank",
                    heading, spec->name);
    if (!value->count)
        value->line = p->line;
    while (words && strchr(text, ',')) {
        size_t len = strcspn(text, ",");

        if (!add_item(p, heading, spec, value, text, len))
            return false;
        text += len + 1;
    }
    return add_item(p, heading, spec, value, text, strlen(text));
}

/* inih's handler: 0 is an error. */
static int on_value(void *arg, const char *heading, const char *name, const char *value)
{
    struct parser *p = arg;
    enum conf_key key;

    if (p->failed)
        return 0;
    if (!*heading)
        return fail(p, "\"%s\" stands before the first [section]", name);
    if (!p->in_section && !open_section(p, heading))
        return 0;
    key = find_key(section_of(p), name);
    if (key == CONF_KEYS)
        return unknown_key(p, heading, name);
    return add_value(p, heading, key, value);
}

int conf_parse(struct conf *conf, const char *path, const char *text, size_t len, struct error *err)
{
    struct parser p = {.conf = conf, .text = text, .len = len, .err = err};
    int rc;

    conf->path = strdup(path);
    if (!conf->path)
        return error_no_memory(err);
    ini_allow_inline_comments = false;
    ini_allow_multiline = true;
    ini_allow_no_value = false;
    ini_stop_on_first_error = true;
    ini_use_stack = true;
    ini_max_line = LINE_LIMIT;
    rc = ini_parse_stream(next_line, &p, on_value, &p);
    if (rc && !p.failed)
        fail(&p, "neither [section], nor key = value, nor a comment");
    if (p.failed)
        return err ? err->code : ERROR_USAGE;
    return conf_check(conf, err);
}

/* A job runs commands, perhaps as root. */
static int check_owner(struct conf *conf, int fd, const char *path, struct error *err)
{
    struct stat st;

    if (fstat(fd, &st))
        return error_sys(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return 0;
    conf->mode = st.st_mode;
    if (st.st_mode & S_IWOTH)
        return error_set(err, ERROR_USAGE,
                         "%s: everybody on this machine can write to it: chmod o-w", path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return error_set(err, ERROR_USAGE,
                         "%s: belongs to user %u, who is neither root nor this one", path,
                         (unsigned)st.st_uid);
    return 0;
}

static int read_all(int fd, const char *path, char *text, size_t *len, struct error *err)
{
    ssize_t got;

    *len = 0;
    do {
        got = read(fd, text + *len, FILE_LIMIT + 1 - *len);
        if (got > 0)
            *len += (size_t)got;
    } while ((got > 0 && *len <= FILE_LIMIT) || (got < 0 && errno == EINTR));
    if (got < 0)
        return error_sys(err, errno, "%s: reading", path);
    if (*len > FILE_LIMIT)
        return error_set(err, ERROR_USAGE, "%s: larger than 1 MiB", path);
    return 0;
}

int conf_load(struct conf *conf, const char *path, struct error *err)
{
    char *text = NULL;
    size_t len = 0;
    int rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_USAGE, "%s: there is no such configuration", path);
    if (fd < 0)
        return error_sys(err, errno, "%s: opening", path);
    rc = check_owner(conf, fd, path, err);
    text = rc ? NULL : malloc(FILE_LIMIT + 1);
    if (!rc && !text)
        rc = error_no_memory(err);
    if (!rc)
        rc = read_all(fd, path, text, &len, err);
    if (!rc)
        rc = conf_parse(conf, path, text, len, err);
    if (text)
        explicit_bzero(text, len);
    free(text);
    close(fd);
    return rc;
}

void conf_clear(struct conf *conf)
{
    for (size_t i = 0; i < conf->count; i++) {
        struct conf_section *section = &conf->sections[i];

        for (unsigned key = 0; key < CONF_KEYS; key++) {
            for (size_t k = 0; k < section->values[key].count; k++)
                free(section->values[key].items[k]);
            free(section->values[key].items);
        }
        free(section->name);
    }
    free(conf->sections);
    free(conf->path);
    memset(conf, 0, sizeof *conf);
}

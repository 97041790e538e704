/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The journal as text, and its memory. Pure: which file it is, and when it is
 * written, is journal_file.c's and its callers'.
 */
#include "live/journal.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, MAX_DISKS = 1024 };

static const char *const kinds[] = {"qmp", "libvirt"};
static const char *const phases[] = {"preparing", "freezing", "switching", "frozen",
                                     "archived",  "failed",   "committing"};
static const char *const steps[] = {"planned",    "created",  "switched",
                                    "committing", "complete", "removed"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *journal_phase_name(enum journal_phase phase)
{
    return phases[phase];
}

const char *journal_step_name(enum journal_step step)
{
    return steps[step];
}

struct journal_disk *journal_add_disk(struct journal *journal)
{
    struct journal_disk *disks =
        realloc(journal->disks, (journal->disk_count + 1) * sizeof *journal->disks);
    if (disks == NULL)
        return NULL;
    journal->disks = disks;
    disks[journal->disk_count] = (struct journal_disk){0};
    return &disks[journal->disk_count++];
}

void journal_clear(struct journal *journal)
{
    for (size_t i = 0; i < journal->disk_count; i++) {
        struct journal_disk *d = &journal->disks[i];
        free(d->node);
        free(d->device);
        free(d->format);
        free(d->base);
        free(d->overlay);
        free(d->overlay_node);
        free(d->bitmap);
        free(d->key_file);
    }
    free(journal->disks);
    free(journal->socket);
    free(journal->uri);
    free(journal->uuid);
    free(journal->name);
    free(journal->agent);
    journal->disks = NULL;
    journal->disk_count = 0;
    journal->socket = journal->uri = journal->uuid = journal->name = journal->agent = NULL;
}

/* ---- to text ---- */

static void put(json_t *object, const char *key, const char *value)
{
    if (value != NULL)
        json_object_set_new(object, key, json_string(value));
}

/* Whether every text that is there went in: jansson takes UTF-8 only. */
static bool has(const json_t *object, const char *key, const char *value)
{
    return value == NULL || json_object_get(object, key) != NULL;
}

static json_t *encode_disk(const struct journal_disk *d, bool *whole)
{
    json_t *o = json_object();
    const struct {
        const char *key, *value;
    } texts[] = {
        {"node", d->node},     {"device", d->device},     {"format", d->format},
        {"base", d->base},     {"overlay", d->overlay},   {"overlay_node", d->overlay_node},
        {"bitmap", d->bitmap}, {"key_file", d->key_file}, {"step", steps[d->step]}};
    for (size_t i = 0; i < COUNT(texts); i++) {
        put(o, texts[i].key, texts[i].value);
        *whole &= has(o, texts[i].key, texts[i].value);
    }
    json_object_set_new(o, "encrypted", json_boolean(d->encrypted));
    json_object_set_new(o, "size", json_integer((json_int_t)d->size));
    if (d->stat.known)
        json_object_set_new(
            o, "stat",
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "device", (json_int_t)d->stat.device, "inode",
                      (json_int_t)d->stat.inode, "size", (json_int_t)d->stat.size, "seconds",
                      (json_int_t)d->stat.seconds, "nanoseconds", (json_int_t)d->stat.nanoseconds));
    return o;
}

int journal_encode(const struct journal *j, char **text, struct error *err)
{
    json_t *o = json_object(), *disks = json_array();
    bool whole = o != NULL && disks != NULL;
    const struct {
        const char *key, *value;
    } texts[] = {{"kind", kinds[j->kind]}, {"socket", j->socket},      {"uri", j->uri},
                 {"uuid", j->uuid},        {"name", j->name},          {"agent", j->agent},
                 {"boot_id", j->boot_id},  {"phase", phases[j->phase]}};
    json_object_set_new(o, "version", json_integer(VERSION));
    for (size_t i = 0; i < COUNT(texts); i++) {
        put(o, texts[i].key, texts[i].value);
        whole &= has(o, texts[i].key, texts[i].value);
    }
    json_object_set_new(o, "machine", json_integer(j->machine));
    json_object_set_new(o, "machine_since", json_integer((json_int_t)j->machine_since));
    json_object_set_new(o, "started", json_integer(j->started));
    json_object_set_new(o, "byre", json_integer(j->byre));
    for (size_t i = 0; i < j->disk_count; i++)
        whole &= json_array_append_new(disks, encode_disk(&j->disks[i], &whole)) == 0;
    whole &= json_object_set_new(o, "disks", disks) == 0;
    *text = whole ? json_dumps(o, JSON_INDENT(1)) : NULL;
    json_decref(o);
    if (*text != NULL)
        return 0;
    return error_set(err, ERROR_UNSUPPORTED,
                     "the journal cannot be written: a name of the machine or of a file is not "
                     "UTF-8, or there is no memory");
}

/* ---- from text ---- */

struct reader {
    const char *what;
    struct error *err;
    bool bad;
};

static void bad(struct reader *r, const char *key)
{
    if (!r->bad)
        error_set(r->err, ERROR_CORRUPT,
                  "%s: is no journal of a live backup, or was changed: %s is not what it should be",
                  r->what, key);
    r->bad = true;
}

static char *get_text(struct reader *r, const json_t *o, const char *key, bool needed)
{
    const json_t *value = json_object_get(o, key);
    if (value == NULL && !needed)
        return NULL;
    char *copy = NULL;
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) > PATH_MAX ||
        strlen(json_string_value(value)) != json_string_length(value) ||
        (copy = strdup(json_string_value(value))) == NULL)
        bad(r, key);
    return copy;
}

/* Files are deleted and written to by these names: nothing but an absolute path. */
static char *get_path(struct reader *r, const json_t *o, const char *key, bool needed)
{
    char *path = get_text(r, o, key, needed);
    if (path != NULL && path[0] != '/')
        bad(r, key);
    return path;
}

static json_int_t get_number(struct reader *r, const json_t *o, const char *key, json_int_t min,
                             json_int_t max)
{
    const json_t *value = json_object_get(o, key);
    if (json_is_integer(value) && json_integer_value(value) >= min &&
        json_integer_value(value) <= max)
        return json_integer_value(value);
    bad(r, key);
    return min;
}

static size_t get_word(struct reader *r, const json_t *o, const char *key, const char *const *words,
                       size_t count)
{
    const char *text = json_string_value(json_object_get(o, key));
    for (size_t i = 0; text != NULL && i < count; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    bad(r, key);
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void decode_disk(struct reader *r, const json_t *o, struct journal_disk *d)
{
    const json_t *stat = json_object_get(o, "stat");
    d->node = get_text(r, o, "node", true);
    d->device = get_text(r, o, "device", true);
    d->format = get_text(r, o, "format", true);
    d->base = get_path(r, o, "base", true);
    d->overlay = get_path(r, o, "overlay", true);
    d->overlay_node = get_text(r, o, "overlay_node", false);
    d->bitmap = get_text(r, o, "bitmap", false);
    d->key_file = get_path(r, o, "key_file", false);
    d->step = (enum journal_step)get_word(r, o, "step", steps, COUNT(steps));
    d->size = (uint64_t)get_number(r, o, "size", 0, INT64_MAX);
    if (!json_is_boolean(json_object_get(o, "encrypted")))
        bad(r, "encrypted");
    d->encrypted = json_is_true(json_object_get(o, "encrypted"));
    if (d->format != NULL && strcmp(d->format, "qcow2") != 0 && strcmp(d->format, "raw") != 0)
        bad(r, "format");
    if (d->overlay != NULL && !ends_with(d->overlay, ".byre-live"))
        bad(r, "overlay");
    if (d->key_file != NULL && !ends_with(d->key_file, ".key"))
        bad(r, "key_file");
    if (stat == NULL)
        return;
    if (!json_is_object(stat))
        bad(r, "stat");
    d->stat.known = true;
    d->stat.device = (uint64_t)get_number(r, stat, "device", INT64_MIN, INT64_MAX);
    d->stat.inode = (uint64_t)get_number(r, stat, "inode", INT64_MIN, INT64_MAX);
    d->stat.size = (uint64_t)get_number(r, stat, "size", 0, INT64_MAX);
    d->stat.seconds = get_number(r, stat, "seconds", INT64_MIN, INT64_MAX);
    d->stat.nanoseconds = (uint32_t)get_number(r, stat, "nanoseconds", 0, 999999999);
}

static void decode(struct reader *r, const json_t *o, struct journal *j)
{
    const json_t *disks = json_object_get(o, "disks");
    const char *boot = json_string_value(json_object_get(o, "boot_id"));
    get_number(r, o, "version", VERSION, VERSION);
    j->kind = (enum journal_kind)get_word(r, o, "kind", kinds, COUNT(kinds));
    j->phase = (enum journal_phase)get_word(r, o, "phase", phases, COUNT(phases));
    j->socket = get_path(r, o, "socket", j->kind == JOURNAL_QMP);
    j->uri = get_text(r, o, "uri", j->kind == JOURNAL_LIBVIRT);
    j->uuid = get_text(r, o, "uuid", j->kind == JOURNAL_LIBVIRT);
    j->name = get_text(r, o, "name", false);
    j->agent = get_path(r, o, "agent", false);
    j->machine = (pid_t)get_number(r, o, "machine", 0, INT_MAX);
    j->machine_since = (uint64_t)get_number(r, o, "machine_since", 0, INT64_MAX);
    j->started = get_number(r, o, "started", 0, INT64_MAX);
    j->byre = (pid_t)get_number(r, o, "byre", 1, INT_MAX);
    if (boot == NULL || strlen(boot) >= sizeof j->boot_id)
        bad(r, "boot_id");
    else
        memcpy(j->boot_id, boot, strlen(boot) + 1);
    if (!json_is_array(disks) || json_array_size(disks) > MAX_DISKS)
        bad(r, "disks");
    for (size_t i = 0; !r->bad && i < json_array_size(disks); i++) {
        struct journal_disk *d = journal_add_disk(j);
        if (d == NULL)
            bad(r, "memory");
        else
            decode_disk(r, json_array_get(disks, i), d);
    }
}

int journal_decode(struct journal *j, const char *what, const char *text, size_t len,
                   struct error *err)
{
    struct reader r = {.what = what, .err = err};
    json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o))
        bad(&r, "its JSON");
    else
        decode(&r, o, j);
    json_decref(o);
    return r.bad ? ERROR_CORRUPT : 0;
}

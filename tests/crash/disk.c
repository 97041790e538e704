/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model of a disk: names, bytes, and what of both is pending. Which states
 * are tried is for others to say.
 */
#include "disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cs_fixture.h"
#include "tree_files.h"

enum { NAME = 64, OPEN_IN_TMP = 4, PATH = 1024 };

struct entry { /* a durable name, or a pending change of one */
    unsigned folder;
    char name[NAME];
    unsigned inode; /* NONE: the name goes */
    bool temporary;
};

enum { ROOT, NONE = ~0U };

struct inode {
    bool folder;
    bool spoiled;
    size_t pooled_len; /* of the copy in the pool, and 1; 0: there is none */
    uint8_t *data;     /* as the program sees it */
    size_t len;
    uint8_t *durable;
    size_t durable_len;
    struct {
        size_t at, len;
    } * writes; /* pending */
    size_t write_count;
};

struct disk {
    bool ignore_files;
    const char *ignore_folder;
    struct inode *inodes;
    unsigned inode_count;
    struct entry *durable;
    size_t durable_count;
    struct entry pending[DISK_CHANGES];
    size_t pending_count;
};

static void *grown(void *array, size_t n, size_t size)
{
    void *p = reallocarray(array, n, size);
    assert_non_null(p);
    return p;
}

static unsigned new_inode(struct disk *d, bool folder)
{
    d->inodes = grown(d->inodes, d->inode_count + 1U, sizeof *d->inodes);
    d->inodes[d->inode_count] = (struct inode){.folder = folder};
    return d->inode_count++;
}

struct disk *disk_new(void)
{
    struct disk *d = calloc(1, sizeof *d);
    assert_non_null(d);
    new_inode(d, true);
    return d;
}

void disk_free(struct disk *d)
{
    for (unsigned i = 0; i < d->inode_count; i++) {
        free(d->inodes[i].data);
        free(d->inodes[i].durable);
        free(d->inodes[i].writes);
    }
    free(d->inodes);
    free(d->durable);
    free(d);
}

void disk_ignore_flushes(struct disk *d, bool of_files, const char *of_folder)
{
    d->ignore_files = of_files;
    d->ignore_folder = of_folder;
}

/* ---- names ---- */

/* As the program sees it. */
static unsigned look_up(const struct disk *d, unsigned folder, const char *name)
{
    for (size_t i = d->pending_count; i > 0; i--) {
        const struct entry *e = &d->pending[i - 1];
        if (e->folder == folder && strcmp(e->name, name) == 0)
            return e->inode;
    }
    for (size_t i = 0; i < d->durable_count; i++)
        if (d->durable[i].folder == folder && strcmp(d->durable[i].name, name) == 0)
            return d->durable[i].inode;
    return NONE;
}

/* The folder that ${path} lies in, and its last component ("" for the root). */
static unsigned parent_of(const struct disk *d, const char *path, char last[NAME])
{
    unsigned folder = ROOT;
    for (;;) {
        size_t n = strcspn(path, "/");
        assert_true(n < NAME);
        memcpy(last, path, n);
        last[n] = 0;
        if (path[n] == 0)
            return folder;
        folder = look_up(d, folder, last);
        assert_true(folder != NONE);
        path += n + 1;
    }
}

static unsigned inode_of(const struct disk *d, const char *path)
{
    char last[NAME];
    unsigned folder = parent_of(d, path, last);
    return last[0] == 0 ? folder : look_up(d, folder, last);
}

static void apply(struct entry **entries, size_t *count, const struct entry *change)
{
    struct entry *e = *entries;
    size_t i = 0;
    while (i < *count && (e[i].folder != change->folder || strcmp(e[i].name, change->name) != 0))
        i++;
    if (change->inode == NONE) {
        if (i < *count)
            e[i] = e[--*count];
        return;
    }
    if (i == *count)
        *entries = e = grown(e, ++*count, sizeof *e);
    e[i] = *change;
}

static void settle(struct disk *d, size_t i)
{
    apply(&d->durable, &d->durable_count, &d->pending[i]);
    memmove(&d->pending[i], &d->pending[i + 1], (--d->pending_count - i) * sizeof *d->pending);
}

/* tmp/ is never flushed. A file system writes by and by what nobody asked for, so that only the
 * last changes there are held open. */
static void settle_old_temporaries(struct disk *d)
{
    size_t n = 0, oldest = 0;
    for (size_t i = d->pending_count; i > 0; i--)
        if (d->pending[i - 1].temporary) {
            n++;
            oldest = i - 1;
        }
    if (n > OPEN_IN_TMP)
        settle(d, oldest);
}

static void change(struct disk *d, const char *path, unsigned inode)
{
    struct entry e = {.inode = inode, .temporary = strstr(path, "/tmp/") != NULL};
    e.folder = parent_of(d, path, e.name);
    assert_true(d->pending_count < DISK_CHANGES);
    d->pending[d->pending_count++] = e;
    settle_old_temporaries(d);
}

void disk_make_folder(struct disk *d, const char *path)
{
    change(d, path, new_inode(d, true));
}

void disk_link(struct disk *d, const char *from, const char *to)
{
    change(d, to, inode_of(d, from));
}

void disk_rename(struct disk *d, const char *from, const char *to)
{
    unsigned inode = inode_of(d, from);
    change(d, from, NONE);
    change(d, to, inode);
}

void disk_unlink(struct disk *d, const char *path)
{
    change(d, path, NONE);
}

void disk_flush_folder(struct disk *d, const char *path)
{
    unsigned folder = inode_of(d, path);
    assert_true(folder != NONE);
    if (d->ignore_folder != NULL && strcmp(path, d->ignore_folder) == 0)
        return;
    for (size_t i = 0; i < d->pending_count;)
        if (d->pending[i].folder == folder)
            settle(d, i);
        else
            i++;
}

/* ---- bytes ---- */

unsigned disk_create(struct disk *d, const char *path)
{
    unsigned inode = new_inode(d, false);
    change(d, path, inode);
    return inode;
}

void disk_write(struct disk *d, unsigned file, uint64_t offset, const void *data, size_t len)
{
    struct inode *f = &d->inodes[file];
    size_t end = (size_t)offset + len;
    if (len == 0)
        return;
    if (end > f->len) {
        f->data = grown(f->data, end, 1);
        memset(f->data + f->len, 0, end - f->len);
        f->len = end;
    }
    memcpy(f->data + offset, data, len);
    f->writes = grown(f->writes, f->write_count + 1, sizeof *f->writes);
    f->writes[f->write_count].at = (size_t)offset;
    f->writes[f->write_count++].len = len;
}

void disk_flush(struct disk *d, unsigned file)
{
    struct inode *f = &d->inodes[file];
    if (d->ignore_files || f->spoiled)
        return;
    f->durable = grown(f->durable, f->len + 1, 1);
    if (f->len > 0)
        memcpy(f->durable, f->data, f->len);
    f->durable_len = f->len;
    f->write_count = 0;
}

void disk_spoil(struct disk *d, unsigned file)
{
    d->inodes[file].spoiled = true;
}

bool disk_whole(const struct disk *d, const char *path)
{
    const struct inode *f = &d->inodes[inode_of(d, path)];
    return !f->spoiled && f->write_count == 0;
}

void disk_adopt(struct disk *d, const char *path, const char *name)
{
    struct file_list list = list_tree(path);
    disk_make_folder(d, name);
    for (size_t i = 0; i < list.count; i++) {
        char from[PATH], to[PATH];
        snprintf(from, sizeof from, "%s/%s", path, list.files[i].name);
        snprintf(to, sizeof to, "%s/%s", name, list.files[i].name);
        if (list.files[i].folder)
            disk_make_folder(d, to);
        else {
            size_t len = 0;
            uint8_t *data = load_file(from, &len);
            unsigned file = disk_create(d, to);
            disk_write(d, file, 0, data, len);
            disk_flush(d, file);
            free(data);
        }
        while (d->pending_count > 0)
            settle(d, 0);
    }
    while (d->pending_count > 0)
        settle(d, 0);
    free(list.files);
}

/* ---- states ---- */

static bool is_dirty(const struct inode *f)
{
    return !f->folder && f->write_count > 0;
}

size_t disk_changes(const struct disk *d)
{
    return d->pending_count;
}

bool disk_change_is_temporary(const struct disk *d, size_t i)
{
    return d->pending[i].temporary;
}

size_t disk_dirty(const struct disk *d)
{
    size_t n = 0;
    for (unsigned i = 0; i < d->inode_count; i++)
        n += is_dirty(&d->inodes[i]);
    return n < DISK_DIRTY ? n : DISK_DIRTY;
}

/* What becomes of file ${inode}; dirty ones beyond the choice are lost. */
static enum disk_fate fate_of(const struct disk *d, const struct disk_state *s, unsigned inode)
{
    size_t n = 0;
    if (!is_dirty(&d->inodes[inode]))
        return DISK_KEPT;
    for (unsigned i = 0; i < inode; i++)
        n += is_dirty(&d->inodes[i]);
    return n < DISK_DIRTY ? (enum disk_fate)s->fate[n] : DISK_LOST;
}

static struct entry *names_of(const struct disk *d, const struct disk_state *s, size_t *count)
{
    struct entry *names = grown(NULL, d->durable_count + 1, sizeof *names);
    *count = d->durable_count;
    if (d->durable_count > 0)
        memcpy(names, d->durable, d->durable_count * sizeof *names);
    for (size_t i = 0; i < d->pending_count; i++)
        if (s->changes >> i & 1)
            apply(&names, count, &d->pending[i]);
    return names;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15;
    return h ^ h >> 29;
}

uint64_t disk_state_hash(const struct disk *d, const struct disk_state *s)
{
    size_t count = 0;
    struct entry *names = names_of(d, s, &count);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const struct inode *f = &d->inodes[names[i].inode];
        enum disk_fate fate = fate_of(d, s, names[i].inode);
        uint64_t h = mix(names[i].folder, names[i].inode);
        for (const char *p = names[i].name; *p != 0; p++)
            h = mix(h, (uint8_t)*p);
        h = mix(h, fate == DISK_LOST ? f->durable_len : f->len);
        if (fate > DISK_KEPT)
            h = mix(mix(h, fate), s->seed);
        sum += h; /* in any order */
    }
    free(names);
    return sum;
}

static bool heads(uint64_t *x)
{
    *x = *x * 6364136223846793005 + 1442695040888963407;
    return *x >> 40 & 1;
}

/* The bytes that are left of a dirty file, ${*len} of them. */
static uint8_t *remains(const struct inode *f, enum disk_fate fate, uint64_t seed, size_t *len)
{
    size_t sector = fate == DISK_TORN_512 || fate == DISK_CUT_512 ? 512 : 4096;
    uint64_t x = mix(seed, f->len);
    uint8_t *out = grown(NULL, f->len + 1, 1);
    memset(out, 0, f->len + 1);
    if (f->durable_len > 0)
        memcpy(out, f->durable, f->durable_len);
    *len = fate == DISK_LOST ? f->durable_len : f->len;
    if (fate == DISK_CUT_512 || fate == DISK_CUT_4096) {
        *len = (size_t)(mix(x, 1) % (f->len / sector + 1)) * sector;
        if (*len < f->durable_len)
            *len = f->durable_len;
    }
    for (size_t w = 0; fate != DISK_LOST && w < f->write_count; w++) {
        size_t at = f->writes[w].at, end = at + f->writes[w].len;
        if (fate == DISK_HOLES && heads(&x))
            continue;
        while (at < end) {
            size_t next = (at / sector + 1) * sector < end ? (at / sector + 1) * sector : end;
            if ((fate != DISK_TORN_512 && fate != DISK_TORN_4096) || heads(&x))
                memcpy(out + at, f->data + at, next - at);
            at = next;
        }
    }
    return out;
}

static void lay_out_file(struct disk *d, const struct disk_state *s, unsigned inode,
                         const char *path, const char *pool)
{
    struct inode *f = &d->inodes[inode];
    char pooled[PATH];
    if (is_dirty(f)) {
        size_t len = 0;
        uint8_t *data = remains(f, fate_of(d, s, inode), s->seed, &len);
        store_file(path, data, len);
        free(data);
        return;
    }
    snprintf(pooled, sizeof pooled, "%s/%u-%zu", pool, inode, f->durable_len);
    if (f->pooled_len != f->durable_len + 1)
        store_file(pooled, f->durable, f->durable_len);
    f->pooled_len = f->durable_len + 1;
    assert_int_equal(link(pooled, path), 0);
}

static void lay_out_folder(struct disk *d, const struct disk_state *s, const struct entry *names,
                           size_t count, unsigned folder, const char *path, const char *pool)
{
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < count; i++) {
        char below[PATH];
        if (names[i].folder != folder)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, names[i].name);
        if (d->inodes[names[i].inode].folder)
            lay_out_folder(d, s, names, count, names[i].inode, below, pool);
        else
            lay_out_file(d, s, names[i].inode, below, pool);
    }
}

void disk_lay_out(struct disk *d, const struct disk_state *s, const char *target, const char *pool)
{
    size_t count = 0;
    struct entry *names = names_of(d, s, &count);
    lay_out_folder(d, s, names, count, ROOT, target, pool);
    free(names);
}

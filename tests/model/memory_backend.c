/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend without files, put in the place of the local one by the linker. A
 * file appears with its last byte and is gone with its name, as on S3: nobody
 * reads on in what was deleted. What is flushed does not matter here.
 */
#include "memory_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "checksum.h"

struct blob {
    unsigned users;
    size_t len;
    uint64_t digest;
    uint8_t data[];
};

struct cs_put {
    char name[MEMORY_NAME];
    uint8_t *data;
    size_t len;
};

struct memory memory;
enum told (*memory_hook)(const struct call *call);
bool memory_overwrites;
static int64_t now = 1700000000;

int __wrap_cs_backend_local(struct cs_backend **backend, const char *path, bool create,
                            struct cs_error *err);
time_t __wrap_time(time_t *t);

uint64_t memory_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15 + b + 0x2545f4914f6cdd1d;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint64_t digest_of(const void *data, size_t len)
{
    uint8_t checksum[CS_CHECKSUM_SIZE];
    uint64_t digest;
    cs_checksum(checksum, data, len);
    memcpy(&digest, checksum, sizeof digest);
    return digest;
}

int64_t memory_now(void)
{
    return now;
}

void memory_pass_time(int64_t seconds)
{
    now += seconds;
}

time_t __wrap_time(time_t *t)
{
    if (t != NULL)
        *t = now;
    return now;
}

/* ---- the files ---- */

static void *need(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

static struct blob *blob_new(const void *data, size_t len)
{
    struct blob *b = need(malloc(sizeof *b + len));
    *b = (struct blob){.users = 1, .len = len, .digest = digest_of(data, len)};
    if (len > 0)
        memcpy(b->data, data, len);
    return b;
}

static void blob_free(struct blob *b)
{
    if (--b->users == 0)
        free(b);
}

/* The first file whose name is not below ${name}. */
static size_t place_of(const char *name, bool *found)
{
    size_t low = 0, high = memory.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(memory.files[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < memory.count && strcmp(memory.files[low].name, name) == 0;
    return low;
}

static const struct memory_file *find(const char *name)
{
    bool found;
    size_t at = place_of(name, &found);
    return found ? &memory.files[at] : NULL;
}

static uint64_t file_digest(const char *name, const struct blob *blob, int64_t written)
{
    return memory_mix(memory_mix(digest_of(name, strlen(name)), blob->digest), (uint64_t)written);
}

bool memory_has(const char *name)
{
    return find(name) != NULL;
}

void memory_delete(const char *name)
{
    bool found;
    size_t at = place_of(name, &found);
    if (!found)
        return;
    struct memory_file *f = &memory.files[at];
    memory.digest -= file_digest(f->name, f->blob, f->written);
    blob_free(f->blob);
    memmove(f, f + 1, (memory.count - at - 1) * sizeof *f);
    memory.count--;
}

void memory_put(const char *name, const void *data, size_t len)
{
    bool found;
    memory_delete(name);
    size_t at = place_of(name, &found);
    memory.files = need(reallocarray(memory.files, memory.count + 1, sizeof *memory.files));
    struct memory_file *f = &memory.files[at];
    memmove(f + 1, f, (memory.count - at) * sizeof *f);
    *f = (struct memory_file){.blob = blob_new(data, len), .written = now};
    snprintf(f->name, sizeof f->name, "%s", name);
    memory.digest += file_digest(f->name, f->blob, f->written);
    memory.count++;
}

void memory_clear(struct memory *m)
{
    for (size_t i = 0; i < m->count; i++)
        blob_free(m->files[i].blob);
    free(m->files);
    *m = (struct memory){0};
}

void memory_keep(struct memory *copy)
{
    *copy = memory;
    copy->files = need(reallocarray(NULL, memory.count + 1, sizeof *memory.files));
    memcpy(copy->files, memory.files, memory.count * sizeof *memory.files);
    for (size_t i = 0; i < memory.count; i++)
        memory.files[i].blob->users++;
}

void memory_put_back(struct memory *copy)
{
    memory_clear(&memory);
    memory = *copy;
    *copy = (struct memory){0};
}

/* Whether ${name} lies in ${folder} itself; then sets ${*plain}. */
static bool lies_in(const char *folder, const char *name, const char **plain)
{
    size_t n = strlen(folder);
    if (strncmp(name, folder, n) != 0 || name[n] != '/')
        return false;
    *plain = name + n + 1;
    return true;
}

/* ---- what a call would do ---- */

uint64_t memory_foretell(const struct call *call, enum told told, uint64_t *after)
{
    const struct memory_file *f = find(call->name);
    uint64_t digest = memory_mix(call->kind, told);
    uint64_t now_there = memory.digest;
    switch (call->kind) {
    case CALL_READ:
    case CALL_SIZE:
    case CALL_MODIFIED:
        if (told == TOLD_TRUE && f != NULL)
            digest = memory_mix(digest, file_digest(f->name, f->blob, f->written));
        break;
    case CALL_LIST:
        for (size_t i = 0; told == TOLD_TRUE && i < memory.count; i++) {
            const char *name = NULL;
            if (lies_in(call->name, memory.files[i].name, &name))
                digest = memory_mix(digest, digest_of(name, strlen(name)));
        }
        break;
    case CALL_FINISH:
        if (told != TOLD_FAILED && f != NULL && memory_overwrites)
            now_there -= file_digest(f->name, f->blob, f->written);
        if (told != TOLD_FAILED && (f == NULL || memory_overwrites))
            now_there += file_digest(call->name, call->blob, now);
        digest = memory_mix(digest, f != NULL);
        break;
    case CALL_REMOVE:
        if (told != TOLD_FAILED && f != NULL)
            now_there -= file_digest(f->name, f->blob, f->written);
        digest = memory_mix(digest, f != NULL);
        break;
    }
    *after = now_there;
    return digest;
}

static enum told ask(const struct call *call)
{
    return memory_hook != NULL ? memory_hook(call) : TOLD_TRUE;
}

/* What ${told} means for a call that was asked for, where its own result is ${rc}. */
static int tell(enum told told, int rc, const char *name, struct cs_error *err)
{
    switch (told) {
    case TOLD_LOST:
    case TOLD_FAILED:
        return cs_fail(err, CS_IO, "%s: no reply", name);
    case TOLD_TAKEN:
        return cs_fail(err, CS_EXISTS, "%s: exists", name);
    case TOLD_FULL:
        return cs_fail(err, CS_NO_SPACE, "%s: no space left", name);
    case TOLD_TRUE:
    case TOLDS:
        break;
    }
    if (rc == CS_NOT_FOUND)
        return cs_fail(err, rc, "%s: there is no such file", name);
    if (rc == CS_EXISTS)
        return cs_fail(err, rc, "%s: exists", name);
    return rc;
}

/* ---- the interface ---- */

static int model_read(struct cs_backend *backend, const char *name, uint64_t offset, void *buf,
                      size_t len, size_t *got, struct cs_error *err)
{
    (void)backend;
    struct call call = {.kind = CALL_READ, .name = name, .offset = offset, .len = len};
    enum told told = ask(&call);
    const struct memory_file *f = find(name);
    int rc = tell(told, f == NULL ? CS_NOT_FOUND : 0, name, err);
    if (rc < 0)
        return rc;
    *got = 0;
    if (offset < f->blob->len)
        *got = f->blob->len - offset < len ? (size_t)(f->blob->len - offset) : len;
    memcpy(buf, f->blob->data + (*got > 0 ? offset : 0), *got);
    return 0;
}

static int model_size(struct cs_backend *backend, const char *name, uint64_t *size,
                      struct cs_error *err)
{
    (void)backend;
    enum told told = ask(&(struct call){.kind = CALL_SIZE, .name = name});
    const struct memory_file *f = find(name);
    int rc = tell(told, f == NULL ? CS_NOT_FOUND : 0, name, err);
    if (rc == 0)
        *size = f->blob->len;
    return rc;
}

static int model_modified(struct cs_backend *backend, const char *name, int64_t *seconds,
                          struct cs_error *err)
{
    (void)backend;
    enum told told = ask(&(struct call){.kind = CALL_MODIFIED, .name = name});
    const struct memory_file *f = find(name);
    int rc = tell(told, f == NULL ? CS_NOT_FOUND : 0, name, err);
    if (rc == 0)
        *seconds = f->written;
    return rc;
}

/* A folder is listed at once. Its visitor may ask for more. Folders inside it are names, too. */
static int model_list(struct cs_backend *backend, const char *folder,
                      int (*visit)(void *arg, const char *name, struct cs_error *err), void *arg,
                      struct cs_error *err)
{
    (void)backend;
    enum told told = ask(&(struct call){.kind = CALL_LIST, .name = folder});
    int rc = tell(told, 0, folder, err);
    if (rc < 0)
        return rc;
    size_t n = 0;
    char(*names)[MEMORY_NAME] = need(calloc(memory.count + 1, sizeof *names));
    for (size_t i = 0; i < memory.count; i++) {
        const char *plain = NULL;
        if (!lies_in(folder, memory.files[i].name, &plain))
            continue;
        snprintf(names[n], MEMORY_NAME, "%.*s", (int)strcspn(plain, "/"), plain);
        n += n == 0 || strcmp(names[n - 1], names[n]) != 0;
    }
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = visit(arg, names[i], err);
    free(names);
    return rc;
}

static int model_create(struct cs_backend *backend, const char *name, struct cs_put **out,
                        struct cs_error *err)
{
    (void)backend;
    (void)err;
    struct cs_put *put = need(calloc(1, sizeof *put));
    snprintf(put->name, sizeof put->name, "%s", name);
    *out = put;
    return 0;
}

static int model_write(struct cs_put *put, const void *data, size_t len, struct cs_error *err)
{
    (void)err;
    put->data = need(realloc(put->data, put->len + len + 1));
    memcpy(put->data + put->len, data, len);
    put->len += len;
    return 0;
}

static void model_abandon(struct cs_put *put)
{
    if (put != NULL)
        free(put->data);
    free(put);
}

static void model_flush(struct cs_put *put)
{
    (void)put;
}

static int model_finish(struct cs_put *put, bool replace, struct cs_error *err)
{
    struct blob *blob = blob_new(put->data, put->len);
    enum told told = ask(&(struct call){.kind = CALL_FINISH, .name = put->name, .blob = blob});
    bool taken = find(put->name) != NULL && !replace && !memory_overwrites;
    if (told != TOLD_FAILED && !taken)
        memory_put(put->name, put->data, put->len);
    int rc = tell(told, taken ? CS_EXISTS : 0, put->name, err);
    blob_free(blob);
    model_abandon(put);
    return rc;
}

static int model_sync(struct cs_backend *backend, const char *folder, struct cs_error *err)
{
    (void)backend;
    (void)folder;
    (void)err;
    return 0;
}

static int model_remove(struct cs_backend *backend, const char *name, struct cs_error *err)
{
    (void)backend;
    enum told told = ask(&(struct call){.kind = CALL_REMOVE, .name = name});
    bool there = find(name) != NULL;
    char kept[MEMORY_NAME];
    snprintf(kept, sizeof kept, "%s", name);
    if (told != TOLD_FAILED)
        memory_delete(kept);
    return tell(told, there ? 0 : CS_NOT_FOUND, kept, err);
}

static void model_close(struct cs_backend *backend)
{
    (void)backend;
}

static const struct cs_backend_ops model_ops = {
    .read = model_read,
    .size = model_size,
    .create = model_create,
    .write = model_write,
    .flush = model_flush,
    .finish = model_finish,
    .abandon = model_abandon,
    .sync = model_sync,
    .list = model_list,
    .remove = model_remove,
    .modified = model_modified,
    .close = model_close,
};

int __wrap_cs_backend_local(struct cs_backend **backend, const char *path, bool create,
                            struct cs_error *err)
{
    static struct cs_backend only = {.ops = &model_ops};
    (void)path;
    (void)create;
    (void)err;
    *backend = &only;
    return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes the repositories, and keeps each as it was in memory. qemu-img makes the disks, and says
 * that what comes back of them untampered is right; from then on bytes are compared. */
#include "world.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/engine.h"
#include "qcow2_fixture.h"
#include "tree_files.h"

/* so many entries make a checkpoint worth while */
enum { TAG_CHANGES = 64 };

/* ---- copies ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct stored *)a)->name, ((const struct stored *)b)->name);
}

static struct copy copy_of(const char *what, const char *path)
{
    struct file_list list = list_tree(path);
    struct copy copy = {.what = what, .files = calloc(list.count, sizeof *copy.files)};
    assert_non_null(copy.files);
    for (size_t i = 0; i < list.count; i++) {
        char name[2 * FIXTURE_PATH];
        struct stored *f = &copy.files[copy.count];
        if (list.files[i].folder)
            continue;
        copy.count++;
        snprintf(f->name, sizeof f->name, "%s", list.files[i].name);
        snprintf(name, sizeof name, "%s/%s", path, f->name);
        f->data = load_file(name, &f->len);
    }
    free(list.files);
    qsort(copy.files, copy.count, sizeof *copy.files, by_name);
    return copy;
}

static void copy_clear(struct copy *copy)
{
    for (size_t i = 0; i < copy->count; i++)
        free(copy->files[i].data);
    free(copy->files);
}

size_t copy_find(const struct copy *copy, const char *name)
{
    size_t i = 0;
    while (i < copy->count && strcmp(copy->files[i].name, name) != 0)
        i++;
    return i;
}

void copy_put_back(const struct repo *repo, const struct copy *copy)
{
    struct file_list list = list_tree(repo->path);
    for (size_t i = 0; i < list.count; i++)
        if (!list.files[i].folder)
            file_remove(repo, list.files[i].name);
    free(list.files);
    for (size_t i = 0; i < copy->count; i++)
        file_write(repo, copy->files[i].name, copy->files[i].data, copy->files[i].len);
}

/* ---- what is in them ---- */

char *list_archives(const struct cs_store *store)
{
    char *text = NULL, hex[CS_ID_HEX];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (size_t i = 0; i < cs_archive_count(store); i++) {
        const struct cs_archive *a = cs_archive_at(store, i);
        fprintf(out, "%s %s %s %lld %llu %.*s", cs_id_hex(&a->id, hex), a->name, a->host,
                (long long)a->time, (unsigned long long)a->bytes_stored, (int)a->summary_len,
                (const char *)a->summary);
        for (size_t t = 0; t < a->tag_count; t++)
            fprintf(out, " #%s", a->tags[t]);
        fputc('\n', out);
    }
    assert_int_equal(fclose(out), 0);
    return text;
}

static void backup(struct world *w, struct cs_store *store, const char *name)
{
    const char *const images[] = {"images/top.qcow2"}, *const with[] = {"images/vm.xml"};
    struct engine_backup_options options = {
        .images = images, .image_count = 1, .name = name, .with = with, .with_count = 1};
    struct engine_backup_result result;
    struct error err = {0};
    if (engine_backup(store, &options, &result, &err) < 0)
        fail_msg("backup %s: %s", name, err.message);

    struct known *known = &w->known[w->known_count++];
    struct engine_restore_options restore = {.to = known->folder};
    struct engine_restore_result restored;
    known->id = result.archive;
    snprintf(known->folder, sizeof known->folder, "want-%zu", w->known_count);
    const struct cs_archive *archive = cs_archive_at(store, cs_archive_count(store) - 1);
    if (engine_restore(store, archive, &restore, &restored, &err) < 0)
        fail_msg("restore %s: %s", name, err.message);
    engine_restore_result_clear(&restored);
    run("qemu-img compare -q images/top.qcow2 %s/top.qcow2", known->folder);
    run("qemu-img compare -q images/base.qcow2 %s/base.qcow2", known->folder);
    run("cmp images/vm.xml %s/side-files/vm.xml", known->folder);
}

static void write_guest(const char *image, unsigned seed, unsigned bytes, const char *offset)
{
    uint8_t data[8192];
    assert_true(bytes <= sizeof data);
    noise(data, bytes, seed);
    spill("guest", data, bytes);
    run("qemu-io -f qcow2 -c 'write -q -s guest %s %u' images/%s", offset, bytes, image);
}

static void tag(struct cs_store *store, unsigned times)
{
    const char *const tags[] = {"a", "b"};
    const struct cs_id id = cs_archive_at(store, 0)->id;
    for (unsigned i = 0; i < times; i++)
        assert_ok(cs_tag(store, &id, &tags[i % 2], 1, &tags[(i + 1) % 2], 1, err));
}

static struct cs_store *open_here(const struct repo *repo)
{
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .state_dir = repo->heads, .accept_rollback = true};
    return open_with(repo, &options);
}

static void make_older(struct world *w)
{
    struct cs_name gone;
    struct cs_store *store = open_here(w->repo);
    add_key(store, 1, CS_ROLE_BACKUP, NULL);
    add_key(store, 2, CS_ROLE_APPEND, &gone);
    backup(w, store, "first");
    assert_ok(cs_key_remove(store, &gone, true, err));
    tag(store, TAG_CHANGES);
    cs_close(store);
    w->older = copy_of("as it was once", w->repo->path);
}

static void make_fork(struct world *w)
{
    write_guest("top.qcow2", 5, 1024, "700K");
    struct cs_store *store = open_here(w->repo);
    backup(w, store, "fork");
    backup(w, store, "fork again");
    tag(store, 2);
    cs_close(store);
    w->fork = copy_of("another host's", w->repo->path);
    copy_put_back(w->repo, &w->older);
}

static void make_other(struct world *w)
{
    void *state = NULL;
    assert_int_equal(repo_setup(&state), 0);
    struct repo *repo = state;
    struct cs_store *store = open_here(repo);
    add_key(store, 1, CS_ROLE_BACKUP, NULL);
    backup(w, store, "first");
    backup(w, store, "second");
    tag(store, TAG_CHANGES + 8);
    cs_close(store);
    w->other = copy_of("of another repository", repo->path);
    repo_teardown(&state);
}

struct world *world_new(void)
{
    void *state = NULL;
    char hex[CS_ID_HEX];
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(repo_setup(&state), 0);
    w->repo = state;
    assert_int_equal(chdir(w->repo->dir), 0);
    assert_int_equal(mkdir("images", 0700), 0);
    run("qemu-img create -q -f qcow2 -o cluster_size=512 images/base.qcow2 1M");
    run("qemu-img create -q -f qcow2 -o cluster_size=512 -b base.qcow2 -F qcow2 images/top.qcow2");
    run("echo '<domain/>' >images/vm.xml");
    write_guest("base.qcow2", 1, 4096, "64K");
    write_guest("top.qcow2", 2, 1024, "65K");
    make_older(w);
    make_fork(w);
    write_guest("top.qcow2", 3, 2048, "512K");
    struct cs_store *store = open_here(w->repo);
    backup(w, store, "second");
    tag(store, 2);
    cs_close(store);
    w->now = copy_of("as it is", w->repo->path);
    store = open_here(w->repo);
    w->list = list_archives(store);
    cs_close(store);
    snprintf(w->head, sizeof w->head, "heads/%s/head", cs_id_hex(&w->repo->id, hex));
    w->seen = load_file(w->head, &w->seen_len);
    make_other(w);
    return w;
}

void world_free(struct world *w)
{
    void *state = w->repo;
    copy_clear(&w->now);
    copy_clear(&w->older);
    copy_clear(&w->fork);
    copy_clear(&w->other);
    free(w->list);
    free(w->seen);
    assert_int_equal(chdir("/"), 0);
    repo_teardown(&state);
    free(w);
}

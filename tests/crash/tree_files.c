/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole files and folders, for tests that make, copy and compare many. */
#include "tree_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cs_fixture.h"

enum { PATH = 1024 };

static void list_below(struct file_list *list, const char *top, const char *below)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", top, below);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        list->files = reallocarray(list->files, list->count + 1, sizeof *list->files);
        assert_non_null(list->files);
        struct listed *f = &list->files[list->count++];
        int n =
            snprintf(f->name, sizeof f->name, "%s%s%s", below, below[0] != 0 ? "/" : "", e->d_name);
        assert_true(n > 0 && n < (int)sizeof f->name);
        assert_int_equal(fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
        f->folder = S_ISDIR(st.st_mode);
        if (f->folder) {
            char name[sizeof f->name];
            memcpy(name, f->name, sizeof name);
            list_below(list, top, name);
        }
    }
    closedir(dir);
}

struct file_list list_tree(const char *path)
{
    struct file_list list = {0};
    list_below(&list, path, "");
    return list;
}

void remove_tree(const char *path)
{
    char name[PATH];
    if (access(path, F_OK) != 0)
        return;
    struct file_list list = list_tree(path);
    for (size_t i = list.count; i > 0; i--) {
        snprintf(name, sizeof name, "%s/%s", path, list.files[i - 1].name);
        assert_int_equal(remove(name), 0);
    }
    free(list.files);
    assert_int_equal(rmdir(path), 0);
}

void clone_tree(const char *from, const char *to)
{
    char source[PATH], target[PATH];
    if (access(from, F_OK) != 0)
        return;
    struct file_list list = list_tree(from);
    assert_int_equal(mkdir(to, 0700), 0);
    for (size_t i = 0; i < list.count; i++) {
        snprintf(source, sizeof source, "%s/%s", from, list.files[i].name);
        snprintf(target, sizeof target, "%s/%s", to, list.files[i].name);
        if (list.files[i].folder)
            assert_int_equal(mkdir(target, 0700), 0);
        else
            assert_int_equal(link(source, target), 0);
    }
    free(list.files);
}

/* Whether all of ${a} is in ${b}. */
static bool is_within(const char *a, const char *b, char first[128])
{
    struct file_list list = list_tree(a);
    bool same = true;
    for (size_t i = 0; same && i < list.count; i++) {
        char one[PATH], other[PATH];
        snprintf(one, sizeof one, "%s/%s", a, list.files[i].name);
        snprintf(other, sizeof other, "%s/%s", b, list.files[i].name);
        memcpy(first, list.files[i].name, 128);
        same = access(other, F_OK) == 0;
        if (same && !list.files[i].folder) {
            size_t n[2];
            uint8_t *data[2] = {load_file(one, &n[0]), load_file(other, &n[1])};
            same = n[0] == n[1] && memcmp(data[0], data[1], n[0]) == 0;
            free(data[0]);
            free(data[1]);
        }
    }
    free(list.files);
    return same;
}

bool same_trees(const char *a, const char *b, char first[128])
{
    return is_within(a, b, first) && is_within(b, a, first);
}

uint8_t *load_file(const char *path, size_t *len)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    *len = (size_t)st.st_size;
    uint8_t *data = malloc(*len + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *len, f), *len);
    fclose(f);
    return data;
}

void store_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(len > 0 ? write(fd, data, len) : 0, (ssize_t)len);
    close(fd);
}

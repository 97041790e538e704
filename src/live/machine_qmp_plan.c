/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the nodes that plan.c found to files of this host: a name is QEMU's, in
 * QEMU's folder, and means the file that QEMU has open, or byre would read
 * another one.
 */
#include "live/fleece.h"
#include "live/machine_qmp.h"
#include "live/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OLD_MAX = 2048 }; /* bytes of names */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
        return a->st_rdev == b->st_rdev;
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether the machine has that file open; true where nobody lets us see. */
static bool has_open(const struct machine_qmp *mq, const struct stat *st)
{
    char path[48];
    struct dirent *entry = NULL;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)mq->pid);
    DIR *folder = mq->pid > 0 ? opendir(path) : NULL;
    if (folder == NULL)
        return true;
    while (!found && (entry = readdir(folder)) != NULL) {
        struct stat other;
        found = fstatat(dirfd(folder), entry->d_name, &other, 0) == 0 && is_same_file(st, &other);
    }
    closedir(folder);
    return found;
}

/* A name that leads nowhere in the folder where the machine is now is of no use to itself, either:
 * QEMU opens the file by it again to write no more. */
static int absolute(const struct machine_qmp *mq, const char *name, char **path, struct error *err)
{
    char link[48], folder[PATH_MAX];
    struct stat st;
    if (name[0] == '/') {
        *path = strdup(name);
        return *path == NULL ? error_no_memory(err) : 0;
    }
    snprintf(link, sizeof link, "/proc/%ld/cwd", (long)mq->pid);
    ssize_t n = mq->pid > 0 ? readlink(link, folder, sizeof folder - 1) : -1;
    folder[n > 0 ? n : 0] = 0;
    if (asprintf(path, "%s/%s", folder[0] != 0 && folder[1] != 0 ? folder : "", name) < 0) {
        *path = NULL;
        return error_no_memory(err);
    }
    if (n > 0 && stat(*path, &st) == 0)
        return 0;
    free(*path);
    *path = NULL;
    return error_set(
        err, ERROR_UNSUPPORTED,
        "%s: the machine was given this relative name and has left the folder where it "
        "was right, so that QEMU itself cannot open the file again: give it absolute "
        "names",
        name);
}

static int check_file(const struct machine_qmp *mq, const struct journal *j,
                      const struct journal_disk *d, struct error *err)
{
    struct stat st, other;
    if (stat(d->base, &st) < 0)
        return error_sys(err, errno, "disk %s: %s", d->device, d->base);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return error_set(err, ERROR_UNSUPPORTED, "disk %s: %s is neither a file nor a block device",
                         d->device, d->base);
    if (!has_open(mq, &st))
        return error_set(err, ERROR_UNSUPPORTED,
                         "disk %s: %s is not the file that the machine has open by this name (is "
                         "it in a container of its own?)",
                         d->device, d->base);
    for (size_t i = 0; &j->disks[i] != d; i++)
        if (j->disks[i].mode == JOURNAL_OVERLAY && stat(j->disks[i].base, &other) == 0 &&
            is_same_file(&st, &other))
            return error_set(err, ERROR_UNSUPPORTED,
                             "disks %s and %s cannot be frozen: both are in the file %s",
                             j->disks[i].device, d->device, d->base);
    return 0;
}

/* Whether the file of ${node} is the one that ${name} means. */
static int is_file_of(const struct machine_qmp *mq, const struct graph *g, size_t node,
                      const char *name, bool *same, struct error *err)
{
    size_t file = graph_child(g, node, "file");
    char *wanted = NULL, *path = NULL;
    struct stat a, b;
    int rc = 0;
    *same = false;
    if (file == GRAPH_NONE || strncmp(g->nodes[file].file, "json:", 5) == 0 ||
        (strcmp(g->nodes[file].driver, "file") != 0 &&
         strcmp(g->nodes[file].driver, "host_device") != 0))
        return 0;
    rc = absolute(mq, name, &wanted, err);
    if (rc == 0)
        rc = absolute(mq, g->nodes[file].file, &path, err);
    *same = rc == 0 && stat(wanted, &a) == 0 && stat(path, &b) == 0 && is_same_file(&a, &b);
    free(wanted);
    free(path);
    return rc;
}

/* Whether QEMU's name of ${n} tells of a chain below that it was given, and did not find by ${n}.
 */
static bool is_given_chain(const struct graph_node *n)
{
    if (strncmp(n->file, "json:", 5) != 0)
        return false;
    json_t *name = json_loads(n->file + 5, 0, NULL);
    bool given = json_object_get(name, "backing") != NULL;
    json_decref(name);
    return given;
}

/* A file whose header does not say the format of the one below is read as one that probes. */
static bool is_format_of(const struct graph_node *below, const struct graph_node *n)
{
    return strcmp(below->driver, n->backing_format[0] != 0 ? n->backing_format : "qcow2") == 0;
}

/* The machine may have been given another chain below a file than its header names, and then the
 * guest's disk is not what the files are. */
static int check_chain(const struct machine_qmp *mq, const struct graph *g, size_t node,
                       const char *device, struct error *err)
{
    for (size_t steps = 0; steps < g->node_count; steps++) {
        const struct graph_node *n = &g->nodes[node];
        size_t below = graph_child(g, node, "backing");
        bool same = false;
        int rc = 0;
        if (!is_given_chain(n))
            return 0;
        if (below == GRAPH_NONE && n->backing[0] == 0)
            return 0;
        if (below != GRAPH_NONE && n->backing[0] != 0 && is_format_of(&g->nodes[below], n))
            rc = is_file_of(mq, g, below, n->backing, &same, err);
        if (rc < 0)
            return rc;
        if (!same || (strcmp(g->nodes[below].driver, "raw") == 0 &&
                      strncmp(g->nodes[below].file, "json:", 5) == 0))
            return error_set(
                err, ERROR_UNSUPPORTED,
                "disk %s cannot be frozen: the machine has other files below node %s than its "
                "header names (%s, format %s): qemu-img rebase -u puts that right; --content reads "
                "such a disk through the machine",
                device, n->name, n->backing[0] != 0 ? n->backing : "none",
                n->backing_format[0] != 0 ? n->backing_format : "not said");
        node = below;
    }
    return 0;
}

static int fill(const struct machine_qmp *mq, const struct graph *g, const struct plan_disk *p,
                const char *bitmap, struct journal *j, struct error *err)
{
    const struct graph_node *node = &g->nodes[p->node];
    char name[32];
    struct journal_disk *d = journal_add_disk(j);
    if (d == NULL)
        return error_no_memory(err);
    qmp_job_name(j->disk_count - 1, name);
    d->overlay_node = strdup(name);
    d->node = strdup(node->name);
    d->device = strdup(p->device);
    d->format = strdup(node->driver);
    d->bitmap = bitmap != NULL && node->has_bitmaps ? strdup(bitmap) : NULL;
    d->encrypted = node->encrypted;
    d->size = node->size;
    if (d->overlay_node == NULL || d->node == NULL || d->device == NULL || d->format == NULL)
        return error_no_memory(err);
    int rc = absolute(mq, g->nodes[p->file].file, &d->base, err);
    if (rc == 0)
        rc = check_file(mq, j, d, err);
    return rc == 0 ? check_chain(mq, g, p->node, d->device, err) : rc;
}

/* Those of ${bitmap}'s kind that tell everything since they were made. One that was disabled by
 * somebody else has missed something. */
static char *list_old(const struct graph_node *node, const char *bitmap, size_t prefix)
{
    char *names = NULL;
    size_t size = 0, i;
    json_t *item;
    FILE *f = open_memstream(&names, &size);
    if (f == NULL)
        return NULL;
    json_array_foreach (node->bitmaps, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name != NULL && strncmp(name, bitmap, prefix) == 0 && strchr(name, ' ') == NULL &&
            json_is_true(json_object_get(item, "recording")) &&
            !json_is_true(json_object_get(item, "inconsistent")) &&
            !json_is_true(json_object_get(item, "busy")) && size + strlen(name) < OLD_MAX)
            fprintf(f, "%s%s", size > 0 ? " " : "", name);
        fflush(f);
    }
    fclose(f);
    return names;
}

static int fill_content(const struct graph *g, const struct plan_disk *p,
                        const struct live_options *o, struct journal *j, struct error *err)
{
    const struct graph_node *node = &g->nodes[p->node];
    char name[32];
    struct journal_disk *d = journal_add_disk(j);
    if (d == NULL)
        return error_no_memory(err);
    qmp_job_name(j->disk_count - 1, name);
    d->mode = JOURNAL_CONTENT;
    d->overlay_node = strdup(name);
    d->node = strdup(node->name);
    d->device = strdup(p->device);
    d->format = strdup(node->driver);
    d->size = node->size;
    d->bitmap_stays = node->has_bitmaps;
    bool whole =
        d->overlay_node != NULL && d->node != NULL && d->device != NULL && d->format != NULL;
    if (o->bitmap != NULL) {
        d->bitmap = fleece_bitmap_name(o->bitmap, j->disk_count - 1);
        d->old_bitmaps = list_old(node, o->bitmap, o->bitmap_prefix);
        whole &= d->bitmap != NULL && d->old_bitmaps != NULL;
    }
    if (whole && d->old_bitmaps != NULL && d->old_bitmaps[0] == 0) {
        free(d->old_bitmaps);
        d->old_bitmaps = NULL;
    }
    return whole ? 0 : error_no_memory(err);
}

/* A file that was named by another way to it is the one that the machine has. */
static int resolve_names(const struct machine_qmp *mq, const struct graph *g,
                         const struct live_options *o, const char **names, struct error *err)
{
    for (size_t i = 0; i < o->disk_count; i++) {
        struct stat st, other;
        names[i] = o->disks[i];
        if (strchr(o->disks[i], '/') == NULL || stat(o->disks[i], &st) < 0)
            continue;
        for (size_t k = 0; k < g->node_count; k++) {
            char *path = NULL;
            const struct graph_node *n = &g->nodes[k];
            if ((strcmp(n->driver, "file") != 0 && strcmp(n->driver, "host_device") != 0) ||
                n->read_only)
                continue;
            int rc = absolute(mq, n->file, &path, err);
            if (rc == 0 && stat(path, &other) == 0 && is_same_file(&st, &other))
                names[i] = n->file;
            free(path);
            if (rc == ERROR_NO_MEMORY)
                return rc;
        }
    }
    return 0;
}

int machine_qmp_plan(struct machine *m, const struct live_options *o, struct journal *j,
                     struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct live_options options = *o;
    struct graph g = {0};
    struct plan plan = {0};
    const char **names = calloc(o->disk_count + 1, sizeof *names);
    int rc = names == NULL ? error_no_memory(err) : graph_read(&g, mq->q, err);
    if (rc == 0)
        rc = resolve_names(mq, &g, o, names, err);
    options.disks = names;
    if (rc == 0)
        rc = plan_disks(&plan, &g, &options, err);
    for (size_t i = 0; rc == 0 && i < plan.count; i++)
        rc = plan.disks[i].content ? fill_content(&g, &plan.disks[i], o, j, err)
                                   : fill(mq, &g, &plan.disks[i], o->bitmap, j, err);
    plan_clear(&plan);
    graph_clear(&g);
    free(names);
    return rc;
}

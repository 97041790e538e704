/* SPDX-License-Identifier: BSD-2-Clause */
/* What a person would type to bring a domain's disk back to its base. Pure. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/words.h"
#include "live/machine.h"

struct terms {
    void (*say)(void *arg, const char *line);
    void *arg;
    char *uri;
    char *name;
    char *target;
    char *base;
    char *overlay;
};

static void say(const struct terms *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct terms *w, const char *fmt, ...)
{
    char *line = NULL;
    va_list args;
    int got;

    va_start(args, fmt);
    got = vasprintf(&line, fmt, args);
    va_end(args);
    if (got < 0)
        return;
    w->say(w->arg, line);
    free(line);
}

static void say_all(const struct terms *w, const struct journal_disk *disk,
                    enum machine_where where)
{
    if (where == MACHINE_ON_OVERLAY)
        say(w, "virsh -c %s blockcommit %s %s --base %s --active --wait --pivot", w->uri, w->name,
            w->target, w->base);
    else if (where == MACHINE_COMMITTING)
        say(w, "virsh -c %s blockjob %s %s --pivot", w->uri, w->name, w->target);
    else if (where == MACHINE_ELSEWHERE)
        say(w, "virsh -c %s edit %s  # disk %s: source %s, driver type %s, no backingStore", w->uri,
            w->name, w->target, w->base, disk->format);
    if (disk->key_file)
        say(w,
            "virsh -c %s secret-undefine \"$(virsh -c %s secret-list | "
            "awk -v path=%s '$3 == path { print $1 }')\"",
            w->uri, w->uri, w->overlay);
}

void machine_commands_libvirt(const struct journal *j, size_t i, enum machine_where where,
                              void (*tell)(void *arg, const char *line), void *arg)
{
    const struct journal_disk *disk = &j->disks[i];
    struct terms w = {
        .say = tell,
        .arg = arg,
        .uri = words_quote(j->uri ? j->uri : ""),
        .name = words_quote(j->name ? j->name : j->uuid),
        .target = words_quote(disk->node),
        .base = words_quote(disk->base),
        .overlay = words_quote(disk->overlay ? disk->overlay : ""),
    };

    if (w.uri && w.name && w.target && w.base && w.overlay)
        say_all(&w, disk, where);
    free(w.uri);
    free(w.name);
    free(w.target);
    free(w.base);
    free(w.overlay);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What broken backups left, as it is now, and what a person would type. Changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "live/live.h"
#include "live/overlay.h"
#include "live/remedy.h"
#include "live/session.h"

struct lines {
    char **items;
    size_t count;
};

struct status {
    void (*each)(void *arg, const struct live_report *report);
    void *arg;
    size_t broken;
};

static void add_line(void *arg, const char *text)
{
    struct lines *lines = arg;
    char **items = realloc(lines->items, (lines->count + 1) * sizeof *items);
    if (items != NULL) {
        lines->items = items;
        items[lines->count] = strdup(text);
        lines->count += items[lines->count] != NULL;
    }
}

static void list_commands(const struct journal *j, size_t i, const struct remedy *remedy,
                          struct lines *lines)
{
    const struct journal_disk *d = &j->disks[i];
    if (remedy->action == REMEDY_NOTHING || remedy->action == REMEDY_SPLIT)
        return;
    machine_commands(j, i, remedy->where, add_line, lines);
    if (remedy->action == REMEDY_OFFLINE) {
        char *text = overlay_commit_text(d);
        if (text != NULL)
            add_line(lines, text);
        free(text);
    }
    struct words rm = {0};
    words_add(&rm, NULL, "rm");
    if (d->mode == JOURNAL_CONTENT) {
        words_add(&rm, NULL, "-r");
        words_add(&rm, NULL, "%.*s", (int)(strrchr(d->overlay, '/') - d->overlay), d->overlay);
    } else {
        words_add(&rm, NULL, "%s", d->overlay);
        if (d->key_file != NULL)
            words_add(&rm, NULL, "%s", d->key_file);
    }
    char *line = words_quoted(&rm);
    if (line != NULL)
        add_line(lines, line);
    free(line);
    words_clear(&rm);
}

static int look(struct machine *m, struct journal *j, size_t i, struct live_report_disk *disk,
                char **state, struct lines *lines, struct error *err)
{
    struct remedy remedy;
    int rc = remedy_find(m, j, i, &remedy, err);
    if (rc == 0)
        list_commands(j, i, &remedy, lines);
    *state = strdup(rc == 0 ? remedy.state : err->message);
    *disk = (struct live_report_disk){.device = j->disks[i].device,
                                      .base = j->disks[i].base != NULL ? j->disks[i].base
                                                                       : j->disks[i].node,
                                      .overlay = j->disks[i].overlay,
                                      .state = *state != NULL ? *state : "",
                                      .commands = (const char *const *)lines->items,
                                      .command_count = lines->count};
    return rc;
}

static int report_one(void *arg, const char *path, struct journal *j, bool running,
                      const struct error *why, struct error *err)
{
    struct status *s = arg;
    struct live_report report = {.journal = path, .running = running};
    struct machine *m = NULL;
    struct error problem = {0};
    struct words last = {0};
    char *last_line = NULL;
    s->broken += !running;
    if (j == NULL) {
        report.problem = why->message;
        s->each(s->arg, &report);
        return 0;
    }
    struct live_report_disk *disks = calloc(j->disk_count + 1, sizeof *disks);
    struct lines *lines = calloc(j->disk_count + 1, sizeof *lines);
    char **states = calloc(j->disk_count + 1, sizeof *states);
    int rc = disks == NULL || lines == NULL || states == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && !running && machine_find(&m, j, &problem) < 0)
        problem.code = problem.code == ERROR_NOT_FOUND ? 0 : problem.code;
    for (size_t i = 0; rc == 0 && !running && problem.code == 0 && i < j->disk_count; i++) {
        look(m, j, i, &disks[i], &states[i], &lines[i], &problem);
        problem.code = 0; /* it is the disk's state */
        report.disk_count = i + 1;
    }
    report.problem = problem.code != 0 ? problem.message : NULL;
    report.machine = j->name != NULL ? j->name : j->socket != NULL ? j->socket : j->uuid;
    report.phase = journal_phase_name(j->phase);
    report.started = j->started;
    report.byre = j->byre;
    report.alive = m != NULL;
    report.guest_frozen = !running && (j->phase == JOURNAL_FREEZING ||
                                       (j->phase == JOURNAL_SWITCHING && j->agent != NULL));
    report.disks = disks;
    words_add(&last, NULL, "rm");
    words_add(&last, NULL, "-f");
    words_add(&last, NULL, "%s", path);
    words_add(&last, NULL, "%.*slock", (int)(strlen(path) - strlen("json")), path);
    report.last_command = last_line = words_quoted(&last);
    if (rc == 0)
        s->each(s->arg, &report);
    machine_close(m);
    for (size_t i = 0; i < j->disk_count && states != NULL && lines != NULL; i++) {
        for (size_t k = 0; k < lines[i].count; k++)
            free(lines[i].items[k]);
        free(lines[i].items);
        free(states[i]);
    }
    free(disks);
    free(lines);
    free(states);
    free(last_line);
    words_clear(&last);
    return rc;
}

int live_status(const char *state_dir, void (*each)(void *arg, const struct live_report *report),
                void *arg, size_t *broken, struct error *err)
{
    struct status status = {.each = each, .arg = arg};
    int rc = journal_each(state_dir, false, report_one, &status, err);
    *broken = status.broken;
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way back by QMP: a commit job for each disk, which waits at each of its
 * turns for a word. While it is pending, base and overlay are equal and guest
 * writes wait; only then the journal may say that the base is right. A job that
 * is there already is gone on with.
 */
#include "live/machine_qmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "live/wire.h"

/* A job that was told to complete must not be left: once it is pending the guest's writes wait. */
enum { TICK = 50, LIMIT = 3600000 }; /* milliseconds */

struct job {
    bool there;
    char status[16];
    uint64_t done, total; /* bytes */
    char error[256];
};

static int query(struct machine_qmp *mq, const char *name, struct job *job, struct error *err)
{
    json_t *list = NULL, *item;
    size_t i;
    *job = (struct job){0};
    int rc = qmp_call(mq->q, "query-jobs", NULL, &list, err);
    json_array_foreach (list, i, item) {
        const char *id = json_string_value(json_object_get(item, "id"));
        const char *status = json_string_value(json_object_get(item, "status"));
        const char *error = json_string_value(json_object_get(item, "error"));
        if (id == NULL || strcmp(id, name) != 0)
            continue;
        job->there = true;
        snprintf(job->status, sizeof job->status, "%s", status != NULL ? status : "");
        snprintf(job->error, sizeof job->error, "%s", error != NULL ? error : "");
        job->done = (uint64_t)json_integer_value(json_object_get(item, "current-progress"));
        job->total = (uint64_t)json_integer_value(json_object_get(item, "total-progress"));
    }
    json_decref(list);
    return rc;
}

static bool is(const struct job *job, const char *status)
{
    return strcmp(job->status, status) == 0;
}

static int order(struct machine_qmp *mq, const char *command, const char *name, struct error *err)
{
    return qmp_call(mq->q, command, json_pack("{s:s}", "id", name), NULL, err);
}

static int failed(struct machine_qmp *mq, const char *name, const struct job *job,
                  struct error *err)
{
    if (is(job, "concluded"))
        order(mq, "job-dismiss", name, NULL);
    return error_set(err, strstr(job->error, "No space") != NULL ? ERROR_NO_SPACE : ERROR_IO,
                     "the machine could not write the overlay back: %s",
                     job->error[0] != 0 ? job->error : "its job is gone");
}

/* Lets time pass, but no longer than until something happens. */
static int pass(struct machine_qmp *mq, int milliseconds, struct error *err)
{
    json_t *event = NULL;
    int rc = qmp_next_event(mq->q, milliseconds, &event, err);
    json_decref(event);
    return rc;
}

int machine_qmp_commit_begin(struct machine *m, struct journal *j, size_t i, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct qmp_place place;
    struct job job;
    char name[32];
    qmp_job_name(i, name);
    int rc = query(mq, name, &job, err);
    if (rc < 0)
        return rc;
    if (job.there && !is(&job, "concluded") && !is(&job, "aborting"))
        return 0;
    if (job.there)
        order(mq, "job-dismiss", name, NULL);
    rc = qmp_place_find(m, j, i, &place, err);
    if (rc == 0 && place.where == MACHINE_COMMITTING)
        rc = error_set(err, ERROR_IN_USE, "somebody else's job is running on %s (query-block-jobs)",
                       place.overlay);
    if (rc == 0 && place.overlay[0] == 0)
        rc = error_set(err, ERROR_NOT_FOUND, "the machine does not have %s", j->disks[i].overlay);
    if (rc == 0)
        rc = qmp_call(mq->q, "block-commit",
                      json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "job-id", name, "device",
                                place.root, "top-node", place.overlay, "base-node", place.base,
                                "auto-finalize", 0, "auto-dismiss", 0),
                      NULL, err);
    return rc;
}

int machine_qmp_commit_progress(struct machine *m, struct journal *j, size_t i, int milliseconds,
                                uint64_t *done, uint64_t *total, bool *ready, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct job job;
    char name[32];
    (void)j;
    qmp_job_name(i, name);
    int rc = query(mq, name, &job, err);
    *ready = is(&job, "ready") || is(&job, "waiting") || is(&job, "pending");
    if (rc == 0 && !*ready && milliseconds > 0) {
        rc = pass(mq, milliseconds, err);
        if (rc == 0)
            rc = query(mq, name, &job, err);
        *ready = is(&job, "ready") || is(&job, "waiting") || is(&job, "pending");
    }
    *done = job.done;
    *total = job.total;
    if (rc == 0 && (!job.there || is(&job, "concluded")))
        rc = failed(mq, name, &job, err);
    return rc;
}

/* Until the job has the status ${status}, or is at its end. */
static int wait_for(struct machine_qmp *mq, const char *name, const char *status, struct job *job,
                    struct error *err)
{
    int64_t deadline = wire_clock() + LIMIT;
    for (;;) {
        int rc = query(mq, name, job, err);
        if (rc < 0 || !job->there || is(job, status) || is(job, "concluded"))
            return rc;
        if (wire_clock() > deadline)
            return error_set(err, ERROR_IO, "job %s stays %s for an hour", name, job->status);
        rc = pass(mq, TICK, err);
        if (rc < 0)
            return rc;
    }
}

int machine_qmp_commit_complete(struct machine *m, struct journal *j, size_t i, bool *pivoted,
                                struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct job job;
    char name[32];
    (void)j;
    *pivoted = false;
    qmp_be_patient(mq->q, LIMIT / 1000);
    qmp_job_name(i, name);
    int rc = query(mq, name, &job, err);
    if (rc == 0 && is(&job, "ready")) {
        rc = order(mq, "job-complete", name, err);
        /* whoever was here before may have asked for it already: then it is not ready any more */
        if (rc < 0 && query(mq, name, &job, NULL) == 0 && job.there && !is(&job, "ready"))
            rc = 0;
    }
    if (rc == 0)
        rc = wait_for(mq, name, "pending", &job, err);
    return rc == 0 && !is(&job, "pending") ? failed(mq, name, &job, err) : rc;
}

void machine_qmp_commit_abort(struct machine *m, struct journal *j, size_t i)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct job job;
    char name[32];
    (void)j;
    qmp_job_name(i, name);
    if (order(mq, "job-cancel", name, NULL) == 0 &&
        wait_for(mq, name, "concluded", &job, NULL) == 0 && job.there)
        order(mq, "job-dismiss", name, NULL);
}

int machine_qmp_pivot(struct machine *m, struct journal *j, size_t i, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct job job;
    char name[32];
    (void)j;
    qmp_job_name(i, name);
    int rc = query(mq, name, &job, err);
    if (rc == 0 && is(&job, "pending"))
        rc = order(mq, "job-finalize", name, err);
    if (rc == 0)
        rc = wait_for(mq, name, "concluded", &job, err);
    if (rc < 0)
        return rc;
    if (!job.there || job.error[0] != 0)
        return failed(mq, name, &job, err);
    return order(mq, "job-dismiss", name, err);
}

int machine_qmp_dismiss(struct machine *m, size_t i, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct job job;
    char name[32];
    qmp_job_name(i, name);
    int rc = query(mq, name, &job, err);
    return rc == 0 && is(&job, "concluded") ? order(mq, "job-dismiss", name, err) : rc;
}

/* ---- by hand ---- */

/* What means something in an address of socat has a backslash before it. */
static char *socat_address(const char *socket)
{
    static const char start[] = "UNIX-CONNECT:";
    char *address = malloc(sizeof start + 2 * strlen(socket)), *word = NULL;
    if (address == NULL)
        return NULL;
    char *to = stpcpy(address, start);
    for (; *socket != 0; socket++) {
        if (strchr(":,!\"'\\([{", *socket) != NULL)
            *to++ = '\\';
        *to++ = *socket;
    }
    *to = 0;
    word = words_quote(address);
    free(address);
    return word;
}

void machine_qmp_say(const struct journal *j, void (*say)(void *arg, const char *line), void *arg,
                     json_t *const *commands, size_t count)
{
    char *text = NULL, *line = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (f == NULL)
        return;
    fputs("(printf '%s\\n' '{\"execute\":\"qmp_capabilities\"}'", f);
    for (size_t i = 0; i < count; i++) {
        char *dump = json_dumps(commands[i], JSON_COMPACT | JSON_ENSURE_ASCII);
        char *word = dump != NULL ? words_quote(dump) : NULL;
        fprintf(f, " %s", word != NULL ? word : "");
        free(word);
        free(dump);
    }
    /* QEMU drops what it has not done yet of a client that hangs up */
    char *address = socat_address(j->socket);
    fprintf(f, "; sleep 1) | socat -t 0 - %s", address != NULL ? address : "");
    free(address);
    fclose(f);
    line = text;
    if (line != NULL)
        say(arg, line);
    free(text);
}

void machine_commands_qmp(const struct journal *j, size_t i, enum machine_where where,
                          void (*say)(void *arg, const char *line), void *arg)
{
    const struct journal_disk *d = &j->disks[i];
    char name[32];
    if (d->mode == JOURNAL_CONTENT) {
        machine_qmp_fleece_commands(j, i, where, say, arg);
        return;
    }
    qmp_job_name(i, name);
    json_t *begin = json_pack("{s:s, s:{s:s, s:s, s:s, s:s}}", "execute", "block-commit",
                              "arguments", "job-id", name, "device", d->overlay_node, "top-node",
                              d->overlay_node, "base-node", d->node);
    json_t *ask = json_pack("{s:s}", "execute", "query-jobs");
    json_t *complete =
        json_pack("{s:s, s:{s:s}}", "execute", "job-complete", "arguments", "id", name);
    json_t *finalize =
        json_pack("{s:s, s:{s:s}}", "execute", "job-finalize", "arguments", "id", name);
    json_t *dismiss =
        json_pack("{s:s, s:{s:s}}", "execute", "job-dismiss", "arguments", "id", name);
    json_t *del = json_pack("{s:s, s:{s:s}}", "execute", "blockdev-del", "arguments", "node-name",
                            d->overlay_node);
    if (where == MACHINE_ON_OVERLAY)
        machine_qmp_say(j, say, arg, (json_t *[]){begin, ask}, 2);
    if (where == MACHINE_ON_OVERLAY || where == MACHINE_COMMITTING)
        machine_qmp_say(j, say, arg, (json_t *[]){complete, ask}, 2);
    if (where == MACHINE_COMMITTING)
        machine_qmp_say(j, say, arg, (json_t *[]){finalize, dismiss, ask}, 3);
    if (where != MACHINE_ON_BASE && where != MACHINE_ELSEWHERE)
        machine_qmp_say(j, say, arg, (json_t *[]){del}, 1);
    json_decref(begin);
    json_decref(ask);
    json_decref(complete);
    json_decref(finalize);
    json_decref(dismiss);
    json_decref(del);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine behind a QMP socket: who it is, where its disks are now, what goes
 * wrong there, and its guest agent. Switching and committing are in the files
 * beside this one.
 */
#include "live/machine_qmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A machine that switches or pivots flushes its disks, which may have a lot to write. */
enum { AGENT_SECONDS = 8, FREEZE_SECONDS = 15, GREETING_SECONDS = 5, COMMAND_SECONDS = 120 };

void qmp_job_name(size_t i, char name[32])
{
    snprintf(name, 32, "byre-live-%zu", i);
}

/* ---- where a disk is ---- */

static void copy_name(char to[64], const char *name)
{
    snprintf(to, 64, "%s", name);
}

/* The node of the overlay: by the name that byre gave it, else by its file. */
static size_t find_overlay(const struct graph *g, const struct journal_disk *d)
{
    for (size_t i = 0; i < g->node_count; i++) {
        size_t file = graph_child(g, i, "file");
        if (strcmp(g->nodes[i].driver, "qcow2") == 0 && file != GRAPH_NONE &&
            strcmp(g->nodes[file].file, d->overlay) == 0)
            return i;
    }
    return GRAPH_NONE;
}

/* Whether it can write there. */
static bool has_base(const struct graph *g, const struct journal_disk *d)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const struct graph_node *n = &g->nodes[i];
        if (n->is_block && !n->read_only &&
            (strcmp(n->name, d->node) == 0 || strcmp(n->file, d->base) == 0))
            return true;
    }
    return false;
}

static enum machine_where where_is(const struct graph *g, const struct journal *j, size_t i,
                                   size_t overlay)
{
    const struct journal_disk *d = &j->disks[i];
    bool used = false, job = false;
    if (overlay == GRAPH_NONE)
        return has_base(g, d) ? MACHINE_ON_BASE : MACHINE_ELSEWHERE;
    for (size_t n = 0; graph_parent(g, overlay, n) != GRAPH_NONE; n++) {
        const struct graph_node *p = &g->nodes[graph_parent(g, overlay, n)];
        job |= p->is_job || strcmp(p->driver, "commit_top") == 0 ||
               strcmp(p->driver, "mirror_top") == 0;
        used |= !p->is_job;
    }
    if (job)
        return MACHINE_COMMITTING;
    /* a disk that nobody uses has an overlay that nobody uses */
    if (graph_child(g, overlay, "backing") == GRAPH_NONE || (!used && d->step >= JOURNAL_COMPLETE))
        return MACHINE_KNOWS;
    return used || graph_parent(g, graph_child(g, overlay, "backing"), 1) == GRAPH_NONE
               ? MACHINE_ON_OVERLAY
               : MACHINE_KNOWS;
}

int qmp_place_find(struct machine *m, const struct journal *j, size_t i, struct qmp_place *place,
                   struct error *err)
{
    struct graph g = {0};
    *place = (struct qmp_place){.where = MACHINE_ELSEWHERE};
    int rc = graph_read(&g, QMP_OF(m)->q, err);
    if (rc == 0) {
        size_t overlay = find_overlay(&g, &j->disks[i]);
        place->where = where_is(&g, j, i, overlay);
        copy_name(place->base, j->disks[i].node);
        if (overlay != GRAPH_NONE) {
            size_t base = graph_child(&g, overlay, "backing");
            copy_name(place->overlay, g.nodes[overlay].name);
            copy_name(place->root, g.nodes[graph_root(&g, overlay)].name);
            if (base != GRAPH_NONE)
                copy_name(place->base, g.nodes[base].name);
        }
    }
    graph_clear(&g);
    return rc;
}

static int look(struct machine *m, struct journal *j, size_t i, enum machine_where *where,
                struct error *err)
{
    struct qmp_place place;
    if (j->disks[i].mode == JOURNAL_CONTENT)
        return machine_qmp_fleece_look(m, j, i, where, err);
    int rc = qmp_place_find(m, j, i, &place, err);
    *where = place.where;
    return rc;
}

/* ---- what goes wrong ---- */

static char *describe_trouble(const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "event"));
    const json_t *data = json_object_get(event, "data");
    const char *node = json_string_value(json_object_get(data, "node-name"));
    const char *reason = json_string_value(json_object_get(data, "reason"));
    char *text = NULL;
    if (name == NULL || strcmp(name, "BLOCK_IO_ERROR") != 0)
        return machine_qmp_fleece_trouble(event);
    if (asprintf(&text, "the machine had an I/O error on %s: %s", node != NULL ? node : "a disk",
                 json_is_true(json_object_get(data, "nospace")) ? "no space left"
                 : reason != NULL                               ? reason
                                                                : "it does not say why") < 0)
        return NULL;
    return text;
}

static int watch(struct machine *m, struct journal *j, int milliseconds, char **trouble, bool *gone,
                 struct error *err)
{
    struct qmp *q = QMP_OF(m)->q;
    json_t *event = NULL;
    (void)j;
    *trouble = NULL;
    int rc = qmp_next_event(q, milliseconds, &event, err);
    *gone = qmp_is_gone(q);
    if (rc == 0 && event != NULL)
        *trouble = describe_trouble(event);
    json_decref(event);
    return *gone ? 0 : rc;
}

static void resume(struct machine *m)
{
    json_t *status = NULL;
    if (qmp_call(QMP_OF(m)->q, "query-status", NULL, &status, NULL) < 0)
        return;
    const char *text = json_string_value(json_object_get(status, "status"));
    if (text != NULL && strcmp(text, "io-error") == 0)
        qmp_call(QMP_OF(m)->q, "cont", NULL, NULL, NULL);
    json_decref(status);
}

/* ---- the guest agent ---- */

static int agent_begin(struct machine *m, const struct live_options *o, struct journal *j,
                       struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    char *path = o->agent != NULL ? realpath(o->agent, NULL) : NULL;
    int rc = 0;
    if (o->agent != NULL && path == NULL)
        return error_sys(err, errno, "%s", o->agent);
    if (path == NULL)
        rc = agent_find(mq->q, &path, err);
    if (rc == 0 && path[0] != '/')
        rc = error_set(err, ERROR_UNSUPPORTED,
                       "the guest agent's socket has the relative name %s: give it by --agent",
                       path);
    if (rc == 0)
        rc = agent_open(&mq->agent, path, AGENT_SECONDS, err);
    if (rc < 0) {
        free(path);
        return rc;
    }
    free(j->agent);
    j->agent = path;
    return 0;
}

static size_t agent_descriptors(const struct machine *m, int fds[4])
{
    fds[0] = agent_fd(((const struct machine_qmp *)m)->agent);
    return 1;
}

static int freeze(struct machine *m, struct error *err)
{
    return agent_freeze(QMP_OF(m)->agent, FREEZE_SECONDS, err);
}

static int thaw(struct machine *m, struct error *err)
{
    return agent_thaw(QMP_OF(m)->agent, AGENT_SECONDS, err);
}

static void agent_end(struct machine *m)
{
    agent_close(QMP_OF(m)->agent);
    QMP_OF(m)->agent = NULL;
}

static int thaw_left(struct machine *m, const struct journal *j, struct error *err)
{
    struct agent *a = NULL;
    (void)m;
    if (j->agent == NULL)
        return 0;
    int rc = agent_open(&a, j->agent, AGENT_SECONDS, err);
    if (rc == 0)
        rc = agent_thaw(a, AGENT_SECONDS, err);
    agent_close(a);
    return rc;
}

/* ---- who it is ---- */

static void close_machine(struct machine *m)
{
    struct machine_qmp *mq = QMP_OF(m);
    agent_close(mq->agent);
    qmp_close(mq->q);
    free(mq->socket);
    free(mq);
}

static const struct machine_ops ops = {
    .plan = machine_qmp_plan,
    .prepare = machine_qmp_prepare,
    .unprepare = machine_qmp_unprepare,
    .agent_begin = agent_begin,
    .agent_descriptors = agent_descriptors,
    .freeze = freeze,
    .thaw = thaw,
    .agent_end = agent_end,
    .thaw_left = thaw_left,
    .switch_over = machine_qmp_switch_over,
    .check_bases = machine_qmp_check_bases,
    .commit_begin = machine_qmp_commit_begin,
    .commit_progress = machine_qmp_commit_progress,
    .commit_complete = machine_qmp_commit_complete,
    .commit_abort = machine_qmp_commit_abort,
    .pivot = machine_qmp_pivot,
    .forget = machine_qmp_forget,
    .drop_bitmaps = machine_qmp_drop_bitmaps,
    .fleece_begin = machine_qmp_fleece_begin,
    .fleece_end = machine_qmp_fleece_end,
    .look = look,
    .watch = watch,
    .resume = resume,
    .close = close_machine,
};

int machine_identity_qmp(const struct live_options *o, char **identity, struct error *err)
{
    char *path = realpath(o->qmp, NULL);
    int rc = path == NULL ? error_sys(err, errno, "%s", o->qmp) : 0;
    if (rc == 0 && asprintf(identity, "qmp:%s", path) < 0) {
        *identity = NULL;
        rc = error_no_memory(err);
    }
    free(path);
    return rc;
}

static int connect_to(struct machine **m, const char *path, struct error *err)
{
    struct machine_qmp *mq = calloc(1, sizeof *mq);
    if (mq == NULL)
        return error_no_memory(err);
    mq->machine.ops = &ops;
    mq->machine.kind = JOURNAL_QMP;
    mq->socket = realpath(path, NULL);
    int rc = mq->socket == NULL ? error_sys(err, errno, "%s", path)
                                : qmp_open(&mq->q, mq->socket, GREETING_SECONDS, err);
    if (rc < 0) {
        close_machine(&mq->machine);
        return rc;
    }
    qmp_be_patient(mq->q, COMMAND_SECONDS);
    mq->pid = qmp_peer(mq->q);
    *m = &mq->machine;
    return 0;
}

int machine_connect_qmp(struct machine **m, const struct live_options *o, struct error *err)
{
    return connect_to(m, o->qmp, err);
}

int machine_describe_qmp(struct machine *m, struct journal *j, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    json_t *name = NULL;
    int rc = qmp_call(mq->q, "query-name", NULL, &name, err);
    if (rc < 0 && rc != ERROR_UNSUPPORTED)
        return rc;
    const char *text = json_string_value(json_object_get(name, "name"));
    j->kind = JOURNAL_QMP;
    j->socket = strdup(mq->socket);
    j->name = text != NULL && text[0] != 0 ? strdup(text) : NULL;
    bool whole = j->socket != NULL && (text == NULL || text[0] == 0 || j->name != NULL);
    json_decref(name);
    j->machine = mq->pid;
    j->machine_since = mq->pid > 0 ? journal_process_since(mq->pid) : 0;
    journal_boot_id(j->boot_id);
    return whole ? 0 : error_no_memory(err);
}

static bool is_alive(const struct journal *j)
{
    char boot_id[40];
    journal_boot_id(boot_id);
    return j->machine > 0 && j->machine_since != 0 && strcmp(boot_id, j->boot_id) == 0 &&
           journal_process_since(j->machine) == j->machine_since;
}

int machine_find_qmp(struct machine **m, const struct journal *j, struct error *err)
{
    int rc = connect_to(m, j->socket, err);
    if (rc == ERROR_NOT_FOUND && is_alive(j))
        return error_set(err, ERROR_IN_USE,
                         "process %ld of the machine is alive, but nobody answers at %s",
                         (long)j->machine, j->socket);
    if (rc == 0)
        (*m)->same = is_alive(j) && QMP_OF(*m)->pid == j->machine;
    return rc;
}

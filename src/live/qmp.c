/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The words of QMP: greeting, commands with an id, their replies, and a queue of
 * events. It knows no command but the one that ends the greeting.
 */
#include "live/qmp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/wire.h"

enum {
    MESSAGE_LIMIT = 16 << 20, /* bytes */
    OTHER_EVENTS = 256,       /* so many are kept of those that may be dropped */
    ALL_EVENTS = 65536,
};

struct qmp {
    struct wire *wire;
    int64_t patience; /* milliseconds */
    uint64_t calls;
    json_t *events; /* an array, the oldest first */
    size_t others;  /* how many of those may be dropped */
};

static bool must_be_kept(const char *event)
{
    static const char *const names[] = {"STOP", "RESUME", "SHUTDOWN", "RESET", "GUEST_PANICKED"};
    if (strncmp(event, "JOB_", 4) == 0 || strncmp(event, "BLOCK_", 6) == 0)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(event, names[i]) == 0)
            return true;
    return false;
}

static const char *event_name(const json_t *message)
{
    return json_string_value(json_object_get(message, "event"));
}

/* Takes ${event} over. */
static int queue_event(struct qmp *q, json_t *event, struct error *err)
{
    bool keep = must_be_kept(event_name(event));
    if (!keep && q->others >= OTHER_EVENTS) {
        json_decref(event);
        return 0;
    }
    if (json_array_size(q->events) >= ALL_EVENTS) {
        json_decref(event);
        return error_set(err, ERROR_CORRUPT, "%s: more than %d events came at once",
                         wire_path(q->wire), ALL_EVENTS);
    }
    if (json_array_append_new(q->events, event) < 0)
        return error_no_memory(err);
    if (!keep)
        q->others++;
    return 0;
}

static int refused(const char *command, const json_t *problem, struct error *err)
{
    const char *class = json_string_value(json_object_get(problem, "class"));
    const char *text = json_string_value(json_object_get(problem, "desc"));
    int code = ERROR_IO;
    if (class != NULL && strcmp(class, "CommandNotFound") == 0)
        code = ERROR_UNSUPPORTED;
    else if (class != NULL && strcmp(class, "DeviceNotFound") == 0)
        code = ERROR_NOT_FOUND;
    return error_set(err, code, "QEMU refuses %s: %s", command,
                     text != NULL ? text : "it does not say why");
}

/* The reply whose id is ${id}; events before it are queued, other replies passed over. */
static int await_reply(struct qmp *q, const char *command, const char *id, json_t **reply,
                       struct error *err)
{
    int64_t deadline = wire_clock() + q->patience;
    do {
        int rc = wire_receive(q->wire, deadline, reply, err);
        if (rc < 0)
            return rc;
        if (*reply == NULL)
            break;
        const char *its = json_string_value(json_object_get(*reply, "id"));
        if (event_name(*reply) != NULL) {
            rc = queue_event(q, *reply, err);
            if (rc < 0)
                return rc;
        } else if (its != NULL && strcmp(its, id) == 0) {
            return 0;
        } else {
            json_decref(*reply);
        }
        *reply = NULL;
    } while (wire_clock() < deadline);
    return error_set(err, ERROR_IO, "%s: no reply to %s within %" PRIi64 " s", wire_path(q->wire),
                     command, q->patience / 1000);
}

/* Takes ${arguments} over. */
static int send_command(struct qmp *q, const char *command, json_t *arguments, const char *id,
                        struct error *err)
{
    json_t *request =
        json_pack("{s:s, s:o*, s:s}", "execute", command, "arguments", arguments, "id", id);
    int rc = request == NULL ? error_no_memory(err)
                             : wire_send(q->wire, request, wire_clock() + q->patience, err);
    json_decref(request);
    return rc;
}

int qmp_call(struct qmp *q, const char *command, json_t *arguments, json_t **result,
             struct error *err)
{
    json_t *reply = NULL;
    char id[32];
    if (result != NULL)
        *result = NULL;
    snprintf(id, sizeof id, "byre-%" PRIu64, ++q->calls);
    int rc = send_command(q, command, arguments, id, err);
    if (rc == 0)
        rc = await_reply(q, command, id, &reply, err);
    if (rc < 0)
        return rc;
    const json_t *problem = json_object_get(reply, "error");
    json_t *value = json_object_get(reply, "return");
    if (problem != NULL)
        rc = refused(command, problem, err);
    else if (value == NULL)
        rc = error_set(err, ERROR_CORRUPT, "%s: a reply to %s without a result", wire_path(q->wire),
                       command);
    else if (result != NULL)
        *result = json_incref(value);
    json_decref(reply);
    return rc;
}

int qmp_next_event(struct qmp *q, int timeout_ms, json_t **event, struct error *err)
{
    int64_t deadline = wire_clock() + timeout_ms;
    *event = NULL;
    while (json_array_size(q->events) == 0) {
        json_t *message = NULL;
        int rc = wire_receive(q->wire, deadline, &message, err);
        if (rc < 0 || message == NULL)
            return rc;
        if (event_name(message) != NULL) {
            rc = queue_event(q, message, err);
            if (rc < 0)
                return rc;
        } else {
            json_decref(message);
            if (wire_clock() >= deadline)
                return 0;
        }
    }
    *event = json_incref(json_array_get(q->events, 0));
    json_array_remove(q->events, 0);
    if (!must_be_kept(event_name(*event)))
        q->others--;
    return 0;
}

bool qmp_is_gone(const struct qmp *q)
{
    return wire_is_gone(q->wire);
}

void qmp_be_patient(struct qmp *q, unsigned seconds)
{
    q->patience = seconds * 1000LL;
}

pid_t qmp_peer(const struct qmp *q)
{
    return wire_peer(q->wire);
}

int qmp_fd(const struct qmp *q)
{
    return wire_fd(q->wire);
}

static int greet(struct qmp *q, struct error *err)
{
    json_t *greeting = NULL;
    int rc = wire_receive(q->wire, wire_clock() + q->patience, &greeting, err);
    if (rc == ERROR_CORRUPT)
        return error_set(err, ERROR_UNSUPPORTED, "%s: what answers there does not speak QMP",
                         wire_path(q->wire));
    if (rc < 0)
        return rc;
    if (greeting == NULL)
        return error_set(err, ERROR_IN_USE,
                         "%s: no greeting within %" PRIi64 " s: another client holds the socket",
                         wire_path(q->wire), q->patience / 1000);
    bool is_qmp = json_is_object(json_object_get(greeting, "QMP"));
    json_decref(greeting);
    if (!is_qmp)
        return error_set(err, ERROR_UNSUPPORTED, "%s: what answers there does not speak QMP",
                         wire_path(q->wire));
    return qmp_call(q, "qmp_capabilities", NULL, NULL, err);
}

int qmp_open(struct qmp **out, const char *path, unsigned seconds, struct error *err)
{
    struct qmp *q = calloc(1, sizeof *q);
    int rc = 0;
    *out = NULL;
    if (q == NULL)
        return error_no_memory(err);
    q->patience = seconds * 1000LL;
    q->events = json_array();
    if (q->events == NULL)
        rc = error_no_memory(err);
    if (rc == 0)
        rc = wire_open(&q->wire, path, MESSAGE_LIMIT, wire_clock() + q->patience, err);
    if (rc == 0)
        rc = greet(q, err);
    if (rc < 0)
        qmp_close(q);
    else
        *out = q;
    return rc;
}

void qmp_close(struct qmp *q)
{
    if (q == NULL)
        return;
    wire_close(q->wire);
    json_decref(q->events);
    free(q);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The few words of the guest agent that byre needs. Nothing on the way says
 * where a message begins: what others have left there is passed over by the
 * agent's own means, guest-sync-delimited.
 */
#include "live/agent.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "live/wire.h"

enum {
    MESSAGE_LIMIT = 65536, /* bytes; its sender is a guest */
    MARK = 0xff,           /* before a reply to guest-sync-delimited */
};

struct agent {
    struct wire *wire;
    bool synced; /* nothing that is on its way would be taken for the next reply */
};

static int out_of_time(const struct agent *a, const char *command, struct error *err)
{
    return error_set(err, ERROR_IO, "%s: the guest agent has not answered %s in time",
                     wire_path(a->wire), command);
}

static int send_sync(struct agent *a, json_int_t id, int64_t deadline, struct error *err)
{
    json_t *sync =
        json_pack("{s:s, s:{s:I}}", "execute", "guest-sync-delimited", "arguments", "id", id);
    int rc =
        sync == NULL ? error_no_memory(err) : wire_send_marked(a->wire, MARK, sync, deadline, err);
    json_decref(sync);
    return rc;
}

/* Passes over all that stands before the reply with ${id}, and over that. */
static int await_sync(struct agent *a, json_int_t id, int64_t deadline, struct error *err)
{
    do {
        json_t *reply = NULL;
        int rc = wire_receive_marked(a->wire, MARK, deadline, &reply, err);
        if (rc < 0 && (rc != ERROR_CORRUPT || wire_is_gone(a->wire)))
            return rc;
        const json_t *echo = json_object_get(reply, "return");
        bool ours = json_is_integer(echo) && json_integer_value(echo) == id;
        json_decref(reply);
        if (ours) {
            a->synced = true;
            return 0;
        }
    } while (wire_clock() < deadline);
    return out_of_time(a, "guest-sync-delimited", err);
}

static json_int_t make_id(void)
{
    uint32_t id = 0;
    if (getrandom(&id, sizeof id, GRND_NONBLOCK) < 0)
        id = (uint32_t)wire_clock();
    return id >> 1;
}

static int send_command(struct agent *a, const char *command, int64_t deadline, struct error *err)
{
    json_t *request = json_pack("{s:s}", "execute", command);
    int rc = request == NULL ? error_no_memory(err) : wire_send(a->wire, request, deadline, err);
    json_decref(request);
    return rc;
}

static int await_reply(struct agent *a, const char *command, int64_t deadline, json_t **result,
                       struct error *err)
{
    json_t *reply = NULL;
    a->synced = false;
    int rc = wire_receive(a->wire, deadline, &reply, err);
    if (rc < 0)
        return rc;
    if (reply == NULL)
        return out_of_time(a, command, err);
    a->synced = true;
    json_t *value = json_object_get(reply, "return");
    const char *why = json_string_value(json_object_get(json_object_get(reply, "error"), "desc"));
    if (value == NULL)
        rc = error_set(err, ERROR_IO, "the guest agent refuses %s: %.256s", command,
                       why != NULL ? why : "it does not say why");
    else
        *result = json_incref(value);
    json_decref(reply);
    return rc;
}

/* Sends ${command}, behind a sync where one is needed or ${sync} says so, and sets ${*result} to
 * what it returns. Both are sent before anything is waited for: ${command} is on its way even to
 * an agent that is busy. */
static int call(struct agent *a, const char *command, bool sync, unsigned seconds, json_t **result,
                struct error *err)
{
    int64_t deadline = wire_clock() + seconds * 1000LL;
    json_int_t id = make_id();
    int rc = 0;
    *result = NULL;
    sync = sync || !a->synced;
    if (sync)
        rc = send_sync(a, id, deadline, err);
    if (rc == 0)
        rc = send_command(a, command, deadline, err);
    if (rc == 0 && sync) {
        a->synced = false;
        rc = await_sync(a, id, deadline, err);
    }
    return rc == 0 ? await_reply(a, command, deadline, result, err) : rc;
}

int agent_freeze(struct agent *a, unsigned seconds, struct error *err)
{
    json_t *count = NULL;
    int rc = call(a, "guest-fsfreeze-freeze", false, seconds, &count, err);
    json_decref(count);
    return rc;
}

int agent_thaw(struct agent *a, unsigned seconds, struct error *err)
{
    json_t *count = NULL;
    int rc = call(a, "guest-fsfreeze-thaw", true, seconds, &count, err);
    json_decref(count);
    return rc;
}

int agent_fd(const struct agent *a)
{
    return wire_fd(a->wire);
}

int agent_open(struct agent **out, const char *path, unsigned seconds, struct error *err)
{
    int64_t deadline = wire_clock() + seconds * 1000LL;
    json_int_t id = make_id();
    *out = NULL;
    struct agent *a = calloc(1, sizeof *a);
    if (a == NULL)
        return error_no_memory(err);
    int rc = wire_open(&a->wire, path, MESSAGE_LIMIT, deadline, err);
    if (rc == 0)
        rc = send_sync(a, id, deadline, err);
    if (rc == 0)
        rc = await_sync(a, id, deadline, err);
    if (rc == ERROR_IO)
        rc = error_set(err, ERROR_NOT_FOUND,
                       "%s: no guest agent answers within %u s: none runs in the guest, or another "
                       "client holds the socket",
                       path, seconds);
    if (rc < 0)
        agent_close(a);
    else
        *out = a;
    return rc;
}

void agent_close(struct agent *a)
{
    if (a == NULL)
        return;
    wire_close(a->wire);
    free(a);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds the socket of a machine's guest agent: the channel of that name among
 * QEMU's devices, and the character device behind it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/agent.h"

static const char CHANNEL[] = "org.qemu.guest_agent.0";

/* Sets ${*value}, for the caller to free, to a property that is a text; NULL: it is not. */
static int get_text(struct qmp *q, const char *path, const char *property, char **value,
                    struct error *err)
{
    json_t *result = NULL;
    *value = NULL;
    int rc = qmp_call(q, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", property),
                      &result, err);
    if (rc == 0 && json_is_string(result)) {
        *value = strdup(json_string_value(result));
        if (*value == NULL)
            rc = error_no_memory(err);
    }
    json_decref(result);
    return rc;
}

/* Sets ${*label} to the character device of the port ${path}, where that is the agent's channel. */
static int look_at_port(struct qmp *q, const char *path, char **label, struct error *err)
{
    char *name = NULL;
    int rc = get_text(q, path, "name", &name, err);
    if (rc == 0 && name != NULL && strcmp(name, CHANNEL) == 0)
        rc = get_text(q, path, "chardev", label, err);
    free(name);
    return rc;
}

/* Looks at the ports in the folder ${folder} of QEMU's objects, until ${*label} is found. */
static int look_in(struct qmp *q, const char *folder, char **label, struct error *err)
{
    json_t *list = NULL;
    const json_t *object;
    size_t i;
    int rc = qmp_call(q, "qom-list", json_pack("{s:s}", "path", folder), &list, err);
    json_array_foreach (list, i, object) {
        const char *type = json_string_value(json_object_get(object, "type"));
        const char *name = json_string_value(json_object_get(object, "name"));
        char path[512];
        if (rc < 0 || *label != NULL)
            break;
        if (type == NULL || name == NULL || strcmp(type, "child<virtserialport>") != 0 ||
            strlen(name) > 256)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, name);
        rc = look_at_port(q, path, label, err);
    }
    json_decref(list);
    return rc;
}

/* The socket in what QEMU says of a character device, say "disconnected:unix:/run/ga,server=on";
 * ${relative_to} is QEMU. NULL with ${*rc} 0: it is no socket. */
static char *socket_of(const char *text, pid_t relative_to, int *rc, struct error *err)
{
    static const char away[] = "disconnected:", unix_socket[] = "unix:", server[] = ",server";
    char *path = NULL;
    if (strncmp(text, away, strlen(away)) == 0)
        text += strlen(away);
    if (strncmp(text, unix_socket, strlen(unix_socket)) != 0)
        return NULL;
    text += strlen(unix_socket);
    size_t len = strlen(text);
    for (const char *at = strstr(text, server); at != NULL; at = strstr(at + 1, server))
        len = (size_t)(at - text);
    int n = *text == '/' ? asprintf(&path, "%.*s", (int)len, text)
                         : asprintf(&path, "/proc/%ld/cwd/%.*s", (long)relative_to, (int)len, text);
    if (n >= 0)
        return path;
    *rc = error_no_memory(err);
    return NULL;
}

/* Sets ${*path} to the socket of the character device ${label}; NULL: it has none. */
static int find_socket(struct qmp *q, const char *label, char **path, struct error *err)
{
    json_t *list = NULL;
    const json_t *chardev;
    size_t i;
    int rc = qmp_call(q, "query-chardev", NULL, &list, err);
    json_array_foreach (list, i, chardev) {
        const char *its = json_string_value(json_object_get(chardev, "label"));
        const char *text = json_string_value(json_object_get(chardev, "filename"));
        if (rc == 0 && its != NULL && text != NULL && strcmp(its, label) == 0 && *path == NULL)
            *path = socket_of(text, qmp_peer(q), &rc, err);
    }
    json_decref(list);
    return rc;
}

int agent_find(struct qmp *q, char **path, struct error *err)
{
    static const char *const folders[] = {"/machine/peripheral", "/machine/peripheral-anon"};
    char *label = NULL;
    int rc = 0;
    *path = NULL;
    for (size_t i = 0; rc == 0 && label == NULL && i < sizeof folders / sizeof folders[0]; i++)
        rc = look_in(q, folders[i], &label, err);
    if (rc == 0 && label != NULL)
        rc = find_socket(q, label, path, err);
    if (rc == 0 && label == NULL)
        rc = error_set(err, ERROR_NOT_FOUND,
                       "the machine has no channel of a guest agent (a virtserialport named %s)",
                       CHANNEL);
    else if (rc == 0 && *path == NULL)
        rc = error_set(err, ERROR_NOT_FOUND,
                       "the guest agent's channel (chardev %s) is no unix socket", label);
    free(label);
    return rc;
}

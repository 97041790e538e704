/* SPDX-License-Identifier: BSD-2-Clause */
/* The places of the XDG base directory specification, with the machine's own ones for root. */
#include "cli/directories.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ${base}${rest} into ${*path}. */
static int join(const char *base, const char *rest, char **path, struct error *err)
{
    if (asprintf(path, "%s%s", base, rest) < 0) {
        *path = NULL;
        return error_no_memory(err);
    }
    return 0;
}

/* The value of the variable ${name}; NULL where it is unset or empty. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* As before, only an absolute path: the specification tells to ignore others. */
static const char *absolute(const char *name)
{
    const char *value = variable(name);

    return value && *value == '/' ? value : NULL;
}

int directories_cache(const char *option, char **path, struct error *err)
{
    const char *base;

    *path = NULL;
    if (option || (option = variable("BYRE_CACHE_DIR")) != NULL)
        return join(option, "", path, err);
    base = absolute("XDG_CACHE_HOME");
    if (base)
        return join(base, "/byre", path, err);
    base = absolute("HOME");
    if (base)
        return join(base, "/.cache/byre", path, err);
    return join("/var/cache/byre", "", path, err);
}

int directories_state(const char *option, char **path, struct error *err)
{
    const char *base;

    *path = NULL;
    if (option || (option = variable("BYRE_STATE_DIR")) != NULL)
        return join(option, "", path, err);
    if (geteuid() == 0)
        return join("/var/lib/byre", "", path, err);
    base = absolute("XDG_STATE_HOME");
    if (base)
        return join(base, "/byre", path, err);
    base = absolute("HOME");
    return base ? join(base, "/.local/state/byre", path, err) : 0;
}

/* Keeps ${*path} where it is a file that this process may read; else frees it. */
static void keep_readable(char **path)
{
    if (*path && access(*path, R_OK)) {
        free(*path);
        *path = NULL;
    }
}

int directories_config(const char *option, char **path, struct error *err)
{
    const char *base;
    int rc;

    *path = NULL;
    if (option || (option = variable("BYRE_CONFIG")) != NULL)
        return join(option, "", path, err);
    rc = join("/etc/byre/byre.conf", "", path, err);
    keep_readable(path);
    if (rc || *path)
        return rc;
    base = absolute("XDG_CONFIG_HOME");
    if (base) {
        rc = join(base, "/byre/byre.conf", path, err);
    } else {
        base = absolute("HOME");
        rc = base ? join(base, "/.config/byre/byre.conf", path, err) : 0;
    }
    keep_readable(path);
    return rc;
}

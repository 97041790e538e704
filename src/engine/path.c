/* SPDX-License-Identifier: BSD-2-Clause */
/* Lexical work on paths: where layers are placed, and what they call each other from there. */
#include "engine/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *path_join(const char *a, const char *b)
{
    char *out = NULL;
    size_t n = strlen(a);
    const char *slash = n > 0 && a[n - 1] == '/' ? "" : "/";
    return asprintf(&out, "%s%s%s", a, slash, b) < 0 ? NULL : out;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

char *path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Cuts the last component off "/a/b" or "a/b"; false where there is none. */
static bool pop(char *path)
{
    char *slash = strrchr(path, '/');
    if (*path == 0)
        return false;
    *(slash != NULL ? slash : path) = 0;
    return true;
}

char *path_normalize(const char *absolute)
{
    char *out = malloc(strlen(absolute) + 2);
    if (out == NULL)
        return NULL;
    size_t n = 0;
    out[0] = 0;
    for (const char *p = absolute; *p != 0;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            pop(out);
            n = strlen(out);
        } else if (len > 0 && !(len == 1 && p[0] == '.')) {
            out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
            out[n] = 0;
        }
        p += len;
        p += *p == '/';
    }
    if (n == 0)
        strcpy(out, "/");
    return out;
}

bool path_is_inside(const char *relative)
{
    if (*relative == 0 || *relative == '/')
        return false;
    for (const char *p = relative;;) {
        size_t len = strcspn(p, "/");
        if (len == 0 || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += len;
        if (*p == 0)
            return true;
        p++;
    }
}

char *path_common_folder(const char *const *paths, size_t n)
{
    char *common = n > 0 ? path_folder(paths[0]) : strdup("/");
    for (size_t i = 1; common != NULL && i < n; i++) {
        for (;;) {
            size_t len = strlen(common);
            if (len <= 1 || (strncmp(paths[i], common, len) == 0 && paths[i][len] == '/'))
                break;
            pop(common);
        }
        if (*common == 0)
            strcpy(common, "/");
    }
    return common;
}

bool path_is_protocol(const char *name)
{
    return name[strcspn(name, ":/")] == ':';
}

char *path_between(const char *from, const char *to)
{
    size_t shared = 0;
    for (size_t i = 0; from[i] != 0 && from[i] == to[i]; i++)
        if (from[i] == '/')
            shared = i + 1;
    size_t ups = 0;
    for (const char *p = from + shared; *p != 0; p++)
        ups += *p == '/';
    char *out = malloc(3 * ups + strlen(to + shared) + 1);
    if (out == NULL)
        return NULL;
    out[0] = 0;
    for (size_t i = 0; i < ups; i++)
        memcpy(out + 3 * i, "../", 4);
    strcpy(out + 3 * ups, to + shared);
    return out;
}

static bool is_folder_of_some(const char *folder, const char *const *placed, size_t n)
{
    size_t len = strlen(folder);
    for (size_t i = 0; i < n; i++)
        if (strncmp(placed[i], folder, len) == 0 && placed[i][len] == '/')
            return true;
    return false;
}

bool path_leads_to(const char *from, const char *string, const char *to, const char *const *placed,
                   size_t n)
{
    if (*string == '/' || *string == 0 || path_is_protocol(string))
        return false;
    char *at = malloc(strlen(from) + strlen(string) + 2);
    if (at == NULL)
        return false;
    bool good = true;
    strcpy(at, from);
    if (!pop(at))
        *at = 0;
    for (const char *p = string; good && *p != 0;) {
        size_t len = strcspn(p, "/");
        bool last = p[len] == 0;
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            good = pop(at) && !last;
        } else if (len > 0 && !(len == 1 && p[0] == '.')) {
            size_t used = strlen(at);
            if (used > 0)
                at[used++] = '/';
            memcpy(at + used, p, len);
            at[used + len] = 0;
            good = last || is_folder_of_some(at, placed, n);
        } else {
            good = !last;
        }
        p += len;
        p += *p == '/';
    }
    good = good && strcmp(at, to) == 0;
    free(at);
    return good;
}

bool path_ends_with(const char *path, const char *tail)
{
    size_t n = strlen(path), k = strlen(tail);
    if (k == 0 || k > n || strcmp(path + n - k, tail) != 0)
        return false;
    return k == n || path[n - k - 1] == '/' || tail[0] == '/';
}

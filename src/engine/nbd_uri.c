/* SPDX-License-Identifier: BSD-2-Clause */
/* What an image is called that is an export of an NBD server. Connects to nothing. */
#include "engine/nbd_uri.h"

#include <stddef.h>
#include <string.h>

enum { NAME_MAX_BYTES = 200 };

bool nbd_uri_is(const char *name)
{
    static const char *const schemes[] = {"nbd://", "nbds://", "nbd+unix://", "nbds+unix://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncmp(name, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

char *nbd_uri_file_name(const char *uri)
{
    size_t end = strcspn(uri, "?#");
    while (end > 0 && uri[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && uri[begin - 1] != '/')
        begin--;
    /* what is left of nbd+unix:///?socket=... is its scheme */
    if (end == begin || uri[end - 1] == ':' || uri[begin] == '.')
        return strdup("nbd");
    char *name = strndup(uri + begin, end - begin < NAME_MAX_BYTES ? end - begin : NAME_MAX_BYTES);
    for (char *c = name; c != NULL && *c != 0; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '_';
    return name;
}

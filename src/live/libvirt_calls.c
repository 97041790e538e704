/* SPDX-License-Identifier: BSD-2-Clause */
/* Finds libvirt's library, and its functions in there. It stays until byre ends. */
#include "live/libvirt_calls.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

struct libvirt_calls vir;

static bool loaded;
static char reason[256];

/* POSIX: a function is had by way of the object that its address is kept in. */
static bool find(void *library, const char *symbol, void *call)
{
    void **address = call;

    *address = dlsym(library, symbol);
    return *address;
}

static void load(void)
{
    void *library = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);
    bool whole = library;

#define FIND(name) whole = whole && find(library, "vir" #name, &vir.name);
    LIBVIRT_CALLS(FIND)
#undef FIND
    loaded = whole;
    if (!whole)
        snprintf(reason, sizeof reason, "%s", dlerror());
}

int libvirt_load(struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
    return loaded ? 0
                  : error_set(err, ERROR_UNSUPPORTED,
                              "libvirt's library, which Debian has in libvirt0, is not there: %s",
                              reason);
}

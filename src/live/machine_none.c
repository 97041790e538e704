/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands in the place of libvirt where byre was built without it. */
#include "live/machine.h"

static int without(struct error *err)
{
    return error_set(err, ERROR_UNSUPPORTED, "this byre was built without libvirt");
}

int machine_connect_libvirt(struct machine **m, const struct live_options *o, struct error *err)
{
    (void)m;
    (void)o;
    return without(err);
}

int machine_identity_libvirt(const struct live_options *o, char **identity, struct error *err)
{
    (void)o;
    (void)identity;
    return without(err);
}

int machine_describe_libvirt(struct machine *m, struct journal *j, struct error *err)
{
    (void)m;
    (void)j;
    return without(err);
}

int machine_find_libvirt(struct machine **m, const struct journal *j, struct error *err)
{
    (void)m;
    (void)j;
    return without(err);
}

int machine_settle_offline_libvirt(const struct journal *j, size_t i, struct error *err)
{
    (void)j;
    (void)i;
    return without(err);
}

int machine_look_offline_libvirt(const struct journal *j, size_t i, enum machine_where *where,
                                 struct error *err)
{
    (void)j;
    (void)i;
    (void)where;
    return without(err);
}

void machine_commands_libvirt(const struct journal *j, size_t i, enum machine_where where,
                              void (*say)(void *arg, const char *line), void *arg)
{
    (void)j;
    (void)i;
    (void)where;
    (void)say;
    (void)arg;
}

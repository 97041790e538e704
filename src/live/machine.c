/* SPDX-License-Identifier: BSD-2-Clause */
/* Which kind of machine it is: the one place that knows all of them. */
#include "live/machine.h"

#include <stdlib.h>

int machine_connect(struct machine **m, const struct live_options *o, struct error *err)
{
    *m = NULL;
    return o->domain != NULL ? machine_connect_libvirt(m, o, err) : machine_connect_qmp(m, o, err);
}

int machine_identity(const struct live_options *o, char **identity, struct error *err)
{
    *identity = NULL;
    return o->domain != NULL ? machine_identity_libvirt(o, identity, err)
                             : machine_identity_qmp(o, identity, err);
}

int machine_describe(struct machine *m, struct journal *j, struct error *err)
{
    return m->kind == JOURNAL_LIBVIRT ? machine_describe_libvirt(m, j, err)
                                      : machine_describe_qmp(m, j, err);
}

int machine_find(struct machine **m, const struct journal *j, struct error *err)
{
    *m = NULL;
    return j->kind == JOURNAL_LIBVIRT ? machine_find_libvirt(m, j, err)
                                      : machine_find_qmp(m, j, err);
}

int machine_settle_offline(const struct journal *j, size_t i, struct error *err)
{
    return j->kind == JOURNAL_LIBVIRT ? machine_settle_offline_libvirt(j, i, err) : 0;
}

int machine_look_offline(const struct journal *j, size_t i, enum machine_where *where,
                         struct error *err)
{
    *where = MACHINE_ELSEWHERE;
    return j->kind == JOURNAL_LIBVIRT ? machine_look_offline_libvirt(j, i, where, err) : 0;
}

void machine_commands(const struct journal *j, size_t i, enum machine_where where,
                      void (*say)(void *arg, const char *line), void *arg)
{
    if (j->kind == JOURNAL_LIBVIRT)
        machine_commands_libvirt(j, i, where, say, arg);
    else
        machine_commands_qmp(j, i, where, say, arg);
}

void machine_close(struct machine *m)
{
    if (m != NULL)
        m->ops->close(m);
}

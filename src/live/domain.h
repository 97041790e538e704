/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_DOMAIN_H
#define BYRE_LIVE_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "live/domain_xml.h"
#include "live/libvirt_calls.h"
#include "live/machine.h"

/*
 * A domain of libvirt, as one of the machines of machine.h. libvirt is asked for
 * everything, and QEMU never behind its back, so that what it knows stays right.
 */

struct domain {
    struct machine machine; /* the first */
    virConnectPtr connection;
    virDomainPtr handle;
    char *uri;
    char uuid[VIR_UUID_STRING_BUFLEN];
    struct live_listener listener;
    char *inactive; /* its XML of the next start, and that it runs with: before anything was */
    char *active;   /* changed; NULL: not asked for yet, or it does not run */
    bool quiesce;   /* the switch is to be made with the guest's file systems frozen */
};

/* Sets ${err} to the formatted text with what libvirt said last. Returns its code. */
int domain_error(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Connects to ${uri} (NULL: libvirt's default) and looks ${name} up, a name or a UUID. ERROR_USAGE:
 * that is another host, or no QEMU. */
int domain_open(struct domain *d, const char *uri, const char *name, struct error *err);
void domain_close(struct domain *d);

/* The process of QEMU, 0 where it is not found. */
pid_t domain_process(const struct domain *d);

/* What libvirt says of it now, by flags of virDomainGetXMLDesc. ${xml}, zeroed, is to be cleared
 * also on failure. ${text} may be NULL, else ${*text} is for the caller to free. */
int domain_read(struct domain *d, unsigned flags, struct domain_xml *xml, char **text,
                struct error *err);

/* Tells ${message} where somebody listens. */
void domain_note(const struct domain *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- of struct machine_ops ---- */

int domain_plan(struct machine *m, const struct live_options *o, struct journal *j,
                struct error *err);

int domain_prepare(struct machine *m, struct journal *j, struct error *err);
void domain_unprepare(struct machine *m, struct journal *j);
int domain_switch(struct machine *m, struct journal *j, struct error *err);
int domain_forget(struct machine *m, struct journal *j, size_t i, struct error *err);

int domain_commit_begin(struct machine *m, struct journal *j, size_t i, struct error *err);
int domain_commit_progress(struct machine *m, struct journal *j, size_t i, int milliseconds,
                           uint64_t *done, uint64_t *total, bool *ready, struct error *err);
int domain_commit_complete(struct machine *m, struct journal *j, size_t i, bool *pivoted,
                           struct error *err);

int domain_drop_bitmaps(struct machine *m, struct journal *j, size_t i, const char *prefix,
                        const char *keep, size_t *left, struct error *err);

/* Keeps the XML for the side files, before the switch changes it. */
int domain_remember(struct domain *d, struct error *err);
int domain_side_files(struct machine *m, const char *folder, struct error *err);

/* Undefines the secret that opens the overlay ${path}, if there is one. */
void domain_drop_secret(struct domain *d, const char *path);

/* Has libvirt forget the checkpoint ${name}, which nobody but byre made; the bitmap stays. */
void domain_drop_checkpoint(struct domain *d, const char *name);

#endif

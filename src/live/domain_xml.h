/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_DOMAIN_XML_H
#define BYRE_LIVE_DOMAIN_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "live/journal.h"

/*
 * What libvirt's XML of a domain says of its disks, and the XML that asks for
 * snapshots and checkpoints. Pure: no I/O, and nobody is asked.
 */

struct domain_disk { /* strings are owned, NULL where there is nothing */
    char *target;    /* vda: what libvirt names it by */
    char *alias;
    char *device; /* disk, cdrom, floppy, lun */
    char *type;   /* file, block, network, volume, ... */
    char *path;   /* what it writes to, of type file or block */
    char *below;  /* the path of its first backing file, where libvirt tells one */
    char *format; /* qcow2, raw, ... */
    bool readonly;
    bool shareable;
    bool transient;   /* its changes go when the domain stops */
    bool encrypted;   /* QEMU encrypts it */
    bool sliced;      /* it is only a part of the file */
    bool busy;        /* a block job works on it */
    bool busy_commit; /* that writes to a backing file what is above, and is to be ended by a pivot
                       */
    bool busy_ready;  /* and both are alike now */
};

struct domain_xml {
    char *name;
    char *nvram; /* the file with the firmware's variables */
    struct domain_disk *disks;
    size_t count;
};

/* ${xml}, zeroed, is to be cleared also on failure. ERROR_CORRUPT: it is no domain's. */
int domain_xml_read(struct domain_xml *xml, const char *text, struct error *err);
void domain_xml_clear(struct domain_xml *xml);

/* NULL: there is none of that ${target}. */
const struct domain_disk *domain_xml_disk(const struct domain_xml *xml, const char *target);

/* For a snapshot that makes the overlays of ${j}'s disks the active ones, and leaves all other
 * disks of ${xml} alone. ${secrets}: for each disk of ${j} the UUID of the secret that opens its
 * overlay, NULL: it is not encrypted. ${*text}, for the caller to free. */
int domain_xml_snapshot(const struct domain_xml *xml, const struct journal *j, char *const *secrets,
                        char **text, struct error *err);

/* For a checkpoint called ${name}, whose bitmaps have that name, too: of the disks for which
 * ${has(arg, target)} says so. ${domain}: the XML to redefine one with, NULL: a fresh one.
 * ${*text}, for the caller to free. */
int domain_xml_checkpoint(const struct domain_xml *xml, const char *name, const char *domain,
                          bool (*has)(const void *arg, const char *target), const void *arg,
                          char **text, struct error *err);

/* For a secret that QEMU opens the overlay at ${path} with. ${*text}, for the caller to free. */
int domain_xml_secret(const char *path, char **text, struct error *err);

/* ${domain} with the disk ${target}, which writes to the overlay ${disk} tells, made to write to
 * that one's base again. ${*text}, for the caller to free; NULL: it does not write to the overlay.
 */
int domain_xml_lower(const char *domain, const struct journal_disk *disk, char **text,
                     struct error *err);

#endif

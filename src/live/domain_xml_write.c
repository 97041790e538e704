/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes the XML that byre gives to libvirt: for snapshots, checkpoints and secrets, and a domain's
 * own with a disk that is back on its base. */
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>

#include "live/domain_xml.h"
#include "live/domain_xml_internal.h"

/* These return NULL where there is no memory, and take a NULL for that. */

static xmlNode *add(xmlNode *parent, const char *name)
{
    return parent ? xmlNewChild(parent, NULL, (const xmlChar *)name, NULL) : NULL;
}

static xmlNode *add_text(xmlNode *parent, const char *name, const char *text)
{
    return parent ? xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text)
                  : NULL;
}

static xmlNode *set(xmlNode *node, const char *name, const char *value)
{
    return node && xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value) ? node : NULL;
}

static int begin(xmlDoc **doc, xmlNode **root, const char *name, struct error *err)
{
    *doc = xmlNewDoc((const xmlChar *)"1.0");
    *root = *doc ? xmlNewNode(NULL, (const xmlChar *)name) : NULL;
    if (!*root)
        return error_no_memory(err);
    xmlDocSetRootElement(*doc, *root);
    return 0;
}

/* The text of ${doc}, which it frees. */
static int end(xmlDoc *doc, int rc, char **text, struct error *err)
{
    xmlChar *bytes = NULL;
    int len = 0;

    *text = NULL;
    if (!rc) {
        xmlDocDumpMemoryEnc(doc, &bytes, &len, "UTF-8");
        *text = (char *)bytes;
        if (!bytes)
            rc = error_no_memory(err);
    }
    xmlFreeDoc(doc);
    return rc;
}

static const struct journal_disk *find(const struct journal *j, const char *target, size_t *at)
{
    for (*at = 0; *at < j->disk_count; ++*at) {
        if (strcmp(j->disks[*at].node, target) == 0)
            return &j->disks[*at];
    }
    return NULL;
}

static bool add_overlay(xmlNode *node, const struct journal_disk *disk, const char *secret)
{
    xmlNode *source;

    if (!set(set(node, "snapshot", "external"), "type", "file") ||
        !set(add(node, "driver"), "type", "qcow2"))
        return false;
    source = set(add(node, "source"), "file", disk->overlay);
    if (!secret)
        return source;
    node = set(add(source, "encryption"), "format", "luks");
    return set(set(add(node, "secret"), "type", "passphrase"), "uuid", secret);
}

int domain_xml_snapshot(const struct domain_xml *xml, const struct journal *j, char *const *secrets,
                        char **text, struct error *err)
{
    xmlNode *root = NULL;
    xmlNode *disks;
    xmlDoc *doc = NULL;
    int rc = begin(&doc, &root, "domainsnapshot", err);

    disks = add(root, "disks");
    for (size_t i = 0; !rc && i < xml->count; i++) {
        xmlNode *node = set(add(disks, "disk"), "name", xml->disks[i].target);
        size_t at;
        const struct journal_disk *disk = find(j, xml->disks[i].target, &at);

        if (disk ? !add_overlay(node, disk, secrets[at]) : !set(node, "snapshot", "no"))
            rc = error_no_memory(err);
    }
    return end(doc, rc, text, err);
}

static int add_domain(xmlNode *parent, const char *text, struct error *err)
{
    xmlNode *copy;
    xmlDoc *doc = NULL;
    int rc = domain_xml_parse(&doc, text, err);

    if (rc)
        return rc;
    copy = xmlDocCopyNode(xmlDocGetRootElement(doc), parent->doc, 1);
    if (!copy || !xmlAddChild(parent, copy))
        rc = error_no_memory(err);
    xmlFreeDoc(doc);
    return rc;
}

int domain_xml_checkpoint(const struct domain_xml *xml, const char *name, const char *domain,
                          bool (*has)(const void *arg, const char *target), const void *arg,
                          char **text, struct error *err)
{
    xmlNode *root = NULL;
    xmlNode *disks;
    xmlDoc *doc = NULL;
    int rc = begin(&doc, &root, "domaincheckpoint", err);

    if (!rc && !add_text(root, "name", name))
        rc = error_no_memory(err);
    /* One that is told again needs a time, and nobody asks for it. */
    if (!rc && domain && !add_text(root, "creationTime", "1"))
        rc = error_no_memory(err);
    disks = add(root, "disks");
    for (size_t i = 0; !rc && i < xml->count; i++) {
        const char *target = xml->disks[i].target;
        bool wanted = has(arg, target);
        xmlNode *node = set(add(disks, "disk"), "name", target);

        if (!set(node, "checkpoint", wanted ? "bitmap" : "no") ||
            (wanted && !set(node, "bitmap", name)))
            rc = error_no_memory(err);
    }
    if (!rc && domain)
        rc = add_domain(root, domain, err);
    return end(doc, rc, text, err);
}

int domain_xml_secret(const char *path, char **text, struct error *err)
{
    xmlNode *root = NULL;
    xmlNode *usage;
    xmlDoc *doc = NULL;
    int rc = begin(&doc, &root, "secret", err);

    usage = rc ? NULL : set(add(root, "usage"), "type", "volume");
    if (!rc && (!set(set(root, "ephemeral", "no"), "private", "yes") ||
                !add_text(root, "description", "byre: a temporary overlay") ||
                !add_text(usage, "volume", path)))
        rc = error_no_memory(err);
    return end(doc, rc, text, err);
}

/* ---- back on the base ---- */

static void replace(xmlNode *old, xmlNode *fresh)
{
    xmlUnlinkNode(fresh);
    if (old) {
        xmlReplaceNode(old, fresh);
        xmlFreeNode(old);
    }
}

static void drop(xmlNode *node)
{
    if (node) {
        xmlUnlinkNode(node);
        xmlFreeNode(node);
    }
}

/* What libvirt keeps of the base below the overlay takes the overlay's place. */
static bool lower_by_chain(xmlNode *node, xmlNode *below, const struct journal_disk *disk)
{
    char *type = domain_xml_attribute(below, "type");
    char *path = domain_xml_source(domain_xml_child(below, "source"), type);
    bool same = path && strcmp(path, disk->base) == 0;
    xmlNode *deeper = domain_xml_child(below, "backingStore");

    if (same) {
        set(node, "type", type);
        replace(domain_xml_child(node, "source"), domain_xml_child(below, "source"));
        if (deeper)
            replace(below, deeper);
        else
            drop(below);
    }
    free(path);
    free(type);
    return same;
}

/* It does not keep it: then by the journal. */
static void lower_by_journal(xmlNode *node, xmlNode *below, const struct journal_disk *disk)
{
    drop(below);
    set(domain_xml_child(node, "source"), "file", disk->base);
}

int domain_xml_lower(const char *domain, const struct journal_disk *disk, char **text,
                     struct error *err)
{
    xmlNode *found = NULL;
    xmlDoc *doc = NULL;
    xmlNode *node;
    char *path = NULL;
    int rc = domain_xml_parse(&doc, domain, err);

    *text = NULL;
    if (rc)
        return rc;
    node = domain_xml_child(domain_xml_child(xmlDocGetRootElement(doc), "devices"), "disk");
    for (; node && !found; node = domain_xml_next(node, "disk")) {
        if (domain_xml_attribute_is(domain_xml_child(node, "target"), "dev", disk->node))
            found = node;
    }
    path = domain_xml_attribute(domain_xml_child(found, "source"), "file");
    if (!path || strcmp(path, disk->overlay) != 0) {
        free(path);
        xmlFreeDoc(doc);
        return 0;
    }
    free(path);
    node = domain_xml_child(found, "backingStore");
    if (!node || !lower_by_chain(found, node, disk))
        lower_by_journal(found, node, disk);
    set(domain_xml_child(found, "driver"), "type", disk->format);
    return end(doc, 0, text, err);
}

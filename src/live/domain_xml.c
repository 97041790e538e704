/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads libvirt's XML of a domain, with libxml2: its disks, as far as byre asks. What is not known
 * is passed over; what byre cannot freeze, its caller says. */
#include "live/domain_xml.h"

#include <libxml/parser.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "live/domain_xml_internal.h"

static void be_silent(void *arg, const char *message, ...) __attribute__((format(printf, 2, 3)));

static void be_silent(void *arg, const char *message, ...)
{
    (void)arg;
    (void)message;
}

int domain_xml_parse(xmlDoc **doc, const char *text, struct error *err)
{
    size_t len = strlen(text);

    *doc = NULL;
    xmlSetGenericErrorFunc(NULL, be_silent);
    if (len <= INT_MAX)
        *doc = xmlReadMemory(text, (int)len, NULL, NULL,
                             XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                                 XML_PARSE_NOBLANKS);
    return *doc ? 0 : error_set(err, ERROR_CORRUPT, "libvirt's XML cannot be read");
}

static bool is_called(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

xmlNode *domain_xml_next(const xmlNode *node, const char *name)
{
    xmlNode *next = node->next;

    while (next && !is_called(next, name))
        next = next->next;
    return next;
}

xmlNode *domain_xml_child(const xmlNode *parent, const char *name)
{
    xmlNode *first = parent ? parent->children : NULL;

    return !first || is_called(first, name) ? first : domain_xml_next(first, name);
}

char *domain_xml_attribute(const xmlNode *node, const char *name)
{
    return node ? (char *)xmlGetNoNsProp(node, (const xmlChar *)name) : NULL;
}

bool domain_xml_attribute_is(const xmlNode *node, const char *name, const char *value)
{
    char *text = domain_xml_attribute(node, name);
    bool is = text && strcmp(text, value) == 0;

    free(text);
    return is;
}

char *domain_xml_source(const xmlNode *source, const char *type)
{
    if (type && strcmp(type, "file") == 0)
        return domain_xml_attribute(source, "file");
    if (type && strcmp(type, "block") == 0)
        return domain_xml_attribute(source, "dev");
    return NULL;
}

static char *text_of(const xmlNode *node)
{
    return node ? (char *)xmlNodeGetContent(node) : NULL;
}

static void read_disk(struct domain_disk *disk, const xmlNode *node)
{
    const xmlNode *source = domain_xml_child(node, "source");
    const xmlNode *below = domain_xml_child(node, "backingStore");
    const xmlNode *mirror = domain_xml_child(node, "mirror");
    char *type = domain_xml_attribute(below, "type");

    disk->target = domain_xml_attribute(domain_xml_child(node, "target"), "dev");
    disk->alias = domain_xml_attribute(domain_xml_child(node, "alias"), "name");
    disk->device = domain_xml_attribute(node, "device");
    disk->type = domain_xml_attribute(node, "type");
    disk->path = domain_xml_source(source, disk->type);
    disk->below = domain_xml_source(domain_xml_child(below, "source"), type);
    disk->format = domain_xml_attribute(domain_xml_child(node, "driver"), "type");
    disk->readonly = domain_xml_child(node, "readonly");
    disk->shareable = domain_xml_child(node, "shareable");
    disk->transient = domain_xml_child(node, "transient");
    disk->encrypted =
        domain_xml_child(source, "encryption") || domain_xml_child(node, "encryption");
    disk->sliced = domain_xml_child(source, "slices");
    disk->busy = mirror;
    disk->busy_commit = domain_xml_attribute_is(mirror, "job", "active-commit");
    disk->busy_ready = domain_xml_attribute_is(mirror, "ready", "yes");
    free(type);
}

static int read_disks(struct domain_xml *xml, const xmlNode *devices, struct error *err)
{
    size_t count = 0;

    for (const xmlNode *node = domain_xml_child(devices, "disk"); node;
         node = domain_xml_next(node, "disk"))
        count++;
    xml->disks = calloc(count + 1, sizeof xml->disks[0]);
    if (!xml->disks)
        return error_no_memory(err);
    for (const xmlNode *node = domain_xml_child(devices, "disk"); node;
         node = domain_xml_next(node, "disk")) {
        read_disk(&xml->disks[xml->count], node);
        if (!xml->disks[xml->count++].target)
            return error_set(err, ERROR_CORRUPT, "libvirt's XML has a disk without a target");
    }
    return 0;
}

int domain_xml_read(struct domain_xml *xml, const char *text, struct error *err)
{
    const xmlNode *root;
    xmlDoc *doc = NULL;
    int rc = domain_xml_parse(&doc, text, err);

    if (rc)
        return rc;
    root = xmlDocGetRootElement(doc);
    if (root && is_called(root, "domain")) {
        xml->name = text_of(domain_xml_child(root, "name"));
        xml->nvram = text_of(domain_xml_child(domain_xml_child(root, "os"), "nvram"));
        rc = read_disks(xml, domain_xml_child(root, "devices"), err);
    } else {
        rc = error_set(err, ERROR_CORRUPT, "libvirt's XML describes no domain");
    }
    xmlFreeDoc(doc);
    return rc;
}

void domain_xml_clear(struct domain_xml *xml)
{
    for (size_t i = 0; i < xml->count; i++) {
        struct domain_disk *disk = &xml->disks[i];

        free(disk->target);
        free(disk->alias);
        free(disk->device);
        free(disk->type);
        free(disk->path);
        free(disk->below);
        free(disk->format);
    }
    free(xml->disks);
    free(xml->nvram);
    free(xml->name);
    *xml = (struct domain_xml){0};
}

const struct domain_disk *domain_xml_disk(const struct domain_xml *xml, const char *target)
{
    for (size_t i = 0; i < xml->count; i++) {
        if (strcmp(xml->disks[i].target, target) == 0)
            return &xml->disks[i];
    }
    return NULL;
}

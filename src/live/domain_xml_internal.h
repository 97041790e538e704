/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_DOMAIN_XML_INTERNAL_H
#define BYRE_LIVE_DOMAIN_XML_INTERNAL_H

#include <stdbool.h>

#include "base/error.h"

/* What the files of domain_xml.h share, in libxml2's terms. */

struct _xmlDoc;
struct _xmlNode;

/* ${*doc}: to be freed with xmlFreeDoc. */
int domain_xml_parse(struct _xmlDoc **doc, const char *text, struct error *err);

/* The first element ${name} below ${parent}, which may be NULL: NULL. */
struct _xmlNode *domain_xml_child(const struct _xmlNode *parent, const char *name);

/* The next element ${name} after ${node} on its level. */
struct _xmlNode *domain_xml_next(const struct _xmlNode *node, const char *name);

/* A fresh copy of an attribute of ${node}, which may be NULL. NULL: there is none. */
char *domain_xml_attribute(const struct _xmlNode *node, const char *name);

bool domain_xml_attribute_is(const struct _xmlNode *node, const char *name, const char *value);

/* The path that a <source> names, for its ${type}: a fresh copy, or NULL. */
char *domain_xml_source(const struct _xmlNode *source, const char *type);

#endif

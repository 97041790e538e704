/* SPDX-License-Identifier: BSD-2-Clause */
/* Domains as libvirt 9.0 describes them: what is read out of them, and what is made for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "live/domain_xml.h"

/* In the middle of a commit, with an encrypted disk, a raw one and a device beside. */
static const char running[] =
    "<domain type='kvm' id='3'>\n"
    "  <name>mail &amp; web</name>\n"
    "  <os><nvram template='/t'>/var/lib/libvirt/qemu/nvram/m_VARS.fd</nvram></os>\n"
    "  <devices>\n"
    "    <disk type='file' device='disk'>\n"
    "      <driver name='qemu' type='qcow2'/>\n"
    "      <source file='/vm/a.qcow2.byre-live' index='4'>\n"
    "        <encryption format='luks'><secret type='passphrase' uuid='u2'/></encryption>\n"
    "      </source>\n"
    "      <backingStore type='file' index='3'>\n"
    "        <format type='qcow2'/>\n"
    "        <source file='/vm/a.qcow2'>\n"
    "          <encryption format='luks'><secret type='passphrase' uuid='u1'/></encryption>\n"
    "        </source>\n"
    "        <backingStore type='file'>\n"
    "          <format type='raw'/><source file='/vm/base.raw'/><backingStore/>\n"
    "        </backingStore>\n"
    "      </backingStore>\n"
    "      <mirror type='file' file='/vm/a.qcow2' format='qcow2' job='active-commit' "
    "ready='yes'/>\n"
    "      <target dev='vda' bus='virtio'/>\n"
    "      <alias name='virtio-disk0'/>\n"
    "    </disk>\n"
    "    <disk type='block' device='lun'>\n"
    "      <driver name='qemu' type='raw'/><source dev='/dev/vg/b'/>\n"
    "      <target dev='sda'/><shareable/><transient/>\n"
    "    </disk>\n"
    "    <disk type='network' device='disk'>\n"
    "      <driver name='qemu' type='raw'/>\n"
    "      <source protocol='rbd' name='p/i'><slices><slice type='storage'/></slices></source>\n"
    "      <target dev='vdc'/>\n"
    "    </disk>\n"
    "    <disk type='file' device='cdrom'><target dev='hda'/><readonly/></disk>\n"
    "  </devices>\n"
    "</domain>\n";

static struct domain_xml read_xml(const char *text)
{
    struct domain_xml xml = {0};
    struct error err = {0};

    if (domain_xml_read(&xml, text, &err))
        fail_msg("%s", err.message);
    return xml;
}

static void disks_are_what_they_are(void **state)
{
    struct domain_xml xml = read_xml(running);
    const struct domain_disk *a = domain_xml_disk(&xml, "vda");
    const struct domain_disk *b = domain_xml_disk(&xml, "sda");
    const struct domain_disk *c = domain_xml_disk(&xml, "vdc");
    const struct domain_disk *d = domain_xml_disk(&xml, "hda");

    (void)state;
    assert_int_equal(xml.count, 4);
    assert_string_equal(xml.name, "mail & web");
    assert_string_equal(xml.nvram, "/var/lib/libvirt/qemu/nvram/m_VARS.fd");
    assert_string_equal(a->path, "/vm/a.qcow2.byre-live");
    assert_string_equal(a->below, "/vm/a.qcow2");
    assert_string_equal(a->format, "qcow2");
    assert_string_equal(a->alias, "virtio-disk0");
    assert_true(a->encrypted && a->busy && a->busy_commit && a->busy_ready && !a->readonly);
    assert_string_equal(b->path, "/dev/vg/b");
    assert_string_equal(b->device, "lun");
    assert_true(b->shareable && b->transient && !b->busy && !b->busy_ready && !b->encrypted);
    assert_null(c->path);
    assert_true(c->sliced);
    assert_null(d->path);
    assert_true(d->readonly);
    assert_null(domain_xml_disk(&xml, "vdb"));
    domain_xml_clear(&xml);
}

static void what_is_no_domain_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "domain",
        "<domain>",
        "<network/>",
        "<domain><devices><disk type='file'/></devices></domain>",
        "<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><d>&e;</d>",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct domain_xml xml = {0};
        struct error err = {0};

        assert_int_equal(domain_xml_read(&xml, texts[i], &err), ERROR_CORRUPT);
        domain_xml_clear(&xml);
    }
}

static struct journal_disk disk_a(void)
{
    return (struct journal_disk){.node = (char *)"vda",
                                 .format = (char *)"qcow2",
                                 .base = (char *)"/vm/a.qcow2",
                                 .overlay = (char *)"/vm/a.qcow2.byre-live"};
}

static void says(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("no \"%s\" in\n%s", what, text);
}

/* The base with its own encryption and chain, and nothing else is touched. */
static void a_disk_is_lowered_to_its_base(void **state)
{
    struct journal_disk disk = disk_a();
    struct domain_xml xml;
    struct error err = {0};
    char *again = NULL;
    char *text = NULL;

    (void)state;
    assert_int_equal(domain_xml_lower(running, &disk, &text, &err), 0);
    assert_non_null(text);
    xml = read_xml(text);
    assert_string_equal(xml.disks[0].path, "/vm/a.qcow2");
    assert_string_equal(xml.disks[0].below, "/vm/base.raw");
    assert_string_equal(xml.disks[1].path, "/dev/vg/b");
    domain_xml_clear(&xml);
    says(text, "uuid=\"u1\"");
    assert_null(strstr(text, "u2"));
    assert_null(strstr(text, "byre-live"));
    /* It is there already. */
    assert_int_equal(domain_xml_lower(text, &disk, &again, &err), 0);
    assert_null(again);
    free(text);
    /* A raw one, on a device, of which libvirt does not keep what is below. */
    disk.node = (char *)"vdb";
    disk.base = (char *)"/dev/vg/x";
    disk.format = (char *)"raw";
    assert_int_equal(
        domain_xml_lower("<domain><devices><disk type='file'><driver type='qcow2'/><source "
                         "file='/vm/a.qcow2.byre-live'/><target dev='vdb'/></disk></devices>"
                         "</domain>",
                         &disk, &text, &err),
        0);
    says(text, "<driver type=\"raw\"/>");
    says(text, "file=\"/dev/vg/x\"");
    free(text);
}

static bool is_first(const void *arg, const char *target)
{
    (void)arg;
    return strcmp(target, "vda") == 0;
}

static void other_disks_are_left_alone(void **state)
{
    struct domain_xml xml = read_xml(running);
    struct journal_disk disk = disk_a();
    struct journal j = {.disks = &disk, .disk_count = 1};
    char *secrets[] = {NULL};
    char *text = NULL;
    struct error err = {0};

    (void)state;
    disk.overlay = (char *)"/vm/<a>&'b'\".byre-live";
    assert_int_equal(domain_xml_snapshot(&xml, &j, secrets, &text, &err), 0);
    says(text, "<disk name=\"vda\" snapshot=\"external\" type=\"file\"><driver type=\"qcow2\"/>"
               "<source file=\"/vm/&lt;a&gt;&amp;'b'&quot;.byre-live\"/></disk>");
    says(text, "<disk name=\"sda\" snapshot=\"no\"/>");
    says(text, "<disk name=\"hda\" snapshot=\"no\"/>");
    free(text);
    secrets[0] = (char *)"u3";
    assert_int_equal(domain_xml_snapshot(&xml, &j, secrets, &text, &err), 0);
    says(text, "<encryption format=\"luks\"><secret type=\"passphrase\" uuid=\"u3\"/>");
    free(text);
    assert_int_equal(domain_xml_checkpoint(&xml, "b", NULL, is_first, NULL, &text, &err), 0);
    says(text, "<domaincheckpoint><name>b</name><disks>"
               "<disk name=\"vda\" checkpoint=\"bitmap\" bitmap=\"b\"/>"
               "<disk name=\"sda\" checkpoint=\"no\"/>");
    free(text);
    assert_int_equal(domain_xml_checkpoint(&xml, "b", running, is_first, NULL, &text, &err), 0);
    says(text, "<creationTime>1</creationTime>");
    says(text, "<domain type=\"kvm\" id=\"3\">");
    free(text);
    domain_xml_clear(&xml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_are_what_they_are),
        cmocka_unit_test(what_is_no_domain_is_refused),
        cmocka_unit_test(a_disk_is_lowered_to_its_base),
        cmocka_unit_test(other_disks_are_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which of QEMU's formats a file is, and what qemu-img says of it. Reads no more
 * of it than two headers: reading formats is QEMU's.
 */
#include "engine/input_format.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/be.h"
#include "base/io.h"
#include "base/program.h"
#include "engine/path.h"

enum {
    ANSWER_MAX = 4 << 20, /* bytes of what qemu-img tells */
    FILES_MAX = 4096,
    HEAD = 512,       /* bytes */
    VHD_TYPE_AT = 60, /* in the footer of a VHD, of which there is a copy at its begin */
    VHD_DIFFERENCING = 4,
};

static const struct {
    const char *suffix;
    const char *format;
} suffixes[] = {
    {".vmdk", "vmdk"}, {".vhd", "vpc"}, {".vpc", "vpc"},
    {".vhdx", "vhdx"}, {".vdi", "vdi"}, {".qcow", "qcow"},
};

int input_format_check(const char *name, bool *is_other, struct error *err)
{
    *is_other = false;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        *is_other |= strcmp(suffixes[i].format, name) == 0;
    if (*is_other || strcmp(name, "raw") == 0 || strcmp(name, "qcow2") == 0)
        return 0;
    return error_set(err, ERROR_USAGE,
                     "%s: is no format of images; there are raw, qcow2, vmdk, vpc, vhdx, vdi and "
                     "qcow (version 1)",
                     name);
}

/* The first ${*got} bytes, up to HEAD, of what may be no file at all. */
static int read_head(const char *path, uint8_t head[HEAD], size_t *got, struct error *err)
{
    struct stat st;
    *got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_sys(err, errno, "%s: cannot open", path);
    int rc = fstat(fd, &st) < 0 ? error_sys(err, errno, "%s: cannot stat", path) : 0;
    if (rc == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        rc = io_read_some(fd, path, 0, head, HEAD, got, err);
    close(fd);
    return rc;
}

int input_format_by_name(const char *path, const char **format, struct error *err)
{
    static const uint8_t version_1[8] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 1};
    uint8_t head[HEAD];
    size_t got = 0;
    const char *dot = strrchr(path_base(path), '.');
    *format = NULL;
    for (size_t i = 0; dot != NULL && i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (strcasecmp(suffixes[i].suffix, dot) == 0)
            *format = suffixes[i].format;
    if (*format == NULL || strcmp(*format, "qcow") != 0)
        return 0;
    int rc = read_head(path, head, &got, err);
    if (rc < 0 || got < sizeof version_1 || memcmp(head, version_1, sizeof version_1) != 0)
        *format = NULL;
    return rc;
}

/* ---- what qemu-img says ---- */

void input_facts_clear(struct input_facts *facts)
{
    for (size_t i = 0; i < facts->file_count; i++)
        free(facts->files[i]);
    free(facts->files);
    *facts = (struct input_facts){0};
}

/* QEMU would take such a disk for one that has all of its data itself. */
static int check_differencing(const char *path, const char *format, struct error *err)
{
    static const char cookie[] = "conectix";
    uint8_t head[HEAD];
    size_t got = 0;
    if (strcmp(format, "vpc") != 0)
        return 0;
    int rc = read_head(path, head, &got, err);
    if (rc < 0 || got < HEAD || memcmp(head, cookie, sizeof cookie - 1) != 0 ||
        be32_get(head + VHD_TYPE_AT) != VHD_DIFFERENCING)
        return rc;
    return error_set(err, ERROR_UNSUPPORTED,
                     "%s: is a differencing disk, whose parent QEMU does not read", path);
}

static int add_file(struct input_facts *facts, const char *path, const char *name,
                    struct error *err)
{
    if (name == NULL || name[0] != '/')
        return error_set(err, ERROR_UNSUPPORTED, "%s: consists of \"%s\", which is no plain path",
                         path, name != NULL ? name : "");
    for (size_t i = 0; i < facts->file_count; i++)
        if (strcmp(facts->files[i], name) == 0)
            return 0;
    if (facts->file_count == FILES_MAX)
        return error_set(err, ERROR_UNSUPPORTED, "%s: consists of more than %d files", path,
                         FILES_MAX);
    char **files = reallocarray(facts->files, facts->file_count + 1, sizeof *files);
    if (files == NULL)
        return error_no_memory(err);
    facts->files = files;
    files[facts->file_count] = strdup(name);
    return files[facts->file_count++] == NULL ? error_no_memory(err) : 0;
}

/* One image of the chain, the top where ${number} is 0. */
static int take_image(struct input_facts *facts, const char *path, const char *format,
                      size_t number, const json_t *image, struct error *err)
{
    const char *is = json_string_value(json_object_get(image, "format"));
    const json_t *data = json_object_get(json_object_get(image, "format-specific"), "data");
    const json_t *extents = json_object_get(data, "extents");
    if (json_is_true(json_object_get(image, "encrypted")))
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: is encrypted; qemu-img convert makes a disk of it that can be saved",
                         path);
    /* of a vmdk file what is below is vmdk; below qcow QEMU would believe what a guest wrote */
    const char *expected = number == 0 || strcmp(format, "vmdk") == 0 ? format : "raw";
    if (is == NULL || strcmp(is, expected) != 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: has a backing file that looks like %s, which nobody tells; "
                         "qemu-img convert makes one file of them",
                         path, is != NULL ? is : "nothing");
    int rc = add_file(facts, path, json_string_value(json_object_get(image, "filename")), err);
    for (size_t i = 0; rc == 0 && i < json_array_size(extents); i++)
        rc = add_file(facts, path,
                      json_string_value(json_object_get(json_array_get(extents, i), "filename")),
                      err);
    facts->chain = number;
    return rc;
}

static int take_answer(struct input_facts *facts, const char *path, const char *format, int fd,
                       struct error *err)
{
    json_error_t e;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_sys(err, errno, "%s: reading what qemu-img says of it", path);
    if (st.st_size > ANSWER_MAX)
        return error_set(err, ERROR_UNSUPPORTED, "%s: qemu-img says too much of it", path);
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_sys(err, errno, "%s: reading what qemu-img says of it", path);
    json_t *images = json_loadfd(fd, 0, &e);
    int rc = json_array_size(images) == 0
                 ? error_set(err, ERROR_IO, "%s: qemu-img says nothing of it", path)
                 : 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(images); i++)
        rc = take_image(facts, path, format, i, json_array_get(images, i), err);
    json_decref(images);
    return rc;
}

/* What ${said} means, which qemu-img did. */
static int explain(const char *path, const char *format, char *said, struct error *err)
{
    said[strcspn(said, "\n")] = 0;
    const char *lock = strstr(said, "Failed to get ");
    if (lock != NULL && strstr(lock, " lock") != NULL)
        return error_set(err, ERROR_IN_USE, "%s: somebody is writing to what it consists of (%s)",
                         path, said);
    return error_set(err, ERROR_CORRUPT,
                     "%s: cannot be read as %s (%s); where it is of another format, say which by "
                     "--input-format",
                     path, format, said);
}

int input_format_inspect(struct input_facts *facts, const char *path, const char *format,
                         const volatile int *cancel, struct error *err)
{
    struct program_result result;
    const char *const argv[] = {
        "qemu-img", "info", "--backing-chain", "--output=json", "-f", format, path, NULL};
    int fd = memfd_create("info", MFD_CLOEXEC);
    *facts = (struct input_facts){0};
    if (fd < 0)
        return error_sys(err, errno, "%s: asking qemu-img", path);
    const struct program_options options = {
        .argv = argv, .capture = true, .out = fd, .cancel = cancel};
    int rc = check_differencing(path, format, err);
    if (rc == 0)
        rc = program_run(&options, &result, err);
    if (rc == ERROR_NOT_FOUND)
        error_set(err, ERROR_NOT_FOUND,
                  "there is no qemu-img here (the package qemu-utils has it)");
    if (rc == 0 && result.code != 0)
        rc = explain(path, format, result.output, err);
    if (rc == 0)
        rc = take_answer(facts, path, format, fd, err);
    close(fd);
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words for qemu-img, and what its answers mean. What bitmaps are for, and which
 * names they have, is own_bitmap.c's.
 */
#include "engine/qemu_img.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/program.h"
#include "engine/path.h"

enum { CHECK_LEAKS = 3 }; /* an exit status of qemu-img check */

static const char own_name[] = "qemu-img: ";

/* QEMU takes a colon before the first slash for a protocol, and a dash for an option. */
static char *absolute(const char *path)
{
    char *folder = NULL, *whole = NULL;
    if (path[0] == '/')
        return strdup(path);
    folder = getcwd(NULL, 0);
    if (folder == NULL || asprintf(&whole, "%s/%s", folder, path) < 0)
        whole = NULL;
    free(folder);
    return whole;
}

/* The last line that is qemu-img's own, else the last one; without its name. */
static const char *last_line(char *output)
{
    const char *last = NULL, *own = NULL;
    char *rest = output;
    for (char *line = strtok_r(output, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        last = line;
        if (strncmp(line, own_name, sizeof own_name - 1) == 0)
            own = line + sizeof own_name - 1;
    }
    return own != NULL ? own : last != NULL ? last : "it does not say why";
}

/* The first line that is no mere warning. */
static const char *first_line(char *output)
{
    static const char warning[] = "warning: ";
    char *rest = output;
    for (char *line = strtok_r(output, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, own_name, sizeof own_name - 1) == 0)
            line += sizeof own_name - 1;
        if (strncmp(line, warning, sizeof warning - 1) != 0)
            return line;
    }
    return "it does not say why";
}

static int run(const char *const *argv, const char *folder, const volatile int *cancel,
               struct program_result *result, struct error *err)
{
    const struct program_options options = {
        .argv = argv, .folder = folder, .capture = true, .cancel = cancel};
    int rc = program_run(&options, result, err);
    return rc == ERROR_NOT_FOUND
               ? error_set(err, ERROR_NOT_FOUND,
                           "there is no qemu-img here (the package qemu-utils has it)")
               : rc;
}

static int run_and_judge(const char *const *argv, const volatile int *cancel, struct error *err)
{
    struct program_result result;
    int rc = run(argv, NULL, cancel, &result, err);
    if (rc < 0 || result.code == 0)
        return rc;
    if (result.code > 128)
        return error_set(err, ERROR_IO, "qemu-img was ended by signal %d", result.code - 128);
    const char *message = last_line(result.output);
    const char *lock = strstr(message, "Failed to get ");
    bool in_use = lock != NULL && strstr(lock, " lock") != NULL;
    return error_set(err, in_use ? ERROR_IN_USE : ERROR_IO, "qemu-img: %s", message);
}

int qemu_img_require(const volatile int *cancel, struct error *err)
{
    const char *const argv[] = {"qemu-img", "--version", NULL};
    return run_and_judge(argv, cancel, err);
}

int qemu_img_bitmap_add(const char *path, const char *name, uint64_t granularity,
                        const volatile int *cancel, struct error *err)
{
    char bytes[24];
    char *file = absolute(path);
    const char *const argv[] = {"qemu-img", "bitmap", "--add", "-f", "qcow2",
                                "-g",       bytes,    file,    name, NULL};
    if (file == NULL)
        return error_sys(err, errno, "%s: making its name absolute", path);
    snprintf(bytes, sizeof bytes, "%" PRIu64, granularity);
    int rc = run_and_judge(argv, cancel, err);
    free(file);
    return rc;
}

int qemu_img_bitmap_remove(const char *path, const char *name, const volatile int *cancel,
                           struct error *err)
{
    char *file = absolute(path);
    const char *const argv[] = {"qemu-img", "bitmap", "--remove", "-f", "qcow2", file, name, NULL};
    if (file == NULL)
        return error_sys(err, errno, "%s: making its name absolute", path);
    int rc = run_and_judge(argv, cancel, err);
    free(file);
    return rc;
}

/* The words for ${path} as a qcow2 without a backing file; commas end a value there. */
static char *image_options(const char *path)
{
    static const char begin[] = "driver=qcow2,backing=,file.driver=file,file.filename=";
    char *words = malloc(sizeof begin + 2 * strlen(path));
    if (words == NULL)
        return NULL;
    memcpy(words, begin, sizeof begin);
    char *end = words + sizeof begin - 1;
    for (; *path != 0; path++) {
        if (*path == ',')
            *end++ = ',';
        *end++ = *path;
    }
    *end = 0;
    return words;
}

/* In the folder of ${path}; ${code} is its exit status. */
static int ask(const char *const *argv, const char *path, const volatile int *cancel, int *code,
               char message[QEMU_IMG_MESSAGE], struct error *err)
{
    struct program_result result;
    char *folder = path_folder(path);
    if (folder == NULL)
        return error_no_memory(err);
    int rc = run(argv, folder, cancel, &result, err);
    free(folder);
    if (rc < 0)
        return rc;
    *code = result.code;
    message[0] = 0;
    if (result.code != 0)
        snprintf(message, QEMU_IMG_MESSAGE, "%s", first_line(result.output));
    return 0;
}

int qemu_img_check(const char *path, const volatile int *cancel, enum qemu_img_verdict *verdict,
                   char message[QEMU_IMG_MESSAGE], struct error *err)
{
    char *words = image_options(path);
    const char *const argv[] = {"qemu-img", "check", "--image-opts", words, NULL};
    int code = 0;
    if (words == NULL)
        return error_no_memory(err);
    int rc = ask(argv, path, cancel, &code, message, err);
    free(words);
    *verdict = code == 0 ? QEMU_IMG_CLEAN : code == CHECK_LEAKS ? QEMU_IMG_LEAKS : QEMU_IMG_ERRORS;
    return rc;
}

int qemu_img_check_chain(const char *path, const volatile int *cancel,
                         enum qemu_img_verdict *verdict, char message[QEMU_IMG_MESSAGE],
                         struct error *err)
{
    const char *const argv[] = {"qemu-img", "info", "--backing-chain", "-f", "qcow2", path, NULL};
    int code = 0;
    int rc = ask(argv, path, cancel, &code, message, err);
    *verdict = code == 0 ? QEMU_IMG_CLEAN : QEMU_IMG_ERRORS;
    return rc;
}

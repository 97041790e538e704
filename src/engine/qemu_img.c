/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words for qemu-img, and what its answers mean. What bitmaps are for, and which
 * names they have, is own_bitmap.c's.
 */
#include "engine/qemu_img.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/program.h"
#include "engine/path.h"

enum { CHECK_LEAKS = 3, COMPARE_DIFFERS = 1 }; /* exit statuses of qemu-img check and compare */

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

static int run(const struct program_options *options, struct program_result *result,
               struct error *err)
{
    int rc = program_run(options, result, err);
    return rc == ERROR_NOT_FOUND
               ? error_set(err, ERROR_NOT_FOUND,
                           "there is no qemu-img here (the package qemu-utils has it)")
               : rc;
}

/* What it means that it did not exit with 0. */
static int judge(struct program_result *result, struct error *err)
{
    if (result->code > 128)
        return error_set(err, ERROR_IO, "qemu-img was ended by signal %d", result->code - 128);
    const char *message = last_line(result->output);
    const char *lock = strstr(message, "Failed to get ");
    bool in_use = lock != NULL && strstr(lock, " lock") != NULL;
    bool full = strstr(message, "No space left on device") != NULL ||
                strstr(message, "Disk quota exceeded") != NULL;
    return error_set(err,
                     in_use ? ERROR_IN_USE
                     : full ? ERROR_NO_SPACE
                            : ERROR_IO,
                     "qemu-img: %s", message);
}

static int run_and_judge(const struct program_options *options, struct program_result *result,
                         struct error *err)
{
    int rc = run(options, result, err);
    return rc < 0 || result->code == 0 ? rc : judge(result, err);
}

static int change(const char *const *argv, const volatile int *cancel, struct error *err)
{
    struct program_result result;
    const struct program_options options = {.argv = argv, .capture = true, .cancel = cancel};
    return run_and_judge(&options, &result, err);
}

int qemu_img_require(const volatile int *cancel, struct error *err)
{
    const char *const argv[] = {"qemu-img", "--version", NULL};
    return change(argv, cancel, err);
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
    int rc = change(argv, cancel, err);
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
    int rc = change(argv, cancel, err);
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
    const struct program_options options = {
        .argv = argv, .folder = folder, .capture = true, .cancel = cancel};
    int rc = run(&options, &result, err);
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

/* ---- formats that byre does not know ---- */

/* For files that are nobody else's: it need not be given time when it is to stop. */
static struct program_options own_file(const char *folder, const char *const *argv,
                                       const volatile int *cancel)
{
    return (struct program_options){
        .argv = argv, .folder = folder, .capture = true, .terminate = true, .cancel = cancel};
}

/* Its name in its folder, without anything that QEMU could take for a protocol or an option. */
static char *local_name(const struct qemu_img_file *file)
{
    return path_join(".", file->name);
}

int qemu_img_create(const struct qemu_img_file *file, const char *options, uint64_t size,
                    const volatile int *cancel, struct error *err)
{
    struct program_result result;
    char bytes[24];
    char *name = local_name(file);
    const char *argv[] = {"qemu-img", "create", "-q", "-f", file->format,
                          name,       bytes,    NULL, NULL, NULL};
    if (name == NULL)
        return error_no_memory(err);
    snprintf(bytes, sizeof bytes, "%" PRIu64, size);
    if (options != NULL) {
        argv[7] = "-o";
        argv[8] = options;
    }
    const struct program_options program = own_file(file->folder, argv, cancel);
    int rc = run_and_judge(&program, &result, err);
    free(name);
    return rc;
}

int qemu_img_size(const struct qemu_img_file *file, const volatile int *cancel, uint64_t *size,
                  struct error *err)
{
    struct program_result result;
    char *name = local_name(file);
    const char *const argv[] = {"qemu-img", "info", "--output=json", "-f", file->format,
                                name,       NULL};
    if (name == NULL)
        return error_no_memory(err);
    const struct program_options program = own_file(file->folder, argv, cancel);
    int rc = run_and_judge(&program, &result, err);
    free(name);
    if (rc < 0)
        return rc;
    const char *begin = strchr(result.output, '{'); /* warnings may come first */
    json_t *info = begin == NULL ? NULL : json_loads(begin, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *value = json_object_get(info, "virtual-size");
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        *size = (uint64_t)json_integer_value(value);
    else
        rc = error_set(err, ERROR_IO, "qemu-img: does not tell the size of %s", file->name);
    json_decref(info);
    return rc;
}

int qemu_img_fill(const struct qemu_img_file *to, const struct qemu_img_file *from,
                  const volatile int *cancel, void (*tick)(void *arg), void *arg, struct error *err)
{
    struct program_result result;
    char *target = local_name(to), *source = local_name(from);
    const char *const argv[] = {"qemu-img", "convert",    "-n", "--target-is-zero",
                                "-f",       from->format, "-O", to->format,
                                source,     target,       NULL};
    struct program_options program = own_file(to->folder, argv, cancel);
    program.tick = tick;
    program.arg = arg;
    int rc = target == NULL || source == NULL ? error_no_memory(err)
                                              : run_and_judge(&program, &result, err);
    free(target);
    free(source);
    return rc;
}

int qemu_img_compare(const struct qemu_img_file *a, const struct qemu_img_file *b,
                     const volatile int *cancel, bool *same, char message[QEMU_IMG_MESSAGE],
                     struct error *err)
{
    struct program_result result;
    char *left = local_name(a), *right = local_name(b);
    const char *const argv[] = {"qemu-img", "compare", "-f",  a->format, "-F",
                                b->format,  left,      right, NULL};
    const struct program_options program = own_file(a->folder, argv, cancel);
    int rc = left == NULL || right == NULL ? error_no_memory(err) : run(&program, &result, err);
    free(left);
    free(right);
    if (rc < 0)
        return rc;
    *same = result.code == 0;
    message[0] = 0;
    if (result.code == COMPARE_DIFFERS)
        snprintf(message, QEMU_IMG_MESSAGE, "%s", last_line(result.output));
    return result.code > COMPARE_DIFFERS ? judge(&result, err) : 0;
}

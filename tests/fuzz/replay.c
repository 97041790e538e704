/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a fuzz target once over each file of the folders that are named, without libFuzzer, so that
 * ordinary test runs replay the corpus. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    uint8_t *data = NULL;
    long size;
    int ret = -1;

    if (!f)
        return -1;
    if (fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) < 0)
        goto out;
    /* Of the very size, so that a sanitizer sees a read past its end. */
    if (!(data = malloc(size ? (size_t)size : 1)) ||
        fread(data, 1, (size_t)size, f) != (size_t)size)
        goto out;
    LLVMFuzzerTestOneInput(data, (size_t)size);
    ret = 0;

out:
    free(data);
    fclose(f);
    return ret;
}

static int replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int n = 0;

    while (dir && (entry = readdir(dir))) {
        char path[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (replay_file(path) < 0) {
            fprintf(stderr, "%s: %s\n", path, strerror(errno));
            closedir(dir);
            return -1;
        }
        n++;
    }
    if (dir)
        closedir(dir);
    printf("%s: %d inputs\n", folder, n);
    return n > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (replay_folder(argv[i]) < 0)
            return EXIT_FAILURE;
    return EXIT_SUCCESS;
}

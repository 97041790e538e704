/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CRASH_TREE_FILES_H
#define CRASH_TREE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whole files and whole folders of this machine. Every failure ends the test. */

struct file_list {
    struct listed {
        char name[128]; /* relative to the top */
        bool folder;
    } * files; /* folders before what is in them; to be freed */
    size_t count;
};

struct file_list list_tree(const char *path);
void remove_tree(const char *path); /* may be absent */
/* Files of the copy are links: for trees whose files are never written to again. */
void clone_tree(const char *from, const char *to);
/* Whether two trees have the same names and bytes; if not, ${*first} is where they differ. */
bool same_trees(const char *a, const char *b, char first[128]);

uint8_t *load_file(const char *path, size_t *len); /* to be freed */
void store_file(const char *path, const void *data, size_t len);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_DATA_FILE_H
#define BYRE_QCOW2_DATA_FILE_H

#include <stdbool.h>

#include "base/error.h"
#include "qcow2/chain.h"

/*
 * Finds, opens and locks the external data file ${name} of the qcow2 file at ${image_path}, whose
 * stat is ${image_st}, and sets ${*file}, NULL on failure: see layer_set_open. It is not the image
 * itself.
 */
int data_file_open(struct data_file **file, const char *image_path, const struct stat *image_st,
                   const char *name, bool assume_stopped, struct error *err);

/* ERROR_UNSUPPORTED where ${name}, as the same qcow2 file has it when it is reached as
 * ${image_path}, is not ${file}. */
int data_file_check_same(const struct data_file *file, const char *image_path, const char *name,
                         struct error *err);
void data_file_close(struct data_file *file);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_PLACING_H
#define BYRE_ENGINE_PLACING_H

#include "engine/record.h"

/*
 * Sets the placed path of every layer of ${archive} from its path: lexically, relative to the
 * deepest folder that all files share; an export, which lies in none, by the last part of its
 * URI. Two layers that would meet at one place are told apart by a number.
 */
int placing_assign(struct record_archive *archive, struct error *err);

#endif

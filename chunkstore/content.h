/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CONTENT_H
#define CS_CONTENT_H

#include "bytes.h"
#include "chunkstore.h"

/* Appends the encoded content leaf to ${out}. Runs and chunks must be canonical (FORMAT.md, 8.2).
 */
void cs_content_encode(struct cs_buf *out, const struct cs_run *runs, size_t run_count,
                       const struct cs_chunk *chunks, size_t chunk_count);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_CONF_CHECK_H
#define BYRE_CLI_CONF_CHECK_H

#include "cli/conf.h"

/* Whether sections that were parsed make sense together; else ERROR_USAGE. */
int conf_check(const struct conf *conf, struct error *err);

#endif

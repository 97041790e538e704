/* SPDX-License-Identifier: BSD-2-Clause */
/* JSON values and lines, and the last word on whether stdout took everything. */
#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/exit_code.h"
#include "cli/message.h"
#include "cli/text.h"

json_t *output_string(const char *text)
{
    json_t *json;
    char *copy;

    if (!text)
        return json_null();
    copy = text_utf8(text);
    json = copy ? json_string(copy) : NULL;
    free(copy);
    return json;
}

json_t *output_size(uint64_t bytes)
{
    return json_integer((json_int_t)bytes);
}

json_t *output_seconds(double seconds)
{
    return json_real((double)(uint64_t)(seconds * 1000 + 0.5) / 1000);
}

json_t *output_id(const struct cs_id *id)
{
    char hex[CS_ID_HEX];

    return json_string(cs_id_hex(id, hex));
}

void output_json(FILE *stream, json_t *json)
{
    char *line = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;

    if (line)
        fprintf(stream, "%s\n", line);
    else
        fputs("{\"message_type\":\"error\",\"code\":1,\"message\":\"out of memory\"}\n", stream);
    fflush(stream);
    free(line);
    json_decref(json);
}

int output_finish(int code)
{
    int failed = ferror(stdout);
    int sys = 0;

    if (fclose(stdout)) {
        failed = 1;
        sys = errno;
    }
    if (!failed)
        return code;
    if (sys)
        message_error(EXIT_CODE_FAILED, "writing to stdout: %s", strerror(sys));
    else
        message_error(EXIT_CODE_FAILED, "writing to stdout failed");
    return code == EXIT_CODE_DONE ? EXIT_CODE_FAILED : code;
}

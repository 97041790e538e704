/* SPDX-License-Identifier: BSD-2-Clause */
/* Canonical JSON: how values are written, and how they are taken apart with every one checked. */
#include "engine/json.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *json_from_u64(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

json_t *json_from_i64(int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return json_string(text);
}

json_t *json_from_data(const void *data, size_t len)
{
    size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(room);
    if (text == NULL)
        return NULL;
    sodium_bin2base64(text, room, data, len, sodium_base64_VARIANT_ORIGINAL);
    json_t *value = json_pack("{s:s}", "b64", text);
    free(text);
    return value;
}

json_t *json_from_bytes(const char *s)
{
    json_t *value = json_string(s);
    return value != NULL ? value : json_from_data(s, strlen(s));
}

json_t *json_from_optional(const char *s)
{
    return s != NULL ? json_from_bytes(s) : json_null();
}

json_t *json_from_id(const struct cs_id *id)
{
    char hex[CS_ID_HEX];
    return json_string(cs_id_hex(id, hex));
}

int json_encode(const json_t *value, char **text, size_t *len, struct error *err)
{
    *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
    if (*text == NULL)
        return error_no_memory(err);
    *len = strlen(*text);
    return 0;
}

int(json_bad)(struct json_reader *r, const char *key)
{
    if (!r->bad)
        error_set(r->err, ERROR_CORRUPT, "%s: the member \"%s\" is missing or malformed", r->what,
                  key);
    r->bad = true;
    return ERROR_CORRUPT;
}

const json_t *json_member(struct json_reader *r, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL)
        json_bad(r, key);
    return value;
}

const json_t *json_list(struct json_reader *r, const json_t *object, const char *key)
{
    const json_t *value = json_member(r, object, key);
    if (!json_is_array(value))
        json_bad(r, key);
    return value;
}

bool json_get_bool(struct json_reader *r, const json_t *object, const char *key)
{
    const json_t *value = json_member(r, object, key);
    if (!json_is_boolean(value))
        json_bad(r, key);
    return json_is_true(value);
}

uint64_t json_get_int(struct json_reader *r, const json_t *object, const char *key, uint64_t max)
{
    const json_t *value = json_member(r, object, key);
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || (uint64_t)n > max) {
        json_bad(r, key);
        return 0;
    }
    return (uint64_t)n;
}

/* The one decimal form of a number: no sign but a minus, no needless zero. */
static const char *decimal(struct json_reader *r, const json_t *object, const char *key,
                           bool negative_too)
{
    const char *s = json_string_value(json_member(r, object, key));
    const char *digits = s;
    if (s != NULL && negative_too && *s == '-')
        digits++;
    if (s == NULL || *digits == 0 || strspn(digits, "0123456789") != strlen(digits) ||
        (digits[0] == '0' && (digits[1] != 0 || digits != s))) {
        json_bad(r, key);
        return "0";
    }
    return s;
}

uint64_t json_get_u64(struct json_reader *r, const json_t *object, const char *key)
{
    errno = 0;
    uint64_t value = strtoull(decimal(r, object, key, false), NULL, 10);
    if (errno != 0)
        json_bad(r, key);
    return r->bad ? 0 : value;
}

int64_t json_get_i64(struct json_reader *r, const json_t *object, const char *key)
{
    errno = 0;
    int64_t value = strtoll(decimal(r, object, key, true), NULL, 10);
    if (errno != 0)
        json_bad(r, key);
    return r->bad ? 0 : value;
}

/* The bytes of {"b64": ...}, with a zero byte behind. */
static uint8_t *decode_b64(struct json_reader *r, const json_t *value, const char *key, size_t *len)
{
    const char *text = json_string_value(json_object_get(value, "b64"));
    uint8_t *data = text != NULL ? calloc(1, strlen(text) + 1) : NULL;
    if (data == NULL || sodium_base642bin(data, strlen(text), text, strlen(text), NULL, len, NULL,
                                          sodium_base64_VARIANT_ORIGINAL) != 0) {
        free(data);
        json_bad(r, key);
        return NULL;
    }
    return data;
}

char *json_to_bytes(struct json_reader *r, const json_t *value, const char *key)
{
    if (json_is_string(value)) {
        char *s = strlen(json_string_value(value)) == json_string_length(value)
                      ? strdup(json_string_value(value))
                      : NULL;
        if (s == NULL)
            json_bad(r, key);
        return s;
    }
    size_t len = 0;
    char *s = (char *)decode_b64(r, value, key, &len);
    if (s != NULL && strlen(s) != len) {
        free(s);
        json_bad(r, key);
        return NULL;
    }
    return s;
}

uint8_t *json_get_data(struct json_reader *r, const json_t *object, const char *key, size_t *len)
{
    *len = 0;
    return decode_b64(r, json_member(r, object, key), key, len);
}

char *json_get_bytes(struct json_reader *r, const json_t *object, const char *key)
{
    const json_t *value = json_member(r, object, key);
    return value != NULL ? json_to_bytes(r, value, key) : NULL;
}

char *json_get_optional(struct json_reader *r, const json_t *object, const char *key)
{
    const json_t *value = json_member(r, object, key);
    return value == NULL || json_is_null(value) ? NULL : json_to_bytes(r, value, key);
}

void json_to_id(struct json_reader *r, const json_t *value, const char *key, struct cs_id *id)
{
    const char *hex = json_string_value(value);
    if (hex == NULL || !cs_id_parse(id, hex)) {
        memset(id, 0, sizeof *id);
        json_bad(r, key);
    }
}

void json_get_id(struct json_reader *r, const json_t *object, const char *key, struct cs_id *id)
{
    json_to_id(r, json_member(r, object, key), key, id);
}

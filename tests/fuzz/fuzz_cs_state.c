/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Payloads of log entries behind their seal, one after the other: u16 length and payload each. What
 * is refused must change nothing, and a state that came of it must survive its own checkpoint. A
 * first byte that is odd has the first payload loaded as a checkpoint.
 */
#include <stdlib.h>

#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static struct cs_buf checkpoint(const struct cs_state *state)
{
    struct cs_buf out = {0};
    cs_entry_begin(&out, CS_ENTRY_CHECKPOINT, 0);
    cs_entry_put_checkpoint(&out, state);
    require(!out.failed);
    return out;
}

static bool same(const struct cs_buf *a, const struct cs_buf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void apply(struct cs_state *state, uint64_t number, const uint8_t *data, size_t len,
                  bool load)
{
    struct cs_error err = {0};
    struct cs_buf before = checkpoint(state);
    int rc = load ? cs_state_load_checkpoint(state, number, data, len, &err)
                  : cs_state_apply(state, number, data, len, &err);
    if (rc < 0) {
        struct cs_buf after = checkpoint(state);
        require(err.code != 0 && err.message[0] != 0);
        require(same(&before, &after));
        cs_buf_clear(&after);
    }
    cs_buf_clear(&before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cs_reader r = cs_reader_of(data, size);
    struct cs_state state = {0}, again = {0};
    bool load = cs_get_u8(&r) & 1;
    if (cs_crypt_init(NULL) < 0)
        abort();
    for (uint64_t number = 0; cs_reader_left(&r) > 0; number++) {
        size_t len = cs_get_u16(&r);
        if (len > cs_reader_left(&r))
            len = cs_reader_left(&r);
        const uint8_t *payload = cs_get_bytes(&r, len);
        if (payload == NULL)
            break;
        apply(&state, number, payload, len, load);
        load = false;
    }
    if (state.epoch_count > 0) {
        struct cs_buf first = checkpoint(&state), second;
        require(cs_state_load_checkpoint(&again, 1, first.data, first.len, NULL) == 0);
        second = checkpoint(&again);
        require(same(&first, &second));
        cs_buf_clear(&first);
        cs_buf_clear(&second);
        cs_state_clear(&again);
    }
    for (size_t i = 0; i < state.pack_count; i++)
        require(cs_state_pack(&state, &state.packs[i].id) == &state.packs[i]);
    static const struct cs_name nowhere;
    for (size_t i = 0; i < state.lost_count; i++)
        require(memcmp(&state.lost[i].pack, &nowhere, sizeof nowhere) == 0 ||
                cs_state_pack(&state, &state.lost[i].pack) != NULL);
    cs_state_clear(&state);
    return 0;
}

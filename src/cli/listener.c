/* SPDX-License-Identifier: BSD-2-Clause */
/* Ties the engine's voice to this program's. */
#include "cli/listener.h"

#include "cli/message.h"
#include "cli/signals.h"

static void on_warning(void *arg, const char *message)
{
    (void)arg;
    message_warning("%s", message);
}

static void on_note(void *arg, const char *message)
{
    (void)arg;
    message_note("%s", message);
}

static void on_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
    progress_update(arg, what, done, total);
}

static void on_file(void *arg, size_t number, size_t count)
{
    progress_file(arg, number, count);
}

static void on_fresh(void *arg, uint64_t bytes)
{
    progress_fresh(arg, bytes);
}

struct engine_listener listener_for(struct progress *progress)
{
    return (struct engine_listener){
        .warning = on_warning,
        .note = on_note,
        .progress = on_progress,
        .file = progress ? on_file : NULL,
        .fresh = progress ? on_fresh : NULL,
        .arg = progress,
        .cancel = signals_cancel(),
    };
}

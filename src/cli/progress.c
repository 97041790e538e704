/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decides when to show progress and where; progress_format.c decides what it
 * looks like. The thread shows what it was told last, so that nothing stands
 * still while the command waits; it never touches stdout, which may be a pipe
 * that nobody reads.
 */
#include "cli/progress.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/output.h"
#include "cli/signals.h"

/* Seconds between two drawings, and the least for JSON, which is promised; between two looks of the
 * thread. */
#define BAR_INTERVAL   0.1
#define LINES_INTERVAL 10.0
#define JSON_INTERVAL  0.5
#define TICK           0.1

enum { LINE_MAX_BYTES = 1024 };

static double now(void)
{
    struct timespec ts = {0};

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

double progress_seconds(const struct progress *progress)
{
    return now() - progress->started;
}

/* ---- how it is shown ---- */

static size_t terminal_columns(void)
{
    struct winsize size = {0};

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
        return size.ws_col;
    return 80;
}

/* Whether drawing disturbs nobody: in the background the terminal is somebody else's, and one that
 * was stopped (Ctrl-S) would stop the command with it. */
static bool terminal_takes_it(void)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    pid_t foreground = tcgetpgrp(STDERR_FILENO);

    return (foreground < 0 || foreground == getpgrp()) && poll(&fd, 1, 0) == 1 &&
           (fd.revents & POLLOUT);
}

static void draw_bar(const struct progress *progress, const struct progress_state *state)
{
    char line[LINE_MAX_BYTES];

    if (!terminal_takes_it())
        return;
    /* The last column stays free: writing there makes some terminals wrap. */
    progress_format(line, sizeof line, terminal_columns() - 1, progress->colour, state);
    message_line(line);
}

static void print_json(FILE *stream, const struct progress_state *state)
{
    double fraction = state->total ? (double)state->done / (double)state->total : 0;
    json_t *line = json_pack("{s:s}", "message_type", "status");

    /* A fraction in spite of its name, as in restic; four digits tell enough. */
    json_object_set_new(line, "percent_done",
                        json_real(fraction > 1 ? 1 : (double)(int)(fraction * 10000) / 10000));
    json_object_set_new(line, "bytes_done", output_size(state->done));
    json_object_set_new(line, "bytes_total", output_size(state->total));
    if (state->counts_fresh)
        json_object_set_new(line, "bytes_new", output_size(state->fresh));
    json_object_set_new(line, "seconds_remaining",
                        state->left >= 0 ? json_integer((json_int_t)(state->left + 0.5))
                                         : json_null());
    json_object_set_new(line, "file", output_string(state->what));
    output_json(stream, line);
}

static void print_sentence(const struct progress_state *state)
{
    char text[LINE_MAX_BYTES];

    progress_describe(text, sizeof text, state);
    message_status("%s", text);
}

/* What was told last, as of now; ${what}: for its copy of the name. Wants the mutex. */
static struct progress_state snapshot(const struct progress *progress, char what[256])
{
    struct progress_state state = progress->state;
    uint64_t rest = state.total > state.done ? state.total - state.done : 0;

    memcpy(what, progress->what, sizeof progress->what);
    state.what = signals_seen() ? "stopping" : what;
    state.rate = progress_rate_now(&progress->rate, now(), state.done);
    state.left = progress_rate_left(state.rate, rest);
    return state;
}

/* Shows what was told last where that is due. Wants the mutex, and releases it meanwhile. */
static void show_if_due(struct progress *progress)
{
    struct progress_state state;
    char what[256];
    double time = now();

    if (!progress->known || time < progress->next)
        return;
    progress->next = time + progress->interval;
    state = snapshot(progress, what);
    pthread_mutex_unlock(&progress->mutex);
    if (progress->style == PROGRESS_BAR)
        draw_bar(progress, &state);
    else if (progress->style == PROGRESS_LINES)
        print_sentence(&state);
    else if (progress->style == PROGRESS_JSON)
        print_json(progress->stream, &state);
    pthread_mutex_lock(&progress->mutex);
}

/* Answers SIGUSR1. Wants the mutex, and releases it meanwhile. */
static void answer(struct progress *progress)
{
    struct progress_state state;
    char what[256];

    state = snapshot(progress, what);
    pthread_mutex_unlock(&progress->mutex);
    if (progress->json)
        print_json(stderr, &state);
    else
        print_sentence(&state);
    pthread_mutex_lock(&progress->mutex);
}

/* ---- the thread ---- */

static void *watch(void *arg)
{
    struct progress *progress = arg;

    pthread_mutex_lock(&progress->mutex);
    while (!progress->ending) {
        struct timespec until = {0};

        if (progress->known && signals_take_status())
            answer(progress);
        if (progress->style != PROGRESS_JSON)
            show_if_due(progress);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)(TICK * 1e9);
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (!progress->ending)
            pthread_cond_clockwait(&progress->end, &progress->mutex, CLOCK_MONOTONIC, &until);
    }
    pthread_mutex_unlock(&progress->mutex);
    return NULL;
}

/* Without it the bar stands still now and then, which is no reason to fail. */
static void start_thread(struct progress *progress)
{
    sigset_t all;
    sigset_t before;

    /* A signal has to end what the command's own thread waits for. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    progress->has_thread = pthread_create(&progress->thread, NULL, watch, progress) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- from the command ---- */

/* What BYRE_PROGRESS_FPS asks for, else ${interval}. */
static double chosen_interval(double interval)
{
    const char *text = getenv("BYRE_PROGRESS_FPS");
    char *end = NULL;
    double fps;

    if (!text)
        return interval;
    fps = strtod(text, &end);
    return end != text && *end == '\0' && fps > 0 && fps <= 60 ? 1 / fps : interval;
}

/* Whether the terminal can draw a line over again, and in colour. */
static bool terminal_is_able(void)
{
    const char *term = getenv("TERM");

    return term && *term && strcmp(term, "dumb") != 0;
}

static bool colour_wanted(void)
{
    const char *no_color = getenv("NO_COLOR");

    return !(no_color && *no_color);
}

static void choose_style(struct progress *progress, const struct global_options *options)
{
    if (options->json) {
        progress->style = PROGRESS_JSON;
        progress->interval = JSON_INTERVAL;
    } else if (options->no_progress || (options->quiet && !options->progress)) {
        progress->style = PROGRESS_NONE;
    } else if (isatty(STDERR_FILENO) && terminal_is_able()) {
        progress->style = PROGRESS_BAR;
        progress->colour = colour_wanted();
        progress->interval = chosen_interval(BAR_INTERVAL);
    } else if (options->progress) {
        progress->style = PROGRESS_LINES;
        progress->interval = chosen_interval(LINES_INTERVAL);
    }
}

void progress_begin(struct progress *progress, const struct global_options *options, FILE *stream)
{
    memset(progress, 0, sizeof *progress);
    progress->begun = true;
    progress->started = now();
    progress->stream = stream;
    progress->json = options->json;
    choose_style(progress, options);
    pthread_mutex_init(&progress->mutex, NULL);
    pthread_cond_init(&progress->end, NULL);
    start_thread(progress);
}

void progress_update(struct progress *progress, const char *what, uint64_t done, uint64_t total)
{
    if (!progress->begun)
        return;
    pthread_mutex_lock(&progress->mutex);
    progress->known = true;
    progress->what[0] = '\0';
    if (what) {
        const char *base = strrchr(what, '/');

        strncat(progress->what, base ? base + 1 : what, sizeof progress->what - 1);
    }
    progress->state.done = done;
    progress->state.total = total;
    progress_rate_add(&progress->rate, now(), done);
    show_if_due(progress);
    pthread_mutex_unlock(&progress->mutex);
}

void progress_file(struct progress *progress, size_t number, size_t count)
{
    if (!progress->begun)
        return;
    pthread_mutex_lock(&progress->mutex);
    progress->state.number = number;
    progress->state.count = count;
    pthread_mutex_unlock(&progress->mutex);
}

void progress_fresh(struct progress *progress, uint64_t bytes)
{
    if (!progress->begun)
        return;
    pthread_mutex_lock(&progress->mutex);
    progress->state.counts_fresh = true;
    progress->state.fresh = bytes;
    pthread_mutex_unlock(&progress->mutex);
}

void progress_end(struct progress *progress)
{
    if (!progress->begun)
        return;
    progress->begun = false;
    pthread_mutex_lock(&progress->mutex);
    progress->ending = true;
    pthread_cond_signal(&progress->end);
    pthread_mutex_unlock(&progress->mutex);
    if (progress->has_thread)
        pthread_join(progress->thread, NULL);
    if (progress->style == PROGRESS_BAR)
        message_line(NULL);
    progress->style = PROGRESS_NONE;
    pthread_cond_destroy(&progress->end);
    pthread_mutex_destroy(&progress->mutex);
}

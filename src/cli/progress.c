/* SPDX-License-Identifier: BSD-2-Clause */
/* Decides when to show progress and where; progress_format.c decides what it looks like. */
#include "cli/progress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/output.h"

/* Seconds between two drawings, and the least for JSON, which is promised. */
#define BAR_INTERVAL   0.1
#define LINES_INTERVAL 10.0
#define JSON_INTERVAL  0.5

static double now(void)
{
    struct timespec ts = {0};

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

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

static bool colour_wanted(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    return !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

void progress_begin(struct progress *progress, const struct global_options *options, FILE *json)
{
    memset(progress, 0, sizeof *progress);
    progress->started = now();
    if (options->json) {
        progress->style = PROGRESS_JSON;
        progress->json = json;
        progress->interval = JSON_INTERVAL;
    } else if (options->no_progress || (options->quiet && !options->progress)) {
        progress->style = PROGRESS_NONE;
    } else if (isatty(STDERR_FILENO)) {
        progress->style = PROGRESS_BAR;
        progress->colour = colour_wanted();
        progress->interval = chosen_interval(BAR_INTERVAL);
    } else if (options->progress) {
        progress->style = PROGRESS_LINES;
        progress->interval = chosen_interval(LINES_INTERVAL);
    }
}

double progress_seconds(const struct progress *progress)
{
    return now() - progress->started;
}

static size_t terminal_columns(void)
{
    struct winsize size = {0};

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
        return size.ws_col;
    return 80;
}

static void status_line(FILE *stream, uint64_t done, uint64_t total, double seconds)
{
    double fraction = total ? (double)done / (double)total : 0;
    json_t *line = json_pack("{s:s}", "message_type", "status");

    /* A fraction in spite of its name, as in restic; four digits tell enough. */
    json_object_set_new(line, "percent_done",
                        json_real(fraction > 1 ? 1 : (double)(int)(fraction * 10000) / 10000));
    json_object_set_new(line, "bytes_done", output_size(done));
    json_object_set_new(line, "bytes_total", output_size(total));
    json_object_set_new(line, "seconds_remaining",
                        done && done <= total
                            ? json_integer((json_int_t)(seconds / fraction - seconds + 0.5))
                            : json_null());
    output_json(stream, line);
}

void progress_update(struct progress *progress, const char *what, uint64_t done, uint64_t total)
{
    char line[1024];
    double time;

    if (progress->style == PROGRESS_NONE)
        return;
    time = now();
    if (time < progress->next)
        return;
    progress->next = time + progress->interval;
    time -= progress->started;
    switch (progress->style) {
    case PROGRESS_BAR:
        /* The last column stays free: writing there makes some terminals wrap. */
        progress_format(line, sizeof line, terminal_columns() - 1, progress->colour, what, done,
                        total, time);
        message_line(line);
        break;
    case PROGRESS_LINES:
        progress_format(line, sizeof line, 79, false, what, done, total, time);
        fprintf(stderr, "%s\n", line);
        break;
    case PROGRESS_JSON:
        status_line(progress->json, done, total, time);
        break;
    case PROGRESS_NONE:
        break;
    }
}

void progress_end(struct progress *progress)
{
    if (progress->style == PROGRESS_BAR)
        message_line(NULL);
    progress->style = PROGRESS_NONE;
}

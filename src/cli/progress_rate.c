/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rate of the last ten seconds, from samples half a second apart. What is
 * passed over unread goes by at once, so an average since the beginning would
 * promise for long what it cannot keep.
 */
#include "cli/progress_rate.h"

/* Seconds: between two samples; before anything is told; at most worth telling. */
#define SAMPLE_INTERVAL 0.5
#define TOO_EARLY       2.0
#define LEFT_MAX        (100 * 86400.0)

void progress_rate_add(struct progress_rate *rate, double time, uint64_t done)
{
    if (rate->count && done < rate->done[rate->newest]) /* something else has begun */
        *rate = (struct progress_rate){0};
    if (rate->count && time < rate->time[rate->newest] + SAMPLE_INTERVAL)
        return;
    if (rate->count)
        rate->newest = (rate->newest + 1) % PROGRESS_SAMPLES;
    if (rate->count < PROGRESS_SAMPLES)
        rate->count++;
    rate->time[rate->newest] = time;
    rate->done[rate->newest] = done;
}

double progress_rate_now(const struct progress_rate *rate, double time, uint64_t done)
{
    unsigned oldest = rate->count < PROGRESS_SAMPLES ? 0 : (rate->newest + 1) % PROGRESS_SAMPLES;
    double seconds;

    if (!rate->count)
        return -1;
    seconds = time - rate->time[oldest];
    if (seconds < TOO_EARLY || done < rate->done[oldest])
        return -1;
    return (double)(done - rate->done[oldest]) / seconds;
}

double progress_rate_left(double rate, uint64_t rest)
{
    /* Less than a byte a second is none. */
    return rate >= 1 && (double)rest / rate <= LEFT_MAX ? (double)rest / rate : -1;
}

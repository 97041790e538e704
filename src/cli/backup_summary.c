/* SPDX-License-Identifier: BSD-2-Clause */
/* How a command that has made an archive tells so. */
#include "cli/backup_summary.h"

#include "cli/compression.h"
#include "cli/output.h"
#include "cli/units.h"

enum { SHORT_ID = 8 };

static void print_json(const struct engine_backup_result *result, const struct live_result *live,
                       bool dry_run, double seconds)
{
    const struct cs_counters *stored = &result->stored;
    json_t *json = json_pack("{s:s}", "message_type", "summary");

    json_object_set_new(json, "dry_run", json_boolean(dry_run));
    json_object_set_new(json, "archive", dry_run ? json_null() : output_id(&result->archive));
    json_object_set_new(json, "name", output_string(result->name));
    json_object_set_new(json, "parent",
                        result->parent[0] ? json_string(result->parent) : json_null());
    json_object_set_new(json, "layers_total", output_size(result->layers_total));
    json_object_set_new(json, "layers_unchanged", output_size(result->layers_unchanged));
    json_object_set_new(json, "bytes_allocated", output_size(result->bytes_allocated));
    json_object_set_new(json, "bytes_read", output_size(result->bytes_read));
    json_object_set_new(json, "bytes_metadata_read", output_size(result->bytes_metadata_read));
    json_object_set_new(json, "bytes_new", output_size(stored->bytes_new));
    json_object_set_new(json, "bytes_stored", output_size(stored->bytes_stored));
    json_object_set_new(json, "chunks_total", output_size(stored->chunks_total));
    json_object_set_new(json, "chunks_new", output_size(stored->chunks_new));
    compression_report(json, stored);
    json_object_set_new(json, "bitmaps_obsolete", output_size(result->bitmaps_obsolete));
    if (live) {
        json_object_set_new(json, "disks", output_size(live->disks));
        json_object_set_new(json, "overlay_bytes", output_size(live->overlay_bytes));
        json_object_set_new(json, "pause_seconds", output_seconds(live->pause_seconds));
    }
    json_object_set_new(json, "top_in_use_as_base", json_boolean(result->top_in_use_as_base));
    json_object_set_new(json, "seconds", output_seconds(seconds));
    output_json(stdout, json);
}

static void print_text(const struct engine_backup_result *result, bool dry_run, double seconds)
{
    char hex[CS_ID_HEX];
    char allocated[UNITS_TEXT];
    char fresh[UNITS_TEXT];
    char stored[UNITS_TEXT];
    char duration[UNITS_TEXT];

    cs_id_hex(&result->archive, hex)[SHORT_ID] = '\0';
    if (dry_run)
        printf("nothing saved (dry run)");
    else
        printf("archive %s saved", hex);
    printf(": %llu layer%s, %s allocated, %s new, ", (unsigned long long)result->layers_total,
           result->layers_total == 1 ? "" : "s", units_size(result->bytes_allocated, allocated),
           units_size(result->stored.bytes_new, fresh));
    if (!dry_run)
        printf("%s stored, ", units_size(result->stored.bytes_stored, stored));
    printf("%s\n", units_duration(seconds, duration));
}

void backup_summary(const struct global_options *options, const struct engine_backup_result *result,
                    const struct live_result *live, bool dry_run, double seconds)
{
    if (options->json)
        print_json(result, live, dry_run, seconds);
    else if (!options->quiet)
        print_text(result, dry_run, seconds);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* One layer into the store: its file is described here, its parts are stored by the neighbours. */
#include "engine/backup_layer.h"

#include <string.h>

#include "engine/backup_qcow2.h"
#include "engine/file_identity.h"

static int describe_file(const struct layer *layer, struct record_layer *record, struct error *err)
{
    record->virtual_size = layer->virtual_size;
    record->file_size = layer->file_size;
    record->mode = layer->st.st_mode;
    record->uid = layer->st.st_uid;
    record->gid = layer->st.st_gid;
    record->mtime_ns = layer->st.st_mtim.tv_sec * 1000000000LL + layer->st.st_mtim.tv_nsec;
    record->ctime_ns = layer->st.st_ctim.tv_sec * 1000000000LL + layer->st.st_ctim.tv_nsec;
    record->device = layer->st.st_dev;
    record->inode = layer->st.st_ino;
    record->host_bytes = (uint64_t)layer->st.st_blocks * 512;
    record->path = strdup(layer->path);
    record->real_path = strdup(layer->real_path);
    record->opened_as = strdup(layer->opened_as);
    record->delta = strdup("full-read");
    record->delta_reason = strdup("every allocated cluster was read");
    if (record->path == NULL || record->real_path == NULL || record->opened_as == NULL ||
        record->delta == NULL || record->delta_reason == NULL)
        return error_no_memory(err);
    return file_identity(layer->fd, layer->path, &record->fs_type, &record->fs_uuid, err);
}

int backup_layer(struct cs_store *store, struct cs_writer *writer, const struct layer *layer,
                 struct backup_progress *progress, struct record_layer *record,
                 uint64_t *bytes_read, uint64_t *bytes_metadata_read, struct error *err)
{
    struct layer_job job = {
        .store = store,
        .writer = writer,
        .layer = layer,
        .progress = progress,
        .record = record,
        .region_size = cs_region_size(store),
    };
    bool qcow2 = layer->format == LAYER_QCOW2;
    int rc = describe_file(layer, record, err);
    if (rc == 0 && qcow2)
        rc = backup_qcow2_metadata(&job, err);
    if (rc == 0)
        rc = qcow2 ? backup_qcow2_views(&job, err) : backup_raw(&job, err);
    if (rc == 0)
        record->bytes_allocated =
            qcow2 ? record->views->placement.bytes : record->views->content.bytes;
    if (qcow2) {
        *bytes_metadata_read += qcow2_image_metadata_read(layer->image);
        *bytes_read += qcow2_image_data_read(layer->image);
    }
    *bytes_read += job.bytes_read;
    return rc;
}

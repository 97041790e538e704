/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_LIBVIRT_CALLS_H
#define BYRE_LIVE_LIBVIRT_CALLS_H

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "base/error.h"

/*
 * libvirt's library, loaded where a domain is asked for and not before: it brings
 * forty more, which would cost every other call of byre more than it does itself.
 * What libvirt calls virDomainFree is vir.DomainFree here.
 */

/* Those that byre makes, without their "vir". */
#define LIBVIRT_CALLS(CALL)                                                                        \
    CALL(ConnectClose)                                                                             \
    CALL(ConnectGetType)                                                                           \
    CALL(ConnectGetURI)                                                                            \
    CALL(ConnectOpen)                                                                              \
    CALL(DomainBlockCommit)                                                                        \
    CALL(DomainBlockJobAbort)                                                                      \
    CALL(DomainCheckpointCreateXML)                                                                \
    CALL(DomainCheckpointDelete)                                                                   \
    CALL(DomainCheckpointFree)                                                                     \
    CALL(DomainCheckpointLookupByName)                                                             \
    CALL(DomainDefineXML)                                                                          \
    CALL(DomainFSThaw)                                                                             \
    CALL(DomainFree)                                                                               \
    CALL(DomainGetBlockInfo)                                                                       \
    CALL(DomainGetBlockJobInfo)                                                                    \
    CALL(DomainGetName)                                                                            \
    CALL(DomainGetState)                                                                           \
    CALL(DomainGetUUID)                                                                            \
    CALL(DomainGetUUIDString)                                                                      \
    CALL(DomainGetXMLDesc)                                                                         \
    CALL(DomainIsActive)                                                                           \
    CALL(DomainLookupByName)                                                                       \
    CALL(DomainLookupByUUIDString)                                                                 \
    CALL(DomainResume)                                                                             \
    CALL(DomainSnapshotCreateXML)                                                                  \
    CALL(DomainSnapshotFree)                                                                       \
    CALL(GetLastErrorCode)                                                                         \
    CALL(GetLastErrorMessage)                                                                      \
    CALL(Initialize)                                                                               \
    CALL(SecretDefineXML)                                                                          \
    CALL(SecretFree)                                                                               \
    CALL(SecretGetUUIDString)                                                                      \
    CALL(SecretLookupByUsage)                                                                      \
    CALL(SecretSetValue)                                                                           \
    CALL(SecretUndefine)                                                                           \
    CALL(SetErrorFunc)

#define LIBVIRT_CALL(name) __typeof__(vir##name) *(name);
struct libvirt_calls {
    LIBVIRT_CALLS(LIBVIRT_CALL)
};
#undef LIBVIRT_CALL

extern struct libvirt_calls vir; /* of use once libvirt_load has returned 0; never changes then */

/* Loads it, unless it is. ERROR_UNSUPPORTED: it is not there. From any thread. */
int libvirt_load(struct error *err);

#endif

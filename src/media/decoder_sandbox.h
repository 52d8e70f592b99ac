/*
 * What a decoder's child gives up before it looks at a byte of the file:
 *
 * - Privileges: none can be gained (PR_SET_NO_NEW_PRIVS), nobody can trace it (PR_SET_DUMPABLE).
 * - Limits: address space, no further descriptor, no file written, no core.
 * - System calls: a seccomp allow-list of what decoding needs, which is memory, threads, the clock,
 *   reading the file and talking to the parent. Opening anything fails; all else, sockets (but for
 *   a camera's) and programs among it, kills the process.
 *
 * It is in force for all threads that are started later.
 */
#ifndef NX_MEDIA_DECODER_SANDBOX_H
#define NX_MEDIA_DECODER_SANDBOX_H

#include "base/error.h"

#include <stdint.h>

/* Before that: closes all descriptors from `first` on, points standard error nowhere, and has the
 * process killed when the thread that started it, of process `parent`, ends. Errors:
 * NX_ERR_UNAVAILABLE. */
nx_status nx_sandbox_detach(unsigned first, int parent, nx_error *err);

typedef enum nx_sandbox {
    NX_SANDBOX_FILE,
    /* IPv4 and IPv6 sockets may be made and connected besides, and nobody can be listened for.
     * Which addresses, a filter of system calls can't see: who starts the child checks them. */
    NX_SANDBOX_ONLINE,
    /* A V4L2 device that is open already may be asked for frames, and given its buffers back. */
    NX_SANDBOX_DEVICE,
} nx_sandbox;

/* memory_limit: bytes that the process may map beyond what it has now. There is no way back.
 * Errors: NX_ERR_UNAVAILABLE with what the system refused. */
nx_status nx_sandbox_enter(nx_sandbox sandbox, uint64_t memory_limit, nx_error *err);

#endif

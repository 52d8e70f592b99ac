/* The child of a decoder as its parent sees it: started, told, heard, killed. For decoder.c. */
#ifndef NX_MEDIA_DECODER_PROCESS_H
#define NX_MEDIA_DECODER_PROCESS_H

#include "media/decoder_wire.h"

#include <sys/types.h>

typedef struct nx_decoder_process {
    pid_t pid;   /* 0: none */
    int control; /* our end of the socket; -1: none */
} nx_decoder_process;

/* How a process ended, as a sentence, and whether that is the file's fault. */
typedef struct nx_decoder_death {
    nx_status status;
    char text[128];
} nx_decoder_death;

/* Runs this program as a decoder with the descriptors, which stay the caller's (media negative:
 * none), and an environment without anything that is not needed. Errors: NX_ERR_UNAVAILABLE. */
nx_status nx_process_start(int video, int ring, int media, nx_decoder_process *out, nx_error *err);

/* Kills and reaps the child, if there is one; the socket stays. */
nx_decoder_death nx_process_kill(nx_decoder_process *process);

/* Errors: NX_ERR_UNAVAILABLE (it has gone, or does not read). Never waits, raises no signal. */
nx_status nx_process_tell(const nx_decoder_process *process, const nx_wire_to_child *order,
                          nx_error *err);

typedef enum nx_heard { NX_HEARD_NEWS, NX_HEARD_NOTHING, NX_HEARD_END } nx_heard;

/* The child's next message, waited for until a time of nx_clock_now_ns. NX_HEARD_NOTHING: the time
 * is up; NX_HEARD_END: the child, or the socket, has gone, or what it said is no message. */
nx_heard nx_process_hear(const nx_decoder_process *process, int64_t until_ns,
                         nx_wire_to_parent *news);

#endif

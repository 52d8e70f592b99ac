/* The video itself, as a decoder's child sends it: read by a thread of its own, which believes
 * nothing of what it reads. For decoder.c. */
#ifndef NX_MEDIA_DECODER_MEDIA_H
#define NX_MEDIA_DECODER_MEDIA_H

#include "media/decoder.h"

typedef struct nx_media_reader nx_media_reader;

/* *child: the end for the child, which the caller closes. to is copied. Errors: NX_ERR_NO_MEMORY,
 * NX_ERR_UNAVAILABLE. */
nx_status nx_media_reader_start(const nx_decoder_media *to, nx_media_reader **out, int *child,
                                nx_error *err);

/* Reads what is left and waits for the end, which comes when the child has gone and its end is
 * closed. NULL is fine. */
void nx_media_reader_free(nx_media_reader *reader);

#endif

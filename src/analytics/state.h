/*
 * The state of trackers, zones and their like as bytes: little-endian, each field of a fixed width,
 * numbers by their bits, so that a job that goes on from a checkpoint ends with the results of one
 * that was never stopped. A state begins with eight letters of its kind and a version.
 *
 * A reader checks bounds only; what the fields mean is checked by whoever reads them. Plain data.
 */
#ifndef NX_ANALYTICS_STATE_H
#define NX_ANALYTICS_STATE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_STATE_KIND_BYTES 8

/* kind: exactly eight letters. Writers fail as nx_buffer does. */
void nx_state_begin(nx_buffer *out, const char *kind, uint32_t version);
void nx_state_put_u32(nx_buffer *out, uint32_t value);
void nx_state_put_u64(nx_buffer *out, uint64_t value);
void nx_state_put_i64(nx_buffer *out, int64_t value);
void nx_state_put_double(nx_buffer *out, double value);
/* A state inside another, or nothing: its size, then its bytes. A part that failed fails out. */
void nx_state_put_part(nx_buffer *out, const nx_buffer *part);

typedef struct nx_state_reader {
    const uint8_t *at; /* borrowed */
    const uint8_t *end;
    bool bad; /* the bytes ended early, or a field was refused; all further fields read as 0 */
} nx_state_reader;

/* Reads the head. Errors: NX_ERR_CORRUPT (of another kind), NX_ERR_UNSUPPORTED (another version).
 * what: "tracker", for messages. */
nx_status nx_state_open(const void *bytes, size_t size, const char *kind, uint32_t version,
                        const char *what, nx_state_reader *out, nx_error *err);
uint32_t nx_state_u32(nx_state_reader *reader);
uint64_t nx_state_u64(nx_state_reader *reader);
int64_t nx_state_i64(nx_state_reader *reader);
double nx_state_double(nx_state_reader *reader); /* NAN and infinities make the reader bad */
/* A count of entries of at least entry_bytes each: more than `most`, or than the bytes that are
 * left hold, makes the reader bad and gives 0. */
size_t nx_state_count(nx_state_reader *reader, size_t most, size_t entry_bytes);
/* What nx_state_put_part wrote, borrowed; *size is 0 when the reader is bad. */
const uint8_t *nx_state_part(nx_state_reader *reader, size_t *size);
/* Refuses what a field says unless ok. */
void nx_state_expect(nx_state_reader *reader, bool ok);

/* NX_OK when all was read, and nothing is left over; else NX_ERR_CORRUPT. */
nx_status nx_state_close(const nx_state_reader *reader, const char *what, nx_error *err);

#endif

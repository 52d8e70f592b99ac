/* Protobuf bytes looked over before a library unpacks them. Not for other modules. */
#ifndef NX_OPTIMIZE_WIRE_H
#define NX_OPTIMIZE_WIRE_H

#include "base/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* Messages inside messages; an ONNX model without control flow needs 7. */
#define NX_WIRE_MAX_DEPTH 16

/*
 * Walks a message by its descriptor: every length lies inside the message around it, and nothing
 * nests deeper than NX_WIRE_MAX_DEPTH (protobuf-c unpacks by recursion without a limit of its own).
 * name is for messages. Allocates nothing. Errors: NX_ERR_CORRUPT.
 */
nx_status nx_wire_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                        size_t size, const char *name, nx_error *err);

#endif

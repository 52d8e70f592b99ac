/*
 * Inference requests of the KServe protocol: the JSON, the binary data behind it, and the elements
 * of every tensor. The first two bytes are the length of the JSON, 0xffff for all of it.
 */
#include "api/kserve_request.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(nx_status status, const nx_error *err)
{
    if (err->status != status || err->message[0] == '\0' ||
        memchr(err->message, '\0', sizeof err->message) == NULL) {
        abort();
    }
}

/* What was read must read back the same. */
static void check_round_trip(const nx_tensor *tensor)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    nx_kserve_write_json(tensor, &json);
    void *back = malloc(tensor->bytes > 0 ? tensor->bytes : 1);
    nx_error err = {0};
    if (back == NULL || text.failed ||
        nx_kserve_read_json((nx_json_span){text.data, text.size}, tensor, back, &err) != NX_OK ||
        memcmp(back, tensor->data, tensor->bytes) != 0) {
        abort();
    }
    free(back);
    nx_buffer_free(&text);
}

static void read_elements(const nx_kserve_input *input)
{
    nx_tensor tensor = {.name = input->name, .type = input->datatype->type, .rank = input->rank};
    memcpy(tensor.dims, input->dims, sizeof tensor.dims);
    size_t width = nx_type_size(tensor.type);
    tensor.bytes = input->elements * (width > 0 ? width : 1);
    tensor.data = malloc(tensor.bytes > 0 ? tensor.bytes : 1);
    nx_error err = {0};
    nx_status status = nx_kserve_read_json(input->data, &tensor, tensor.data, &err);
    if (status != NX_OK) {
        check_error(status, &err);
    } else {
        check_round_trip(&tensor);
    }
    free(tensor.data);
}

static void read_bytes(const nx_kserve_input *input)
{
    const char *at = input->data.text;
    const char *end = at + input->data.size;
    nx_json_span element;
    size_t total = 0;
    while (nx_kserve_next_bytes(&at, end, &element)) {
        for (size_t i = 0; i < element.size; i++) {
            total += (unsigned char)element.text[i]; /* so that reading past the end is seen */
        }
    }
    volatile size_t sink = total;
    (void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t header = (size_t)data[0] | (size_t)data[1] << 8;
    size -= 2;
    char *body = malloc(size > 0 ? size : 1); /* exact, so that reading past it is seen */
    if (body == NULL) {
        return 0;
    }
    memcpy(body, data + 2, size);
    nx_kserve_request request;
    nx_error err = {0};
    nx_status status =
        nx_kserve_request_parse(body, size, header == 0xffff ? SIZE_MAX : header, &request, &err);
    if (status != NX_OK) {
        check_error(status, &err);
    }
    for (size_t i = 0; status == NX_OK && i < request.input_count; i++) {
        if (request.inputs[i].binary) {
            read_bytes(&request.inputs[i]);
        } else {
            read_elements(&request.inputs[i]);
        }
    }
    nx_kserve_request_free(&request);
    free(body);
    return 0;
}

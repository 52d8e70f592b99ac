#include "api/kserve_request.h"

#include <stdlib.h>
#include <string.h>

#define MAX_NAME 1024

/* A parse under way. Functions return false when either the reader or err says why. */
typedef struct parse {
    nx_json_reader reader;
    nx_kserve_request *out;
    int8_t *output_binary; /* of each output: -1 for not given, since the default may come later */
    nx_error *err;         /* status is NX_OK while the reader is to blame */
} parse;

static bool refuse(parse *self, nx_status status, const char *what, const char *name)
{
    nx_error_set(self->err, status, "%s%s%.200s%s", what, name != NULL ? " '" : "",
                 name != NULL ? name : "", name != NULL ? "'" : "");
    return false;
}

static bool no_memory(parse *self)
{
    return refuse(self, NX_ERR_NO_MEMORY, "no memory for the request", NULL);
}

/* --- values ------------------------------------------------------------------------------------
 */

/* A string of its own, without NUL in it. */
static bool read_text(parse *self, char **out)
{
    nx_buffer text = NX_BUFFER_INIT;
    if (!nx_json_read_string(&self->reader, &text)) {
        nx_buffer_free(&text);
        return false;
    }
    nx_buffer_cstr(&text); /* ends it */
    bool sane = text.size <= MAX_NAME && !text.failed && strlen(text.data) == text.size;
    if (!sane) {
        nx_buffer_free(&text);
        return nx_json_refuse(&self->reader, "a name that is too long or has a NUL, before here");
    }
    free(*out);
    *out = text.data;
    return true;
}

static bool read_shape(parse *self, nx_kserve_input *input)
{
    if (!nx_json_enter_array(&self->reader)) {
        return false;
    }
    input->rank = 0;
    while (nx_json_next_element(&self->reader)) {
        int64_t size = 0;
        if (!nx_json_read_int(&self->reader, &size)) {
            return false;
        }
        if (size < 0) {
            return nx_json_refuse(&self->reader, "a negative dimension, before here");
        }
        if (input->rank == NX_TENSOR_MAX_RANK) {
            return nx_json_refuse(&self->reader, "a shape of more than 8 dimensions, before here");
        }
        input->dims[input->rank++] = size;
    }
    if (self->reader.wrong == NULL &&
        !nx_kserve_elements(input->dims, input->rank, &input->elements)) {
        return nx_json_refuse(&self->reader, "a shape with too many elements, before here");
    }
    return self->reader.wrong == NULL;
}

static bool read_datatype(parse *self, nx_kserve_input *input)
{
    char *name = NULL;
    if (!read_text(self, &name)) {
        return false;
    }
    input->datatype = nx_kserve_datatype_named(name);
    bool known = input->datatype != NULL ||
                 refuse(self, NX_ERR_INVALID, "there is no support for the datatype", name);
    free(name);
    return known;
}

/* --- inputs ------------------------------------------------------------------------------------
 */

static bool read_input_parameters(parse *self, nx_kserve_input *input)
{
    nx_json_span key;
    if (!nx_json_enter_object(&self->reader)) {
        return false;
    }
    while (nx_json_next_member(&self->reader, &key)) {
        int64_t size = 0;
        if (nx_json_key_is(key, "binary_data_size")) {
            if (!nx_json_read_int(&self->reader, &size)) {
                return false;
            }
            if (size < 0) {
                return nx_json_refuse(&self->reader, "a negative binary_data_size, before here");
            }
            input->binary = true;
            input->data.size = (size_t)size;
        } else if (nx_json_key_is(key, "shared_memory_region")) {
            return refuse(self, NX_ERR_INVALID, "shared memory is not supported", NULL);
        } else if (!nx_json_skip(&self->reader, NULL)) {
            return false;
        }
    }
    return self->reader.wrong == NULL;
}

static bool read_input_member(parse *self, nx_kserve_input *input, nx_json_span key,
                              nx_json_span *data, bool *shaped)
{
    if (nx_json_key_is(key, "name")) {
        return read_text(self, &input->name);
    }
    if (nx_json_key_is(key, "datatype")) {
        return read_datatype(self, input);
    }
    if (nx_json_key_is(key, "shape")) {
        *shaped = true;
        return read_shape(self, input);
    }
    if (nx_json_key_is(key, "parameters")) {
        return read_input_parameters(self, input);
    }
    return nx_json_skip(&self->reader, nx_json_key_is(key, "data") ? data : NULL);
}

static bool check_input(parse *self, nx_kserve_input *input, nx_json_span data, bool shaped)
{
    if (input->name == NULL) {
        return refuse(self, NX_ERR_INVALID, "an input has no 'name'", NULL);
    }
    if (input->datatype == NULL) {
        return refuse(self, NX_ERR_INVALID, "there is no 'datatype' for input", input->name);
    }
    if (!shaped) {
        return refuse(self, NX_ERR_INVALID, "there is no 'shape' for input", input->name);
    }
    if (input->binary == (data.text != NULL)) {
        return refuse(self, NX_ERR_INVALID,
                      input->binary ? "there is 'data' beside binary data for input"
                                    : "there is neither 'data' nor 'binary_data_size' for input",
                      input->name);
    }
    if (!input->binary) {
        input->data = data;
        if (nx_kserve_least_json(input->elements) > data.size) {
            return refuse(self, NX_ERR_INVALID,
                          "the data has fewer elements than the shape of input", input->name);
        }
    }
    for (size_t i = 0; i + 1 < self->out->input_count; i++) {
        if (strcmp(self->out->inputs[i].name, input->name) == 0) {
            return refuse(self, NX_ERR_INVALID, "there are two inputs", input->name);
        }
    }
    return true;
}

static bool read_input(parse *self)
{
    nx_kserve_input *input = &self->out->inputs[self->out->input_count++];
    nx_json_span data = {NULL, 0};
    nx_json_span key;
    bool shaped = false;
    if (!nx_json_enter_object(&self->reader)) {
        return false;
    }
    while (nx_json_next_member(&self->reader, &key)) {
        if (!read_input_member(self, input, key, &data, &shaped)) {
            return false;
        }
    }
    return self->reader.wrong == NULL && check_input(self, input, data, shaped);
}

static bool read_inputs(parse *self)
{
    if (self->out->inputs != NULL) {
        return nx_json_refuse(&self->reader, "'inputs' stands twice, again");
    }
    self->out->inputs = calloc(NX_KSERVE_MAX_TENSORS, sizeof *self->out->inputs);
    if (self->out->inputs == NULL) {
        return no_memory(self);
    }
    if (!nx_json_enter_array(&self->reader)) {
        return false;
    }
    while (nx_json_next_element(&self->reader)) {
        if (self->out->input_count == NX_KSERVE_MAX_TENSORS) {
            return nx_json_refuse(&self->reader, "more than 64 inputs");
        }
        if (!read_input(self)) {
            return false;
        }
    }
    return self->reader.wrong == NULL;
}

/* --- outputs -----------------------------------------------------------------------------------
 */

static bool read_output_parameters(parse *self, int8_t *binary)
{
    nx_json_span key;
    if (!nx_json_enter_object(&self->reader)) {
        return false;
    }
    while (nx_json_next_member(&self->reader, &key)) {
        if (nx_json_key_is(key, "binary_data")) {
            bool value = false;
            if (!nx_json_read_bool(&self->reader, &value)) {
                return false;
            }
            *binary = value ? 1 : 0;
        } else if (nx_json_key_is(key, "classification")) {
            int64_t classes = 0;
            if (!nx_json_read_int(&self->reader, &classes)) {
                return false;
            }
            if (classes != 0) {
                return refuse(self, NX_ERR_INVALID, "classification is not supported", NULL);
            }
        } else if (nx_json_key_is(key, "shared_memory_region")) {
            return refuse(self, NX_ERR_INVALID, "shared memory is not supported", NULL);
        } else if (!nx_json_skip(&self->reader, NULL)) {
            return false;
        }
    }
    return self->reader.wrong == NULL;
}

static bool read_output(parse *self)
{
    nx_kserve_request *out = self->out;
    int8_t *binary = &self->output_binary[out->output_count];
    nx_kserve_output *output = &out->outputs[out->output_count++];
    nx_json_span key;
    *binary = -1;
    if (!nx_json_enter_object(&self->reader)) {
        return false;
    }
    while (nx_json_next_member(&self->reader, &key)) {
        bool read = nx_json_key_is(key, "name")         ? read_text(self, &output->name)
                    : nx_json_key_is(key, "parameters") ? read_output_parameters(self, binary)
                                                        : nx_json_skip(&self->reader, NULL);
        if (!read) {
            return false;
        }
    }
    if (self->reader.wrong != NULL) {
        return false;
    }
    if (output->name == NULL) {
        return refuse(self, NX_ERR_INVALID, "an output has no 'name'", NULL);
    }
    for (size_t i = 0; i + 1 < out->output_count; i++) {
        if (strcmp(out->outputs[i].name, output->name) == 0) {
            return refuse(self, NX_ERR_INVALID, "there are two outputs", output->name);
        }
    }
    return true;
}

static bool read_outputs(parse *self)
{
    if (self->out->outputs != NULL) {
        return nx_json_refuse(&self->reader, "'outputs' stands twice, again");
    }
    self->out->outputs = calloc(NX_KSERVE_MAX_TENSORS, sizeof *self->out->outputs);
    if (self->out->outputs == NULL) {
        return no_memory(self);
    }
    if (!nx_json_enter_array(&self->reader)) {
        return false;
    }
    while (nx_json_next_element(&self->reader)) {
        if (self->out->output_count == NX_KSERVE_MAX_TENSORS) {
            return nx_json_refuse(&self->reader, "more than 64 outputs");
        }
        if (!read_output(self)) {
            return false;
        }
    }
    return self->reader.wrong == NULL;
}

/* --- the whole ---------------------------------------------------------------------------------
 */

/* NULL when memory is short. */
static char *copy_text(nx_json_span text)
{
    char *copy = malloc(text.size + 1);
    if (copy != NULL) {
        memcpy(copy, text.text, text.size);
        copy[text.size] = '\0';
    }
    return copy;
}

/* Keeps a parameter as text for whoever serves the model. */
static bool read_own_parameter(parse *self, nx_json_span key)
{
    nx_kserve_request *out = self->out;
    if (out->parameter_count == NX_KSERVE_MAX_PARAMETERS || key.size > MAX_NAME) {
        return nx_json_refuse(&self->reader, "too many parameters, or one with too long a name");
    }
    nx_kserve_parameter *parameter = &out->parameters[out->parameter_count];
    if (nx_json_peek(&self->reader) == NX_JSON_STRING) {
        if (!read_text(self, &parameter->value)) {
            return false;
        }
    } else {
        nx_json_span value;
        if (!nx_json_skip(&self->reader, &value)) {
            return false;
        }
        if (value.size > MAX_NAME) {
            return nx_json_refuse(&self->reader, "a parameter that is too long, before here");
        }
        parameter->value = copy_text(value);
    }
    parameter->name = copy_text(key);
    out->parameter_count++;
    return (parameter->value != NULL && parameter->name != NULL) || no_memory(self);
}

static bool read_parameters(parse *self)
{
    static const char *const unused[] = {"sequence_id", "sequence_start", "sequence_end",
                                         "priority"};
    nx_json_span key;
    if (!nx_json_enter_object(&self->reader)) {
        return false;
    }
    while (nx_json_next_member(&self->reader, &key)) {
        bool read = false;
        bool ignored = false;
        for (size_t i = 0; i < sizeof unused / sizeof unused[0]; i++) {
            ignored = ignored || nx_json_key_is(key, unused[i]);
        }
        if (nx_json_key_is(key, "binary_data_output")) {
            read = nx_json_read_bool(&self->reader, &self->out->binary_output);
        } else if (nx_json_key_is(key, "timeout")) {
            read = nx_json_read_int(&self->reader, &self->out->timeout_us);
        } else if (ignored) {
            read = nx_json_skip(&self->reader, NULL);
        } else {
            read = read_own_parameter(self, key);
        }
        if (!read) {
            return false;
        }
    }
    return self->reader.wrong == NULL;
}

static bool read_request(parse *self)
{
    nx_json_span key;
    if (!nx_json_enter_object(&self->reader)) {
        return false;
    }
    while (nx_json_next_member(&self->reader, &key)) {
        bool read = nx_json_key_is(key, "id")           ? read_text(self, &self->out->id)
                    : nx_json_key_is(key, "inputs")     ? read_inputs(self)
                    : nx_json_key_is(key, "outputs")    ? read_outputs(self)
                    : nx_json_key_is(key, "parameters") ? read_parameters(self)
                                                        : nx_json_skip(&self->reader, NULL);
        if (!read) {
            return false;
        }
    }
    return nx_json_at_end(&self->reader);
}

/* Gives each binary input its piece of what follows the JSON. */
static bool cut_binary(parse *self, const char *at, size_t left)
{
    nx_kserve_request *out = self->out;
    size_t given = left;
    for (size_t i = 0; i < out->input_count; i++) {
        nx_kserve_input *input = &out->inputs[i];
        if (!input->binary) {
            continue;
        }
        if (input->data.size > left) {
            nx_error_set(self->err, NX_ERR_INVALID,
                         "input '%.200s' has a binary_data_size of %zu, but only %zu bytes are "
                         "left behind the JSON and the inputs before it",
                         input->name, input->data.size, left);
            return false;
        }
        input->data.text = at;
        at += input->data.size;
        left -= input->data.size;
    }
    if (left > 0) {
        nx_error_set(self->err, NX_ERR_INVALID,
                     "%zu of the %zu bytes behind the JSON belong to no input", left, given);
        return false;
    }
    return true;
}

static bool check_request(parse *self)
{
    nx_kserve_request *out = self->out;
    for (size_t i = 0; i < out->output_count; i++) {
        out->outputs[i].binary =
            self->output_binary[i] < 0 ? out->binary_output : self->output_binary[i] != 0;
    }
    if (out->input_count == 0) {
        return refuse(self, NX_ERR_INVALID, "the request has no 'inputs'", NULL);
    }
    if (out->timeout_us < 0) {
        return refuse(self, NX_ERR_INVALID, "the timeout is negative", NULL);
    }
    return true;
}

nx_status nx_kserve_request_parse(const char *body, size_t size, size_t header_size,
                                  nx_kserve_request *out, nx_error *err)
{
    int8_t output_binary[NX_KSERVE_MAX_TENSORS];
    nx_error error = {.status = NX_OK};
    *out = (nx_kserve_request){0};
    if (header_size == SIZE_MAX) {
        header_size = size;
    }
    if (header_size > size) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "Inference-Header-Content-Length is %zu, but the body has %zu bytes",
                            header_size, size);
    }
    parse self = {.reader = nx_json_reader_begin(body, header_size),
                  .out = out,
                  .output_binary = output_binary,
                  .err = &error};
    if (read_request(&self) && cut_binary(&self, body + header_size, size - header_size) &&
        check_request(&self)) {
        return NX_OK;
    }
    if (error.status == NX_OK) {
        return nx_json_reader_error(&self.reader, err);
    }
    return nx_error_set(err, error.status, "%s", error.message);
}

void nx_kserve_request_free(nx_kserve_request *request)
{
    for (size_t i = 0; i < request->input_count; i++) {
        free(request->inputs[i].name);
    }
    for (size_t i = 0; i < request->output_count; i++) {
        free(request->outputs[i].name);
    }
    for (size_t i = 0; i < request->parameter_count; i++) {
        free(request->parameters[i].name);
        free(request->parameters[i].value);
    }
    free(request->inputs);
    free(request->outputs);
    free(request->id);
    *request = (nx_kserve_request){0};
}

#include "api/kserve_tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const nx_kserve_datatype datatypes[] = {
    {"BYTES", "TYPE_STRING", NX_TYPE_OTHER},   {"FP32", "TYPE_FP32", NX_TYPE_FLOAT32},
    {"FP16", "TYPE_FP16", NX_TYPE_FLOAT16},    {"FP64", "TYPE_FP64", NX_TYPE_FLOAT64},
    {"UINT8", "TYPE_UINT8", NX_TYPE_UINT8},    {"INT8", "TYPE_INT8", NX_TYPE_INT8},
    {"UINT16", "TYPE_UINT16", NX_TYPE_UINT16}, {"INT16", "TYPE_INT16", NX_TYPE_INT16},
    {"INT32", "TYPE_INT32", NX_TYPE_INT32},    {"INT64", "TYPE_INT64", NX_TYPE_INT64},
    {"BOOL", "TYPE_BOOL", NX_TYPE_BOOL},
};

const nx_kserve_datatype *nx_kserve_datatype_named(const char *name)
{
    for (size_t i = 0; i < COUNT(datatypes); i++) {
        if (strcmp(datatypes[i].name, name) == 0) {
            return &datatypes[i];
        }
    }
    return NULL;
}

const nx_kserve_datatype *nx_kserve_datatype_of(nx_type type)
{
    for (size_t i = 1; i < COUNT(datatypes); i++) {
        if (datatypes[i].type == type) {
            return &datatypes[i];
        }
    }
    return NULL;
}

const nx_kserve_datatype *nx_kserve_datatype_bytes(void)
{
    return &datatypes[0];
}

bool nx_kserve_elements(const int64_t *dims, uint32_t rank, size_t *out)
{
    size_t count = 1;
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] < 0 || __builtin_mul_overflow(count, (size_t)dims[i], &count)) {
            return false;
        }
    }
    *out = count;
    return true;
}

/* --- reading -----------------------------------------------------------------------------------
 */

/* Where elements go. */
typedef struct sink {
    nx_json_reader reader;
    const nx_tensor *tensor;
    void *out;
    size_t count; /* so far */
    size_t room;
} sink;

static bool take_bool(sink *self)
{
    bool value = false;
    bool taken = nx_json_read_bool(&self->reader, &value);
    ((uint8_t *)self->out)[self->count] = value;
    return taken;
}

static bool take_float(sink *self)
{
    nx_json_num number;
    if (!nx_json_read_number(&self->reader, &number)) {
        return false;
    }
    bool finite = false;
    if (self->tensor->type == NX_TYPE_FLOAT32) {
        float narrow = nx_json_num_float(&number);
        ((float *)self->out)[self->count] = narrow;
        finite = isfinite(narrow);
    } else {
        double value = nx_json_num_double(&number);
        ((double *)self->out)[self->count] = value;
        finite = isfinite(value);
    }
    return finite ||
           nx_json_refuse(&self->reader, "a number beyond the data type's range, before here");
}

/* Stores an integer of `size` bytes; value fits. */
static void store_int(sink *self, int64_t value, size_t size)
{
    char *at = (char *)self->out + self->count * size;
    const int8_t narrow8 = (int8_t)value;
    const int16_t narrow16 = (int16_t)value;
    const int32_t narrow32 = (int32_t)value;
    const void *from = size == 1   ? (const void *)&narrow8
                       : size == 2 ? (const void *)&narrow16
                       : size == 4 ? (const void *)&narrow32
                                   : (const void *)&value;
    memcpy(at, from, size);
}

static bool take_int(sink *self)
{
    static const struct {
        int64_t low, high;
    } ranges[] = {
        [NX_TYPE_UINT8] = {0, UINT8_MAX},         [NX_TYPE_INT8] = {INT8_MIN, INT8_MAX},
        [NX_TYPE_UINT16] = {0, UINT16_MAX},       [NX_TYPE_INT16] = {INT16_MIN, INT16_MAX},
        [NX_TYPE_INT32] = {INT32_MIN, INT32_MAX}, [NX_TYPE_INT64] = {INT64_MIN, INT64_MAX},
    };
    int64_t value = 0;
    if (!nx_json_read_int(&self->reader, &value)) {
        return false;
    }
    nx_type type = self->tensor->type;
    if (value < ranges[type].low || value > ranges[type].high) {
        return nx_json_refuse(&self->reader, "a number beyond the data type's range, before here");
    }
    store_int(self, value, nx_type_size(type));
    return true;
}

static bool take_element(sink *self)
{
    if (self->count == self->room) {
        return nx_json_refuse(&self->reader, "more elements than the shape has, beginning");
    }
    bool taken = false;
    switch (self->tensor->type) {
    case NX_TYPE_BOOL:
        taken = take_bool(self);
        break;
    case NX_TYPE_FLOAT32:
    case NX_TYPE_FLOAT64:
        taken = take_float(self);
        break;
    default:
        taken = take_int(self);
        break;
    }
    self->count += taken;
    return taken;
}

/* Elements in one array, which is open. */
static bool take_flat(sink *self)
{
    while (nx_json_next_element(&self->reader)) {
        if (!take_element(self)) {
            return false;
        }
    }
    return self->reader.wrong == NULL;
}

/* Arrays in arrays as the shape has them; the outermost is open. */
static bool take_nested(sink *self)
{
    const nx_tensor *tensor = self->tensor;
    int64_t seen[NX_TENSOR_MAX_RANK] = {0};
    uint32_t level = 0;
    for (;;) {
        if (nx_json_next_element(&self->reader)) {
            seen[level]++;
            if (level + 1 == tensor->rank) {
                if (!take_element(self)) {
                    return false;
                }
                continue;
            }
            if (!nx_json_enter_array(&self->reader)) {
                return false;
            }
            seen[++level] = 0;
            continue;
        }
        if (self->reader.wrong != NULL) {
            return false;
        }
        if (seen[level] != tensor->dims[level]) {
            return nx_json_refuse(&self->reader,
                                  "an array of another length than the shape has, before here");
        }
        if (level == 0) {
            return true;
        }
        level--;
    }
}

/* Does the array, which is open, begin with another one? */
static bool is_nested(const nx_json_reader *reader)
{
    nx_json_reader ahead = *reader;
    return nx_json_next_element(&ahead) && nx_json_peek(&ahead) == NX_JSON_ARRAY;
}

nx_status nx_kserve_read_json(nx_json_span data, const nx_tensor *tensor, void *out, nx_error *err)
{
    sink self = {
        .reader = nx_json_reader_begin(data.text, data.size), .tensor = tensor, .out = out};
    if (tensor->type == NX_TYPE_FLOAT16 || tensor->type == NX_TYPE_OTHER) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the data of '%.100s' must be binary: %s has no form in JSON here",
                            tensor->name, tensor->type == NX_TYPE_FLOAT16 ? "FP16" : "its type");
    }
    if (!nx_kserve_elements(tensor->dims, tensor->rank, &self.room)) {
        return nx_error_set(err, NX_ERR_INVALID, "the shape of '%.100s' has too many elements",
                            tensor->name);
    }
    bool taken = nx_json_enter_array(&self.reader);
    if (taken) {
        taken = tensor->rank > 1 && is_nested(&self.reader) ? take_nested(&self) : take_flat(&self);
    }
    if (!taken || !nx_json_at_end(&self.reader)) {
        nx_json_reader_error(&self.reader, err);
        return nx_error_prefix(err, "the data of '%.100s'", tensor->name);
    }
    if (self.count != self.room) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the data of '%.100s' has %zu elements; its shape has %zu",
                            tensor->name, self.count, self.room);
    }
    return NX_OK;
}

size_t nx_kserve_least_json(size_t elements)
{
    size_t size = 0;
    bool overflows = __builtin_mul_overflow(elements, 2, &size) || /* a digit and a comma */
                     __builtin_add_overflow(size, 1, &size);       /* two brackets, no last comma */
    return overflows ? SIZE_MAX : elements == 0 ? 2 : size;
}

bool nx_kserve_next_bytes(const char **at, const char *end, nx_json_span *out)
{
    size_t left = (size_t)(end - *at);
    if (left < 4) {
        return false;
    }
    const unsigned char *size = (const unsigned char *)*at;
    uint32_t length = (uint32_t)size[0] | (uint32_t)size[1] << 8 | (uint32_t)size[2] << 16 |
                      (uint32_t)size[3] << 24;
    if (length > left - 4) {
        return false;
    }
    *out = (nx_json_span){*at + 4, length};
    *at += 4 + (size_t)length;
    return true;
}

/* --- writing -----------------------------------------------------------------------------------
 */

/*
 * Writes a float of middling size with 9 digits. They may be off by one in the last place: 9 digits
 * lie six times as dense as floats, so the nearest float stays the same.
 */
static void write_digits(nx_json *json, double value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double magnitude = fabs(value);
    int decimals = 0;
    while (magnitude * powers[decimals] < 1e8) {
        decimals++;
    }
    uint64_t fixed = (uint64_t)(magnitude * powers[decimals] + 0.5);
    char text[32];
    char *end = text + sizeof text;
    char *start = end;
    for (; decimals > 0 && fixed % 10 == 0; decimals--) {
        fixed /= 10;
    }
    for (int i = 0; i < decimals; i++) {
        *--start = (char)('0' + fixed % 10);
        fixed /= 10;
    }
    if (decimals > 0) {
        *--start = '.';
    }
    do {
        *--start = (char)('0' + fixed % 10);
        fixed /= 10;
    } while (fixed > 0);
    if (value < 0) {
        *--start = '-';
    }
    nx_json_raw(json, start, (size_t)(end - start));
}

static void write_float(nx_json *json, double value, int digits)
{
    char text[40];
    if (!isfinite(value)) {
        nx_json_null(json);
        return;
    }
    if (fabs(value) < 1e6 && value == (double)(int64_t)value && !(value == 0 && signbit(value))) {
        nx_json_int(json, (int64_t)value);
        return;
    }
    if (digits == 9 && fabs(value) >= 1e-13 && fabs(value) < 1e6) {
        write_digits(json, value);
        return;
    }
    int size = snprintf(text, sizeof text, "%.*g", digits, value);
    nx_json_raw(json, text, (size_t)size);
}

static void write_element(const nx_tensor *tensor, size_t index, nx_json *json)
{
    const void *data = tensor->data;
    switch (tensor->type) {
    case NX_TYPE_FLOAT32:
        write_float(json, (double)((const float *)data)[index], 9);
        break;
    case NX_TYPE_FLOAT64:
        write_float(json, ((const double *)data)[index], 17);
        break;
    case NX_TYPE_UINT8:
        nx_json_int(json, ((const uint8_t *)data)[index]);
        break;
    case NX_TYPE_INT8:
        nx_json_int(json, ((const int8_t *)data)[index]);
        break;
    case NX_TYPE_UINT16:
        nx_json_int(json, ((const uint16_t *)data)[index]);
        break;
    case NX_TYPE_INT16:
        nx_json_int(json, ((const int16_t *)data)[index]);
        break;
    case NX_TYPE_INT32:
        nx_json_int(json, ((const int32_t *)data)[index]);
        break;
    case NX_TYPE_INT64:
        nx_json_int(json, ((const int64_t *)data)[index]);
        break;
    case NX_TYPE_BOOL:
        nx_json_bool(json, ((const uint8_t *)data)[index] != 0);
        break;
    case NX_TYPE_FLOAT16:
    case NX_TYPE_OTHER:
        nx_json_null(json);
        break;
    }
}

void nx_kserve_write_json(const nx_tensor *tensor, nx_json *json)
{
    size_t size = nx_type_size(tensor->type);
    size_t count = size > 0 ? tensor->bytes / size : 0;
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        write_element(tensor, i, json);
    }
    nx_json_array_end(json);
}

/* ONNX files: the wire format, and the class names in the metadata. */
#include "engine/class_names.h"
#include "engine/onnx_file.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_names(nx_onnx_text text)
{
    nx_name_table names;
    nx_error err = {0};
    nx_status status = nx_class_names_parse(text, &names, &err);
    if ((status == NX_OK) != (names.count > 0) || (status != NX_OK && err.message[0] == '\0')) {
        abort();
    }
    nx_name_table_free(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_onnx_info info;
    nx_error err = {0};
    if (nx_onnx_inspect(data, size, "fuzz.onnx", &info, &err) != NX_OK) {
        if (err.message[0] == '\0') {
            abort();
        }
    } else {
        nx_onnx_text names = nx_onnx_metadata(&info, "names");
        if (names.text != NULL) {
            parse_names(names);
        }
    }
    parse_names((nx_onnx_text){.text = (const char *)data, .size = size});
    return 0;
}

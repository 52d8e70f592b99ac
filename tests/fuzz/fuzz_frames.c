/* Lines of results: whatever is read must be writable, and then read as the same. */
#include "fuzz.h"
#include "results/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const class_names[] = {"person"};
    const nx_class_names names = {class_names, 1};
    nx_frame_reader *reader = nx_frame_reader_new();
    nx_buffer first = NX_BUFFER_INIT;
    nx_buffer second = NX_BUFFER_INIT;
    nx_frame_record record;
    if (reader != NULL && nx_frame_read(reader, (const char *)data, size, &record, NULL) == NX_OK) {
        nx_frame_write(&record, names, &first);
        if (nx_frame_read(reader, first.data, first.size, &record, NULL) == NX_OK) {
            nx_frame_write(&record, names, &second);
            if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0) {
                abort();
            }
        }
    }
    nx_buffer_free(&first);
    nx_buffer_free(&second);
    nx_frame_reader_free(reader);
    return 0;
}

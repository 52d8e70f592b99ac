/* Bytes that come back from elsewhere: records of the cache, answers of S3, files of COCO. Taken or
 * refused with a sentence; a record that is taken is as sound as one that was just made. */
#include "fuzz.h"

#include "eval/coco_json.h"
#include "results/record.h"
#include "store/s3.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void fuzz_record(char *text, size_t size)
{
    nx_record record;
    nx_record again;
    nx_buffer once = NX_BUFFER_INIT;
    nx_buffer twice = NX_BUFFER_INIT;
    if (!nx_record_read(text, size, &record)) {
        return;
    }
    const nx_result result = nx_record_result(&record);
    for (size_t i = 0; i < record.found.count; i++) {
        const nx_detection *one = &record.found.items[i];
        expect(one->class_id >= 0 && isfinite(one->confidence) && isfinite(one->x1));
    }
    nx_record_write(&result, &once);
    expect(!once.failed && nx_record_read(once.data, once.size, &again));
    const nx_result same = nx_record_result(&again);
    nx_record_write(&same, &twice);
    expect(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
    nx_record_free(&again);
    nx_buffer_free(&once);
    nx_buffer_free(&twice);
    nx_record_free(&record);
}

static void fuzz_s3(char *text, size_t size)
{
    nx_s3_answer answer = {.status = 400, .length = -1, .body = NX_BUFFER_INIT};
    char small[8];
    char escaped[64];
    nx_error err = {0};
    nx_buffer_append(&answer.body, text, size);
    expect(nx_s3_refused(&answer, "object", &err) == NX_ERR_UNAVAILABLE && err.message[0] != '\0');
    if (nx_s3_element(&answer, "UploadId", small, sizeof small)) {
        expect(strlen(small) < sizeof small && strchr(small, '<') == NULL);
        if (nx_s3_escape(small, escaped, sizeof escaped)) {
            expect(strpbrk(escaped, "&=?# <>\"") == NULL);
        }
    }
    nx_buffer_free(&answer.body);
}

/* The instances, a line break, and the results. */
static void fuzz_coco(char *text, size_t size)
{
    nx_coco_dataset dataset;
    nx_coco_result *results = NULL;
    size_t count = 0;
    nx_error err = {0};
    const char *end = memchr(text, '\n', size);
    size_t first = end != NULL ? (size_t)(end - text) : size;
    if (nx_coco_dataset_parse(text, first, "fuzz", &dataset, &err) != NX_OK) {
        expect(err.message[0] != '\0' && dataset.images == NULL);
        return;
    }
    if (end != NULL && nx_coco_results_parse(end + 1, size - first - 1, "fuzz", &dataset, &results,
                                             &count, &err) != NX_OK) {
        expect(err.message[0] != '\0' && results == NULL);
    }
    free(results);
    nx_coco_dataset_free(&dataset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_record, fuzz_s3, fuzz_coco};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}

/* MOT files: any bytes are taken or refused with a sentence, and what is taken can be measured
 * against itself. */
#include "fuzz.h"

#include "eval/mot_file.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_mot_boxes boxes;
    nx_mot_scores scores;
    nx_error err = {0};
    if (nx_mot_parse((const char *)data, size, "fuzz", true, &boxes, &err) != NX_OK) {
        if (boxes.items != NULL || err.message[0] == '\0') {
            abort();
        }
        return 0;
    }
    nx_status status = nx_mot_evaluate(boxes.items, boxes.count, boxes.items, boxes.count,
                                       boxes.last_frame, &scores, &err);
    bool sane = scores.mota <= 1 && scores.idf1 >= 0 && scores.idf1 <= 1 && scores.hota >= 0 &&
                scores.hota <= 1.000001 && scores.matches + scores.misses == boxes.count;
    if (status == NX_OK ? !sane : err.message[0] == '\0') {
        abort();
    }
    nx_mot_boxes_free(&boxes);
    return 0;
}

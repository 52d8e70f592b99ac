#include "vision/postprocess.h"

#include <stdlib.h>

float nx_iou(const nx_detection *a, const nx_detection *b)
{
    float left = a->x1 > b->x1 ? a->x1 : b->x1;
    float top = a->y1 > b->y1 ? a->y1 : b->y1;
    float right = a->x2 < b->x2 ? a->x2 : b->x2;
    float bottom = a->y2 < b->y2 ? a->y2 : b->y2;
    if (right <= left || bottom <= top) {
        return 0;
    }
    float common = (right - left) * (bottom - top);
    float area_a = (a->x2 - a->x1) * (a->y2 - a->y1);
    float area_b = (b->x2 - b->x1) * (b->y2 - b->y1);
    return common / (area_a + area_b - common);
}

static int compare_floats(float a, float b)
{
    return (a > b) - (a < b);
}

/* A total order, so that the result does not depend on the sorting algorithm. */
static int by_confidence(const void *left, const void *right)
{
    const nx_detection *a = left;
    const nx_detection *b = right;
    int order = compare_floats(b->confidence, a->confidence);
    if (order == 0) {
        order = (a->class_id > b->class_id) - (a->class_id < b->class_id);
    }
    if (order == 0) {
        order = compare_floats(a->x1, b->x1);
    }
    if (order == 0) {
        order = compare_floats(a->y1, b->y1);
    }
    if (order == 0) {
        order = compare_floats(a->x2, b->x2);
    }
    if (order == 0) {
        order = compare_floats(a->y2, b->y2);
    }
    return order;
}

void nx_detections_sort(nx_detection *items, size_t count)
{
    if (count > 1) {
        qsort(items, count, sizeof *items, by_confidence);
    }
}

static int overlaps_kept(const nx_detection *kept, size_t count, const nx_detection *item,
                         float iou)
{
    for (size_t i = 0; i < count; i++) {
        if (kept[i].class_id == item->class_id && nx_iou(&kept[i], item) > iou) {
            return 1;
        }
    }
    return 0;
}

size_t nx_nms(nx_detection *items, size_t count, float iou, size_t max_keep)
{
    size_t kept = 0;
    nx_detections_sort(items, count);
    for (size_t i = 0; i < count && kept < max_keep; i++) {
        if (!overlaps_kept(items, kept, &items[i], iou)) {
            items[kept++] = items[i];
        }
    }
    return kept;
}

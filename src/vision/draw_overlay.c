/* Masks, skeletons and lines over a picture. */
#include "vision/draw.h"

#include <math.h>

#define LEAST_CONFIDENCE 0.5F

/* COCO's order: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles, left before
 * right; the limbs are those of its annotations, counted from 0. */
#define COCO_KEYPOINTS 17
static const uint8_t limbs[][2] = {
    {15, 13}, {13, 11}, {16, 14}, {14, 12}, {11, 12}, {5, 11}, {6, 12}, {5, 6}, {5, 7}, {6, 8},
    {7, 9},   {8, 10},  {1, 2},   {0, 1},   {0, 2},   {1, 3},  {2, 4},  {3, 5}, {4, 6},
};

static void tint(uint8_t *pixel, uint32_t color)
{
    pixel[0] = (uint8_t)((pixel[0] + (color >> 16 & 0xff) + 1) / 2);
    pixel[1] = (uint8_t)((pixel[1] + (color >> 8 & 0xff) + 1) / 2);
    pixel[2] = (uint8_t)((pixel[2] + (color & 0xff) + 1) / 2);
}

void nx_draw_mask(nx_image *image, const nx_rle *mask, uint32_t color)
{
    if (mask->width != image->width || mask->height != image->height) {
        return;
    }
    uint64_t end = 0;
    for (size_t i = 0; i < mask->count; i++) {
        uint64_t at = end;
        end += mask->counts[i];
        for (; i % 2 == 1 && at < end; at++) {
            size_t x = (size_t)(at / mask->height);
            size_t y = (size_t)(at % mask->height);
            tint(image->pixels + y * image->stride + 3 * x, color);
        }
    }
}

/* A filled circle of whole pixels; what lies outside the picture is not drawn. */
static void draw_dot(nx_image *image, float x, float y, int32_t radius, uint32_t color)
{
    int64_t middle_x = (int64_t)x;
    int64_t middle_y = (int64_t)y;
    for (int64_t dy = -radius; dy <= radius; dy++) {
        for (int64_t dx = -radius; dx <= radius; dx++) {
            int64_t at_x = middle_x + dx;
            int64_t at_y = middle_y + dy;
            if (dx * dx + dy * dy <= (int64_t)radius * radius && at_x >= 0 && at_y >= 0 &&
                at_x < image->width && at_y < image->height) {
                uint8_t *pixel = image->pixels + (size_t)at_y * image->stride + 3 * (size_t)at_x;
                pixel[0] = (uint8_t)(color >> 16);
                pixel[1] = (uint8_t)(color >> 8);
                pixel[2] = (uint8_t)color;
            }
        }
    }
}

/* A dot's diameter on a joint; half of it makes limbs and lines as thick as boxes' lines: 640x360:
 * 2, 1920x1080: 4. */
static int32_t unit_of(const nx_image *image)
{
    return 1 + (int32_t)(((uint64_t)image->width + image->height) / 1000);
}

static void draw_segment(nx_image *image, float x1, float y1, float x2, float y2, int32_t radius,
                         uint32_t color)
{
    float dx = x2 - x1;
    float dy = y2 - y1;
    float longer = fabsf(dx) > fabsf(dy) ? fabsf(dx) : fabsf(dy);
    int32_t steps = (int32_t)longer + 1;
    for (int32_t i = 0; i <= steps; i++) {
        float part = (float)i / (float)steps;
        draw_dot(image, x1 + part * dx, y1 + part * dy, radius, color);
    }
}

void nx_draw_line(nx_image *image, float x1, float y1, float x2, float y2, uint32_t color)
{
    float limit = (float)image->width + (float)image->height; /* whoever is farther off is wrong */
    if (fabsf(x1) <= limit && fabsf(y1) <= limit && fabsf(x2) <= limit && fabsf(y2) <= limit) {
        draw_segment(image, x1, y1, x2, y2, unit_of(image) / 2, color);
    }
}

static void draw_pose(nx_image *image, const nx_keypoint *points, size_t count, int32_t unit,
                      uint32_t color)
{
    size_t limb_count = count == COCO_KEYPOINTS ? sizeof limbs / sizeof limbs[0] : 0;
    for (size_t i = 0; i < limb_count; i++) {
        const nx_keypoint *from = &points[limbs[i][0]];
        const nx_keypoint *to = &points[limbs[i][1]];
        if (from->confidence >= LEAST_CONFIDENCE && to->confidence >= LEAST_CONFIDENCE) {
            draw_segment(image, from->x, from->y, to->x, to->y, unit / 2, color);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (points[i].confidence >= LEAST_CONFIDENCE) {
            draw_dot(image, points[i].x, points[i].y, unit, color);
        }
    }
}

void nx_draw_keypoints(nx_image *image, const nx_detection *detections, size_t count,
                       const nx_keypoint *keypoints, size_t per_detection)
{
    int32_t unit = unit_of(image);
    for (size_t i = count; i-- > 0;) {
        draw_pose(image, keypoints + i * per_detection, per_detection, unit,
                  nx_draw_class_color(detections[i].class_id));
    }
}

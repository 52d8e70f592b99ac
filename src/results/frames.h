/*
 * What was seen in the frames of a video, a line of JSON (NDJSON) for each frame, and the formats
 * that are made of these lines. The lines are the one record of a job: everything else (MOT, CSV,
 * COCO, counts, summary) is derived from them, so that a job which was interrupted gives the same
 * results to the byte as one that was not.
 *
 * Pure functions on memory, as results.h.
 */
#ifndef NX_RESULTS_FRAMES_H
#define NX_RESULTS_FRAMES_H

#include "base/buffer.h"
#include "base/error.h"
#include "vision/detection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_frame_object {
    nx_detection box;
    uint64_t track_id; /* 0: not tracked, or not for long enough */
    bool predicted;    /* where the tracker expects it; the model did not look or did not see it */
} nx_frame_object;

typedef enum nx_frame_event_kind {
    NX_FRAME_LINE_IN, /* as NX_LINE_IN of analytics/zones.h */
    NX_FRAME_LINE_OUT,
    NX_FRAME_ZONE_ENTER,
    NX_FRAME_ZONE_EXIT,
    NX_FRAME_ZONE_END, /* the track ended in there */
    NX_FRAME_EVENT_KINDS,
} nx_frame_event_kind;

/* "line_in" and so on. */
const char *nx_frame_event_name(nx_frame_event_kind kind);

typedef struct nx_frame_event {
    nx_frame_event_kind kind;
    const char *name; /* of the line or zone */
    uint64_t track_id;
    int32_t class_id;
    double dwell_s; /* of NX_FRAME_ZONE_EXIT and NX_FRAME_ZONE_END: how long it was in there */
} nx_frame_event;

/* One frame. Everything is borrowed. */
typedef struct nx_frame_record {
    uint64_t index;  /* of the frame in the video, from 0 */
    int64_t time_ns; /* since the first frame */
    bool inferred;   /* false: objects are the tracker's prediction, or the frame was still */
    const nx_frame_object *objects;
    size_t object_count;
    const nx_frame_event *events;
    size_t event_count;
} nx_frame_record;

/*
 * Appends {"frame","time","inferred","objects":[{"track_id","class_id","class_name","confidence",
 * "box":{"x1","y1","x2","y2"},"predicted"}],"events":[{"type":"line_in","name","track_id",
 * "class_id","class_name","dwell"}]} and a line break. track_id, predicted and events are left out
 * where there is nothing to say; time and dwell are seconds.
 */
void nx_frame_write(const nx_frame_record *record, nx_class_names names, nx_buffer *out);

/* --- reading ------------------------------------------------------------------------------------
 */

/* Memory for the records that are read one after the other. Not thread-safe. */
typedef struct nx_frame_reader nx_frame_reader;

/* NULL: no memory. */
nx_frame_reader *nx_frame_reader_new(void);
void nx_frame_reader_free(nx_frame_reader *reader); /* NULL is fine */

/* Reads a line that nx_frame_write made (without or with its line break). *out is valid until the
 * next call. Errors: NX_ERR_CORRUPT (it is no such line), NX_ERR_NO_MEMORY. */
nx_status nx_frame_read(nx_frame_reader *reader, const char *line, size_t size,
                        nx_frame_record *out, nx_error *err);

/* --- derived ------------------------------------------------------------------------------------
 */

/* A row for each object: `frame,time,track_id,class_id,class_name,confidence,x1,y1,x2,y2`
 * (RFC 4180), the header first. track_id is empty where there is none. */
void nx_frames_csv_header(nx_buffer *out);
void nx_frames_csv(const nx_frame_record *record, nx_class_names names, nx_buffer *out);

/* MOTChallenge's format: `frame,id,left,top,width,height,confidence,-1,-1,-1`, frames from 1;
 * tracked objects only. */
void nx_frames_mot(const nx_frame_record *record, nx_buffer *out);

/* COCO's results format, an element of an array for each object: {"image_id" (the frame),
 * "category_id" (the class), "bbox":[x,y,w,h],"score","track_id"}. *first is true before the first
 * record and kept by the function; the caller writes the brackets. */
void nx_frames_coco(const nx_frame_record *record, bool *first, nx_buffer *out);

#endif

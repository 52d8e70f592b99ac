/*
 * What a whole video amounts to: objects by class, lines crossed, zones entered and left, as totals
 * and over time. Fed with the records of its frames in their order. Not thread-safe.
 */
#ifndef NX_RESULTS_TALLY_H
#define NX_RESULTS_TALLY_H

#include "base/error.h"
#include "base/json_writer.h"
#include "results/frames.h"

#include <stdint.h>

typedef struct nx_tally nx_tally;

/* names are borrowed. interval_s: length of a row of the counts, above 0. NULL: no memory. */
nx_tally *nx_tally_new(nx_class_names names, double interval_s);
void nx_tally_free(nx_tally *tally); /* NULL is fine */

/* Rows of intervals that have ended are appended to counts. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_tally_add(nx_tally *tally, const nx_frame_record *record, nx_buffer *counts,
                       nx_error *err);

/*
 * CSV (RFC 4180) of what happened in each interval, a row for each thing and class where something
 * did: `from,to,kind,name,class_name,in,out,occupancy`. kind is
 * scene: tracks that began, nothing, most objects in one frame;
 * line: crossings in both directions, 0;
 * zone: entries, exits (tracks that ended there included), how many are inside at the end.
 */
void nx_tally_counts_header(nx_buffer *counts);
/* The row of the last interval, which the video's end has cut short. */
void nx_tally_counts_end(nx_tally *tally, nx_buffer *counts);

/*
 * The members "frames", "frames_inferred", "duration", "objects" (boxes in all frames), "classes":
 * [{"class_id","class_name","tracks","objects","most_at_once"}], "lines":[{"name","class_name",
 * "in","out"}], "zones":[{"name","class_name","entries","exits","ended","inside","most_inside",
 * "dwell_mean","dwell_max"}], inside an object that the caller has opened. Of the entries in a zone
 * those are inside that have neither left nor ended there. Dwell times are seconds, and of those
 * that are not inside any more.
 */
void nx_tally_json_members(const nx_tally *tally, nx_json *json);

#endif

/*
 * The Kalman filter of a box that moves with constant velocity, on (cx, cy, aspect, height) as in
 * SORT (Bewley et al., "Simple Online and Realtime Tracking", 2016) and DeepSORT (Wojke et al.,
 * "Simple Online and Realtime Tracking with a Deep Association Metric", 2017): noise grows with the
 * box's height, so that near and far objects are treated alike.
 *
 * All noise of that filter is diagonal and each coordinate is coupled to nothing but its velocity,
 * so its 8x8 covariance is four 2x2 blocks, which is how it is kept here. Time is continuous: two
 * predictions of t1 and t2 are one of t1 + t2, whatever the frame rate or stride. One step of 1/30
 * s adds the noise that DeepSORT adds for each frame.
 *
 * Pure functions on plain data; thread-safe.
 */
#ifndef NX_ANALYTICS_KALMAN_H
#define NX_ANALYTICS_KALMAN_H

/* Coordinates of the state. */
enum {
    NX_KALMAN_CX,     /* pixels */
    NX_KALMAN_CY,     /* pixels */
    NX_KALMAN_ASPECT, /* width / height */
    NX_KALMAN_HEIGHT, /* pixels */
    NX_KALMAN_AXES,
};

typedef struct nx_kalman_axis {
    double value;
    double velocity; /* a second */
    double var_value;
    double covariance; /* of value and velocity */
    double var_velocity;
} nx_kalman_axis;

typedef struct nx_kalman {
    nx_kalman_axis axes[NX_KALMAN_AXES];
} nx_kalman;

/* A box in pixels, x1 < x2 and y1 < y2. */
typedef struct nx_kalman_box {
    double x1, y1, x2, y2;
} nx_kalman_box;

/* A filter that has seen its object once. */
nx_kalman nx_kalman_start(nx_kalman_box box);

/* Moves the state `seconds` (>= 0) on. */
void nx_kalman_predict(nx_kalman *filter, double seconds);

/* Takes in where the object was seen at the time of the state. */
void nx_kalman_update(nx_kalman *filter, nx_kalman_box box);

/* Where the object is; a state whose height or aspect has run below zero gives an empty box. */
nx_kalman_box nx_kalman_at(const nx_kalman *filter);

/* The same `seconds` later, the filter left alone. */
nx_kalman_box nx_kalman_ahead(const nx_kalman *filter, double seconds);

#endif

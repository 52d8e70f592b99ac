#include "analytics/kalman.h"

#include <stdbool.h>

/* DeepSORT's weights, for steps of 1/30 s: standard deviations in parts of the height, and of the
 * aspect as they are. */
#define STEPS_PER_SECOND     30.0
#define WEIGHT_POSITION      (1.0 / 20)
#define WEIGHT_VELOCITY      (1.0 / 160)
#define ASPECT_POSITION      1e-2
#define ASPECT_VELOCITY      1e-5
#define ASPECT_MEASURED      1e-1
#define START_TIMES_POSITION 2
#define START_TIMES_VELOCITY 10

/* Noise in parts of a height that has run towards zero would make the filter sure of itself. */
#define LEAST_HEIGHT 1.0

static double square(double x)
{
    return x * x;
}

static double height_of(const nx_kalman *filter)
{
    double height = filter->axes[NX_KALMAN_HEIGHT].value;
    return height > LEAST_HEIGHT ? height : LEAST_HEIGHT;
}

static void measure(nx_kalman_box box, double out[NX_KALMAN_AXES])
{
    double width = box.x2 - box.x1;
    double height = box.y2 - box.y1;
    out[NX_KALMAN_CX] = (box.x1 + box.x2) / 2;
    out[NX_KALMAN_CY] = (box.y1 + box.y2) / 2;
    out[NX_KALMAN_ASPECT] = width / height;
    out[NX_KALMAN_HEIGHT] = height;
}

nx_kalman nx_kalman_start(nx_kalman_box box)
{
    nx_kalman filter = {0};
    double seen[NX_KALMAN_AXES];
    measure(box, seen);
    double height = seen[NX_KALMAN_HEIGHT] > LEAST_HEIGHT ? seen[NX_KALMAN_HEIGHT] : LEAST_HEIGHT;
    for (int i = 0; i < NX_KALMAN_AXES; i++) {
        bool aspect = i == NX_KALMAN_ASPECT;
        double position =
            aspect ? ASPECT_POSITION : START_TIMES_POSITION * WEIGHT_POSITION * height;
        double velocity =
            aspect ? ASPECT_VELOCITY : START_TIMES_VELOCITY * WEIGHT_VELOCITY * height;
        filter.axes[i] = (nx_kalman_axis){
            .value = seen[i],
            .var_value = square(position),
            .var_velocity = square(velocity * STEPS_PER_SECOND),
        };
    }
    return filter;
}

/* White noise on position and velocity, integrated over the time: the variance of the velocity
 * grows with t, and reaches the position as t^3 / 3. */
static void predict_axis(nx_kalman_axis *axis, double position, double velocity, double t)
{
    double q_position = square(position) * STEPS_PER_SECOND;
    double q_velocity = square(velocity * STEPS_PER_SECOND) * STEPS_PER_SECOND;
    axis->value += axis->velocity * t;
    axis->var_value += t * (2 * axis->covariance + t * axis->var_velocity) +
                       t * (q_position + q_velocity * t * t / 3);
    axis->covariance += t * axis->var_velocity + q_velocity * t * t / 2;
    axis->var_velocity += q_velocity * t;
    axis->var_value = axis->var_value > 0 ? axis->var_value : 0; /* rounding */
}

void nx_kalman_predict(nx_kalman *filter, double seconds)
{
    double height = height_of(filter);
    for (int i = 0; i < NX_KALMAN_AXES; i++) {
        bool aspect = i == NX_KALMAN_ASPECT;
        predict_axis(&filter->axes[i], aspect ? ASPECT_POSITION : WEIGHT_POSITION * height,
                     aspect ? ASPECT_VELOCITY : WEIGHT_VELOCITY * height, seconds);
    }
}

static void update_axis(nx_kalman_axis *axis, double seen, double noise)
{
    double spread = axis->var_value + square(noise);
    double gain = axis->var_value / spread;
    double gain_velocity = axis->covariance / spread;
    double surprise = seen - axis->value;
    axis->value += gain * surprise;
    axis->velocity += gain_velocity * surprise;
    axis->var_velocity -= gain_velocity * axis->covariance;
    axis->var_velocity = axis->var_velocity > 0 ? axis->var_velocity : 0; /* rounding */
    axis->var_value *= 1 - gain;
    axis->covariance *= 1 - gain;
}

void nx_kalman_update(nx_kalman *filter, nx_kalman_box box)
{
    double seen[NX_KALMAN_AXES];
    double height = height_of(filter);
    measure(box, seen);
    for (int i = 0; i < NX_KALMAN_AXES; i++) {
        update_axis(&filter->axes[i], seen[i],
                    i == NX_KALMAN_ASPECT ? ASPECT_MEASURED : WEIGHT_POSITION * height);
    }
}

nx_kalman_box nx_kalman_ahead(const nx_kalman *filter, double seconds)
{
    double v[NX_KALMAN_AXES];
    for (int i = 0; i < NX_KALMAN_AXES; i++) {
        v[i] = filter->axes[i].value + filter->axes[i].velocity * seconds;
    }
    double height = v[NX_KALMAN_HEIGHT] > 0 ? v[NX_KALMAN_HEIGHT] : 0;
    double width = v[NX_KALMAN_ASPECT] > 0 ? v[NX_KALMAN_ASPECT] * height : 0;
    return (nx_kalman_box){
        .x1 = v[NX_KALMAN_CX] - width / 2,
        .y1 = v[NX_KALMAN_CY] - height / 2,
        .x2 = v[NX_KALMAN_CX] + width / 2,
        .y2 = v[NX_KALMAN_CY] + height / 2,
    };
}

nx_kalman_box nx_kalman_at(const nx_kalman *filter)
{
    return nx_kalman_ahead(filter, 0);
}

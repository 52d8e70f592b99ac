#include "results/fixed.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>

void nx_append_fixed(nx_buffer *out, double value, int decimals)
{
    uint64_t scale = 1;
    for (int i = 0; i < decimals; i++) {
        scale *= 10;
    }
    double scaled = fabs(value) * (double)scale;
    if (!(scaled < 9e18)) {
        nx_buffer_append_str(out, "nan");
        return;
    }
    uint64_t units = (uint64_t)(scaled + 0.5);
    bool negative = value < 0 && units > 0;
    nx_buffer_printf(out, "%s%" PRIu64, negative ? "-" : "", units / scale);
    if (decimals > 0) {
        nx_buffer_printf(out, ".%0*" PRIu64, decimals, units % scale);
    }
}

#include "optimize/half.h"

#include <string.h>

uint16_t nx_half_from_float(float value)
{
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) {
        return (uint16_t)(sign | 0x7E00);
    }
    if (magnitude >= 0x477FF000) { /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7C00);
    }
    uint32_t shift = 13;
    uint32_t mantissa = magnitude;
    uint32_t base = 0x38000000;   /* the exponents' biases differ by 112 */
    if (magnitude < 0x38800000) { /* below 2^-14: a subnormal, in units of 2^-24 */
        uint32_t exponent = magnitude >> 23;
        if (exponent < 102) { /* below 2^-25 */
            return sign;
        }
        mantissa = (magnitude & 0x7FFFFF) | 0x800000;
        shift = 126 - exponent;
        base = 0;
    }
    uint32_t kept = (mantissa - base) >> shift;
    uint32_t rest = (mantissa - base) & ((1u << shift) - 1);
    uint32_t middle = 1u << (shift - 1);
    kept += rest > middle || (rest == middle && (kept & 1) != 0);
    return (uint16_t)(sign | kept);
}

float nx_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1F;
    uint32_t mantissa = half & 0x3FF;
    uint32_t bits = 0;
    float value = 0;
    if (exponent == 0) {
        value = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    bits = sign | mantissa << 13 | (exponent == 31 ? 0x7F800000u : (exponent + 112) << 23);
    memcpy(&value, &bits, sizeof value);
    return value;
}

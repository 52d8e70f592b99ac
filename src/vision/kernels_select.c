#include "vision/kernels.h"

extern const nx_kernels_set nx_kernels_generic;

#if defined(__x86_64__)
extern const nx_kernels_set nx_kernels_v3;
extern const nx_kernels_set nx_kernels_v4;

static int level(void)
{
    __builtin_cpu_init();
    /* BMI2 is a part of both levels that a hypervisor may hide on its own */
    if (!__builtin_cpu_supports("bmi2")) {
        return 1;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        return 4;
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 3 : 1;
}

const nx_kernels_set *nx_kernels(void)
{
    switch (level()) {
    case 4:
        return &nx_kernels_v4;
    case 3:
        return &nx_kernels_v3;
    default:
        return &nx_kernels_generic;
    }
}

const char *nx_kernels_name(void)
{
    switch (level()) {
    case 4:
        return "x86-64-v4 (AVX-512)";
    case 3:
        return "x86-64-v3 (AVX2)";
    default:
        return "x86-64";
    }
}
#else
const nx_kernels_set *nx_kernels(void)
{
    return &nx_kernels_generic;
}

const char *nx_kernels_name(void)
{
    return "generic";
}
#endif

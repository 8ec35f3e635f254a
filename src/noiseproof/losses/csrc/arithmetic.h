/* Exponential and logarithm in single precision, in operations that every processor has vectors of. */

#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE uint32_t as_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

/* e^x to 1 ulp for x <= 88, 0 below -87.7: 2^n times Cephes' polynomial on |r| <= ln 2 / 2. */
INLINE float exp_of(float x) {
    float bounded = x < -88.0f ? -88.0f : x; /* there n is -127, of which the bits make 0; no number stays none */
    float n = rintf(bounded * 1.44269504088896341f);
    float r = bounded - n * 0.693359375f; /* ln 2 in two parts: the first has so few bits that this is exact */
    r = r + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    return y * as_float((uint32_t)((int32_t)n + 127) << 23);
}

/* log u = log(2^n (1 + x)) for normal u > 0 to 1 ulp: Cephes' polynomial on [sqrt(1/2), sqrt(2)]. Where n is 0, x is
   `less_1`, which is u - 1 to more digits than u has. */
INLINE float log_from(float u, float less_1) {
    uint32_t bits = as_bits(u) + (0x3f800000u - 0x3f3504f3u);
    float n = (float)((int32_t)(bits >> 23) - 127);
    float x = as_float((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    x = n == 0.0f ? less_1 : x;
    float y = 7.0376836292e-2f;
    y = y * x - 1.1514610310e-1f;
    y = y * x + 1.1676998740e-1f;
    y = y * x - 1.2420140846e-1f;
    y = y * x + 1.4249322787e-1f;
    y = y * x - 1.6668057665e-1f;
    y = y * x + 2.0000714765e-1f;
    y = y * x - 2.4999993993e-1f;
    y = y * x + 3.3333331174e-1f;
    float z = x * x;
    y = y * x * z - n * 2.12194440e-4f - 0.5f * z;
    return x + y + n * 0.693359375f;
}

INLINE float log_of(float u) { return log_from(u, u - 1.0f); }
INLINE float log1p_of(float x) { return log_from(1.0f + x, x); }

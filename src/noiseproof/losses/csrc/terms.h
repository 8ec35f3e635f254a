/* What a loss is a sum of: functions h of one log p, each with its derivative. */

#pragma once

#include "arithmetic.h"

/* Numbered as in formula.py, which defines them. */
enum function {
    LOG,
    GAP,
    FOCAL,
    POWER,
    ONE,
    NEGATIVE,
    SHIFTED,
    EXPONENTIAL,
    TAYLOR,
    JENSEN_SHANNON,
    BITEMPERED,
    NEGATIVE_LEARNING
};
enum part { LABEL, SHARE, SUM };
enum reduction { NONE, MEAN, TOTAL };

struct term {
    double weight, first, second, towards_top;
    int32_t function, part;
};

enum { MOST_TERMS = 16 };

INLINE int is_of_row(const struct term *term) {
    return term->function == BITEMPERED || term->function == NEGATIVE_LEARNING;
}

/* How many numbers of each class a term leaves for the gradient: none where its h' is linear in p. */
INLINE int num_slopes(const struct term *term) {
    if (is_of_row(term)) return term->function == BITEMPERED ? 2 : 1;
    return term->part != LABEL && term->function != LOG && term->function != GAP;
}

/* One log p with p and 1 - p, in double precision. */
struct point {
    double l, p, gap;
};

INLINE double power_of(double base, double exponent) {
    return exponent == 0.5 ? sqrt(base) : exponent == 1 ? base : pow(base, exponent);
}

INLINE double focal_of(struct point at, double gamma, double *slope) {
    /* where p rounds to 1, l is 0 too, and no power of an underflowed 1 - p must make that undefined */
    double u = at.gap > 1e-300 ? at.gap : 1e-300, power = power_of(u, gamma);
    *slope = (at.p > 0 ? gamma * at.l * at.p * power / u : 0) - power;
    return -at.l * power;
}

/* h there, and its derivative in l. The functions are defined in formula.py. */
INLINE double value_and_slope(int32_t function, double first, double second, struct point at, double *slope) {
    switch (function) {
    case ONE:
        *slope = 0;
        return 1 + 0 * at.l; /* undefined with its row */
    case LOG:
        *slope = -1;
        return -at.l;
    case GAP:
        *slope = -at.p;
        return at.gap;
    case FOCAL:
        return focal_of(at, first, slope);
    case NEGATIVE: { /* `second` as the sums have it, so that a label that is all of a sum has a share of 1 */
        double value = (float)second - focal_of(at, first, slope);
        *slope = value <= 0 ? 0 : -*slope;
        return value < 0 ? 0 : value;
    }
    case POWER: {
        double value = -expm1(first * at.l) / first;
        *slope = first * value - 1;
        return value;
    }
    case SHIFTED: { /* relative to the power at p = 1, so that the loss keeps its digits near there */
        double whole = fabs(first + 1), ratio = log1p(-at.gap / (first + 1));
        *slope = -at.p * pow(whole, second - 1) * exp((second - 1) * ratio);
        return (first > 0 ? -1 : 1) * pow(whole, second) / second * expm1(second * ratio);
    }
    case EXPONENTIAL: {
        double value = exp(-at.p / first);
        *slope = -at.p / first * value;
        return value;
    }
    case TAYLOR: {
        double value = 0, power = 1;
        for (int i = (int)first; i > 0; i--) value = at.gap * (value + 1.0 / i), power *= at.gap;
        *slope = power - 1;
        return value;
    }
    default: { /* JENSEN_SHANNON */
        double log_m = log1p((first - 1) * at.gap), log_rest = log1p(-first);
        double of_p = at.p > 0 ? at.p * (at.l - log_m) : 0 * log_m;
        *slope = -at.p - of_p / log_rest;
        return ((1 - first) * (of_p - at.gap * log_rest) - first * log_m) / ((first - 1) * log_rest);
    }
    }
}

/* Which power of u = 1 - p a focal factor is, so that the common ones cost little. */
enum exponent { ZERO, HALF, UNITY, TWO, ANY };

INLINE float power_less_1(enum exponent exponent, float u, float gamma) {
    switch (exponent) {
    case HALF:
        return 1.0f / sqrtf(u);
    case UNITY:
        return 1.0f;
    case TWO:
        return u;
    default:
        return exp_of((gamma - 1.0f) * log_of(u));
    }
}

/* h and h' of one class; function and exponent are constants where this is used. */
INLINE float class_value(int32_t function, enum exponent exponent, float first, float second, float l, float p,
                         float *slope) {
    if (function == POWER) {
        *slope = -exp_of(first * l);
        return (1.0f + *slope) / first;
    }
    float value = -l;
    *slope = -1.0f;
    if (exponent != ZERO) {
        const float tiny = 1.42e-14f; /* eps^2, far below any 1 - p that rounding leaves */
        float gap = 1.0f - p, u = gap < tiny ? tiny : gap;
        float w = power_less_1(exponent, u, first);
        value *= w * u;
        *slope = w * ((p > 0 ? first * l * p : 0) - gap);
    }
    if (function == NEGATIVE) {
        value = second - value;
        *slope = value <= 0 ? 0 : -*slope;
        value = value < 0 ? 0 : value;
    }
    return value;
}

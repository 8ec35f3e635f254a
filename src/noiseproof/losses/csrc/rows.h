/* Rows of logits: their softmax, and sums over their classes.

   They are done in groups, in one of three ways. ACROSS: LANES short rows at once, each in a lane of the processor's
   vectors, so that class k of row r stands at k * LANES + r. ALONG: LANES rows one after the other, with vectors along
   the classes; only what is done once a row goes across. ALONE: a row at a time, where LANES would not fit the cache. */

#pragma once

#include "terms.h"

enum way { ACROSS, ALONG, ALONE };
enum { LANES = 16, SHORT = 32, MEDIUM = 256, CHUNK = 1024 };

INLINE int lanes_of(enum way way) { return way == ALONE ? 1 : LANES; }

struct batch {
    const float *logits;
    const int64_t *target;
    const float *weight;
    int64_t ignore_index, rows, count;
    const struct term *terms;
    int32_t num_terms;
    double scale;
    float *values, *gradient;
};

/* A group of rows. A row that counts nothing, or is not there, is left out, and stands as a row of harmless numbers. */
struct group {
    const float *z;             /* logits of the first row */
    float *x, *e, *slopes;      /* z - top, across only; e^(z - top); h' of each curved term */
    int64_t y[LANES];
    double factor[LANES];
    double sum[LANES], log_sum[LANES], sum_x[LANES]; /* of e, and of z - top */
    float top[LANES], inverse[LANES];
    struct point label[LANES];
    double total[LANES], slopes_total[LANES];        /* of a term's h and h' over the classes */
    double value[LANES], of_label[LANES];
    double of_p[LANES], of_all[LANES]; /* the gradient is of_label d_ky + of_p p_k + of_all + the curved slopes */
    float curved[2 * MOST_TERMS][LANES];
    int num_curved;
};

/* What a row counts: nothing if its label is ignored, else its class's weight, or 1 where `weight` is null. */
INLINE double factor_of(const struct batch *b, int64_t y) {
    return y == b->ignore_index ? 0.0 : (b->weight ? b->weight[y] : 1.0);
}

/* Sums over the classes are in single precision within a chunk, in double from chunk to chunk. */
INLINE int64_t stop_of(int64_t start, int64_t count) { return start + CHUNK < count ? start + CHUNK : count; }

INLINE float top_of(const float *restrict z, int64_t count) {
    float top = z[0];
#pragma omp simd reduction(max : top)
    for (int64_t k = 1; k < count; k++) top = z[k] > top ? z[k] : top;
    return top;
}

INLINE void read_along(struct group *g, int r, int64_t count) {
    const float *restrict z = g->z + r * count;
    float *restrict e = g->e + r * count, top = g->top[r];
    double sum = 0, sum_x = 0;
    for (int64_t start = 0; start < count; start += CHUNK) {
        int64_t stop = stop_of(start, count);
        float some = 0, some_x = 0;
#pragma omp simd reduction(+ : some, some_x)
        for (int64_t k = start; k < stop; k++) {
            float x = z[k] - top;
            e[k] = exp_of(x);
            some += e[k];
            some_x += x;
        }
        sum += some;
        sum_x += some_x;
    }
    g->sum[r] = sum;
    g->sum_x[r] = sum_x;
    g->label[r].l = (double)z[g->y[r]] - top;
    g->label[r].p = e[g->y[r]];
}

INLINE void read_across(struct group *g, int rows, int64_t count) {
    float *restrict x = g->x, *restrict e = g->e;
    for (int r = 0; r < LANES; r++) {
        const float *z = g->z + (r < rows ? r : rows - 1) * count;
        for (int64_t k = 0; k < count; k++) x[k * LANES + r] = z[k];
    }
    float top[LANES], sum[LANES] = {0}, sum_x[LANES] = {0};
    for (int r = 0; r < LANES; r++) top[r] = x[r];
    for (int64_t k = 1; k < count; k++)
        for (int r = 0; r < LANES; r++) top[r] = x[k * LANES + r] > top[r] ? x[k * LANES + r] : top[r];
    for (int64_t k = 0; k < count; k++)
        for (int r = 0; r < LANES; r++) {
            float less = x[k * LANES + r] - top[r], power = exp_of(less);
            x[k * LANES + r] = less;
            e[k * LANES + r] = power;
            sum[r] += power;
            sum_x[r] += less;
        }
    for (int r = 0; r < LANES; r++) {
        int64_t label = g->y[r] * LANES + r;
        g->top[r] = top[r];
        g->sum[r] = sum[r];
        g->sum_x[r] = sum_x[r];
        g->label[r].l = x[label];
        g->label[r].p = e[label];
    }
}

/* Everything that the terms need of the rows' softmax. */
INLINE void read_rows(struct group *g, enum way way, int rows, int64_t count) {
    if (way == ACROSS) {
        read_across(g, rows, count);
        float log_sum[LANES];
        /* times 0: an undefined sum must stay undefined */
        for (int r = 0; r < LANES; r++) log_sum[r] = log_of((float)g->sum[r]) + 0 * (float)g->sum[r];
        for (int r = 0; r < LANES; r++) g->log_sum[r] = log_sum[r];
    } else {
        /* each step for all rows, so that the processor need not wait for one to have its maximum */
        for (int r = 0; r < lanes_of(way); r++) g->top[r] = g->factor[r] == 0 ? 0 : top_of(g->z + r * count, count);
        for (int r = 0; r < lanes_of(way); r++) {
            if (g->factor[r] != 0) {
                read_along(g, r, count);
            } else {
                g->sum[r] = 2;
                g->sum_x[r] = g->label[r].l = 0;
                g->label[r].p = 1;
            }
        }
        for (int r = 0; r < lanes_of(way); r++) g->log_sum[r] = log(g->sum[r]);
    }
    for (int r = 0; r < lanes_of(way); r++) {
        double inverse = 1 / g->sum[r];
        g->label[r].l -= g->log_sum[r];
        g->label[r].gap = (g->sum[r] - g->label[r].p) * inverse;
        g->label[r].p *= inverse;
        g->inverse[r] = (float)inverse;
    }
}

INLINE void sum_along(struct group *g, int32_t function, enum exponent exponent, float first, float second, int r,
                      int64_t count, float *restrict slopes) {
    const float *restrict z = g->z + r * count, *restrict e = g->e + r * count;
    float top = g->top[r], log_sum = (float)g->log_sum[r], inverse = g->inverse[r];
    for (int64_t start = 0; start < count; start += CHUNK) {
        int64_t stop = stop_of(start, count);
        float h = 0, d = 0;
#pragma omp simd reduction(+ : h, d)
        for (int64_t k = start; k < stop; k++) {
            float slope;
            h += class_value(function, exponent, first, second, z[k] - top - log_sum, e[k] * inverse, &slope);
            d += slopes[k] = slope;
        }
        g->total[r] += h;
        g->slopes_total[r] += d;
    }
}

INLINE void sum_across(struct group *g, int32_t function, enum exponent exponent, float first, float second,
                       int64_t count, float *restrict slopes) {
    const float *restrict x = g->x, *restrict e = g->e;
    float h[LANES] = {0}, d[LANES] = {0}, log_sum[LANES];
    for (int r = 0; r < LANES; r++) log_sum[r] = (float)g->log_sum[r];
    for (int64_t k = 0; k < count; k++)
        for (int r = 0; r < LANES; r++) {
            float slope, l = x[k * LANES + r] - log_sum[r], p = e[k * LANES + r] * g->inverse[r];
            h[r] += class_value(function, exponent, first, second, l, p, &slope);
            d[r] += slopes[k * LANES + r] = slope;
        }
    for (int r = 0; r < LANES; r++) g->total[r] = h[r], g->slopes_total[r] = d[r];
}

/* The sums over the classes of a term's h and h', and each h' in the next `slopes`, if it is curved. */
INLINE void sum_classes(struct group *g, const struct term *term, enum way way, int64_t count) {
    int lanes = lanes_of(way), is_log = term->function == LOG;
    if (is_log || term->function == GAP) {
        for (int r = 0; r < lanes; r++) {
            g->total[r] = is_log ? count * g->log_sum[r] - g->sum_x[r] : count - 1.0;
            g->slopes_total[r] = is_log ? -(double)count : -1.0;
        }
        return;
    }
    float first = (float)term->first, second = (float)term->second;
    float *slopes = g->slopes + g->num_curved * count * lanes;
#define SUM(FUNCTION, EXPONENT)                                                                                        \
    if (way == ACROSS) {                                                                                               \
        sum_across(g, FUNCTION, EXPONENT, first, second, count, slopes);                                               \
    } else {                                                                                                           \
        for (int r = 0; r < lanes; r++) {                                                                              \
            g->total[r] = g->factor[r] == 0;                                                                           \
            g->slopes_total[r] = 0;                                                                                    \
            if (g->factor[r] != 0) sum_along(g, FUNCTION, EXPONENT, first, second, r, count, slopes + r * count);      \
        }                                                                                                              \
    }
#define SUM_BY_EXPONENT(FUNCTION)                                                                                      \
    if (first == 0.5f) {                                                                                               \
        SUM(FUNCTION, HALF)                                                                                            \
    } else if (first == 1.0f) {                                                                                        \
        SUM(FUNCTION, UNITY)                                                                                           \
    } else if (first == 2.0f) {                                                                                        \
        SUM(FUNCTION, TWO)                                                                                             \
    } else if (first == 0.0f) {                                                                                        \
        SUM(FUNCTION, ZERO)                                                                                            \
    } else {                                                                                                           \
        SUM(FUNCTION, ANY)                                                                                             \
    }
    if (term->function == POWER) {
        SUM(POWER, ANY)
    } else if (term->function == FOCAL) {
        SUM_BY_EXPONENT(FOCAL)
    } else {
        SUM_BY_EXPONENT(NEGATIVE)
    }
}

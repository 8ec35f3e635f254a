/* Loss and gradient of each row of logits in one go, while the row is in the cache.

   A row's loss is a weighted sum of terms. Each has an elementwise function h of log p, and takes of it
     LABEL   h(l_y),
     SHARE   h(l_y) / sum_k h(l_k),
     SUM     sum_k h(l_k).
   Two functions are of the whole row, and of no part: BITEMPERED, NEGATIVE_LEARNING. Of the others the gradient over the
   logits follows from the slopes in l_y and in each sum:
     dL/dz_k = of_label (d_ky - p_k) + sum_h of_sum_h (h'(l_k) - p_k sum_j h'(l_j)).

   Written in plain C, so that it needs no header of PyTorch's and any compiler will do; the loops are shaped for
   the vectorizer. Infinite and undefined logits spread as they do in PyTorch. */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

enum { MOST_TERMS = 16, MOST_THREADS = 64 };

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif
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

/* -------------------------------------------------------------------------------------------- at the label */

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
    *slope = gamma * at.l * at.p * power / u - power;
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
        *slope = value > 0 ? -*slope : 0 * value;
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

/* ---------------------------------------------------------------------------------- summed over the classes */

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
        *slope = w * (first * l * p - gap);
    }
    if (function == NEGATIVE) {
        value = second - value;
        *slope = value > 0 ? -*slope : 0 * value;
        value = value < 0 ? 0 : value;
    }
    return value;
}

/* ------------------------------------------------------------------------------------------------- the rows

   They are done in groups, in one of three ways. ACROSS: LANES short rows at once, each in a lane of the processor's
   vectors, so that class k of row r stands at k * LANES + r. ALONG: LANES rows one after the other, with vectors along
   the classes; only what is done once a row goes across. ALONE: a row at a time, where LANES would not fit the cache. */

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
        int64_t stop = start + CHUNK < count ? start + CHUNK : count;
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
        int64_t stop = start + CHUNK < count ? start + CHUNK : count;
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

/* The sums over the classes of a term's h and h', and each h' in the next `slopes`; false if h' is linear in p, so that
   it need not be kept. */
INLINE int sum_classes(struct group *g, const struct term *term, enum way way, int64_t count) {
    int lanes = lanes_of(way), is_log = term->function == LOG;
    if (is_log || term->function == GAP) {
        for (int r = 0; r < lanes; r++) {
            g->total[r] = is_log ? count * g->log_sum[r] - g->sum_x[r] : count - 1.0;
            g->slopes_total[r] = is_log ? -(double)count : -1.0;
        }
        return 0;
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
    return 1;
}

/* log p of the label on the epsilon-softmax, p' = (p + m e_top) / (m + 1), and its derivative in log p; the first of
   equal classes is the top one. */
INLINE double move_label(struct point *at, double m, const float *z, int64_t y, float top) {
    int is_top = z[y] == top;
    for (int64_t k = 0; is_top && k < y; k++) is_top = z[k] != top;
    double p = (at->p + (is_top ? m : 0)) / (m + 1), slope = is_top ? at->p / (at->p + m) : 1;
    at->gap = is_top ? at->gap / (m + 1) : (at->gap + m) / (m + 1);
    at->l = is_top ? log1p(-at->gap) : at->l - log1p(m);
    at->p = p;
    return slope;
}

/* h and h' of a term at the labels. */
INLINE void at_labels(const struct group *g, const struct term *term, enum way way, int64_t count, double *h,
                      double *slope) {
    int lanes = lanes_of(way);
    struct point at[LANES];
    double inner[LANES];
    for (int r = 0; r < lanes; r++) at[r] = g->label[r], inner[r] = 1;
    if (term->towards_top > 0)
        for (int r = 0; r < lanes; r++)
            if (g->factor[r] != 0)
                inner[r] = move_label(&at[r], term->towards_top, g->z + r * count, g->y[r], g->top[r]);
#define CASE(FUNCTION)                                                                                                 \
    case FUNCTION:                                                                                                     \
        for (int r = 0; r < lanes; r++)                                                                                \
            h[r] = value_and_slope(FUNCTION, term->first, term->second, at[r], &slope[r]), slope[r] *= inner[r];       \
        break;
    switch (term->function) {
        CASE(LOG)
        CASE(GAP)
        CASE(FOCAL)
        CASE(POWER)
        CASE(ONE)
        CASE(NEGATIVE)
        CASE(SHIFTED)
        CASE(EXPONENTIAL)
        CASE(TAYLOR)
        CASE(JENSEN_SHANNON)
    }
}

/* ------------------------------------------------------------------------------------- losses of the whole row */

INLINE int is_of_row(const struct term *term) {
    return term->function == BITEMPERED || term->function == NEGATIVE_LEARNING;
}

/* x such that sum_k u_k = 1, u_k = (1 + x + s (top - z_k))^(-1/s): Newton's method on (sum_k u_k)^-s, which is concave
   in x, so that no step from x = 0 goes too far. */
INLINE double tempered_partition(const float *restrict z, float top, float s, int64_t count) {
    double x = 0;
    for (int step = 0; step < 20; step++) {
        double sum = 0, slope = 0;
        float start_at = (float)x, power = -1.0f / s;
        for (int64_t start = 0; start < count; start += CHUNK) {
            int64_t stop = start + CHUNK < count ? start + CHUNK : count;
            float some = 0, some_slope = 0;
#pragma omp simd reduction(+ : some, some_slope)
            for (int64_t k = start; k < stop; k++) {
                float t = start_at + s * (top - z[k]), u = exp_of(power * log1p_of(t));
                some += u;
                some_slope += u / (1.0f + t);
            }
            sum += some;
            slope += some_slope;
        }
        x = start_at + sum / slope * expm1(s * log(sum));
        if (!(fabs(sum - 1) > 1e-4)) break; /* the error is squared by the step that was just done */
    }
    return x;
}

/* A chunk of the classes: E_k, G_k and their sums, and sum_k u_k (1 - u_k^q). `from` is x of the partition. */
INLINE void temper_chunk(int is_tempered, const float *restrict z, float *restrict E, float *restrict G, int64_t start,
                         int64_t stop, float top, float from, float s, float q, float log_sum, double *sum_E,
                         double *sum_G, double *missing) {
    float some_E = 0, some_G = 0, some = 0, power = is_tempered ? -1.0f / s : 0.0f;
#pragma omp simd reduction(+ : some_E, some_G, some)
    for (int64_t k = start; k < stop; k++) {
        float t = is_tempered ? from + s * (top - z[k]) : 0.0f;
        t = t > 3e38f ? 3e38f : t; /* of a class that is ruled out: times 0, it must be 0 */
        float log_u = is_tempered ? power * log1p_of(t) : z[k] - top - log_sum;
        float u_to_q = exp_of(q * log_u);
        E[k] = exp_of((1.0f + s) * log_u);
        G[k] = E[k] * u_to_q;
        some_E += E[k];
        some_G += G[k];
        some += E[k] * (1.0f + t) * (1.0f - u_to_q); /* u = u^t2 u^-s */
    }
    *sum_E += some_E;
    *sum_G += some_G;
    *missing += some;
}

/* -log_t1 u_y - (1 - sum_k u_k^(2-t1)) / (2-t1), of the softmax u that is tempered by t2. With E_k = u_k^t2 and
   G_k = u_k^(1+t2-t1) its gradient is  G_j - E_y u_y^-t1 d_jy - E_j (sum_k G_k - E_y u_y^-t1) / sum_k E_k. */
INLINE double bitempered(struct group *g, double w, double t1, double t2, int r, int64_t count, float *restrict G,
                         float *restrict E) {
    const float *restrict z = g->z + r * count;
    float top = g->top[r], s = (float)(t2 - 1), q = (float)(1 - t1), log_sum = (float)g->log_sum[r];
    double x = s == 0 ? 0 : tempered_partition(z, top, s, count);
    double sum_E = 0, sum_G = 0, missing = 0;
    for (int64_t start = 0; start < count; start += CHUNK) {
        int64_t stop = start + CHUNK < count ? start + CHUNK : count;
        if (s == 0)
            temper_chunk(0, z, E, G, start, stop, top, 0, 0, q, log_sum, &sum_E, &sum_G, &missing);
        else
            temper_chunk(1, z, E, G, start, stop, top, (float)x, s, q, log_sum, &sum_E, &sum_G, &missing);
    }
    double log_u = s == 0 ? g->label[r].l : -log1p(x + (double)s * (top - z[g->y[r]])) / s;
    double spike = exp((t2 - t1) * log_u), value = q == 0 ? -log_u : -expm1(q * log_u) / q;
    double defined = 1 + 0 * g->sum[r]; /* or not, with its row */
    g->of_label[r] -= w * spike * defined;
    g->curved[g->num_curved][r] = (float)(w * g->factor[r] * defined);
    g->curved[g->num_curved + 1][r] = (float)(-w * g->factor[r] * (sum_G - spike) / sum_E);
    return (value - missing / (2 - t1)) * defined;
}

/* Of a row whose top class has all but nothing of the probability: log sum_j e^(z_j - top) of the other classes j, and
   the share of each in that sum. */
static double others_of(const float *z, int64_t top, int64_t count, float *share) {
    double second = -INFINITY, sum = 0;
    for (int64_t k = 0; k < count; k++)
        if (k != top && z[k] > second) second = z[k];
    for (int64_t k = 0; k < count; k++)
        if (k != top) sum += exp(z[k] - second);
    for (int64_t k = 0; k < count; k++) share[k] = k == top ? 0 : (float)(exp(z[k] - second) / sum);
    return second - z[top] + log(sum);
}

/* -sum_{k != y} log(1 - p_k). With s_k = p_k / (1 - p_k) its gradient is  s_j - p_j sum_k s_k  over k != y. For the top
   class t, if it is not y, that would cancel: there 1 - p_t is summed up from the others, and of its part in the
   gradient,  s_t (d_jt - p_j),  each class j has minus p_t times its share in that sum, and t itself p_t. */
INLINE double negative_learning(struct group *g, double w, int r, int64_t count, float *restrict slopes) {
    const float *restrict z = g->z + r * count, *restrict e = g->e + r * count;
    int64_t y = g->y[r];
    double others = 0, ties = 0;
    for (int64_t start = 0; start < count; start += CHUNK) {
        int64_t stop = start + CHUNK < count ? start + CHUNK : count;
        float some = 0, tops = 0;
#pragma omp simd reduction(+ : some, tops)
        for (int64_t k = start; k < stop; k++) {
            some += e[k] >= 1.0f ? 0 : e[k];
            tops += e[k] >= 1.0f ? 1.0f : 0;
        }
        others += some;
        ties += tops;
    }
    /* equal top classes have p of 1/2 at most, and are as the others */
    float left_out = ties > 1 ? 2.0f : 1.0f, inverse = g->inverse[r];
    double value = 0, sum = 0;
    for (int64_t start = 0; start < count; start += CHUNK) {
        int64_t stop = start + CHUNK < count ? start + CHUNK : count;
        float h = 0, d = 0;
#pragma omp simd reduction(+ : h, d)
        for (int64_t k = start; k < stop; k++) {
            float p = e[k] >= left_out ? 0 : e[k] * inverse, slope = p / (1.0f - p);
            slopes[k] = slope;
            h -= log1p_of(-p);
            d += slope;
        }
        value += h;
        sum += d;
    }
    double defined = 1 + 0 * g->sum[r];
    if (e[y] < left_out) { /* y is not to count */
        double p = g->label[r].p;
        value += log1p(-p);
        sum -= slopes[y];
        slopes[y] = 0;
        if (ties == 1) {
            int64_t top = 0;
            while (e[top] < 1.0f) top++;
            float p_top = (float)(1 / (1 + others));
            if (others > 1e-30) {
                value -= log(others / (1 + others));
                float each = (float)(p_top / others);
                for (int64_t k = 0; k < count; k++) slopes[k] -= e[k] * each;
            } else {
                float *share = malloc(count * sizeof(float));
                defined = share ? defined : NAN;
                if (share) {
                    value -= others_of(z, top, count, share);
                    for (int64_t k = 0; k < count; k++) slopes[k] -= p_top * share[k];
                }
                free(share);
            }
            slopes[top] = p_top;
        }
    }
    g->of_p[r] -= w * sum;
    g->curved[g->num_curved][r] = (float)(w * g->factor[r] * defined);
    return value * defined;
}

/* Adds a loss of the whole row, whose gradient goes into `slopes`. */
INLINE void add_of_row(struct group *g, const struct term *term, enum way way, int64_t count) {
    int lanes = lanes_of(way), is_bitempered = term->function == BITEMPERED;
    float *slopes = g->slopes + g->num_curved * count * lanes;
    for (int r = 0; r < lanes; r++) {
        float *own = slopes + r * count;
        if (g->factor[r] == 0) continue;
        g->value[r] += term->weight * (is_bitempered ? bitempered(g, term->weight, term->first, term->second, r, count,
                                                                  own, own + lanes * count)
                                                     : negative_learning(g, term->weight, r, count, own));
    }
    g->num_curved += is_bitempered ? 2 : 1;
}

/* ----------------------------------------------------------------------------------------------- all terms */

/* Values, and what the gradient is made of. */
INLINE void add_terms(struct group *g, const struct batch *b, enum way way) {
    int lanes = lanes_of(way);
    g->num_curved = 0;
    for (int r = 0; r < lanes; r++) g->value[r] = g->of_label[r] = g->of_p[r] = g->of_all[r] = 0;
    for (int i = 0; i < b->num_terms; i++) {
        const struct term *term = &b->terms[i];
        double h[LANES] = {0}, slope[LANES] = {0}, w = term->weight;
        if (way != ACROSS && is_of_row(term)) {
            add_of_row(g, term, way, b->count);
            continue;
        }
        if (term->part != SUM) at_labels(g, term, way, b->count, h, slope);
        if (term->part == LABEL) {
            for (int r = 0; r < lanes; r++) {
                g->value[r] += w * h[r];
                g->of_label[r] += w * slope[r];
                g->of_p[r] -= w * slope[r];
            }
            continue;
        }
        int is_curved = sum_classes(g, term, way, b->count);
        for (int r = 0; r < lanes; r++) {
            double total = g->total[r], of_sum = w;
            if (term->part == SHARE) {
                double share = w / total;
                g->value[r] += share * h[r];
                g->of_label[r] += share * slope[r];
                g->of_p[r] -= share * slope[r];
                of_sum = -share * h[r] / total;
            } else {
                g->value[r] += w * total;
            }
            if (term->function == GAP) continue; /* sums to a constant */
            g->of_p[r] -= of_sum * g->slopes_total[r];
            if (is_curved)
                g->curved[g->num_curved][r] = (float)(of_sum * g->factor[r]);
            else
                g->of_all[r] -= of_sum;
        }
        g->num_curved += is_curved;
    }
}

INLINE void write_along(const struct group *g, float a, float c, int r, float *out, int64_t count, int lanes) {
    const float *restrict e = g->e + r * count, *restrict slopes = g->slopes + r * count;
    if (g->num_curved == 0) {
        for (int64_t k = 0; k < count; k++) out[k] = a * e[k] + c;
        return;
    }
    float d = g->curved[0][r];
    for (int64_t k = 0; k < count; k++) out[k] = a * e[k] + c + d * slopes[k];
    for (int i = 1; i < g->num_curved; i++) {
        slopes += lanes * count;
        d = g->curved[i][r];
        for (int64_t k = 0; k < count; k++) out[k] += d * slopes[k];
    }
}

/* The gradients in `x`, whose numbers are no longer needed. */
INLINE void write_across(const struct group *g, const float *a, const float *c, int64_t count) {
    float *restrict x = g->x;
    const float *restrict e = g->e, *restrict slopes = g->slopes;
    for (int64_t k = 0; k < count; k++)
        for (int r = 0; r < LANES; r++) x[k * LANES + r] = a[r] * e[k * LANES + r] + c[r];
    for (int i = 0; i < g->num_curved; i++)
        for (int64_t k = 0; k < count; k++)
            for (int r = 0; r < LANES; r++)
                x[k * LANES + r] += g->curved[i][r] * slopes[(i * count + k) * LANES + r];
}

/* The group from `row` on; gives the sum of its values. */
INLINE double do_group(const struct batch *b, enum way way, int64_t row, int rows, float *scratch) {
    int lanes = lanes_of(way);
    int64_t count = b->count;
    struct group g;
    g.z = b->logits + row * count;
    g.x = scratch;
    g.e = way == ACROSS ? scratch + LANES * count : scratch;
    g.slopes = g.e + lanes * count;
    for (int r = 0; r < lanes; r++) {
        int64_t y = r < rows ? b->target[row + r] : b->ignore_index;
        g.factor[r] = factor_of(b, y) * b->scale;
        g.y[r] = g.factor[r] == 0 ? 0 : y; /* an ignored label is no class */
    }
    read_rows(&g, way, rows, count);
    add_terms(&g, b, way);
    double all = 0;
    for (int r = 0; r < rows; r++) {
        double value = g.factor[r] == 0 ? 0 : g.value[r] * g.factor[r];
        all += value;
        if (b->values) b->values[row + r] = (float)value;
    }
    if (!b->gradient) return all;

    float a[LANES], c[LANES], *out = b->gradient + row * count;
    for (int r = 0; r < lanes; r++) {
        a[r] = (float)(g.of_p[r] * g.factor[r]) * g.inverse[r];
        c[r] = (float)(g.of_all[r] * g.factor[r]);
    }
    if (way == ACROSS) write_across(&g, a, c, count);
    for (int r = 0; r < rows; r++, out += count) {
        if (g.factor[r] == 0) {
            memset(out, 0, count * sizeof(float));
            continue;
        }
        if (way == ACROSS)
            for (int64_t k = 0; k < count; k++) out[k] = g.x[k * LANES + r];
        else
            write_along(&g, a[r], c[r], r, out, count, lanes);
        out[g.y[r]] += (float)(g.of_label[r] * g.factor[r]);
    }
    return all;
}

static enum way way_of(const struct batch *b) {
    int of_rows = 0;
    for (int i = 0; i < b->num_terms; i++) of_rows |= is_of_row(&b->terms[i]);
    return b->count <= SHORT && !of_rows ? ACROSS : b->count <= MEDIUM ? ALONG : ALONE;
}

static size_t scratch_floats(const struct batch *b) {
    enum way way = way_of(b);
    int64_t kept = way == ACROSS ? 2 : 1;
    for (int i = 0; i < b->num_terms; i++) {
        const struct term *term = &b->terms[i];
        if (is_of_row(term))
            kept += term->function == BITEMPERED ? 2 : 1;
        else
            kept += term->part != LABEL && term->function != LOG && term->function != GAP;
    }
    return (size_t)(kept * lanes_of(way) * b->count);
}

/* Rows `first` to `last`; gives the sum of their values. */
FOR_EACH_PROCESSOR
static double do_rows(const struct batch *b, int64_t first, int64_t last, float *scratch) {
    enum way way = way_of(b);
    double all = 0;
    for (int64_t row = first; row < last; row += lanes_of(way)) {
        int rows = (int)(last - row < lanes_of(way) ? last - row : lanes_of(way));
        all += way == ACROSS  ? do_group(b, ACROSS, row, rows, scratch)
               : way == ALONG ? do_group(b, ALONG, row, rows, scratch)
                              : do_group(b, ALONE, row, rows, scratch);
    }
    return all;
}

/* ------------------------------------------------------------------------------------------------ the batch */

/* What this was compiled from: a checksum that the build gives. */
uint32_t noiseproof_source(void) { return SOURCE; }

/* A forked process has none of OpenMP's threads, and would wait for them in vain. */
static int is_forked;
static void note_fork(void) { is_forked = 1; }
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(0, 0, note_fork); }

/* Logits (rows, count) in float32 on up to `threads` threads, which are PyTorch's own where it uses OpenMP. Writes the
   values into `result`, (rows,), or their sum or mean over what they count; and its gradient into `gradient`, which may
   be null, or `logits` itself. Gives -1, or the row whose label is out of range, or -2 if there is no memory. */
int64_t noiseproof_rows(const float *logits, const int64_t *target, const float *weight, int64_t ignore_index,
                        int64_t rows, int64_t count, const struct term *terms, int32_t num_terms, int32_t reduction,
                        float *result, float *gradient, int32_t threads) {
    struct batch batch = {logits, target,    weight, ignore_index, rows,    count,
                          terms,  num_terms, 1,      reduction == NONE ? result : 0, gradient};
    double counted = 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t y = target[row];
        if (y != ignore_index && (y < 0 || y >= count)) return row;
        counted += factor_of(&batch, y);
    }
    if (reduction == MEAN && counted > 0) batch.scale = 1 / counted;

    int64_t lanes = lanes_of(way_of(&batch));
    size_t size = (scratch_floats(&batch) * sizeof(float) + 63) / 64 * 64; /* no two threads share a line of the cache */
    int parts = threads > MOST_THREADS ? MOST_THREADS : threads;
    if (is_forked || parts < 1) parts = 1;
    char *scratch = aligned_alloc(64, size * parts);
    if (!scratch) return -2;
    double totals[MOST_THREADS];
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int i = 0; i < parts; i++) {
        /* whole groups of lanes, so that a row is summed up alike on any number of threads */
        int64_t groups = (rows + lanes - 1) / lanes, first = groups * i / parts * lanes,
                last = groups * (i + 1) / parts * lanes;
        totals[i] = do_rows(&batch, first, last < rows ? last : rows, (float *)(scratch + i * size));
    }
    free(scratch);
    double total = 0;
    for (int i = 0; i < parts; i++) total += totals[i];
    if (reduction != NONE) *result = (float)total;
    return -1;
}

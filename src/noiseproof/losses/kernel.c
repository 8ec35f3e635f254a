/* Loss and gradient of each row of logits in one go, while the row is in the cache.

   A row's loss is a weighted sum of terms. Each has an elementwise function h of log p, and takes of it
     LABEL   h(l_y),
     SHARE   h(l_y) / sum_k h(l_k),
     SUM     sum_k h(l_k).
   The gradient over the logits follows from the slopes in l_y and in each sum:
     dL/dz_k = of_label (d_ky - p_k) + sum_h of_sum_h (h'(l_k) - p_k sum_j h'(l_j)).

   Written in plain C, so that it needs no header of PyTorch's and any compiler will do; the loops are shaped for
   the vectorizer. Infinite and undefined logits spread as they do in PyTorch. */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Numbered as in formula.py, which defines them. */
enum function { LOG, GAP, FOCAL, POWER, ONE, NEGATIVE, SHIFTED, EXPONENTIAL, TAYLOR, JENSEN_SHANNON };
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

/* log u for normal u > 0 to 1 ulp: Cephes' polynomial on [sqrt(1/2), sqrt(2)]. */
INLINE float log_of(float u) {
    uint32_t bits = as_bits(u) + (0x3f800000u - 0x3f3504f3u);
    float n = (float)((int32_t)(bits >> 23) - 127);
    float x = as_float((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
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

   Short rows are done LANES at a time, one in each lane of the processor's vectors: class k of lane r stands at
   k * LANES + r. Longer rows are done one by one, with vectors along the classes. */

enum { LANES = 16, SHORT = 64, CHUNK = 1024 };

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

/* What is known of the rows under way: of one, or of LANES. */
struct state {
    int64_t y[LANES];
    double factor[LANES];
    float top[LANES], log_sum[LANES], inverse[LANES];
    double sum_x[LANES];                         /* of z - top */
    struct point label[LANES];
    double total[LANES], slopes_total[LANES];    /* of a term's function, over the classes */
    double value[LANES], of_label[LANES];
    double of_p[LANES], of_all[LANES];           /* the gradient is of_label d_ky + of_p p_k + of_all + curved slopes */
    float curved[MOST_TERMS][LANES];
    int num_curved;
};

/* What a row counts: nothing if its label is ignored, else its class's weight, or 1 where `weight` is null. */
INLINE double factor_of(const struct batch *b, int64_t y) {
    return y == b->ignore_index ? 0.0 : (b->weight ? b->weight[y] : 1.0);
}

INLINE void set_label(struct state *s, int r, double x, double log_sum, double e, double sum) {
    s->label[r] = (struct point){x - log_sum, e / sum, (sum - e) / sum};
    s->log_sum[r] = (float)log_sum;
    s->inverse[r] = (float)(1 / sum);
}

/* e^(z - top) of a row in `e`, and what follows from it. */
INLINE void read_row(struct state *s, const float *restrict z, float *restrict e, int64_t count) {
    float top = z[0];
#pragma omp simd reduction(max : top)
    for (int64_t k = 1; k < count; k++) top = z[k] > top ? z[k] : top;
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
    s->top[0] = top;
    s->sum_x[0] = sum_x;
    set_label(s, 0, (double)z[s->y[0]] - top, log(sum), e[s->y[0]], sum);
}

/* The same of LANES rows, whose z - top go into `x`; lanes beyond `rows` repeat the last. */
INLINE void read_rows(struct state *s, const float *restrict z, float *restrict x, float *restrict e, int64_t count,
                      int rows) {
    for (int r = 0; r < LANES; r++) {
        const float *row = z + (r < rows ? r : rows - 1) * count;
        for (int64_t k = 0; k < count; k++) x[k * LANES + r] = row[k];
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
    float log_sum[LANES];
    for (int r = 0; r < LANES; r++) log_sum[r] = log_of(sum[r]) + 0 * sum[r]; /* undefined with its row */
    for (int r = 0; r < LANES; r++) {
        int64_t at = s->y[r] * LANES + r;
        s->top[r] = top[r];
        s->sum_x[r] = sum_x[r];
        set_label(s, r, x[at], log_sum[r], e[at], sum[r]);
    }
}

/* The sums over the classes of a term's h and h', and each h' in `slopes`; false if h' is not kept, since it is linear
   in p. `x` is z - top, or z itself for a single row. */
INLINE int sum_classes(struct state *s, const struct term *term, const float *restrict x, const float *restrict e,
                       float *restrict slopes, int64_t count, int lanes) {
    if (term->function == LOG || term->function == GAP) {
        for (int r = 0; r < lanes; r++) {
            s->total[r] = term->function == LOG ? count * (double)s->log_sum[r] - s->sum_x[r] : count - 1.0;
            s->slopes_total[r] = term->function == LOG ? -(double)count : -1.0;
        }
        return 0;
    }
    float first = (float)term->first, second = (float)term->second;
    for (int r = 0; r < lanes; r++) s->total[r] = s->slopes_total[r] = 0;
    float top = s->top[0], log_sum = s->log_sum[0], inverse = s->inverse[0];
    int64_t step = lanes == 1 ? CHUNK : count;
    for (int64_t start = 0; start < count; start += step) {
        int64_t stop = start + step < count ? start + step : count;
        float h[LANES] = {0}, d[LANES] = {0}, all_h = 0, all_d = 0;
#define OVER_CLASSES(FUNCTION, EXPONENT)                                                                               \
    if (lanes == 1) {                                                                                                  \
        _Pragma("omp simd reduction(+ : all_h, all_d)") for (int64_t k = start; k < stop; k++) {                       \
            float slope;                                                                                               \
            all_h += class_value(FUNCTION, EXPONENT, first, second, x[k] - top - log_sum, e[k] * inverse, &slope);     \
            all_d += slopes[k] = slope;                                                                                \
        }                                                                                                              \
    } else {                                                                                                           \
        for (int64_t k = 0; k < count; k++)                                                                            \
            for (int r = 0; r < LANES; r++) {                                                                          \
                int64_t i = k * LANES + r;                                                                             \
                float slope, l = x[i] - s->log_sum[r], p = e[i] * s->inverse[r];                                       \
                h[r] += class_value(FUNCTION, EXPONENT, first, second, l, p, &slope);                                  \
                d[r] += slopes[i] = slope;                                                                             \
            }                                                                                                          \
    }
#define OVER_EXPONENTS(FUNCTION)                                                                                       \
    if (first == 0.5f) {                                                                                               \
        OVER_CLASSES(FUNCTION, HALF)                                                                                   \
    } else if (first == 1.0f) {                                                                                        \
        OVER_CLASSES(FUNCTION, UNITY)                                                                                  \
    } else if (first == 2.0f) {                                                                                        \
        OVER_CLASSES(FUNCTION, TWO)                                                                                    \
    } else if (first == 0.0f) {                                                                                        \
        OVER_CLASSES(FUNCTION, ZERO)                                                                                   \
    } else {                                                                                                           \
        OVER_CLASSES(FUNCTION, ANY)                                                                                    \
    }
        if (term->function == POWER) {
            OVER_CLASSES(POWER, ANY)
        } else if (term->function == FOCAL) {
            OVER_EXPONENTS(FOCAL)
        } else {
            OVER_EXPONENTS(NEGATIVE)
        }
        h[0] += all_h;
        d[0] += all_d;
        for (int r = 0; r < lanes; r++) s->total[r] += h[r], s->slopes_total[r] += d[r];
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

INLINE void add_terms(struct state *s, const struct batch *b, const float *z, const float *x, const float *e,
                      float *slopes, int lanes, int rows) {
    int64_t count = b->count;
    s->num_curved = 0;
    for (int r = 0; r < lanes; r++) s->value[r] = s->of_label[r] = s->of_p[r] = s->of_all[r] = 0;
    for (int i = 0; i < b->num_terms; i++) {
        const struct term *term = &b->terms[i];
        double h[LANES], slope[LANES], w = term->weight;
        if (term->part != SUM) {
            struct point at[LANES];
            double inner[LANES];
            for (int r = 0; r < lanes; r++) at[r] = s->label[r], inner[r] = 1;
            if (term->towards_top > 0)
                for (int r = 0; r < rows; r++)
                    inner[r] = move_label(&at[r], term->towards_top, z + r * count, s->y[r], s->top[r]);
#define AT_LABELS(FUNCTION)                                                                                            \
    case FUNCTION:                                                                                                     \
        for (int r = 0; r < lanes; r++)                                                                                \
            h[r] = value_and_slope(FUNCTION, term->first, term->second, at[r], &slope[r]), slope[r] *= inner[r];       \
        break;
            switch (term->function) {
                AT_LABELS(LOG)
                AT_LABELS(GAP)
                AT_LABELS(FOCAL)
                AT_LABELS(POWER)
                AT_LABELS(ONE)
                AT_LABELS(NEGATIVE)
                AT_LABELS(SHIFTED)
                AT_LABELS(EXPONENTIAL)
                AT_LABELS(TAYLOR)
                AT_LABELS(JENSEN_SHANNON)
            }
        }
        if (term->part == LABEL) {
            for (int r = 0; r < lanes; r++) {
                s->value[r] += w * h[r];
                s->of_label[r] += w * slope[r];
                s->of_p[r] -= w * slope[r];
            }
            continue;
        }
        int is_curved = sum_classes(s, term, x, e, slopes + s->num_curved * count * lanes, count, lanes);
        for (int r = 0; r < lanes; r++) {
            double total = s->total[r], of_sum = w;
            if (term->part == SHARE) {
                s->value[r] += w * h[r] / total;
                s->of_label[r] += w * slope[r] / total;
                s->of_p[r] -= w * slope[r] / total;
                of_sum = -w * h[r] / (total * total);
            } else {
                s->value[r] += w * total;
            }
            if (term->function == GAP) continue; /* sums to a constant */
            s->of_p[r] -= of_sum * s->slopes_total[r];
            if (is_curved)
                s->curved[s->num_curved][r] = (float)(of_sum * s->factor[r]);
            else
                s->of_all[r] -= of_sum;
        }
        s->num_curved += is_curved;
    }
}

/* One row. `scratch` has (1 + curved terms) * count floats. */
INLINE double do_row(const struct batch *b, int64_t row, float *scratch) {
    struct state s;
    int64_t count = b->count;
    const float *z = b->logits + row * count;
    float *out = b->gradient ? b->gradient + row * count : 0;
    s.y[0] = b->target[row];
    s.factor[0] = factor_of(b, s.y[0]) * b->scale;
    if (s.factor[0] == 0) {
        if (b->values) b->values[row] = 0;
        if (out) memset(out, 0, count * sizeof(float));
        return 0;
    }
    float *restrict e = scratch, *restrict slopes = scratch + count;
    read_row(&s, z, e, count);
    add_terms(&s, b, z, z, e, slopes, 1, 1);
    double value = s.value[0] * s.factor[0];
    if (b->values) b->values[row] = (float)value;
    if (!out) return value;

    float a = (float)(s.of_p[0] * s.factor[0]) * s.inverse[0], c = (float)(s.of_all[0] * s.factor[0]);
    if (s.num_curved == 0) {
        for (int64_t k = 0; k < count; k++) out[k] = a * e[k] + c;
    } else {
        float d = s.curved[0][0];
        for (int64_t k = 0; k < count; k++) out[k] = a * e[k] + c + d * slopes[k];
        for (int i = 1; i < s.num_curved; i++) {
            const float *restrict more = slopes + i * count;
            d = s.curved[i][0];
            for (int64_t k = 0; k < count; k++) out[k] += d * more[k];
        }
    }
    out[s.y[0]] += (float)(s.of_label[0] * s.factor[0]);
    return value;
}

/* Up to LANES short rows. `scratch` has LANES times (2 + curved terms) * count floats. */
INLINE double do_rows(const struct batch *b, int64_t row, int rows, float *scratch) {
    struct state s;
    int64_t count = b->count;
    const float *z = b->logits + row * count;
    float *restrict x = scratch, *restrict e = x + count * LANES, *restrict slopes = e + count * LANES;
    for (int r = 0; r < LANES; r++) {
        int64_t y = b->target[row + (r < rows ? r : rows - 1)];
        s.factor[r] = factor_of(b, y) * b->scale;
        s.y[r] = s.factor[r] == 0 ? 0 : y; /* an ignored label is no class */
    }
    read_rows(&s, z, x, e, count, rows);
    add_terms(&s, b, z, x, e, slopes, LANES, rows);
    double all = 0;
    for (int r = 0; r < rows; r++) {
        double value = s.factor[r] == 0 ? 0 : s.value[r] * s.factor[r];
        all += value;
        if (b->values) b->values[row + r] = (float)value;
    }
    if (!b->gradient) return all;

    float a[LANES], c[LANES];
    for (int r = 0; r < LANES; r++) {
        a[r] = (float)(s.of_p[r] * s.factor[r]) * s.inverse[r];
        c[r] = (float)(s.of_all[r] * s.factor[r]);
    }
    for (int64_t k = 0; k < count; k++)
        for (int r = 0; r < LANES; r++) x[k * LANES + r] = a[r] * e[k * LANES + r] + c[r];
    for (int i = 0; i < s.num_curved; i++)
        for (int64_t k = 0; k < count; k++)
            for (int r = 0; r < LANES; r++)
                x[k * LANES + r] += s.curved[i][r] * slopes[(i * count + k) * LANES + r];
    float *out = b->gradient + row * count;
    for (int r = 0; r < rows; r++, out += count) {
        if (s.factor[r] == 0) {
            memset(out, 0, count * sizeof(float));
            continue;
        }
        for (int64_t k = 0; k < count; k++) out[k] = x[k * LANES + r];
        out[s.y[r]] += (float)(s.of_label[r] * s.factor[r]);
    }
    return all;
}

/* Rows `first` to `last`; gives the sum of their values. */
FOR_EACH_PROCESSOR
static double do_range(const struct batch *b, int64_t first, int64_t last, float *scratch) {
    double all = 0;
    if (b->count <= SHORT) {
        for (int64_t row = first; row < last; row += LANES)
            all += do_rows(b, row, (int)(last - row < LANES ? last - row : LANES), scratch);
    } else {
        for (int64_t row = first; row < last; row++) all += do_row(b, row, scratch);
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

static int num_curved(const struct term *terms, int32_t num_terms) {
    int found = 0;
    for (int i = 0; i < num_terms; i++)
        found += terms[i].part != LABEL && terms[i].function != LOG && terms[i].function != GAP;
    return found;
}

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

    int64_t lanes = count <= SHORT ? LANES : 1;
    size_t size = (size_t)((lanes == 1 ? 1 : 2) + num_curved(terms, num_terms)) * lanes * count * sizeof(float);
    size = (size + 63) / 64 * 64; /* whole lines of the cache, so that no two threads share one */
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
        totals[i] = do_range(&batch, first, last < rows ? last : rows, (float *)(scratch + i * size));
    }
    free(scratch);
    double total = 0;
    for (int i = 0; i < parts; i++) total += totals[i];
    if (reduction != NONE) *result = (float)total;
    return -1;
}

/* Loss and gradient of each row of logits in one go, while the row is in the cache.

   A row's loss is a weighted sum of terms. Each has an elementwise function h of log p, and takes of it
     LABEL   h(l_y),
     SHARE   h(l_y) / sum_k h(l_k),
     SUM     sum_k h(l_k).
   The gradient over the logits follows from the slopes in l_y and in each sum:
     dL/dz_k = of_label (d_ky - p_k) + sum_h of_sum_h (h'(l_k) - p_k sum_j h'(l_j)).

   Written in plain C, so that it needs no header of PyTorch's and any compiler will do; the loops over the
   classes are shaped for the vectorizer. Infinite and undefined logits spread as they do in PyTorch. */

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum function { LOG, GAP, FOCAL, POWER };
enum part { LABEL, SHARE, SUM };

struct term {
    double weight, parameter;
    int32_t function, part;
};

enum { MOST_TERMS = 16, CHUNK = 1024 };

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

/* u^(-1/2) for normal u > 0 to 2 ulp: a guess from the bits, made exact by Newton. The processor's own root and
   quotient are several times slower. */
INLINE float inverse_root_of(float u) {
    float y = as_float(0x5f3759dfu - (as_bits(u) >> 1));
    for (int step = 0; step < 3; step++) y = y * (1.5f - 0.5f * u * y * y);
    return y;
}

/* One log p with p and 1 - p, in double precision. */
struct point {
    double l, p, gap;
};

INLINE double power_of(double base, double exponent) {
    return exponent == 0.5 ? sqrt(base) : exponent == 1 ? base : pow(base, exponent);
}

/* h there, and its derivative in l: only the label's are asked for. */
INLINE double value_and_slope(const struct term *term, struct point at, double *slope) {
    double g = term->parameter;
    switch (term->function) {
    case LOG:
        *slope = -1;
        return -at.l;
    case GAP:
        *slope = -at.p;
        return at.gap;
    case FOCAL: {
        /* where p rounds to 1, l is 0 too, and no power of an underflowed 1 - p must make that undefined */
        double u = at.gap > 1e-300 ? at.gap : 1e-300, power = power_of(u, g);
        *slope = g * at.l * at.p * power / u - power;
        return -at.l * power;
    }
    default: {
        double value = -expm1(g * at.l) / g;
        *slope = g * value - 1;
        return value;
    }
    }
}

/* Of a function that is curved in l: the sums over a row of h and of h', and each h' in `slopes`. The row is given
   as l = z - top - log_sum and p = e * inverse. */
INLINE void focal_sums(const float *restrict z, const float *restrict e, float *restrict slopes, int64_t count,
                       float top, float log_sum, float inverse, float g, double *sum, double *slope_sum) {
    const float tiny = 1.42e-14f; /* eps^2, far below any 1 - p that rounding leaves */
    for (int64_t start = 0; start < count; start += CHUNK) {
        int64_t stop = start + CHUNK < count ? start + CHUNK : count;
        float h = 0, d = 0;
#define OVER_CHUNK(POWER_OF_U_LESS_1)                                                                                  \
    _Pragma("omp simd reduction(+ : h, d)") for (int64_t k = start; k < stop; k++) {                                   \
        float l = z[k] - top - log_sum, p = e[k] * inverse;                                                            \
        float u = 1.0f - p;                                                                                            \
        u = u < tiny ? tiny : u;                                                                                       \
        float w = (POWER_OF_U_LESS_1);                                                                                 \
        float slope = w * (g * l * p - u);                                                                             \
        slopes[k] = slope;                                                                                             \
        h -= l * (w * u);                                                                                              \
        d += slope;                                                                                                    \
    }
        if (g == 0.5f) {
            OVER_CHUNK(inverse_root_of(u))
        } else if (g == 1.0f) {
            OVER_CHUNK(1.0f)
        } else if (g == 2.0f) {
            OVER_CHUNK(u)
        } else {
            OVER_CHUNK(exp_of((g - 1.0f) * log_of(u)))
        }
        *sum += h;
        *slope_sum += d;
    }
}

INLINE void power_sums(const float *restrict z, float *restrict slopes, int64_t count, float top, float log_sum,
                       float q, double *sum, double *slope_sum) {
    for (int64_t start = 0; start < count; start += CHUNK) {
        int64_t stop = start + CHUNK < count ? start + CHUNK : count;
        float d = 0;
#pragma omp simd reduction(+ : d)
        for (int64_t k = start; k < stop; k++) {
            float slope = -exp_of(q * (z[k] - top - log_sum));
            slopes[k] = slope;
            d += slope;
        }
        *sum += ((double)(stop - start) + d) / q;
        *slope_sum += d;
    }
}

/* What this was compiled from: a checksum that the build gives. */
uint32_t noiseproof_source(void) { return SOURCE; }

/* What a row counts: nothing if its label is ignored, else its class's weight, or 1 where `weight` is null. */
INLINE double factor_of(int64_t y, int64_t ignore_index, const float *weight) {
    return y == ignore_index ? 0.0 : (weight ? weight[y] : 1.0);
}

/* What all rows count together; -1 - row if the label of that row is out of range. */
double noiseproof_count(const int64_t *target, int64_t rows, int64_t count, int64_t ignore_index, const float *weight) {
    double total = 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t y = target[row];
        if (y != ignore_index && (y < 0 || y >= count)) return -1.0 - row;
        total += factor_of(y, ignore_index, weight);
    }
    return total;
}

/* Rows `first` to `last`, as noiseproof_rows has them. */
FOR_EACH_PROCESSOR
static double some_rows(const float *logits, const int64_t *target, int64_t ignore_index, const float *weight,
                       double scale, int64_t first, int64_t last, int64_t count, const struct term *terms,
                       int32_t num_terms, float *values, float *gradient, float *scratch) {
    double all = 0;
    float *restrict e = scratch;
    for (int64_t row = first; row < last; row++) {
        const float *z = logits + row * count;
        int64_t y = target[row];
        double factor = factor_of(y, ignore_index, weight) * scale;
        if (factor == 0) {
            if (values) values[row] = 0;
            if (gradient) memset(gradient + row * count, 0, count * sizeof(float));
            continue;
        }

        float top = z[0];
#pragma omp simd reduction(max : top)
        for (int64_t k = 1; k < count; k++) top = z[k] > top ? z[k] : top;
        double sum = 0, sum_x = 0;
        for (int64_t start = 0; start < count; start += CHUNK) {
            int64_t stop = start + CHUNK < count ? start + CHUNK : count;
            float s = 0, t = 0;
#pragma omp simd reduction(+ : s, t)
            for (int64_t k = start; k < stop; k++) {
                float x = z[k] - top;
                e[k] = exp_of(x);
                s += e[k];
                t += x;
            }
            sum += s;
            sum_x += t;
        }
        double log_sum = log(sum);
        float inverse = (float)(1 / sum);
        struct point label = {(double)z[y] - top - log_sum, e[y] / sum, (sum - e[y]) / sum};

        /* the gradient is  of_label d_ky + of_p p_k + of_all + sum of curved slopes */
        double value = 0, of_label = 0, of_all = 0, of_p = 0;
        float curved[MOST_TERMS];
        int num_curved = 0;
        for (int i = 0; i < num_terms; i++) {
            const struct term *term = &terms[i];
            double slope, h = value_and_slope(term, label, &slope);
            if (term->part == LABEL) {
                value += term->weight * h;
                of_label += term->weight * slope;
                of_p -= term->weight * slope;
                continue;
            }
            double total = 0, slopes_total = 0;
            float *slopes = scratch + (1 + num_curved) * count;
            if (term->function == LOG) {
                total = count * log_sum - sum_x;
                slopes_total = -(double)count;
            } else if (term->function == FOCAL) {
                focal_sums(z, e, slopes, count, top, (float)log_sum, inverse, (float)term->parameter, &total,
                           &slopes_total);
            } else if (term->function == POWER) {
                power_sums(z, slopes, count, top, (float)log_sum, (float)term->parameter, &total, &slopes_total);
            } else { /* GAP: p sums to 1 */
                total = count - 1.0;
            }
            double of_sum = term->weight;
            if (term->part == SHARE) {
                value += term->weight * h / total;
                of_label += term->weight * slope / total;
                of_p -= term->weight * slope / total;
                of_sum = -term->weight * h / (total * total);
            } else {
                value += term->weight * total;
            }
            if (term->function == GAP) continue;
            of_p -= of_sum * slopes_total;
            if (term->function == LOG) {
                of_all -= of_sum;
            } else {
                curved[num_curved++] = (float)(of_sum * factor);
            }
        }
        value *= factor;
        all += value;
        if (values) values[row] = (float)value;
        if (!gradient) continue;

        float *out = gradient + row * count;
        float a = (float)(of_p * factor) * inverse, b = (float)(of_all * factor);
        if (num_curved == 0) {
            for (int64_t k = 0; k < count; k++) out[k] = a * e[k] + b;
        } else {
            const float *restrict slopes = scratch + count;
            float c = curved[0];
            for (int64_t k = 0; k < count; k++) out[k] = a * e[k] + b + c * slopes[k];
            for (int i = 1; i < num_curved; i++) {
                slopes = scratch + (1 + i) * count;
                c = curved[i];
                for (int64_t k = 0; k < count; k++) out[k] += c * slopes[k];
            }
        }
        out[y] += (float)(of_label * factor);
    }
    return all;
}

/* ------------------------------------------------------------------------------------------------- threads

   A batch of a few hundred kilobytes is done in less time than it takes to wake a thread of Python's, so the helpers
   are kept here, asleep. One batch at a time has them; another that comes meanwhile does without. */

enum { MOST_THREADS = 64 };

struct batch {
    const float *logits;
    const int64_t *target;
    int64_t ignore_index, rows, count;
    const float *weight;
    double scale;
    const struct term *terms;
    int32_t num_terms;
    float *values, *gradient, *scratch;
    int64_t scratch_size;
    int parts;
    double totals[MOST_THREADS];
    atomic_int pending;
};

static pthread_mutex_t entrance = PTHREAD_MUTEX_INITIALIZER, lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static struct batch *current;
static uint64_t generation;
static int helpers;

static void do_part(struct batch *b, int i) {
    b->totals[i] = some_rows(b->logits, b->target, b->ignore_index, b->weight, b->scale, b->rows * i / b->parts,
                             b->rows * (i + 1) / b->parts, b->count, b->terms, b->num_terms, b->values, b->gradient,
                             b->scratch + i * b->scratch_size);
}

static void *help(void *argument) {
    int i = (int)(intptr_t)argument;
    uint64_t seen = 0;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (generation == seen) pthread_cond_wait(&wake, &lock);
        seen = generation;
        struct batch *batch = current;
        if (!batch || i >= batch->parts) continue;
        pthread_mutex_unlock(&lock);
        do_part(batch, i);
        pthread_mutex_lock(&lock);
        if (atomic_fetch_sub(&batch->pending, 1) == 1) pthread_cond_signal(&done);
    }
    return 0;
}

/* A forked process has none of the helpers, whatever its copy of the count says. */
static void forget_helpers(void) {
    helpers = 0;
    generation = 0;
    current = 0;
    pthread_mutex_init(&entrance, 0);
    pthread_mutex_init(&lock, 0);
    pthread_cond_init(&wake, 0);
    pthread_cond_init(&done, 0);
}

/* Have that many helpers; gives how many there are. */
static int call_helpers(int wanted) {
    static int registered;
    if (!registered) registered = !pthread_atfork(0, 0, forget_helpers);
    while (helpers < wanted) {
        pthread_t thread;
        pthread_attr_t detached;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        int failed = pthread_create(&thread, &detached, help, (void *)(intptr_t)(helpers + 1));
        pthread_attr_destroy(&detached);
        if (failed) break;
        helpers++;
    }
    return helpers < wanted ? helpers : wanted;
}

/* Logits (rows, count) in float32, whose labels are in range, on up to `threads` threads. Gives the sum of the rows'
   values, each times what the row counts and `scale`. Writes the values into `values` and dvalue/dlogits into
   `gradient`, which may be `logits` itself; either may be null. `scratch` has `scratch_size`, (1 + curved terms) *
   count, floats for each thread. */
double noiseproof_rows(const float *logits, const int64_t *target, int64_t ignore_index, const float *weight,
                       double scale, int64_t rows, int64_t count, const struct term *terms, int32_t num_terms,
                       float *values, float *gradient, float *scratch, int64_t scratch_size, int32_t threads) {
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads < 2 || pthread_mutex_trylock(&entrance))
        return some_rows(logits, target, ignore_index, weight, scale, 0, rows, count, terms, num_terms, values,
                         gradient, scratch);
    struct batch batch = {logits,   target, ignore_index, rows,    count,        weight, scale, terms, num_terms,
                          values, gradient, scratch,      scratch_size, 1 + call_helpers(threads - 1)};
    atomic_init(&batch.pending, batch.parts - 1);
    pthread_mutex_lock(&lock);
    current = &batch;
    generation++;
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);
    do_part(&batch, 0);
    for (int spin = 0; spin < 10000 && atomic_load(&batch.pending); spin++)
        ; /* the parts are alike, so the others are nearly done */
    pthread_mutex_lock(&lock);
    while (atomic_load(&batch.pending)) pthread_cond_wait(&done, &lock);
    current = 0;
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&entrance);
    double total = 0;
    for (int i = 0; i < batch.parts; i++) total += batch.totals[i];
    return total;
}

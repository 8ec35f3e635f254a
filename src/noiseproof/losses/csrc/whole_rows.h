/* Losses that are no functions of log p_y and of sums over the classes: of a softmax of their own, or of 1 - p of every
   class to its last digit. Each leaves its gradient among the group's curved slopes. */

#pragma once

#include "rows.h"

/* x such that sum_k u_k = 1, u_k = (1 + x + s (top - z_k))^(-1/s): Newton's method on (sum_k u_k)^-s, which is concave
   in x, so that no step from x = 0 goes too far. */
INLINE double tempered_partition(const float *restrict z, float top, float s, int64_t count) {
    double x = 0;
    for (int step = 0; step < 20; step++) {
        double sum = 0, slope = 0;
        float start_at = (float)x, power = -1.0f / s;
        for (int64_t start = 0; start < count; start += CHUNK) {
            int64_t stop = stop_of(start, count);
            float some = 0, some_slope = 0;
#pragma omp simd reduction(+ : some, some_slope)
            for (int64_t k = start; k < stop; k++) {
                float t = start_at + s * (top - z[k]), u = t > 3e38f ? 0 : exp_of(power * log1p_of(t));
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
        int is_out = z[k] < -3e38f; /* a class that is ruled out: its u is 0, and so is what is 0 times its log u */
        t = is_out ? 0 : t;
        float log_u = is_out ? -3e38f : is_tempered ? power * log1p_of(t) : z[k] - top - log_sum;
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
        int64_t stop = stop_of(start, count);
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

/* Of a row whose top class has all but nothing of the probability: gives log sum_j e^(z_j - top) of the other classes j,
   and takes the share of each in that sum off its slope. */
static double share_out(const float *z, int64_t top, int64_t count, float *slopes) {
    double second = -INFINITY, sum = 0;
    for (int64_t k = 0; k < count; k++)
        if (k != top && z[k] > second) second = z[k];
    for (int64_t k = 0; k < count; k++)
        if (k != top) sum += exp(z[k] - second);
    for (int64_t k = 0; k < count; k++)
        if (k != top) slopes[k] -= (float)(exp(z[k] - second) / sum);
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
        int64_t stop = stop_of(start, count);
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
        int64_t stop = stop_of(start, count);
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
                float each = (float)(p_top / others);
                for (int64_t k = 0; k < count; k++) slopes[k] -= e[k] * each;
                value -= log(others / (1 + others));
            } else { /* p_top is 1 */
                value -= share_out(z, top, count, slopes);
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
    g->num_curved += num_slopes(term);
}

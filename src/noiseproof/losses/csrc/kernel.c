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

#include <pthread.h>
#include <stdlib.h>

#include "whole_rows.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

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
        int is_curved = num_slopes(term);
        sum_classes(g, term, way, b->count);
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
    for (int i = 0; i < b->num_terms; i++) kept += num_slopes(&b->terms[i]);
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

enum { MOST_THREADS = 64 };

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

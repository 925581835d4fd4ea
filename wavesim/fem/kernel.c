/* The loops of kernel.py, which compiles them with REAL, float or double.

   Rows of a grid pass through three stages, each `lag` rows behind the one before, so that a step reads the fields once:
   p += d;  f = B p, d -= f;  at order 4, d += B f / 12. The rows of p and f that are still needed lie in rings, with w
   more numbers before and after a row, which close it to a cycle, and are filled up to whole vectors. */

#include <stdlib.h>
#include <string.h>

typedef REAL vector __attribute__((vector_size(64), aligned(sizeof(REAL))));
#define LANES ((long)(64 / sizeof(REAL)))
#define AT(address) (*(const vector *)(address))

typedef struct {
    long rows, columns, width, lag, ring, stride, own;
    const REAL *along;         /* (2 w + 1, stride), or (rows, 2 w + 1, stride) where every row has its own */
    const REAL *across;        /* (rows, 2 w + 1), or (rows, 2 w + 1, stride) */
    const signed char *coupled; /* (rows, 2 w + 1), which rows a row needs */
} grid;

static void ends(const grid *g, REAL *line) {
    for (long k = 0; k < g->width; k++) {
        line[-1 - k] = line[g->columns - 1 - k];
        line[g->columns + k] = line[k];
    }
}

/* Where rows -w ... rows + w - 1 of the field lie in its ring. */
static REAL **lines(const grid *g, REAL **all, REAL *ring) {
    for (long k = 0; k < g->rows + 2 * g->width; k++) {
        long j = (k - g->width + g->rows) % g->rows;
        all[k] = ring + (j % g->ring) * (g->stride + 2 * LANES) + LANES;
    }
    return all + g->width;
}

#define CENTRE(V, i, k) V += AT(along + (k) * g->stride + (i)) * AT(centre + (i) + (k)-w)

static inline __attribute__((always_inline)) void sums(const grid *g, REAL **at, long j, REAL *restrict out, const long w,
                                                       const int own) {
    const REAL *near[2 * w + 1], *own_factor[2 * w + 1], *centre = at[j];
    const REAL *along = g->along + (own ? j * (2 * w + 1) * g->stride : 0);
    REAL factor[2 * w + 1];
    long count = 0, i = 0;
    for (long k = 0; k <= 2 * w; k++) {
        long place = j * (2 * w + 1) + k;
        if (!g->coupled[place]) continue;
        near[count] = at[j + k - w];
        if (own)
            own_factor[count++] = g->across + place * g->stride;
        else
            factor[count++] = g->across[place];
    }
    for (; i + 4 * LANES <= g->stride; i += 4 * LANES) {
        vector a = {0}, b = {0}, c = {0}, d = {0};
        for (long k = 0; k <= 2 * w; k++) {
            CENTRE(a, i, k);
            CENTRE(b, i + LANES, k);
            CENTRE(c, i + 2 * LANES, k);
            CENTRE(d, i + 3 * LANES, k);
        }
        for (long k = 0; k < count; k++) {
            const REAL *p = near[k] + i, *m = own ? own_factor[k] + i : 0;
            a += (own ? AT(m) : factor[k] + (vector){0}) * AT(p);
            b += (own ? AT(m + LANES) : factor[k] + (vector){0}) * AT(p + LANES);
            c += (own ? AT(m + 2 * LANES) : factor[k] + (vector){0}) * AT(p + 2 * LANES);
            d += (own ? AT(m + 3 * LANES) : factor[k] + (vector){0}) * AT(p + 3 * LANES);
        }
        vector *q = (vector *)(out + i);
        q[0] = a, q[1] = b, q[2] = c, q[3] = d;
    }
    for (; i < g->stride; i += LANES) {
        vector a = {0};
        for (long k = 0; k <= 2 * w; k++) CENTRE(a, i, k);
        for (long k = 0; k < count; k++) a += (own ? AT(own_factor[k] + i) : factor[k] + (vector){0}) * AT(near[k] + i);
        *(vector *)(out + i) = a;
    }
}

/* With the width known, the compiler unrolls. */
#define WIDTH(w) \
    case w: g->own ? sums(g, at, j, out, w, 1) : sums(g, at, j, out, w, 0); break;

static void product(const grid *g, REAL **at, long j, REAL *out) {
    switch (g->width) {
        WIDTH(1) WIDTH(2) WIDTH(3) WIDTH(4) WIDTH(5) WIDTH(6) WIDTH(7) WIDTH(8)
    }
}

static void push(REAL *restrict to, REAL *restrict p, const REAL *restrict d, long n) {
    for (long i = 0; i < n; i++) to[i] = p[i] += d[i];
}

static void pull(REAL *restrict to, REAL *restrict d, const REAL *restrict s, const REAL *restrict sum, long n) {
    for (long i = 0; i < n; i++) d[i] -= to[i] = s[i] * sum[i];
}

static void correct(REAL *restrict d, const REAL *restrict s, const REAL *restrict sum, REAL factor, long n) {
    for (long i = 0; i < n; i++) d[i] += factor * s[i] * sum[i];
}

/* p and d (rows, columns) after so many steps; without d, p becomes A p. Returns whether there was no memory. */
int grid_advance(const grid *g, const REAL *scale, REAL *p, REAL *d, long steps, int order) {
    long lag = g->lag, columns = g->columns, last = d && order == 4 ? 2 : 1;
    size_t size = (size_t)g->ring * (g->stride + 2 * LANES) * sizeof(REAL);
    REAL *ring[2] = {aligned_alloc(64, size), aligned_alloc(64, size)}, *sum = aligned_alloc(64, size);
    REAL **all = malloc(2 * (g->rows + 2 * g->width) * sizeof(REAL *));
    int short_of_memory = !ring[0] || !ring[1] || !sum || !all;
    if (!short_of_memory) {
        memset(ring[0], 0, size);
        memset(ring[1], 0, size);
        REAL **pressure = lines(g, all, ring[0]), **force = lines(g, all + g->rows + 2 * g->width, ring[1]);
        for (long step = 0; step < steps; step++)
            for (long t = 0; t < g->rows + last * lag; t++) {
                if (t < g->rows) {
                    if (d)
                        push(pressure[t], p + t * columns, d + t * columns, columns);
                    else
                        memcpy(pressure[t], p + t * columns, columns * sizeof(REAL));
                    ends(g, pressure[t]);
                }
                long j = t - lag;
                if (j >= 0 && j < g->rows) {
                    product(g, pressure, j, sum);
                    if (d) {
                        pull(force[j], d + j * columns, scale + j * columns, sum, columns);
                        ends(g, force[j]);
                    } else
                        for (long i = 0; i < columns; i++) p[j * columns + i] = scale[j * columns + i] * sum[i];
                }
                j = t - 2 * lag;
                if (last == 2 && j >= 0) {
                    product(g, force, j, sum);
                    correct(d + j * columns, scale + j * columns, sum, (REAL)(1.0 / 12), columns);
                }
            }
    }
    free(ring[0]), free(ring[1]), free(sum), free(all);
    return short_of_memory;
}

/* out = A in for A in compressed rows; fields (n, batch); scale 0 or (n, batch). */
static void rows(long n, long batch, const int *start, const int *column, const REAL *entry, const REAL *scale,
                 const REAL *restrict in, REAL *restrict out) {
    for (long r = 0; r < n; r++) {
        REAL *restrict to = out + r * batch;
        if (batch == 1) {
            REAL sum = 0;
            for (int k = start[r]; k < start[r + 1]; k++) sum += entry[k] * in[column[k]];
            *to = sum;
        } else {
            memset(to, 0, batch * sizeof(REAL));
            for (int k = start[r]; k < start[r + 1]; k++)
                for (long b = 0; b < batch; b++) to[b] += entry[k] * in[column[k] * batch + b];
        }
        if (scale)
            for (long b = 0; b < batch; b++) to[b] *= scale[r * batch + b];
    }
}

/* The same steps on any mesh. */
int rows_advance(long n, long batch, const int *start, const int *column, const REAL *entry, const REAL *scale, REAL *p,
                 REAL *d, long steps, int order) {
    long size = n * batch;
    REAL *force = malloc(size * sizeof(REAL)), *second = malloc(size * sizeof(REAL));
    int short_of_memory = !force || !second;
    if (!short_of_memory && !d) {
        rows(n, batch, start, column, entry, scale, p, force);
        memcpy(p, force, size * sizeof(REAL));
    } else if (!short_of_memory)
        for (long step = 0; step < steps; step++) {
            for (long i = 0; i < size; i++) p[i] += d[i];
            rows(n, batch, start, column, entry, scale, p, force);
            if (order == 4) {
                rows(n, batch, start, column, entry, scale, force, second);
                for (long i = 0; i < size; i++) d[i] -= force[i] - second[i] * (REAL)(1.0 / 12);
            } else
                for (long i = 0; i < size; i++) d[i] -= force[i];
        }
    free(force), free(second);
    return short_of_memory;
}

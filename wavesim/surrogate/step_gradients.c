/* A frame of a step whose acceleration is links to near cells, forward and back: for training (step_gradients.py).

   Forward, in numbers of type REAL and with LINKS, 4 or 12 of them, n sub-steps, h = 1/(2n) and damping d:
       a(p) = sum over k of w_k (p_k - p)
       v = b v + h a(p),    then n times  p += 2h v,  v = f (v + h a(p)),  v = b v + h a(p),  the last without its end
       b = 1 - h d,    f = 1 / (1 + h d)
   Back, with l and m the loss's derivatives by p and v, the same in reverse; where v takes c a(p) in all,
       l += a*(c m),    dw_k += c m (p_k - p),    a*(u) = sum over k of (w_k u) sent to where p_k was read - w_k u
   The pressures of all sub-steps are kept on the way there, with REACH images beyond each side. */

#include <string.h>

#include "links.h"

typedef struct {
    long rows, columns, substeps;
    long low_y, high_y, low_x, high_x; /* what is beyond each side */
    const REAL *links;                 /* (LINKS, rows, columns), in the order of NEIGHBOURS */
    const REAL *damping;               /* (rows, columns); none: no damping */
    REAL *pressures;                   /* (substeps + 1, rows + 2 REACH, columns + 2 REACH) */
    REAL *rate;                        /* (rows, columns) */
    REAL *sent;                        /* (rows + 2 REACH, columns + 2 REACH): l and what lies beyond the sides */
} frame;

static long wide(const frame *f) { return f->columns + 2 * REACH; }
static REAL *field(const frame *f, long substep) { return f->pressures + substep * (f->rows + 2 * REACH) * wide(f); }
static REAL *row_of(const frame *f, REAL *whole, long row) { return whole + (row + REACH) * wide(f) + REACH; }

static void images(const frame *f, REAL *whole) {
    for (long y = 0; y < f->rows; y++) {
        REAL *p = row_of(f, whole, y);
        for (long i = 0; i < REACH; i++) {
            p[-1 - i] = sign(f->low_x) * p[image(f->low_x, i, f->columns, 0)];
            p[f->columns + i] = sign(f->high_x) * p[image(f->high_x, i, f->columns, 1)];
        }
    }
    for (long i = 0; i < REACH; i++)
        for (int high = 0; high < 2; high++) {
            long kind = high ? f->high_y : f->low_y;
            REAL *to = row_of(f, whole, high ? f->rows + i : -1 - i) - REACH;
            const REAL *from = row_of(f, whole, image(kind, i, f->rows, high)) - REACH;
            for (long x = 0; x < wide(f); x++) to[x] = sign(kind) * from[x];
        }
}

/* Its adjoint: what was sent beyond the sides comes back to where it was read, and nothing stays there. */
static void back_home(const frame *f, REAL *whole) {
    for (long i = 0; i < REACH; i++)
        for (int high = 0; high < 2; high++) {
            long kind = high ? f->high_y : f->low_y;
            REAL *from = row_of(f, whole, high ? f->rows + i : -1 - i) - REACH;
            REAL *to = row_of(f, whole, image(kind, i, f->rows, high)) - REACH;
            for (long x = 0; x < wide(f); x++) to[x] += sign(kind) * from[x], from[x] = 0;
        }
    for (long y = 0; y < f->rows; y++) {
        REAL *p = row_of(f, whole, y);
        for (long i = 0; i < REACH; i++) {
            p[image(f->low_x, i, f->columns, 0)] += sign(f->low_x) * p[-1 - i];
            p[image(f->high_x, i, f->columns, 1)] += sign(f->high_x) * p[f->columns + i];
            p[-1 - i] = p[f->columns + i] = 0;
        }
    }
}

/* v = f (v + h a(p)) where it ends a sub-step, v = b v + h a(p) where it begins one. */
static void kick(const frame *f, long substep, REAL h, int ends, int begins) {
    REAL *whole = field(f, substep);
    long size = f->rows * f->columns;
    REAL a[f->columns];
    for (long y = 0; y < f->rows; y++) {
        const REAL *p = row_of(f, whole, y), *w = f->links + y * f->columns;
        const REAL *d = f->damping ? f->damping + y * f->columns : 0;
        REAL *v = f->rate + y * f->columns;
        memset(a, 0, sizeof a);
        for (long k = 0; k < LINKS; k++) {
            const REAL *of = w + k * size, *there = p + NEIGHBOURS[k][1] * wide(f) + NEIGHBOURS[k][0];
            for (long x = 0; x < f->columns; x++) a[x] += of[x] * (there[x] - p[x]);
        }
        if (!d) {
            for (long x = 0; x < f->columns; x++) v[x] += (ends + begins) * h * a[x];
            continue;
        }
        if (ends)
            for (long x = 0; x < f->columns; x++) v[x] = (v[x] + h * a[x]) / (1 + h * d[x]);
        if (begins)
            for (long x = 0; x < f->columns; x++) v[x] = (1 - h * d[x]) * v[x] + h * a[x];
    }
}

/* Its adjoint: m (rows, columns) before it in place of m after it; l in `sent`; the links' derivatives where asked. */
static void kicked_back(const frame *f, long substep, REAL h, int ends, int begins, REAL *m, REAL *by_links) {
    REAL *whole = field(f, substep);
    long size = f->rows * f->columns;
    REAL u[f->columns];
    for (long y = 0; y < f->rows; y++) {
        const REAL *p = row_of(f, whole, y), *w = f->links + y * f->columns;
        const REAL *d = f->damping ? f->damping + y * f->columns : 0;
        REAL *l = row_of(f, f->sent, y), *after = m + y * f->columns, *g = by_links ? by_links + y * f->columns : 0;
        for (long x = 0; x < f->columns; x++) {
            REAL b = d ? 1 - h * d[x] : 1, share = d ? 1 / (1 + h * d[x]) : 1;
            u[x] = begins ? h * after[x] : 0;
            if (begins) after[x] *= b;
            if (ends) after[x] *= share, u[x] += h * after[x];
        }
        for (long k = 0; k < LINKS; k++) {
            long there = NEIGHBOURS[k][1] * wide(f) + NEIGHBOURS[k][0];
            const REAL *of = w + k * size;
            REAL *to = l + there;
            _Pragma("GCC ivdep") for (long x = 0; x < f->columns; x++) to[x] += of[x] * u[x];
            _Pragma("GCC ivdep") for (long x = 0; x < f->columns; x++) l[x] -= of[x] * u[x];
            if (!g) continue;
            _Pragma("GCC ivdep") for (long x = 0; x < f->columns; x++) g[k * size + x] += u[x] * (p[there + x] - p[x]);
        }
    }
    back_home(f, f->sent);
}

/* p and v of `state` (2, rows, columns) one frame later in `after`; all pressures on the way are left. */
void there(const frame *f, const REAL *state, REAL *after) {
    long size = f->rows * f->columns, row = f->columns * sizeof(REAL);
    REAL h = (REAL)1 / (2 * f->substeps);
    for (long y = 0; y < f->rows; y++) memcpy(row_of(f, field(f, 0), y), state + y * f->columns, row);
    memcpy(f->rate, state + size, size * sizeof(REAL));
    images(f, field(f, 0));
    kick(f, 0, h, 0, 1);
    for (long n = 1; n <= f->substeps; n++) {
        for (long y = 0; y < f->rows; y++) {
            const REAL *before = row_of(f, field(f, n - 1), y), *v = f->rate + y * f->columns;
            REAL *p = row_of(f, field(f, n), y);
            for (long x = 0; x < f->columns; x++) p[x] = before[x] + 2 * h * v[x];
        }
        images(f, field(f, n));
        kick(f, n, h, 1, n < f->substeps);
    }
    for (long y = 0; y < f->rows; y++) memcpy(after + y * f->columns, row_of(f, field(f, f->substeps), y), row);
    memcpy(after + size, f->rate, size * sizeof(REAL));
}

/* The loss's derivatives by p and v, (2, rows, columns), one frame earlier in place of those by the frame that `there`
   has left; by the links too, added to `by_links` (LINKS, rows, columns) where it is given. */
void back(const frame *f, REAL *by_state, REAL *by_links) {
    long size = f->rows * f->columns, row = f->columns * sizeof(REAL);
    REAL h = (REAL)1 / (2 * f->substeps), *m = by_state + size;
    memset(f->sent, 0, (f->rows + 2 * REACH) * wide(f) * sizeof(REAL));
    for (long y = 0; y < f->rows; y++) memcpy(row_of(f, f->sent, y), by_state + y * f->columns, row);
    for (long n = f->substeps; n > 0; n--) {
        kicked_back(f, n, h, 1, n < f->substeps, m, by_links);
        for (long y = 0; y < f->rows; y++) {
            const REAL *l = row_of(f, f->sent, y);
            for (long x = 0; x < f->columns; x++) m[y * f->columns + x] += 2 * h * l[x];
        }
    }
    kicked_back(f, 0, h, 0, 1, m, by_links);
    for (long y = 0; y < f->rows; y++) memcpy(by_state + y * f->columns, row_of(f, f->sent, y), row);
}

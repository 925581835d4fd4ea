/* One frame of the structured step (structured.py) between rigid walls: velocity Verlet with
       a(p) = -kappa D'R (I + N') (I + N) R D p
   D are the differences to the four neighbours, R their roots (the stencil), N a cascade of one-way filters (cascade.h),
   and N' its adjoint: the same maps transposed, in the opposite order, and what a filter makes beyond a wall goes back
   to where it was mirrored from. */

#include "cascade.h"

typedef struct {
    long rows, columns, stride, substeps;
    float budget;
    cascade network, adjoint;
    const float *roots;    /* (4, rows, stride): right, left, above, below; 0 at walls and beyond columns */
    const float *kappa;    /* (rows, stride), 0 beyond columns */
    const float *softness; /* 1 / kappa, 0 beyond columns */
    float *pressure;       /* (rows + 2, pitch), with a row before and after and LANES numbers on both sides */
    float *strain;         /* (4, rows + 2, pitch) */
    float *rate;           /* (rows, stride) */
} frame;

/* Of the transposed layer: widened by what narrowed, into the ring; silence beyond columns. */
static void take_back(const cascade *f, const layer *l, long row) {
    long size = f->rows * f->stride;
    const float *in[MOST];
    float *wide[MOST];
    for (long k = 0; k < l->rank; k++) wide[k] = kept(f, l, row, k);
    for (long c = 0; c < f->width; c++) in[c] = f->hidden + c * size + row * f->stride;
    combine(f->width, in, l->inward, l->rank, wide, f->stride, 0);
    for (long k = 0; k < l->rank; k++)
        memset(wide[k] + f->columns, 0, (f->stride - f->columns) * sizeof(float));
}

/* The rows whose filter along y reached a row or an image of it: which, and with which tap. */
static long reached(const cascade *f, long row, long *from, long *tap) {
    long count = 0, images[3] = {row, -1 - row, 2 * f->rows - 1 - row};
    for (long i = 0; i < 3; i++)
        for (long k = 0; k < TAPS; k++) {
            long y = images[i] - k + REACH;
            if (images[i] < -REACH || images[i] >= f->rows + REACH || y < 0 || y >= f->rows) continue;
            from[count] = y;
            tap[count++] = k;
        }
    return count;
}

/* The adjoint of `crossed`, of a row and rank, to `to`. */
static void uncrossed(const cascade *f, const layer *l, long row, long rank, long count, const long *from,
                      const long *tap, float *to) {
    const float *along = l->along + rank * 2 * TAPS, *own = kept(f, l, row, rank);
    const float *rows[3 * TAPS];
    long n = f->columns;
    for (long i = 0; i < count; i++) rows[i] = kept(f, l, from[i], rank);
    for (long x = 0; x < f->stride; x += LANES) {
        vector sum = {0};
        _Pragma("GCC unroll 16") for (long k = 0; k < TAPS; k++) sum += along[k] * AT(own + x - k + REACH);
        for (long i = 0; i < count; i++) sum += along[TAPS + tap[i]] * AT(rows[i] + x);
        AT(to + x) = sum;
    }
    for (long i = 0; i < REACH; i++)
        for (long k = 0; k < TAPS; k++) {
            long low = -1 - i - k + REACH, high = n + i - k + REACH; /* silent where they are beyond the row */
            if (low >= 0) to[i] += along[k] * own[low];
            if (high < n) to[n - 1 - i] += along[k] * own[high];
        }
}

static void give_back(const cascade *f, const layer *l, long row) {
    long size = f->rows * f->stride, from[3 * TAPS], tap[3 * TAPS], count = reached(f, row, from, tap);
    const float *in[MOST];
    float *out[MOST];
    for (long r = 0; r < l->rank; r++) {
        float *to = f->spare + (f->width + r) * f->stride;
        uncrossed(f, l, row, r, count, from, tap, to);
        in[r] = to;
    }
    for (long c = 0; c < f->width; c++) out[c] = f->spare + c * f->stride;
    combine(l->rank, in, l->outward, f->width, out, f->stride, 0);
    for (long c = 0; c < f->width; c++) {
        const float *gate = l->gate + c * size + row * f->stride;
        float *hidden = f->hidden + c * size + row * f->stride;
        for (long x = 0; x < f->stride; x += LANES) AT(hidden + x) += AT(gate + x) * AT(out[c] + x);
    }
}

/* As `forward`: N' of four fields, added to them. */
static void backward(const cascade *f, const field *strain) {
    long size = f->rows * f->stride, width = f->width, behind = f->layers * REACH;
    const float *from[MOST];
    float *to[MOST];
    for (long t = 0; t < f->rows + behind; t++) {
        if (t < f->rows) {
            for (long k = 0; k < 4; k++) from[k] = strain[k].first + t * strain[k].pitch;
            for (long c = 0; c < width; c++) to[c] = f->hidden + c * size + t * f->stride;
            combine(4, from, f->stem, width, to, f->stride, 0);
        }
        for (long k = 0; k < f->layers; k++) {
            long row = t - k * REACH;
            if (row >= 0 && row < f->rows) take_back(f, f->layer + k, row);
            if (row >= REACH && row < f->rows + REACH) give_back(f, f->layer + k, row - REACH);
        }
        if (t >= behind) {
            for (long c = 0; c < width; c++) from[c] = f->hidden + c * size + (t - behind) * f->stride;
            for (long k = 0; k < OUT; k++)
                to[k] = k < 4 ? strain[k].first + (t - behind) * strain[k].pitch : f->spare + k * f->stride;
            combine(width, from, f->head, OUT, to, f->stride, 1);
        }
    }
}

/* Rows -1 and `rows` are there too. */
static float *at(const frame *f, long row) { return f->pressure + (row + 1) * (f->stride + 2 * LANES) + LANES; }
static float *strained(const frame *f, long face, long row) {
    return f->strain + (face * (f->rows + 2) + row + 1) * (f->stride + 2 * LANES) + LANES;
}

/* v += share a(p); the energy 1/2 sum v^2 / kappa + 1/2 |B p|^2, with v as it then is. */
static double kick(const frame *f, float share) {
    long size = f->rows * f->stride;
    field strain[4];
    for (long k = 0; k < 4; k++) strain[k] = (field){strained(f, k, 0), f->stride + 2 * LANES};
    for (long y = 0; y < f->rows; y++) {
        const float *p = at(f, y), *beside[4] = {p + 1, p - 1, at(f, y + 1), at(f, y - 1)};
        for (long k = 0; k < 4; k++) {
            const float *root = f->roots + k * size + y * f->stride;
            float *to = strained(f, k, y);
            for (long x = 0; x < f->stride; x += LANES) AT(to + x) = AT(root + x) * (AT(beside[k] + x) - AT(p + x));
        }
    }
    forward(&f->network, strain, 4, strain, 4);
    double energy = 0;
    for (long y = 0; y < f->rows; y++)
        for (long k = 0; k < 4; k++) {
            float *of = strained(f, k, y);
            vector sum = {0};
            memset(of + f->columns, 0, (f->stride - f->columns) * sizeof(float));
            for (long x = 0; x < f->stride; x += LANES) sum += AT(of + x) * AT(of + x) * 0.5f;
            for (long i = 0; i < LANES; i++) energy += sum[i];
        }
    backward(&f->adjoint, strain);
    for (long k = 0; k < 4; k++)
        for (long y = 0; y < f->rows; y++) {
            const float *root = f->roots + k * size + y * f->stride;
            float *of = strained(f, k, y);
            for (long x = 0; x < f->stride; x += LANES) AT(of + x) *= AT(root + x);
        }
    for (long y = 0; y < f->rows; y++) {
        const float *right = strained(f, 0, y), *left = strained(f, 1, y);
        const float *above = strained(f, 2, y), *below = strained(f, 3, y);
        const float *from_below = strained(f, 2, y - 1), *from_above = strained(f, 3, y + 1);
        const float *kappa = f->kappa + y * f->stride, *soft = f->softness + y * f->stride;
        float *v = f->rate + y * f->stride;
        vector sum = {0};
        for (long x = 0; x < f->stride; x += LANES) {
            vector taken = AT(right + x) + AT(left + x) + AT(above + x) + AT(below + x);
            vector given = AT(right + x - 1) + AT(left + x + 1) + AT(from_below + x) + AT(from_above + x);
            vector rate = AT(v + x) + share * AT(kappa + x) * (taken - given);
            AT(v + x) = rate;
            sum += AT(soft + x) * rate * rate * 0.5f;
        }
        for (long i = 0; i < LANES; i++) energy += sum[i];
    }
    return energy;
}

/* (2, rows, columns), one frame later in place. */
static void one_frame(const frame *f, float *state) {
    long size = f->rows * f->columns;
    float share = 1.0f / f->substeps;
    double now = 0;
    for (long y = 0; y < f->rows; y++) {
        memcpy(at(f, y), state + y * f->columns, f->columns * sizeof(float));
        memcpy(f->rate + y * f->stride, state + size + y * f->columns, f->columns * sizeof(float));
    }
    kick(f, share / 2);
    for (long n = 0; n < f->substeps; n++) {
        for (long y = 0; y < f->rows; y++) {
            float *p = at(f, y), *v = f->rate + y * f->stride;
            for (long x = 0; x < f->stride; x += LANES) AT(p + x) += share * AT(v + x);
        }
        now = kick(f, n == f->substeps - 1 ? share / 2 : share);
    }
    float scale = now > f->budget ? (float)sqrt(f->budget / now) : 1.0f;
    for (long y = 0; y < f->rows; y++) {
        const float *p = at(f, y), *v = f->rate + y * f->stride;
        for (long x = 0; x < f->columns; x++) state[y * f->columns + x] = scale * p[x];
        for (long x = 0; x < f->columns; x++) state[size + y * f->columns + x] = scale * v[x];
    }
}

/* states: (frames, 2, rows, columns), the frames after `state`, which may lie in the first of them. */
void advance(const frame *f, const float *state, long frames, float *states) {
    long size = 2 * f->rows * f->columns;
    for (long k = 0; k < frames; k++, state = states, states += size) {
        if (states != state) memcpy(states, state, size * sizeof(float));
        one_frame(f, states);
    }
}

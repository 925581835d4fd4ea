/* One frame of a gated forecaster (models.py): the coarse step between rigid walls, corrected by a cascade of gated
   filters (cascade.h), and the state scaled back to its energy budget. */

#include "cascade.h"

typedef struct {
    long rows, columns, stride, substeps;
    float budget;
    cascade network;
    const float *stencil;  /* (4, rows, stride): right, left, above, below; 0 at walls and beyond columns */
    const float *softness; /* (rows, stride): 1 / kappa, 0 beyond columns */
    const float *mask;     /* (rows, stride): 0 in obstacles; none: there are none */
    float *before;         /* (2, rows, stride) */
    float *after;          /* (2, rows + 2, pitch), with a row before and after and LANES numbers on both sides */
} frame;

/* (p, v) at a row; -1 and rows are there too, and zero. */
static float *at(const frame *f, long channel, long row) {
    return f->after + (channel * (f->rows + 2) + row + 1) * (f->stride + 2 * LANES) + LANES;
}

/* v += share a(p) */
static void kick(const frame *f, long row, float share) {
    long size = f->rows * f->stride;
    const float *p = at(f, 0, row), *above = at(f, 0, row + 1), *below = at(f, 0, row - 1);
    const float *w = f->stencil + row * f->stride;
    float *v = at(f, 1, row);
    for (long x = 0; x < f->stride; x += LANES) {
        vector here = AT(p + x);
        vector a = AT(w + x) * (AT(p + x + 1) - here) + AT(w + size + x) * (AT(p + x - 1) - here)
                 + AT(w + 2 * size + x) * (AT(above + x) - here) + AT(w + 3 * size + x) * (AT(below + x) - here);
        AT(v + x) += share * a;
    }
}

static void coarse(const frame *f) {
    float share = 1.0f / f->substeps;
    for (long y = 0; y < f->rows; y++) kick(f, y, share / 2);
    for (long n = 0; n < f->substeps; n++)
        for (long y = 0; y <= f->rows; y++) {
            float *p = at(f, 0, y), *v = at(f, 1, y);
            if (y < f->rows)
                for (long x = 0; x < f->stride; x += LANES) AT(p + x) += share * AT(v + x);
            if (y) kick(f, y - 1, n == f->substeps - 1 ? share / 2 : share);
        }
}

/* 1/2 sum v^2 / kappa + 1/4 sum over cells and faces of stencil (p_neighbour - p)^2 / kappa */
static double energy(const frame *f) {
    long size = f->rows * f->stride;
    double total = 0;
    for (long y = 0; y < f->rows; y++) {
        const float *p = at(f, 0, y), *above = at(f, 0, y + 1), *below = at(f, 0, y - 1), *v = at(f, 1, y);
        const float *w = f->stencil + y * f->stride, *soft = f->softness + y * f->stride;
        vector sum = {0};
        for (long x = 0; x < f->stride; x += LANES) {
            vector here = AT(p + x), rate = AT(v + x);
            vector r = AT(p + x + 1) - here, l = AT(p + x - 1) - here;
            vector u = AT(above + x) - here, d = AT(below + x) - here;
            vector strain = AT(w + x) * r * r + AT(w + size + x) * l * l + AT(w + 2 * size + x) * u * u
                          + AT(w + 3 * size + x) * d * d;
            sum += AT(soft + x) * (rate * rate + strain * 0.5f) * 0.5f;
        }
        for (long i = 0; i < LANES; i++) total += sum[i];
    }
    return total;
}

static void corrected(const frame *f) {
    long stride = f->stride, size = f->rows * stride, pitch = stride + 2 * LANES;
    const field in[4] = {{f->before, stride}, {f->before + size, stride}, {at(f, 0, 0), pitch}, {at(f, 1, 0), pitch}};
    forward(&f->network, in, 4, in + 2, 2);
    if (f->mask)
        for (long c = 0; c < 2; c++)
            for (long y = 0; y < f->rows; y++)
                for (long x = 0; x < stride; x += LANES) AT(at(f, c, y) + x) *= AT(f->mask + y * stride + x);
}

/* (2, rows, columns), one frame later in place. */
static void one_frame(const frame *f, float *state) {
    for (long c = 0; c < 2; c++)
        for (long y = 0; y < f->rows; y++) {
            const float *from = state + (c * f->rows + y) * f->columns;
            memcpy(f->before + (c * f->rows + y) * f->stride, from, f->columns * sizeof(float));
            memcpy(at(f, c, y), from, f->columns * sizeof(float));
            memset(at(f, c, y) + f->columns, 0, (f->stride - f->columns) * sizeof(float));
        }
    if (f->substeps) coarse(f);
    corrected(f);
    double now = energy(f);
    float scale = now > f->budget ? (float)sqrt(f->budget / now) : 1.0f;
    for (long c = 0; c < 2; c++)
        for (long y = 0; y < f->rows; y++) {
            float *to = state + (c * f->rows + y) * f->columns;
            const float *from = at(f, c, y);
            for (long x = 0; x < f->columns; x++) to[x] = scale * from[x];
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

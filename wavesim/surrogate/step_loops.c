/* One frame of an explicit step whose acceleration is links to near cells (coarse.py, effective.py), compiled with
   LINKS, 4 or 12 of them:
       a(p) = sum over k of w_k (p_k - p),    velocity Verlet with n sub-steps: p += v/n, v += a(p)/n,
   half of it at both ends, with damping d before and after each half kick, v (1 - d/2n) and v / (1 + d/2n).

   Fields lie in rows filled up to whole vectors, p with REACH rows beyond both ends and LANES numbers beyond both sides
   of a row: images there are as the sides have them. A row is kicked as soon as the rows around it have drifted, and the
   last kick adds up the energy on its way. It leaves its acceleration too, with which a frame that goes on from where
   the last one ended begins. */

#include <math.h>
#include <string.h>

#ifdef __AVX512F__
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define LANES ((long)(BYTES / sizeof(float)))
#define REAL float

#include "links.h"

typedef float vector __attribute__((vector_size(BYTES), aligned(4)));
#define AT(address) (*(vector *)(address))
#define INLINE static inline __attribute__((always_inline))

const long lanes = LANES, reach = REACH;

typedef struct {
    long rows, columns, stride, substeps;
    long low_y, high_y, low_x, high_x; /* what is beyond each side */
    float budget;
    const float *links;    /* (rows, LINKS, stride), in the order of NEIGHBOURS; 0 beyond columns */
    const float *softness; /* (rows, stride): 1 / kappa, 0 beyond columns */
    const float *damping;  /* (2, rows, stride): 1 - d/2n and 1 / (1 + d/2n); none: no damping */
    float *pressure;       /* (rows + 2 REACH, stride + 2 LANES) */
    float *rate;           /* (rows, stride) */
    float *acceleration;   /* (rows, stride): of `pressure`, after a first frame */
    long known;            /* whether it is there */
} frame;

static float *at(const frame *f, long row) { return f->pressure + (row + REACH) * (f->stride + 2 * LANES) + LANES; }

static void beside(const frame *f, float *row) {
    for (long i = 0; i < REACH; i++) {
        row[-1 - i] = sign(f->low_x) * row[image(f->low_x, i, f->columns, 0)];
        row[f->columns + i] = sign(f->high_x) * row[image(f->high_x, i, f->columns, 1)];
    }
}

static void beyond(const frame *f) {
    for (long i = 0; i < REACH; i++)
        for (int high = 0; high < 2; high++) {
            long kind = high ? f->high_y : f->low_y;
            float *to = at(f, high ? f->rows + i : -1 - i) - LANES, factor = sign(kind);
            const float *from = at(f, image(kind, i, f->rows, high)) - LANES;
            for (long x = 0; x < f->stride + 2 * LANES; x += LANES) AT(to + x) = factor * AT(from + x);
        }
}

/* p += share v in a row, and its images. */
static void drift(const frame *f, long row, float share) {
    float *p = at(f, row);
    const float *v = f->rate + row * f->stride;
    for (long x = 0; x < f->stride; x += LANES) AT(p + x) += share * AT(v + x);
    beside(f, p);
}

/* The kick of a row: `half` the acceleration of a sub-step, at the first and last; else twice; the energy at the last.
   known: the acceleration is there. */
INLINE double kicked(const frame *f, long row, float half, int first, int last, int damped, int known) {
    long size = f->rows * f->stride;
    const float *w = f->links + row * LINKS * f->stride, *soft = f->softness + row * f->stride, *p[2 * REACH + 1];
    const float *before = f->damping + row * f->stride, *after = before + size;
    float *v = f->rate + row * f->stride, *left = f->acceleration + row * f->stride;
    for (long y = -REACH; y <= REACH; y++) p[y + REACH] = at(f, row + y);
    vector total = {0};
    for (long x = 0; x < f->stride; x += LANES) {
        vector here = AT(p[REACH] + x), a = {0}, strain = {0}, rate = AT(v + x);
        if (known) a = AT(left + x);
        _Pragma("GCC unroll 12") for (long k = 0; k < LINKS && !known; k++) {
            vector apart = AT(p[NEIGHBOURS[k][1] + REACH] + x + NEIGHBOURS[k][0]) - here;
            vector flow = AT(w + k * f->stride + x) * apart;
            a += flow;
            if (last) strain += flow * apart;
        }
        vector kick = half * a;
        if (damped) {
            if (!first) rate = (rate + kick) * AT(after + x);
            if (!last) rate = rate * AT(before + x) + kick;
        } else
            rate += first || last ? kick : 2 * kick;
        AT(v + x) = rate;
        if (last) AT(left + x) = a;
        if (last) total += AT(soft + x) * (rate * rate + strain * 0.5f) * 0.5f;
    }
    double sum = 0;
    if (last)
        for (long i = 0; i < LANES; i++) sum += total[i];
    return sum;
}

static double kick(const frame *f, long row, float half, int first, int last) {
    if (first && f->known) return f->damping ? kicked(f, row, half, 1, 0, 1, 1) : kicked(f, row, half, 1, 0, 0, 1);
    if (f->damping) return first ? kicked(f, row, half, 1, 0, 1, 0) : kicked(f, row, half, 0, last, 1, 0);
    if (last) return kicked(f, row, half, 0, 1, 0, 0);
    return first ? kicked(f, row, half, 1, 0, 0, 0) : kicked(f, row, half, 0, 0, 0, 0);
}

/* All sub-steps; the energy: 1/2 sum v^2 / kappa + 1/4 sum over cells and links of w (p_k - p)^2 / kappa. */
static double march(const frame *f) {
    float share = 1.0f / f->substeps;
    double energy = 0;
    for (long y = 0; y < f->rows; y++) beside(f, at(f, y));
    beyond(f);
    for (long y = 0; y < f->rows; y++) kick(f, y, share / 2, 1, 0);
    /* The rows at both ends drift first: what is beyond them is then known. */
    long low = f->rows < REACH ? f->rows : REACH, high = f->rows - REACH > low ? f->rows - REACH : low;
    for (long n = 0; n < f->substeps; n++) {
        int last = n == f->substeps - 1;
        for (long y = 0; y < low; y++) drift(f, y, share);
        for (long y = high; y < f->rows; y++) drift(f, y, share);
        beyond(f);
        for (long y = 0; y < f->rows; y++) {
            if (y + REACH >= low && y + REACH < high) drift(f, y + REACH, share);
            energy += kick(f, y, share / 2, 0, last);
        }
    }
    return energy;
}

static void load(frame *f, const float *state) {
    long size = f->rows * f->columns, row = f->columns * sizeof(float);
    for (long y = 0; y < f->rows; y++) {
        f->known = f->known && !memcmp(at(f, y), state + y * f->columns, row);
        memcpy(at(f, y), state + y * f->columns, row);
        memcpy(f->rate + y * f->stride, state + size + y * f->columns, row);
    }
}

static void store(const frame *f, float *state, float scale) {
    long size = f->rows * f->columns;
    for (long y = 0; y < f->rows; y++) {
        const float *p = at(f, y), *v = f->rate + y * f->stride;
        for (long x = 0; x < f->columns; x++) state[y * f->columns + x] = scale * p[x];
        for (long x = 0; x < f->columns; x++) state[size + y * f->columns + x] = scale * v[x];
    }
}

/* states: (frames, 2, rows, columns), the frames after `state`, which may lie in the first of them. */
void advance(frame *f, const float *state, long frames, float *states) {
    load(f, state);
    for (long k = 0; k < frames; k++, states += 2 * f->rows * f->columns) {
        double now = march(f);
        f->known = 1;
        store(f, states, now > f->budget ? (float)sqrt(f->budget / now) : 1.0f);
        if (now > f->budget) load(f, states);
    }
}

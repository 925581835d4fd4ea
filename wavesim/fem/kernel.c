/* The loops of kernel.py, which compiles them with REAL, float or double, and WIDTH, the degree, so that
   they unroll.

   Rows of a grid pass through three stages, each `lag` rows behind the one before, so that a step reads the fields once:
   p += d;  f = B p, d -= f;  at order 4, d += B f / 12. The rows of f that are still needed lie in a ring. A row is filled
   up to whole vectors, `stride` numbers, and has w more before and after it, which close it to a cycle. */

#include <stdlib.h>
#include <string.h>

typedef REAL vector __attribute__((vector_size(64), aligned(sizeof(REAL))));
#define LANES ((long)(64 / sizeof(REAL)))
#define AHEAD 2        /* rows: what they read is fetched while this one is multiplied */
#define FAR (1L << 16) /* numbers of a field, from which on it has to be */
#define AT(address) (*(const vector *)(address))

typedef struct {
    long rows, columns, lag, stride, own, from, until;
    const REAL *along;          /* (2 w + 1, stride), or (rows, 2 w + 1, stride) where every row has its own */
    const REAL *across;         /* (rows, 2 w + 1), or (rows, 2 w + 1, stride) */
    const signed char *coupled; /* (rows, 2 w + 1), which rows a row needs */
    const REAL *scale;          /* (rows, stride), s */
    const REAL *shared;         /* (2 w + 1, LANES), what `along` has for all vectors between from and until, or 0 */
} grid;

/* Where rows -w ... rows + w - 1 lie, in a ring of so many; the memory begins at all[rows + 2 w]. */
static REAL **lines(const grid *g, long ring) {
    long pitch = g->stride + 2 * LANES, count = g->rows + 2 * WIDTH;
    size_t size = (size_t)ring * pitch * sizeof(REAL);
    REAL **all = malloc((count + 1) * sizeof(REAL *)), *field = aligned_alloc(64, size);
    if (!all || !field) return free(all), free(field), NULL;
    memset(field, 0, size);
    for (long k = 0; k < count; k++) all[k] = field + (k - WIDTH + g->rows) % g->rows % ring * pitch + LANES;
    all[count] = field;
    return all;
}

static void discard(const grid *g, REAL **all) {
    if (all) free(all[g->rows + 2 * WIDTH]);
    free(all);
}

static void ends(const grid *g, REAL *line) {
    for (long k = 0; k < WIDTH; k++) {
        line[-1 - k] = line[g->columns - 1 - k];
        line[g->columns + k] = line[k];
    }
}

#define KEPT(V, i, k) V += kept[k] * AT(centre + (i) + (k) - w)
#define READ(V, i, k) V += AT(along + (k) * g->stride + (i)) * AT(centre + (i) + (k) - w)
#define ACROSS(V, i, k) V += (own ? AT(own_factor[k] + (i)) : factor[k] + (vector){0}) * AT(near[k] + (i))
#define FINISH(V, i)                                                  \
    {                                                                 \
        vector product = AT(s + (i)) * V;                             \
        if (to) *(vector *)(to + (i)) = product;                      \
        if (d) *(vector *)(d + (i)) = AT(d + (i)) + (part + (vector){0}) * product; \
        if (soon) __builtin_prefetch(soon + (i), 0, 2);               \
        if (also) __builtin_prefetch(also + (i), 0, 2);               \
    }

#define FOUR(CENTRE)                                        \
    {                                                       \
        vector a = {0}, b = {0}, c = {0}, e = {0};          \
        for (long k = 0; k <= 2 * w; k++) {                 \
            CENTRE(a, i, k);                                \
            CENTRE(b, i + LANES, k);                        \
            CENTRE(c, i + 2 * LANES, k);                    \
            CENTRE(e, i + 3 * LANES, k);                    \
        }                                                   \
        for (long k = 0; k < count; k++) {                  \
            ACROSS(a, i, k);                                \
            ACROSS(b, i + LANES, k);                        \
            ACROSS(c, i + 2 * LANES, k);                    \
            ACROSS(e, i + 3 * LANES, k);                    \
        }                                                   \
        FINISH(a, i);                                       \
        FINISH(b, i + LANES);                               \
        FINISH(c, i + 2 * LANES);                           \
        FINISH(e, i + 3 * LANES);                           \
    }

/* f = B p in row j of the field whose lines are `at`; to = f, d += part f. soon, also: lines that are read next, or 0. */
static inline __attribute__((always_inline)) void row(const grid *g, REAL *const *at, long j, REAL *to, REAL *d, REAL part,
                                                      const REAL *soon, const REAL *also, const long w, const int own) {
    const REAL *near[2 * w + 1], *own_factor[2 * w + 1], *centre = at[j], *s = g->scale + j * g->stride;
    const REAL *along = g->along + (own ? j * (2 * w + 1) * g->stride : 0);
    REAL factor[2 * w + 1];
    long count = 0, i = 0;
    for (long k = 0; k <= 2 * w; k++) {
        long place = j * (2 * w + 1) + k;
        if (!g->coupled[place]) continue;
        near[count] = at[j + k - w];
        own_factor[count] = g->across + (own ? place * g->stride : 0);
        factor[count++] = g->across[own ? 0 : place];
    }
    if (g->shared && !own) {
        for (; i < g->from; i += 4 * LANES) FOUR(READ);
        vector kept[2 * w + 1];
        for (long k = 0; k <= 2 * w; k++) kept[k] = AT(g->shared + k * LANES);
        for (; i < g->until; i += 4 * LANES) FOUR(KEPT);
    }
    for (; i + 4 * LANES <= g->stride; i += 4 * LANES) FOUR(READ);
    for (; i < g->stride; i += LANES) {
        vector a = {0}, b = {0}, c = {0};
        for (long k = 0; k < w; k++) {
            READ(a, i, k);
            READ(b, i, k + w);
        }
        READ(a, i, 2 * w);
        for (long k = 0; k < count; k++) ACROSS(c, i, k);
        a += b + c;
        FINISH(a, i);
    }
}

static void product(const grid *g, REAL *const *at, long j, REAL *to, REAL *d, REAL part, const REAL *soon,
                    const REAL *also) {
    if (g->own)
        row(g, at, j, to, d, part, soon, also, WIDTH, 1);
    else
        row(g, at, j, to, d, part, soon, also, WIDTH, 0);
}

/* p and d (rows, columns) after so many steps; without d, p becomes B p. Returns whether there was no memory. */
int grid_advance(const grid *g, REAL *p, REAL *d, long steps, int order) {
    long lag = g->lag, columns = g->columns, w = WIDTH, last = d && order == 4 ? 2 : 1;
    size_t width = columns * sizeof(REAL);
    REAL **all[3] = {lines(g, g->rows), lines(g, g->rows), lines(g, lag < g->rows ? 2 * lag + 1 : g->rows)};
    int short_of_memory = !all[0] || !all[1] || !all[2];
    if (!short_of_memory) {
        REAL **pressure = all[0] + w, **increment = all[1] + w, **force = all[2] + w;
        for (long j = 0; j < g->rows; j++) {
            memcpy(pressure[j], p + j * columns, width);
            if (d) memcpy(increment[j], d + j * columns, width);
        }
        for (long step = 0; step < steps; step++)
            for (long t = 0; t < g->rows + last * lag; t++) {
                if (t < g->rows) {
                    REAL *restrict to = pressure[t], *restrict by = increment[t];
                    for (long i = 0; i < g->stride; i += LANES) *(vector *)(to + i) = AT(to + i) + AT(by + i);
                    ends(g, to);
                }
                long j = t - lag, next = t + AHEAD;
                int far = next < g->rows && g->rows * g->stride > FAR;
                if (j >= 0 && j < g->rows && d) {
                    product(g, pressure, j, last == 2 ? force[j] : NULL, increment[j], -1, far ? pressure[next] : NULL,
                            far ? increment[next] : NULL);
                    if (last == 2) ends(g, force[j]);
                } else if (j >= 0 && j < g->rows)
                    product(g, pressure, j, increment[j], NULL, 0, NULL, NULL);
                j = t - 2 * lag;
                if (last == 2 && j >= 0)
                    product(g, force, j, NULL, increment[j], (REAL)(1.0 / 12),
                            far ? g->scale + (next - lag) * g->stride : NULL, NULL);
            }
        for (long j = 0; j < g->rows; j++) {
            memcpy(p + j * columns, d ? pressure[j] : increment[j], width);
            if (d) memcpy(d + j * columns, increment[j], width);
        }
    }
    for (int k = 0; k < 3; k++) discard(g, all[k]);
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

/* A field here is first the numbers inside of elements, (groups, inner points, LANES), then those on edges, shared by two
   elements at most, then the others, then a zero for those that walls hold. */
typedef struct {
    long groups, edges, others;
    const REAL *slope;  /* (P, P), the derivative along an edge */
    const REAL *metric; /* (groups, points, 3, LANES), w / rho times ss, st and tt */
    const int *rim;     /* (groups, rim points, LANES), where in a field: a group is one element a lane */
    const int *pair;    /* (edges, 2), places in the parts (groups, rim points, LANES), which end with a zero */
    const int *start;   /* (others + 1), of the places of each */
    const int *place;
    const REAL *scale; /* of a field */
    const int *order;  /* of a field, which unknown it is, -1 for none */
} cells;

enum { P = WIDTH + 1, RIM = 4 * WIDTH, INNER = (WIDTH - 1) * (WIDTH - 1) };
#define ON_RIM(a, b) ((a) == 0 || (a) == P - 1 || (b) == 0 || (b) == P - 1)

/* to = f, d += part f inside of the elements of a group, and its parts of K in on their rims. */
static void group(const cells *m, long number, const REAL *in, REAL *to, REAL *d, REAL part, REAL *parts) {
    vector u[P * P], along[P * P], up[P * P];
    const int *node = m->rim + number * RIM * LANES;
    const REAL *metric = m->metric + number * P * P * 3 * LANES, *D = m->slope;
    long inner = number * INNER * LANES;
    for (long q = 0, r = 0, i = inner; q < P * P; q++)
        if (ON_RIM(q % P, q / P)) {
            for (long l = 0; l < LANES; l++) ((REAL *)(u + q))[l] = in[node[r * LANES + l]];
            r++;
        } else {
            u[q] = AT(in + i);
            i += LANES;
        }
    for (long b = 0; b < P; b++)
        for (long a = 0; a < P; a++) {
            vector s = {0}, t = {0};
            for (long k = 0; k < P; k++) {
                s += (D[a * P + k] + (vector){0}) * u[b * P + k];
                t += (D[b * P + k] + (vector){0}) * u[k * P + a];
            }
            const REAL *g = metric + (b * P + a) * 3 * LANES;
            along[b * P + a] = AT(g) * s + AT(g + LANES) * t;
            up[b * P + a] = AT(g + LANES) * s + AT(g + 2 * LANES) * t;
        }
    parts += number * RIM * LANES;
    for (long b = 0; b < P; b++)
        for (long a = 0; a < P; a++) {
            vector s = {0}, t = {0};
            for (long k = 0; k < P; k++) {
                s += (D[k * P + a] + (vector){0}) * along[b * P + k];
                t += (D[k * P + b] + (vector){0}) * up[k * P + a];
            }
            if (ON_RIM(a, b)) {
                *(vector *)parts = s + t;
                parts += LANES;
            } else {
                vector f = AT(m->scale + inner) * (s + t);
                *(vector *)(to + inner) = f;
                if (d) *(vector *)(d + inner) = AT(d + inner) + (part + (vector){0}) * f;
                inner += LANES;
            }
        }
}

/* to = f, d += part f, for f = B in. */
static void by_cells(const cells *m, const REAL *in, REAL *to, REAL *d, REAL part, REAL *parts) {
    for (long k = 0; k < m->groups; k++) group(m, k, in, to, d, part, parts);
    long i = m->groups * INNER * LANES;
    for (long k = 0; k < m->edges; k++, i++) {
        to[i] = m->scale[i] * (parts[m->pair[2 * k]] + parts[m->pair[2 * k + 1]]);
        if (d) d[i] += part * to[i];
    }
    for (long k = 0; k < m->others; k++, i++) {
        REAL sum = 0;
        for (int at = m->start[k]; at < m->start[k + 1]; at++) sum += parts[m->place[at]];
        to[i] = m->scale[i] * sum;
        if (d) d[i] += part * to[i];
    }
}

/* The same steps, element by element. */
int cells_advance(const cells *m, REAL *p, REAL *d, long steps, int order) {
    long size = m->groups * INNER * LANES + m->edges + m->others + 1, rims = m->groups * RIM * LANES;
    long pitch = (size + LANES - 1) / LANES * LANES;
    size_t memory = (3 * pitch + rims + LANES) * sizeof(REAL);
    REAL *all = aligned_alloc(64, memory);
    if (!all) return 1;
    memset(all, 0, memory);
    REAL *field = all, *increment = all + pitch, *force = increment + pitch, *parts = force + pitch;
    for (long i = 0; i < size; i++)
        if (m->order[i] >= 0) {
            field[i] = p[m->order[i]];
            if (d) increment[i] = d[m->order[i]];
        }
    for (long step = 0; step < steps; step++) {
        for (long i = 0; d && i < size; i++) field[i] += increment[i];
        by_cells(m, field, force, d ? increment : NULL, -1, parts);
        if (d && order == 4) by_cells(m, force, force, increment, (REAL)(1.0 / 12), parts);
    }
    for (long i = 0; i < size; i++)
        if (m->order[i] >= 0) {
            p[m->order[i]] = d ? field[i] : force[i];
            if (d) d[m->order[i]] = increment[i];
        }
    free(all);
    return 0;
}

typedef struct {
    long groups;
    const int *node;                        /* (groups, points, LANES), `size` where there is none */
    const int *start, *place;               /* (size + 1), of the places of each unknown in the parts; and these */
    const REAL *slope;                      /* as in cells */
    const REAL *per_size;                   /* (groups, 2, LANES), 1 over the length of an element along x and y */
    const REAL *weight, *decay, *gain;      /* (groups, points, 2, LANES) */
    const REAL *scale, *keep, *kick, *pull; /* (size), as in absorbing.py */
} layer;

/* f+ = decay f- + gain (p_x, p_y) in the elements of a group, and out = their part of D^T weight (f+ + f-). */
static void fade(const layer *l, long number, const REAL *in, REAL *before, REAL *later, REAL *out) {
    vector u[P * P], push[2][P * P];
    const int *node = l->node + number * P * P * LANES;
    const REAL *D = l->slope;
    for (long q = 0; q < P * P; q++)
        for (long lane = 0; lane < LANES; lane++) ((REAL *)(u + q))[lane] = in[node[q * LANES + lane]];
    for (long b = 0; b < P; b++)
        for (long a = 0; a < P; a++) {
            vector slope[2] = {{0}, {0}};
            for (long k = 0; k < P; k++) {
                slope[0] += (D[a * P + k] + (vector){0}) * u[b * P + k];
                slope[1] += (D[b * P + k] + (vector){0}) * u[k * P + a];
            }
            for (long axis = 0; axis < 2; axis++) {
                long i = ((number * P * P + b * P + a) * 2 + axis) * LANES;
                vector per_size = AT(l->per_size + (number * 2 + axis) * LANES), old = AT(later + i);
                vector new = AT(l->decay + i) * old + AT(l->gain + i) * per_size * slope[axis];
                if (before) *(vector *)(before + i) = old;
                *(vector *)(later + i) = new;
                push[axis][b * P + a] = AT(l->weight + i) * per_size * (old + new);
            }
        }
    for (long b = 0; b < P; b++)
        for (long a = 0; a < P; a++) {
            vector s = {0}, t = {0};
            for (long k = 0; k < P; k++) {
                s += (D[k * P + a] + (vector){0}) * push[0][b * P + k];
                t += (D[k * P + b] + (vector){0}) * push[1][k * P + a];
            }
            *(vector *)(out + (number * P * P + b * P + a) * LANES) = s + t;
        }
}

typedef void product_of(const void *of, REAL *work, const REAL *in, REAL *out);

/* The same steps with an absorbing layer; before and later: f half a step before p and after it; times: B with its work. */
static int absorbed(const layer *l, product_of *times, const void *of, REAL *work, long size, long spare, REAL *p, REAL *d,
                    REAL *before, REAL *later, long steps, int order) {
    size_t bytes = (size + spare) * sizeof(REAL);
    REAL *field = calloc(1, bytes), *force = calloc(1, bytes), *second = calloc(1, bytes);
    REAL *parts = aligned_alloc(64, (l->groups * P * P + 1) * LANES * sizeof(REAL));
    int short_of_memory = !field || !force || !second || !parts || !work;
    if (!short_of_memory) {
        memcpy(field, p, size * sizeof(REAL));
        for (long step = 1; step <= steps; step++) {
            for (long i = 0; i < size; i++) field[i] += d[i];
            for (long k = 0; k < l->groups; k++) fade(l, k, field, step == steps ? before : NULL, later, parts);
            times(of, work, field, force);
            for (long i = 0; i < size; i++) {
                REAL sum = 0;
                for (int k = l->start[i]; k < l->start[i + 1]; k++) sum += parts[l->place[k]];
                force[i] += l->scale[i] * sum;
            }
            if (order == 4) {
                times(of, work, force, second);
                for (long i = 0; i < size; i++) force[i] -= second[i] * (REAL)(1.0 / 12);
            }
            for (long i = 0; i < size; i++) d[i] = l->keep[i] * d[i] - l->kick[i] * (force[i] + l->pull[i] * field[i]);
        }
        memcpy(p, field, size * sizeof(REAL));
    }
    free(field), free(force), free(second), free(parts);
    return short_of_memory;
}

static void by_rows(const void *of, REAL *work, const REAL *in, REAL *out) {
    const grid *g = of;
    REAL **line = (REAL **)work + WIDTH;
    for (long j = 0; j < g->rows; j++) {
        memcpy(line[j], in + j * g->columns, g->columns * sizeof(REAL));
        ends(g, line[j]);
    }
    /* Each row is filled up beyond its end, where the next one begins. */
    for (long j = 0; j < g->rows; j++) product(g, line, j, out + j * g->columns, NULL, 0, NULL, NULL);
}

int grid_absorbed(const grid *g, const layer *l, REAL *p, REAL *d, REAL *before, REAL *later, long steps, int order) {
    REAL **all = lines(g, g->rows);
    int failed = absorbed(l, by_rows, g, (REAL *)all, g->rows * g->columns, g->stride, p, d, before, later, steps, order);
    discard(g, all);
    return failed;
}

static void of_cells(const void *of, REAL *work, const REAL *in, REAL *out) { by_cells(of, in, out, NULL, 0, work); }

/* All fields and the layer's tables as the cells number them. */
int cells_absorbed(const cells *m, const layer *l, REAL *p, REAL *d, REAL *before, REAL *later, long steps, int order) {
    long size = m->groups * INNER * LANES + m->edges + m->others + 1;
    REAL *parts = calloc(m->groups * RIM * LANES + LANES, sizeof(REAL));
    int failed = absorbed(l, of_cells, m, parts, size, LANES, p, d, before, later, steps, order);
    free(parts);
    return failed;
}

/* A cascade of gated filters on rows (networks/gated.py), compiled with TAPS, the taps of a filter, and with HALF where
   filters multiply in bfloat16 and add in single precision (AVX512-BF16).

   A field is (channel, row, stride) with rows filled up to whole vectors. Rows pass through the layers one after
   another, layer l being l reaches behind the first, so that what one layer writes the next one finds in the cache.
   A layer keeps the last TAPS of its widened rows in a ring; beyond walls they are continued evenly. */

#include <math.h>
#include <string.h>
#ifdef HALF
#include <immintrin.h>
#endif

#ifdef __AVX512F__
#define BYTES 64
#define OUT 8
#elif defined(__AVX__)
#define BYTES 32
#define OUT 4
#else
#define BYTES 16
#define OUT 8
#endif
#define LANES ((long)(BYTES / sizeof(float)))
#define REACH (TAPS / 2)
#define MOST 1024 /* inputs of a linear map */

typedef float vector __attribute__((vector_size(BYTES), aligned(4)));
#define AT(address) (*(vector *)(address))

const long lanes = LANES, outputs = OUT, most = MOST;

/* out[k] = sum over n of weights[k / OUT][n][k % OUT] in[n], or added to it; outs is a multiple of OUT. */
#define COMBINE(NAME, NUMBER, MULTIPLY)                                                                           \
    static void NAME(long count, const float *const *in, const NUMBER *weights, long outs, float *const *out, long stride, int add) { \
        for (long o = 0; o < outs; o += OUT, weights += count * OUT) {                                            \
            long x = 0;                                                                                           \
            BLOCK(2, NUMBER, MULTIPLY)                                                                            \
            BLOCK(1, NUMBER, MULTIPLY)                                                                            \
        }                                                                                                         \
    }
#define BLOCK(WIDE, NUMBER, MULTIPLY)                                                                             \
    for (; x + WIDE * LANES <= stride; x += WIDE * LANES) {                                                       \
        vector sum[OUT][WIDE];                                                                                    \
        _Pragma("GCC unroll 8") for (long k = 0; k < OUT; k++)                                                    \
            _Pragma("GCC unroll 2") for (long i = 0; i < WIDE; i++)                                               \
                sum[k][i] = add ? AT(out[o + k] + x + i * LANES) : (vector){0};                                   \
        for (long n = 0; n < count; n++) {                                                                        \
            vector value[WIDE];                                                                                   \
            _Pragma("GCC unroll 2") for (long i = 0; i < WIDE; i++) value[i] = AT(in[n] + x + i * LANES);         \
            _Pragma("GCC unroll 8") for (long k = 0; k < OUT; k++)                                                \
                _Pragma("GCC unroll 2") for (long i = 0; i < WIDE; i++)                                           \
                    sum[k][i] = MULTIPLY(sum[k][i], weights[n * OUT + k], value[i]);                              \
        }                                                                                                         \
        _Pragma("GCC unroll 8") for (long k = 0; k < OUT; k++)                                                    \
            _Pragma("GCC unroll 2") for (long i = 0; i < WIDE; i++) AT(out[o + k] + x + i * LANES) = sum[k][i];   \
    }
#define SINGLE(sum, weight, value) ((sum) + (weight) * (value))
COMBINE(combine, float, SINGLE)

/* What the filters multiply: a field, or two of them side by side in bfloat16, one pair in the place of a number. */
#ifdef HALF
#define PAIRED 2
typedef int number;
#define TWO(sum, weight, value) \
    (vector) _mm512_dpbf16_ps((__m512)(sum), (__m512bh)(value), (__m512bh)_mm512_set1_epi32(weight))
COMBINE(filter, int, TWO)
static vector pair(vector first, vector second) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                           5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (vector)_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
}
#else
#define PAIRED 1
typedef float number;
#define filter combine
#endif

typedef struct {
    long rank;            /* widened channels; 0: a dense filter, whose ring holds the gated field itself */
    const float *gate;    /* (width, rows, stride) */
    const number *inward; /* width to rank, packed */
    const float *along;   /* (rank, 2 TAPS): the taps along x, and along y */
    const number *outward; /* rank to width, or (width TAPS TAPS) to width, packed */
    float *ring; /* (TAPS, rank or width / PAIRED, pitch); a row begins LANES numbers in, pitch = stride + 2 LANES */
} layer;

typedef struct {
    long rows, columns, stride, width, layers;
    const float *stem, *head; /* packed: inputs to width, and width to OUT */
    float *hidden;            /* (width, rows, stride) */
    float *spare;             /* (width + largest rank + OUT, stride) */
    const layer *layer;
} cascade;

/* Row y of a field is at first + y pitch. */
typedef struct {
    float *first;
    long pitch;
} field;

static long mirrored(long row, long rows) { return row < 0 ? -1 - row : row < rows ? row : 2 * rows - 1 - row; }

static long channels(const cascade *f, const layer *l) { return l->rank ? l->rank : f->width / PAIRED; }

static float *kept(const cascade *f, const layer *l, long row, long channel) {
    return l->ring + ((row % TAPS) * channels(f, l) + channel) * (f->stride + 2 * LANES) + LANES;
}

/* The gated row, widened, into the ring. */
static void take(const cascade *f, const layer *l, long row) {
    long size = f->rows * f->stride, count = channels(f, l);
    const float *gated[MOST];
    float *wide[MOST];
    for (long k = 0; k < count; k++) wide[k] = kept(f, l, row, k);
    for (long c = 0; c < f->width / PAIRED; c++) {
        const float *gate = l->gate + PAIRED * c * size + row * f->stride;
        const float *field = f->hidden + PAIRED * c * size + row * f->stride;
        float *to = l->rank ? f->spare + c * f->stride : wide[c];
        gated[c] = to;
        for (long x = 0; x < f->stride; x += LANES) {
#ifdef HALF
            AT(to + x) = pair(AT(gate + x) * AT(field + x), AT(gate + size + x) * AT(field + size + x));
#else
            AT(to + x) = AT(gate + x) * AT(field + x);
#endif
        }
    }
    if (l->rank) filter(f->width / PAIRED, gated, l->inward, l->rank, wide, f->stride, 0);
    for (long k = 0; k < count; k++)
        for (long i = 0; i < REACH; i++) {
            wide[k][-1 - i] = wide[k][i];
            wide[k][f->columns + i] = wide[k][f->columns - 1 - i];
        }
}

/* A rank's two filters along x and y around a row, at x. */
static vector crossed(const cascade *f, const layer *l, float *const *rows, long rank, long x) {
    const float *along = l->along + rank * 2 * TAPS;
    long ahead = rank * (f->stride + 2 * LANES) + x;
    vector sum = {0};
    _Pragma("GCC unroll 16") for (long k = 0; k < TAPS; k++) sum += along[k] * AT(rows[REACH] + ahead + k - REACH);
    _Pragma("GCC unroll 16") for (long k = 0; k < TAPS; k++) sum += along[TAPS + k] * AT(rows[k] + ahead);
    return sum;
}

/* What the filter makes of the rows around this one, added to it. */
static void give(const cascade *f, const layer *l, long row) {
    long size = f->rows * f->stride, count = 0;
    const float *in[MOST];
    float *out[MOST], *rows[TAPS];
    for (long c = 0; c < f->width; c++) out[c] = f->hidden + c * size + row * f->stride;
    for (long k = 0; k < TAPS; k++) rows[k] = kept(f, l, mirrored(row + k - REACH, f->rows), 0);
    if (!l->rank) {
        for (long c = 0; c < channels(f, l); c++)
            for (long y = 0; y < TAPS; y++)
                for (long x = -REACH; x <= REACH; x++) in[count++] = rows[y] + c * (f->stride + 2 * LANES) + x;
    } else {
        for (long r = 0; r < l->rank; r += PAIRED) {
            float *to = f->spare + (f->width + r) * f->stride;
            in[count++] = to;
            for (long x = 0; x < f->stride; x += LANES) {
#ifdef HALF
                AT(to + x) = pair(crossed(f, l, rows, r, x), crossed(f, l, rows, r + 1, x));
#else
                AT(to + x) = crossed(f, l, rows, r, x);
#endif
            }
        }
    }
    filter(count, in, l->outward, f->width, out, f->stride, 1);
}

/* The cascade of `ins` fields, added to `outs` fields, at most OUT; these may be the same. */
static void forward(const cascade *f, const field *in, long ins, const field *out, long outs) {
    long size = f->rows * f->stride, width = f->width, behind = f->layers * REACH;
    const float *from[MOST];
    float *to[MOST];
    for (long t = 0; t < f->rows + behind; t++) {
        if (t < f->rows) {
            for (long k = 0; k < ins; k++) from[k] = in[k].first + t * in[k].pitch;
            for (long c = 0; c < width; c++) to[c] = f->hidden + c * size + t * f->stride;
            combine(ins, from, f->stem, width, to, f->stride, 0);
        }
        for (long k = 0; k < f->layers; k++) {
            long row = t - k * REACH;
            if (row >= 0 && row < f->rows) take(f, f->layer + k, row);
            if (row >= REACH && row < f->rows + REACH) give(f, f->layer + k, row - REACH);
        }
        if (t >= behind) {
            for (long c = 0; c < width; c++) from[c] = f->hidden + c * size + (t - behind) * f->stride;
            for (long k = 0; k < OUT; k++)
                to[k] = k < outs ? out[k].first + (t - behind) * out[k].pitch : f->spare + k * f->stride;
            combine(width, from, f->head, OUT, to, f->stride, 1);
        }
    }
}

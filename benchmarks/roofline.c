/* What a processor does at most, for roofline.py: vectors read, and a step's streams, with next to no arithmetic. */

typedef float vector __attribute__((vector_size(64), aligned(4)));

/* n numbers, read so many times. */
float reads(const float *from, long n, long times) {
    vector sum[8] = {{0}};
    float all = 0;
    for (long t = 0; t < times; t++) {
        for (long i = 0; i + 128 <= n; i += 128)
            for (int k = 0; k < 8; k++) sum[k] += *(const vector *)(from + i + 16 * k);
        __asm__ volatile("" ::: "memory");
    }
    for (int k = 0; k < 8; k++)
        for (int l = 0; l < 16; l++) all += sum[k][l];
    return all;
}

/* p, d and s read, p and d written. */
void streams(float *restrict p, float *restrict d, const float *restrict s, long n, long times) {
    for (long t = 0; t < times; t++) {
        for (long i = 0; i < n; i++) {
            p[i] += d[i];
            d[i] -= s[i] * p[i];
        }
        __asm__ volatile("" ::: "memory");
    }
}

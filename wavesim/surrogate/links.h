/* Links to near cells, 4 or 12 of them by LINKS, and what they read beyond a side; numbers of type REAL. */

#define REACH (LINKS == 4 ? 1 : 2)

/* Beyond a side: its own cells in reverse times MIRROR or ODD, the cells at the other end, or nothing. */
enum { MIRROR = 1, ODD = -1, PERIODIC = 2, ZERO = 0 };

/* (x, y) of the neighbours: right, left, top, bottom, then the corners, then those two cells away. */
static const long NEIGHBOURS[12][2] = {{1, 0},  {-1, 0}, {0, 1},   {0, -1}, {1, 1}, {-1, 1},
                                       {1, -1}, {-1, -1}, {2, 0}, {-2, 0}, {0, 2}, {0, -2}};

/* What a field is one or two cells beyond a side: where it is taken from, and times what. */
static long image(long kind, long beyond, long cells, int high) {
    long from = kind == PERIODIC ? cells - 1 - beyond : beyond;
    return high ? cells - 1 - from : from;
}
static REAL sign(long kind) { return kind == PERIODIC ? 1 : (REAL)kind; }

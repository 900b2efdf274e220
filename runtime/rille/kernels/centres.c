/* From a map of centres to features, and from them and a map of logits to a mask. */
#include "kernels.h"

#define BLOCK 64
#define BOX 6

/* Find the cells of a map that are above a limit and not below any of the eight around them, row by
   row. Far most cells are below the limit: they are looked at in blocks.

   at: for each its number. around: for each the number stored there and those to the left, to the
   right, above and below, of which one beyond the edge is its own. Returns how many there are. */
#define PEAKS(NAME, T, ORDER, L, LIMIT)                                                   \
  static int top_##NAME(const T *v, i64 h, i64 w, i64 y, i64 x, u8 flip) {                \
    const T here = ORDER(v[y * w + x]);                                                   \
    const i64 right = x + 1 < w ? x + 1 : x, below = y + 1 < h ? y + 1 : y;               \
    for (i64 b = y ? y - 1 : y; b <= below; b++)                                          \
      for (i64 a = x ? x - 1 : x; a <= right; a++)                                        \
        if (ORDER(v[b * w + a]) > here) return 0;                                         \
    (void)flip;                                                                           \
    return 1;                                                                             \
  }                                                                                       \
  API i64 rille_peaks_##NAME(const T *restrict v, i64 h, i64 w, u8 flip, double limit,    \
                             i32 *restrict at, T *restrict around) {                      \
    const L above = LIMIT;                                                                \
    i64 found = 0;                                                                        \
    for (i64 y = 0; y < h; y++)                                                           \
      for (i64 first = 0; first < w; first += BLOCK) {                                    \
        const i64 last = first + BLOCK < w ? first + BLOCK : w;                           \
        T most = ORDER(v[y * w + first]);                                                 \
        for (i64 x = first; x < last; x++) {                                              \
          const T this = ORDER(v[y * w + x]);                                             \
          most = this > most ? this : most;                                               \
        }                                                                                 \
        if (!(most > above)) continue;                                                    \
        for (i64 x = first; x < last; x++) {                                              \
          if (!(ORDER(v[y * w + x]) > above) || !top_##NAME(v, h, w, y, x, flip)) continue;\
          T *to = around + 5 * found;                                                     \
          at[found++] = (i32)(y * w + x);                                                 \
          to[0] = v[y * w + x];                                                           \
          to[1] = v[y * w + (x ? x - 1 : x)];                                             \
          to[2] = v[y * w + (x + 1 < w ? x + 1 : x)];                                     \
          to[3] = v[(y ? y - 1 : y) * w + x];                                             \
          to[4] = v[(y + 1 < h ? y + 1 : y) * w + x];                                     \
        }                                                                                 \
      }                                                                                   \
    return found;                                                                         \
  }

#define FLIPPED(value) ((u8)((value) ^ flip))
#define AS_IT_IS(value) (value)

/* flip: 128 for int8, 0 for uint8; the limit is of the flipped number. */
PEAKS(8, u8, FLIPPED, i32, limit < 0 ? -1 : limit > 255 ? 255 : (i32)limit)
/* None of the numbers is NaN; flip means nothing. */
PEAKS(f, float, AS_IT_IS, float, (float)limit)

/* Return where between its neighbours a peak lies: the vertex of a parabola, +-0.5. */
static double vertex(double before, double here, double after) {
  const double bend = before - 2 * here + after;
  if (!(bend < 0)) return 0;
  const double offset = 0.5 * (before - after) / bend;
  return offset < -0.5 ? -0.5 : offset > 0.5 ? 0.5 : offset;
}

/* Make boxes of n peaks and leave out what repeats a better one that is kept: it is nearer than `near`
   of the smaller diameter, and less than `alike` times as large or small.

   order: the peaks, the best first. at, around: see above. sizes: width and height of each in network
   pixels. w: columns of the map, whose cells are gx by gy network pixels. boxes: x, y, width, height,
   score and diameter of each that is kept. Returns how many there are. */
API i64 rille_boxes(const i64 *restrict order, i64 n, const i32 *restrict at, const double *restrict around,
                    const double *restrict score, const double *restrict sizes, i64 w, double gx, double gy,
                    double near, double alike, double *restrict boxes) {
  i64 kept = 0;
  for (i64 k = 0; k < n; k++) {
    const i64 i = order[k], row = at[i] / w, column = at[i] % w;
    const double *v = around + 5 * i;
    const double x = (column + vertex(v[1], v[0], v[2]) + 0.5) * gx - 0.5;
    const double y = (row + vertex(v[3], v[0], v[4]) + 0.5) * gy - 0.5;
    const double diameter = __builtin_sqrt(sizes[2 * i] * sizes[2 * i + 1]);
    int repeats = 0;
    for (i64 j = 0; j < kept && !repeats; j++) {
      const double *one = boxes + BOX * j;
      const double small = one[5] < diameter ? one[5] : diameter, large = one[5] < diameter ? diameter : one[5];
      const double dx = one[0] - x, dy = one[1] - y, reach = near * small;
      repeats = large < alike * small && dx * dx + dy * dy < reach * reach;
    }
    if (repeats) continue;
    double *box = boxes + BOX * kept++;
    box[0] = x, box[1] = y, box[2] = sizes[2 * i], box[3] = sizes[2 * i + 1];
    box[4] = score[i], box[5] = diameter;
  }
  return kept;
}

/* Return the whole number from 0 to `most` that is next to a number: above it, or below it. */
static i64 above(double v, i64 most) {
  if (!(v > 0)) return 0;
  if (v >= (double)most) return most;
  const i64 whole = (i64)v;
  return whole + ((double)whole < v);
}
static i64 below(double v, i64 most) { return v >= (double)most ? most : v > 0 ? (i64)v : v < 0 ? -1 : 0; }

/* Make a mask of the logits above a limit, which is another one inside the ellipse of each box: it is
   drawn in exactly the cells whose centres are inside, the surest last.

   raw: stored logits, h by w, whose cells are gx by gy network pixels. boxes: n of them as above, the
   best first. limits: of 256, the first outside of boxes, others by the score in 255ths, rounded. */
#define BELIEVED(NAME, T, SPAN)                                                            \
  API void rille_believed_##NAME(const T *restrict raw, i64 h, i64 w, u8 flip, const double *restrict boxes, \
                                 i64 n, double gx, double gy, const double *restrict limits, \
                                 u8 *restrict mask) {                                      \
    SPAN(raw, h * w, flip, limits[0], mask);                                               \
    for (i64 k = n - 1; k >= 0; k--) {                                                     \
      const double *box = boxes + BOX * k, limit = limits[above(255 * box[4] - 0.5, 255)]; \
      const double x = (box[0] + 0.5) / gx - 0.5, y = (box[1] + 0.5) / gy - 0.5;           \
      const double a = box[2] / (2 * gx), b = box[3] / (2 * gy);                           \
      const i64 last = below(y + b, h - 1);                                                \
      for (i64 row = above(y - b, h); row <= last; row++) {                                \
        const double off = ((double)row - y) / b, rest = 1 - off * off;                    \
        const double half = rest > 0 ? a * __builtin_sqrt(rest) : 0;                       \
        const i64 from = above(x - half, w), to = below(x + half, w - 1);                  \
        if (from <= to) SPAN(raw + row * w + from, to - from + 1, flip, limit, mask + row * w + from); \
      }                                                                                    \
    }                                                                                      \
  }

static void span_8(const u8 *restrict raw, i64 n, u8 flip, double limit, u8 *restrict mask) {
  const double flipped = limit + flip;  /* any limit: these numbers have no wider range than theirs */
  if (flipped < 0 || !(flipped < 255))
    memset(mask, flipped < 0, (size_t)n);
  else {
    const u8 most = (u8)flipped;
    for (i64 i = 0; i < n; i++) mask[i] = (u8)(raw[i] ^ flip) > most;
  }
}

static void span_f(const float *restrict raw, i64 n, u8 flip, double limit, u8 *restrict mask) {
  (void)flip;
  for (i64 i = 0; i < n; i++) mask[i] = raw[i] > limit;
}

BELIEVED(8, u8, span_8)
BELIEVED(f, float, span_f)

/* From a map of centres to features, and from them and a map of logits to a mask. */
#include "kernels.h"

#define BLOCK 64

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

/* Say which of n features, the best first, repeat none that is kept before them: one repeats another
   that is nearer than `near` of the smaller diameter, and less than `alike` times as large or small.

   boxes: x, y, diameter of each. kept: a flag for each. */
API void rille_apart(const double *boxes, i64 n, double near, double alike, u8 *kept) {
  memset(kept, 1, (size_t)n);
  for (i64 i = 0; i < n; i++) {
    if (!kept[i]) continue;
    const double *one = boxes + 3 * i;
    for (i64 k = i + 1; k < n; k++) {
      const double *other = boxes + 3 * k;
      const double small = one[2] < other[2] ? one[2] : other[2], large = one[2] < other[2] ? other[2] : one[2];
      const double dx = one[0] - other[0], dy = one[1] - other[1], reach = near * small;
      if (large < alike * small && dx * dx + dy * dy < reach * reach) kept[k] = 0;
    }
  }
}

/* Say for each of n cells whether two shares, cut off at 255, add up to more than a limit.

   raw: stored logits, of which `table` gives the first share, by the byte stored. drawn: the other,
   mostly 0: there the logit must be `least` or more, flipped as above (256: none is enough). */
API void rille_believed_8(const u8 *restrict raw, i64 n, u8 flip, const u8 *restrict table,
                          const u8 *restrict drawn, i32 least, i32 limit, u8 *restrict out) {
  for (i64 first = 0; first < n; first += BLOCK) {
    const i64 last = first + BLOCK < n ? first + BLOCK : n;
    u8 any = 0;
    for (i64 i = first; i < last; i++) any |= drawn[i];
    if (any)
      for (i64 i = first; i < last; i++) {
        const i32 both = table[raw[i]] + drawn[i];
        out[i] = (both > 255 ? 255 : both) > limit;
      }
    else if (least > 255)
      memset(out + first, 0, (size_t)(last - first));
    else {
      const u8 enough = (u8)least;
      for (i64 i = first; i < last; i++) out[i] = (u8)(raw[i] ^ flip) >= enough;
    }
  }
}

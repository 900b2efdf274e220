/* What the quality check wants to know of a picture, in one pass. */
#include "kernels.h"

enum { STRETCH = 4096 }; /* columns of which the sums below fit into 32 bits: 1020 * 1020 each */

typedef struct {
  i64 sum, squares, bright, detail, details;
} Sums;

/* Add n pixels from p on; above and below are those of the rows next to them, and there are
   neighbours left and right. */
static void add(Sums *sums, const u8 *p, const u8 *above, const u8 *below, i64 n, u32 white) {
  u32 sum = 0, squares = 0, bright = 0, details = 0;
  i32 detail = 0;
  for (i64 x = 0; x < n; x++) {
    const u32 v = p[x];
    const i32 bend = p[x - 1] + p[x + 1] + above[x] + below[x] - 4 * p[x];
    sum += v;
    squares += v * v;
    bright += v >= white;
    detail += bend;
    details += (u32)(bend * bend);
  }
  sums->sum += sum;
  sums->squares += squares;
  sums->bright += bright;
  sums->detail += detail;
  sums->details += details;
}

/* Add one pixel at the left or right edge: its only neighbour there counts twice. */
static void add_edge(Sums *sums, u8 pixel, u8 beside, u8 above, u8 below, u32 white) {
  const u8 three[3] = {beside, pixel, beside};
  add(sums, three + 1, &above, &below, 1, white);
}

/* Mix a word into a number: any one change of it changes that. */
static u64 mixed(u64 hash, u64 word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
  return hash ^ hash >> 32;
}

/* Mix n bytes into four numbers, of which none waits for another. */
static void mix_row(u64 *hashes, const u8 *p, i64 n) {
  for (; n >= 32; p += 32, n -= 32)
    for (int k = 0; k < 4; k++) {
      u64 word;
      memcpy(&word, p + 8 * k, 8);
      hashes[k] = mixed(hashes[k], word);
    }
  for (; n > 0; p += 8, n -= 8) {
    u64 word = 0;
    memcpy(&word, p, n < 8 ? (size_t)n : 8);
    hashes[0] = mixed(hashes[0], word);
  }
}

/* Look at a (h, w) plane whose rows follow one another.

   out: sum, sum of squares, how many are at least `white`, sum and sum of squares of the Laplacian
       (four neighbours, mirrored at the edges), and a hash of the pixels. */
API void rille_look(const u8 *plane, i64 h, i64 w, u32 white, i64 *out) {
  Sums sums = {0, 0, 0, 0, 0};
  u64 hashes[4] = {0, 1, 2, 3};
  for (i64 y = 0; y < h; y++) {
    const u8 *p = plane + y * w;
    const u8 *above = y ? p - w : p, *below = y + 1 < h ? p + w : p;
    if (!y && h > 1) above = below;
    if (y + 1 == h) below = above;
    add_edge(&sums, p[0], p[w > 1], above[0], below[0], white);
    for (i64 x = 1; x < w - 1; x += STRETCH)
      add(&sums, p + x, above + x, below + x, w - 1 - x < STRETCH ? w - 1 - x : STRETCH, white);
    if (w > 1) add_edge(&sums, p[w - 1], p[w - 2], above[w - 1], below[w - 1], white);
    mix_row(hashes, p, w);
  }
  memcpy(out, &sums, sizeof sums);
  for (int k = 1; k < 4; k++) hashes[0] = mixed(hashes[0], hashes[k]);
  out[5] = (i64)hashes[0];
}

/* From a segmenter's stored numbers to a mask and its connected regions. */
#include "kernels.h"

/* The first channel of the largest number for each of n cells, c of them stored one after the other.
   flip: 128 for int8, 0 for uint8. */
API void rille_largest_8(const u8 *restrict raw, i64 n, i64 c, u8 flip, u8 *restrict out) {
  /* The number above, its channel below, counted backwards: the largest of both is what is asked. */
#define BEST(C)                                                                  \
  for (i64 i = 0; i < n; i++) {                                                  \
    u32 best = 0;                                                                \
    for (u32 k = 0; k < (u32)(C); k++) {                                         \
      const u32 this = (u32)(raw[i * (C) + k] ^ flip) << 8 | (255 - k);          \
      best = this > best ? this : best;                                          \
    }                                                                            \
    out[i] = (u8)(255 - (best & 255));                                           \
  }
  if (c == 6) { /* a constant lets the compiler keep all of it in registers */
    BEST(6)
  } else {
    BEST(c)
  }
#undef BEST
}

/* The same for float32, none of which is NaN. */
API void rille_largest_f(const float *restrict raw, i64 n, i64 c, u8 *restrict out) {
  for (i64 i = 0; i < n; i++) {
    i64 best = 0;
    for (i64 k = 1; k < c; k++) best = raw[i * c + k] > raw[i * c + best] ? k : best;
    out[i] = (u8)best;
  }
}

/* How many of n cells have each value; out: 256 numbers. Neighbours are mostly equal: eight are asked
   at once whether they are as those before. */
API void rille_counts(const u8 *mask, i64 n, i64 *out) {
  const u64 each = 0x0101010101010101u;
  u32 found[4][256];
  memset(found, 0, sizeof found);
  i64 i = 0, run = 0;
  u8 value = 0;
  for (; i + 8 <= n; i += 8) {
    u64 eight;
    memcpy(&eight, mask + i, 8);
    if (eight == value * each) {
      run += 8;
      continue;
    }
    found[0][value] += (u32)run;
    run = 0;
    value = mask[i + 7];
    for (int k = 0; k < 8; k++) found[k & 3][mask[i + k]]++;
  }
  for (; i < n; i++) found[0][mask[i]]++;
  found[0][value] += (u32)run;
  for (int k = 0; k < 256; k++) out[k] = (i64)found[0][k] + found[1][k] + found[2][k] + found[3][k];
}

/* The probability of what the mask says, for each cell whose value is wanted; other cells stay as
   they are. table: 256 numbers, by the byte stored: of one channel the probability itself, of
   several the powers of which it is a share. wanted: 256 flags. */
API void rille_shares_8(const u8 *raw, i64 n, i64 c, const u8 *mask, const u8 *wanted, const double *table,
                        double *out) {
  for (i64 i = 0; i < n; i++) {
    if (!wanted[mask[i]]) continue;
    const u8 *p = raw + i * c;
    if (c == 1) {
      out[i] = table[p[0]];
      continue;
    }
    double sum = 0.0;
    for (i64 k = 0; k < c; k++) sum += table[p[k]];
    out[i] = table[p[mask[i]]] / sum;
  }
}

/* A run: cells of one value next to one another in a row, from first to last. `leader` is the run
   itself or one before it in the same region; `region` is the region's number. */
typedef struct {
  i32 row, first, last, value, leader, region;
} Run;

static i32 leader_of(Run *runs, i32 k) {
  while (runs[k].leader != k) k = runs[k].leader = runs[runs[k].leader].leader;
  return k;
}

static void join(Run *runs, i32 a, i32 b) {
  a = leader_of(runs, a);
  b = leader_of(runs, b);
  if (a < b)
    runs[b].leader = a;
  else
    runs[a].leader = b;
}

/* Find the runs of one row and join each with those above that touch it, corners included. Those of
   the row above are runs[above] to runs[end - 1]; returns where these end. */
static i32 runs_of(const u8 *cells, i32 row, i32 w, const u8 *wanted, Run *runs, i32 above, const i32 end) {
  i32 next = end;
  for (i32 x = 0; x < w;) {
    const u8 value = cells[x];
    const i32 first = x;
    while (x < w && cells[x] == value) x++;
    if (!wanted[value]) continue;
    runs[next] = (Run){row, first, x - 1, value, next, 0};
    while (above < end && runs[above].last + 1 < first) above++;
    for (i32 k = above; k < end && runs[k].first <= x; k++)
      if (runs[k].value == value) join(runs, k, next);
    next++;
  }
  return next;
}

/* Find the regions of equal values that touch, corners included, in the order of their first cells.

   mask: (h, w), rows following one another. wanted: 256 flags. runs: memory for h * w.
   Returns the number of runs in the low and that of regions in the high 32 bits. */
API i64 rille_regions(const u8 *mask, i64 h, i64 w, const u8 *wanted, Run *runs) {
  i32 above = 0, end = 0;
  for (i64 y = 0; y < h; y++) {
    const i32 next = runs_of(mask + y * w, (i32)y, (i32)w, wanted, runs, above, end);
    above = end;
    end = next;
  }
  i32 regions = 0;
  for (i32 k = 0; k < end; k++) { /* a leader comes before those that it leads */
    const i32 leader = leader_of(runs, k);
    runs[k].region = leader == k ? regions++ : runs[leader].region;
  }
  return (i64)regions << 32 | end;
}

/* Add up over the cells of each region.

   runs, n: what rille_regions found. shares: a number for each cell, w of them in a row.
   sums: for each region cells, x, y, x * x, y * y, x * y, all 0 before. share: for each region the
       sum of its cells' shares, 0 before. value: for each region its cells' value. */
API void rille_sums(const Run *runs, i64 n, const double *shares, i64 w, i64 *sums, double *share, i32 *value) {
  for (i64 k = 0; k < n; k++) {
    const Run run = runs[k];
    i64 *to = sums + 6 * (i64)run.region;
    i64 x_sum = 0, xx_sum = 0;
    const i64 y = run.row, length = run.last - run.first + 1;
    for (i64 x = run.first; x <= run.last; x++) {
      x_sum += x;
      xx_sum += x * x;
      share[run.region] += shares[y * w + x];
    }
    to[0] += length;
    to[1] += x_sum;
    to[2] += y * length;
    to[3] += xx_sum;
    to[4] += y * y * length;
    to[5] += y * x_sum;
    value[run.region] = run.value;
  }
}

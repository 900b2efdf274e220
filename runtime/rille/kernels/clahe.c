/* Contrast-limited adaptive histogram equalisation (Zuiderveld 1994), in the steps of OpenCV's
   clahe.cpp, each rounded by itself. */
#include "kernels.h"

typedef float f32x8 __attribute__((vector_size(32)));
typedef u32 u32x8 __attribute__((vector_size(32)));
typedef i32 i32x8 __attribute__((vector_size(32)));
typedef u8 u8x8 __attribute__((vector_size(8)));

enum { LEVELS = 256 };

/* The place among n that one at or beyond the end is mirrored to, about the last one and the first. */
static i64 mirrored(i64 at, i64 n) {
  if (n == 1) return 0;
  while (at < 0 || at >= n) at = at < 0 ? -at : 2 * n - 2 - at;
  return at;
}

/* Count the levels of one tile; beyond its lower and right edge the image is mirrored. */
static void count(const u8 *src, i64 h, i64 w, i64 top, i64 left, i64 th, i64 tw, i32 *found) {
  u32 n[4][LEVELS]; /* four, so that equal neighbours do not wait for one another */
  memset(n, 0, sizeof n);
  for (i64 y = top; y < top + th; y++) {
    const u8 *p = src + mirrored(y, h) * w;
    const i64 end = left + tw, inside = end < w ? end : w;
    i64 x = left;
    for (; x + 4 <= inside; x += 4) {
      n[0][p[x]]++;
      n[1][p[x + 1]]++;
      n[2][p[x + 2]]++;
      n[3][p[x + 3]]++;
    }
    for (; x < inside; x++) n[0][p[x]]++;
    for (; x < end; x++) n[0][p[mirrored(x, w)]]++;
  }
  for (int k = 0; k < LEVELS; k++) found[k] = (i32)(n[0][k] + n[1][k] + n[2][k] + n[3][k]);
}

/* Round a number from 0 to 255, half to even: adding 1.5 * 2**23 leaves it in the low bits. */
static u32 rounded(float v) {
  const float shifted = v + 12582912.0f;
  u32 bits;
  memcpy(&bits, &shifted, sizeof bits);
  return bits & 255;
}

/* Cut a histogram at the limit, spread what was cut evenly, and write what becomes of each level. */
static void equalize(i32 *counts, i32 limit, float scale, u8 *table) {
  i32 cut = 0;
  for (int k = 0; k < LEVELS; k++) {
    i32 over = counts[k] > limit ? counts[k] - limit : 0;
    counts[k] -= over;
    cut += over;
  }
  const i32 each = cut / LEVELS;
  i32 rest = cut % LEVELS;
  const i32 step = rest ? LEVELS / rest : LEVELS;
  for (i32 k = 0; k < LEVELS && rest > 0; k += step, rest--) counts[k]++;
  i32 sum = 0;
  for (int k = 0; k < LEVELS; k++) counts[k] = sum += counts[k] + each;
  for (int k = 0; k < LEVELS; k++) {
    const float level = (float)counts[k] * scale;
    table[k] = (u8)rounded(level > 255.0f ? 255.0f : level);
  }
}

/* For each gap between tiles along a row of them: level -> what the four tiles around make of it. */
static void around(const u8 *tables, i64 tiles, i32 row, u32 *packed) {
  const i64 upper = row < 0 ? 0 : row, lower = row + 1 < tiles ? row + 1 : tiles - 1;
  for (i64 gap = 0; gap <= tiles; gap++) {
    const i64 left = gap ? gap - 1 : 0, right = gap < tiles ? gap : tiles - 1;
    const u8 *p = tables + (upper * tiles + left) * LEVELS, *q = tables + (upper * tiles + right) * LEVELS;
    const u8 *r = tables + (lower * tiles + left) * LEVELS, *s = tables + (lower * tiles + right) * LEVELS;
    u32 *four = packed + gap * LEVELS;
    for (int k = 0; k < LEVELS; k++) four[k] = p[k] | (u32)q[k] << 8 | (u32)r[k] << 16 | (u32)s[k] << 24;
  }
}

/* Mix, for n pixels of a row, what four tiles make of them: `across` and `down` are the parts of the
   right and of the lower ones. */
static void mix(const u8 *in, i64 n, const u32 *four, const float *across, float down, u8 flip, u8 *out) {
  const float up = 1.0f - down;
  i64 x = 0;
  for (; x + 8 <= n; x += 8) {
    const u8 *p = in + x;
    u32x8 v = {four[p[0]], four[p[1]], four[p[2]], four[p[3]], four[p[4]], four[p[5]], four[p[6]], four[p[7]]};
    f32x8 right;
    memcpy(&right, across + x, sizeof right);
    f32x8 left = 1.0f - right;
    f32x8 a = __builtin_convertvector((i32x8)(v & 255), f32x8), b = __builtin_convertvector((i32x8)(v >> 8 & 255), f32x8);
    f32x8 c = __builtin_convertvector((i32x8)(v >> 16 & 255), f32x8), d = __builtin_convertvector((i32x8)(v >> 24), f32x8);
    f32x8 mixed = (a * left + b * right) * up + (c * left + d * right) * down;
    /* Adding 1.5 * 2**23 rounds to the nearest, half to even, and leaves the number in the low bits. */
    u8x8 levels = __builtin_convertvector((u32x8)(mixed + 12582912.0f) & 255, u8x8) ^ flip;
    memcpy(out + x, &levels, sizeof levels);
  }
  for (; x < n; x++) {
    const u32 v = four[in[x]];
    const float right = across[x], left = 1.0f - right;
    float upper = (float)(v & 255) * left + (float)(v >> 8 & 255) * right;
    float lower = (float)(v >> 16 & 255) * left + (float)(v >> 24) * right;
    out[x] = (u8)__builtin_rintf(upper * up + lower * down) ^ flip;
  }
}

/* Even out a grey image.

   h, w: of src, whose rows follow one another. tiles: along each axis, of th x tw pixels each; the
       image is mirrored where they reach beyond it. limit: most pixels of one level in a tile.
   rows, down: for each row the row of tiles whose centres are above it (-1: none), and the part of
       the next one. gaps: tiles + 2 columns, where each gap between centres begins, and the end.
   across: for each column the part of the tile to the right.
   tables: tiles * tiles * 256 bytes, packed: (tiles + 1) * 256 numbers of scratch.
   flip, stride, out: as in rille_resize. */
API void rille_clahe(const u8 *src, i64 h, i64 w, i64 tiles, i64 th, i64 tw, i32 limit, const i32 *rows,
                     const float *down, const i32 *gaps, const float *across, u8 *tables, u32 *packed, u8 flip,
                     i64 stride, u8 *out) {
  const float scale = 255.0f / (float)(th * tw);
  for (i64 row = 0; row < tiles; row++)
    for (i64 column = 0; column < tiles; column++) {
      i32 counts[LEVELS];
      count(src, h, w, row * th, column * tw, th, tw, counts);
      equalize(counts, limit, scale, tables + (row * tiles + column) * LEVELS);
    }
  i32 before = -2;
  for (i64 y = 0; y < h; y++) {
    if (rows[y] != before) around(tables, tiles, before = rows[y], packed);
    for (i64 gap = 0; gap <= tiles; gap++) {
      const i64 x = gaps[gap], at = y * w + x;
      mix(src + at, gaps[gap + 1] - x, packed + gap * LEVELS, across + x, down[y], flip, out + y * stride + x);
    }
  }
}

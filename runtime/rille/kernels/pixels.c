/* Colour and size of 8-bit images. */
#include "kernels.h"

/* BT.601 luma of n red-first pixels, weights in 1/32768, as OpenCV's. */
API void rille_gray(const u8 *restrict rgb, i64 n, u8 *restrict out) {
  i64 i = 0;
#if defined(__AVX2__)
  const __m256i reds_greens = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1));
  const __m256i blues = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1));
  const __m256i red_green = _mm256_set1_epi32(19235 << 16 | 9798), blue = _mm256_set1_epi32(3735);
  const __m256i half = _mm256_set1_epi32(16384);
  for (; i + 18 <= n; i += 16) { /* reads four times 16 bytes, of which 12 count */
    __m256i sums[2];
    for (int k = 0; k < 2; k++) {
      const __m128i *p = (const __m128i *)(rgb + 3 * i + 24 * k), *q = (const __m128i *)(rgb + 3 * i + 24 * k + 12);
      const __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(p)), _mm_loadu_si128(q), 1);
      const __m256i two = _mm256_madd_epi16(_mm256_shuffle_epi8(v, reds_greens), red_green);
      const __m256i third = _mm256_madd_epi16(_mm256_shuffle_epi8(v, blues), blue);
      sums[k] = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(two, third), half), 15);
    }
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(sums[0], sums[1]), 0xD8);
    const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0xD8);
    _mm_storeu_si128((__m128i *)(out + i), _mm256_castsi256_si128(bytes));
  }
#endif
  for (; i < n; i++)
    out[i] = (u8)((rgb[3 * i] * 9798u + rgb[3 * i + 1] * 19235u + rgb[3 * i + 2] * 3735u + 16384u) >> 15);
}

/* One row of averages of two by two pixels, of rows a and b; w is the width of what comes out. */
static void halve_1(const u8 *restrict a, const u8 *restrict b, i64 w, u8 *restrict out) {
  for (i64 x = 0; x < w; x++)
    out[x] = (u8)((a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1] + 2) >> 2);
}

static void halve_3(const u8 *restrict a, const u8 *restrict b, i64 w, u8 *restrict out) {
  i64 x = 0;
#if defined(__SSSE3__)
  const __m128i pairs = _mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1);
  const __m128i ones = _mm_set1_epi8(1), two = _mm_set1_epi16(2);
  for (; x + 4 <= w; x += 2) { /* reads 16 bytes, of which 12 count, and writes 8, of which 6 */
    __m128i p = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(a + 6 * x)), pairs);
    __m128i q = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(b + 6 * x)), pairs);
    __m128i s = _mm_add_epi16(_mm_maddubs_epi16(p, ones), _mm_maddubs_epi16(q, ones));
    s = _mm_srli_epi16(_mm_add_epi16(s, two), 2);
    _mm_storel_epi64((__m128i *)(out + 3 * x), _mm_packus_epi16(s, s));
  }
#elif defined(__ARM_NEON)
  for (; x + 8 <= w; x += 8) {
    uint8x16x3_t p = vld3q_u8(a + 6 * x), q = vld3q_u8(b + 6 * x);
    uint8x8x3_t r;
    for (int c = 0; c < 3; c++)
      r.val[c] = vrshrn_n_u16(vpadalq_u8(vpaddlq_u8(p.val[c]), q.val[c]), 2);
    vst3_u8(out + 3 * x, r);
  }
#endif
  for (; x < w; x++)
    for (int c = 0; c < 3; c++)
      out[3 * x + c] = (u8)((a[6 * x + c] + a[6 * x + 3 + c] + b[6 * x + c] + b[6 * x + 3 + c] + 2) >> 2);
}

/* Averages of two by two pixels; h and w are even, c is 1 or 3. */
API void rille_halve(const u8 *src, i64 h, i64 w, i64 c, u8 *out) {
  for (i64 y = 0; y < h / 2; y++) {
    const u8 *a = src + 2 * y * w * c, *b = a + w * c;
    if (c == 1)
      halve_1(a, b, w / 2, out + y * (w / 2));
    else
      halve_3(a, b, w / 2, out + y * (w / 2) * 3);
  }
}

/* Say for each eight of n columns where, in 16 bytes from the first's own place on, the two neighbours of
   each lie: 16 numbers. Return for how many columns that can be said. */
static i64 places(const i32 *restrict at, i64 n, u8 *restrict where) {
  i64 x = 0;
  for (; x + 8 <= n && at[x + 7] - at[x] <= 14; x += 8)
    for (int k = 0; k < 8; k++) {
      where[2 * (x + k)] = (u8)(at[x + k] - at[x]);
      where[2 * (x + k) + 1] = (u8)(at[x + k] - at[x] + 1);
    }
  return x;
}

/* Mix neighbours in a row: at says, for each of n columns that come out, the first of the two, and
   parts 2048 times the part of each. What is written is 128 times the pixels.

   where: of the first `near` columns, see above. */
static void across_1(const u8 *restrict row, i64 w, const i32 *restrict at, const i16 *restrict parts, i64 n,
                     const u8 *restrict where, i64 near, i16 *restrict out) {
  i64 x = 0;
#if defined(__SSE2__)
  const __m128i zero = _mm_setzero_si128();
  for (; x + 8 <= n && at[x + 7] + 2 <= w; x += 8) {
    __m128i v;
#if defined(__SSSE3__)
    if (x < near && at[x] + 16 <= w)
      v = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(row + at[x])), _mm_loadu_si128((const __m128i *)(where + 2 * x)));
    else
#endif
    {
      u16 both[8];
      for (int k = 0; k < 8; k++) memcpy(both + k, row + at[x + k], 2);
      v = _mm_loadu_si128((const __m128i *)both);
    }
    const __m128i *p = (const __m128i *)(parts + 2 * x);
    __m128i lower = _mm_madd_epi16(_mm_unpacklo_epi8(v, zero), _mm_loadu_si128(p));
    __m128i upper = _mm_madd_epi16(_mm_unpackhi_epi8(v, zero), _mm_loadu_si128(p + 1));
    v = _mm_packs_epi32(_mm_srai_epi32(lower, 4), _mm_srai_epi32(upper, 4));
    _mm_storeu_si128((__m128i *)(out + x), v);
  }
#elif defined(__ARM_NEON)
  for (; x < near && at[x] + 16 <= w; x += 8) {
    uint16x8_t v = vreinterpretq_u16_u8(vqtbl1q_u8(vld1q_u8(row + at[x]), vld1q_u8(where + 2 * x)));
    int16x8x2_t p = vld2q_s16(parts + 2 * x);
    int16x8_t a = vreinterpretq_s16_u16(vandq_u16(v, vdupq_n_u16(255))), b = vreinterpretq_s16_u16(vshrq_n_u16(v, 8));
    int32x4_t lower = vmlal_s16(vmull_s16(vget_low_s16(a), vget_low_s16(p.val[0])), vget_low_s16(b), vget_low_s16(p.val[1]));
    int32x4_t upper = vmlal_high_s16(vmull_high_s16(a, p.val[0]), b, p.val[1]);
    vst1q_s16(out + x, vcombine_s16(vshrn_n_s32(lower, 4), vshrn_n_s32(upper, 4)));
  }
#endif
  (void)where, (void)near;
  for (; x < n; x++) {
    const u8 *p = row + at[x];
    const i32 second = parts[2 * x + 1] ? p[1] * parts[2 * x + 1] : 0;
    out[x] = (i16)((p[0] * parts[2 * x] + second) >> 4);
  }
}

/* The same for three channels; up to one number more than 3 * n is written. */
static void across_3(const u8 *restrict row, i64 w, const i32 *restrict at, const i16 *restrict parts, i64 n,
                     i16 *restrict out) {
  i64 x = 0;
  (void)w; /* what reads further than it needs asks where a row ends */
#if defined(__SSSE3__)
  const __m128i pairs = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
  for (; x < n && at[x] + 3 <= w; x++) { /* reads 8 bytes, of which 6 count */
    i32 part;
    memcpy(&part, parts + 2 * x, 4);
    __m128i v = _mm_shuffle_epi8(_mm_loadl_epi64((const __m128i *)(row + 3 * at[x])), pairs);
    v = _mm_srai_epi32(_mm_madd_epi16(v, _mm_set1_epi32(part)), 4);
    _mm_storel_epi64((__m128i *)(out + 3 * x), _mm_packs_epi32(v, v));
  }
#elif defined(__ARM_NEON)
  for (; x < n && at[x] + 3 <= w; x++) {
    int16x8_t v = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(row + 3 * at[x])));
    int32x4_t sum = vmull_n_s16(vget_low_s16(v), parts[2 * x]);
    sum = vmlal_n_s16(sum, vget_low_s16(vextq_s16(v, v, 3)), parts[2 * x + 1]);
    vst1_s16(out + 3 * x, vshrn_n_s32(sum, 4));
  }
#endif
  for (; x < n; x++)
    for (int c = 0; c < 3; c++) {
      const u8 *p = row + 3 * at[x] + c;
      const i32 second = parts[2 * x + 1] ? p[3] * parts[2 * x + 1] : 0;
      out[3 * x + c] = (i16)((p[0] * parts[2 * x] + second) >> 4);
    }
}

/* Bilinear sampling, in the steps of OpenCV's INTER_LINEAR for 8 bits.

   w, c: columns and channels (1 or 3) of src, whose rows follow one another.
   rows, row_parts: for each of h_out rows its two neighbours, and 2048 times the part of each.
   columns: for each of w_out the first of its two neighbours; column_parts as row_parts. A second
       neighbour whose part is 0 need not exist.
   flip: is or-ed exclusively into each byte that comes out; 128 makes it int8 about 128.
   stride: bytes from row to row of out. scratch: 3 * (w_out * c + 8) numbers. */
API void rille_resize(const u8 *src, i64 w, i64 c, const i32 *rows, const i16 *row_parts, i64 h_out,
                      const i32 *columns, const i16 *column_parts, i64 w_out, u8 flip, i64 stride, u8 *out,
                      i16 *scratch) {
  const i64 n = w_out * c;
  i16 *mixed[2] = {scratch, scratch + n + 8};
  i32 held[2] = {-1, -1};
  u8 *const where = (u8 *)(scratch + 2 * (n + 8));
  const i64 near = c == 1 ? places(columns, w_out, where) : 0;
  for (i64 y = 0; y < h_out; y++, out += stride) {
    for (int k = 0; k < 2; k++) {
      const i32 row = rows[2 * y + k];
      if (k == 0 && held[1] == row) { /* the second row before is the first one now */
        i16 *other = mixed[0];
        mixed[0] = mixed[1], mixed[1] = other;
        held[1] = held[0], held[0] = row;
      }
      if (held[k] == row) continue;
      if (c == 1)
        across_1(src + row * w, w, columns, column_parts, w_out, where, near, mixed[k]);
      else
        across_3(src + row * w * 3, w, columns, column_parts, w_out, mixed[k]);
      held[k] = row;
    }
    const i16 *restrict upper = mixed[0], *restrict lower = mixed[1];
    const i16 up = row_parts[2 * y], down = row_parts[2 * y + 1];
    for (i64 x = 0; x < n; x++) {
      const i16 above = (i16)(upper[x] * up >> 16), below = (i16)(lower[x] * down >> 16);
      out[x] = (u8)((i16)(above + below + 2) >> 2) ^ flip;
    }
  }
}

/* Colour and size of 8-bit images. */
#include "kernels.h"

/* BT.601 luma of n red-first pixels, weights in 1/32768, as OpenCV's. */
API void rille_gray(const u8 *restrict rgb, i64 n, u8 *restrict out) {
  for (i64 i = 0; i < n; i++)
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

/* Mix neighbours in a row that was mixed from two: t holds 256 times the pixels. at and share say,
   for each column that comes out, the first of the two neighbours and 256 times the other's part. */
static void across_1(const u16 *restrict t, const i32 *restrict at, const u16 *restrict share, i64 n, u8 flip,
                     u8 *restrict out) {
  i64 x = 0;
#if defined(__SSSE3__)
  /* Products are signed there: 32768 is taken off before and its part put back after. */
  const __m128i bias = _mm_set1_epi16(-32768), back = _mm_set1_epi32(32768 * 256 + 32768);
  const __m128i full = _mm_set1_epi16(256), turn = _mm_set1_epi8((char)flip);
  for (; x + 8 <= n; x += 8) {
    u32 both[8];
    for (int k = 0; k < 8; k++) memcpy(both + k, t + at[x + k], 4);
    __m128i m = _mm_loadu_si128((const __m128i *)(share + x)), l = _mm_sub_epi16(full, m);
    __m128i v = _mm_xor_si128(_mm_loadu_si128((const __m128i *)both), bias);
    __m128i u = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(both + 4)), bias);
    v = _mm_srli_epi32(_mm_add_epi32(_mm_madd_epi16(v, _mm_unpacklo_epi16(l, m)), back), 16);
    u = _mm_srli_epi32(_mm_add_epi32(_mm_madd_epi16(u, _mm_unpackhi_epi16(l, m)), back), 16);
    v = _mm_packs_epi32(v, u);
    _mm_storel_epi64((__m128i *)(out + x), _mm_xor_si128(_mm_packus_epi16(v, v), turn));
  }
#elif defined(__ARM_NEON)
  for (; x + 8 <= n; x += 8) {
    u16 pairs[16];
    for (int k = 0; k < 8; k++) memcpy(pairs + 2 * k, t + at[x + k], 4);
    uint16x8x2_t v = vld2q_u16(pairs);
    uint16x8_t m = vld1q_u16(share + x), l = vsubq_u16(vdupq_n_u16(256), m);
    uint32x4_t p = vmlal_u16(vmull_u16(vget_low_u16(v.val[0]), vget_low_u16(l)), vget_low_u16(v.val[1]), vget_low_u16(m));
    uint32x4_t q = vmlal_high_u16(vmull_high_u16(v.val[0], l), v.val[1], m);
    uint8x8_t r = vmovn_u16(vcombine_u16(vrshrn_n_u32(p, 16), vrshrn_n_u32(q, 16)));
    vst1_u8(out + x, veor_u8(r, vdup_n_u8(flip)));
  }
#endif
  for (; x < n; x++) {
    const u16 *p = t + at[x];
    out[x] = (u8)((p[0] * (256u - share[x]) + p[1] * (u32)share[x] + 32768u) >> 16) ^ flip;
  }
}

static void across_3(const u16 *restrict t, const i32 *restrict at, const u16 *restrict share, i64 n, u8 flip,
                     u8 *restrict out) {
  i64 x = 0;
#if defined(__SSSE3__)
  const __m128i pairs = _mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1);
  const __m128i third = _mm_setr_epi8(2, 6, 10, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m128i bias = _mm_set1_epi16(-32768), back = _mm_set1_epi32(32768 * 256 + 32768);
  const u32 turn = flip * 0x01010101u;
  for (; x + 1 < n; x++) { /* writes 4 bytes, of which 3 count */
    __m128i v = _mm_loadu_si128((const __m128i *)(t + 3 * at[x]));
    u32 parts = (256u - share[x]) | (u32)share[x] << 16;
    v = _mm_madd_epi16(_mm_xor_si128(_mm_shuffle_epi8(v, pairs), bias), _mm_set1_epi32((int)parts));
    v = _mm_shuffle_epi8(_mm_add_epi32(v, back), third);
    u32 pixel = (u32)_mm_cvtsi128_si32(v) ^ turn;
    memcpy(out + 3 * x, &pixel, 4);
  }
#elif defined(__ARM_NEON)
  for (; x + 1 < n; x++) {
    uint16x8_t v = vld1q_u16(t + 3 * at[x]);
    uint32x4_t sum = vmull_n_u16(vget_low_u16(v), (u16)(256 - share[x]));
    sum = vmlal_n_u16(sum, vget_low_u16(vextq_u16(v, v, 3)), share[x]);
    uint16x4_t whole = vrshrn_n_u32(sum, 16);
    uint8x8_t r = veor_u8(vmovn_u16(vcombine_u16(whole, whole)), vdup_n_u8(flip));
    vst1_lane_u32((u32 *)(void *)(out + 3 * x), vreinterpret_u32_u8(r), 0);
  }
#endif
  for (; x < n; x++)
    for (int c = 0; c < 3; c++) {
      const u16 *p = t + 3 * at[x] + c;
      out[3 * x + c] = (u8)((p[0] * (256u - share[x]) + p[3] * (u32)share[x] + 32768u) >> 16) ^ flip;
    }
}

/* Bilinear sampling with weights in 1/256 and one rounding, as OpenCV's INTER_LINEAR_EXACT.

   w, c: columns and channels (1 or 3) of src, whose rows follow one another.
   rows, row_share, columns, column_share: for each of h_out and w_out the first of its two
       neighbours, and 256 times the other's part; where that is 0 the other need not exist.
   flip: is or-ed exclusively into each byte that comes out; 128 makes it int8 about 128.
   stride: bytes from row to row of out. scratch: w * c + 16 numbers. */
API void rille_resize(const u8 *src, i64 w, i64 c, const i32 *rows, const u16 *row_share, i64 h_out,
                      const i32 *columns, const u16 *column_share, i64 w_out, u8 flip, i64 stride, u8 *out,
                      u16 *restrict scratch) {
  memset(scratch + w * c, 0, 16 * sizeof *scratch);
  for (i64 y = 0; y < h_out; y++, out += stride) {
    const u8 *restrict a = src + rows[y] * w * c;
    const u8 *restrict b = row_share[y] ? a + w * c : a;
    const u16 m = row_share[y], l = (u16)(256 - m);
    for (i64 x = 0; x < w * c; x++) scratch[x] = (u16)(a[x] * l + b[x] * m);
    if (c == 1)
      across_1(scratch, columns, column_share, w_out, flip, out);
    else
      across_3(scratch, columns, column_share, w_out, flip, out);
  }
}

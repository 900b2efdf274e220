/* How far a network's features go along known directions: exact sums of products. */
#include "kernels.h"

enum { STRETCH = 128 }; /* numbers whose products add up to less than 2^31: 128 * 255 * 32768 */

/* Multiply n stored numbers, less their zero point, by each of k rows and by themselves.

   flip: 128 for int8, 0 for uint8; zero: the zero point, flipped likewise.
   sums: one for each row, and one for the numbers themselves. */
API void rille_products_8(const u8 *stored, i64 n, u8 flip, u8 zero, const i16 *rows, i64 k, i64 *sums) {
  memset(sums, 0, (size_t)(k + 1) * sizeof *sums);
  for (i64 first = 0; first < n; first += STRETCH) {
    const i64 length = n - first < STRETCH ? n - first : STRETCH;
    i16 x[STRETCH];
    for (i64 i = 0; i < length; i++) x[i] = (i16)((u8)(stored[first + i] ^ flip) - zero);
    for (i64 row = 0; row <= k; row++) {
      const i16 *by = row < k ? rows + row * n + first : x;
      i32 sum = 0;
      for (i64 i = 0; i < length; i++) sum += (i32)x[i] * by[i];
      sums[row] += sum;
    }
  }
}

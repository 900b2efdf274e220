/* From the regions of a mask to ellipses, and from ellipses to those that are published. */
#include "kernels.h"

/* An ellipse found: value of the mask, centre (x, y), variances and covariance of its points (xx, yy,
   xy), score. */
enum { VALUE, X, Y, XX, YY, XY, SCORE, FOUND };

/* Describe n regions by the ellipses of the same second moments, with the mean of their cells' shares.

   sums, share, value: as rille_sums gives them. gx, gy: network pixels in a cell. */
API void rille_spread(const i64 *restrict sums, const double *restrict share, const i32 *restrict value, i64 n,
                      double gx, double gy, double *restrict found) {
  for (i64 k = 0; k < n; k++) {
    const i64 *sum = sums + 6 * k; /* whole numbers far below 2**53: the same in any order */
    const double count = (double)sum[0], x = (double)sum[1] / count, y = (double)sum[2] / count;
    double *to = found + FOUND * k;
    to[VALUE] = value[k];
    to[X] = (x + 0.5) * gx - 0.5;
    to[Y] = (y + 0.5) * gy - 0.5;
    /* A cell is a rectangle, not a point: its own variance is a twelfth of its squared side. */
    to[XX] = ((double)sum[3] / count - x * x + 1.0 / 12.0) * (gx * gx);
    to[YY] = ((double)sum[4] / count - y * y + 1.0 / 12.0) * (gy * gy);
    to[XY] = ((double)sum[5] / count - x * y) * (gx * gy);
    to[SCORE] = share[k] / count;
  }
}

/* Put the rows of `order` into the order of their scores, the best first, equal ones as they were.
   spare: memory for as many. Returns where they then are: in `order` or in `spare`. */
static i64 *sorted(const double *found, i64 *order, i64 *spare, i64 n) {
  for (i64 length = 1; length < n; length *= 2) {
    for (i64 first = 0; first < n; first += 2 * length) {
      const i64 middle = first + length < n ? first + length : n;
      const i64 end = first + 2 * length < n ? first + 2 * length : n;
      i64 a = first, b = middle;
      for (i64 k = first; k < end; k++) {
        const int later = a == middle || (b < end && found[FOUND * order[b] + SCORE] > found[FOUND * order[a] + SCORE]);
        spare[k] = later ? order[b++] : order[a++];
      }
    }
    i64 *other = order;
    order = spare, spare = other;
  }
  return order;
}

/* Choose among n ellipses in network pixels those that are sure and large enough and centred in the
   source image, and return them in its pixels, the best first.

   source: what a network pixel is wide and high there, where network pixel 0 lies, and how wide and
   high the image is. order: memory for 2 * n numbers. Returns how many there are. */
API i64 rille_chosen(const double *restrict found, i64 n, double score, double diameter, const double *source,
                     i64 *order, double *restrict chosen) {
  const double sx = source[0], sy = source[1];
  i64 fits = 0;
  for (i64 k = 0; k < n; k++) {
    const double *one = found + FOUND * k;
    const double area = one[XX] * one[YY] - one[XY] * one[XY];
    const double across = 4.0 * __builtin_sqrt(__builtin_sqrt(area > 0 ? area : 0));
    const double x = one[X] * sx + source[2], y = one[Y] * sy + source[3];
    if (one[SCORE] >= score && across >= diameter && x >= -0.5 && x < source[4] - 0.5 && y >= -0.5 && y < source[5] - 0.5)
      order[fits++] = k;
  }
  const i64 *best = sorted(found, order, order + n, fits);
  for (i64 k = 0; k < fits; k++) {
    const double *one = found + FOUND * best[k];
    double *to = chosen + FOUND * k;
    to[VALUE] = one[VALUE];
    to[X] = one[X] * sx + source[2];
    to[Y] = one[Y] * sy + source[3];
    to[XX] = one[XX] * (sx * sx);
    to[YY] = one[YY] * (sy * sy);
    to[XY] = one[XY] * (sx * sy);
    to[SCORE] = one[SCORE];
  }
  return fits;
}

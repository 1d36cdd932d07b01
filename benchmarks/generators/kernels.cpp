// The five primitives of ops/cfconv in plain C++: the loops of numba_kernels.py, so that only the compiler differs.
//
// Rows are cut into pieces of `step`; a row is computed by one thread, in the order of its pairs, so results do not
// depend on the number of threads. Arguments and shapes are those of atomlens.ops.cfconv.kernels.Kernels.

#include <algorithm>
#include <cstdint>

using Int = std::int32_t;
using Long = std::int64_t;

namespace {

// Every loop over features is marked as free of aliasing; gcc checks at run time otherwise, or gives up.
#define FEATURES _Pragma("omp simd") for (Long f = 0; f < features; ++f)
// The filter of a pair: four neighbouring rows of the table.
#define FILTER(a, c) \
    (a##0 * c[f] + a##1 * c[f + features] + a##2 * c[f + 2 * features] + a##3 * c[f + 3 * features])

template <class Rows> void pieces(Long rows, Long step, int threads, Rows run) {
    const Long count = (rows + step - 1) / step;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (Long piece = 0; piece < count; ++piece) run(piece * step, std::min(rows, (piece + 1) * step));
}

template <class Real>
void convolve(Long rows, Long step, int threads, Long features, const Int* starts, const Int* order, const Int* other,
              const Int* place, const Real* weights, const Real* scale, const Real* x, const Real* table,
              Real* result) {
    pieces(rows, step, threads, [=](Long first, Long last) {
        for (Long i = first; i < last; ++i) {
            Real* out = result + i * features;
            std::fill(out, out + features, Real(0));
            Int q = starts[i];
            const Int end = starts[i + 1];
            for (; q + 1 < end; q += 2) {  // two pairs at a time: half the loads and stores of the sum
                const Long p = order[q], r = order[q + 1];
                const Real s = scale ? scale[p] : Real(1), t = scale ? scale[r] : Real(1);
                const Real *a = weights + 4 * p, *b = weights + 4 * r;
                const Real a0 = s * a[0], a1 = s * a[1], a2 = s * a[2], a3 = s * a[3];
                const Real b0 = t * b[0], b1 = t * b[1], b2 = t * b[2], b3 = t * b[3];
                const Real *c = table + place[p] * features, *d = table + place[r] * features;
                const Real *xj = x + other[p] * features, *xl = x + other[r] * features;
                FEATURES
                    out[f] += xj[f] * FILTER(a, c) + xl[f] * FILTER(b, d);
            }
            if (q < end) {
                const Long p = order[q];
                const Real s = scale ? scale[p] : Real(1);
                const Real* a = weights + 4 * p;
                const Real a0 = s * a[0], a1 = s * a[1], a2 = s * a[2], a3 = s * a[3];
                const Real *c = table + place[p] * features, *xj = x + other[p] * features;
                FEATURES
                    out[f] += xj[f] * FILTER(a, c);
            }
        }
    });
}

template <class Real>
void dot(Long pairs, Long step, int threads, Long features, const Int* centre, const Int* neighbour, const Int* place,
         const Real* weights, const Real* g, const Real* x, const Real* table, Real* out) {
    pieces(pairs, step, threads, [=](Long first, Long last) {
        for (Long p = first; p < last; ++p) {
            const Real* a = weights + 4 * p;
            const Real a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
            const Real *c = table + place[p] * features;
            const Real *gi = g + centre[p] * features, *xj = x + neighbour[p] * features;
            Real total = 0;
#pragma omp simd reduction(+ : total)
            for (Long f = 0; f < features; ++f)
                total += gi[f] * xj[f] * FILTER(a, c);
            out[p] = total;
        }
    });
}

// The sum of two table gradients if `both`, otherwise `slopes` and `y` are null.
template <bool both, class Real>
void table_rows(Long rows, Long step, int threads, Long features, const Int* starts, const Int* order,
                const Int* centre, const Int* neighbour, const Real* weights, const Real* slopes, const Real* scale,
                const Real* g, const Real* x, const Real* y, Real* out) {
    pieces(rows, step, threads, [=](Long first, Long last) {
        std::fill(out + first * features, out + last * features, Real(0));
        for (Long k = std::max(first - 3, Long(0)); k < std::min(last, rows - 3); ++k) {
            const bool inside = k >= first && k + 3 < last;
            Real *o0 = out + k * features, *o1 = o0 + features, *o2 = o1 + features, *o3 = o2 + features;
            for (Int q = starts[k]; q < starts[k + 1]; ++q) {
                const Long p = order[q];
                const Real s = scale ? scale[p] : Real(1), t = both ? Real(1) : s;
                const Real *a = weights + 4 * p, *b = both ? slopes + 4 * p : a;
                const Real *gi = g + centre[p] * features, *xj = x + neighbour[p] * features;
                const Real* yj = both ? y + neighbour[p] * features : xj;
                if (inside) {
                    const Real a0 = t * a[0], a1 = t * a[1], a2 = t * a[2], a3 = t * a[3];
                    const Real b0 = s * b[0], b1 = s * b[1], b2 = s * b[2], b3 = s * b[3];
                    FEATURES {
                        const Real u = gi[f] * xj[f], v = both ? gi[f] * yj[f] : Real(0);
                        o0[f] += both ? a0 * u + b0 * v : a0 * u;
                        o1[f] += both ? a1 * u + b1 * v : a1 * u;
                        o2[f] += both ? a2 * u + b2 * v : a2 * u;
                        o3[f] += both ? a3 * u + b3 * v : a3 * u;
                    }
                    continue;
                }
                for (Long m = std::max(first - k, Long(0)); m < std::min(last - k, Long(4)); ++m) {
                    const Real am = t * a[m], bm = s * b[m];  // rows of another piece are left to it
                    Real* om = out + (k + m) * features;
                    FEATURES
                        om[f] += both ? am * (gi[f] * xj[f]) + bm * (gi[f] * yj[f]) : am * (gi[f] * xj[f]);
                }
            }
        }
    });
}

template <class Real>
void convolve_both(Long rows, Long step, int threads, Long features, const Int* starts, const Int* order,
                   const Int* other, const Int* place, const Real* weights, const Real* slopes, const Real* scale,
                   const Real* x, const Real* y, const Real* table, Real* result) {
    pieces(rows, step, threads, [=](Long first, Long last) {
        for (Long i = first; i < last; ++i) {
            Real* out = result + i * features;
            std::fill(out, out + features, Real(0));
            for (Int q = starts[i]; q < starts[i + 1]; ++q) {
                const Long p = order[q];
                const Real s = scale[p], *a = weights + 4 * p, *b = slopes + 4 * p;
                const Real a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
                const Real b0 = s * b[0], b1 = s * b[1], b2 = s * b[2], b3 = s * b[3];
                const Real *c = table + place[p] * features;
                const Real *xj = x + other[p] * features, *yj = y + other[p] * features;
                FEATURES {
                    const Real c0 = c[f], c1 = c[f + features], c2 = c[f + 2 * features], c3 = c[f + 3 * features];
                    const Real value = a0 * c0 + a1 * c1 + a2 * c2 + a3 * c3;
                    const Real slope = b0 * c0 + b1 * c1 + b2 * c2 + b3 * c3;
                    out[f] += xj[f] * value + yj[f] * slope;
                }
            }
        }
    });
}

// What comes in 64-bit slots: rows, step, threads and features, then addresses of arrays in the order of arguments.
template <class Real> struct Slots {
    const Long* s;
    const Int* whole(int slot) const { return reinterpret_cast<const Int*>(s[slot]); }
    const Real* real(int slot) const { return reinterpret_cast<const Real*>(s[slot]); }
    Real* out(int slot) const { return reinterpret_cast<Real*>(s[slot]); }
};

}  // namespace

#define SIZES s[0], s[1], static_cast<int>(s[2]), s[3]
#define EXPORT(Real, suffix)                                                                                           \
    extern "C" void convolve_##suffix(const Long* s) {                                                                 \
        const Slots<Real> a{s};                                                                                        \
        convolve<Real>(SIZES, a.whole(4), a.whole(5), a.whole(6), a.whole(7), a.real(8), a.real(9), a.real(10),        \
                       a.real(11), a.out(12));                                                                         \
    }                                                                                                                  \
    extern "C" void dot_##suffix(const Long* s) {                                                                      \
        const Slots<Real> a{s};                                                                                        \
        dot<Real>(SIZES, a.whole(4), a.whole(5), a.whole(6), a.real(7), a.real(8), a.real(9), a.real(10), a.out(11));  \
    }                                                                                                                  \
    extern "C" void table_gradient_##suffix(const Long* s) {                                                           \
        const Slots<Real> a{s};                                                                                        \
        table_rows<false, Real>(SIZES, a.whole(4), a.whole(5), a.whole(6), a.whole(7), a.real(8), nullptr, a.real(9),  \
                                a.real(10), a.real(11), nullptr, a.out(12));                                           \
    }                                                                                                                  \
    extern "C" void convolve_both_##suffix(const Long* s) {                                                            \
        const Slots<Real> a{s};                                                                                        \
        convolve_both<Real>(SIZES, a.whole(4), a.whole(5), a.whole(6), a.whole(7), a.real(8), a.real(9), a.real(10),   \
                            a.real(11), a.real(12), a.real(13), a.out(14));                                            \
    }                                                                                                                  \
    extern "C" void table_gradient_both_##suffix(const Long* s) {                                                      \
        const Slots<Real> a{s};                                                                                        \
        table_rows<true, Real>(SIZES, a.whole(4), a.whole(5), a.whole(6), a.whole(7), a.real(8), a.real(9),            \
                               a.real(10), a.real(11), a.real(12), a.real(13), a.out(14));                             \
    }

EXPORT(float, float32)
EXPORT(double, float64)

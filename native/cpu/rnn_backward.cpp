#include "cpu/rnn_layout.h"

namespace deeprnn::cpu {

using core::Cell;

namespace {

/** A layer's weights transposed and packed, for the products that send gradients back. */
struct PackedTransposed {
  float *W, *R, *Rn = nullptr;

  PackedTransposed(Carver& carve, const KernelTable& k, const StackLayer& l) {
    const size_t joint = l.cell == Cell::gru ? 2 * l.H : l.G * l.H;
    W = carve.take(packedSize(k, l.G * l.H, l.D));
    R = carve.take(packedSize(k, joint, l.H));
    if (l.cell == Cell::gru) Rn = carve.take(packedSize(k, l.H, l.H));
  }

  void fill(ThreadPool& pool, const KernelTable& k, const StackLayer& l, const StackLayerIo& io) const {
    const size_t width = l.G * l.H, joint = l.cell == Cell::gru ? 2 * l.H : width;
    packAll(pool, k, W, io.kernel, 1, width, width, l.D);
    packAll(pool, k, R, io.recurrentKernel, 1, width, joint, l.H);
    if (Rn) packAll(pool, k, Rn, io.recurrentKernel + joint, 1, width, l.H, l.H);
  }
};

struct BackwardScratch {
  float *dh, *dc, *product, *inputMask, *recurrentMask, *row, *held;
  RowCopies copies;
  /** Under zoneout: what goes by a step's cell to h and c of the step before. */
  float *keptH, *keptC;
  size_t rowFloats;

  /** `parts`: threads that share a task's rows. */
  BackwardScratch(Carver& carve, const StackSpec& spec, size_t block, size_t parts)
      : copies(carve, block, widestGates(spec), widest(spec, &StackLayer::H),
               std::max(widest(spec, &StackLayer::D), widest(spec, &StackLayer::H))) {
    const size_t D = widest(spec, &StackLayer::D), H = widest(spec, &StackLayer::H);
    size_t zoned = 0;
    for (const StackLayer& l : spec.layers) {
      if (l.zones()) zoned = std::max(zoned, l.H);
    }
    dh = carve.take(block * H);
    dc = carve.take(block * H);
    product = carve.take(block * H);
    inputMask = carve.take(block * D);
    recurrentMask = carve.take(block * H);
    rowFloats = roundUp(6 * H, 16);
    row = carve.take(rowFloats * parts);
    held = carve.take(block * H);
    keptH = carve.take(block * zoned);
    keptC = carve.take(block * zoned);
  }
};

/** Arrays that the layers share one after another: over `steps` steps, inputs' gradients and squares over
 * all. */
struct SharedScratch {
  float *dGates, *dq, *dInput[2], *maskedX, *maskedH, *transposed, *copies;
  /** The rows that count: of the first step, and of those after it. */
  uint32_t* kept;
  double* squares;

  SharedScratch(Carver& carve, const StackSpec& spec, const KernelTable& k, size_t steps) {
    const size_t all = spec.T * spec.N, rows = steps * spec.N;
    size_t gates = 0, D = 0, H = 0, packed = 0;
    for (const StackLayer& l : spec.layers) {
      gates = std::max(gates, l.G * l.H);
      D = std::max(D, l.D);
      H = std::max(H, l.H);
      packed = std::max(packed, transposedScratch(k, rows, l.G * l.H));
    }
    dGates = carve.take(rows * gates);
    dq = carve.take(rows * H);
    // Layer 0's input gradient goes to the caller, so two buffers of the inner widths are enough.
    for (float*& d : dInput) d = spec.layers.size() > 1 ? carve.take(all * H) : nullptr;
    maskedX = carve.take(rows * D);
    maskedH = carve.take(rows * H);
    transposed = carve.take(packed);
    copies = carve.take(keptScratch(rows, std::max({gates, D, H})));
    kept = reinterpret_cast<uint32_t*>(carve.take(rows));
    squares = reinterpret_cast<double*>(carve.take(2 * all));
  }
};

}  // namespace

/** Steps [first, end). The backward pass goes through such ranges from the last one on. */
struct RnnStack::StepRange {
  size_t first, end;
};

/** Gradients of a range of steps, and memory to make those of weights of them. */
struct RnnStack::StepGradients {
  /** Of the gates' sums [steps, N, G·H], and of the recurrent factor of a GRU's candidate [steps, N, H]. */
  const float *dGates, *dq;
  float *maskedX, *maskedH, *transposed;
  const KeptRows* kept;
};

/** The backward sweep of rows [first, first + count) of the batch through some steps of one layer. */
struct RnnStack::BackwardRows {
  const StackSpec& spec;
  const StackLayer& l;
  const StackLayerIo& io;
  const PackedTransposed& packed;
  const KernelTable& k;
  ThreadPool& pool;
  /** Whether there is one task alone, in which the threads share the products and the rows. */
  bool shared;
  const LayerMasks masks;
  const Renewals renewals;
  const BackwardScratch& tmp;
  const ReserveView r;
  const StepRange& steps;
  /** As StepGradients have them. */
  float *dGates, *dq;
  /** From the layer above, or null. */
  const float* dAbove;
  /** To the layer below [T, N, D], or null. */
  float* dBelow;
  double* squares;
  core::ValidSteps valid;
  bool packsRows;
  size_t first, count;

  void run() const {
    const size_t H = l.H, width = l.G * H;
    const bool top = &l == &spec.layers.back(), bottom = &l == &spec.layers.front();
    const size_t size = count * H;
    if (steps.end == spec.T) {
      if (l.recurrentRate > 0 && !l.stateMaskPerStep)
        masks.recurrent.factors(first * H, size, tmp.recurrentMask);
      if (l.inputRate > 0 && !l.maskPerElement) masks.input.factors(first * l.D, count * l.D, tmp.inputMask);
      start(tmp.dh, io.dhT, size);
      start(tmp.dc, io.dcT, size);
    }
    for (size_t s = steps.end; s-- > steps.first;) {
      const size_t at = s * spec.N + first;
      if (io.dy && (!top || spec.returnSequences)) k.add(tmp.dh, io.dy + at * H, tmp.dh, size);
      if (io.dy && top && !spec.returnSequences && s + 1 == spec.T)
        k.add(tmp.dh, io.dy + first * H, tmp.dh, size);
      if (dAbove) k.add(tmp.dh, dAbove + at * H, tmp.dh, size);
      if (squares) {
        for (size_t n = 0; n < count; ++n) squares[at + n] = k.sumSquares(tmp.dh + n * H, H);
      }
      const ValidRows rows(valid, s, first, count, packsRows ? tmp.copies.places : nullptr);
      const size_t here = at - steps.first * spec.N;
      float *dG = dGates + here * width, *dQ = dq + here * H;
      const float* hPrev = s > 0 ? r.h + (at - spec.N) * H : io.h0 ? io.h0 + first * H : nullptr;
      if (hPrev && l.recurrentRate > 0 && l.stateMaskPerStep)
        masks.recurrent.factors(at * H, rows.live * H, tmp.recurrentMask);
      clear(rows, dG, dQ);
      if (l.zones()) zone(rows, at);
      switch (l.cell) {
        case Cell::simpleRnn:
          forRows(pool, rows.live, H, shared,
                  [&](size_t from, size_t to, size_t) { simple(rows, from, to, at, dG); });
          break;
        case Cell::lstm:
          forRows(pool, rows.live, width, shared, [&](size_t from, size_t to, size_t part) {
            const float* c0 = io.c0 ? io.c0 + first * H : nullptr;
            const float* cPrev = s > 0 ? r.extra + (at - spec.N) * H : c0;
            if (l.variant()) {
              lstm<true>(rows, from, to, rowOf(part), at, cPrev, dG);
            } else {
              lstm<false>(rows, from, to, rowOf(part), at, cPrev, dG);
            }
          });
          break;
        case Cell::gru:
          forRows(pool, rows.live, width, shared, [&](size_t from, size_t to, size_t part) {
            gru(rows, from, to, rowOf(part), at, hPrev, dG, dQ);
          });
          if (!l.resetAfter) resetBefore(rows, at, hPrev, dG);
          break;
      }
      if (hPrev) {
        sendBackValid(rows, dG, dQ);
      } else if (l.cell != Cell::gru) {
        std::memset(tmp.dh, 0, size * sizeof(float));
      }
      if (l.zones()) addKept(rows);
      if (dBelow) input(rows, s, bottom, dG);
    }
    if (steps.first > 0) return;
    if (io.dh0) std::memcpy(io.dh0 + first * H, tmp.dh, size * sizeof(float));
    if (io.dc0) std::memcpy(io.dc0 + first * H, tmp.dc, size * sizeof(float));
  }

  float* rowOf(size_t part) const { return tmp.row + part * tmp.rowFloats; }
  void multiply(const Gemm& g, const ValidRows& rows) const {
    multiplyRows(pool, k, g, shared, rows, tmp.copies);
  }

  void start(float* to, const float* from, size_t size) const {
    if (from) {
      std::memcpy(to, from + first * l.H, size * sizeof(float));
    } else {
      std::memset(to, 0, size * sizeof(float));
    }
  }

  /** Of what reached h_t and c_t, the part of what they kept of the step before is set aside. */
  void zone(const ValidRows& rows, size_t at) const {
    const size_t H = l.H;
    forRows(pool, rows.live, l.G * H, shared, [&](size_t from, size_t to, size_t part) {
      float* share = rowOf(part);
      for (size_t n = from; n < to; ++n) {
        if (!rows.counts(n)) continue;
        if (l.zoneout > 0) {
          renewals.h.shares((at + n) * H, H, share);
          k.renewGrad(share, tmp.dh + n * H, tmp.keptH + n * H, H);
        }
        if (l.cellZoneout > 0) {
          renewals.c.shares((at + n) * H, H, share);
          k.renewGrad(share, tmp.dc + n * H, tmp.keptC + n * H, H);
        }
      }
    });
  }

  void addKept(const ValidRows& rows) const {
    const size_t H = l.H;
    for (size_t n = 0; n < rows.live; ++n) {
      if (!rows.counts(n)) continue;
      if (l.zoneout > 0) k.add(tmp.dh + n * H, tmp.keptH + n * H, tmp.dh + n * H, H);
      if (l.cellZoneout > 0) k.add(tmp.dc + n * H, tmp.keptC + n * H, tmp.dc + n * H, H);
    }
  }

  /** No gradient is sent from rows that do not count. */
  void clear(const ValidRows& rows, float* dG, float* dQ) const {
    if (!rows.valid) return;
    const size_t H = l.H, width = l.G * H;
    for (size_t n = 0; n < count; ++n) {
      if (rows.counts(n)) continue;
      std::memset(dG + n * width, 0, width * sizeof(float));
      if (l.cell == Cell::gru) std::memset(dQ + n * H, 0, H * sizeof(float));
    }
  }

  /** dh_{t−1}. What reached h_t of a row that does not count goes by. */
  void sendBackValid(const ValidRows& rows, const float* dG, const float* dQ) const {
    if (rows.live == 0) return;
    const size_t H = l.H, bytes = rows.live * H * sizeof(float);
    if (rows.valid) std::memcpy(tmp.held, tmp.dh, bytes);
    sendBack(rows, dG, dQ);
    for (size_t n = 0; rows.valid && n < rows.live; ++n) {
      if (!rows.counts(n)) std::memcpy(tmp.dh + n * H, tmp.held + n * H, H * sizeof(float));
    }
  }

  /** dh_{t−1}: what the carried state keeps (GRU, already in tmp.dh) plus the gradient through the products
   * with R. */
  void sendBack(const ValidRows& rows, const float* dG, const float* dQ) const {
    const size_t H = l.H, width = l.G * H, live = rows.live;
    const bool gru = l.cell == Cell::gru;
    Gemm g;
    g.m = live;
    g.n = H;
    g.a1 = dG;
    g.a1Row = width;
    g.k1 = gru ? 2 * H : width;
    g.b1 = packed.R;
    if (gru && l.resetAfter) {
      g.a2 = dQ;
      g.a2Row = H;
      g.k2 = H;
      g.b2 = packed.Rn;
    }
    const bool masked = l.recurrentRate > 0;
    // For a GRU with the reset before the product, tmp.product holds dq ⊙ r, the part of dh̃ that comes
    // through the candidate.
    const bool candidatePart = gru && !l.resetAfter;
    if (candidatePart || masked) {
      g.c = tmp.product;
      g.cRow = H;
      g.accumulate = candidatePart;
      multiply(g, rows);
      if (masked) {
        if (gru) {
          k.multiplyAdd(tmp.product, tmp.recurrentMask, tmp.dh, live * H);
        } else {
          k.multiply(tmp.product, tmp.recurrentMask, tmp.dh, live * H);
        }
      } else {
        k.add(tmp.dh, tmp.product, tmp.dh, live * H);
      }
      return;
    }
    g.c = tmp.dh;
    g.cRow = H;
    g.accumulate = gru;
    multiply(g, rows);
  }

  /** dx_t = dGates·Wᵀ ⊙ m_in, where x_t lies. */
  void input(const ValidRows& rows, size_t s, bool bottom, const float* dG) const {
    const size_t t = bottom && spec.goBackwards ? spec.T - 1 - s : s;
    float* to = dBelow + (t * spec.N + first) * l.D;
    const size_t before = rows.list ? 0 : rows.live;
    std::memset(to + before * l.D, 0, (count - before) * l.D * sizeof(float));
    if (rows.live == 0) return;
    Gemm g;
    g.m = rows.live;
    g.n = l.D;
    g.a1 = dG;
    g.a1Row = l.G * l.H;
    g.k1 = l.G * l.H;
    g.b1 = packed.W;
    g.c = to;
    g.cRow = l.D;
    multiply(g, rows);
    if (l.inputRate == 0) return;
    if (l.maskPerElement) masks.input.factors((t * spec.N + first) * l.D, count * l.D, tmp.inputMask);
    k.multiply(to, tmp.inputMask, to, count * l.D);
  }

  void simple(const ValidRows& rows, size_t from, size_t to, size_t at, float* dG) const {
    const size_t H = l.H;
    const float* gates = r.gates + at * H;
    for (size_t n = from; n < to; ++n) {
      if (rows.counts(n)) k.activateGrad(l.activation, l.alpha, gates + n * H, tmp.dh + n * H, dG + n * H, H);
    }
  }

  /** `row`: scratch. `kVariant`: with what the layer has beside the usual equations. */
  template <bool kVariant>
  void lstm(const ValidRows& rows, size_t from, size_t to, float* row, size_t at, const float* cPrev,
            float* dG) const {
    const size_t H = l.H;
    const bool peepholes = kVariant && l.peepholes, coupled = kVariant && l.coupledGates;
    // Where the gates begin: i f g o, or f g o.
    const size_t fAt = coupled ? 0 : H, gAt = fAt + H, oAt = gAt + H, width = oAt + H;
    for (size_t n = from; n < to; ++n) {
      if (!rows.counts(n)) continue;
      const float *gates = r.gates + (at + n) * width, *c = (r.made ? r.made : r.extra) + (at + n) * H,
                  *dh = tmp.dh + n * H;
      float *dc = tmp.dc + n * H, *out = dG + n * width;
      const float* i = valueOfKept(k, l.recurrentActivation, l.recurrentAlpha, gates, row, gAt);
      const float* f = i + fAt;
      const float* g = valueOfKept(k, l.activation, l.alpha, gates + gAt, row + gAt, H);
      const float* o = valueOfKept(k, l.recurrentActivation, l.recurrentAlpha, gates + oAt, row + oAt, H);
      float *a = row + 4 * H, *t = row + 5 * H;
      k.activate(l.activation, l.alpha, c, a, H);
      // Gradient of the output gate, then of c through h = o ⊙ a(c).
      k.multiply(dh, a, out + oAt, H);
      k.activateGrad(l.recurrentActivation, l.recurrentAlpha, gates + oAt, out + oAt, out + oAt, H);
      k.multiply(dh, o, t, H);
      k.activateGrad(l.activation, l.alpha, core::derivativeFromInput(l.activation) ? c : a, t, t, H);
      k.add(dc, t, dc, H);
      if (peepholes) k.multiplyAdd(io.peephole + gAt, out + oAt, dc, H);
      if (kVariant && l.cellClip > 0) k.clipGrad(l.cellClip, c, dc, H);
      if (coupled) {
        // c = f ⊙ c_{t−1} + (1 − f) ⊙ g is a GRU's mixture.
        k.gruMixGrad(f, g, cPrev ? cPrev + n * H : nullptr, dc, out, out + gAt, H);
      } else {
        k.multiply(dc, g, out, H);
        if (cPrev) {
          k.multiply(dc, cPrev + n * H, out + H, H);
        } else {
          std::memset(out + H, 0, H * sizeof(float));
        }
        k.multiply(dc, i, out + gAt, H);
        k.multiply(dc, f, dc, H);
      }
      k.activateGrad(l.recurrentActivation, l.recurrentAlpha, gates, out, out, gAt);
      k.activateGrad(l.activation, l.alpha, gates + gAt, out + gAt, out + gAt, H);
      for (size_t gate = 0; peepholes && gate < gAt; gate += H)
        k.multiplyAdd(io.peephole + gate, out + gate, dc, H);
    }
  }

  /** Leaves in tmp.dh what the carried state keeps, dh ⊙ z. */
  void gru(const ValidRows& rows, size_t from, size_t to, float* row, size_t at, const float* hPrev,
           float* dG, float* dqRows) const {
    const size_t H = l.H, width = 3 * H;
    for (size_t n = from; n < to; ++n) {
      if (!rows.counts(n)) continue;
      const float* gates = r.gates + (at + n) * width;
      float *dh = tmp.dh + n * H, *out = dG + n * width;
      const float* z = valueOfKept(k, l.recurrentActivation, l.recurrentAlpha, gates + H, row, H);
      const float* candidate = valueOfKept(k, l.activation, l.alpha, gates + 2 * H, row + H, H);
      k.gruMixGrad(z, candidate, hPrev ? hPrev + n * H : nullptr, dh, out + H, out + 2 * H, H);
      k.activateGrad(l.recurrentActivation, l.recurrentAlpha, gates + H, out + H, out + H, H);
      k.activateGrad(l.activation, l.alpha, gates + 2 * H, out + 2 * H, out + 2 * H, H);
      if (!l.resetAfter) continue;
      // u_n = x W_n + b_n + r ⊙ q
      const float* reset = valueOfKept(k, l.recurrentActivation, l.recurrentAlpha, gates, row, H);
      k.multiply(out + 2 * H, reset, dqRows + n * H, H);
      k.multiply(out + 2 * H, r.extra + (at + n) * H, out, H);
      k.activateGrad(l.recurrentActivation, l.recurrentAlpha, gates, out, out, H);
    }
  }

  /** u_n = x W_n + q R_n + b_n, q = r ⊙ h̃: dq = du_n R_nᵀ, dr = dq ⊙ h̃, and dq ⊙ r goes on to h̃. */
  void resetBefore(const ValidRows& rows, size_t at, const float* hPrev, float* dG) const {
    const size_t H = l.H, width = 3 * H;
    if (hPrev) {
      Gemm g;
      g.m = rows.live;
      g.n = H;
      g.a1 = dG + 2 * H;
      g.a1Row = width;
      g.k1 = H;
      g.b1 = packed.Rn;
      g.c = tmp.product;
      g.cRow = H;
      multiply(g, rows);
    }
    forRows(pool, rows.live, 3 * H, shared, [&](size_t from, size_t to, size_t part) {
      resetGate(rows, from, to, rowOf(part), at, hPrev, dG);
    });
  }

  /** dr from dq in tmp.product, which becomes dq ⊙ r. */
  void resetGate(const ValidRows& rows, size_t from, size_t to, float* row, size_t at, const float* hPrev,
                 float* dG) const {
    const size_t H = l.H, width = 3 * H;
    for (size_t n = from; n < to; ++n) {
      if (!rows.counts(n)) continue;
      float *out = dG + n * width, *product = tmp.product + n * H;
      if (!hPrev) {
        std::memset(out, 0, H * sizeof(float));
        continue;
      }
      const float* gates = r.gates + (at + n) * width;
      const float* reset = valueOfKept(k, l.recurrentActivation, l.recurrentAlpha, gates, row, H);
      k.multiply(product, hPrev + n * H, out, H);
      if (l.recurrentRate > 0) k.multiply(out, tmp.recurrentMask + n * H, out, H);
      k.activateGrad(l.recurrentActivation, l.recurrentAlpha, gates, out, out, H);
      k.multiply(product, reset, product, H);
    }
  }
};

size_t RnnStack::backwardScratch() const {
  Carver carve(nullptr);
  for (const StackLayer& l : spec_.layers) PackedTransposed(carve, k_, l);
  SharedScratch(carve, spec_, k_, stepsBack());
  const size_t tasks = (spec_.N + rowBlock() - 1) / rowBlock();
  const size_t parts = tasks == 1 ? static_cast<size_t>(threads_) : 1;
  for (size_t i = 0; i < tasks; ++i) BackwardScratch(carve, spec_, rowBlock(), parts);
  return carve.used();
}

void RnnStack::backward(const StackIo& io, float* scratch, ThreadPool& pool) const {
  Carver carve(scratch);
  const SharedScratch shared(carve, spec_, k_, stepsBack());
  const size_t block = rowBlock(), tasks = (spec_.N + block - 1) / block, rows = spec_.T * spec_.N;
  float* own = carve.take(0);
  Carver count(nullptr);
  const bool alone = tasks == 1 && threads_ > 1;
  const size_t parts = alone ? static_cast<size_t>(threads_) : 1;
  BackwardScratch(count, spec_, block, parts);
  for (size_t i = 0; i < tasks; ++i) carve.take(count.used());

  const bool keeps = keepsRows(io.valid);
  size_t offset = 0;
  for (const StackLayer& l : spec_.layers) offset += ReserveView::size(l, rows);
  const float* above = nullptr;
  for (size_t i = spec_.layers.size(); i-- > 0;) {
    const StackLayer& l = spec_.layers[i];
    offset -= ReserveView::size(l, rows);
    const ReserveView view(io.reserve + offset, l, rows);
    const PackedTransposed packed(carve, k_, l);
    packed.fill(pool, k_, l, io.layers[i]);
    float* below = i > 0 ? shared.dInput[i % 2] : io.dx;
    // Large kernels meet the rows of all steps at once: at every step they would come from far.
    const bool reversed = i == 0 && spec_.goBackwards;
    const bool atOnce = below && !reversed && l.inputRate == 0 && isLarge(l);
    const float* input = io.x;
    if (i > 0) {
      const StackLayer& lower = spec_.layers[i - 1];
      input = ReserveView(io.reserve + offset - ReserveView::size(lower, rows), lower, rows).h;
    }
    const size_t stride = stepsBack(l), together = stepsTogether();
    for (StepRange steps{0, spec_.T}; steps.end > 0; steps.end = steps.first) {
      steps.first = steps.end > stride ? steps.end - stride : 0;
      pool.parallelFor(tasks, [&](size_t task) {
        Carver mine(own + task * count.used());
        const BackwardScratch tmp(mine, spec_, block, parts);
        const size_t first = task * block;
        BackwardRows{spec_,
                     l,
                     io.layers[i],
                     packed,
                     k_,
                     pool,
                     alone,
                     LayerMasks(spec_, l, io.step),
                     Renewals(spec_, l, io.step),
                     tmp,
                     view,
                     steps,
                     shared.dGates,
                     shared.dq,
                     above,
                     atOnce ? nullptr : below,
                     io.stepNorms ? shared.squares : nullptr,
                     io.valid,
                     packsRows_,
                     first,
                     std::min(block, spec_.N - first)}
            .run();
      });
      if (atOnce) {
        Gemm g;
        g.m = (steps.end - steps.first) * spec_.N;
        g.n = g.cRow = l.D;
        g.a1 = shared.dGates;
        g.a1Row = g.k1 = l.G * l.H;
        g.b1 = packed.W;
        g.c = below + steps.first * spec_.N * l.D;
        gemmAll(pool, k_, g);
      }
      for (StepRange part = steps; part.end > steps.first; part.end = part.first) {
        part.first = std::max(steps.first + together, part.end) - together;
        KeptRows kept[2];
        if (keeps) keepRows(io.valid, part, shared.kept, kept);
        for (KeptRows& k : kept) k.scratch = shared.copies;
        const size_t behind = (part.first - steps.first) * spec_.N;
        const StepGradients gradients{shared.dGates + behind * l.G * l.H,
                                      shared.dq + behind * l.H,
                                      shared.maskedX,
                                      shared.maskedH,
                                      shared.transposed,
                                      kept};
        weightGradients(io, i, input, io.reserve + offset, part, gradients, pool);
      }
    }
    if (io.stepNorms) {
      for (size_t t = 0; t < spec_.T; ++t) {
        double sum = 0;
        for (size_t n = 0; n < spec_.N; ++n) sum += shared.squares[t * spec_.N + n];
        io.stepNorms[i * spec_.normRow() + t] = std::sqrt(sum);
      }
    }
    above = below;
  }
}

/** As many as one packing takes. Sums are made in this order whatever the layer and the number of threads. */
size_t RnnStack::stepsTogether() const {
  return std::min(spec_.T, std::max<size_t>(kDepthBlock / spec_.N, 1));
}

/** Of long sequences as many as go together: their gradients are in a core's cache still when they are
 * packed. Large layers' products with the rows of all steps are cheaper. */
size_t RnnStack::stepsBack(const StackLayer& l) const {
  const bool fits = spec_.T * spec_.N * l.G * l.H <= fewGates_;
  return fits || isLarge(l) ? spec_.T : stepsTogether();
}

size_t RnnStack::stepsBack() const {
  size_t most = 0;
  for (const StackLayer& l : spec_.layers) most = std::max(most, stepsBack(l));
  return most;
}

/** Whether so many rows do not count that it pays to leave them out. */
bool RnnStack::keepsRows(const core::ValidSteps& valid) const {
  // Where products of two rows are added in one step, the rows that are left out would change which two these
  // are.
  if (!valid || k_.precision != Precision::float32 || !packsRows_) return false;
  size_t count = 0;
  for (size_t s = 0; s < spec_.T; ++s) {
    const int32_t* counts = valid.at(s);
    for (size_t n = 0; n < spec_.N; ++n) count += counts[n] != 0;
  }
  return 8 * count <= 7 * spec_.T * spec_.N;
}

/** Lists the rows that count, of the first step of all and of the others. */
void RnnStack::keepRows(const core::ValidSteps& valid, const StepRange& steps, uint32_t* places,
                        KeptRows kept[2]) const {
  size_t count = 0, ofFirst = 0;
  // Those after the first step of all begin with the range, or behind that step.
  const size_t begin = std::max<size_t>(steps.first, 1);
  for (size_t s = steps.first; s < steps.end; ++s) {
    const int32_t* counts = valid.at(s);
    for (size_t n = 0; n < spec_.N; ++n) {
      if (counts[n] != 0) places[count++] = static_cast<uint32_t>((s < begin ? 0 : s - begin) * spec_.N + n);
    }
    if (s == 0) ofFirst = count;
  }
  kept[0].list = places;
  kept[0].count = ofFirst;
  kept[1].list = places + ofFirst;
  kept[1].count = count - ofFirst;
}

void RnnStack::weightGradients(const StackIo& io, size_t index, const float* input, float* reserve,
                               const StepRange& steps, const StepGradients& own, ThreadPool& pool) const {
  const StackLayer& l = spec_.layers[index];
  const StackLayerIo& layer = io.layers[index];
  const size_t N = spec_.N, H = l.H, width = l.G * H, rows = (steps.end - steps.first) * N;
  const LayerMasks masks(spec_, l, io.step);
  const ReserveView r(reserve, l, spec_.T * N);
  const bool reversed = index == 0 && spec_.goBackwards, gru = l.cell == Cell::gru;
  /** Nothing is in the gradients yet. */
  const bool fresh = steps.end == spec_.T;

  const float* x = input + steps.first * N * l.D;
  if (layer.dKernel && (l.inputRate > 0 || reversed)) {
    // x̃ in processing order.
    pool.parallelFor(steps.end - steps.first, [&](size_t i) {
      const size_t s = steps.first + i, t = reversed ? spec_.T - 1 - s : s;
      float* to = own.maskedX + i * N * l.D;
      if (l.inputRate == 0) {
        std::memcpy(to, input + t * N * l.D, N * l.D * sizeof(float));
        return;
      }
      masks.input.factors(l.maskPerElement ? t * N * l.D : 0, N * l.D, to);
      k_.multiply(to, input + t * N * l.D, to, N * l.D);
    });
    x = own.maskedX;
  }
  if (fresh && layer.dRecurrentKernel) std::memset(layer.dRecurrentKernel, 0, H * width * sizeof(float));
  // h̃ before step 0, then before the others.
  const size_t ofFirst = steps.first == 0 ? N : 0;
  const size_t begin = ofFirst > 0 ? 0 : 1;
  for (size_t part = begin; part < 2; ++part) {
    const size_t first = part == 0 ? 0 : ofFirst, count = part == 0 ? N : rows - ofFirst;
    // Of all steps.
    const size_t at = steps.first * N + first;
    const float* before = part == 0 ? layer.h0 : r.h + (at - N) * H;
    const float* h = layer.dRecurrentKernel ? before : nullptr;
    if (h && l.recurrentRate > 0) {
      pool.parallelFor(count / N, [&](size_t s) {
        float* to = own.maskedH + s * N * H;
        masks.recurrent.factors(l.stateMaskPerStep ? (at + s * N) * H : 0, N * H, to);
        k_.multiply(to, before + s * N * H, to, N * H);
      });
      h = own.maskedH;
    }
    float* dR = layer.dRecurrentKernel;
    const float* dG = own.dGates + first * width;
    const KeptRows& kept = own.kept[part];
    TransposedFactor factors[2];
    size_t wanted = 0;
    const bool adds = !fresh || part > begin;
    if (layer.dKernel) factors[wanted++] = {x + first * l.D, l.D, l.D, width, layer.dKernel, width, adds};
    if (h) factors[wanted++] = {h, H, H, gru ? 2 * H : width, dR, width, true};
    if (wanted > 0) gemmTransposed(pool, k_, factors, wanted, dG, width, width, count, own.transposed, kept);
    if (!h || !gru) continue;
    // The recurrent kernel's candidate columns have factors of their own.
    const float* by = l.resetAfter ? h : r.extra + at * H;
    const TransposedFactor candidate = {by, H, H, H, dR + 2 * H, width, true};
    if (l.resetAfter) {
      gemmTransposed(pool, k_, &candidate, 1, own.dq + first * H, H, H, count, own.transposed, kept);
    } else {
      gemmTransposed(pool, k_, &candidate, 1, dG + 2 * H, width, H, count, own.transposed, kept);
    }
  }

  if (layer.dPeephole) {
    // The last row is of o, which saw c after the step; i and f saw it before.
    const size_t count = l.G - 1, at = steps.first * N;
    pool.parallelFor(count, [&](size_t p) {
      float* to = layer.dPeephole + p * H;
      if (fresh) std::memset(to, 0, H * sizeof(float));
      const bool output = p + 1 == count;
      const float* dG = own.dGates + (output ? count : p) * H;
      if (output) {
        const float* c = (r.made ? r.made : r.extra) + at * H;
        return k_.addProductSums(dG, width, c, H, to, rows, H);
      }
      if (ofFirst > 0 && layer.c0) k_.addProductSums(dG, width, layer.c0, H, to, N, H);
      const float* c = r.extra + (at + ofFirst - N) * H;
      k_.addProductSums(dG + ofFirst * width, width, c, H, to, rows - ofFirst, H);
    });
  }

  if (layer.dBias) {
    const size_t chunk = 64, chunks = (width + chunk - 1) / chunk;
    const bool two = l.cell == Cell::gru && l.resetAfter;
    if (fresh) std::memset(layer.dBias, 0, (two ? 2 : 1) * width * sizeof(float));
    pool.parallelFor(chunks, [&](size_t i) {
      k_.addColumnSums(own.dGates, layer.dBias, rows, width, i * chunk, std::min(width, (i + 1) * chunk));
    });
    if (two) {
      std::memcpy(layer.dBias + width, layer.dBias, 2 * H * sizeof(float));
      k_.addColumnSums(own.dq, layer.dBias + width + 2 * H, rows, H, 0, H);
    }
  }
}

}  // namespace deeprnn::cpu

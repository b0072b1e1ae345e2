#include "cpu/rnn_layout.h"

namespace deeprnn::cpu {

using core::Cell;

/** A layer's weights as the products read them: columns of the gates r, z apart from those of the candidate n
 * for a GRU. */
struct RnnStack::Packed {
  float *W = nullptr, *R = nullptr, *Wn = nullptr, *Rn = nullptr;
  /** Bias that goes with W (GRU: gates r, z), with both rows added for a GRU with resetAfter. */
  float* bias = nullptr;

  Packed(Carver& carve, const KernelTable& k, const StackLayer& l) {
    const size_t joint = l.cell == Cell::gru ? 2 * l.H : l.G * l.H;
    W = carve.take(packedSize(k, l.D, joint));
    R = carve.take(packedSize(k, l.H, joint));
    bias = carve.take(joint);
    if (l.cell == Cell::gru) {
      Wn = carve.take(packedSize(k, l.D, l.H));
      Rn = carve.take(packedSize(k, l.H, l.H));
    }
  }

  void fill(ThreadPool& pool, const KernelTable& k, const StackLayer& l, const StackLayerIo& io) const {
    const size_t width = l.G * l.H;
    const size_t joint = l.cell == Cell::gru ? 2 * l.H : width;
    packAll(pool, k, W, io.kernel, width, 1, l.D, joint);
    packAll(pool, k, R, io.recurrentKernel, width, 1, l.H, joint);
    if (l.cell == Cell::gru) {
      packAll(pool, k, Wn, io.kernel + joint, width, 1, l.D, l.H);
      packAll(pool, k, Rn, io.recurrentKernel + joint, width, 1, l.H, l.H);
    }
    if (!io.bias) return;
    std::memcpy(bias, io.bias, joint * sizeof(float));
    if (l.cell == Cell::gru && l.resetAfter) k.add(bias, io.bias + width, bias, joint);
  }
};

namespace {

/** Rows of a product worth making at once, where the rows of one step are few. */
constexpr size_t kRowsAtOnce = 32;
/** Rows a thread of a product with the inputs of several steps: whole blocks of `gemmAll`. */
constexpr size_t kRowsAhead = 192;

}  // namespace

/**
 * How a forward pass is cut: rows of the batch a task, steps whose products with the inputs are made at once,
 * and whether there is one task alone, in which the threads share the products.
 */
struct RnnStack::ForwardCut {
  size_t block, tasks, steps;
  bool shared;
  /** Threads that share a task's rows. */
  size_t parts;

  ForwardCut(const RnnStack& stack) {
    const StackSpec& spec = stack.spec_;
    block = stack.rowBlock();
    tasks = (spec.N + block - 1) / block;
    // Rows of several steps lie at one distance only where a task has all rows of a step.
    const bool together = tasks == 1 && spec.N < kRowsAtOnce && !spec.goBackwards;
    steps = together ? std::min(spec.T, (kRowsAtOnce + spec.N - 1) / spec.N) : 1;
    shared = tasks == 1 && stack.threads_ > 1;
    parts = shared ? static_cast<size_t>(stack.threads_) : 1;
  }
};

/**
 * Steps whose products with a layer's inputs all threads make together before their rows go through them, or
 * 0 where each step makes them with those of the states, which spares the gates a way to memory and back.
 * Kernels that a core's cache does not hold would come from far at every step.
 */
size_t RnnStack::stepsAhead(const StackLayer& l) const {
  const bool reversed = spec_.goBackwards && &l == spec_.layers.data();
  if (ForwardCut(*this).steps > 1 || reversed || l.inputRate > 0 || !isLarge(l)) return 0;
  return std::min(spec_.T, (kRowsAhead * static_cast<size_t>(threads_) + spec_.N - 1) / spec_.N);
}

/** What one task needs beside the layer's arrays: masked inputs and states, masks, a row of values; gates and
 * c of the steps under way, where nothing keeps them. */
struct RnnStack::RowScratch {
  float *x, *h, *inputMask, *recurrentMask, *row, *gates, *extra;
  RowCopies copies;
  size_t rowFloats;

  RowScratch(Carver& carve, const StackSpec& spec, const ForwardCut& cut, bool keeps)
      : copies(carve, cut.block, widest(spec, &StackLayer::D), widest(spec, &StackLayer::H),
               widestGates(spec)) {
    const size_t D = widest(spec, &StackLayer::D), H = widest(spec, &StackLayer::H), G = widestGates(spec);
    x = carve.take(cut.steps * cut.block * D);
    h = carve.take(cut.block * H);
    inputMask = carve.take(cut.block * D);
    recurrentMask = carve.take(cut.block * H);
    rowFloats = roundUp(2 * G, 16);
    row = carve.take(rowFloats * cut.parts);
    gates = keeps ? nullptr : carve.take(cut.steps * cut.block * G);
    extra = keeps ? nullptr : carve.take(2 * cut.block * H);
  }
};

/** The forward pass of rows [first, first + count) of the batch through one layer. */
struct RnnStack::ForwardRows {
  const StackSpec& spec;
  const StackLayer& l;
  const StackLayerIo& io;
  const Packed& packed;
  const KernelTable& k;
  ThreadPool& pool;
  const LayerMasks masks;
  const Renewals renewals;
  const RowScratch& tmp;
  const ForwardCut& cut;
  /** Gates and c of all steps, or null where nothing keeps them; h [T, N, H]. */
  float *keptGates, *keptExtra, *h;
  /** Under zoneout of c, where something keeps it: c as the cell made it. */
  float* made;
  /** x̃W + b of steps begin … end − 1 [·, N, G·H] where they are made ahead, or null. */
  float* projected;
  size_t begin, end;
  core::ValidSteps valid;
  bool packsRows;
  size_t first, count;

  float* gatesAt(size_t s) const {
    const size_t width = l.G * l.H;
    if (projected) return projected + ((s - begin) * spec.N + first) * width;
    return keptGates ? keptGates + (s * spec.N + first) * width : tmp.gates + s % cut.steps * count * width;
  }
  /** LSTM: c. GRU: the recurrent factor of the candidate. */
  float* extraAt(size_t s) const {
    return keptExtra ? keptExtra + (s * spec.N + first) * l.H : tmp.extra + s % 2 * count * l.H;
  }

  void multiply(const Gemm& g) const { multiplyShared(pool, k, g, cut.shared); }
  void multiply(const Gemm& g, const ValidRows& rows) const {
    multiplyRows(pool, k, g, cut.shared, rows, tmp.copies);
  }

  /** Rows of x̃ from step t on, for `steps` steps: x itself, or its masked copy. */
  const float* maskedInput(const float* x, size_t t, size_t steps) const {
    const float* rows = x + (t * spec.N + first) * l.D;
    if (l.inputRate == 0) return rows;
    for (size_t i = 0; i < steps; ++i) {
      if (l.maskPerElement) masks.input.factors(((t + i) * spec.N + first) * l.D, count * l.D, tmp.inputMask);
      k.multiply(rows + i * spec.N * l.D, tmp.inputMask, tmp.x + i * count * l.D, count * l.D);
    }
    return tmp.x;
  }

  void drawShared() const {
    if (l.inputRate > 0 && !l.maskPerElement) masks.input.factors(first * l.D, count * l.D, tmp.inputMask);
    if (l.recurrentRate > 0 && !l.stateMaskPerStep)
      masks.recurrent.factors(first * l.H, count * l.H, tmp.recurrentMask);
  }

  Gemm product(size_t m, const float* x, const float* W, const float* hPrev, const float* R, size_t n,
               float* c, size_t cRow) const {
    Gemm g;
    g.m = m;
    g.n = n;
    g.a1 = x;
    g.a1Row = l.D;
    g.k1 = x ? l.D : 0;
    g.b1 = W;
    g.a2 = hPrev;
    g.a2Row = l.H;
    g.k2 = hPrev ? l.H : 0;
    g.b2 = R;
    g.c = c;
    g.cRow = cRow;
    return g;
  }

  /** x̃W + b of all gates, of the steps from s on that are made at once. */
  void projectAhead(const float* x, size_t s) const {
    const size_t width = l.G * l.H, joint = l.cell == Cell::gru ? 2 * l.H : width;
    const size_t steps = std::min(cut.steps, spec.T - s);
    const float* rows = maskedInput(x, s, steps);
    Gemm g = product(steps * count, rows, packed.W, nullptr, nullptr, joint, gatesAt(s), width);
    g.bias = io.bias ? packed.bias : nullptr;
    multiply(g);
    if (l.cell != Cell::gru) return;
    g = product(steps * count, rows, packed.Wn, nullptr, nullptr, l.H, gatesAt(s) + joint, width);
    g.bias = io.bias ? io.bias + joint : nullptr;
    multiply(g);
  }

  void run(const float* x) const {
    const size_t H = l.H, width = l.G * H, joint = l.cell == Cell::gru ? 2 * H : width;
    drawShared();
    for (size_t s = begin; s < end; ++s) {
      const size_t t = spec.goBackwards && &l == spec.layers.data() ? spec.T - 1 - s : s;
      float* now = h + (s * spec.N + first) * H;
      const float* hPrev = s > 0 ? now - spec.N * H : io.h0 ? io.h0 + first * H : nullptr;
      const float* cPrev = s > 0 ? extraAt(s - 1) : io.c0 ? io.c0 + first * H : nullptr;
      if (cut.steps > 1 && s % cut.steps == 0) projectAhead(x, s);
      const ValidRows rows(valid, s, first, count, packsRows ? tmp.copies.places : nullptr);
      if (rows.live == 0) {
        hold(rows, hPrev, cPrev, s, now);
        continue;
      }
      const float* hMasked = hPrev;
      if (hPrev && l.recurrentRate > 0) {
        if (l.stateMaskPerStep)
          masks.recurrent.factors((s * spec.N + first) * H, rows.live * H, tmp.recurrentMask);
        k.multiply(hPrev, tmp.recurrentMask, tmp.h, rows.live * H);
        hMasked = tmp.h;
      }
      float* gates = gatesAt(s);
      // Rows of one step only: both products in one, which spares the gates a way to memory and back.
      const float* xt = nullptr;
      if (cut.steps == 1 && !projected) {
        xt = maskedInput(x, t, 1);
        Gemm g = product(rows.live, xt, packed.W, hMasked, packed.R, joint, gates, width);
        g.bias = io.bias ? packed.bias : nullptr;
        multiply(g, rows);
      } else if (hMasked) {
        addProduct(rows, hMasked, packed.R, joint, gates, width);
      }
      switch (l.cell) {
        case Cell::simpleRnn:
          forRows(pool, rows.live, H, cut.shared, [&](size_t from, size_t to, size_t) {
            if (!rows.list)
              return activateKeeping(k, l.activation, l.alpha, gates + from * H, now + from * H,
                                     (to - from) * H);
            for (size_t n = from; n < to; ++n) {
              if (rows.counts(n)) activateKeeping(k, l.activation, l.alpha, gates + n * H, now + n * H, H);
            }
          });
          break;
        case Cell::lstm:
          forRows(pool, rows.live, width, cut.shared, [&](size_t from, size_t to, size_t part) {
            if (l.variant()) {
              lstm<true>(rows, from, to, part, gates, cPrev, extraAt(s), now);
            } else {
              lstm<false>(rows, from, to, part, gates, cPrev, extraAt(s), now);
            }
          });
          break;
        case Cell::gru:
          gru(rows, xt, gates, hPrev, hMasked, extraAt(s), now);
          break;
      }
      if (l.zones()) zone(rows.live, hPrev, cPrev, s, now);
      hold(rows, hPrev, cPrev, s, now);
    }
    if (end == spec.T) finish();
  }

  /** Units keep their states of the step before, wholly or in part. */
  void zone(size_t live, const float* hPrev, const float* cPrev, size_t s, float* now) const {
    const size_t H = l.H;
    float* c = extraAt(s);
    forRows(pool, live, l.G * H, cut.shared, [&](size_t from, size_t to, size_t part) {
      float* share = tmp.row + part * tmp.rowFloats;
      for (size_t n = from; n < to; ++n) {
        const size_t element = (s * spec.N + first + n) * H;
        if (l.zoneout > 0) {
          renewals.h.shares(element, H, share);
          k.renew(share, hPrev ? hPrev + n * H : nullptr, now + n * H, H);
        }
        if (l.cellZoneout > 0) {
          if (made) std::memcpy(made + element, c + n * H, H * sizeof(float));
          renewals.c.shares(element, H, share);
          k.renew(share, cPrev ? cPrev + n * H : nullptr, c + n * H, H);
        }
      }
    });
  }

  /** Rows that do not count keep their states. */
  void hold(const ValidRows& rows, const float* hPrev, const float* cPrev, size_t s, float* now) const {
    if (!rows.valid) return;
    const size_t H = l.H, bytes = H * sizeof(float);
    const auto keep = [&](float* to, const float* from, size_t n) {
      if (from) {
        std::memcpy(to + n * H, from + n * H, bytes);
      } else {
        std::memset(to + n * H, 0, bytes);
      }
    };
    for (size_t n = 0; n < count; ++n) {
      if (rows.counts(n)) continue;
      keep(now, hPrev, n);
      // Of a GRU the factors of products over all steps, where no gradient meets them: zeros do.
      if (l.cell != Cell::simpleRnn) keep(extraAt(s), l.cell == Cell::lstm ? cPrev : nullptr, n);
      if (made) keep(made + (s * spec.N + first) * H, cPrev, n);
    }
  }

  /** Copies what the caller wants of the layer. */
  void finish() const {
    const size_t bytes = count * l.H * sizeof(float);
    const float* last = h + ((spec.T - 1) * spec.N + first) * l.H;
    if (io.y && &l == &spec.layers.back() && !spec.returnSequences) {
      std::memcpy(io.y + first * l.H, last, bytes);
    } else if (io.y && io.y != h) {
      for (size_t t = 0; t < spec.T; ++t) {
        const size_t row = (t * spec.N + first) * l.H;
        std::memcpy(io.y + row, h + row, bytes);
      }
    }
    if (io.hT) std::memcpy(io.hT + first * l.H, last, bytes);
    if (io.cT) std::memcpy(io.cT + first * l.H, extraAt(spec.T - 1), bytes);
  }

  /** c += hPrev·R */
  void addProduct(const ValidRows& rows, const float* hPrev, const float* R, size_t n, float* c,
                  size_t cRow) const {
    Gemm g = product(rows.live, nullptr, nullptr, hPrev, R, n, c, cRow);
    g.accumulate = true;
    multiply(g, rows);
  }

  /** `kVariant`: with what the layer has beside the usual equations. */
  template <bool kVariant>
  void lstm(const ValidRows& rows, size_t from, size_t to, size_t part, float* gates, const float* cPrev,
            float* c, float* out) const {
    const size_t H = l.H;
    const bool peepholes = kVariant && l.peepholes, coupled = kVariant && l.coupledGates;
    // Where the gates begin: i f g o, or f g o.
    const size_t fAt = coupled ? 0 : H, gAt = fAt + H, oAt = gAt + H, width = oAt + H;
    float* value = tmp.row + part * tmp.rowFloats;
    const bool inPlaceGates = !core::derivativeFromInput(l.recurrentActivation);
    const bool inPlaceInput = !core::derivativeFromInput(l.activation);
    for (size_t n = from; n < to; ++n) {
      if (!rows.counts(n)) continue;
      float *row = gates + n * width, *cRow = c + n * H;
      float* i = inPlaceGates ? row : value;
      float* g = inPlaceInput ? row + gAt : value + gAt;
      float* o = inPlaceGates ? row + oAt : value + oAt;
      const float* before = cPrev ? cPrev + n * H : nullptr;
      for (size_t at = 0; peepholes && before && at < gAt; at += H)
        k.multiplyAdd(io.peephole + at, before, row + at, H);
      k.activate(l.recurrentActivation, l.recurrentAlpha, row, i, gAt);
      k.activate(l.activation, l.alpha, row + gAt, g, H);
      if (!peepholes) k.activate(l.recurrentActivation, l.recurrentAlpha, row + oAt, o, H);
      if (coupled) {
        float* zeros = value + width;
        if (!before) std::memset(zeros, 0, H * sizeof(float));
        k.gruMix(i, g, before ? before : zeros, cRow, H);
      } else if (before) {
        k.lstmCell(i, i + H, g, before, cRow, H);
      } else {
        k.multiply(i, g, cRow, H);
      }
      if (kVariant && l.cellClip > 0) k.clip(l.cellClip, cRow, H);
      if (peepholes) {
        k.multiplyAdd(io.peephole + gAt, cRow, row + oAt, H);
        k.activate(l.recurrentActivation, l.recurrentAlpha, row + oAt, o, H);
      }
      k.activate(l.activation, l.alpha, cRow, out + n * H, H);
      k.multiply(o, out + n * H, out + n * H, H);
    }
  }

  /** `xt` is null where the gates hold the inputs' part of the candidate already. */
  void gru(const ValidRows& rows, const float* xt, float* gates, const float* hPrev, const float* hMasked,
           float* q, float* out) const {
    const size_t H = l.H, width = 3 * H;
    float* candidates = gates + 2 * H;
    if (xt) {
      Gemm input = product(rows.live, xt, packed.Wn, nullptr, nullptr, H, candidates, width);
      input.bias = io.bias ? io.bias + 2 * H : nullptr;
      multiply(input, rows);
    }
    if (l.resetAfter) {
      Gemm g = product(rows.live, nullptr, nullptr, hMasked, packed.Rn, H, q, H);
      g.bias = io.bias ? io.bias + width + 2 * H : nullptr;
      multiply(g, rows);
    }
    forRows(pool, rows.live, width, cut.shared, [&](size_t from, size_t to, size_t part) {
      gruGates(rows, from, to, tmp.row + part * tmp.rowFloats, gates, hMasked, q);
    });
    if (!l.resetAfter && hMasked) addProduct(rows, q, packed.Rn, H, candidates, width);
    forRows(pool, rows.live, width, cut.shared, [&](size_t from, size_t to, size_t part) {
      gruCandidate(rows, from, to, tmp.row + part * tmp.rowFloats, gates, hPrev, out);
    });
  }

  /** Gates r and z, and what enters the candidate through r. `value`: a row of scratch. */
  void gruGates(const ValidRows& rows, size_t from, size_t to, float* value, float* gates,
                const float* hMasked, float* q) const {
    const size_t H = l.H, width = 3 * H;
    const bool keepGates = core::derivativeFromInput(l.recurrentActivation);
    for (size_t n = from; n < to; ++n) {
      if (!rows.counts(n)) continue;
      float* row = gates + n * width;
      float* r = keepGates ? value : row;
      k.activate(l.recurrentActivation, l.recurrentAlpha, row, r, 2 * H);
      if (l.resetAfter) {
        k.multiplyAdd(r, q + n * H, row + 2 * H, H);
      } else if (hMasked) {
        k.multiply(r, hMasked + n * H, q + n * H, H);
      } else {
        std::memset(q + n * H, 0, H * sizeof(float));
      }
    }
  }

  void gruCandidate(const ValidRows& rows, size_t from, size_t to, float* value, float* gates,
                    const float* hPrev, float* out) const {
    const size_t H = l.H, width = 3 * H;
    const bool keepGates = core::derivativeFromInput(l.recurrentActivation);
    for (size_t n = from; n < to; ++n) {
      if (!rows.counts(n)) continue;
      float* row = gates + n * width;
      const float* z = row + H;
      if (keepGates) {
        k.activate(l.recurrentActivation, l.recurrentAlpha, row + H, value, H);
        z = value;
      }
      float* candidate = core::derivativeFromInput(l.activation) ? value + H : row + 2 * H;
      k.activate(l.activation, l.alpha, row + 2 * H, candidate, H);
      float* zeros = value + 2 * H;
      if (!hPrev) std::memset(zeros, 0, H * sizeof(float));
      k.gruMix(z, candidate, hPrev ? hPrev + n * H : zeros, out + n * H, H);
    }
  }
};

size_t RnnStack::packedFloats() const {
  Carver carve(nullptr);
  for (const StackLayer& l : spec_.layers) Packed(carve, k_, l);
  return carve.used();
}

void RnnStack::pack(const StackIo& io, float* packed, ThreadPool& pool) const {
  Carver carve(packed);
  for (size_t i = 0; i < spec_.layers.size(); ++i)
    Packed(carve, k_, spec_.layers[i]).fill(pool, k_, spec_.layers[i], io.layers[i]);
}

/** h [T, N, H] of two neighbouring layers, where no reserve keeps them. */
size_t RnnStack::stateFloats() const {
  size_t H = 0;
  for (const StackLayer& l : spec_.layers) H = std::max(H, l.H);
  return spec_.T * spec_.N * H;
}

/** Gates of the steps under way that are made ahead, where no reserve keeps them. */
size_t RnnStack::aheadFloats() const {
  size_t most = 0;
  for (const StackLayer& l : spec_.layers) most = std::max(most, stepsAhead(l) * spec_.N * l.G * l.H);
  return most;
}

size_t RnnStack::forwardScratch(bool withReserve) const {
  const ForwardCut cut(*this);
  Carver task(nullptr);
  RowScratch(task, spec_, cut, withReserve);
  const size_t shared = 2 * roundUp(stateFloats(), 16) + roundUp(aheadFloats(), 16);
  return cut.tasks * task.used() + (withReserve ? 0 : shared);
}

void RnnStack::project(const StackLayer& l, const StackLayerIo& io, const Packed& packed, const float* x,
                       size_t rows, float* gates, ThreadPool& pool) const {
  const size_t width = l.G * l.H, joint = l.cell == Cell::gru ? 2 * l.H : width;
  Gemm g;
  g.m = rows;
  g.n = joint;
  g.a1 = x;
  g.a1Row = g.k1 = l.D;
  g.b1 = packed.W;
  g.c = gates;
  g.cRow = width;
  g.bias = io.bias ? packed.bias : nullptr;
  gemmAll(pool, k_, g);
  if (l.cell != Cell::gru) return;
  g.n = l.H;
  g.b1 = packed.Wn;
  g.c = gates + joint;
  g.bias = io.bias ? io.bias + joint : nullptr;
  gemmAll(pool, k_, g);
}

void RnnStack::forward(const StackIo& io, float* packedWeights, float* scratch, ThreadPool& pool) const {
  const ForwardCut cut(*this);
  Carver carve(scratch), weights(packedWeights), counted(nullptr);
  const bool keeps = io.reserve != nullptr;
  RowScratch(counted, spec_, cut, keeps);
  const size_t each = counted.used(), rows = spec_.T * spec_.N;
  float* own = carve.take(cut.tasks * each);
  float* states[2] = {nullptr, nullptr};
  if (!keeps) {
    for (float*& h : states) h = carve.take(stateFloats());
  }
  float* aheadGates = keeps ? nullptr : carve.take(aheadFloats());
  const float* x = io.x;
  float* reserve = io.reserve;
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const StackLayer& l = spec_.layers[i];
    const StackLayerIo& layer = io.layers[i];
    const Packed packed(weights, k_, l);
    const ReserveView view(reserve, l, rows);
    // Where the caller wants all of h, it is made there.
    const bool whole = layer.y && (i + 1 < spec_.layers.size() || spec_.returnSequences);
    float* h = keeps ? view.h : whole ? layer.y : states[i % 2];
    const size_t ahead = stepsAhead(l), span = ahead ? ahead : spec_.T;
    for (size_t begin = 0; begin < spec_.T; begin += span) {
      const size_t end = std::min(spec_.T, begin + span);
      float* projected = nullptr;
      if (ahead) {
        projected = keeps ? view.gates + begin * spec_.N * l.G * l.H : aheadGates;
        project(l, layer, packed, x + begin * spec_.N * l.D, (end - begin) * spec_.N, projected, pool);
      }
      pool.parallelFor(cut.tasks, [&](size_t task) {
        Carver mine(own + task * each);
        const RowScratch tmp(mine, spec_, cut, keeps);
        const size_t first = task * cut.block, count = std::min(cut.block, spec_.N - first);
        ForwardRows{spec_,
                    l,
                    layer,
                    packed,
                    k_,
                    pool,
                    LayerMasks(spec_, l, io.step),
                    Renewals(spec_, l, io.step),
                    tmp,
                    cut,
                    keeps ? view.gates : nullptr,
                    keeps ? view.extra : nullptr,
                    h,
                    keeps ? view.made : nullptr,
                    projected,
                    begin,
                    end,
                    io.valid,
                    packsRows_,
                    first,
                    count}
            .run(x);
      });
    }
    x = h;
    if (keeps) reserve += ReserveView::size(l, rows);
  }
}

}  // namespace deeprnn::cpu

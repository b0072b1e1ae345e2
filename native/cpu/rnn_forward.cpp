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

/** What one task needs beside the layer's arrays: masked inputs and states, masks, a row of values. */
struct RowScratch {
  float *x, *h, *inputMask, *recurrentMask, *row;

  RowScratch(Carver& carve, const StackSpec& spec, size_t block) {
    size_t D = 0, H = 0, G = 0;
    for (const StackLayer& l : spec.layers) {
      D = std::max(D, l.D);
      H = std::max(H, l.H);
      G = std::max(G, l.G * l.H);
    }
    x = carve.take(block * D);
    h = carve.take(block * H);
    inputMask = carve.take(block * D);
    recurrentMask = carve.take(block * H);
    row = carve.take(2 * G);
  }
};

}  // namespace

/** The forward pass of rows [first, first + count) of the batch through one layer. */
struct RnnStack::ForwardRows {
  const StackSpec& spec;
  const StackLayer& l;
  const StackLayerIo& io;
  const Packed& packed;
  const KernelTable& k;
  const LayerMasks masks;
  const RowScratch& tmp;
  size_t first, count;

  /** Rows of x̃_t: x itself, or its masked copy. */
  const float* maskedInput(const float* x, size_t t) const {
    const float* rows = x + (t * spec.N + first) * l.D;
    if (l.inputRate == 0) return rows;
    if (l.maskPerElement) masks.input.factors((t * spec.N + first) * l.D, count * l.D, tmp.inputMask);
    k.multiply(rows, tmp.inputMask, tmp.x, count * l.D);
    return tmp.x;
  }

  void drawShared() const {
    if (l.inputRate > 0 && !l.maskPerElement) masks.input.factors(first * l.D, count * l.D, tmp.inputMask);
    if (l.recurrentRate > 0) masks.recurrent.factors(first * l.H, count * l.H, tmp.recurrentMask);
  }

  Gemm product(const float* x, const float* W, const float* h, const float* R, size_t n, float* c,
               size_t cRow) const {
    Gemm g;
    g.m = count;
    g.n = n;
    g.a1 = x;
    g.a1Row = l.D;
    g.k1 = x ? l.D : 0;
    g.b1 = W;
    g.a2 = h;
    g.a2Row = l.H;
    g.k2 = h ? l.H : 0;
    g.b2 = R;
    g.c = c;
    g.cRow = cRow;
    return g;
  }

  void run(const float* x, float* reserve) const {
    const ReserveView r(reserve, l, spec.T * spec.N);
    const size_t width = l.G * l.H, joint = l.cell == Cell::gru ? 2 * l.H : width;
    drawShared();
    for (size_t s = 0; s < spec.T; ++s) {
      const size_t t = spec.goBackwards && &l == spec.layers.data() ? spec.T - 1 - s : s;
      const size_t at = s * spec.N + first;
      const float* hPrev = s > 0 ? r.h + (at - spec.N) * l.H : io.h0 ? io.h0 + first * l.H : nullptr;
      const float* hMasked = hPrev;
      if (hPrev && l.recurrentRate > 0) {
        k.multiply(hPrev, tmp.recurrentMask, tmp.h, count * l.H);
        hMasked = tmp.h;
      }
      const float* xt = maskedInput(x, t);
      float* gates = r.gates + at * width;
      Gemm g = product(xt, packed.W, hMasked, packed.R, joint, gates, width);
      g.bias = io.bias ? packed.bias : nullptr;
      k.gemm(g, 0, panels(k, joint));
      float* h = r.h + at * l.H;
      switch (l.cell) {
        case Cell::simpleRnn:
          simple(gates, h);
          break;
        case Cell::lstm: {
          const float* cPrev = s > 0 ? r.extra + (at - spec.N) * l.H : io.c0 ? io.c0 + first * l.H : nullptr;
          lstm(gates, cPrev, r.extra + at * l.H, h);
          break;
        }
        case Cell::gru:
          gru(xt, gates, hPrev, hMasked, r.extra + at * l.H, h);
          break;
      }
    }
  }

  void simple(float* gates, float* h) const {
    activateKeeping(k, l.activation, l.alpha, gates, h, count * l.H);
  }

  void lstm(float* gates, const float* cPrev, float* c, float* h) const {
    const size_t H = l.H;
    float* value = tmp.row;
    for (size_t n = 0; n < count; ++n) {
      float* row = gates + n * 4 * H;
      const bool inPlaceGates = !core::derivativeFromInput(l.recurrentActivation);
      const bool inPlaceInput = !core::derivativeFromInput(l.activation);
      float* i = inPlaceGates ? row : value;
      float* g = inPlaceInput ? row + 2 * H : value + 2 * H;
      float* o = inPlaceGates ? row + 3 * H : value + 3 * H;
      k.activate(l.recurrentActivation, l.recurrentAlpha, row, i, 2 * H);
      k.activate(l.activation, l.alpha, row + 2 * H, g, H);
      k.activate(l.recurrentActivation, l.recurrentAlpha, row + 3 * H, o, H);
      if (cPrev) {
        k.lstmCell(i, i + H, g, cPrev + n * H, c + n * H, H);
      } else {
        k.multiply(i, g, c + n * H, H);
      }
      float* out = h + n * H;
      k.activate(l.activation, l.alpha, c + n * H, out, H);
      k.multiply(o, out, out, H);
    }
  }

  void gru(const float* xt, float* gates, const float* hPrev, const float* hMasked, float* q,
           float* h) const {
    const size_t H = l.H, width = 3 * H;
    const float* biasN = io.bias ? io.bias + 2 * H : nullptr;
    float* candidates = gates + 2 * H;
    Gemm input = product(xt, packed.Wn, nullptr, nullptr, H, candidates, width);
    input.bias = biasN;
    k.gemm(input, 0, panels(k, H));
    const bool keepGates = core::derivativeFromInput(l.recurrentActivation);
    if (l.resetAfter) {
      const float* recurrentBias = io.bias ? io.bias + width + 2 * H : nullptr;
      Gemm g = product(nullptr, nullptr, hMasked, packed.Rn, H, q, H);
      g.bias = recurrentBias;
      k.gemm(g, 0, panels(k, H));
    }
    float* value = tmp.row;
    for (size_t n = 0; n < count; ++n) {
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
    if (!l.resetAfter && hMasked) {
      Gemm g = product(nullptr, nullptr, q, packed.Rn, H, candidates, width);
      g.accumulate = true;
      k.gemm(g, 0, panels(k, H));
    }
    for (size_t n = 0; n < count; ++n) {
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
      k.gruMix(z, candidate, hPrev ? hPrev + n * H : zeros, h + n * H, H);
    }
  }
};

size_t RnnStack::rowScratch() const {
  Carver carve(nullptr);
  RowScratch(carve, spec_, rowBlock());
  return carve.used();
}

size_t RnnStack::forwardScratch(bool withReserve) const {
  Carver carve(nullptr);
  for (const StackLayer& l : spec_.layers) Packed(carve, k_, l);
  const size_t tasks = (spec_.N + rowBlock() - 1) / rowBlock();
  return carve.used() + tasks * rowScratch() + (withReserve ? 0 : roundUp(reserveSize(), 16));
}

void RnnStack::forward(const StackIo& io, float* scratch, ThreadPool& pool) const {
  Carver carve(scratch);
  std::vector<Packed> packed;
  packed.reserve(spec_.layers.size());
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    packed.emplace_back(carve, k_, spec_.layers[i]);
    packed[i].fill(pool, k_, spec_.layers[i], io.layers[i]);
  }
  float* reserve = io.reserve ? io.reserve : carve.take(reserveSize());
  const size_t block = rowBlock(), tasks = (spec_.N + block - 1) / block, rows = spec_.T * spec_.N;
  float* own = carve.take(tasks * rowScratch());
  pool.parallelFor(tasks, [&](size_t task) {
    Carver mine(own + task * rowScratch());
    const RowScratch tmp(mine, spec_, block);
    const size_t first = task * block, count = std::min(block, spec_.N - first);
    const float* x = io.x;
    float* at = reserve;
    for (size_t i = 0; i < spec_.layers.size(); ++i) {
      const StackLayer& l = spec_.layers[i];
      const StackLayerIo& layer = io.layers[i];
      ForwardRows{spec_, l, layer, packed[i], k_, LayerMasks(spec_, l, io.step), tmp, first, count}.run(x,
                                                                                                        at);
      const ReserveView view(at, l, rows);
      const float* last = view.h + ((spec_.T - 1) * spec_.N + first) * l.H;
      const size_t bytes = count * l.H * sizeof(float);
      if (layer.y && i + 1 == spec_.layers.size() && !spec_.returnSequences) {
        std::memcpy(layer.y + first * l.H, last, bytes);
      } else if (layer.y) {
        for (size_t t = 0; t < spec_.T; ++t) {
          const size_t row = (t * spec_.N + first) * l.H;
          std::memcpy(layer.y + row, view.h + row, bytes);
        }
      }
      if (layer.hT) std::memcpy(layer.hT + first * l.H, last, bytes);
      if (layer.cT)
        std::memcpy(layer.cT + first * l.H, view.extra + ((spec_.T - 1) * spec_.N + first) * l.H, bytes);
      x = view.h;
      at += ReserveView::size(l, rows);
    }
  });
}

}  // namespace deeprnn::cpu

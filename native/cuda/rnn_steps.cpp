#include "cuda/rnn_steps.h"

#include <algorithm>

#include "cuda/reductions.h"
#include "cuda/rnn_weights.h"

namespace deeprnn::cuda {

namespace {

/** Streams for the layers: each its own where chunks run side by side, else the one that all work is queued
 * on. */
class Lanes {
 public:
  Lanes(const RunContext& c, bool sideBySide) : c_(c), sideBySide_(sideBySide) {}

  cudaStream_t of(size_t layer) const { return sideBySide_ ? branch(layer).stream : c_.stream; }

  /** The layers' streams begin after what is queued on the main one, which `join` makes go on after them. */
  Status fork(size_t layers) const {
    if (!sideBySide_) return {};
    const Branch& first = branch(0);
    DEEPRNN_TRY(cudaEventRecord(first.event, c_.stream));
    for (size_t i = 0; i < std::min(layers, c_.branches.size()); ++i)
      DEEPRNN_TRY(cudaStreamWaitEvent(branch(i).stream, first.event, 0));
    return {};
  }
  Status join(size_t layers) const {
    if (!sideBySide_) return {};
    for (size_t i = 0; i < std::min(layers, c_.branches.size()); ++i) {
      DEEPRNN_TRY(cudaEventRecord(branch(i).event, branch(i).stream));
      DEEPRNN_TRY(cudaStreamWaitEvent(c_.stream, branch(i).event, 0));
    }
    return {};
  }
  /** What is queued for `reader` from now on comes after what is queued for `writer` so far. */
  Status after(size_t reader, size_t writer) const {
    if (!sideBySide_ || of(reader) == of(writer)) return {};
    DEEPRNN_TRY(cudaEventRecord(branch(writer).event, of(writer)));
    DEEPRNN_TRY(cudaStreamWaitEvent(of(reader), branch(writer).event, 0));
    return {};
  }

 private:
  const Branch& branch(size_t layer) const { return c_.branches[layer % c_.branches.size()]; }

  const RunContext& c_;
  bool sideBySide_;
};

}  // namespace

StackSteps::StackSteps(StackSpec spec, StackIo io, const double* step, size_t chunk)
    : spec_(std::move(spec)),
      io_(std::move(io)),
      step_(step),
      chunk_(std::max<size_t>(1, std::min(chunk, spec_.T))) {}

/** One layer's part of a forward run. */
struct StackSteps::Forward {
  const StackSpec& spec;
  const StackLayer& l;
  const StackLayerIo& io;
  const core::ValidSteps& valid;
  const double* step;
  bool bottom, top;
  /** [T, N, D]: the layer's inputs as they lie. */
  const float* input;
  ReserveView r;
  /** x̃ in processing order where that is not the input itself; h̃ of one step. */
  float *ordered, *masked;

  static void take(Carver* carve, const StackSpec& spec, const StackLayer& l, bool bottom, float** ordered,
                   float** masked) {
    *ordered = reordersInput(spec, l, bottom) ? carve->take(spec.T * spec.N * l.D) : nullptr;
    *masked = l.recurrentRate > 0 ? carve->take(spec.N * l.H) : nullptr;
  }

  /** Steps [first, first + steps). */
  Status chunk(const RunContext& c, cudaStream_t stream, size_t first, size_t steps) const {
    const size_t N = spec.N, H = l.H, width = l.G * H;
    const float* x = input;
    if (ordered) {
      if (Status s = orderInputs(inputOrder(spec, l, step, bottom), input, ordered, first, steps, stream);
          !s.ok())
        return s;
      x = ordered;
    }
    Product all;
    all.m = steps * N;
    all.n = all.bRow = all.cRow = width;
    all.k = all.aRow = l.D;
    all.a = x + first * N * l.D;
    all.b = io.kernel;
    all.c = r.gates + first * N * width;
    if (Status s = c.blas.multiply(all, c.precision, stream); !s.ok()) return s;
    for (size_t t = first; t < first + steps; ++t) {
      if (Status s = one(c, stream, t); !s.ok()) return s;
    }
    return {};
  }

  Status one(const RunContext& c, cudaStream_t stream, size_t t) const {
    const size_t N = spec.N, H = l.H, width = l.G * H, at = t * N;
    const float* hPrev = t > 0 ? r.h + (at - N) * H : io.h0;
    const float* hMasked = hPrev;
    if (hPrev && masked) {
      if (Status s = maskState(hPrev, masked, N * H, stateMaskAt(spec, l, step, t), false, stream); !s.ok())
        return s;
      hMasked = masked;
    }
    const bool gru = l.cell == Cell::gru;
    CellStep cell{};
    cell.l = l;
    cell.N = N;
    cell.bias = io.bias;
    cell.gates = r.gates + at * width;
    cell.extra = r.extra + at * H;
    cell.hPrev = hPrev;
    cell.hMasked = hMasked;
    cell.peephole = io.peephole;
    if (l.cell == Cell::lstm) cell.cPrev = t > 0 ? r.extra + (at - N) * H : io.c0;
    cell.h = r.h + at * H;
    cell.valid = valid.at(t);
    const bool last = t + 1 == spec.T;
    if (io.y && (!top || spec.returnSequences)) cell.y = io.y + at * H;
    if (io.y && top && !spec.returnSequences && last) cell.y = io.y;

    Product p;
    p.m = N;
    p.n = gru ? 2 * H : width;
    p.k = p.aRow = H;
    p.a = hMasked;
    p.b = io.recurrentKernel;
    p.bRow = width;
    p.c = cell.gates;
    p.cRow = width;
    p.beta = 1;
    if (hPrev) {
      if (Status s = c.blas.multiply(p, c.precision, stream); !s.ok()) return s;
    }
    if (gru) {
      Product candidate = p;
      candidate.n = H;
      candidate.b = io.recurrentKernel + 2 * H;
      if (l.resetAfter) {
        candidate.c = cell.extra;
        candidate.cRow = H;
        candidate.beta = 0;
      } else {
        if (Status s = gruResetPart(cell, stream); !s.ok()) return s;
        candidate.a = cell.extra;
        candidate.c = cell.gates + 2 * H;
      }
      if (hPrev) {
        if (Status s = c.blas.multiply(candidate, c.precision, stream); !s.ok()) return s;
      }
    }
    float* y = cell.y;
    if (l.zones()) cell.y = nullptr;
    if (Status s = cellForward(cell, stream); !s.ok()) return s;
    if (l.zones()) {
      const ZoneoutStates states = {hPrev, cell.cPrev, cell.h,
                                    y,     cell.extra, r.made ? r.made + at * H : nullptr};
      if (Status s = zoneoutForward(zoneoutStep(spec, l, step, t, cell.valid), states, stream); !s.ok())
        return s;
    }
    if (!last) return {};
    const size_t bytes = N * H * sizeof(float);
    if (io.hT) DEEPRNN_TRY(cudaMemcpyAsync(io.hT, cell.h, bytes, cudaMemcpyDeviceToDevice, stream));
    if (io.cT) DEEPRNN_TRY(cudaMemcpyAsync(io.cT, cell.extra, bytes, cudaMemcpyDeviceToDevice, stream));
    return {};
  }
};

size_t StackSteps::forwardScratch() const {
  Carver carve(nullptr);
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    float *ordered, *masked;
    Forward::take(&carve, spec_, spec_.layers[i], i == 0, &ordered, &masked);
    if (!io_.reserve) carve.take(ReserveView::size(spec_.layers[i], spec_.T * spec_.N));
  }
  return carve.used();
}

Status StackSteps::forward(const RunContext& c) const {
  const size_t layers = spec_.layers.size(), rows = spec_.T * spec_.N;
  Carver carve(c.scratch);
  std::vector<Forward> runs;
  const float* input = io_.x;
  float* reserve = io_.reserve;
  for (size_t i = 0; i < layers; ++i) {
    const StackLayer& l = spec_.layers[i];
    float *ordered, *masked;
    Forward::take(&carve, spec_, l, i == 0, &ordered, &masked);
    float* own = reserve ? reserve : carve.take(ReserveView::size(l, rows));
    const ReserveView view(own, l, rows);
    runs.push_back(
        {spec_, l, io_.layers[i], io_.valid, step_, i == 0, i + 1 == layers, input, view, ordered, masked});
    input = view.h;
    if (reserve) reserve += ReserveView::size(l, rows);
  }
  const size_t chunks = (spec_.T + chunk_ - 1) / chunk_;
  const Lanes lanes(c, layers > 1 && chunks > 1);
  if (Status s = lanes.fork(layers); !s.ok()) return s;
  for (size_t diagonal = 0; diagonal < layers + chunks - 1; ++diagonal) {
    // From the top, so that what a layer waits for was queued in the diagonal before.
    for (size_t i = std::min(diagonal + 1, layers); i-- > 0;) {
      const size_t k = diagonal - i;
      if (k >= chunks) continue;
      if (i > 0) {
        if (Status s = lanes.after(i, i - 1); !s.ok()) return s;
      }
      const size_t first = k * chunk_;
      if (Status s = runs[i].chunk(c, lanes.of(i), first, std::min(chunk_, spec_.T - first)); !s.ok())
        return s;
    }
  }
  return lanes.join(layers);
}

/** One layer's part of a backward run. */
struct StackSteps::Backward {
  const StackSpec& spec;
  const StackLayer& l;
  const StackLayerIo& io;
  const core::ValidSteps& valid;
  const double* step;
  bool bottom, top;
  const float* input;
  ReserveView r;
  /** [T, N, D] to the layer below (or the caller's dx), or null; and from the layer above. */
  float* dBelow;
  const float* dAbove;
  double* norms;
  /** dh, dc and products of one step [N, H]; over all steps dG [T, N, G·H], dq, the totals, and x̃ or its
   * gradient, h̃; for sums over the rows, and for those of peepholes. */
  float *dh, *dc, *product, *dG, *dq, *total, *ordered, *masked, *sums, *products;
  /** Under zoneout, of one step [N, H]: what goes by the cell to h_{t−1} and c_{t−1}. */
  float *keptH, *keptC;

  void take(Carver* carve) {
    const size_t state = spec.N * l.H, rows = spec.T * spec.N;
    const bool gru = l.cell == Cell::gru;
    dh = carve->take(state);
    dc = l.cell == Cell::lstm ? carve->take(state) : nullptr;
    product = gru || l.recurrentRate > 0 ? carve->take(state) : nullptr;
    dG = carve->take(rows * l.G * l.H);
    dq = gru && l.resetAfter ? carve->take(rows * l.H) : nullptr;
    total = norms ? carve->take(rows * l.H) : nullptr;
    ordered = reordersInput(spec, l, bottom) ? carve->take(rows * l.D) : nullptr;
    masked = l.recurrentRate > 0 ? carve->take(rows * l.H) : nullptr;
    sums = carve->take(columnSumsScratch(rows, l.G * l.H));
    keptH = l.zoneout > 0 ? carve->take(state) : nullptr;
    keptC = l.cellZoneout > 0 ? carve->take(state) : nullptr;
    products = io.dPeephole ? carve->take(peepholeProducts(rows, l)) : nullptr;
  }

  Status begin(cudaStream_t stream) const {
    const size_t bytes = spec.N * l.H * sizeof(float);
    const auto start = [&](float* to, const float* from) {
      return from ? cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream)
                  : cudaMemsetAsync(to, 0, bytes, stream);
    };
    DEEPRNN_TRY(start(dh, io.dhT));
    if (dc) DEEPRNN_TRY(start(dc, io.dcT));
    return {};
  }

  Status chunk(const RunContext& c, cudaStream_t stream, size_t first, size_t steps) const {
    for (size_t t = first + steps; t-- > first;) {
      if (Status s = one(c, stream, t); !s.ok()) return s;
    }
    if (!dBelow) return {};
    // dx = dG·Wᵀ ⊙ m_in, where x lies.
    const size_t N = spec.N, width = l.G * l.H;
    Product p;
    p.m = steps * N;
    p.n = p.cRow = l.D;
    p.k = p.aRow = p.bRow = width;
    p.a = dG + first * N * width;
    p.b = io.kernel;
    p.bTransposed = true;
    p.c = (ordered ? ordered : dBelow) + first * N * l.D;
    if (Status s = c.blas.multiply(p, c.precision, stream); !s.ok() || !ordered) return s;
    return restoreInputs(inputOrder(spec, l, step, bottom), ordered, dBelow, first, steps, stream);
  }

  Status one(const RunContext& c, cudaStream_t stream, size_t t) const {
    const size_t N = spec.N, H = l.H, width = l.G * H, at = t * N;
    CellGradStep s{};
    s.l = l;
    s.N = N;
    s.gates = r.gates + at * width;
    s.extra = r.extra + at * H;
    s.hPrev = t > 0 ? r.h + (at - N) * H : io.h0;
    s.peephole = io.peephole;
    if (l.cell == Cell::lstm) s.cPrev = t > 0 ? r.extra + (at - N) * H : io.c0;
    s.dh = dh;
    s.dc = dc;
    if (io.dy && (!top || spec.returnSequences)) s.dy = io.dy + at * H;
    if (io.dy && top && !spec.returnSequences && t + 1 == spec.T) s.dy = io.dy;
    if (dAbove) s.dAbove = dAbove + at * H;
    s.dG = dG + at * width;
    s.dq = dq ? dq + at * H : nullptr;
    s.total = total ? total + at * H : nullptr;
    s.valid = valid.at(t);
    if (!l.zones()) {
      if (Status status = cellBackward(s, stream); !status.ok()) return status;
      return sendBack(c, stream, s, t);
    }
    const ZoneoutStep z = zoneoutStep(spec, l, step, t, s.valid);
    const ZoneoutGradients g = {dh, s.dy, s.dAbove, s.total, dc, keptH, keptC};
    if (Status status = zoneoutBackward(z, g, stream); !status.ok()) return status;
    s.dy = s.dAbove = nullptr;
    s.total = nullptr;
    if (r.made) s.extra = r.made + at * H;
    if (Status status = cellBackward(s, stream); !status.ok()) return status;
    if (Status status = sendBack(c, stream, s, t); !status.ok()) return status;
    return zoneoutAddKept(z, g, stream);
  }

  /** dh_{t−1}: what the carried state keeps (already in dh) plus the gradient through the products with R. */
  Status sendBack(const RunContext& c, cudaStream_t stream, const CellGradStep& s, size_t t) const {
    const size_t N = spec.N, H = l.H, width = l.G * H;
    const bool gru = l.cell == Cell::gru, resetBefore = gru && !l.resetAfter, keeps = gru || s.valid;
    const StateMask mask = stateMaskAt(spec, l, step, t);
    Product p;
    p.m = N;
    p.n = p.cRow = H;
    p.k = gru ? 2 * H : width;
    p.a = s.dG;
    p.aRow = p.bRow = width;
    p.b = io.recurrentKernel;
    p.bTransposed = true;
    Product candidate = p;
    candidate.k = H;
    candidate.b = io.recurrentKernel + 2 * H;
    if (resetBefore) {
      // dq = du_n R_nᵀ, of which the reset gate and h̃ both get their part.
      candidate.a = s.dG + 2 * H;
      candidate.c = product;
      if (s.hPrev) {
        if (Status status = c.blas.multiply(candidate, c.precision, stream); !status.ok()) return status;
      }
      if (Status status = gruResetBackward(s, product, mask, stream); !status.ok()) return status;
    }
    if (!s.hPrev) {
      if (!keeps) DEEPRNN_TRY(cudaMemsetAsync(dh, 0, N * H * sizeof(float), stream));
      return {};
    }
    // Into dh at once where neither a mask nor the candidate's part is still to come.
    const bool aside = mask.source.rate > 0 || resetBefore;
    p.c = aside ? product : dh;
    p.beta = resetBefore || (keeps && !aside) ? 1.0f : 0.0f;
    if (Status status = c.blas.multiply(p, c.precision, stream); !status.ok()) return status;
    if (gru && l.resetAfter) {
      candidate.a = s.dq;
      candidate.aRow = H;
      candidate.c = p.c;
      candidate.beta = 1;
      if (Status status = c.blas.multiply(candidate, c.precision, stream); !status.ok()) return status;
    }
    return aside ? maskState(product, dh, N * H, mask, keeps, stream) : Status();
  }

  /** After all steps: end states, norms, gradients of the weights. */
  Status finish(const RunContext& c, cudaStream_t stream) const {
    const size_t bytes = spec.N * l.H * sizeof(float);
    if (io.dh0) DEEPRNN_TRY(cudaMemcpyAsync(io.dh0, dh, bytes, cudaMemcpyDeviceToDevice, stream));
    if (io.dc0) DEEPRNN_TRY(cudaMemcpyAsync(io.dc0, dc, bytes, cudaMemcpyDeviceToDevice, stream));
    if (norms) {
      if (Status s = stepNorms(total, norms, spec.T, spec.N * l.H, stream); !s.ok()) return s;
    }
    return WeightGradients{spec, l, io, step, bottom, input, r, dG, dq, ordered, masked, sums, products}
        .queue(c, stream);
  }
};

size_t StackSteps::backwardScratch() const {
  Carver carve(nullptr);
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const StackLayer& l = spec_.layers[i];
    Backward run{spec_,     l,       io_.layers[i],
                 io_.valid, step_,   i == 0,
                 false,     nullptr, ReserveView(nullptr, l, 0),
                 nullptr,   nullptr, io_.stepNorms,
                 {},        {},      {},
                 {},        {},      {},
                 {},        {},      {},
                 {},        {},      {}};
    run.take(&carve);
    if (i > 0) carve.take(spec_.T * spec_.N * l.D);
  }
  return carve.used();
}

Status StackSteps::backward(const RunContext& c) const {
  const size_t layers = spec_.layers.size(), rows = spec_.T * spec_.N;
  Carver carve(c.scratch);
  std::vector<Backward> runs;
  const float* input = io_.x;
  float* reserve = io_.reserve;
  for (size_t i = 0; i < layers; ++i) {
    const StackLayer& l = spec_.layers[i];
    const ReserveView view(reserve, l, rows);
    Backward run{spec_,
                 l,
                 io_.layers[i],
                 io_.valid,
                 step_,
                 i == 0,
                 i + 1 == layers,
                 input,
                 view,
                 io_.dx,
                 nullptr,
                 io_.stepNorms ? io_.stepNorms + i * spec_.normRow() : nullptr,
                 {},
                 {},
                 {},
                 {},
                 {},
                 {},
                 {},
                 {},
                 {},
                 {},
                 {},
                 {}};
    run.take(&carve);
    if (i > 0) {
      run.dBelow = carve.take(rows * l.D);
      runs[i - 1].dAbove = run.dBelow;
    }
    runs.push_back(run);
    input = view.h;
    reserve += ReserveView::size(l, rows);
  }
  const size_t chunks = (spec_.T + chunk_ - 1) / chunk_;
  const Lanes lanes(c, layers > 1 && chunks > 1);
  if (Status s = lanes.fork(layers); !s.ok()) return s;
  for (size_t i = 0; i < layers; ++i) {
    if (Status s = runs[i].begin(lanes.of(i)); !s.ok()) return s;
  }
  // Layer layers−1−j takes its last chunk in diagonal j.
  for (size_t diagonal = 0; diagonal < layers + chunks - 1; ++diagonal) {
    for (size_t j = std::min(diagonal + 1, layers); j-- > 0;) {
      const size_t i = layers - 1 - j, k = diagonal - j;
      if (k >= chunks) continue;
      if (i + 1 < layers) {
        if (Status s = lanes.after(i, i + 1); !s.ok()) return s;
      }
      const size_t first = (chunks - 1 - k) * chunk_;
      if (Status s = runs[i].chunk(c, lanes.of(i), first, std::min(chunk_, spec_.T - first)); !s.ok())
        return s;
      if (k + 1 < chunks) continue;
      if (Status s = runs[i].finish(c, lanes.of(i)); !s.ok()) return s;
    }
  }
  return lanes.join(layers);
}

}  // namespace deeprnn::cuda

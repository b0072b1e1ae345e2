#include "cuda/rnn_persistent.h"

#include <algorithm>
#include <cstring>

#include "cuda/mma.h"
#include "cuda/reductions.h"
#include "cuda/rnn_weights.h"

namespace deeprnn::cuda {
namespace {

/** Which slots of a row of gradients a layer reads (slotOf in rnn_persistent_backward.cu): a GRU's rows are q
 * r z n. */
struct GradientSlots {
  int stored, own, below;
  bool belowSkipsFirst;
};
GradientSlots gradientSlots(Cell cell) {
  switch (cell) {
    case Cell::simpleRnn:
      return {1, 1, 1, false};
    case Cell::lstm:
      return {4, 4, 4, false};
    default:
      return {4, 3, 3, true};
  }
}

int paddedLength(size_t length, Precision precision) {
  const int chunk = chunkLength(precision);
  return (static_cast<int>(length) + chunk - 1) / chunk * chunk;
}

int chunksOf(size_t length, Precision precision) {
  return paddedLength(length, precision) / chunkLength(precision);
}

/** Columns of the product that a unit needs. */
int perUnitOf(const StackSpec& spec, size_t layer, bool backward) {
  const StackLayer& l = spec.layers[layer];
  if (!backward) return l.cell == Cell::simpleRnn ? 1 : 4;
  // What comes from above is apart where one of the two is masked.
  const bool masked =
      l.recurrentRate > 0 || (layer + 1 < spec.layers.size() && spec.layers[layer + 1].inputRate > 0);
  return masked && layer + 1 < spec.layers.size() ? 2 : 1;
}

/** Arrays that a step of layer `i` reads, by StagedPlace. */
void setStaged(PersistentLayer* p, int place, const StagedArray& array) {
  if (!array.base) return;
  p->staged[place] = array;
  p->stagedIndex[place] = p->stagedCount++;
}

void setGates(int (&gates)[4], int a, int b, int c, int d) {
  const int values[4] = {a, b, c, d};
  std::copy(values, values + 4, gates);
}

LayerWork workOf(const StackSpec& spec, const StackIo& io, size_t i, bool backward, bool above,
                 Precision precision) {
  const StackLayer& l = spec.layers[i];
  const bool top = i + 1 == spec.layers.size();
  LayerWork work;
  work.units = static_cast<int>(l.H);
  work.perUnit = perUnitOf(spec, i, backward);
  work.carried = (l.cell == Cell::simpleRnn ? 0 : 1) + (io.valid && l.cell != Cell::gru ? 1 : 0);
  if (!backward) {
    work.chunks = chunksOf(l.H, precision) + (i > 0 ? chunksOf(l.D, precision) : 0);
    work.staged = i == 0 ? static_cast<int>(l.G) : 0;
    return work;
  }
  work.chunks = gradientSlots(l.cell).own * chunksOf(l.H, precision);
  if (!top) {
    const StackLayer& over = spec.layers[i + 1];
    work.chunks += gradientSlots(over.cell).below * chunksOf(over.H, precision);
  }
  work.staged = static_cast<int>(l.G) + (l.cell == Cell::simpleRnn ? 0 : 2) + (io.layers[i].dy ? 1 : 0) +
                (top && above ? 1 : 0);
  return work;
}

/** Scratch of one layer, beside the weights' gradients. */
struct LayerScratch {
  float *gates = nullptr, *ordered = nullptr;
  unsigned char *own = nullptr, *up = nullptr, *h0 = nullptr;
  /** Of `own`, and of `up` where it is there. */
  size_t rowsBytes = 0;
  int ownRowBytes = 0;
  float *dG = nullptr, *dq = nullptr, *total = nullptr, *masked = nullptr, *sums = nullptr;
  uint32_t* done = nullptr;
};

struct StackScratch {
  std::vector<LayerScratch> layers;
  /** The counters of all layers, side by side, so that one clearing does. */
  uint32_t* counters;
  size_t counterBytes, used;

  StackScratch(unsigned char* base, const StackSpec& spec, const StackIo& io, bool backward,
               Precision precision, const PersistentShape& shape) {
    Carver carve(base);
    const size_t rows = spec.T * spec.N, perLayer = static_cast<size_t>(shape.groups) * spec.T,
                 stored = static_cast<size_t>(shape.groups) * static_cast<size_t>(shape.storedRows);
    const auto takeBytes = [&](size_t bytes) {
      return reinterpret_cast<unsigned char*>(carve.take(bytes / sizeof(float)));
    };
    counterBytes = spec.layers.size() * perLayer * sizeof(uint32_t);
    counters = reinterpret_cast<uint32_t*>(carve.take(spec.layers.size() * perLayer));
    for (size_t i = 0; i < spec.layers.size(); ++i) {
      const StackLayer& l = spec.layers[i];
      LayerScratch s;
      s.done = counters ? counters + i * perLayer : nullptr;
      const int slots = backward ? gradientSlots(l.cell).stored : 1;
      s.ownRowBytes = slots * paddedLength(l.H, precision) * elementBytes(precision);
      s.rowsBytes = spec.T * stored * static_cast<size_t>(s.ownRowBytes);
      s.own = takeBytes(s.rowsBytes);
      if ((i == 0 || backward) && reordersInput(spec, l, i == 0)) s.ordered = carve.take(rows * l.D);
      if (!backward) {
        const bool top = i + 1 == spec.layers.size();
        if (!top && (l.recurrentRate > 0 || spec.layers[i + 1].inputRate > 0)) {
          s.up = takeBytes(s.rowsBytes);
        }
        if (io.layers[i].h0) s.h0 = takeBytes(stored * static_cast<size_t>(s.ownRowBytes));
        if (!io.reserve && i == 0) s.gates = carve.take(rows * l.G * l.H);
      } else {
        s.dG = carve.take(rows * l.G * l.H);
        if (l.cell == Cell::gru) s.dq = carve.take(rows * l.H);
        if (io.stepNorms) s.total = carve.take(rows * l.H);
        if (l.recurrentRate > 0) s.masked = carve.take(rows * l.H);
        s.sums = carve.take(columnSumsScratch(rows, l.G * l.H));
      }
      layers.push_back(s);
    }
    used = carve.used();
  }
};

/** Rows that `writer`'s blocks write, as another layer or itself reads them. */
StepSource sourceOf(const PersistentLayer& writer, const unsigned char* rows, int rowBytes, int slots,
                    const StackLayer& l, int slotLength, Precision precision) {
  StepSource s{};
  s.rows = rows;
  s.stepBytes = static_cast<size_t>(writer.groups) * static_cast<size_t>(writer.storedRows) *
                static_cast<size_t>(rowBytes);
  s.rowBytes = rowBytes;
  s.slotLength = slotLength;
  s.length = static_cast<int>(l.H);
  s.chunks = slots * slotLength / chunkLength(precision);
  s.ready = writer.done;
  s.writers = static_cast<uint32_t>(writer.blocks);
  return s;
}

/** What the two directions fill in beside `common`. */
struct TableMaker {
  const StackSpec& spec;
  const StackIo& io;
  const double* step;
  const float* dAbove;
  Precision precision;
  const StackScratch& memory;
  const std::vector<ReserveView>& views;
  std::vector<PersistentLayer>& layers;

  void forward(size_t i) const {
    const StackLayer& l = spec.layers[i];
    const LayerScratch& own = memory.layers[i];
    PersistentLayer& p = layers[i];
    const bool gru = l.cell == Cell::gru;
    const int H = static_cast<int>(l.H), width = static_cast<int>(l.G) * H;
    p.bias = io.layers[i].bias;
    p.y = io.layers[i].y;
    p.hT = io.layers[i].hT;
    p.cT = io.layers[i].cT;
    p.up = own.up;
    if (io.reserve) {
      p.gates = views[i].gates;
      p.extra = views[i].extra;
      p.h = views[i].h;
    }
    if (i == 0) {
      const float* projected = io.reserve ? views[0].gates : own.gates;
      for (int g = 0; g < static_cast<int>(l.G); ++g)
        setStaged(&p, stagedGates + g,
                  {projected ? projected + g * H : nullptr, spec.N * l.G * l.H, width, 0, nullptr, false});
    } else {
      const LayerScratch& below = memory.layers[i - 1];
      StepSource& input = p.sources[p.sourceCount++];
      input = sourceOf(layers[i - 1], below.up ? below.up : below.own, below.ownRowBytes, 1,
                       spec.layers[i - 1], layers[i - 1].slotLength, precision);
      input.matrix = io.layers[i].kernel;
      input.matrixRow = width;
      setGates(input.columnGate, 0, 1, 2, gru ? -1 : 3);
    }
    StepSource& state = p.sources[p.sourceCount++];
    state = sourceOf(p, own.own, own.ownRowBytes, 1, l, p.slotLength, precision);
    state.outside = own.h0;
    state.shift = -1;
    state.matrix = io.layers[i].recurrentKernel;
    state.matrixRow = width;
    if (gru) {
      setGates(state.columnGate, 0, 1, -1, 2);
    } else {
      setGates(state.columnGate, 0, 1, 2, 3);
    }
  }

  void backward(size_t i) const {
    const StackLayer& l = spec.layers[i];
    const StackLayerIo& arrays = io.layers[i];
    const LayerScratch& own = memory.layers[i];
    PersistentLayer& p = layers[i];
    const bool top = i + 1 == layers.size(), gru = l.cell == Cell::gru;
    const int H = static_cast<int>(l.H), width = static_cast<int>(l.G) * H;
    const size_t state = spec.N * l.H;
    p.dhT = arrays.dhT;
    p.dcT = arrays.dcT;
    p.dh0 = arrays.dh0;
    p.dc0 = arrays.dc0;
    p.dG = own.dG;
    p.dq = own.dq;
    p.total = own.total;
    for (int g = 0; g < static_cast<int>(l.G); ++g)
      setStaged(&p, stagedGates + g, {views[i].gates + g * H, state * l.G, width, 0, nullptr, false});
    if (l.cell == Cell::lstm) {
      setStaged(&p, stagedExtra, {views[i].extra, state, H, 0, nullptr, false});
      setStaged(&p, stagedPrevious, {views[i].extra, state, H, -1, arrays.c0, false});
    } else if (gru) {
      setStaged(&p, stagedExtra, {views[i].extra, state, H, 0, nullptr, false});
      setStaged(&p, stagedPrevious, {views[i].h, state, H, -1, arrays.h0, false});
    }
    setStaged(&p, stagedDy, {arrays.dy, state, H, 0, nullptr, p.lastOnly});
    if (top) setStaged(&p, stagedAbove, {dAbove, state, H, 0, nullptr, false});
    if (!top) {
      const StackLayer& over = spec.layers[i + 1];
      const PersistentLayer& above = layers[i + 1];
      const GradientSlots slots = gradientSlots(over.cell);
      const int skipped = slots.belowSkipsFirst ? above.slotLength * elementBytes(precision) : 0;
      StepSource& s = p.sources[p.sourceCount++];
      s = sourceOf(above, memory.layers[i + 1].own + skipped, memory.layers[i + 1].ownRowBytes, slots.below,
                   over, above.slotLength, precision);
      s.matrix = io.layers[i + 1].kernel;
      s.matrixRow = static_cast<int>(over.G * over.H);
      s.transposed = true;
      setGates(s.slotGate, 0, 1, 2, 3);
      setGates(s.columnGate, p.perUnit == 2 ? -1 : 0, p.perUnit == 2 ? 0 : -1, -1, -1);
    }
    StepSource& gates = p.sources[p.sourceCount++];
    gates = sourceOf(p, own.own, own.ownRowBytes, gradientSlots(l.cell).own, l, p.slotLength, precision);
    gates.shift = 1;
    gates.matrix = arrays.recurrentKernel;
    gates.matrixRow = width;
    gates.transposed = true;
    if (gru) {
      setGates(gates.slotGate, 2, 0, 1, -1);
    } else {
      setGates(gates.slotGate, 0, 1, 2, 3);
    }
    setGates(gates.columnGate, 0, -1, -1, -1);
  }
};

}  // namespace

std::unique_ptr<PersistentStack> PersistentStack::plan(const StackSpec& spec, const StackIo& io,
                                                       const double* step, bool backward, const float* dAbove,
                                                       Precision precision, const DeviceLimits& device,
                                                       const char** why) {
  for (const StackLayer& l : spec.layers) {
    if (l.cell == Cell::gru && !l.resetAfter) {
      *why = "a GRU with the reset before the product needs two exchanges a step";
      return nullptr;
    }
    if (l.zones()) {
      *why = "a layer with zoneout has no persistent kernel";
      return nullptr;
    }
    if (l.recurrentRate > 0 && l.stateMaskPerStep) {
      *why = "a recurrent dropout mask for each step has no persistent kernel";
      return nullptr;
    }
    if (l.variant()) {
      *why = "an LSTM with cellClip, peepholes or coupledGates has no persistent kernel";
      return nullptr;
    }
  }
  std::vector<LayerWork> work;
  for (size_t i = 0; i < spec.layers.size(); ++i)
    work.push_back(workOf(spec, io, i, backward, dAbove != nullptr, precision));
  auto stack = std::make_unique<PersistentStack>();
  stack->spec_ = spec;
  stack->io_ = io;
  stack->step_ = step;
  stack->dAbove_ = dAbove;
  stack->backward_ = backward;
  stack->precision_ = precision;
  stack->shape_ = shareOut(work, spec.N, precision, device);
  if (!stack->shape_) {
    *why = "the weights do not fit in the shared memory of the device's multiprocessors";
    return nullptr;
  }
  return stack;
}

std::string PersistentStack::describe() const {
  std::string text = std::to_string(shape_.grid()) + " blocks (" + std::to_string(shape_.groups) +
                     (shape_.groups == 1 ? " group of " : " groups of ");
  for (size_t i = 0; i < shape_.layers.size(); ++i)
    text += (i ? " + " : "") + std::to_string(shape_.layers[i].blocks);
  return text + "), " + std::to_string(shape_.sharedBytes) + " bytes of shared memory each";
}

double PersistentStack::microseconds() const {
  return static_cast<double>(spec_.T + spec_.layers.size() - 1) * shape_.clocks / kClocksPerMicrosecond;
}

size_t PersistentStack::scratch() const {
  return StackScratch(nullptr, spec_, io_, backward_, precision_, shape_).used;
}

std::vector<unsigned char> PersistentStack::table(unsigned char* scratch) const {
  const StackScratch memory(scratch, spec_, io_, backward_, precision_, shape_);
  const size_t count = spec_.layers.size(), rows = spec_.T * spec_.N;
  std::vector<PersistentLayer> layers(count);
  std::vector<ReserveView> views;
  float* reserve = io_.reserve;
  for (const StackLayer& l : spec_.layers) {
    views.emplace_back(reserve, l, rows);
    if (reserve) reserve += ReserveView::size(l, rows);
  }
  int firstBlock = 0;
  for (size_t i = 0; i < count; ++i) {
    const StackLayer& l = spec_.layers[i];
    const LayerShape& own = shape_.layers[i];
    const LayerWork work = workOf(spec_, io_, i, backward_, dAbove_ != nullptr, precision_);
    const SharedPlan shared(work, own, shape_.rows, shape_.rowTiles);
    const bool top = i + 1 == count;
    PersistentLayer p{};
    p.l = l;
    p.T = static_cast<int>(spec_.T);
    p.N = static_cast<int>(spec_.N);
    p.groups = shape_.groups;
    p.rows = shape_.rows;
    p.storedRows = shape_.storedRows;
    p.firstBlock = firstBlock;
    p.blocks = own.blocks;
    p.blocksOfGroup = shape_.blocks;
    p.units = own.units;
    p.tiles = own.tiles;
    p.perUnit = work.perUnit;
    p.partialRow = shared.partialRow;
    p.weightsAt = static_cast<int>(shared.weights);
    p.biasAt = static_cast<int>(shared.bias);
    p.carriedAt = static_cast<int>(shared.carried);
    p.stagedAt = static_cast<int>(shared.staged);
    std::fill(p.stagedIndex, p.stagedIndex + kStagedArrays, -1);
    p.done = memory.layers[i].done;
    p.own = memory.layers[i].own;
    p.ownRowBytes = memory.layers[i].ownRowBytes;
    p.slotLength = paddedLength(l.H, precision_);
    p.lastOnly = top && !spec_.returnSequences;
    p.h0 = io_.layers[i].h0;
    p.c0 = io_.layers[i].c0;
    p.valid = io_.valid;
    p.recurrentMask = stateMask(spec_, l, step_);
    if (!top) {
      p.aboveMask = inputMask(spec_, spec_.layers[i + 1], step_);
      p.abovePerElement = spec_.layers[i + 1].maskPerElement;
    }
    layers[i] = p;
    firstBlock += own.blocks;
  }
  const TableMaker make{spec_, io_, step_, dAbove_, precision_, memory, views, layers};
  for (size_t i = 0; i < count; ++i) backward_ ? make.backward(i) : make.forward(i);
  const auto* bytes = reinterpret_cast<const unsigned char*>(layers.data());
  return {bytes, bytes + layers.size() * sizeof(PersistentLayer)};
}

KernelLaunch PersistentStack::launchOf(const PersistentLayer* layers) const {
  return {
      layers,    static_cast<int>(spec_.layers.size()), shape_.grid(), shape_.rowTiles, shape_.sharedBytes,
      precision_};
}

Status PersistentStack::run(const RunContext& c, unsigned char* scratch, const unsigned char* table) const {
  const auto* layers = reinterpret_cast<const PersistentLayer*>(table);
  const StackScratch memory(scratch, spec_, io_, backward_, precision_, shape_);
  DEEPRNN_TRY(cudaMemsetAsync(memory.counters, 0, memory.counterBytes, c.stream));
  for (size_t i = 0; i < memory.layers.size(); ++i) {
    // What fills a row up to a whole chunk is multiplied by zero, and must not be NaN.
    const LayerScratch& s = memory.layers[i];
    if (spec_.layers[i].H % static_cast<size_t>(chunkLength(precision_)) == 0) continue;
    DEEPRNN_TRY(cudaMemsetAsync(s.own, 0, s.rowsBytes, c.stream));
    if (s.up) DEEPRNN_TRY(cudaMemsetAsync(s.up, 0, s.rowsBytes, c.stream));
  }
  return backward_ ? backward(c, scratch, layers) : forward(c, scratch, layers);
}

Status PersistentStack::forward(const RunContext& c, unsigned char* scratch,
                                const PersistentLayer* layers) const {
  const StackScratch memory(scratch, spec_, io_, false, precision_, shape_);
  const StackLayer& l = spec_.layers[0];
  const size_t width = l.G * l.H, rows = spec_.T * spec_.N;
  const float* x = io_.x;
  if (float* ordered = memory.layers[0].ordered) {
    if (Status s = orderInputs(inputOrder(spec_, l, step_, true), x, ordered, 0, spec_.T, c.stream); !s.ok())
      return s;
    x = ordered;
  }
  Product p;
  p.m = rows;
  p.n = p.bRow = p.cRow = width;
  p.k = p.aRow = l.D;
  p.a = x;
  p.b = io_.layers[0].kernel;
  p.c = io_.reserve ? ReserveView(io_.reserve, l, rows).gates : memory.layers[0].gates;
  if (Status s = c.blas.multiply(p, c.precision, c.stream); !s.ok()) return s;
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    if (!memory.layers[i].h0) continue;
    const StackLayer& own = spec_.layers[i];
    const StateRows states{static_cast<int>(spec_.N),
                           static_cast<int>(own.H),
                           shape_.rows,
                           shape_.storedRows,
                           shape_.groups,
                           memory.layers[i].ownRowBytes,
                           stateMask(spec_, own, step_),
                           precision_};
    if (Status s = packStates(states, io_.layers[i].h0, memory.layers[i].h0, c.stream); !s.ok()) return s;
  }
  return persistentForward(launchOf(layers), c.stream);
}

Status PersistentStack::backward(const RunContext& c, unsigned char* scratch,
                                 const PersistentLayer* layers) const {
  const StackScratch memory(scratch, spec_, io_, true, precision_, shape_);
  if (Status s = persistentBackward(launchOf(layers), c.stream); !s.ok()) return s;
  const size_t rows = spec_.T * spec_.N;
  const float* input = io_.x;
  float* reserve = io_.reserve;
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const StackLayer& l = spec_.layers[i];
    const LayerScratch& mine = memory.layers[i];
    const ReserveView view(reserve, l, rows);
    if (i == 0 && io_.dx) {
      Product p;
      p.m = rows;
      p.n = p.cRow = l.D;
      p.k = p.aRow = p.bRow = l.G * l.H;
      p.a = mine.dG;
      p.b = io_.layers[0].kernel;
      p.bTransposed = true;
      p.c = mine.ordered ? mine.ordered : io_.dx;
      if (Status s = c.blas.multiply(p, c.precision, c.stream); !s.ok()) return s;
      if (mine.ordered) {
        const InputOrder order = inputOrder(spec_, l, step_, true);
        if (Status s = restoreInputs(order, mine.ordered, io_.dx, 0, spec_.T, c.stream); !s.ok()) return s;
      }
    }
    if (io_.stepNorms) {
      if (Status s =
              stepNorms(mine.total, io_.stepNorms + i * spec_.normRow(), spec_.T, spec_.N * l.H, c.stream);
          !s.ok())
        return s;
    }
    const WeightGradients gradients{spec_, l,       io_.layers[i], step_,        i == 0,      input,
                                    view,  mine.dG, mine.dq,       mine.ordered, mine.masked, mine.sums};
    if (Status s = gradients.queue(c, c.stream); !s.ok()) return s;
    input = view.h;
    reserve += ReserveView::size(l, rows);
  }
  return {};
}

}  // namespace deeprnn::cuda

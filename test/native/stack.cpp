// The recurrent stack: the same bits for every number of threads, and gradients against differences of its
// own forward pass.
#include <cmath>
#include <cstring>

#include "check.h"
#include "cpu/rnn_stack.h"
#include "cpu/session.h"

namespace deeprnn::test {
namespace {

using core::Activation;
using core::Cell;
using cpu::Buffer;
using cpu::KernelTable;
using cpu::StackIo;
using cpu::StackLayer;
using cpu::StackLayerIo;
using cpu::StackSpec;

using Floats = std::vector<float>;

/** A stack, and whether some steps of its sequences are padding. */
struct MaskedSpec : StackSpec {
  bool masked = false;
};

struct CellChoice {
  Cell cell;
  bool resetAfter;
  const char* name;
  float cellClip = 0;
  bool peepholes = false, coupledGates = false;
  bool zoneout = false;
};

StackLayer layer(const CellChoice& choice, size_t D, size_t H) {
  StackLayer l;
  l.cell = choice.cell;
  l.D = D;
  l.H = H;
  l.G = static_cast<size_t>(core::gateCount(choice.cell, choice.coupledGates));
  l.resetAfter = choice.resetAfter;
  l.cellClip = choice.cellClip;
  l.peepholes = choice.peepholes;
  l.coupledGates = choice.coupledGates;
  if (choice.zoneout) {
    l.zoneout = 0.3;
    l.zoneoutStream = 5;
    if (choice.cell == Cell::lstm) l.cellZoneout = 0.4;
    l.cellZoneoutStream = 6;
    // The first layer draws, the others keep what that gives on average.
    l.zoneoutExpected = D > 3;
  }
  return l;
}

/** All arrays of one run of a stack. */
struct Arrays {
  struct Layer {
    Floats kernel, recurrentKernel, bias, h0, c0, peephole, y, hT, cT, dy, dhT, dcT, dKernel,
        dRecurrentKernel, dBias, dh0, dc0, dPeephole;
  };
  Floats x, reserve, dx;
  std::vector<int32_t> valid;
  std::vector<double> norms;
  std::vector<Layer> layers;
  size_t batch = 0;

  Arrays(const MaskedSpec& spec, uint32_t stream) {
    Random random(stream);
    const size_t rows = spec.T * spec.N;
    size_t kept = 0;
    x = random.floats(rows * spec.layers[0].D);
    dx.assign(x.size(), std::nanf(""));
    norms.resize(spec.layers.size() * spec.T);
    // The last row counts from its third step on, every fourth row until its third, and some have holes.
    for (size_t t = 0; spec.masked && t < spec.T; ++t) {
      for (size_t n = 0; n < spec.N; ++n) {
        const bool counts = n + 1 == spec.N ? t >= 2 : n % 4 == 3 ? t < 3 : (t + n) % 5 != 0;
        valid.push_back(counts ? 1 : 0);
      }
    }
    batch = spec.N;
    for (size_t i = 0; i < spec.layers.size(); ++i) {
      const StackLayer& l = spec.layers[i];
      const size_t state = spec.N * l.H, width = l.G * l.H;
      const size_t bias = (l.cell == Cell::gru && l.resetAfter ? 2 : 1) * width;
      const size_t y = i + 1 == spec.layers.size() && !spec.returnSequences ? state : rows * l.H;
      const bool lstm = l.cell == Cell::lstm;
      Layer a;
      a.kernel = random.floats(l.D * width);
      a.recurrentKernel = random.floats(l.H * width);
      a.bias = random.floats(bias);
      a.peephole = random.floats(l.peepholes ? (l.G - 1) * l.H : 0);
      // Small enough that a recurrence through unbounded activations does not grow.
      for (Floats* weights : {&a.kernel, &a.recurrentKernel, &a.bias}) {
        for (float& w : *weights) w *= 0.4f;
      }
      for (float& w : a.peephole) w *= 0.1f;
      a.h0 = random.floats(state);
      a.c0 = random.floats(lstm ? state : 0);
      a.y.resize(y);
      a.hT.resize(state);
      a.cT.resize(a.c0.size());
      a.dy = random.floats(y);
      a.dhT = random.floats(state);
      a.dcT = random.floats(a.c0.size());
      a.dKernel.resize(a.kernel.size());
      a.dRecurrentKernel.resize(a.recurrentKernel.size());
      a.dBias.resize(bias);
      a.dh0.resize(state);
      a.dc0.resize(a.c0.size());
      a.dPeephole.resize(a.peephole.size());
      layers.push_back(std::move(a));
      kept +=
          rows * l.H * static_cast<size_t>(core::reservePerUnit(l.cell, l.coupledGates, l.cellZoneout > 0));
    }
    // Nobody may read what has not been written.
    reserve.assign(kept, std::nanf(""));
  }

  StackIo io(bool withReserve) {
    StackIo io;
    io.step = 7;
    io.x = x.data();
    io.reserve = withReserve ? reserve.data() : nullptr;
    io.dx = dx.data();
    io.stepNorms = norms.data();
    if (!valid.empty()) {
      io.valid.first = valid.data();
      io.valid.step = static_cast<ptrdiff_t>(batch);
    }
    const auto orNull = [](Floats& v) { return v.empty() ? nullptr : v.data(); };
    for (Layer& a : layers) {
      StackLayerIo l{};
      l.kernel = a.kernel.data();
      l.recurrentKernel = a.recurrentKernel.data();
      l.bias = a.bias.data();
      l.h0 = a.h0.data();
      l.c0 = orNull(a.c0);
      l.peephole = orNull(a.peephole);
      l.y = a.y.data();
      l.hT = a.hT.data();
      l.cT = orNull(a.cT);
      l.dy = a.dy.data();
      l.dhT = a.dhT.data();
      l.dcT = orNull(a.dcT);
      l.dKernel = a.dKernel.data();
      l.dRecurrentKernel = a.dRecurrentKernel.data();
      l.dBias = a.dBias.data();
      l.dh0 = a.dh0.data();
      l.dc0 = orNull(a.dc0);
      l.dPeephole = orNull(a.dPeephole);
      io.layers.push_back(l);
    }
    return io;
  }

  void forward(const MaskedSpec& spec, const KernelTable& k, int threads, bool withReserve,
               size_t largeLayer = cpu::RnnStack::kLargeLayer, bool packsRows = true) {
    cpu::ThreadPool pool(threads);
    const cpu::RnnStack stack(spec, k, threads, largeLayer, packsRows);
    const Buffer scratch(stack.forwardScratch(withReserve) * sizeof(float)),
        packed(stack.packedFloats() * sizeof(float));
    auto* weights = reinterpret_cast<float*>(packed.data());
    stack.pack(io(withReserve), weights, pool);
    stack.forward(io(withReserve), weights, reinterpret_cast<float*>(scratch.data()), pool);
  }

  void backward(const MaskedSpec& spec, const KernelTable& k, int threads,
                size_t largeLayer = cpu::RnnStack::kLargeLayer, bool packsRows = true,
                size_t fewGates = cpu::RnnStack::kFewGates) {
    cpu::ThreadPool pool(threads);
    const cpu::RnnStack stack(spec, k, threads, largeLayer, packsRows, fewGates);
    const Buffer scratch(stack.backwardScratch() * sizeof(float));
    stack.backward(io(true), reinterpret_cast<float*>(scratch.data()), pool);
  }

  /** The scalar whose gradient dy, dhT and dcT ask for. */
  double objective() const {
    double sum = 0;
    const auto addProduct = [&](const Floats& a, const Floats& b) {
      for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
    };
    for (const Layer& l : layers) {
      addProduct(l.y, l.dy);
      addProduct(l.hT, l.dhT);
      addProduct(l.cT, l.dcT);
    }
    return sum;
  }

  /** Everything that a run writes. */
  std::vector<const Floats*> results() const {
    std::vector<const Floats*> all = {&dx};
    // What is kept of steps that do not count may be anything.
    if (valid.empty()) all.push_back(&reserve);
    for (const Layer& l : layers) {
      for (const Floats* f :
           {&l.y, &l.hT, &l.cT, &l.dKernel, &l.dRecurrentKernel, &l.dBias, &l.dh0, &l.dc0, &l.dPeephole}) {
        all.push_back(f);
      }
    }
    return all;
  }

  bool operator==(const Arrays& other) const {
    const std::vector<const Floats*> a = results(), b = other.results();
    for (size_t i = 0; i < a.size(); ++i) {
      if (!a[i]->empty() && std::memcmp(a[i]->data(), b[i]->data(), a[i]->size() * sizeof(float)) != 0)
        return false;
    }
    return norms == other.norms;
  }
};

void testThreads(const MaskedSpec& spec, const KernelTable& k, const std::string& what) {
  Arrays one(spec, 5);
  one.forward(spec, k, 1, true);
  one.backward(spec, k, 1);
  for (int threads : {2, 3, 4, 5}) {
    Arrays many(spec, 5);
    many.forward(spec, k, threads, true);
    many.backward(spec, k, threads);
    CHECK(many == one, what + ": other bits with " + std::to_string(threads) + " threads");
  }
  // Weights' gradients are made of all steps, or of some at a time while the others are not there yet.
  for (int threads : {1, 2, 5}) {
    for (bool packsRows : {true, false}) {
      Arrays parted(spec, 5);
      parted.forward(spec, k, threads, true);
      parted.backward(spec, k, threads, cpu::RnnStack::kLargeLayer, packsRows, 0);
      CHECK(parted == one, what + ": other bits in parts with " + std::to_string(threads) + " threads");
    }
  }
  // Taken for large ones, layers are shared out by columns and their inputs' products made ahead.
  for (int threads : {1, 2, 5}) {
    Arrays large(spec, 5);
    large.forward(spec, k, threads, true, 1);
    large.backward(spec, k, threads, 1);
    CHECK(large == one, what + ": other bits as large layers with " + std::to_string(threads) + " threads");
  }
  // Rows that do not count are left out of products, or not.
  if (spec.masked) {
    for (size_t largeLayer : {cpu::RnnStack::kLargeLayer, size_t{1}}) {
      Arrays unpacked(spec, 5);
      unpacked.forward(spec, k, 2, true, largeLayer, false);
      unpacked.backward(spec, k, 2, largeLayer, false);
      CHECK(unpacked == one, what + ": other bits with all rows in products");
    }
  }
  // Without a reserve the outputs are the same.
  for (size_t largeLayer : {cpu::RnnStack::kLargeLayer, size_t{1}}) {
    Arrays serving(spec, 5);
    serving.forward(spec, k, 2, false, largeLayer);
    for (size_t l = 0; l < spec.layers.size(); ++l)
      CHECK(serving.layers[l].y == one.layers[l].y, what + ": serving");
  }
}

/** Along a random direction of one array: ⟨gradient, direction⟩ against a central difference. */
void testGradient(const MaskedSpec& spec, const KernelTable& k, Arrays& arrays, Floats& value,
                  const Floats& gradient, const std::string& what) {
  if (value.empty()) return;
  Random random(6);
  const Floats direction = random.floats(value.size()), start = value;
  const double h = 1.0 / 128;
  double expected = 0, size = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    expected += static_cast<double>(gradient[i]) * direction[i];
    size += std::fabs(static_cast<double>(gradient[i]) * direction[i]);
  }
  double sides[2];
  for (int side = 0; side < 2; ++side) {
    for (size_t i = 0; i < value.size(); ++i) {
      value[i] = static_cast<float>(start[i] + (side ? h : -h) * direction[i]);
    }
    arrays.forward(spec, k, 1, true);
    sides[side] = arrays.objective();
  }
  value = start;
  const double difference = (sides[1] - sides[0]) / (2 * h);
  CHECK(size > 0 && std::fabs(difference - expected) <= 2e-3 * size + 2e-3,
        what + ": " + std::to_string(difference) + ", gradient " + std::to_string(expected));
}

void testGradients(const MaskedSpec& spec, const KernelTable& k, const std::string& what) {
  Arrays a(spec, 7);
  a.forward(spec, k, 1, true);
  a.backward(spec, k, 1);
  const Arrays done = a;
  testGradient(spec, k, a, a.x, done.dx, what + " dx");
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const std::string at = what + " layer " + std::to_string(l);
    testGradient(spec, k, a, a.layers[l].kernel, done.layers[l].dKernel, at + " dKernel");
    testGradient(spec, k, a, a.layers[l].recurrentKernel, done.layers[l].dRecurrentKernel,
                 at + " dRecurrentKernel");
    testGradient(spec, k, a, a.layers[l].bias, done.layers[l].dBias, at + " dBias");
    testGradient(spec, k, a, a.layers[l].h0, done.layers[l].dh0, at + " dh0");
    testGradient(spec, k, a, a.layers[l].c0, done.layers[l].dc0, at + " dc0");
    testGradient(spec, k, a, a.layers[l].peephole, done.layers[l].dPeephole, at + " dPeephole");
  }
}

}  // namespace

void testStack() {
  const CellChoice cells[] = {
      {Cell::simpleRnn, false, "simpleRnn"},
      {Cell::lstm, false, "lstm"},
      {Cell::lstm, false, "lstm with cellClip", 0.3f},
      {Cell::lstm, false, "lstm with peepholes", 0, true},
      {Cell::lstm, false, "lstm with coupledGates", 0, false, true},
      {Cell::lstm, false, "lstm with all variants", 0.3f, true, true},
      {Cell::gru, false, "gru"},
      {Cell::gru, true, "gru resetAfter"},
      {Cell::simpleRnn, false, "simpleRnn with zoneout", 0, false, false, true},
      {Cell::lstm, false, "lstm with zoneout", 0, false, false, true},
      {Cell::lstm, false, "lstm with all variants and zoneout", 0.3f, true, true, true},
      {Cell::gru, false, "gru with zoneout", 0, false, false, true},
      {Cell::gru, true, "gru resetAfter with zoneout", 0, false, false, true}};
  std::vector<const KernelTable*> tables = usableKernels();
  for (const KernelTable* k : usableKernels(cpu::Precision::bfloat16)) tables.push_back(k);
  for (const KernelTable* k : tables) {
    const bool rounds = k->precision != cpu::Precision::float32;
    for (const auto& cell : cells) {
      // The last is long enough for products with the inputs of several steps at once, thrice.
      for (int variant = 0; variant < 4; ++variant) {
        const bool tall = variant == 3;
        MaskedSpec spec;
        spec.T = tall ? 8 : 5;
        spec.N = tall ? 67 : 13;
        spec.returnSequences = variant != 1;
        spec.goBackwards = variant == 1;
        spec.masked = variant > 0;
        spec.seedLo = 1;
        spec.seedHi = 2;
        spec.layers = {layer(cell, 3, 7)};
        if (variant > 0) spec.layers.push_back(layer(cell, 7, 11));
        for (StackLayer& l : spec.layers) {
          if (variant != 2) continue;
          l.activation = Activation::gelu;
          l.recurrentActivation = Activation::silu;
          l.inputRate = 0.3;
          l.recurrentRate = 0.4;
          l.inputStream = 3;
          l.recurrentStream = 4;
          l.maskPerElement = &l == spec.layers.data();
          l.stateMaskPerStep = !l.maskPerElement;
        }
        const std::string what = k->name + std::string(rounds ? " bf16 " : " ") + cell.name + " variant " +
                                 std::to_string(variant);
        testThreads(spec, *k, what);
        // Differences of rounded products say little, and those across a bound nothing.
        if (!rounds && !tall && cell.cellClip == 0) testGradients(spec, *k, what);
      }
    }
  }
}

}  // namespace deeprnn::test

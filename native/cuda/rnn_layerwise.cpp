#include "cuda/rnn_layerwise.h"

#include <algorithm>

#include "cuda/rnn_weights.h"

namespace deeprnn::cuda {
namespace {

/** Stands in for scratch memory while sizes are found: only whether an array is there matters, not where. */
alignas(256) unsigned char somewhere[256];

}  // namespace

struct LayerwiseStack::Between {
  /** What the layers use one after another. */
  unsigned char* own;
  /** Forward, where no reserve keeps them: h [T, N, H] of each layer but the top. Backward: ∂/∂h [T, N, H] of
   * each but the top, from the layer above. */
  std::vector<float*> arrays;
  size_t used;

  Between(unsigned char* base, const LayerwiseStack& s) {
    Carver carve(base);
    own = reinterpret_cast<unsigned char*>(carve.take(s.layerScratch_ / sizeof(float)));
    for (size_t i = 0; i + 1 < s.spec_.layers.size(); ++i) {
      const bool needed = s.backward_ || !s.io_.reserve;
      arrays.push_back(needed ? carve.take(s.spec_.T * s.spec_.N * s.spec_.layers[i].H) : nullptr);
    }
    used = carve.used();
  }
};

std::unique_ptr<PersistentStack> LayerwiseStack::layer(size_t i, const Between& between,
                                                       const char** why) const {
  const size_t count = spec_.layers.size(), rows = spec_.T * spec_.N;
  StackSpec spec = spec_;
  spec.layers = {spec_.layers[i]};
  spec.goBackwards = i == 0 && spec_.goBackwards;
  spec.returnSequences = i + 1 < count || spec_.returnSequences;
  StackIo io = io_;
  io.layers = {io_.layers[i]};
  for (size_t below = 0; below < i; ++below) {
    const size_t size = ReserveView::size(spec_.layers[below], rows);
    if (io_.reserve) {
      if (below + 1 == i) io.x = ReserveView(io.reserve, spec_.layers[below], rows).h;
      io.reserve += size;
    } else if (below + 1 == i) {
      io.x = io_.layers[below].y ? io_.layers[below].y : between.arrays[below];
    }
  }
  if (io_.stepNorms) io.stepNorms = io_.stepNorms + i * spec_.normRow();
  const float* dAbove = nullptr;
  if (backward_) {
    if (i > 0) io.dx = between.arrays[i - 1];
    if (i + 1 < count) dAbove = between.arrays[i];
  } else if (i + 1 < count && !io_.reserve && !io.layers[0].y) {
    io.layers[0].y = between.arrays[i];
  }
  return PersistentStack::plan(spec, io, step_, backward_, dAbove, precision_, device_, why);
}

std::unique_ptr<LayerwiseStack> LayerwiseStack::plan(const StackSpec& spec, const StackIo& io,
                                                     const double* step, bool backward, Precision precision,
                                                     const DeviceLimits& device, const char** why) {
  auto stack = std::make_unique<LayerwiseStack>();
  stack->spec_ = spec;
  stack->io_ = io;
  stack->step_ = step;
  stack->backward_ = backward;
  stack->precision_ = precision;
  stack->device_ = device;
  const Between between(somewhere, *stack);
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const auto layer = stack->layer(i, between, why);
    if (!layer) return nullptr;
    stack->layerScratch_ = std::max(stack->layerScratch_, layer->scratch());
    stack->described_.push_back(layer->describe());
    stack->microseconds_ += layer->microseconds();
  }
  return stack;
}

std::string LayerwiseStack::describe() const {
  std::string text;
  for (const std::string& layer : described_) text += (text.empty() ? "" : "; ") + layer;
  return text;
}

size_t LayerwiseStack::scratch() const {
  return Between(somewhere, *this).used;
}

std::vector<unsigned char> LayerwiseStack::table(unsigned char* scratch) const {
  const Between between(scratch, *this);
  std::vector<unsigned char> all;
  const char* why = nullptr;
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const std::vector<unsigned char> own = layer(i, between, &why)->table(between.own);
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

Status LayerwiseStack::run(const RunContext& c, unsigned char* scratch, const unsigned char* table) const {
  const Between between(scratch, *this);
  const char* why = nullptr;
  for (size_t k = 0; k < spec_.layers.size(); ++k) {
    const size_t i = backward_ ? spec_.layers.size() - 1 - k : k;
    if (Status s = layer(i, between, &why)->run(c, between.own, table + i * sizeof(PersistentLayer)); !s.ok())
      return s;
  }
  return {};
}

}  // namespace deeprnn::cuda

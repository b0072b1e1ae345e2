#include "cuda/executable.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

namespace deeprnn::cuda {

using core::Code;
using core::OpKind;
using core::Role;

namespace {

/** What cudaMalloc aligns to; staged arrays start on it too. */
constexpr size_t kDeviceAlignment = 256;

size_t aligned(size_t bytes) {
  return (bytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
}

Status makeStep(const Operands& o, const Session& session, Step* step) {
  switch (o.op().kind) {
    case OpKind::dense:
    case OpKind::denseGrad:
      *step = denseStep(o);
      return {};
    case OpKind::activation:
    case OpKind::activationGrad:
    case OpKind::dropout:
    case OpKind::noise:
    case OpKind::penalty:
    case OpKind::penaltyGrad:
      *step = activationStep(o);
      return {};
    case OpKind::program:
      *step = programStep(o);
      return {};
    case OpKind::rnnStack:
    case OpKind::rnnStackGrad:
      return stackStep(o, session, step);
    case OpKind::loss:
    case OpKind::lossGrad:
      *step = lossStep(o);
      return {};
    case OpKind::metric:
      *step = metricStep(o);
      return {};
    case OpKind::update:
    case OpKind::constraint:
      *step = updateStep(o);
      return {};
    case OpKind::lengthMask:
    case OpKind::stepMask:
    case OpKind::maskRows:
    case OpKind::maskWeights:
    case OpKind::reverseTime:
    case OpKind::eitherMask:
      *step = maskStep(o);
      return {};
    case OpKind::concat:
    case OpKind::slice:
    case OpKind::multiply:
    case OpKind::scale:
    case OpKind::extremum:
    case OpKind::extremumGrad:
      *step = mergeStep(o);
      return {};
    case OpKind::reshape:
    case OpKind::transpose:
      *step = shapeStep(o);
      return {};
    case OpKind::layerNorm:
    case OpKind::layerNormGrad:
    case OpKind::normalizeRows:
    case OpKind::normalizeRowsGrad:
      *step = normStep(o);
      return {};
    case OpKind::batchNorm:
    case OpKind::batchNormGrad:
      *step = batchNormStep(o);
      return {};
    case OpKind::matmul:
      *step = matmulStep(o);
      return {};
    case OpKind::unfold:
    case OpKind::fold:
    case OpKind::pool:
    case OpKind::poolGrad:
      *step = windowStep(o);
      return {};
    case OpKind::batchToTime:
    case OpKind::timeToBatch:
    case OpKind::check:
    case OpKind::assign:
    case OpKind::add:
    case OpKind::broadcastRows:
    case OpKind::sumRows:
    case OpKind::sumScalars:
    case OpKind::embedding:
    case OpKind::embeddingGrad:
      break;
  }
  *step = dataStep(o);
  return {};
}

}  // namespace

Status Executable::load(Session& session, core::Plan plan, const core::InputSets& inputs,
                        const std::vector<void*>& outputs, std::unique_ptr<Executable>* result) {
  if (Status s = session.enter(); !s.ok()) return s;
  std::unique_ptr<Executable> e(new Executable(session, std::move(plan)));
  if (Status s = e->prepare(inputs, outputs); !s.ok()) return s.code == Code::outOfMemory ? e->whole(s) : s;
  if (Status s = e->capture(); !s.ok()) return s;
  *result = std::move(e);
  return {};
}

Status Executable::whole(const Status& shortage) {
  if (shortage.needed == 0) return shortage;
  if (steps_.empty()) {
    // How much scratch memory they need does not depend on where the values lie; these steps will never run.
    std::vector<unsigned char> somewhere(1);
    if (Status s = makeSteps({somewhere.data(), somewhere.data(), somewhere.data()}); !s.ok()) return s;
  }
  const double available = shortage.available + static_cast<double>(deviceBytes());
  const auto needed = static_cast<double>(plannedBytes_ + scratchBytes());
  Status s = shortage;
  s.message = "out of device memory: a plan needs " + sizeText(needed) + " (its buffers alone " +
              sizeText(static_cast<double>(plan_.arenaBytes)) + "), and " + sizeText(available) +
              " are free.";
  s.needed = needed;
  s.available = available;
  return s;
}

Executable::~Executable() {
  (void)session_.enter();
  // What was staged and never run, or a run that failed on its way, may still use the memory.
  cudaStreamSynchronize(session_.copyStream());
  cudaStreamSynchronize(session_.stream());
  for (const cudaEvent_t event : arrived_) {
    if (event) cudaEventDestroy(event);
  }
  if (graph_) cudaGraphExecDestroy(graph_);
}

size_t Executable::deviceBytes() const {
  return deviceInputs_.bytes() + ahead_[0].bytes() + ahead_[1].bytes() + deviceOutputs_.bytes() +
         arena_.bytes() + scratch_.bytes() + tables_.bytes();
}

size_t Executable::bytes() const {
  return deviceBytes() + hostInputs_.bytes() + hostOutputs_.bytes();
}

std::vector<std::string> Executable::notes() const {
  std::vector<std::string> all;
  for (const Step& step : steps_) all.push_back(step.note);
  return all;
}

Status Executable::prepare(const core::InputSets& inputs, const std::vector<void*>& outputs) {
  for (const std::vector<void*>& set : inputs) {
    if (set.size() < plan_.inputCount)
      return Status::error(Code::badPlan, "bad plan: an input slot that is not there.");
  }
  outputs_.resize(outputs.size());
  inputOffsets_.resize(plan_.inputCount);
  const auto place = [&](bool scalars, std::array<std::vector<Staged>, 2>* sets, size_t* end) {
    for (const core::Value& v : plan_.values) {
      if (v.role != Role::input || (v.dtype == core::DType::float64) != scalars) continue;
      const auto slot = static_cast<size_t>(v.slot);
      for (size_t set = 0; set < inputs.size(); ++set)
        (*sets)[set].push_back({inputs[set][slot], *end, v.bytes()});
      inputOffsets_[slot] = *end + (scalars ? dataBytes_ : 0);
      *end += aligned(v.bytes());
    }
  };
  place(false, &data_, &dataBytes_);
  place(true, &scalars_, &scalarBytes_);
  size_t outputBytes = 0;
  for (const core::Value& v : plan_.values) {
    if (v.role != Role::output) continue;
    const auto slot = static_cast<size_t>(v.slot);
    if (slot >= outputs.size())
      return Status::error(Code::badPlan, "bad plan: an output slot that is not there.");
    outputs_[slot] = {outputs[slot], outputBytes, v.bytes()};
    outputBytes += aligned(v.bytes());
  }
  faultOffset_ = outputBytes;
  outputBytes += plan_.ops.size() * sizeof(Fault);
  plannedBytes_ = 3 * dataBytes_ + scalarBytes_ + outputBytes + plan_.arenaBytes;
  const auto onDevice = [](size_t bytes, const char* what, DeviceBuffer* buffer) {
    return DeviceBuffer::allocate(bytes, what, buffer);
  };
  // The largest first: what does not fit is then known at once.
  if (Status s = onDevice(plan_.arenaBytes, "the buffers of a plan", &arena_); !s.ok()) return s;
  if (Status s = onDevice(dataBytes_ + scalarBytes_, "the inputs of a plan", &deviceInputs_); !s.ok())
    return s;
  for (DeviceBuffer& buffer : ahead_) {
    if (Status s = onDevice(dataBytes_, "the inputs of the next run", &buffer); !s.ok()) return s;
  }
  if (Status s = onDevice(outputBytes, "the outputs of a plan", &deviceOutputs_); !s.ok()) return s;
  if (Status s = onDevice(sizeof(unsigned), "a flag", &failed_); !s.ok()) return s;
  if (Status s = PinnedBuffer::allocate(2 * dataBytes_ + scalarBytes_, &hostInputs_); !s.ok()) return s;
  if (Status s = PinnedBuffer::allocate(outputBytes, &hostOutputs_); !s.ok()) return s;
  for (cudaEvent_t& event : arrived_) DEEPRNN_TRY(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));

  if (Status s = makeSteps({deviceInputs_.data(), deviceOutputs_.data(), arena_.data()}); !s.ok()) return s;
  if (Status s = onDevice(scratchBytes(), "the scratch memory of a plan", &scratch_); !s.ok()) return s;
  return uploadTables();
}

Status Executable::makeSteps(const Places& places) {
  std::vector<void*> pointers;
  pointers.reserve(plan_.values.size());
  for (const core::Value& v : plan_.values) {
    const auto slot = static_cast<size_t>(v.slot);
    switch (v.role) {
      case Role::input:
        pointers.push_back(places.inputs + inputOffsets_[slot]);
        break;
      case Role::output:
        pointers.push_back(places.outputs + outputs_[slot].offset);
        break;
      case Role::variable: {
        if (slot >= session_.variables().size())
          return Status::error(Code::badPlan, "bad plan: a variable that is not there.");
        const Variable& variable = session_.variables()[slot];
        if (variable.dtype != v.dtype || variable.elements != v.elements)
          return Status::error(Code::badPlan, "bad plan: a variable of another dtype or size.");
        pointers.push_back(variable.memory.data());
        break;
      }
      case Role::arena:
        pointers.push_back(places.arena + slot * core::kAlignment);
        break;
    }
  }
  const auto resolve = [&](const std::vector<int>& ids) {
    std::vector<void*> at;
    at.reserve(ids.size());
    for (int id : ids) at.push_back(id == core::kAbsent ? nullptr : pointers[static_cast<size_t>(id)]);
    return at;
  };
  steps_.resize(plan_.ops.size());
  for (size_t i = 0; i < plan_.ops.size(); ++i) {
    const core::Op& op = plan_.ops[i];
    if (Status s =
            makeStep(Operands(plan_, op, resolve(op.inputs), resolve(op.outputs)), session_, &steps_[i]);
        !s.ok())
      return s;
  }
  return {};
}

size_t Executable::scratchBytes() const {
  size_t bytes = 0;
  for (const Step& step : steps_) bytes = std::max(bytes, step.scratch);
  return bytes;
}

Status Executable::uploadTables() {
  std::vector<unsigned char> all;
  std::vector<size_t> offsets;
  for (const Step& step : steps_) {
    offsets.push_back(all.size());
    if (step.table) {
      const std::vector<unsigned char> own = step.table(scratch_.data());
      all.insert(all.end(), own.begin(), own.end());
    }
    all.resize(aligned(all.size()));
  }
  if (Status s = DeviceBuffer::allocate(all.size(), "the tables of a plan", &tables_); !s.ok()) return s;
  if (!all.empty()) {
    const cudaStream_t stream = session_.stream();
    DEEPRNN_TRY(cudaMemcpyAsync(tables_.data(), all.data(), all.size(), cudaMemcpyHostToDevice, stream));
    DEEPRNN_TRY(cudaStreamSynchronize(stream));
  }
  auto* faults = reinterpret_cast<Fault*>(deviceOutputs_.data() + faultOffset_);
  for (size_t i = 0; i < steps_.size(); ++i) opMemory_.push_back({faults + i, tables_.data() + offsets[i]});
  return {};
}

Status Executable::queue(double* times) {
  using Clock = std::chrono::steady_clock;
  const cudaStream_t stream = session_.stream();
  if (scalarBytes_)
    DEEPRNN_TRY(cudaMemcpyAsync(deviceInputs_.data() + dataBytes_, hostInputs_.data() + 2 * dataBytes_,
                                scalarBytes_, cudaMemcpyHostToDevice, stream));
  DEEPRNN_TRY(cudaMemsetAsync(failed_.data(), 0, sizeof(unsigned), stream));
  DEEPRNN_TRY(
      cudaMemsetAsync(deviceOutputs_.data() + faultOffset_, 0xff, plan_.ops.size() * sizeof(Fault), stream));
  const RunContext context{stream,          session_.branches(),
                           session_.blas(), session_.precision(),
                           scratch_.data(), reinterpret_cast<unsigned*>(failed_.data())};
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Clock::time_point start = times ? Clock::now() : Clock::time_point{};
    if (Status s = steps_[i].run(context, opMemory_[i]); !s.ok()) return s;
    if (!times) continue;
    DEEPRNN_TRY(cudaStreamSynchronize(stream));
    times[i] = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  }
  DEEPRNN_TRY(cudaMemcpyAsync(hostOutputs_.data(), deviceOutputs_.data(), hostOutputs_.bytes(),
                              cudaMemcpyDeviceToHost, stream));
  return {};
}

Status Executable::capture() {
  DEEPRNN_TRY(cudaStreamBeginCapture(session_.stream(), cudaStreamCaptureModeThreadLocal));
  const Status queued = queue();
  cudaGraph_t graph = nullptr;
  // Ended in any case: a stream in capture is of no more use.
  const cudaError_t ended = cudaStreamEndCapture(session_.stream(), &graph);
  if (!queued.ok()) {
    if (graph) cudaGraphDestroy(graph);
    return queued;
  }
  if (ended != cudaSuccess) return statusOf(ended, "cudaStreamEndCapture", __FILE__, __LINE__);
  const cudaError_t made = cudaGraphInstantiate(&graph_, graph, 0);
  cudaGraphDestroy(graph);
  if (made != cudaSuccess) return statusOf(made, "cudaGraphInstantiate", __FILE__, __LINE__);
  // Now and not with the first run, which is to allocate nothing.
  DEEPRNN_TRY(cudaGraphUpload(graph_, session_.stream()));
  DEEPRNN_TRY(cudaStreamSynchronize(session_.stream()));
  return {};
}

void Executable::stage(size_t set) {
  // A run that finds nothing staged sends the data itself, and says what fails.
  staged_[set] = sendAhead(set).ok();
}

Status Executable::sendAhead(size_t set) {
  if (Status s = session_.enter(); !s.ok()) return s;
  // Staged again without a run: the last copy may still be reading the host's memory.
  if (staged_[set]) DEEPRNN_TRY(cudaEventSynchronize(arrived_[set]));
  if (!dataBytes_) return {};
  unsigned char* host = hostInputs_.data() + set * dataBytes_;
  for (const Staged& s : data_[set]) std::memcpy(host + s.offset, s.host, s.bytes);
  // Nobody reads the memory on the device: the run that read it last was waited for.
  DEEPRNN_TRY(
      cudaMemcpyAsync(ahead_[set].data(), host, dataBytes_, cudaMemcpyHostToDevice, session_.copyStream()));
  DEEPRNN_TRY(cudaEventRecord(arrived_[set], session_.copyStream()));
  return {};
}

Status Executable::takeIn(size_t set) {
  const cudaStream_t stream = session_.stream();
  unsigned char* host = hostInputs_.data();
  for (const Staged& s : scalars_[set]) std::memcpy(host + 2 * dataBytes_ + s.offset, s.host, s.bytes);
  if (!dataBytes_) return {};
  if (staged_[set]) {
    staged_[set] = false;
    DEEPRNN_TRY(cudaStreamWaitEvent(stream, arrived_[set], 0));
    DEEPRNN_TRY(cudaMemcpyAsync(deviceInputs_.data(), ahead_[set].data(), dataBytes_,
                                cudaMemcpyDeviceToDevice, stream));
    return {};
  }
  host += set * dataBytes_;
  for (const Staged& s : data_[set]) std::memcpy(host + s.offset, s.host, s.bytes);
  DEEPRNN_TRY(cudaMemcpyAsync(deviceInputs_.data(), host, dataBytes_, cudaMemcpyHostToDevice, stream));
  return {};
}

Status Executable::run(size_t set, double* times) {
  if (Status s = session_.enter(); !s.ok()) return s;
  if (Status s = takeIn(set); !s.ok()) return s;
  if (times) {
    // Op by op, which a graph does not tell.
    DEEPRNN_TRY(cudaStreamSynchronize(session_.stream()));
    if (Status s = queue(times); !s.ok()) return s;
  } else {
    DEEPRNN_TRY(cudaGraphLaunch(graph_, session_.stream()));
  }
  DEEPRNN_TRY(cudaStreamSynchronize(session_.stream()));
  const auto* faults = reinterpret_cast<const Fault*>(hostOutputs_.data() + faultOffset_);
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (faults[i].element == kNoFault) continue;
    Status s = Status::error(Code::checkFailed, "check failed");
    s.op = static_cast<int>(i);
    s.element = static_cast<double>(faults[i].element);
    s.value = faults[i].value;
    return s;
  }
  for (const Staged& s : outputs_) std::memcpy(s.host, hostOutputs_.data() + s.offset, s.bytes);
  return {};
}

}  // namespace deeprnn::cuda

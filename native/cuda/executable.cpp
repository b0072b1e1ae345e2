#include "cuda/executable.h"

#include <algorithm>
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
    case OpKind::penalty:
    case OpKind::penaltyGrad:
      *step = activationStep(o);
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
  if (Status s = e->prepare(inputs, outputs); !s.ok()) return s;
  if (Status s = e->capture(); !s.ok()) return s;
  *result = std::move(e);
  return {};
}

Executable::~Executable() {
  (void)session_.enter();
  if (graph_) cudaGraphExecDestroy(graph_);
}

size_t Executable::bytes() const {
  return deviceInputs_.bytes() + deviceOutputs_.bytes() + arena_.bytes() + scratch_.bytes() +
         hostInputs_.bytes() + hostOutputs_.bytes();
}

std::vector<std::string> Executable::notes() const {
  std::vector<std::string> all;
  for (const Step& step : steps_) all.push_back(step.note);
  return all;
}

Status Executable::prepare(const core::InputSets& inputs, const std::vector<void*>& outputs) {
  for (size_t set = 0; set < inputs.size(); ++set) inputs_[set].resize(inputs[set].size());
  outputs_.resize(outputs.size());
  size_t inputBytes = 0, outputBytes = 0;
  for (const core::Value& v : plan_.values) {
    const auto slot = static_cast<size_t>(v.slot);
    if (v.role == Role::input) {
      for (size_t set = 0; set < inputs.size(); ++set) {
        if (slot >= inputs[set].size())
          return Status::error(Code::badPlan, "bad plan: an input slot that is not there.");
        inputs_[set][slot] = {inputs[set][slot], inputBytes, v.bytes()};
      }
      inputBytes += aligned(v.bytes());
    } else if (v.role == Role::output) {
      if (slot >= outputs.size())
        return Status::error(Code::badPlan, "bad plan: an output slot that is not there.");
      outputs_[slot] = {outputs[slot], outputBytes, v.bytes()};
      outputBytes += aligned(v.bytes());
    }
  }
  faultOffset_ = outputBytes;
  outputBytes += plan_.ops.size() * sizeof(Fault);
  if (Status s = DeviceBuffer::allocate(inputBytes, "the inputs of a plan", &deviceInputs_); !s.ok())
    return s;
  if (Status s = DeviceBuffer::allocate(outputBytes, "the outputs of a plan", &deviceOutputs_); !s.ok())
    return s;
  if (Status s = DeviceBuffer::allocate(plan_.arenaBytes, "the buffers of a plan", &arena_); !s.ok())
    return s;
  if (Status s = DeviceBuffer::allocate(sizeof(unsigned), "a flag", &failed_); !s.ok()) return s;
  if (Status s = PinnedBuffer::allocate(inputBytes, &hostInputs_); !s.ok()) return s;
  if (Status s = PinnedBuffer::allocate(outputBytes, &hostOutputs_); !s.ok()) return s;

  std::vector<void*> pointers;
  pointers.reserve(plan_.values.size());
  for (const core::Value& v : plan_.values) {
    const auto slot = static_cast<size_t>(v.slot);
    switch (v.role) {
      case Role::input:
        pointers.push_back(deviceInputs_.data() + inputs_[0][slot].offset);
        break;
      case Role::output:
        pointers.push_back(deviceOutputs_.data() + outputs_[slot].offset);
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
        pointers.push_back(arena_.data() + slot * core::kAlignment);
        break;
    }
  }
  const auto resolve = [&](const std::vector<int>& ids) {
    std::vector<void*> at;
    at.reserve(ids.size());
    for (int id : ids) at.push_back(id == core::kAbsent ? nullptr : pointers[static_cast<size_t>(id)]);
    return at;
  };
  size_t scratch = 0;
  steps_.resize(plan_.ops.size());
  for (size_t i = 0; i < plan_.ops.size(); ++i) {
    const core::Op& op = plan_.ops[i];
    if (Status s =
            makeStep(Operands(plan_, op, resolve(op.inputs), resolve(op.outputs)), session_, &steps_[i]);
        !s.ok())
      return s;
    scratch = std::max(scratch, steps_[i].scratch);
  }
  if (Status s = DeviceBuffer::allocate(scratch, "the scratch memory of a plan", &scratch_); !s.ok())
    return s;
  return uploadTables();
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
  if (!all.empty()) DEEPRNN_TRY(cudaMemcpy(tables_.data(), all.data(), all.size(), cudaMemcpyHostToDevice));
  auto* faults = reinterpret_cast<Fault*>(deviceOutputs_.data() + faultOffset_);
  for (size_t i = 0; i < steps_.size(); ++i) opMemory_.push_back({faults + i, tables_.data() + offsets[i]});
  return {};
}

Status Executable::queue() {
  const cudaStream_t stream = session_.stream();
  DEEPRNN_TRY(cudaMemcpyAsync(deviceInputs_.data(), hostInputs_.data(), hostInputs_.bytes(),
                              cudaMemcpyHostToDevice, stream));
  DEEPRNN_TRY(cudaMemsetAsync(failed_.data(), 0, sizeof(unsigned), stream));
  DEEPRNN_TRY(
      cudaMemsetAsync(deviceOutputs_.data() + faultOffset_, 0xff, plan_.ops.size() * sizeof(Fault), stream));
  const RunContext context{stream,          session_.branches(),
                           session_.blas(), session_.precision(),
                           scratch_.data(), reinterpret_cast<unsigned*>(failed_.data())};
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (Status s = steps_[i].run(context, opMemory_[i]); !s.ok()) return s;
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
  return {};
}

Status Executable::run(size_t set) {
  if (Status s = session_.enter(); !s.ok()) return s;
  for (const Staged& s : inputs_[set]) std::memcpy(hostInputs_.data() + s.offset, s.host, s.bytes);
  DEEPRNN_TRY(cudaGraphLaunch(graph_, session_.stream()));
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

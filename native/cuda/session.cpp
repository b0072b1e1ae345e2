#include "cuda/session.h"

namespace deeprnn::cuda {
namespace {

/** Layers of a stack that may run side by side. */
constexpr size_t kBranches = 8;

}  // namespace

Status Session::create(const SessionOptions& options, std::unique_ptr<Session>* result) {
  std::shared_ptr<Context> context;
  if (Status s = Context::open(options.device, &context); !s.ok()) return s;
  std::unique_ptr<Session> session(new Session(options, std::move(context)));
  DEEPRNN_TRY(cudaStreamCreateWithFlags(&session->stream_, cudaStreamNonBlocking));
  DEEPRNN_TRY(cudaStreamCreateWithFlags(&session->copyStream_, cudaStreamNonBlocking));
  session->branches_.resize(kBranches);
  for (Branch& b : session->branches_) {
    DEEPRNN_TRY(cudaStreamCreateWithFlags(&b.stream, cudaStreamNonBlocking));
    DEEPRNN_TRY(cudaEventCreateWithFlags(&b.event, cudaEventDisableTiming));
  }
  std::vector<cudaStream_t> streams = {session->stream_};
  for (const Branch& b : session->branches_) streams.push_back(b.stream);
  if (Status s = Blas::create(streams, &session->blas_); !s.ok()) return s;
  *result = std::move(session);
  return {};
}

Session::~Session() {
  // Nothing to say when this fails: the memory goes with the process.
  (void)enter();
  // Memory goes back to a pool that waits for no stream of ours.
  if (stream_) cudaStreamSynchronize(stream_);
  blas_.reset();
  for (const Branch& b : branches_) {
    if (b.event) cudaEventDestroy(b.event);
    if (b.stream) cudaStreamDestroy(b.stream);
  }
  if (copyStream_) cudaStreamDestroy(copyStream_);
  if (stream_) cudaStreamDestroy(stream_);
}

Status Session::createVariable(core::DType dtype, size_t elements, size_t* index) {
  if (Status s = enter(); !s.ok()) return s;
  Variable v;
  v.dtype = dtype;
  v.elements = elements;
  if (Status s =
          DeviceBuffer::allocate(elements * (dtype == core::DType::float64 ? 8 : 4), "a variable", &v.memory);
      !s.ok()) {
    if (s.code == core::Code::outOfMemory) s.message += " Fewer or smaller layers would fit.";
    return s;
  }
  DEEPRNN_TRY(cudaMemsetAsync(v.memory.data(), 0, v.memory.bytes(), stream_));
  *index = variables_.size();
  variables_.push_back(std::move(v));
  return {};
}

Status Session::write(Variable& v, const void* values) {
  if (Status s = enter(); !s.ok()) return s;
  DEEPRNN_TRY(cudaMemcpyAsync(v.memory.data(), values, v.memory.bytes(), cudaMemcpyHostToDevice, stream_));
  DEEPRNN_TRY(cudaStreamSynchronize(stream_));
  return {};
}

Status Session::read(const Variable& v, void* values) {
  if (Status s = enter(); !s.ok()) return s;
  DEEPRNN_TRY(cudaMemcpyAsync(values, v.memory.data(), v.memory.bytes(), cudaMemcpyDeviceToHost, stream_));
  DEEPRNN_TRY(cudaStreamSynchronize(stream_));
  return {};
}

}  // namespace deeprnn::cuda

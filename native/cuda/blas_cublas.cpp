// cuBLAS, loaded when the first session opens. The few declarations needed are written out, so that neither
// building nor loading the addon needs cuBLAS: where it is missing, the reason is a sentence.
#include "cuda/blas.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "cuda/memory.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace deeprnn::cuda {
namespace {

using Handle = void*;

// Numbers of cuBLAS's public interface (cublas_api.h, library_types.h), the same in CUDA 11 to 13.
constexpr int kSuccess = 0, kAllocationFailed = 3, kNoTranspose = 0, kTranspose = 1, kReal32 = 0,
              kCompute32 = 68, kComputeBf16 = 75, kComputeTf32 = 77, kDefaultAlgorithm = -1;

/** Enough for the split products of every architecture; fixed, because the choice of algorithm depends on it.
 * The main stream has what NVIDIA advises for the newest ones. */
constexpr size_t kWorkspaceBytes = size_t{8} << 20, kMainWorkspaceBytes = size_t{32} << 20;

struct Library {
  int (*create)(Handle*);
  int (*destroy)(Handle);
  int (*setStream)(Handle, cudaStream_t);
  int (*setWorkspace)(Handle, void*, size_t);
  int (*gemm)(Handle, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
              const void*, void*, int, int, int, int);
  int (*batchedGemm)(Handle, int, int, int, int, int, const void*, const void*, int, int, long long,
                     const void*, int, int, long long, const void*, void*, int, int, long long, int, int,
                     int);
  const char* (*statusName)(int);
};

void* openLibrary(const std::string& name, std::string* reason) {
#if defined(_WIN32)
  void* found = reinterpret_cast<void*>(LoadLibraryA(name.c_str()));
  if (!found) *reason = "error " + std::to_string(GetLastError());
#else
  void* found = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!found) {
    const char* text = dlerror();
    *reason = text ? text : "not found";
  }
#endif
  return found;
}

void* symbol(void* library, const char* name) {
#if defined(_WIN32)
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
#else
  return dlsym(library, name);
#endif
}

std::vector<std::string> placesToLook() {
  if (const char* set = std::getenv("DEEPRNN_CUBLAS")) return {set};
#if defined(_WIN32)
  return {"cublas64_13.dll", "cublas64_12.dll"};
#else
  std::vector<std::string> places = {"libcublas.so.13", "libcublas.so.12"};
  for (const char* folder : {"/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"}) {
    for (const char* version : {"13", "12"})
      places.push_back(std::string(folder) + "/libcublas.so." + version);
  }
  return places;
#endif
}

/** Loaded once a process. */
Status load(const Library** result) {
  static std::mutex mutex;
  static Library library;
  static bool loaded = false;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!loaded) {
    std::string tried;
    void* found = nullptr;
    for (const std::string& place : placesToLook()) {
      std::string reason;
      found = openLibrary(place, &reason);
      if (found) break;
      tried += "\n  " + place + ": " + reason;
    }
    if (!found) {
      return Status::error(core::Code::device, "cuBLAS could not be loaded. Tried:" + tried +
                                                   "\nInstall the CUDA toolkit's cuBLAS, or 'pip install "
                                                   "nvidia-cublas', and name the library in the "
                                                   "environment variable DEEPRNN_CUBLAS.");
    }
    bool complete = true;
    const auto bind = [&](auto* function, const char* name) {
      void* at = symbol(found, name);
      complete = complete && at;
      *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(at);
    };
    bind(&library.create, "cublasCreate_v2");
    bind(&library.destroy, "cublasDestroy_v2");
    bind(&library.setStream, "cublasSetStream_v2");
    bind(&library.setWorkspace, "cublasSetWorkspace_v2");
    bind(&library.gemm, "cublasGemmEx");
    bind(&library.batchedGemm, "cublasGemmStridedBatchedEx");
    bind(&library.statusName, "cublasGetStatusName");
    if (!complete)
      return Status::error(core::Code::device,
                           "the cuBLAS that was found is too old: version 12 or later is needed.");
    loaded = true;
  }
  *result = &library;
  return {};
}

class CuBlas : public Blas {
 public:
  explicit CuBlas(const Library& library) : library_(library) {}
  ~CuBlas() override {
    if (handle_) library_.destroy(handle_);
  }

  Status open(const std::vector<cudaStream_t>& streams) {
    if (Status s = checked(library_.create(&handle_), "cublasCreate"); !s.ok()) return s;
    for (cudaStream_t stream : streams) {
      const size_t bytes = stream == streams.front() ? kMainWorkspaceBytes : kWorkspaceBytes;
      if (Status s = DeviceBuffer::allocate(bytes, "the workspace of cuBLAS", &workspaces_[stream]); !s.ok())
        return s;
    }
    return {};
  }

  Status multiply(const Product& p, Precision precision, cudaStream_t stream) override {
    if (p.m == 0 || p.n == 0 || p.count == 0) return {};
    // In this order: a new stream takes the workspace away. Products on different streams must not share one.
    DeviceBuffer& workspace = workspaces_.at(stream);
    if (Status s = checked(library_.setStream(handle_, stream), "cublasSetStream"); !s.ok()) return s;
    if (Status s = checked(library_.setWorkspace(handle_, workspace.data(), workspace.bytes()),
                           "cublasSetWorkspace");
        !s.ok())
      return s;
    const float one = 1;
    const int compute = precision == Precision::float32 ? kCompute32
                        : precision == Precision::tf32  ? kComputeTf32
                                                        : kComputeBf16;
    const auto number = [](size_t n) { return static_cast<int>(n); };
    const int turnA = p.aTransposed ? kTranspose : kNoTranspose,
              turnB = p.bTransposed ? kTranspose : kNoTranspose;
    // cuBLAS stores by columns: C read so is Cᵀ = op(B)ᵀ · op(A)ᵀ.
    if (p.count > 1) {
      const auto apart = [](size_t rows, size_t columns) { return static_cast<long long>(rows * columns); };
      return checked(
          library_.batchedGemm(handle_, turnB, turnA, number(p.n), number(p.m), number(p.k), &one, p.b,
                               kReal32, number(p.bRow), apart(p.k, p.n), p.a, kReal32, number(p.aRow),
                               apart(p.m, p.k), &p.beta, p.c, kReal32, number(p.cRow), apart(p.m, p.n),
                               number(p.count), compute, kDefaultAlgorithm),
          "cublasGemmStridedBatchedEx");
    }
    return checked(library_.gemm(handle_, turnB, turnA, number(p.n), number(p.m), number(p.k), &one, p.b,
                                 kReal32, number(p.bRow), p.a, kReal32, number(p.aRow), &p.beta, p.c, kReal32,
                                 number(p.cRow), compute, kDefaultAlgorithm),
                   "cublasGemmEx");
  }

 private:
  Status checked(int status, const char* call) const {
    if (status == kSuccess) return {};
    return Status::error(status == kAllocationFailed ? core::Code::outOfMemory : core::Code::device,
                         std::string(call) + " failed: " + library_.statusName(status) + ".");
  }

  const Library& library_;
  Handle handle_ = nullptr;
  std::map<cudaStream_t, DeviceBuffer> workspaces_;
};

}  // namespace

Status Blas::create(const std::vector<cudaStream_t>& streams, std::unique_ptr<Blas>* result) {
  const Library* library = nullptr;
  if (Status s = load(&library); !s.ok()) return s;
  auto blas = std::make_unique<CuBlas>(*library);
  if (Status s = blas->open(streams); !s.ok()) return s;
  *result = std::move(blas);
  return {};
}

}  // namespace deeprnn::cuda

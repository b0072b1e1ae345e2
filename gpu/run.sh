#!/usr/bin/env bash
# Checks and measures deeprnn on the GPU of this machine, from the bundle that `npm run gpu:bundle` makes. Needs no network and no
# Node, but nvcc, CMake, a C++ compiler and Python 3, with PyTorch to compare with. docs/gpu-testing.md says what it writes.
#
#   ./run.sh [--out FOLDER] [--seconds TOTAL] [--rehearse]
#
# Leaves results.json and logs.tar.gz in FOLDER ($OUT, else ./results). --rehearse does all that needs no GPU: builds, loads, proves
# that the device is refused with the right reason, and tries tests and benchmark on the CPU.
# Ends with 0: no stage failed; 1: one did, or ran out of time; 2: a tool is missing; 3: there is no usable GPU.
set -uo pipefail

fail() {
  echo "run.sh: $2" >&2
  exit "$1"
}

HERE=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$HERE/results}
total=570
rehearse=
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:?--out wants a folder} && shift ;;
    --seconds) total=${2:?--seconds wants a number} && shift ;;
    --rehearse) rehearse=yes ;;
    *) fail 2 "unknown option $1" ;;
  esac
  shift
done
[ -x "$HERE/bin/node" ] || fail 2 'this is not a bundle; make one with: npm run gpu:bundle'
LOGS=$HERE/logs
BUILD=$HERE/build
PARALLEL=$(($(nproc) < 8 ? $(nproc) : 8))
# A toolkit is often installed without being in the path; its sanitizer and profiler lie beside its compiler.
PATH=$HERE/bin:$PATH
command -v nvcc >/dev/null || PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
command -v nvcc >/dev/null && PATH=$PATH:$(dirname "$(readlink -f "$(command -v nvcc)")"):/usr/local/cuda/bin
export HERE LOGS BUILD PARALLEL PATH DEEPRNN_ADDON_DIR=$BUILD/Release
# CUDA counts the fastest device first unless told otherwise; nvidia-smi counts by the bus. They must mean the same card.
export CUDA_DEVICE_ORDER=PCI_BUS_ID
# One seed for the random inputs of all tests; results.json names it.
export DEEPRNN_TEST_SEED=${DEEPRNN_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
mkdir -p "$out" && out=$(cd "$out" && pwd) && rm -rf "$LOGS" && mkdir "$LOGS" && cd "$HERE" || exit 2

# Written anew after every stage, so that a run that is cut short has said what it knows.
report() { node report.mjs --out "$out" ${rehearse:+--rehearsal} "$@"; }

finish() {
  local status=$?
  report --table
  tar -czf "$out/logs.tar.gz" logs
  echo "run.sh: exit status $status after $SECONDS s; see $out/results.json, and logs.tar.gz beside it"
}
trap finish EXIT
trap 'exit 143' INT TERM

# stage FUNCTION SECONDS: runs it within its own time and that of the whole. A function returns 77 to be skipped; the last line that
# it prints is the note in the report.
worst=0
stage() {
  local name=$1 box=$2 start=$SECONDS status outcome
  local log=$LOGS/$name.log
  [ $((total - SECONDS)) -lt "$box" ] && box=$((total - SECONDS))
  if [ "$box" -lt 5 ]; then
    echo 'the time for the whole run was over' >"$log"
    status=77
  else
    timeout -k 5 "$box" bash -o pipefail -c "$name" >"$log" 2>&1
    status=$?
  fi
  case $status in
    0) outcome=passed ;;
    77) outcome=skipped ;;
    124 | 137) outcome='out of time' ;;
    *) outcome=failed ;;
  esac
  printf '%s\t%s\t%d\t%s\n' "$name" "$outcome" $((SECONDS - start)) "$(tail -n 1 "$log" | tr '\t' ' ')" >>"$LOGS/stages.tsv"
  printf '%-12s %4d s  %s: %s\n' "$outcome" $((SECONDS - start)) "$name" "$(tail -n 1 "$log")"
  if [ "$outcome" = failed ] || [ "$outcome" = 'out of time' ]; then
    worst=1
    tail -n 15 "$log" | head -n -1 | sed 's/^/    /'
  fi
  report
  [ "$outcome" != failed ] && [ "$outcome" != 'out of time' ]
}

tools() {
  local tool missing=()
  for tool in nvcc cmake c++ python3 timeout xargs; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "missing on this machine: ${missing[*]}"
    return 1
  fi
  c++ --version | head -1
  cmake --version | head -1
  echo "nvcc $(nvcc --version | sed -nE 's/.*release.*V([0-9.]+).*/\1/p'), Node $(node --version), $(python3 --version)"
}

# of_card FIELDS: what nvidia-smi says of the card that CUDA calls its first. It knows nothing of CUDA_VISIBLE_DEVICES, which names
# cards by index or by the beginning of their UUID; where it names a part of a card (MIG), this is of the first card.
of_card() {
  local all first=${CUDA_VISIBLE_DEVICES:-}
  all=$(nvidia-smi --query-gpu="index,uuid,$1" --format=csv,noheader) || {
    echo "$all"
    return 1
  }
  awk -F ', ' -v first="${first%%,*}" '
    { line = $0; sub(/^[^,]*, [^,]*, /, "", line) }
    NR == 1 || (first != "" && ($1 == first || index($2, first) == 1)) { chosen = line }
    END { print chosen }' <<<"$all"
}

card() {
  if ! command -v nvidia-smi >/dev/null; then
    echo 'no usable GPU: there is no nvidia-smi, so no NVIDIA driver is installed on this machine'
    return 1
  fi
  if ! of_card name,compute_cap,driver_version,memory.total,compute_mode >"$LOGS/card.csv"; then
    echo "no usable GPU: nvidia-smi says '$(head -1 "$LOGS/card.csv")'"
    return 1
  fi
  head -1 "$LOGS/card.csv"
}

# Both addons, by the CMakeLists.txt that every build uses, for the one card. Line numbers are for the sanitizer and the profiler.
build() {
  local generator=()
  command -v ninja >/dev/null && generator=(-G Ninja)
  cmake -S . -B "$BUILD" "${generator[@]}" -DDEEPRNN_CUDA=ON "-DDEEPRNN_CUDA_ARCHITECTURES=$ARCHITECTURE-real" \
    -DCMAKE_CUDA_FLAGS=-lineinfo "-DCMAKE_JS_INC=$HERE/include/node;$HERE/include/node-addon-api" \
    "-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$DEEPRNN_ADDON_DIR" &&
    cmake --build "$BUILD" --parallel "$(nproc)" --target deeprnn-cpu deeprnn-cuda &&
    echo "both addons, for sm_$ARCHITECTURE"
}

# The engine looks for cuBLAS in the system's places; this looks beside nvcc and among Python's packages too. First for the version of
# nvcc, whose driver is there: one for a newer CUDA may find the driver too old.
cublas() {
  python3 - "$(dirname "$(readlink -f "$(command -v nvcc)")")" "$(nvcc --version | sed -nE 's/.*release ([0-9]+).*/\1/p')" <<'PYTHON'
import glob, site, sys, sysconfig
folders = [f"{sys.argv[1]}/../{folder}" for folder in ("lib64", "targets/x86_64-linux/lib")] + ["/usr/local/cuda/lib64"]
for packages in {sysconfig.get_path("purelib"), *site.getsitepackages()}:
    folders += glob.glob(f"{packages}/nvidia/*/lib")
for version in dict.fromkeys([sys.argv[2], "13", "12"]):
    for folder in folders:
        for path in glob.glob(f"{folder}/libcublas.so.{version}"):
            sys.exit(print(path))
PYTHON
}

# The library as users load it: 'cuda' opens, or is refused with the very reason that devices() gives.
load() {
  node -e '
    const { devices, sequential, layers } = require("./dist");
    for (const d of devices()) console.log(`${d.device}: ${d.available ? d.name : d.reason}`);
    const [cpu, cuda] = ["cpu", "cuda"].map((engine) => devices().find((d) => d.engine === engine));
    if (!cpu.available) throw new Error(cpu.reason);
    if (/could not be loaded/.test(cuda.reason)) throw new Error(cuda.reason);
    const model = sequential([layers.lstm({ units: 4, inputShape: [3, 2] })]);
    try {
      model.compile({ loss: "meanSquaredError", device: "cuda" });
      console.log(`the device opens: ${cuda.name}`);
    } catch (error) {
      if (error.code !== "ERR_DEVICE" || !error.message.includes(cuda.reason)) throw error;
      console.log(`refused: ${error.message}`);
    }'
}

# jest_on NAME FOLDER VARIABLE=VALUE…: the tests in a folder, one process, results as JSON. FOLDER:short leaves out those of 200 steps.
jest_on() {
  local name=$1 folder=${2%:short} short=()
  [ "$folder" = "$2" ] || short=(-t '^((?!T = 200).)*$')
  shift 2
  env "$@" node node_modules/jest/bin/jest.js --runInBand --cacheDirectory jest-cache --json --outputFile "$LOGS/parity-$name.json" \
    "${short[@]}" "$folder" >"$LOGS/parity-$name.log" 2>&1 && echo "$name: passed" && return
  grep -m 3 '●' "$LOGS/parity-$name.log"
  echo "$name: failed"
  return 1
}

# Recurrent stacks on every rung in every precision, and with every number of row tiles that a warp may have; all other ops in every
# precision; whole models.
parity() {
  local rung precision tiles stacks runs=()
  for precision in fp32 tf32 bf16; do
    for rung in d c b a; do
      runs+=("stacks-$precision-$rung test/parity/rnnStack DEEPRNN_TEST_DEVICE=cuda:0 DEEPRNN_TEST_PRECISION=$precision DEEPRNN_CUDA_RUNG=$rung")
    done
    runs+=("ops-$precision test/parity/[ou] DEEPRNN_TEST_DEVICE=cuda:0 DEEPRNN_TEST_PRECISION=$precision")
  done
  stacks='test/parity/rnnStack:short DEEPRNN_TEST_DEVICE=cuda:0 DEEPRNN_CUDA_RUNG=d'
  for precision in fp32 bf16; do
    for tiles in 1 2 4; do
      runs+=("stacks-$precision-d-tiles$tiles $stacks DEEPRNN_TEST_PRECISION=$precision DEEPRNN_CUDA_ROW_TILES=$tiles")
    done
  done
  runs+=('fixtures-fp32 test/parity/fixtures DEEPRNN_TEST_DEVICE=cuda:0')
  runs+=('models-fp32 test/unit/models DEEPRNN_DEVICE=cuda')
  printf '%s\n' "${runs[@]}" | xargs -P "$PARALLEL" -I{} bash -c 'jest_on {}'
  local passed
  passed=$(grep -l '"success":true' "$LOGS"/parity-*.json | wc -l)
  echo "$passed of ${#runs[@]} runs of the tests passed"
  [ "$passed" -eq ${#runs[@]} ]
}

# sanitized TOOL RUNG: small stacks of all cells, forward and backward. cuBLAS's kernels are not ours to search for races, and many.
sanitized() {
  local log=$LOGS/$1-$2.log ours=()
  [ "$1" = racecheck ] && ours=(--kernel-name kns=deeprnn)
  DEEPRNN_TEST_DEVICE=cuda:0 DEEPRNN_CUDA_RUNG=$2 compute-sanitizer --tool "$1" "${ours[@]}" --error-exitcode 9 --log-file "$log" \
    node node_modules/jest/bin/jest.js --runInBand --cacheDirectory jest-cache test/parity/rnnStack -t 'mixed cells' >"$log.tests" 2>&1
  local status=$?
  echo "$1, rung $2: exit status $status; $(tail -n 1 "$log" | sed 's/^=* *//')"
  return $status
}

sanitizer() {
  if ! command -v compute-sanitizer >/dev/null; then
    echo 'compute-sanitizer is not found on this machine'
    return 77
  fi
  printf '%s\n' 'memcheck d' 'memcheck c' 'racecheck d' 'racecheck c' 'memcheck b' 'racecheck b' 'memcheck a' 'racecheck a' |
    xargs -P "$PARALLEL" -I{} bash -c 'sanitized {}' && echo 'memcheck and racecheck find nothing on any rung'
}

# The sizes that are timed, run again and again: what is wrong in the order of memory shows here, or nowhere.
stressed() {
  local checked failed
  node dist-examples/bench/gpu/stress.js "$@" >"$LOGS/stress.jsonl"
  local status=$?
  failed=$(grep -c '"failures":\["' "$LOGS/stress.jsonl")
  checked=$(grep '"failures":\[\]' "$LOGS/stress.jsonl" | grep -vc 'out of time')
  grep '"failures":\["' "$LOGS/stress.jsonl" | head -5 | cut -c 1-500
  echo "$checked workloads × precisions hold, $failed do not, $(grep -c 'out of time' "$LOGS/stress.jsonl") not checked for lack of time"
  [ $status -eq 0 ] && [ "$checked" -gt 0 ]
}

stress() { stressed --seconds 60; }

# timing_pytorch NAME OPTION…: rows into NAME.jsonl.
timing_pytorch() {
  local rows=$LOGS/$1.jsonl
  shift
  if ! python3 -c 'import torch' 2>/dev/null; then
    echo 'PyTorch is not installed for python3, so there is nothing to compare with'
    return 77
  fi
  python3 bench/gpu/pytorch.py "$@" >"$rows" && timed "$rows"
}

timing_deeprnn() {
  node dist-examples/bench/gpu/deeprnn.js "$@" >"$LOGS/deeprnn.jsonl" && timed "$LOGS/deeprnn.jsonl"
}

# A benchmark all of whose rows give reasons has failed.
timed() {
  echo "$(grep -c medianMs "$1") rows measured, $(grep -c '"reason"' "$1") not"
  grep -q medianMs "$1"
}

time_pytorch() { timing_pytorch pytorch --variants eager,host --seconds 70; }
time_graphs() { timing_pytorch pytorch-graph --variants graph --seconds 35; }
time_deeprnn() { timing_deeprnn --seconds 80; }

main_job() { DEEPRNN_DEVICE=cuda node dist-examples/examples/main.js; }

# no_counters FILE: the driver lets only root read the counters, which is nobody's fault.
no_counters() {
  grep -qs ERR_NVGPUCTRPERM "$1" "$LOGS/profile.log" || return
  echo "the driver lets only root read the card's counters (ERR_NVGPUCTRPERM)"
}

# The kernel that takes most time in one training pass, then its counters.
profile() {
  local job=(node dist-examples/bench/gpu/deeprnn.js --only lstm-2x512 --seconds 2) top
  if ! command -v ncu >/dev/null; then
    echo 'ncu is not found on this machine'
    return 77
  fi
  ncu --clock-control none --metrics gpu__time_duration.sum --print-kernel-base function --csv --launch-count 100 --kill yes \
    --log-file "$LOGS/kernels.csv" "${job[@]}"
  no_counters "$LOGS/kernels.csv" && return 77
  top=$(python3 - "$LOGS/kernels.csv" <<'PYTHON'
import collections, csv, sys
lines = [line for line in open(sys.argv[1]) if line.startswith('"')]
spent = collections.Counter()
for row in csv.DictReader(lines):
    spent[row["Kernel Name"]] += float(row["Metric Value"].replace(",", ""))
print(spent.most_common(1)[0][0])
PYTHON
  ) || return 1
  ncu --clock-control none --set detailed --kernel-name "$top" --launch-count 2 --kill yes --log-file "$LOGS/top-kernel.txt" "${job[@]}"
  no_counters "$LOGS/top-kernel.txt" && return 77
  echo "most time goes to $top; its counters are in top-kernel.txt"
  [ -s "$LOGS/top-kernel.txt" ]
}

rehearse_parity() {
  jest_on rehearsal 'test/parity/(fixtures|ops)' DEEPRNN_TEST_DEVICE=cpu && return
  cat "$LOGS/parity-rehearsal.log"
  return 1
}

rehearse_stress() { stressed --device cpu --tiny --runs 20 --seconds 20; }
rehearse_timing_pytorch() { timing_pytorch pytorch --device cpu --tiny --seconds 20; }
rehearse_timing_deeprnn() { timing_deeprnn --device cpu --tiny --seconds 20; }

# The main job finds its data and gets as far as the device, which refuses it for the reason found before.
rehearse_main_job() {
  local reason
  if ! reason=$(sed -n 's/^refused: //p' "$LOGS/load.log" | grep .); then
    echo 'there is a GPU here: the main job runs without --rehearse'
    return 77
  fi
  main_job && return 1
  grep -qF "$reason" "$LOGS/rehearse_main_job.log" && echo 'it starts, reads its data, and is refused the device'
}

export -f tools of_card card build load jest_on parity sanitized sanitizer stressed stress timing_pytorch timing_deeprnn timed \
  time_pytorch time_graphs time_deeprnn main_job no_counters profile rehearse_parity rehearse_stress rehearse_timing_pytorch \
  rehearse_timing_deeprnn rehearse_main_job

stage tools 20 || exit 2
if [ -z "$rehearse" ]; then stage card 20 || exit 3; fi
ARCHITECTURE=$(of_card compute_cap 2>/dev/null | tr -d . | grep -E '^[0-9]+$')
export ARCHITECTURE=${ARCHITECTURE:-90}
# Such a card lets one process in at a time.
grep -q Exclusive_Process "$LOGS/card.csv" 2>/dev/null && PARALLEL=1
stage build 300 || exit 1
[ -n "${DEEPRNN_CUBLAS:-}" ] || DEEPRNN_CUBLAS=$(cublas)
if [ -n "$DEEPRNN_CUBLAS" ]; then export DEEPRNN_CUBLAS; else unset DEEPRNN_CUBLAS; fi
stage load 30 || exit 1
if [ -n "$rehearse" ]; then
  stage rehearse_parity 120
  stage rehearse_stress 60
  stage rehearse_timing_pytorch 60
  stage rehearse_timing_deeprnn 60
  stage rehearse_main_job 60
  exit $worst
fi
grep -q '^refused: ' "$LOGS/load.log" && fail 3 "no usable GPU: $(sed -n 's/^refused: //p' "$LOGS/load.log")"
stage parity 150
stage sanitizer 70
stage stress 75
stage time_pytorch 85
stage time_deeprnn 95
stage time_graphs 50
stage main_job 100
stage profile 60
exit $worst

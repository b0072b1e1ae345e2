#include "emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace deeprnn::emulator {
namespace {

constexpr size_t kStackBytes = size_t{1} << 16;
constexpr size_t kWarp = 32;
/** Rounds in which nothing but waiting happens before a wait counts as endless. */
constexpr int kIdleRounds = 200;

enum class State { fresh, ready, spinning, atBarrier, inWarp, finished };

struct Block;

struct Thread {
  ThreadView view;
  Block* block = nullptr;
  size_t warp = 0, lane = 0;
  State state = State::fresh;
  unsigned char* stack = nullptr;
  jmp_buf context;
  const char* barrierFile = nullptr;
  int barrierLine = 0;
  std::vector<std::pair<float*, const float*>> copies;
};

/** A collective of some lanes of a warp. Two generations of words: a lane may be one collective ahead of the
 * slowest. */
struct Collective {
  uint32_t mask = 0, arrived = 0;
  const char* file = nullptr;
  int line = 0;
  Words words[2][kWarp] = {};
  unsigned generation = 0;
  std::vector<Thread*> waiting;
};

struct Warp {
  std::vector<std::unique_ptr<Collective>> collectives;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<size_t> order;
  std::vector<Warp> warps;
  std::unique_ptr<unsigned char[]> shared;
  size_t unfinished = 0, atBarrier = 0;
};

/** One grid in the making. */
struct Grid {
  const LaunchShape& shape;
  const std::function<void()>& body;
  std::vector<std::unique_ptr<Block>> resident;
  std::vector<unsigned char*> idleStacks;
  jmp_buf scheduler;
  Thread* current = nullptr;
  std::string fault;
  bool progress = false;
};

thread_local Grid* grid = nullptr;

std::mt19937_64& generator() {
  static thread_local std::mt19937_64 g([] {
    const char* seed = std::getenv("DEEPRNN_EMULATOR_SEED");
    return seed ? std::strtoull(seed, nullptr, 10) : std::random_device()();
  }());
  return g;
}

void fail(const std::string& what) {
  if (grid->fault.empty()) grid->fault = std::string(grid->shape.kernel) + ": " + what;
}

std::string placeOf(const Thread& t) {
  return "thread " + std::to_string(t.view.thread.x) + " of block (" + std::to_string(t.view.block.x) + ", " +
         std::to_string(t.view.block.y) + ")";
}

/** Back to the scheduler; returns when the thread is chosen again. */
void leave(State state) {
  Thread* t = grid->current;
  t->state = state;
  if (_setjmp(t->context) == 0) _longjmp(grid->scheduler, 1);
}

/** The bottom of a fiber's stack: runs the kernel for the thread that it was started for. */
void fiber() {
  grid->body();
  Thread* t = grid->current;
  t->state = State::finished;
  _longjmp(grid->scheduler, 1);
}

void start(Thread* t) {
  if (grid->idleStacks.empty()) {
    grid->idleStacks.push_back(static_cast<unsigned char*>(std::malloc(kStackBytes)));
  }
  t->stack = grid->idleStacks.back();
  grid->idleStacks.pop_back();
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = t->stack;
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, fiber, 0);
  setcontext(&context);
}

void releaseBarrier(Block& b) {
  const Thread* first = nullptr;
  for (Thread& t : b.threads) {
    if (t.state != State::atBarrier) continue;
    if (first &&
        (t.barrierLine != first->barrierLine || std::strcmp(t.barrierFile, first->barrierFile) != 0)) {
      fail("divergent __syncthreads: " + placeOf(*first) + " waits at line " +
           std::to_string(first->barrierLine) + ", " + placeOf(t) + " at line " +
           std::to_string(t.barrierLine));
    }
    if (!first) first = &t;
    t.state = State::ready;
  }
  b.atBarrier = 0;
  std::shuffle(b.order.begin(), b.order.end(), generator());
}

/** Lets one thread run until it waits or ends. */
void resume(Thread* t) {
  grid->current = t;
  const State before = t->state;
  if (_setjmp(grid->scheduler) == 0) {
    if (before == State::fresh) start(t);
    _longjmp(t->context, 1);
  }
  t = grid->current;
  grid->current = nullptr;
  if (t->state != State::spinning) grid->progress = true;
  Block& b = *t->block;
  if (t->state == State::finished) {
    grid->idleStacks.push_back(t->stack);
    t->stack = nullptr;
    --b.unfinished;
  }
  if (t->state == State::atBarrier) ++b.atBarrier;
  // Threads that have ended no longer take part in barriers.
  if (b.unfinished > 0 && b.atBarrier == b.unfinished) releaseBarrier(b);
}

std::unique_ptr<Block> makeBlock(const LaunchShape& shape, size_t index) {
  auto b = std::make_unique<Block>();
  const size_t count = shape.block.count();
  b->threads.resize(count);
  b->warps.resize((count + kWarp - 1) / kWarp);
  b->unfinished = count;
  b->shared = std::make_unique<unsigned char[]>(shape.sharedBytes);
  std::memset(b->shared.get(), 0xff, shape.sharedBytes);
  for (size_t i = 0; i < count; ++i) {
    Thread& t = b->threads[i];
    t.block = b.get();
    t.warp = i / kWarp;
    t.lane = i % kWarp;
    t.view.blockSize = shape.block;
    t.view.gridSize = shape.grid;
    t.view.thread = {static_cast<unsigned>(i % shape.block.x),
                     static_cast<unsigned>(i / shape.block.x % shape.block.y),
                     static_cast<unsigned>(i / (size_t{shape.block.x} * shape.block.y))};
    t.view.block = {static_cast<unsigned>(index % shape.grid.x),
                    static_cast<unsigned>(index / shape.grid.x % shape.grid.y),
                    static_cast<unsigned>(index / (size_t{shape.grid.x} * shape.grid.y))};
    b->order.push_back(i);
  }
  std::shuffle(b->order.begin(), b->order.end(), generator());
  return b;
}

bool runnable(const Thread& t) {
  return t.state == State::fresh || t.state == State::ready || t.state == State::spinning;
}

void runBlockOnce(Block& b) {
  // The order changes when a barrier opens; the rest of this round is then another order, which is as good.
  for (size_t i = 0; i < b.order.size() && grid->fault.empty(); ++i) {
    Thread& t = b.threads[b.order[i]];
    if (runnable(t)) resume(&t);
  }
}

std::string whereAllWait() {
  for (const auto& b : grid->resident) {
    for (const Thread& t : b->threads) {
      if (t.state == State::spinning) return placeOf(t) + " waits for a value that nobody writes";
    }
  }
  for (const auto& b : grid->resident) {
    for (const Thread& t : b->threads) {
      if (t.state == State::atBarrier)
        return placeOf(t) + " waits at the barrier in line " + std::to_string(t.barrierLine) +
               ", which others never reach";
      if (t.state == State::inWarp)
        return placeOf(t) + " waits in a warp collective that lanes of its mask never reach";
    }
  }
  return "nothing can run";
}

void runResident() {
  int idle = 0;
  while (!grid->resident.empty() && grid->fault.empty()) {
    grid->progress = false;
    std::shuffle(grid->resident.begin(), grid->resident.end(), generator());
    // One block may be held back until all others wait, as a busy device might.
    const bool holdBack = grid->resident.size() > 1 && nextRandom() % 2 == 0;
    for (size_t i = 0; i + (holdBack ? 1 : 0) < grid->resident.size(); ++i) {
      runBlockOnce(*grid->resident[i]);
    }
    if (holdBack && !grid->progress) runBlockOnce(*grid->resident.back());
    const auto done = [](const std::unique_ptr<Block>& b) { return b->unfinished == 0; };
    grid->resident.erase(std::remove_if(grid->resident.begin(), grid->resident.end(), done),
                         grid->resident.end());
    idle = grid->progress ? 0 : idle + 1;
    if (idle > kIdleRounds) fail("deadlock: " + whereAllWait());
  }
}

}  // namespace

uint64_t nextRandom() {
  return generator()();
}

const ThreadView& self() {
  return grid->current->view;
}

unsigned char* sharedMemory() {
  return grid->current->block->shared.get();
}

void syncThreads(const char* file, int line) {
  grid->current->barrierFile = file;
  grid->current->barrierLine = line;
  leave(State::atBarrier);
}

void spin() {
  leave(State::spinning);
}

const Words* gatherWords(uint32_t mask, const Words& words, const char* file, int line) {
  Thread* t = grid->current;
  if (!(mask >> t->lane & 1))
    fail("a warp collective in line " + std::to_string(line) + " without its caller in the mask");
  Warp& warp = t->block->warps[t->warp];
  Collective* c = nullptr;
  for (auto& known : warp.collectives) {
    if (known->mask == mask) c = known.get();
  }
  if (!c) {
    warp.collectives.push_back(std::make_unique<Collective>());
    c = warp.collectives.back().get();
    c->mask = mask;
  }
  if (c->arrived == 0) {
    c->file = file;
    c->line = line;
    std::memset(c->words[c->generation % 2], 0, sizeof c->words[0]);
  } else if (c->line != line || std::strcmp(c->file, file) != 0) {
    fail("divergent warp collective: lines " + std::to_string(c->line) + " and " + std::to_string(line));
  }
  const unsigned mine = c->generation % 2;
  c->words[mine][t->lane] = words;
  c->arrived |= 1u << t->lane;
  if (c->arrived != mask) {
    c->waiting.push_back(t);
    leave(State::inWarp);
  } else {
    c->arrived = 0;
    ++c->generation;
    for (Thread* other : c->waiting) other->state = State::ready;
    c->waiting.clear();
  }
  return c->words[mine];
}

uint64_t exchange(uint32_t mask, uint64_t word, int lane, const char* file, int line) {
  const Words* words = gatherWords(mask, {{word, 0, 0}}, file, line);
  const auto from = static_cast<uint32_t>(lane);
  if (from >= kWarp || !(mask >> from & 1)) return word;
  return words[from].word[0];
}

void copyLater(float* to, const float* from) {
  grid->current->copies.emplace_back(to, from);
}

void finishCopies() {
  for (const auto& [to, from] : grid->current->copies) *to = *from;
  grid->current->copies.clear();
}

std::string runGrid(const LaunchShape& shape, const std::function<void()>& body) {
  Grid own{shape, body, {}, {}, {}, nullptr, {}, false};
  Grid* const outer = grid;
  grid = &own;
  const size_t blocks = shape.grid.count();
  if (blocks == 0 || shape.block.count() == 0 || shape.block.count() > 1024) {
    fail("a launch of " + std::to_string(blocks) + " blocks of " + std::to_string(shape.block.count()) +
         " threads");
  }
  if (shape.sharedBytes > kSharedPerBlock)
    fail("a launch of blocks with " + std::to_string(shape.sharedBytes) + " bytes of shared memory");
  if (shape.cooperative && blocks > static_cast<size_t>(kMultiprocessors))
    fail("a cooperative launch of " + std::to_string(blocks) + " blocks");
  std::vector<size_t> order(blocks);
  for (size_t i = 0; i < blocks; ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), generator());
  for (size_t next = 0; next < blocks && own.fault.empty();) {
    const size_t together = shape.cooperative ? blocks : 1 + nextRandom() % 4;
    while (next < blocks && own.resident.size() < together)
      own.resident.push_back(makeBlock(shape, order[next++]));
    runResident();
  }
  for (unsigned char* stack : own.idleStacks) std::free(stack);
  for (const auto& b : own.resident) {
    for (const Thread& t : b->threads) std::free(t.stack);
  }
  grid = outer;
  return own.fault;
}

}  // namespace deeprnn::emulator

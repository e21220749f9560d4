// A context of 11 files a folder: walked without a stat cache (everything is read and hashed), with one,
// and with one file changed.
#include <benchmark/benchmark.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "source/context.h"
#include "sys/tempdir.h"

namespace varve::source {
namespace {

class Context {
 public:
  explicit Context(int64_t files) {
    const std::string content(4000, 'x');
    for (int64_t i = 0; i < files; ++i) {
      std::string folder = fmt::format("{}/ctx/p{}/lib", directory_.path(), i / 11);
      if (i % 11 == 0) std::filesystem::create_directories(folder);
      std::ofstream(fmt::format("{}/m{}.js", folder, i)) << i << content;
    }
    // A stat cache distrusts what is younger than the clock's grain.
    clock_.Set({SystemClock().Now().nanos + 3'600'000'000'000});
  }

  std::string First() const { return directory_.path() + "/ctx/p0/lib/m0.js"; }
  ContextSpec Spec(bool remember) const {
    return {.directory = directory_.path() + "/ctx", .stat_cache_file = remember ? directory_.path() + "/stat" : ""};
  }
  void Walk(benchmark::State& state, bool remember) {
    auto tree = WalkContext(Spec(remember), trees_, {}, clock_);
    if (!tree) state.SkipWithError(tree.error().message.c_str());
  }

 private:
  sys::TempDir directory_ = *sys::TempDir::Create(sys::TemporaryRoot(), "varve-bench-");
  tree::MemoryTreeStore trees_;
  FakeClock clock_;
};

void WalkAndHashContext(benchmark::State& state) {
  Context context(state.range(0));
  for (auto _ : state) context.Walk(state, false);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(WalkAndHashContext)->Arg(10'000)->UseRealTime()->Unit(benchmark::kMillisecond);

void WalkContextWithStatCache(benchmark::State& state) {
  Context context(state.range(0));
  context.Walk(state, true);
  for (auto _ : state) context.Walk(state, true);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(WalkContextWithStatCache)->Arg(100)->Arg(10'000)->UseRealTime()->Unit(benchmark::kMillisecond);

void WalkContextWithOneFileChanged(benchmark::State& state) {
  Context context(state.range(0));
  context.Walk(state, true);
  int edit = 0;
  for (auto _ : state) {
    std::ofstream(context.First()) << ++edit;
    context.Walk(state, true);
  }
}
BENCHMARK(WalkContextWithOneFileChanged)->Arg(10'000)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace varve::source

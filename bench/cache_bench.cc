// The local store: what a process pays to open it, and a look-up among few and among many records.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>

#include "base/clock.h"
#include "cache/local_store.h"
#include "cache/root.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

StepKey KeyOf(int64_t number) { return StepKey(Digest::Of(std::to_string(number))); }

class Store {
 public:
  explicit Store(int64_t records) {
    Status prepared = PrepareRoot(root());
    if (!prepared) return;
    Open();
    for (int64_t i = 0; i < records && store; ++i) {
      // The preimage is the key's: a record whose preimage has another digest is damaged.
      StepRecord record{.key = KeyOf(i),
                        .preimage = std::to_string(i),
                        .slot = "stage/" + std::to_string(i),
                        .op_digest = Digest::Of("op"),
                        .name = "RUN make",
                        .created = SystemClock().Now()};
      record.outputs = {{{DiffId(Digest::Of("layer"))}, Digest::Of("tree")}};
      if (!store->Put(record)) store.reset();
    }
    if (store && !store->Flush()) store.reset();
  }
  void Open() {
    auto opened = OpenLocalStore(root(), SystemClock());
    store = opened ? std::move(opened->store) : nullptr;
  }
  const std::string& root() const { return directory_.path(); }

  std::unique_ptr<LocalStore> store;

 private:
  sys::TempDir directory_ = *sys::TempDir::Create(sys::TemporaryRoot(), "varve-bench-");
};

void OpenStore(benchmark::State& state) {
  Store store(state.range(0));
  for (auto _ : state) {
    store.store.reset();
    store.Open();
    if (!store.store) state.SkipWithError("open");
  }
}
BENCHMARK(OpenStore)->Arg(20)->Arg(10'000)->Unit(benchmark::kMicrosecond);

// Twenty keys in one call, as a build of 20 steps asks.
void LookUpTwenty(benchmark::State& state) {
  Store store(state.range(0));
  if (!store.store) return state.SkipWithError("no store");
  int64_t at = 0;
  for (auto _ : state) {
    std::vector<StepKey> keys;
    for (int i = 0; i < 20; ++i) keys.push_back(KeyOf((at += 7919) % state.range(0)));
    auto found = store.store->GetMany(keys);
    if (!found || !found->front()) state.SkipWithError("a record is missing");
  }
  state.SetItemsProcessed(state.iterations() * 20);
}
// 100,000 records are files too and take a minute to put: for that, VARVE_BENCH_RECORDS=100000.
int64_t ManyRecords() {
  const char* wanted = std::getenv("VARVE_BENCH_RECORDS");
  return wanted ? std::max(std::atoll(wanted), 1LL) : 5'000;
}
BENCHMARK(LookUpTwenty)->Arg(100)->Arg(ManyRecords())->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace varve::cache

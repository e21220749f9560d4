// SHA-256: of a small file's content, and of a stream. Bytes a second of one core.
#include <benchmark/benchmark.h>

#include "base/digest.h"

namespace varve {
namespace {

void DigestOf(benchmark::State& state) {
  std::string data(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(Digest::Of(data));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(DigestOf)->Arg(64)->Arg(4 << 10)->Arg(1 << 20);

void StreamDigest(benchmark::State& state) {
  std::string chunk(256 << 10, 'x');
  Sha256 hash;
  for (auto _ : state) hash.Update(chunk);
  benchmark::DoNotOptimize(hash.Finish());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(chunk.size()));
}
BENCHMARK(StreamDigest);

}  // namespace
}  // namespace varve

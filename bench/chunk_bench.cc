// How fast a layer's tar is cut and hashed, and what a change of one file in a hundred makes new, by the
// sizes of chunks. Sizes of the files follow those of a node_modules (bench/generate.py).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <unordered_set>

#include "archive/tar.h"
#include "chunk/encoder.h"

namespace varve::chunk {
namespace {

constexpr size_t kFiles = 4'000;

std::string MakeTar(bool changed) {
  std::mt19937 sizes(1);
  std::lognormal_distribution<double> size(6.88, 1.73);
  StringWriter out;
  archive::TarWriter tar(out);
  for (size_t i = 0; i < kFiles; ++i) {
    std::string content(static_cast<size_t>(std::min(size(sizes) * 6, 9e6)) + 1, '\0');
    std::mt19937 random(static_cast<unsigned>(i + (changed && i % 100 == 50 ? 1'000'000 : 0)));
    for (char& c : content) c = static_cast<char>(random());
    archive::TarEntry entry{.name = "lib/p" + std::to_string(i / 11) + "/m" + std::to_string(i) + ".js",
                            .mode = 0644,
                            .size = content.size(),
                            .mtime = Timestamp{changed ? 2'000'000'000 : 1'000'000'000}};
    if (!tar.Add(entry) || !tar.Content(content)) std::abort();
  }
  if (!tar.Finish()) std::abort();
  return out.text;
}

// Of each part the chunks, with their bytes.
uint64_t Split(const std::string& tar, Sizes sizes, std::unordered_set<Digest>& known, size_t* chunks) {
  uint64_t fresh = 0;
  Splitter splitter(
      [&](Part part, const Digest& digest, std::string_view bytes) -> Status {
        ++*chunks;
        // Headers compress to a twentieth; they would drown what is looked at here.
        if (known.insert(digest).second && part == Part::kContents) fresh += bytes.size();
        return Ok();
      },
      sizes);
  if (!splitter.Write(tar) || !splitter.Finish()) std::abort();
  return fresh;
}

void SplitTar(benchmark::State& state) {
  static const std::string before = MakeTar(false), after = MakeTar(true);
  auto normal = static_cast<size_t>(state.range(0)) << 10;
  auto object = static_cast<size_t>(state.range(1)) << 10;
  Sizes sizes{.min = normal / 4, .normal = normal, .max = normal * 4, .object = object};
  size_t chunks = 0;
  uint64_t fresh = 0;
  for (auto _ : state) {
    std::unordered_set<Digest> known;
    chunks = 0;
    Split(before, sizes, known, &chunks);
    state.PauseTiming();
    size_t ignored = 0;
    fresh = Split(after, sizes, known, &ignored);
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(before.size()));
  state.counters["new"] = static_cast<double>(fresh) / static_cast<double>(before.size());
  // A list has about 34 bytes for each chunk.
  state.counters["list"] = 34.0 * static_cast<double>(chunks) / static_cast<double>(before.size());
}
BENCHMARK(SplitTar)
    ->Args({16, 4})
    ->Args({16, 16})
    ->Args({32, 16})
    ->Args({64, 4})
    ->Args({64, 16})
    ->Args({64, 64})
    ->Args({128, 16})
    ->UseRealTime();

}  // namespace
}  // namespace varve::chunk

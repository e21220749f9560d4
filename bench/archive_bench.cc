// Tar headers, and the codecs on what a layer is made of: half of it does not compress, half is text.
#include <benchmark/benchmark.h>

#include <random>

#include "archive/codec.h"
#include "archive/tar.h"
#include "base/background_writer.h"

namespace varve::archive {
namespace {

constexpr size_t kSize = 64 << 20;

const std::string& HalfRandom() {
  static const std::string data = [] {
    std::mt19937 random(1);
    const char* words[] = {"layer ", "cache ", "digest ", "return ", "const ", "export ", "string "};
    std::string text;
    text.reserve(kSize);
    while (text.size() < kSize / 2) text += static_cast<char>(random());
    while (text.size() < kSize) text += words[random() % std::size(words)];
    return text;
  }();
  return data;
}

void WriteTarOfSmallFiles(benchmark::State& state) {
  const std::string content(static_cast<size_t>(state.range(0)), 'x');
  NullWriter out;
  TarWriter tar(out);
  TarEntry entry{.name = "src/packages/some-package/lib/module.js", .mode = 0644, .size = content.size()};
  for (auto _ : state) {
    if (!tar.Add(entry) || !tar.Content(content)) state.SkipWithError("tar");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(WriteTarOfSmallFiles)->Arg(0)->Arg(4000);

void Compress(benchmark::State& state, Compression compression, int level) {
  const std::string& data = HalfRandom();
  size_t packed = 0;
  for (auto _ : state) {
    StringWriter out;
    auto compressor = MakeCompressor(out, compression, level);
    if (!compressor || !(*compressor)->Write(data) || !(*compressor)->Finish()) {
      state.SkipWithError("compress");
      break;
    }
    packed = out.text.size();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(data.size()));
  state.counters["packed"] = static_cast<double>(packed) / static_cast<double>(data.size());
}
// Seconds of the wall: the work is that of other threads.
BENCHMARK_CAPTURE(Compress, Gzip1, Compression::kGzip, 1)->UseRealTime();
BENCHMARK_CAPTURE(Compress, Gzip6, Compression::kGzip, 6)->UseRealTime();
BENCHMARK_CAPTURE(Compress, Zstd3, Compression::kZstd, 3)->UseRealTime();

void Decompress(benchmark::State& state, Compression compression) {
  StringWriter packed;
  auto compressor = MakeCompressor(packed, compression);
  if (!compressor || !(*compressor)->Write(HalfRandom()) || !(*compressor)->Finish()) {
    state.SkipWithError("compress");
  }
  for (auto _ : state) {
    StringReader in(packed.text);
    NullWriter out;
    auto reader = MakeDecompressor(in);
    if (!reader || !Copy(**reader, out)) state.SkipWithError("decompress");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kSize));
}
BENCHMARK_CAPTURE(Decompress, Gzip, Compression::kGzip);
BENCHMARK_CAPTURE(Decompress, Zstd, Compression::kZstd);

// What a stage on a thread of its own costs: a copy and a hand-over.
void PassToBackground(benchmark::State& state) {
  const std::string chunk(256 << 10, 'x');
  NullWriter out;
  BackgroundWriter background(out);
  for (auto _ : state) {
    if (!background.Write(chunk)) state.SkipWithError("write");
  }
  if (!background.Finish()) state.SkipWithError("finish");
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(chunk.size()));
}
BENCHMARK(PassToBackground)->UseRealTime();

}  // namespace
}  // namespace varve::archive

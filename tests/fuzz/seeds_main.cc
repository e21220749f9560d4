// Runs the seeds of a fuzz target without a fuzzer: what once went wrong goes right, and the targets compile.
//
//   fuzz_seeds NAME DIRECTORY
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/fd.h"

#define TARGET(name) extern "C" int Fuzz_##name(const uint8_t* data, size_t size);
#include "fuzz_targets.inc"
#undef TARGET

int main(int argc, char** argv) {
  using Target = int (*)(const uint8_t*, size_t);
  static constexpr std::pair<std::string_view, Target> kTargets[] = {
#define TARGET(name) {#name, Fuzz_##name},
#include "fuzz_targets.inc"
#undef TARGET
  };
  if (argc != 3) return 2;
  for (const auto& [name, target] : kTargets) {
    if (name != argv[1]) continue;
    size_t seeds = 0;
    for (const auto& entry : std::filesystem::directory_iterator(argv[2])) {
      auto seed = varve::ReadFile(entry.path());
      if (!seed) return std::fprintf(stderr, "%s\n", seed.error().message.c_str()), 1;
      // Whoever finds out which one, when the program ends here.
      std::fprintf(stderr, "%s\n", entry.path().c_str());
      target(reinterpret_cast<const uint8_t*>(seed->data()), seed->size());
      ++seeds;
    }
    return seeds == 0;
  }
  std::fprintf(stderr, "no fuzz target %s\n", argv[1]);
  return 2;
}

// Times WalkContext on the context of the project's goals: 100,000 files of 4 KB in 1,000
// directories.
//
//   varve_context_bench DIR [RUNS]
//
// DIR is made and filled when it does not exist, and is left for the next run. Prints the first
// walk, which hashes everything, and then the minimum and median of RUNS (20) walks that find
// nothing changed, each with a store that has the tree already; with the largest resident size of
// the process. Goals on four cores: unchanged at most 0.15 s and 60 MB, everything hashed at most 1
// s.
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unordered_set>

#include "source/context.h"

namespace {

void Fill(const std::string& directory) {
  std::string content(4096, 'x');
  for (int d = 0; d < 1000; ++d) {
    std::string sub = fmt::format("{}/pkg{:02}/mod{:03}", directory, d % 37, d);
    std::filesystem::create_directories(sub);
    for (int f = 0; f < 100; ++f) {
      int n = d * 100 + f;
      content.replace(0, 8, fmt::format("{:08}", n));
      std::ofstream(fmt::format("{}/file_{:02}.source", sub, f), std::ios::binary) << content;
    }
  }
}

// As a store on disk: it knows which objects it has, which are not in this process.
class NameOnlyStore final : public varve::tree::TreeStore {
 public:
  varve::Result<std::shared_ptr<const varve::tree::Directory>> Get(const varve::Digest& digest) override {
    return names_.contains(digest) ? std::make_shared<const varve::tree::Directory>() : nullptr;
  }
  varve::Status Put(const std::vector<std::pair<varve::Digest, std::string>>& objects) override {
    for (const auto& object : objects) names_.insert(object.first);
    return varve::Ok();
  }

 private:
  std::unordered_set<varve::Digest> names_;
};

long ResidentKilobytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: {} DIR [RUNS]\n", argv[0]);
    return 2;
  }
  std::string directory = argv[1];
  int runs = argc > 2 ? std::atoi(argv[2]) : 20;
  if (!std::filesystem::exists(directory)) {
    Fill(directory);
    sleep(3);  // stamps settle
  }
  varve::source::ContextSpec spec;
  spec.directory = directory;
  spec.stat_cache_file = directory + ".stat";
  spec.exclude = {".git", "**/*.log", "node_modules", "**/*~", "!keep.log"};
  NameOnlyStore store;
  auto walk = [&] {
    double start = static_cast<double>(varve::SystemClock().Monotonic().count());
    auto tree = varve::source::WalkContext(spec, store, {});
    double seconds = (static_cast<double>(varve::SystemClock().Monotonic().count()) - start) / 1e9;
    if (!tree) {
      fmt::print(stderr, "{}\n", tree.error().ToString());
      std::exit(1);
    }
    return std::pair(seconds, *tree);
  };
  auto print = [&](std::string_view name, double seconds, const varve::source::ContextTree& tree) {
    fmt::print("{:<18} {:7.1f} ms  {} files, {} hashed, max rss {} kB\n", name, seconds * 1e3, tree.files,
               tree.hashed_files, ResidentKilobytes());
  };
  auto [first, tree] = walk();
  print("first", first, tree);
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    auto [seconds, again] = walk();
    times.push_back(seconds);
    tree = again;
  }
  if (times.empty()) return 0;
  std::sort(times.begin(), times.end());
  print("unchanged, min", times.front(), tree);
  print("unchanged, median", times[times.size() / 2], tree);
  return 0;
}

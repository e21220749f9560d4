// bench/retention: seconds rebuilt under a budget, varve's policy against others.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "bench/retention/replay.h"

namespace varve::bench {
namespace {

constexpr int kPercents[] = {33, 50, 100};  // of what a week needs

// Seconds rebuilt by each policy, over all histories and budgets.
using Sums = std::array<double, std::size(kPolicies)>;

double Fewer(double mine, double other) { return other > 0 ? 100 * (1 - mine / other) : 0; }

// One row a budget.
void Compare(const std::string& name, const History& history, Sums& sums) {
  Replayed all = Replay(history, Policy::kLru, UINT64_MAX);
  uint64_t weekly = WeeklyBytes(history);
  fmt::print("{}: {} builds, {:.0f} s of first builds; {} made, a week needs {}\n", name, history.size(),
             all.first_seconds, FormatBytes(all.unlimited_bytes), FormatBytes(weekly));
  fmt::print("  {:>8} {:>9}", "budget", "");
  for (Policy policy : kPolicies) fmt::print(" {:>12}", NameOf(policy) + " s");
  fmt::print("   fewer than LRU, BuildKit\n");
  for (int percent : kPercents) {
    uint64_t budget = weekly * static_cast<uint64_t>(percent) / 100;
    fmt::print("  {:>7}% {:>9}", percent, FormatBytes(budget));
    Sums seconds = {};
    for (size_t i = 0; i < std::size(kPolicies); ++i) {
      seconds[i] = Replay(history, kPolicies[i], budget).rebuilt_seconds;
      sums[i] += seconds[i];
      fmt::print(" {:>12.0f}", seconds[i]);
    }
    fmt::print("   {:>5.0f} % {:>8.0f} %\n", Fewer(seconds[0], seconds[1]), Fewer(seconds[0], seconds[2]));
    std::fflush(stdout);
  }
  fmt::print("\n");
}

constexpr const char* kUsage =
    "usage: retention [--at-least PERCENT] [--days N] [--teams N] [HISTORY.jsonl...]\n"
    "Exit status 1 when varve's policy saves less than PERCENT against the better of the others.\n"
    "Without a file, histories of N made-up teams; see bench/retention/history.h for the format.\n";

int Main(int argc, char** argv) {
  double atleast = 0;
  int teams = 3, days = 90;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    bool more = i + 1 < argc;
    if (word == "--at-least" && more) {
      atleast = std::atof(argv[++i]);
    } else if (word == "--teams" && more) {
      teams = std::atoi(argv[++i]);
    } else if (word == "--days" && more) {
      days = std::atoi(argv[++i]);
    } else if (word.starts_with("-")) {
      fmt::print(stderr, "{}", kUsage);
      return 2;
    } else {
      files.emplace_back(word);
    }
  }
  Sums sums = {};
  for (const std::string& file : files) {
    auto history = ReadHistory(file);
    if (!history) {
      fmt::print(stderr, "{}\n", history.error().ToString());
      return 1;
    }
    Compare(file, *history, sums);
  }
  for (int team = 1; files.empty() && team <= teams; ++team) {
    Team made{.projects = 6 + 6 * (team - 1), .days = days, .seed = static_cast<uint64_t>(team)};
    Compare(fmt::format("team {} ({} projects)", team, made.projects), MakeHistory(made), sums);
  }
  double fewer = Fewer(sums[0], std::min(sums[1], sums[2]));
  fmt::print("together: {:.0f} % fewer seconds than LRU, {:.0f} % fewer than BuildKit's order\n",
             Fewer(sums[0], sums[1]), Fewer(sums[0], sums[2]));
  return fewer >= atleast ? 0 : 1;
}

}  // namespace
}  // namespace varve::bench

int main(int argc, char** argv) { return varve::bench::Main(argc, argv); }

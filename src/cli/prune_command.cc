// `varve prune` and `varve clear`: making a root smaller, and cold.
#include <CLI/CLI.hpp>

#include "base/strings.h"
#include "cli/commands.h"
#include "cli/usage_table.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "job/upkeep_stores.h"

namespace varve::cli {

namespace {

// What went, as du shows it, and the sum.
void PrintPruned(const upkeep::Pruned& pruned, const UsageFormat& format, bool with_rules) {
  std::string out = pruned.rows.empty() ? "" : format.Header();
  for (size_t i = 0; i < pruned.rows.size(); ++i) {
    out += format.Row(pruned.rows[i]);
    if (with_rules) out += fmt::format("  removed by: {}\n", pruned.rules[i]);
  }
  if (pruned.records > 0) out += fmt::format("Step records:\t{}\n", pruned.records);
  if (pruned.spared > 0) out += fmt::format("In use, kept:\t{}\n", pruned.spared);
  out += fmt::format("Total:\t{}\n", FormatBytes(pruned.bytes));
  job::ToStdout(out);
}

class PruneCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_flag("-a,--all", all_, "Also step records and trees, which are small and make later keys known");
    app.add_option("--filter", filters_, "Only what matches: until=24h, type=exec.cachemount, id=…, …")
        ->allow_extra_args(false);
    app.add_flag("-f,--force", force_, "Do not ask");
    app.add_option("--max-used-space", max_used_, "Remove until the root takes no more: 20GB, 50%");
    app.add_option("--min-free-space", min_free_, "Remove until the disk has so much free");
    app.add_option("--reserved-space,--keep-storage", reserved_, "Never go below this size");
    app.add_option("--keep-duration", keep_duration_, "Keep what was used since then: 24h");
    app.add_flag("--verbose", verbose_, "Say of each line which rule removed it");
  }

  Status Check() override {
    TRY_ASSIGN(policy_.filter, upkeep::Filter::Parse(filters_));
    if (policy_.filter.until() && !keep_duration_.empty()) {
      return Invalid("--keep-duration and --filter until= say the same; give one of them");
    }
    policy_.keep_duration = policy_.filter.until().value_or(Nanos(0));
    if (!keep_duration_.empty()) {
      TRY_ASSIGN(policy_.keep_duration, ParseGoDuration(keep_duration_));
    }
    policy_.all = all_;
    // Read again with the disk at hand; here only the grammar counts.
    return ReadLimits({});
  }

  int Run(const job::GlobalFlags& global) override {
    const char* question = all_ ? "WARNING! This will remove all build cache. Are you sure you want to continue?"
                                : "WARNING! This will remove all dangling build cache. Are you sure you want to "
                                  "continue?";
    if (!force_ && !job::Confirm(question)) return job::kSuccess;
    job::StopSignals signals;
    auto stores = job::UpkeepStores::Open(global);
    if (!stores) return job::FailWith(stores.error());
    auto space = upkeep::SpaceOf(stores->root);
    if (!space) return job::FailWith(space.error());
    if (Status limits = ReadLimits(*space); !limits) return job::FailWith(limits.error());
    policy_.name = RuleText();
    auto pruned = upkeep::Prune(stores->view(), policy_, signals.token());
    if (!pruned) return job::FailWith(pruned.error());
    PrintPruned(*pruned, UsageFormat::Parse("table", SystemClock().Now()).value(), verbose_);
    return job::kSuccess;
  }

 private:
  Status ReadLimits(const upkeep::DiskSpace& disk) {
    auto read = [&](const std::string& text, const char* flag, uint64_t& to) -> Status {
      if (text.empty()) return Ok();
      auto size = upkeep::ParseSize(text, disk);
      if (!size) return std::move(size).error().With(flag);
      to = *size;
      return Ok();
    };
    TRY(read(max_used_, "--max-used-space", policy_.limits.max_used));
    TRY(read(min_free_, "--min-free-space", policy_.limits.min_free));
    return read(reserved_, "--reserved-space", policy_.limits.reserved);
  }

  // As `varve explain` will repeat it.
  std::string RuleText() const {
    std::string rule = "varve prune";
    if (all_) rule += " --all";
    for (const std::string& filter : filters_) rule += " --filter " + filter;
    if (!keep_duration_.empty()) rule += " --keep-duration " + keep_duration_;
    if (!max_used_.empty()) rule += " --max-used-space " + max_used_;
    if (!min_free_.empty()) rule += " --min-free-space " + min_free_;
    if (!reserved_.empty()) rule += " --reserved-space " + reserved_;
    return rule;
  }

  bool all_ = false, force_ = false, verbose_ = false;
  std::vector<std::string> filters_;
  std::string max_used_, min_free_, reserved_, keep_duration_;
  upkeep::Policy policy_;
};

class ClearCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_flag("--images", images_, "Named images too");
    app.add_flag("-f,--force", force_, "Do not ask");
  }

  int Run(const job::GlobalFlags& global) override {
    const char* question = images_
                               ? "WARNING! This will remove all that builds have left here, images included. Are you "
                                 "sure you want to continue?"
                               : "WARNING! This will remove all that could make a build faster. Are you sure you want "
                                 "to continue?";
    if (!force_ && !job::Confirm(question)) return job::kSuccess;
    job::StopSignals signals;
    auto stores = job::UpkeepStores::Open(global);
    if (!stores) return job::FailWith(stores.error());
    auto cleared = upkeep::Clear(stores->view(), {.images = images_}, signals.token());
    if (!cleared) return job::FailWith(cleared.error());
    std::string out = fmt::format("Removed {} step records and {} other things: {}\n", cleared->records,
                                  cleared->rows.size(), FormatBytes(cleared->bytes));
    if (cleared->spared > 0) {
      out += fmt::format("Kept {} that a running build uses: clear again when it is done\n", cleared->spared);
    }
    job::ToStdout(out);
    return job::kSuccess;
  }

 private:
  bool images_ = false, force_ = false;
};

}  // namespace

std::unique_ptr<Command> MakePruneCommand() { return std::make_unique<PruneCommand>(); }
std::unique_ptr<Command> MakeClearCommand() { return std::make_unique<ClearCommand>(); }

}  // namespace varve::cli

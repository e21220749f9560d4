// `varve du`: what a root takes on the disk, line by line.
#include <CLI/CLI.hpp>

#include "base/strings.h"
#include "cli/commands.h"
#include "cli/usage_table.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/upkeep_stores.h"

namespace varve::cli {

namespace {

class DuCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_option("-f,--filter", filters_, "Only what matches: type=exec.cachemount, id=…, inuse, shared, until=24h …")
        ->allow_extra_args(false);
    app.add_option("--format", format_, "table, pretty, json, or a template such as '{{.ID}} {{.Size}}'");
    app.add_flag("-v,--verbose", verbose_, "Everything about each line: --format pretty");
  }

  Status Check() override {
    if (verbose_ && !format_.empty()) return Invalid("--verbose and --format exclude each other");
    if (verbose_) format_ = "pretty";
    TRY_ASSIGN(shown_, UsageFormat::Parse(format_, SystemClock().Now()));
    TRY_ASSIGN(filter_, upkeep::Filter::Parse(filters_));
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    auto stores = job::UpkeepStores::Open(global);
    if (!stores) return job::FailWith(stores.error());
    auto inventory = upkeep::TakeInventory(stores->view(), {});
    if (!inventory) return job::FailWith(inventory.error());
    Timestamp now = SystemClock().Now();
    std::vector<upkeep::UsageRow> rows;
    for (upkeep::UsageRow& row : inventory->rows) {
      bool recent = filter_.until() && row.last_used && now.nanos - row.last_used->nanos < filter_.until()->count();
      if (!recent && filter_.Matches(row)) rows.push_back(std::move(row));
    }
    SortForPeople(rows);
    std::string out = rows.empty() ? "" : shown_.Header();
    uint64_t total = 0, shared = 0, reclaimable = 0;
    for (const upkeep::UsageRow& row : rows) {
      out += shown_.Row(row);
      total += row.bytes;
      shared += row.shared ? row.bytes : 0;
      reclaimable += IsReclaimable(row) ? row.bytes : 0;
    }
    if (shown_.is_for_people()) {
      if (shared > 0) {
        out += fmt::format("Shared:\t\t{}\nPrivate:\t{}\n", FormatBytes(shared), FormatBytes(total - shared));
      }
      out += fmt::format("Reclaimable:\t{}\nTotal:\t\t{}\n", FormatBytes(reclaimable), FormatBytes(total));
    }
    job::ToStdout(out);
    return job::kSuccess;
  }

 private:
  std::vector<std::string> filters_;
  std::string format_;
  bool verbose_ = false;
  UsageFormat shown_;
  upkeep::Filter filter_;
};

}  // namespace

std::unique_ptr<Command> MakeDuCommand() { return std::make_unique<DuCommand>(); }

}  // namespace varve::cli

// `varve fsck`: is what lies in the root what it should be?
//
// Exit status: 0 nothing was found, 1 something was (with --repair it is mended, and a second run
// gives 0); others as for every command.
#include <CLI/CLI.hpp>

#include "base/json.h"
#include "cli/commands.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "job/upkeep_stores.h"
#include "upkeep/fsck.h"

namespace varve::cli {

namespace {

constexpr int kFound = 1;

class FsckCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_flag("--repair", options_.repair, "Drop what is damaged, so that builds make it again");
    app.add_flag("--quick", options_.quick, "Do not read the contents of blobs and layers");
    app.add_option("--format", format_, "text or json")->check(CLI::IsMember({"text", "json"}));
  }

  int Run(const job::GlobalFlags& global) override {
    job::StopSignals signals;
    auto stores = job::UpkeepStores::Open(global);
    if (!stores) return job::FailWith(stores.error());
    if (format_ == "text") {
      options_.on_progress = [](const std::string& part) { job::ToStderr("checking " + part + "\n"); };
    }
    auto report = upkeep::Fsck(stores->view(), options_, signals.token());
    if (!report) return job::FailWith(report.error());
    if (!stores->local.notice.empty()) {
      report->findings.insert(report->findings.begin(), {"database", stores->local.notice, "made anew"});
    }
    job::ToStdout(format_ == "json" ? AsJson(*report) : AsText(*report));
    return report->findings.empty() ? job::kSuccess : kFound;
  }

 private:
  std::string AsText(const upkeep::FsckReport& report) const {
    std::string out;
    size_t left = 0;
    for (const upkeep::Finding& finding : report.findings) {
      out += fmt::format("{}: {}{}\n", finding.object, finding.problem,
                         finding.mended.empty() ? "" : "; " + finding.mended);
      left += finding.mended.empty();
    }
    out += fmt::format("{} records, {} layers, {} blobs, {} trees, {} images: ", report.records, report.layers,
                       report.blobs, report.trees, report.images);
    if (report.findings.empty()) return out + "nothing is wrong\n";
    out += fmt::format("{} found, {} mended\n", report.findings.size(), report.findings.size() - left);
    if (left > 0 && !options_.repair) out += "varve fsck --repair drops what is damaged\n";
    return out;
  }

  static std::string AsJson(const upkeep::FsckReport& report) {
    Json findings = Json::EmptyArray(), json;
    for (const upkeep::Finding& finding : report.findings) {
      Json item;
      item.Set("object", finding.object).Set("problem", finding.problem);
      item.SetIf(!finding.mended.empty(), "mended", finding.mended);
      findings.Append(std::move(item));
    }
    json.Set("records", report.records).Set("layers", report.layers).Set("blobs", report.blobs);
    json.Set("trees", report.trees).Set("images", report.images);
    json.Set("findings", std::move(findings));
    return json.Dump({.indent = 2}) + "\n";
  }

  upkeep::FsckOptions options_;
  std::string format_ = "text";
};

}  // namespace

std::unique_ptr<Command> MakeFsckCommand() { return std::make_unique<FsckCommand>(); }

}  // namespace varve::cli

// `varve verify`: the image with the cache and the image without, both with all times set, compared.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "base/log.h"
#include "cli/build_flag_parser.h"
#include "cli/commands.h"
#include "cli/image_difference.h"
#include "cli/verify_report.h"
#include "job/build_display.h"
#include "job/build_job.h"
#include "job/build_report.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "sys/namespace.h"

namespace varve::cli {

namespace {

using cache::StepRecord;

std::string RandomName() {
  std::random_device random;
  return fmt::format("verify-{:08x}{:08x}", random(), random());
}

// What the steps of one run led to, by step; nothing for steps that left no record.
using Records = std::vector<std::optional<StepRecord>>;

Result<Records> RecordsOf(const engine::Outcome& outcome, cache::LocalStore& store) {
  std::vector<StepKey> keys;
  std::vector<size_t> steps;
  for (size_t i = 0; i < outcome.steps.size(); ++i) {
    if (outcome.steps[i].key.empty()) continue;
    keys.push_back(outcome.steps[i].key);
    steps.push_back(i);
  }
  TRY_ASSIGN(auto found, store.GetMany(keys));
  Records records(outcome.steps.size());
  for (size_t i = 0; i < steps.size(); ++i) records[steps[i]] = std::move(found[i]);
  return records;
}

class StepComparison {
 public:
  StepComparison(const graph::Graph& graph, job::Workspace& workspace, std::stop_token stop)
      : graph_(graph), workspace_(workspace), stop_(std::move(stop)) {}

  Result<std::vector<StepDifference>> Run(const Records& cached, const Records& fresh) {
    std::vector<StepDifference> differences;
    std::map<graph::StepIndex, graph::StepIndex> cause_of;  // differing step → the first cause
    for (graph::StepIndex i = 0; i < graph_.steps.size(); ++i) {
      std::optional<graph::StepIndex> inherited;
      for (const graph::Ref& input : graph_.steps[i].inputs) {
        auto it = cause_of.find(input.step);
        if (it != cause_of.end() && !inherited) inherited = it->second;
      }
      if (inherited) cause_of[i] = *inherited;
      if (!cached[i] || !fresh[i]) continue;
      StepDifference difference{.step = i, .because_of = inherited};
      TRY(Compare(*cached[i], *fresh[i], Below(cached, i), Below(fresh, i), difference));
      if (difference.files.empty()) continue;
      if (!inherited) cause_of[i] = i;
      differences.push_back(std::move(difference));
    }
    return differences;
  }

 private:
  // The layers that the step's inputs brought.
  std::set<DiffId> Below(const Records& records, graph::StepIndex step) const {
    std::set<DiffId> below;
    for (const graph::Ref& input : graph_.steps[step].inputs) {
      if (!records[input.step]) continue;
      for (const cache::Rootfs& output : records[input.step]->outputs) {
        below.insert(output.layers.begin(), output.layers.end());
      }
    }
    return below;
  }

  Status Compare(const StepRecord& cached, const StepRecord& fresh, const std::set<DiffId>& below_cached,
                 const std::set<DiffId>& below_fresh, StepDifference& difference) {
    for (size_t k = 0; k < std::min(cached.outputs.size(), fresh.outputs.size()); ++k) {
      const cache::Rootfs &a = cached.outputs[k], &b = fresh.outputs[k];
      if (a == b) continue;
      auto own = [](const cache::Rootfs& rootfs, const std::set<DiffId>& below) {
        std::vector<DiffId> layers;
        for (const DiffId& layer : rootfs.layers) {
          if (!below.contains(layer)) layers.push_back(layer);
        }
        return layers;
      };
      auto x = own(a, below_cached), y = own(b, below_fresh);
      TRY_ASSIGN(bool here, AreHere(x));
      if (here && x.size() == y.size()) {
        for (size_t i = 0; i < x.size(); ++i) TRY(CompareLayers(x[i], y[i], difference));
      } else {
        difference.trees_only = !here;
        TRY(CompareTrees(a, b, difference));
      }
    }
    return Ok();
  }

  Result<bool> AreHere(const std::vector<DiffId>& layers) {
    for (const DiffId& layer : layers) {
      TRY_ASSIGN(bool here, workspace_.layers->Has(layer));
      if (!here) return false;
    }
    return true;
  }

  Status CompareLayers(const DiffId& a, const DiffId& b, StepDifference& difference) {
    if (a == b) return Ok();
    TRY_ASSIGN(auto files, verify::CompareLayers(*workspace_.layers, a, b, {}, stop_));
    difference.files.insert(difference.files.end(), files.begin(), files.end());
    return Ok();
  }

  Status CompareTrees(const cache::Rootfs& a, const cache::Rootfs& b, StepDifference& difference) {
    using verify::FileDifference;
    if (a.tree_root == b.tree_root) return Ok();
    constexpr size_t kLimit = 10'000;
    TRY_ASSIGN(auto found, tree::Compare(*workspace_.local.store, a.tree_root, b.tree_root, {}, kLimit));
    for (const tree::Difference& entry : found) {
      using From = tree::Difference::Kind;
      using To = FileDifference::Kind;
      static const std::map<From, To> kKinds = {{From::kAdded, To::kOnlySecond}, {From::kRemoved, To::kOnlyFirst},
                                                {From::kContent, To::kContent},  {From::kMode, To::kMode},
                                                {From::kOwner, To::kOwner},      {From::kType, To::kType},
                                                {From::kLink, To::kTarget},      {From::kXattr, To::kXattr}};
      difference.files.push_back({.path = entry.path.str(), .kind = kKinds.at(entry.kind)});
    }
    return Ok();
  }

  const graph::Graph& graph_;
  job::Workspace& workspace_;
  std::stop_token stop_;
};

// Everything runs in a build without cache: there is no reason to give.
class FreshObserver final : public job::BoardObserver {
 public:
  using job::BoardObserver::BoardObserver;
  void Explained(graph::StepIndex, const std::vector<engine::Reason>&) override {}
};

class VerifyCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    parser_.Define(app, words());
    app.add_flag("--all", all_, "List every file that differs");
    app.add_option("--format", format_, "text or json")->check(CLI::IsMember({"text", "json"}));
  }

  Status Check() override {
    TRY_ASSIGN(flags_, parser_.Finish());
    if (!flags_.outputs.empty() || flags_.push || flags_.load || !flags_.iidfile.empty() ||
        !flags_.metadata_file.empty()) {
      Error error = Invalid("varve verify writes no image: it builds twice and compares");
      error.hint = "leave out --output, --push, --load, --iidfile and --metadata-file";
      return error;
    }
    if (flags_.call.name != "build") return Invalid("varve verify takes no --call and no --check");
    flags_.reproducible = true;
    return job::BuildJob::CheckFlags(flags_);
  }

  int Run(const job::GlobalFlags& global) override {
    if (sys::CanMount()) {
      if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return Fail(entered.error());
    }
    job::StopSignals signals;
    auto workspace = job::Workspace::Open(global);
    if (!workspace) return Fail(workspace.error());
    board_ = job::MakeBoard(flags_);
    job::BuildJob job(flags_, *workspace, *board_, signals.token());
    int code = Verify(job, *workspace, signals.token());
    if (Status flushed = workspace->local.store->Flush(); !flushed) LOG_WARN("{}", flushed.error().message);
    return code;
  }

 private:
  int Verify(job::BuildJob& job, job::Workspace& workspace, std::stop_token stop) {
    if (auto read = job.Read(); !read) return FailAt(job, read.error());
    auto lowered = job.Lower();
    job::ShowWarnings(job.warnings(), *board_, job.context());
    if (!lowered) return FailAt(job, lowered.error());

    auto cached = Build(job, {}, "with the cache");
    if (!cached) return code_;
    std::string isolated = RandomName();
    auto fresh = Build(job, {.isolated = isolated}, "without the cache");
    if (!fresh) return code_;
    auto result = Compare(job, workspace, *cached, *fresh, stop);
    job.Forget(*fresh, isolated);
    board_->Close();
    if (!result) return Fail(result.error());
    job::ToStdout(format_ == "json" ? ToJson(*result, job.graph()).Dump({.indent = 2}) + "\n"
                                    : ToText(*result, job.graph(), all_));
    return result->equal() ? job::kSuccess : job::kBuildFailed;
  }

  // Nothing, with the exit code in code_, when the build failed.
  std::optional<engine::Outcome> Build(job::BuildJob& job, const job::BuildJob::RunOptions& options,
                                       const std::string& how) {
    uint32_t heading = board_->Add("[verify] building " + how);
    board_->Start(heading);
    auto observer = options.isolated.empty() ? std::make_unique<job::BoardObserver>(*board_, job.graph())
                                             : std::make_unique<FreshObserver>(*board_, job.graph());
    auto outcome = job.Run(options, *observer);
    if (!outcome) {
      code_ = Fail(outcome.error());
      return {};
    }
    if (outcome->error) {
      code_ = job::FailBuild(job.graph(), *outcome, job.context(), *board_);
      if (!options.isolated.empty()) job.Forget(*outcome, options.isolated);
      return {};
    }
    board_->Finish(heading, {});
    return std::move(*outcome);
  }

  static Result<VerifyResult> Compare(job::BuildJob& job, job::Workspace& workspace, const engine::Outcome& cached,
                                      const engine::Outcome& fresh, std::stop_token stop) {
    exporter::Output output{.timestamps = exporter::Timestamps::kSet};
    TRY_ASSIGN(auto first, job.Configs(cached, output));
    TRY_ASSIGN(auto second, job.Configs(fresh, output));
    std::string all_first, all_second;
    std::vector<std::string> differing;
    for (size_t i = 0; i < first.size(); ++i) {
      std::string a = first[i].Serialise(), b = second[i].Serialise();
      std::string prefix = first.size() > 1 ? first[i].platform().ToString() + " " : "";
      if (a != b) {
        for (const std::string& name : ConfigDifferences(a, b)) differing.push_back(prefix + name);
      }
      all_first += a;
      all_second += b;
    }
    VerifyResult result{
        .cached = Digest::Of(all_first), .fresh = Digest::Of(all_second), .config = std::move(differing)};
    TRY_ASSIGN(auto cached_records, RecordsOf(cached, *workspace.local.store));
    TRY_ASSIGN(auto fresh_records, RecordsOf(fresh, *workspace.local.store));
    TRY_ASSIGN(result.steps, StepComparison(job.graph(), workspace, stop).Run(cached_records, fresh_records));
    return result;
  }

  int Fail(const Error& error) { return job::FailWith(error, board_.get()); }

  int FailAt(const job::BuildJob& job, const dockerfile::SourceError& error) {
    return job::FailWith(error, job.context(), board_.get());
  }

  BuildFlagParser parser_;
  job::BuildFlags flags_;
  bool all_ = false;
  std::string format_ = "text";
  std::unique_ptr<progress::Board> board_;
  int code_ = job::kSuccess;
};

}  // namespace

std::unique_ptr<Command> MakeVerifyCommand() { return std::make_unique<VerifyCommand>(); }

}  // namespace varve::cli

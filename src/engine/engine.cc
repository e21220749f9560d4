#include "engine/engine.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "base/guarded.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/thread_pool.h"
#include "engine/age.h"
#include "engine/forecast.h"
#include "engine/foresight.h"
#include "engine/mailbox.h"
#include "engine/miss.h"
#include "engine/plan.h"
#include "engine/replay.h"
#include "engine/shadow.h"
#include "engine/topmost.h"
#include "graph/reads.h"

namespace varve::engine {

namespace {

using graph::StepIndex;

constexpr size_t kIoThreads = 32;

class Coordinator {
 public:
  Coordinator(const Request& request, const Services& services, std::stop_token stop)
      : request_(request), graph_(request.graph), services_(services),
        plan_(request.graph, request.wanted, request.want_data), pins_(graph_.steps.size()),
        keyed_(graph_.steps.size()), slots_(SlotsOf(request)), started_(graph_.steps.size(), Nanos(-1)),
        on_stop_(stop,
                 [this] {
                   mail_.Post([this] { Fail(Cancelled("the build was cancelled"), {}); });
                   cancel_.request_stop();  // at once: the coordinator may be at work itself
                 }),
        io_(kIoThreads), running_(std::max<size_t>(1, request.max_running)) {
    outcome_.steps.resize(graph_.steps.size());
    used_.resize(graph_.steps.size());
    for (const graph::Step& step : graph_.steps) {
      for (const graph::Ref& ref : step.inputs) used_[ref.step].insert(ref.output);
    }
    for (const graph::Ref& ref : request.wanted) used_[ref.step].insert(ref.output);
    auto ops = std::make_shared<std::set<Digest>>();
    std::vector<StepIndex> limited;
    for (StepIndex i = 0; i < graph_.steps.size(); ++i) {
      outcome_.steps[i].slot = slots_[i];
      if (graph::IsSource(graph_.steps[i].op)) continue;
      if (RunsProcess(i)) unsettled_.insert(i);
      ops->insert(Digest::Of(graph::CanonicalOp(graph_.steps[i]).DumpCanonical()));
      if (LimitOf(request, i)) limited.push_back(i);
    }
    plan_.Limit(limited);
    ops_ = std::move(ops);
  }

  Outcome Run() {
    while (true) {
      if (!outcome_.error) Advance();
      if (mail_.in_flight() == 0) break;
      mail_.Next()();
    }
    Conclude();
    return std::move(outcome_);
  }

 private:
  // Runs `work` on a pool; then `receive` with its value, on the coordinator.
  template <class Work, class Receive>
  void Start(ThreadPool& pool, Work work, Receive receive) {
    mail_.Start(pool, cancel_.get_token(), std::move(work), std::move(receive));
  }

  // Of a step's outputs those that something is made of. The others need not be here, and may be nowhere.
  std::vector<cache::Rootfs> Used(StepIndex i, const std::vector<cache::Rootfs>& outputs) const {
    std::vector<cache::Rootfs> used;
    for (uint32_t output : used_[i]) {
      if (output < outputs.size()) used.push_back(outputs[output]);
    }
    return used;
  }

  // --- Moving actions and facts --------------------------------------------------------------------

  void Advance() {
    while (!outcome_.error && !plan_.Done()) {
      Plan::Actions actions = plan_.Next();
      if (actions.empty()) break;
      for (StepIndex i : actions.resolve) Resolve(i);
      for (StepIndex i : actions.key) ComputeKeyOf(i);
      if (std::exchange(results_withdrawn_, false)) {
        // The rest was planned on results that have just turned out to be of no use.
        for (auto* list : {&actions.look_up, &actions.obtain, &actions.run}) {
          for (StepIndex i : *list) plan_.Withdraw(i);
        }
        continue;
      }
      // More keys may follow from these at once; they go into the same look-up batch.
      to_look_up_.insert(to_look_up_.end(), actions.look_up.begin(), actions.look_up.end());
      if (actions.key.empty()) LookUp();
      if (request_.dry_run) continue;
      for (StepIndex i : actions.obtain) Obtain(i);
      for (StepIndex i : actions.run) running_processes_ += RunsProcess(i);
      for (StepIndex i : actions.run) RunStep(i);
    }
    LookUp();
    if (mail_.in_flight() == 0 && !outcome_.error && !plan_.Done() && !request_.dry_run) {
      Fail(Internal("nothing is left to do, but the result is not there"), {});
    }
  }

  void Fail(Error error, std::optional<StepIndex> step) {
    if (outcome_.error) return;
    outcome_.error = std::move(error);
    outcome_.failed_step = step;
    cancel_.request_stop();
  }

  bool RunsProcess(StepIndex i) const { return std::holds_alternative<graph::Exec>(graph_.steps[i].op); }

  void MarkStarted(StepIndex i) {
    if (started_[i].count() >= 0) return;
    started_[i] = services_.clock.Monotonic();
    services_.observer.Started(i);
  }

  void MarkFinished(StepIndex i, StepStatus status, const Error* error) {
    StepOutcome& outcome = outcome_.steps[i];
    MarkStarted(i);
    outcome.status = status;
    outcome.wall = services_.clock.Monotonic() - started_[i];
    unsettled_.erase(i);
    services_.observer.Finished(i, outcome, error);
  }

  void StepFailed(StepIndex i, Error error) {
    bool cancelled = error.code == Code::kCancelled;
    MarkFinished(i, cancelled ? StepStatus::kCancelled : StepStatus::kFailed, &error);
    Fail(std::move(error), i);
  }

  void Resolve(StepIndex i) {
    MarkStarted(i);
    Start(
        io_,
        [this, i](std::stop_token stop) {
          return services_.resolver.Resolve(graph_, i, services_.observer.SinkOf(i), stop);
        },
        [this, i](Result<Pin> pin) {
          if (!pin) return StepFailed(i, std::move(pin).error());
          pins_[i] = *pin;
          plan_.OnPin(i, pin->rootfs, pin->chain.has_value(), pin->data_local);
          // An image is done when its layers are here, or when nothing turned out to need them.
          if (!pin->chain) MarkFinished(i, StepStatus::kRan, nullptr);
          else if (pin->data_local) MarkFinished(i, StepStatus::kCached, nullptr);
        });
  }

  std::vector<InputFact> Facts(StepIndex i) const {
    std::vector<InputFact> facts;
    for (const graph::Ref& ref : graph_.steps[i].inputs) {
      InputFact fact{.name = NameOf(graph_.steps[ref.step]), .output = ref.output};
      if (pins_[ref.step]) {
        fact.chain = pins_[ref.step]->chain;
        if (!fact.chain) fact.tree_root = pins_[ref.step]->rootfs.tree_root;
      } else {
        fact.key = plan_.Key(ref.step);
        const auto* outputs = plan_.Outputs(ref.step);
        if (outputs && ref.output < outputs->size()) fact.tree_root = (*outputs)[ref.output].tree_root;
      }
      if (fact.tree_root && fact.tree_root->empty()) fact.tree_root.reset();
      facts.push_back(std::move(fact));
    }
    return facts;
  }

  void ComputeKeyOf(StepIndex i) {
    METRIC("engine.key");
    auto keyed = ComputeKey(graph_.steps[i], Facts(i), services_.trees, request_.salt);
    if (!keyed) {
      Error error = std::move(keyed).error();
      if (error.code == Code::kCorrupt) return DropUnreadableInputs(i, std::move(error));
      return StepFailed(i, std::move(error));
    }
    if (!*keyed) return plan_.OnKeyUnknown(i);
    keyed_[i] = std::make_shared<const KeyedStep>(std::move(**keyed));
    outcome_.steps[i].key = keyed_[i]->key;
    plan_.OnKey(i, keyed_[i]->key);
    // Equal to a step that is settled: it shares that result.
    if (plan_.Outputs(i)) MarkFinished(i, StepStatus::kCached, nullptr);
  }

  // A record named a tree of which a part is not stored any more. Where its layers are here, they give
  // the tree again, once in a build; else it is a miss (invariant I4).
  void DropUnreadableInputs(StepIndex i, Error error) {
    bool dropped = false, restored = false;
    for (const graph::InputUse& use : graph::InputUses(graph_.steps[i])) {
      StepIndex input = graph_.steps[i].inputs[static_cast<size_t>(use.input)].step;
      if (use.lineage || pins_[input]) continue;
      if (plan_.Busy(input)) {  // asked again when what is under way for it has ended
        dropped = true;
        continue;
      }
      const auto* outputs = plan_.Outputs(input);
      if (outputs && restored_.insert(input).second && services_.runner.RestoreTrees(*outputs)) {
        Counter("engine.trees_restored").Add();
        restored = true;
        continue;
      }
      results_withdrawn_ = true;
      if (plan_.Key(input)) Forget(*plan_.Key(input));
      dropped = plan_.OnDataGone(input) || dropped;
    }
    if (dropped) return plan_.OnKeyUnknown(i);
    if (restored) return plan_.Withdraw(i);
    StepFailed(i, std::move(error));
  }

  // The record that answered `key` is of no use. It is dropped when the step runs, under the key's
  // lock: another process may be making it anew at this moment, and that one is good.
  void Forget(const StepKey& key) { useless_[key] = made_[key]; }

  bool IsUseless(const cache::StepRecord& record) const {
    auto it = useless_.find(record.key);
    return it != useless_.end() && it->second == record.created;
  }

  // On a pool thread, under the key's lock.
  void Drop(const StepKey& key) {
    Counter("engine.records_dropped").Add();
    if (Status dropped = services_.records.Drop(key); !dropped) {
      LOG_WARN("dropping record {}: {}", key.ToString(), dropped.error().message);
    }
  }

  void LookUp() {
    if (to_look_up_.empty()) return;
    std::vector<StepIndex> batch = std::exchange(to_look_up_, {});
    std::vector<StepKey> keys;
    std::vector<LookedUp> steps;
    for (StepIndex i : batch) {
      keys.push_back(*plan_.Key(i));
      if (services_.matcher == nullptr) continue;
      steps.push_back({.step = i, .inputs = Facts(i), .record = RecordOf(i, *keyed_[i])});
    }
    ++outcome_.totals.rounds;
    Start(
        io_,
        [this, keys = std::move(keys), steps = std::move(steps)](std::stop_token stop) mutable {
          return Answers(keys, std::move(steps), stop);
        },
        [this, batch](LookUpAnswers answers) {
          (void)services_.runner.HasLocally(Topmost(answers.records));  // leases them together
          for (size_t n = 0; n < batch.size(); ++n) {
            if (answers.matched[n]) {
              outcome_.steps[batch[n]].tier = answers.matched[n]->from;
              Hit(batch[n], answers.matched[n]->record);
            } else if (answers.records[n] && !IsUseless(*answers.records[n])) {
              Hit(batch[n], *answers.records[n]);
            } else {
              plan_.OnLookUp(batch[n], {}, false);
            }
          }
          if (answers.error) {
            LOG_WARN("cache look-up: {}", answers.error->message);
            look_up_error_ = std::move(answers.error);
          }
        });
  }

  struct LookUpAnswers {
    std::vector<std::optional<cache::StepRecord>> records;
    std::vector<std::optional<ResultMatcher::Matched>> matched;  // where there is no record
    std::optional<Error> error;
  };

  // On a pool thread. A cache that cannot answer is a miss, never a failed build (invariant I7).
  LookUpAnswers Answers(const std::vector<StepKey>& keys, std::vector<LookedUp> steps, std::stop_token stop) {
    LookUpAnswers answers;
    if (auto records = services_.records.GetMany(keys)) answers.records = std::move(*records);
    else answers.error = std::move(records).error();
    answers.records.resize(keys.size());
    for (size_t n = 0; n < steps.size(); ++n) steps[n].answered = answers.records[n].has_value();
    if (services_.matcher != nullptr) answers.matched = services_.matcher->Match(graph_, steps, stop);
    answers.matched.resize(keys.size());
    return answers;
  }

  void Hit(StepIndex i, const cache::StepRecord& record) {
    if (auto age = TooOld(request_, plan_, i, record, services_.clock.Now())) {
      Counter("engine.too_old").Add();
      too_old_[i] = std::move(*age);
      return plan_.OnTooOld(i);
    }
    Counter("engine.hits").Add();
    outcome_.steps[i].saved = record.wall;
    outcome_.steps[i].created = record.created;
    made_[record.key] = record.created;
    bool local = services_.runner.HasLocally(Used(i, record.outputs));
    plan_.OnLookUp(i, record.outputs, local);
    MarkFinished(i, StepStatus::kCached, nullptr);
  }

  void Obtain(StepIndex i) {
    MarkStarted(i);
    Start(
        io_,
        [this, i, outputs = Used(i, *plan_.Outputs(i))](std::stop_token stop) {
          return services_.runner.Obtain(graph_, i, outputs, services_.observer.SinkOf(i), stop);
        },
        [this, i](Result<std::vector<cache::Rootfs>> outputs) {
          if (outputs) {
            std::vector<cache::Rootfs> all = *plan_.Outputs(i);
            auto obtained = outputs->begin();
            for (uint32_t output : used_[i]) {
              if (output < all.size()) all[output] = std::move(*obtained++);
            }
            plan_.OnObtained(i, std::move(all));
            if (pins_[i]) MarkFinished(i, StepStatus::kRan, nullptr);
            return;
          }
          Error error = std::move(outputs).error();
          bool gone = error.code == Code::kNotFound || error.code == Code::kCorrupt;
          if (gone && !pins_[i] && plan_.OnDataGone(i)) {
            lost_[i] = {std::move(error), services_.records.TierOf(*plan_.Key(i))};
            Forget(*plan_.Key(i));
          } else {
            StepFailed(i, std::move(error));
          }
        });
  }

  // --- Running -------------------------------------------------------------------------------------

  struct RanOrFound {
    std::vector<cache::Rootfs> outputs;
    uint64_t new_bytes = 0;
    bool found = false;  // another process made the record since this build looked for it
    Nanos saved{0};
    Timestamp created;
    std::string replayed = {};  // that an earlier run stands for it
    bool inputs_missing = false;
  };

  void RunStep(StepIndex i) {
    MarkStarted(i);
    RunRequest request{graph_, i, *plan_.Key(i), {}, {}};
    request.more_to_run = unsettled_.size() > running_processes_;
    for (const graph::Ref& ref : graph_.steps[i].inputs) {
      const auto& outputs = *plan_.Outputs(ref.step);
      if (ref.output >= outputs.size()) {
        return StepFailed(
            i, Corrupt("the record of step \"{}\" lacks output {}", graph_.steps[ref.step].name, ref.output));
      }
      RunInput& input = request.inputs.emplace_back(RunInput{.step = ref.step,
                                                             .is_source = pins_[ref.step].has_value(),
                                                             .rootfs = outputs[ref.output],
                                                             .here = plan_.DataLocal(ref.step)});
      if (!input.here) input.added_by = plan_.AddedBy(ref);
    }
    if (!prepared_) {
      if (Status prepared = services_.runner.Prepare(); !prepared) return StepFailed(i, std::move(prepared).error());
      prepared_ = true;
    }
    const bool inputs_here = std::ranges::all_of(request.inputs, &RunInput::here);
    auto it = useless_.find(request.key);
    auto useless = it == useless_.end() ? std::nullopt : std::optional(it->second);
    Start(
        running_,
        [this, i, request = std::move(request), miss = MissOf(known_, i), useless,
         below = request_.trace.on || !graph_.steps[i].installs.empty()
                     ? LayersBelow(graph_, plan_, i, request_.trace.on)
                     : std::nullopt](std::stop_token stop) mutable {
          return RunLocked(i, request, miss, useless, below, stop);
        },
        [this, i, inputs_here](Result<RanOrFound> ran) {
          running_processes_ -= RunsProcess(i);
          if (!ran) return StepFailed(i, std::move(ran).error());
          if (ran->inputs_missing) return plan_.OnInputsMissing(i);
          StepOutcome& outcome = outcome_.steps[i];
          outcome.new_bytes = ran->new_bytes;
          outcome.saved = ran->saved;
          outcome.created = ran->created;
          outcome.replayed = ran->replayed;
          made_[outcome.key] = ran->created;
          if (ran->found) outcome.reasons.clear();
          else outcome.tier.clear();
          MarkFinished(i, ran->found ? StepStatus::kCached : StepStatus::kRan, nullptr);
          bool here = inputs_here || services_.runner.HasLocally(Used(i, ran->outputs));
          for (StepIndex shared : plan_.OnRan(i, std::move(ran->outputs), here)) {
            outcome_.steps[shared].created = outcome.created;
            MarkFinished(shared, StepStatus::kCached, nullptr);
          }
        });
  }

  // On a pool thread. `useless`: when the record was made that this build had to forget.
  Result<RanOrFound> RunLocked(StepIndex i, RunRequest& request, const Miss& miss, std::optional<Timestamp> useless,
                               const std::optional<FilesBelow>& below, std::stop_token stop) {
    TRY_ASSIGN(auto lock, services_.locks.Acquire(request.key, stop));
    bool forced = miss.step->no_cache || miss.parent_must_run || miss.too_old;
    // Asked again also where nobody held the lock: another process may have had it and be done with it
    // since this build looked the step up, which may be minutes ago.
    if (!forced) {
      auto records = services_.records.GetMany({request.key});
      if (records && records->size() == 1 && (*records)[0]) {
        const cache::StepRecord& record = *(*records)[0];
        if (record.created == useless) {
          Drop(request.key);
        } else if (services_.runner.HasLocally(Used(i, record.outputs))) {
          return RanOrFound{record.outputs, 0, true, record.wall, record.created};
        }
      }
    }
    std::optional<WeakStep> weak;
    if (below) weak = WeakStepOf(*miss.step, *miss.keyed, *below, request_.trace.strict_mtime, services_);
    std::optional<Reason> not_replayed;
    if (weak && !forced) {
      ReplayedStep step{
          .keyed = *miss.keyed, .slot = slots_[i], .now = services_.clock.Now(), .age = LimitsOfReplays(request_, i)};
      TRY_ASSIGN(ReplaySearch search, FindReplay(services_, request, *weak, step, stop));
      if (search.found) {
        const cache::StepRecord& record = search.found->record;
        if (IsSampled(request.key, request_.trace.shadow_percent)) {
          ShadowRun shadow{request, weak->key, record.outputs[0]};
          shadow.request.more_to_run = false;
          mail_.Post([this, shadow = std::move(shadow)] { outcome_.shadows.push_back(shadow); });
        }
        return RanOrFound{record.outputs, 0, true, record.wall, record.created, search.found->note};
      }
      not_replayed = std::move(search.why_not);
    }
    if (weak) {
      request.traced = weak->Mounted();
      request.traced_mounts = weak->mounts;
      for (const std::string& why_not : weak->refused) SayCountedWhole(i, why_not);
    }
    ExplainedMiss why = Explained(miss);
    if (not_replayed) AddWhyNotReplayed(std::move(*not_replayed), why.reasons);
    if (why.nearest && !why.nearest->outputs.empty() && !why.nearest->outputs[0].layers.empty()) {
      request.similar = why.nearest->outputs[0].layers.back();
      TellDirectories(*miss.step, *why.nearest, request);
    }
    if (i < request_.must_hit.size() && request_.must_hit[i]) {
      mail_.Post([this, i, why] { SetReasons(why, outcome_.steps[i]); });
      return MissError(i, why);
    }
    mail_.Post([this, i, why] {
      SetReasons(why, outcome_.steps[i]);
      services_.observer.Explained(i, outcome_.steps[i].reasons);
    });
    Counter("engine.runs").Add();
    Nanos begin = services_.clock.Monotonic();
    TRY_ASSIGN(RunResult result, services_.runner.Run(request, services_.observer.SinkOf(i), stop));
    if (result.inputs_missing) return RanOrFound{.inputs_missing = true};
    cache::StepRecord record = RecordOf(i, *miss.keyed);
    record.created = services_.clock.Now();
    record.wall = services_.clock.Monotonic() - begin;
    record.outputs = result.outputs;
    record.new_bytes = result.new_bytes;
    record.log = result.log;
    record.directories = result.directories;
    NoteOrder(i, miss, why, request, result);
    if (auto why_not = weak ? WhyNotForOthers(*weak, result, services_.runner) : std::nullopt) {
      SayCountedWhole(i, *why_not);
      weak.reset();
    }
    if (weak && result.asked) {
      auto trace = MakeTrace(*weak, services_.trees, services_.runner, *result.asked);
      if (trace) record.trace = std::move(*trace);
      else LOG_WARN("what \"{}\" looked at was not stored: {}", record.name, trace.error().message);
    }
    if (Status put = services_.records.Put(record); !put) {
      // The build has its result; only the next one will miss it.
      LOG_WARN("record of \"{}\" was not stored: {}", record.name, put.error().message);
    }
    return RanOrFound{std::move(result.outputs), result.new_bytes, false, Nanos(0), record.created};
  }

  // What an earlier run found below, if that was written on the same layers.
  static void TellDirectories(const graph::Step& step, const cache::StepRecord& earlier, RunRequest& request) {
    const std::vector<DiffId>& above = earlier.outputs[0].layers;
    for (const graph::InputUse& use : graph::InputUses(step)) {
      RunInput& input = request.inputs[static_cast<size_t>(use.input)];
      const std::vector<DiffId>& layers = input.rootfs.layers;
      const bool same =
          use.lineage && above.size() == layers.size() + 1 && std::equal(layers.begin(), layers.end(), above.begin());
      if (same) input.directories = earlier.directories;
    }
  }

  // On a pool thread.
  void SayCountedWhole(StepIndex i, const std::string& why) {
    services_.observer.SinkOf(i).Log(2, fmt::format("counted whole: {}\n", why));
  }

  // --- Why -------------------------------------------------------------------------------------------

  MissStores Stores() const { return {services_.records, services_.trees, services_.archive, services_.clock}; }

  ExplainedMiss Explained(const Miss& miss) const {
    METRIC("engine.explain");
    return ExplainMiss(miss, Stores());
  }

  Error MissError(StepIndex i, const ExplainedMiss& why) {
    mail_.Post([this] { outcome_.cache_miss = true; });
    Error error = Invalid("step \"{}\" is not cached: {}", graph_.steps[i].name, Summarise(why.reasons));
    error.hint = "--fail-on-cache-miss asks that it is; varve plan shows what else would run";
    return error;
  }

  // On a pool thread, after the step ran.
  void NoteOrder(StepIndex i, const Miss& miss, const ExplainedMiss& why, const RunRequest& request,
                 const RunResult& result) {
    if (result.outputs.empty() || miss.lineage.empty()) return;
    for (const graph::InputUse& use : graph::InputUses(*miss.step)) {
      if (!use.lineage) continue;
      std::vector<Reason> reasons = why.reasons;
      const cache::Rootfs& parent = request.inputs[static_cast<size_t>(use.input)].rootfs;
      METRIC("engine.order_hint");
      if (AddOrderHint(miss, why, result.outputs[0], parent, Stores(), reasons)) {
        mail_.Post([this, i, reasons = std::move(reasons)] { outcome_.steps[i].reasons = reasons; });
      }
      return;
    }
  }

  // All of a record that is not its result.
  cache::StepRecord RecordOf(StepIndex i, const KeyedStep& keyed) const {
    return {.key = keyed.key,
            .outputs = {},
            .preimage = keyed.preimage,
            .inputs = keyed.inputs,
            .images = keyed.images,
            .slot = slots_[i],
            .op_digest = keyed.op_digest,
            .name = graph_.steps[i].name};
  }

  void Conclude() {
    if (request_.dry_run && !outcome_.error) Foresee(known_, Stores(), request_, services_, outcome_);
    if (!outcome_.error) {
      for (const graph::Ref& ref : request_.wanted) {
        const auto* outputs = plan_.Outputs(ref.step);
        if (outputs == nullptr) break;  // a dry run
        if (ref.output >= outputs->size()) {
          outcome_.error = Corrupt("step \"{}\" has no output {}", graph_.steps[ref.step].name, ref.output);
          break;
        }
        outcome_.wanted.push_back((*outputs)[ref.output]);
      }
    }
    for (StepIndex i = 0; i < graph_.steps.size(); ++i) {
      StepOutcome& step = outcome_.steps[i];
      if (started_[i].count() >= 0 && step.status == StepStatus::kNotNeeded) {
        MarkFinished(i, outcome_.error ? StepStatus::kCancelled : StepStatus::kCached, nullptr);
      }
      if (graph::IsSource(graph_.steps[i].op)) continue;
      outcome_.totals.cached += step.status == StepStatus::kCached;
      outcome_.totals.ran += step.status == StepStatus::kRan;
      outcome_.totals.saved += step.status == StepStatus::kCached ? step.saved : Nanos(0);
      outcome_.totals.new_bytes += step.new_bytes;
    }
  }

  const Request& request_;
  const graph::Graph& graph_;
  const Services& services_;

  // Coordinator thread only.
  Plan plan_;
  std::vector<std::optional<Pin>> pins_;
  std::vector<std::shared_ptr<const KeyedStep>> keyed_;
  std::vector<std::string> slots_;
  std::vector<std::set<uint32_t>> used_;  // by step: outputs that others read, or that are wanted
  std::vector<Nanos> started_;
  std::vector<StepIndex> to_look_up_;
  std::set<StepIndex> unsettled_;  // of those that run processes
  size_t running_processes_ = 0;
  std::set<StepIndex> restored_;          // whose trees were made again, or could not be
  std::map<StepIndex, Miss::Lost> lost_;  // hits whose layers could not be had
  std::map<StepIndex, Miss::Age> too_old_;
  std::optional<Error> look_up_error_;
  std::shared_ptr<const std::set<Digest>> ops_;
  Outcome outcome_;
  std::map<StepKey, Timestamp> made_;     // when the record behind a result of this job was made
  std::map<StepKey, Timestamp> useless_;  // of records whose data is gone
  const Timestamp began_ = services_.clock.Now();
  const Known known_{graph_, plan_, pins_, keyed_, slots_, lost_, too_old_, look_up_error_, ops_, began_, outcome_};
  bool prepared_ = false;           // the runner, for steps to run
  bool results_withdrawn_ = false;  // since the plan was last asked

  Mailbox mail_{io_};
  std::stop_source cancel_;
  std::stop_callback<std::function<void()>> on_stop_;
  ThreadPool io_;
  ThreadPool running_;  // last: its threads end before what they use
};

}  // namespace

Outcome Build(const Request& request, const Services& services, std::stop_token stop) {
  METRIC("engine.build");
  if (Status valid = graph::Validate(request.graph); !valid) {
    Outcome outcome;
    outcome.error = std::move(valid).error();
    outcome.steps.resize(request.graph.steps.size());
    return outcome;
  }
  return Coordinator(request, services, stop).Run();
}

}  // namespace varve::engine

#include "engine/engine.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>

#include "base/guarded.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/thread_pool.h"
#include "engine/plan.h"
#include "graph/reads.h"

namespace varve::engine {

namespace {

using graph::StepIndex;

constexpr size_t kIoThreads = 32;

class Coordinator {
 public:
  Coordinator(const Request& request, const Services& services, std::stop_token stop)
      : request_(request), graph_(request.graph), services_(services),
        plan_(request.graph, request.wanted, request.want_data),
        pins_(graph_.steps.size()), keyed_(graph_.steps.size()), slots_(Slots()),
        started_(graph_.steps.size(), Nanos(-1)),
        on_stop_(stop, [this] { Post([this] { Fail(Cancelled("the build was cancelled"), {}); }); }),
        io_(kIoThreads), running_(std::max<size_t>(1, request.max_running)) {
    outcome_.steps.resize(graph_.steps.size());
  }

  Outcome Run() {
    while (true) {
      if (!outcome_.error) Advance();
      if (in_flight_ == 0) break;
      std::move_only_function<void()> message;
      {
        auto mail = mail_.Lock();
        mail.Wait(mail_came_, [&] { return !mail->empty(); });
        message = std::move(mail->front());
        mail->pop_front();
      }
      message();
    }
    Conclude();
    return std::move(outcome_);
  }

 private:
  // --- The mailbox ---------------------------------------------------------------------------------

  void Post(std::move_only_function<void()> message) {
    mail_.Lock()->push_back(std::move(message));
    mail_came_.notify_one();
  }

  // Runs `work` on a pool; then `receive` with its value, on the coordinator.
  template <class Work, class Receive>
  void Start(ThreadPool& pool, Work work, Receive receive) {
    ++in_flight_;
    pool.Submit([this, work = std::move(work), receive = std::move(receive)]() mutable {
      auto value = work(cancel_.get_token());
      Post([this, value = std::move(value), receive = std::move(receive)]() mutable {
        --in_flight_;
        receive(std::move(value));
      });
    });
  }

  // --- Moving actions and facts --------------------------------------------------------------------

  void Advance() {
    while (!outcome_.error && !plan_.Done()) {
      Plan::Actions actions = plan_.Next();
      if (actions.empty()) break;
      for (StepIndex i : actions.resolve) Resolve(i);
      for (StepIndex i : actions.key) ComputeKeyOf(i);
      // More keys may follow from these at once; they go into the same look-up batch.
      to_look_up_.insert(to_look_up_.end(), actions.look_up.begin(), actions.look_up.end());
      if (actions.key.empty()) LookUp();
      for (StepIndex i : actions.obtain) Obtain(i);
      for (StepIndex i : actions.run) {
        if (request_.dry_run) {
          outcome_.would_run.push_back(i);
        } else {
          RunStep(i);
        }
      }
    }
    LookUp();
    if (in_flight_ == 0 && !outcome_.error && !plan_.Done() && !request_.dry_run) {
      Fail(Internal("nothing is left to do, but the result is not there"), {});
    }
  }

  void Fail(Error error, std::optional<StepIndex> step) {
    if (outcome_.error) return;
    outcome_.error = std::move(error);
    outcome_.failed_step = step;
    cancel_.request_stop();
  }

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
    services_.observer.Finished(i, outcome, error);
  }

  void StepFailed(StepIndex i, Error error) {
    bool cancelled = error.code == Code::kCancelled;
    MarkFinished(i, cancelled ? StepStatus::kCancelled : StepStatus::kFailed, &error);
    Fail(std::move(error), i);
  }

  void Resolve(StepIndex i) {
    MarkStarted(i);
    Start(io_,
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
      InputFact fact{.name = NameOf(ref.step), .output = ref.output};
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

  std::string NameOf(StepIndex i) const {
    const graph::Step& step = graph_.steps[i];
    if (const auto* local = std::get_if<graph::LocalSource>(&step.op)) return local->name;
    return step.stage.empty() ? step.name : "stage " + step.stage;
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
    keyed_[i] = std::move(**keyed);
    outcome_.steps[i].key = keyed_[i]->key;
    plan_.OnKey(i, keyed_[i]->key);
    // Equal to a step that is settled: it shares that result.
    if (plan_.Outputs(i)) MarkFinished(i, StepStatus::kCached, nullptr);
  }

  // A record named a tree that is not stored any more: it is a miss (invariant I4).
  void DropUnreadableInputs(StepIndex i, Error error) {
    bool dropped = false;
    for (const graph::InputUse& use : graph::InputUses(graph_.steps[i])) {
      StepIndex input = graph_.steps[i].inputs[static_cast<size_t>(use.input)].step;
      if (use.lineage || pins_[input]) continue;
      if (plan_.Key(input)) Forget(*plan_.Key(input));
      dropped = plan_.OnDataGone(input) || dropped;
    }
    if (!dropped) return StepFailed(i, std::move(error));
    plan_.OnKeyUnknown(i);
  }

  void Forget(const StepKey& key) {
    Counter("engine.records_dropped").Add();
    if (Status dropped = services_.records.Drop(key); !dropped) {
      LOG_WARN("dropping record {}: {}", key.ToString(), dropped.error().message);
    }
  }

  void LookUp() {
    if (to_look_up_.empty()) return;
    std::vector<StepIndex> batch = std::exchange(to_look_up_, {});
    std::vector<StepKey> keys;
    for (StepIndex i : batch) keys.push_back(*plan_.Key(i));
    ++outcome_.totals.rounds;
    Start(io_,
          [this, keys = std::move(keys)](std::stop_token) { return services_.records.GetMany(keys); },
          [this, batch](Result<std::vector<std::optional<cache::StepRecord>>> records) {
            for (size_t n = 0; n < batch.size(); ++n) {
              // A cache that cannot answer is a miss, never a failed build (invariant I7).
              if (!records || n >= records->size() || !(*records)[n]) {
                plan_.OnLookUp(batch[n], {}, false);
              } else {
                Hit(batch[n], *(*records)[n]);
              }
            }
            if (!records) LOG_WARN("cache look-up: {}", records.error().message);
          });
  }

  void Hit(StepIndex i, const cache::StepRecord& record) {
    Counter("engine.hits").Add();
    outcome_.steps[i].saved = record.wall;
    outcome_.steps[i].created = record.created;
    bool local = services_.runner.HasLocally(record.outputs);
    plan_.OnLookUp(i, record.outputs, local);
    MarkFinished(i, StepStatus::kCached, nullptr);
  }

  void Obtain(StepIndex i) {
    MarkStarted(i);
    Start(io_,
          [this, i, outputs = *plan_.Outputs(i)](std::stop_token stop) {
            return services_.runner.Obtain(graph_, i, outputs, services_.observer.SinkOf(i), stop);
          },
          [this, i](Result<std::vector<cache::Rootfs>> outputs) {
            if (outputs) {
              plan_.OnObtained(i, std::move(*outputs));
              if (pins_[i]) MarkFinished(i, StepStatus::kRan, nullptr);
              return;
            }
            Error error = std::move(outputs).error();
            bool gone = error.code == Code::kNotFound || error.code == Code::kCorrupt;
            if (gone && !pins_[i] && plan_.OnDataGone(i)) {
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
    bool found = false;  // another process made the record while we waited for its lock
    Nanos saved{0};
    Timestamp created;
  };

  void RunStep(StepIndex i) {
    MarkStarted(i);
    RunRequest request{graph_, i, *plan_.Key(i), {}, {}};
    for (const graph::Ref& ref : graph_.steps[i].inputs) {
      const auto& outputs = *plan_.Outputs(ref.step);
      if (ref.output >= outputs.size()) {
        return StepFailed(i, Corrupt("the record of step \"{}\" lacks output {}",
                                     graph_.steps[ref.step].name, ref.output));
      }
      request.inputs.push_back({ref.step, pins_[ref.step].has_value(), outputs[ref.output]});
    }
    Start(running_,
          [this, i, request = std::move(request)](std::stop_token stop) mutable {
            return RunLocked(i, request, stop);
          },
          [this, i](Result<RanOrFound> ran) {
            if (!ran) return StepFailed(i, std::move(ran).error());
            StepOutcome& outcome = outcome_.steps[i];
            outcome.new_bytes = ran->new_bytes;
            outcome.saved = ran->saved;
            outcome.created = ran->created;
            if (ran->found) outcome.reasons.clear();
            MarkFinished(i, ran->found ? StepStatus::kCached : StepStatus::kRan, nullptr);
            for (StepIndex shared : plan_.OnRan(i, std::move(ran->outputs))) {
              outcome_.steps[shared].created = outcome.created;
              MarkFinished(shared, StepStatus::kCached, nullptr);
            }
          });
  }

  // On a pool thread.
  Result<RanOrFound> RunLocked(StepIndex i, RunRequest& request, std::stop_token stop) {
    bool waited = false;
    TRY_ASSIGN(auto lock, services_.locks.Acquire(request.key, &waited, stop));
    if (waited && !plan_no_cache(i)) {
      auto records = services_.records.GetMany({request.key});
      if (records && records->size() == 1 && (*records)[0] &&
          services_.runner.HasLocally((*records)[0]->outputs)) {
        return RanOrFound{(*records)[0]->outputs, 0, true, (*records)[0]->wall,
                          (*records)[0]->created};
      }
    }
    constexpr size_t kCandidates = 4;
    auto earlier = services_.records.Earlier(slots_[i], keyed_[i]->op_digest, kCandidates);
    // What this build made for another platform is no earlier build of this step.
    if (earlier) std::erase_if(*earlier, [&](const auto& record) { return record.created > began_; });
    std::vector<Reason> reasons = ReasonsFor(i, earlier);
    if (earlier && !earlier->empty() && !earlier->front().outputs.empty() &&
        !earlier->front().outputs[0].layers.empty()) {
      request.similar = earlier->front().outputs[0].layers.back();
    }
    Post([this, i, reasons]() mutable {
      services_.observer.Explained(i, reasons);
      outcome_.steps[i].reasons = std::move(reasons);
    });
    Counter("engine.runs").Add();
    Nanos begin = services_.clock.Monotonic();
    TRY_ASSIGN(RunResult result,
               services_.runner.Run(request, services_.observer.SinkOf(i), stop));
    cache::StepRecord record = RecordOf(i, result, services_.clock.Monotonic() - begin);
    if (Status put = services_.records.Put(record); !put) {
      // The build has its result; only the next one will miss it.
      LOG_WARN("record of \"{}\" was not stored: {}", record.name, put.error().message);
    }
    return RanOrFound{std::move(result.outputs), result.new_bytes, false, Nanos(0), record.created};
  }

  // Set at construction and read-only since, so a pool thread may ask.
  bool plan_no_cache(StepIndex i) const { return plan_.NoCache(i); }

  std::vector<Reason> ReasonsFor(StepIndex i,
                                 const Result<std::vector<cache::StepRecord>>& earlier) {
    if (plan_no_cache(i)) return {{Reason::Kind::kNoCache, "--no-cache", {}}};
    METRIC("engine.explain");
    if (!earlier) return {{Reason::Kind::kFirstTime, "no earlier record can be read", {}}};
    return Explain(*keyed_[i], *earlier, services_.trees);
  }

  cache::StepRecord RecordOf(StepIndex i, const RunResult& result, Nanos wall) const {
    const KeyedStep& keyed = *keyed_[i];
    return cache::StepRecord{
        .key = keyed.key, .outputs = result.outputs, .preimage = keyed.preimage,
        .inputs = keyed.inputs, .slot = slots_[i], .op_digest = keyed.op_digest,
        .name = graph_.steps[i].name, .created = services_.clock.Now(), .wall = wall,
        .new_bytes = result.new_bytes, .log = result.log};
  }

  // A slot names "the same step of the same file" across builds: project, stage, position in it.
  std::vector<std::string> Slots() const {
    std::vector<std::string> slots;
    std::map<std::string, int> position;
    for (const graph::Step& step : graph_.steps) {
      std::string stage = fmt::format("{}|{}|{}|{}", request_.project, step.location.file,
                                      step.stage, step.platform.ToString());
      int n = graph::IsSource(step.op) ? 0 : ++position[stage];
      slots.push_back(fmt::format("{}|{}", stage, n));
    }
    return slots;
  }

  void Conclude() {
    if (!outcome_.error) {
      for (const graph::Ref& ref : request_.wanted) {
        const auto* outputs = plan_.Outputs(ref.step);
        if (outputs == nullptr) break;  // a dry run
        if (ref.output >= outputs->size()) {
          outcome_.error = Corrupt("step \"{}\" has no output {}", graph_.steps[ref.step].name,
                                   ref.output);
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

  // Coordinator thread only, except that keyed_[i] and slots_ are read by the step that runs: they
  // do not change while it does.
  Plan plan_;
  std::vector<std::optional<Pin>> pins_;
  std::vector<std::optional<KeyedStep>> keyed_;
  std::vector<std::string> slots_;
  std::vector<Nanos> started_;
  std::vector<StepIndex> to_look_up_;
  Outcome outcome_;
  const Timestamp began_ = services_.clock.Now();
  int in_flight_ = 0;

  Guarded<std::deque<std::move_only_function<void()>>> mail_;
  std::condition_variable mail_came_;
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

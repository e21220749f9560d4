// Layers on their way to the places of --cache-to while later steps of the build still run.
//
//   ExportAhead ahead({{.tier = …, .terms = …, .steps = StepsOfResult(graph, wanted)}}, sources, clock, stop);
//   AheadObserver watched(observer, ahead, …);
//   …run the graph…
//   ahead.Close();
//   auto sent = ahead.End(0);   // then the tier's Export, which finds them there
//
// A step's layers go as soon as its result is final: its record is in the local store. What is sent is a
// blob that nothing names yet. The record group that names all of it is written once, by the export; of a
// build that fails, by an export of what was sent (cache_tiers.h).
//
// Two threads a place send, of lower priority than the steps as long as these run; a queue holds names alone.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/guarded.h"
#include "engine/interfaces.h"
#include "graph/graph.h"
#include "tier/tier.h"

namespace varve::job {

// By step: those whose layers the wanted results are made of, as far as the graph alone tells.
std::vector<char> StepsOfResult(const graph::Graph& graph, const std::vector<graph::Ref>& wanted);

class ExportAhead {
 public:
  struct Place {
    std::shared_ptr<tier::Tier> tier;
    tier::Offer terms;                       // Tier::SendAhead
    std::vector<char> steps;                 // by step: whether its layers go, whatever else the build comes to
    std::function<bool()> failed = nullptr;  // elsewhere in this job: nothing is sent then
  };
  struct Sources {
    // The layers of a result that the place should have, lowest first. Not called after Close.
    std::function<std::vector<DiffId>(const StepKey& key)> layers_of;
    std::function<bool(const DiffId& layer)> is_here;
  };
  // `clock` must outlive the object.
  ExportAhead(std::vector<Place> places, Sources sources, Clock& clock, std::stop_token stop);
  ~ExportAhead();  // waits for what is under way
  ExportAhead(const ExportAhead&) = delete;
  ExportAhead& operator=(const ExportAhead&) = delete;

  // The step's result is final. Nothing is sent before a step `ran` that others follow: a build that only
  // hits, or that has one step to run, does not gain by it.
  void Done(graph::StepIndex step, const StepKey& key, bool ran);
  // No layer is begun any more, but for a first one: whether a place was asked does not depend on who was
  // faster.
  void Close();

  struct Sent {
    std::set<DiffId> layers;       // that are there, and were not when the build began
    Nanos time{0};                 // of both threads
    std::optional<Error> failure;  // of the tier
  };
  // After Close. Waits for what is under way to the place, and returns the same as often as it is asked.
  Sent End(size_t place);

 private:
  struct Queue {
    std::deque<StepKey> steps;
    std::deque<DiffId> layers;
    std::set<DiffId> seen;
    bool started = false;  // there are threads
    bool begun = false;    // there was a first layer
    bool closed = false;
    Sent sent;
  };
  struct Lane {
    Place place;
    Guarded<Queue> queue;
    std::condition_variable changed;
    std::vector<std::jthread> threads;
  };
  void Work(Lane& lane);
  std::optional<DiffId> Next(Lane& lane);
  void Resolve(Queue& queue);

  const Sources sources_;
  Clock& clock_;
  const std::stop_token stop_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

// Tells `ahead` what the engine tells `next`.
class AheadObserver final : public engine::Observer {
 public:
  AheadObserver(engine::Observer& next, ExportAhead& ahead, const graph::Graph& graph,
                const std::vector<graph::Ref>& wanted);
  void Started(graph::StepIndex step) override { next_.Started(step); }
  void Explained(graph::StepIndex step, const std::vector<engine::Reason>& reasons) override {
    next_.Explained(step, reasons);
  }
  void Finished(graph::StepIndex step, const engine::StepOutcome& outcome, const Error* error) override;
  engine::StepSink& SinkOf(graph::StepIndex step) override { return next_.SinkOf(step); }

 private:
  engine::Observer& next_;
  ExportAhead& ahead_;
  const graph::Graph& graph_;
  std::set<graph::StepIndex> last_;
};

}  // namespace varve::job

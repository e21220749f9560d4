#include "job/export_ahead.h"

#include <algorithm>

#include "base/log.h"
#include "base/metric.h"
#include "graph/reads.h"
#include "sys/priority.h"

namespace varve::job {

namespace {

constexpr size_t kThreads = 2;  // a place: one packs while the other's bytes are on their way

}  // namespace

std::vector<char> StepsOfResult(const graph::Graph& graph, const std::vector<graph::Ref>& wanted) {
  std::vector<char> of_result(graph.steps.size());
  for (const graph::Ref& ref : wanted) of_result[ref.step] = true;
  for (size_t i = graph.steps.size(); i-- > 0;) {
    if (!of_result[i]) continue;
    const graph::Step& step = graph.steps[i];
    // A difference leaves the lower layers out.
    if (std::holds_alternative<graph::Diff>(step.op)) continue;
    std::vector<graph::StepIndex> below;
    for (const graph::InputUse& use : graph::InputUses(step)) {
      if (use.lineage) below.push_back(step.inputs[static_cast<size_t>(use.input)].step);
    }
    // Of a process that writes to several file systems, which the result is made of is told by its record.
    if (std::holds_alternative<graph::Exec>(step.op) && below.size() > 1) {
      of_result[i] = false;
      continue;
    }
    for (graph::StepIndex input : below) of_result[input] = true;
  }
  return of_result;
}

ExportAhead::ExportAhead(std::vector<Place> places, Sources sources, Clock& clock, std::stop_token stop)
    : sources_(std::move(sources)), clock_(clock), stop_(std::move(stop)) {
  for (Place& place : places) {
    lanes_.push_back(std::make_unique<Lane>());
    lanes_.back()->place = std::move(place);
  }
}

ExportAhead::~ExportAhead() {
  for (auto& lane : lanes_) {
    auto queue = lane->queue.Lock();
    queue->closed = queue->begun = true;
    lane->changed.notify_all();
  }
}

void ExportAhead::Done(graph::StepIndex step, const StepKey& key, bool ran) {
  for (auto& lane : lanes_) {
    if (!lane->place.steps[step]) continue;
    auto queue = lane->queue.Lock();
    if (queue->closed || queue->sent.failure || (lane->place.failed && lane->place.failed())) continue;
    queue->steps.push_back(key);
    if (ran && !queue->started) {
      queue->started = true;
      for (size_t i = 0; i < kThreads; ++i) lane->threads.emplace_back([this, &lane] { Work(*lane); });
    }
    if (queue->started) lane->changed.notify_one();
  }
}

void ExportAhead::Close() {
  bool at_work = false;
  for (auto& lane : lanes_) {
    auto queue = lane->queue.Lock();
    at_work = at_work || queue->started;
    if (queue->started && !queue->begun) Resolve(*queue);
    queue->steps.clear();
    queue->closed = true;
    lane->changed.notify_all();
  }
  // The image's export may wait for a layer that they are packing.
  if (at_work) sys::RaiseLoweredThreads();
}

// Of the steps that are waiting, under the lock, so that Close can say that nobody asks any more.
void ExportAhead::Resolve(Queue& queue) {
  for (; !queue.steps.empty(); queue.steps.pop_front()) {
    for (const DiffId& layer : sources_.layers_of(queue.steps.front())) {
      if (queue.seen.insert(layer).second && sources_.is_here(layer)) queue.layers.push_back(layer);
    }
  }
}

std::optional<DiffId> ExportAhead::Next(Lane& lane) {
  auto queue = lane.queue.Lock();
  while (true) {
    if (stop_.stop_requested() || queue->sent.failure || (queue->closed && queue->begun)) return std::nullopt;
    if (!queue->closed) Resolve(*queue);
    if (!queue->layers.empty()) {
      queue->begun = true;
      DiffId layer = queue->layers.front();
      queue->layers.pop_front();
      return layer;
    }
    if (queue->closed) return std::nullopt;
    queue.Wait(lane.changed,
               [&] { return !queue->steps.empty() || !queue->layers.empty() || queue->closed || queue->sent.failure; });
  }
}

void ExportAhead::Work(Lane& lane) {
  sys::LowerThreadPriority();
  while (auto layer = Next(lane)) {
    const Nanos began = clock_.Monotonic();
    auto sent = lane.place.tier->SendAhead(lane.place.terms, *layer, stop_);
    auto queue = lane.queue.Lock();
    queue->sent.time += clock_.Monotonic() - began;
    if (sent && *sent) {
      Counter("tier.sent_ahead").Add();
      queue->sent.layers.insert(*layer);
    } else if (!sent && sent.error().code != Code::kCancelled && !queue->sent.failure) {
      LOG_INFO("layers are not sent while steps run: {}", sent.error().message);
      queue->sent.failure = std::move(sent).error();
      lane.changed.notify_all();
    }
  }
}

ExportAhead::Sent ExportAhead::End(size_t place) {
  Lane& lane = *lanes_[place];
  for (std::jthread& thread : lane.threads) {
    if (thread.joinable()) thread.join();
  }
  return lane.queue.Lock()->sent;
}

AheadObserver::AheadObserver(engine::Observer& next, ExportAhead& ahead, const graph::Graph& graph,
                             const std::vector<graph::Ref>& wanted)
    : next_(next), ahead_(ahead), graph_(graph) {
  for (const graph::Ref& ref : wanted) last_.insert(ref.step);
}

void AheadObserver::Finished(graph::StepIndex step, const engine::StepOutcome& outcome, const Error* error) {
  next_.Finished(step, outcome, error);
  const bool ran = outcome.status == engine::StepStatus::kRan;
  const bool has_result = ran || outcome.status == engine::StepStatus::kCached;
  if (error != nullptr || !has_result || outcome.key.empty() || graph::IsSource(graph_.steps[step].op)) return;
  ahead_.Done(step, outcome.key, ran && !last_.contains(step));
}

}  // namespace varve::job

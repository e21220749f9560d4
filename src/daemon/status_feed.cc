#include "daemon/status_feed.h"

#include <algorithm>

#include "base/digest.h"
#include "base/strings.h"

namespace varve::daemon {

namespace {

constexpr Nanos kItemInterval{100'000'000};
constexpr size_t kMaxResponse = 1 << 20;

}  // namespace

void SetTime(Timestamp time, google::protobuf::Timestamp* out) {
  int64_t seconds = time.nanos / 1'000'000'000, rest = time.nanos % 1'000'000'000;
  if (rest < 0) rest += 1'000'000'000, --seconds;
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(rest));
}

// What the board tells, on its way into the feed.
class StatusFeed::Tap final : public progress::Display {
 public:
  explicit Tap(StatusFeed& feed) : feed_(feed) {}

  void OnStart(const progress::Vertex& vertex, Timestamp) override {
    auto state = feed_.state_.Lock();
    TellVertex(*state, vertex);
  }

  void OnLog(const progress::Vertex& vertex, int stream, std::string_view data, Timestamp now) override {
    auto state = feed_.state_.Lock();
    Know(*state, vertex);
    Running& running = state->vertices[vertex.id];
    if (running.clipped) return;
    std::string text(data.substr(0, kMaxLog - std::min(kMaxLog, running.logged)));
    running.logged += text.size();
    if (text.size() < data.size()) {
      running.clipped = true;
      text += "\n[output clipped, log limit 2MiB reached]\n";
    }
    control::StatusResponse response;
    control::VertexLog* log = response.add_logs();
    log->set_vertex(feed_.DigestOf(vertex.id));
    log->set_stream(stream);
    log->set_msg(std::move(text));
    SetTime(now, log->mutable_timestamp());
    feed_.Tell(*state, std::move(response));
  }

  // As a part of the vertex's work that is done: its log is the step's own output.
  void OnWhy(const progress::Vertex& vertex, Timestamp now) override {
    if (vertex.why.empty()) return;
    auto state = feed_.state_.Lock();
    Know(*state, vertex);
    control::StatusResponse response;
    control::VertexStatus* status = response.add_statuses();
    status->set_id("why: " + vertex.why);
    status->set_vertex(feed_.DigestOf(vertex.id));
    for (auto* time : {status->mutable_timestamp(), status->mutable_started(), status->mutable_completed()}) {
      SetTime(now, time);
    }
    feed_.Tell(*state, std::move(response));
  }

  void OnItem(const progress::Vertex& vertex, const progress::Item& item, Timestamp now) override {
    auto state = feed_.state_.Lock();
    Know(*state, vertex);
    auto key = std::pair(vertex.id, item.id);
    auto last = state->item_times.find(key);
    const bool is_new = last == state->item_times.end();
    if (!is_new && !item.completed && now.nanos - last->second.nanos < kItemInterval.count()) return;
    state->item_times[key] = now;
    control::StatusResponse response;
    control::VertexStatus* status = response.add_statuses();
    status->set_id(item.id);
    // Of an item that has its object in its id, the action has a name of its own.
    if (item.id.starts_with("transferring ")) status->set_name("transferring");
    status->set_vertex(feed_.DigestOf(vertex.id));
    status->set_current(static_cast<int64_t>(item.current));
    status->set_total(static_cast<int64_t>(item.total));
    SetTime(now, status->mutable_timestamp());
    SetTime(item.started, status->mutable_started());
    if (item.completed) SetTime(*item.completed, status->mutable_completed());
    if (!is_new) state->pieces[state->items[key]].reset();
    state->items[key] = state->pieces.size();
    feed_.Tell(*state, std::move(response));
  }

  void OnWarning(const progress::Warning& warning, Timestamp) override {
    auto state = feed_.state_.Lock();
    control::VertexWarning told;
    told.set_vertex(state->source_vertex);
    told.set_level(1);
    told.set_short_(warning.text);
    if (!warning.detail.empty()) told.add_detail(warning.detail);
    told.set_url(warning.url);
    if (warning.line > 0 && warning.file == state->file) {
      told.mutable_info()->set_filename(state->file);
      told.mutable_info()->set_data(state->text);
      told.mutable_info()->set_language("Dockerfile");
      auto* range = told.add_ranges();
      range->mutable_start()->set_line(static_cast<int32_t>(warning.line));
      range->mutable_end()->set_line(static_cast<int32_t>(warning.line));
    }
    feed_.TellWarning(*state, std::move(told));
  }

  void OnFinish(const progress::Vertex& vertex, Timestamp) override {
    auto state = feed_.state_.Lock();
    TellVertex(*state, vertex);
    ++state->counts.completed;
    if (vertex.cached) ++state->counts.cached;
  }

 private:
  // A client drops what belongs to a vertex that it has not heard of.
  void Know(State& state, const progress::Vertex& vertex) {
    if (!state.vertices.contains(vertex.id)) TellVertex(state, vertex);
  }

  void TellVertex(State& state, const progress::Vertex& vertex) {
    auto [it, added] = state.vertices.try_emplace(vertex.id);
    if (added) ++state.counts.total;
    control::Vertex& told = it->second.vertex;
    told.Clear();
    told.set_digest(feed_.DigestOf(vertex.id));
    for (uint32_t input : vertex.inputs) told.add_inputs(feed_.DigestOf(input));
    told.set_name(vertex.name);
    feed_.SetGroup(vertex.id, told);
    told.set_cached(vertex.cached);
    if (vertex.started) SetTime(*vertex.started, told.mutable_started());
    if (vertex.completed) SetTime(*vertex.completed, told.mutable_completed());
    // Clients know cancelled work by these words.
    if (vertex.completed) told.set_error(vertex.cancelled ? "context canceled" : vertex.error);
    control::StatusResponse response;
    *response.add_vertexes() = told;
    feed_.Tell(state, std::move(response));
  }

  StatusFeed& feed_;
};

std::unique_ptr<progress::Display> StatusFeed::MakeDisplay() { return std::make_unique<Tap>(*this); }

void StatusFeed::SetIdentity(uint32_t vertex, std::string digest, pb::ProgressGroup group) {
  identities_.Lock()->insert_or_assign(vertex, Identity{std::move(digest), std::move(group)});
}

std::string StatusFeed::DigestOf(uint32_t vertex) const {
  {
    auto identities = identities_.Lock();
    if (auto it = identities->find(vertex); it != identities->end()) return it->second.digest;
  }
  return Digest::Of(fmt::format("varve vertex\n{}\n{}", ref_, vertex)).ToString();
}

void StatusFeed::SetGroup(uint32_t vertex, control::Vertex& told) const {
  auto identities = identities_.Lock();
  auto it = identities->find(vertex);
  if (it != identities->end() && !it->second.group.id().empty()) *told.mutable_progress_group() = it->second.group;
}

void StatusFeed::Tell(State& state, control::StatusResponse response) {
  if (state.ended) return;
  state.pieces.push_back(std::make_shared<const control::StatusResponse>(std::move(response)));
  changed_.notify_all();
}

void StatusFeed::TellWarning(State& state, control::VertexWarning warning) {
  ++state.counts.warnings;
  control::StatusResponse response;
  *response.add_warnings() = std::move(warning);
  Tell(state, std::move(response));
}

void StatusFeed::SetSource(std::string file, std::string text, uint32_t vertex) {
  auto state = state_.Lock();
  state->file = std::move(file);
  state->text = std::move(text);
  state->source_vertex = DigestOf(vertex);
}

void StatusFeed::Warn(control::VertexWarning warning) {
  auto state = state_.Lock();
  TellWarning(*state, std::move(warning));
}

void StatusFeed::End() {
  auto state = state_.Lock();
  if (state->ended) return;
  for (auto& [id, running] : state->vertices) {
    control::Vertex& vertex = running.vertex;
    if (!vertex.has_started() || vertex.has_completed()) continue;
    SetTime(clock_.Now(), vertex.mutable_completed());
    vertex.set_error("context canceled");
    control::StatusResponse response;
    *response.add_vertexes() = vertex;
    Tell(*state, std::move(response));
  }
  state->ended = true;
  changed_.notify_all();
}

StatusFeed::More StatusFeed::Next(Place& place, control::StatusResponse& out, Nanos wait) {
  std::vector<Piece> taken;
  {
    auto state = state_.Lock();
    auto has_news = [&] { return state->ended || place.next < state->pieces.size(); };
    if (!state.WaitFor(changed_, wait, has_news)) return More::kNotYet;
    size_t bytes = 0;
    for (; place.next < state->pieces.size() && bytes < kMaxResponse; ++place.next) {
      const Piece& piece = state->pieces[place.next];
      if (piece == nullptr) continue;
      bytes += piece->ByteSizeLong();
      taken.push_back(piece);
    }
    if (taken.empty()) {
      return state->ended && place.next == state->pieces.size() ? More::kEnd : More::kNotYet;
    }
  }
  out.Clear();
  for (const Piece& piece : taken) out.MergeFrom(*piece);
  return More::kYes;
}

StatusFeed::Counts StatusFeed::counts() { return state_.Lock()->counts; }

}  // namespace varve::daemon

#include "daemon/build_records.h"

#include <dirent.h>
#include <fcntl.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/util/delimited_message_util.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/digest.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/failure.h"
#include "daemon/record_filter.h"
#include "sys/open.h"

namespace varve::daemon {

namespace {

constexpr size_t kMaxEvents = 1000;
constexpr uint64_t kMaxRecord = 16 << 20;
constexpr Nanos kPoll{100'000'000};

int64_t NanosOf(const google::protobuf::Timestamp& time) { return time.seconds() * 1'000'000'000 + time.nanos(); }

std::string DocumentEnding(const Digest& digest) { return "." + digest.Hex().substr(0, 40); }

// Of the documents that the record has of its own.
std::set<std::string> DigestsIn(const BuildRecords::Record& record) {
  std::set<std::string> digests = {record.external_error().digest(), record.trace().digest()};
  auto add = [&](const control::BuildResultInfo& result) {
    for (const control::Descriptor& attestation : result.attestations()) digests.insert(attestation.digest());
  };
  add(record.result());
  for (const auto& [platform, result] : record.results()) add(result);
  digests.erase("");
  return digests;
}

}  // namespace

BuildRecords::Ended::Ended(const Record& record)
    : bytes(record.SerializeAsString()), completed(NanosOf(record.completed_at())), pinned(record.pinned()) {}

BuildRecords::Record BuildRecords::Ended::record() const {
  Record record;
  CHECK(record.ParseFromString(bytes));
  return record;
}

BuildRecords::BuildRecords(std::string root, RecordLimits limits, Clock& clock)
    : directory_(std::move(root) + "/daemon/builds"), limits_(limits), clock_(clock) {
  if (Status made = sys::MkdirAll(directory_, 0700); !made) {
    LOG_WARN("the history of builds is not kept: {}", made.error().message);
    return;
  }
  auto directory = sys::OpenDir(directory_);
  auto entries = directory ? sys::ListDirectory(directory->get()) : std::vector<sys::DirEntry>();
  if (!entries) return;
  auto state = state_.Lock();
  for (const sys::DirEntry& entry : *entries) {
    if (!entry.name.ends_with(".build")) continue;
    auto text = ReadFile(directory_ + "/" + entry.name, kMaxRecord);
    Record record;
    if (text && record.ParseFromString(*text)) state->ended.emplace(record.ref(), Ended(record));
  }
}

std::string BuildRecords::FileOf(const std::string& ref, const char* ending) const {
  return fmt::format("{}/{}{}", directory_, Digest::Of(ref).Hex().substr(0, 40), ending);
}

void BuildRecords::Tell(State& state, control::BuildHistoryEventType type, const Record& record) {
  Event event{.number = state.next_event++, .event = {}};
  event.event.set_type(type);
  *event.event.mutable_record() = record;
  state.events.push_back(std::move(event));
  if (state.events.size() > kMaxEvents) state.events.pop_front();
  changed_.notify_all();
}

void BuildRecords::Started(const Record& record) {
  auto state = state_.Lock();
  state->running[record.ref()] = record;
  Tell(*state, control::STARTED, record);
}

Status BuildRecords::Write(const std::string& ref, const Ended& build) {
  return WriteFileAtomically(FileOf(ref, ".build"), build.bytes);
}

bool BuildRecords::Keep(const Record& record, const std::string& document) {
  Status kept = WriteFileAtomically(FileOf(record.ref(), DocumentEnding(Digest::Of(document)).c_str()), document);
  if (!kept) LOG_WARN("history of build {}: {}", record.ref(), kept.error().message);
  return static_cast<bool>(kept);
}

// Lists of builds are short: what went wrong is one line there.
void BuildRecords::KeepError(Record& record) {
  if (!record.has_error() || record.error().code() == 0) return;
  const std::string text = WithStack(record.error()).SerializeAsString();
  if (!Keep(record, text)) return;
  record.mutable_error()->clear_details();
  control::Descriptor& out = *record.mutable_external_error();
  out.set_media_type("application/vnd.googeapis.google.rpc.status+proto");  // as it is misspelt there
  out.set_digest(Digest::Of(text).ToString());
  out.set_size(static_cast<int64_t>(text.size()));
}

std::optional<std::string> BuildRecords::Document(const Digest& digest) {
  auto state = state_.Lock();
  for (const auto& [ref, build] : state->ended) {
    if (build.bytes.find(digest.ToString()) == std::string::npos) continue;
    if (!DigestsIn(build.record()).contains(digest.ToString())) continue;
    auto text = ReadFile(FileOf(ref, DocumentEnding(digest).c_str()), kMaxRecord);
    if (text) return std::move(*text);
  }
  return std::nullopt;
}

void BuildRecords::Completed(Record record, StatusFeed& feed, const std::vector<std::string>& documents) {
  KeepError(record);
  for (const std::string& document : documents) Keep(record, document);
  const Ended build(record);
  auto write = [&]() -> Status {
    const std::string path = FileOf(record.ref(), ".status");
    TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    google::protobuf::io::FileOutputStream out(fd.get());
    StatusFeed::Place place;
    control::StatusResponse response;
    while (feed.Next(place, response, Nanos(0)) == StatusFeed::More::kYes) {
      if (!google::protobuf::util::SerializeDelimitedToZeroCopyStream(response, &out)) {
        return ErrnoError(out.GetErrno(), "write " + path);
      }
    }
    if (!out.Flush()) return ErrnoError(out.GetErrno(), "write " + path);
    return Write(record.ref(), build);
  };
  if (Status written = write(); !written) LOG_WARN("history of build {}: {}", record.ref(), written.error().message);
  auto state = state_.Lock();
  state->running.erase(record.ref());
  state->ended.insert_or_assign(record.ref(), build);
  Tell(*state, control::COMPLETE, record);
  Prune(*state);
}

void BuildRecords::Forget(State& state, const std::string& ref) {
  auto it = state.ended.find(ref);
  if (it == state.ended.end()) return;
  unlink(FileOf(ref, ".build").c_str());
  unlink(FileOf(ref, ".status").c_str());
  for (const std::string& text : DigestsIn(it->second.record())) {
    if (auto digest = Digest::Parse(text)) unlink(FileOf(ref, DocumentEnding(*digest).c_str()).c_str());
  }
  Record gone;
  gone.set_ref(ref);
  state.ended.erase(it);
  Tell(state, control::DELETED, gone);
}

// Pinned builds stay, and do not count.
void BuildRecords::Prune(State& state) {
  if (state.ended.size() <= limits_.entries) return;
  std::vector<std::pair<int64_t, std::string_view>> by_age;
  for (const auto& [ref, build] : state.ended) {
    if (!build.pinned) by_age.emplace_back(build.completed, ref);
  }
  std::ranges::sort(by_age, std::greater<>());
  const int64_t oldest = clock_.Now().nanos - limits_.age.count();
  for (size_t i = 0; i < by_age.size(); ++i) {
    const bool goes = i >= limits_.entries && by_age[i].first < oldest;
    if (goes || i >= limits_.most) Forget(state, std::string(by_age[i].second));
  }
}

Status BuildRecords::Update(const control::UpdateBuildHistoryRequest& request) {
  auto state = state_.Lock();
  if (state->running.contains(request.ref())) return Invalid("the build {} is still running", request.ref());
  auto it = state->ended.find(request.ref());
  if (it == state->ended.end()) return NotFound("record {} not found", request.ref());
  if (request.delete_()) {
    Forget(*state, request.ref());
    return Ok();
  }
  // What is to be finalised is complete as it is: there is no trace that comes later.
  if (request.finalize()) return Ok();
  Record record = it->second.record();
  record.set_pinned(request.pinned());
  record.set_generation(record.generation() + 1);
  it->second = Ended(record);
  TRY(Write(request.ref(), it->second));
  Tell(*state, control::COMPLETE, record);
  return Ok();
}

Status BuildRecords::Listen(const control::BuildHistoryRequest& request,
                            const std::function<bool(const control::BuildHistoryEvent&)>& tell,
                            const std::function<bool()>& gone) {
  TRY_ASSIGN(auto filter, RecordFilter::Parse({request.filter().begin(), request.filter().end()}, clock_.Now()));
  auto wanted = [&](const Record& record) {
    return (request.ref().empty() || record.ref() == request.ref()) && filter.Matches(record);
  };
  std::vector<control::BuildHistoryEvent> running, ended;
  uint64_t seen = 0;
  {
    auto state = state_.Lock();
    seen = state->next_event - 1;
    // The newest first.
    auto take = [&](Record record, control::BuildHistoryEventType type, std::vector<control::BuildHistoryEvent>& to) {
      if (!wanted(record)) return;
      to.emplace_back().set_type(type);
      *to.back().mutable_record() = std::move(record);
    };
    for (const auto& [ref, record] : state->running) take(record, control::STARTED, running);
    for (const auto& [ref, build] : state->ended) {
      if (request.active_only()) break;
      if (request.ref().empty() || request.ref() == ref) take(build.record(), control::COMPLETE, ended);
    }
    for (auto* events : {&running, &ended}) {
      std::ranges::stable_sort(*events, std::greater<>(), [](const control::BuildHistoryEvent& event) {
        return NanosOf(event.record().created_at());
      });
    }
  }
  // As in BuildKit: of those that run all are told, whatever the limit.
  if (request.limit() > 0 && ended.size() > static_cast<size_t>(request.limit())) {
    ended.resize(static_cast<size_t>(request.limit()));
  }
  for (const auto* events : {&running, &ended}) {
    for (const auto& event : *events) {
      if (!tell(event)) return Ok();
    }
  }
  if (request.early_exit()) return Ok();
  while (!gone()) {
    std::vector<control::BuildHistoryEvent> news;
    {
      auto state = state_.Lock();
      state.WaitFor(changed_, kPoll, [&] { return state->next_event - 1 > seen; });
      for (const Event& event : state->events) {
        const bool removed = event.event.type() == control::DELETED;
        if (event.number <= seen || (request.active_only() && removed)) continue;
        bool fits = removed ? request.ref().empty() || event.event.record().ref() == request.ref()
                            : wanted(event.event.record());
        if (fits) news.push_back(event.event);
      }
      seen = state->next_event - 1;
    }
    for (const auto& event : news) {
      if (!tell(event)) return Ok();
    }
  }
  return Ok();
}

bool BuildRecords::HasEnded(const std::string& ref) { return state_.Lock()->ended.contains(ref); }

Status BuildRecords::Replay(const std::string& ref, const std::function<bool(const control::StatusResponse&)>& tell) {
  if (!HasEnded(ref)) return NotFound("no such job {}", ref);
  TRY_ASSIGN(Fd fd, OpenFile(FileOf(ref, ".status"), O_RDONLY));
  google::protobuf::io::FileInputStream in(fd.get());
  bool clean = false;
  while (true) {
    control::StatusResponse response;
    if (!google::protobuf::util::ParseDelimitedFromZeroCopyStream(&response, &in, &clean)) break;
    if (!tell(response)) return Ok();
  }
  if (!clean) return Corrupt("the history of build {} is damaged", ref);
  return Ok();
}

}  // namespace varve::daemon

// The history of builds as BuildKit's API tells it: which builds there were, what became of them, what they said.
//
//   <root>/daemon/builds/<hash>.build    api/control.proto, BuildHistoryRecord; the hash is that of the ref
//   <root>/daemon/builds/<hash>.<digest> a document of the record: its error in full (google.rpc.Status), the
//   provenance of
//                                        what it made, its trace
//   <root>/daemon/builds/<hash>.status   what Status told: StatusResponse messages, each behind its size (varint)
//
// Beside varve's own history (history/store.h), which has every build of the root, with its reasons, and no
// messages of this API. Losing a record fails no build. Safe from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/control.pb.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/guarded.h"
#include "base/result.h"
#include "daemon/status_feed.h"

namespace varve::daemon {

// As in BuildKit, a build goes when it is neither among the newest nor young; its defaults. A daemon that is never idle
// has a bound of its own beside them.
struct RecordLimits {
  size_t entries = 50;
  Nanos age = std::chrono::hours(48);
  size_t most = 10'000;  // however young
};

class BuildRecords {
 public:
  using Record = control::BuildHistoryRecord;

  // Reads what is there.
  BuildRecords(std::string root, RecordLimits limits, Clock& clock = SystemClock());

  void Started(const Record& record);
  // Writes the record, with all that the feed has told, before it returns, and the documents that the record names by
  // their digests. What is wrong with the build is told in full by a document that is added here (external_error).
  void Completed(Record record, StatusFeed& feed, const std::vector<std::string>& documents = {});

  // A document of one of the records; nothing: none has it.
  std::optional<std::string> Document(const Digest& digest);

  // kNotFound: no such build. Deleting a build that runs, and pinning it, is kInvalid.
  Status Update(const control::UpdateBuildHistoryRequest& request);

  // Tells the builds that there are and, unless the request asks for an early exit, those that begin, end and go
  // from then on. Returns when `tell` says false, or `gone` does, which is asked ten times a second.
  Status Listen(const control::BuildHistoryRequest& request,
                const std::function<bool(const control::BuildHistoryEvent&)>& tell, const std::function<bool()>& gone);

  bool HasEnded(const std::string& ref);
  // What a build that has ended told: false from `tell` ends it. kNotFound: nothing is known of it.
  Status Replay(const std::string& ref, const std::function<bool(const control::StatusResponse&)>& tell);

 private:
  struct Event {
    uint64_t number = 0;
    control::BuildHistoryEvent event;
  };
  // Kept as it is in its file: parsed, it takes four times as much, and there may be ten thousand.
  struct Ended {
    explicit Ended(const Record& record);
    Record record() const;
    std::string bytes;
    int64_t completed = 0;  // nanoseconds since the epoch
    bool pinned = false;
  };
  struct State {
    std::map<std::string, Record> running;  // by ref
    std::map<std::string, Ended> ended;
    std::deque<Event> events;  // the last ones
    uint64_t next_event = 1;
  };
  std::string FileOf(const std::string& ref, const char* ending) const;
  void Tell(State& state, control::BuildHistoryEventType type, const Record& record);
  Status Write(const std::string& ref, const Ended& build);
  bool Keep(const Record& record, const std::string& document);
  void KeepError(Record& record);
  void Forget(State& state, const std::string& ref);
  void Prune(State& state);

  const std::string directory_;
  const RecordLimits limits_;
  Clock& clock_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace varve::daemon

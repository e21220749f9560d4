// What happens in one build, as BuildKit's Status stream tells it (api/control.proto, StatusResponse).
//
//   StatusFeed feed("ref-of-the-build", SystemClock());
//   progress::Board board(feed.MakeDisplay(), SystemClock());
//   …
//   StatusFeed::Place place;                             // in each reader's thread
//   while (feed.Next(place, response, wait)) writer.Write(response);
//
// A reader who comes late gets all that has happened so far, then what happens (reference daemon-api.md §8):
// of a progress item only its last state. Output is kept up to 2 MiB a vertex, and cut off there, as
// BuildKit does. Safe from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/control.pb.h"
#include "base/clock.h"
#include "base/guarded.h"
#include "progress/board.h"

namespace varve::daemon {

namespace control = moby::buildkit::v1;

// Fills a protobuf timestamp.
void SetTime(Timestamp time, google::protobuf::Timestamp* out);

class StatusFeed {
 public:
  static constexpr size_t kMaxLog = 2 << 20;  // of a vertex

  // Vertices of builds with different refs have different digests: clients show several builds at once.
  explicit StatusFeed(std::string ref, Clock& clock = SystemClock()) : ref_(std::move(ref)), clock_(clock) {}

  // The feed outlives the display.
  std::unique_ptr<progress::Display> MakeDisplay();

  // The file that warnings are about from here on; they belong to the vertex that loaded it.
  void SetSource(std::string file, std::string text, uint32_t vertex);
  // A vertex is known to the client by another digest, and belongs to a group (one with no id: to none). Before
  // anything is told of it.
  void SetIdentity(uint32_t vertex, std::string digest, pb::ProgressGroup group);
  // What a front end of the client's says.
  void Warn(control::VertexWarning warning);

  // Nothing comes any more: vertices that have not ended are told as cancelled, and readers come to the end.
  void End();

  // Where a reader is.
  struct Place {
    size_t next = 0;
  };
  enum class More { kYes, kNotYet, kEnd };
  // Waits up to `wait` for something new, and takes all of it, at most about a megabyte. kYes: `out` is to be
  // sent. kNotYet: nothing came in that time. kEnd: nothing will.
  More Next(Place& place, control::StatusResponse& out, Nanos wait);

  // Of steps, metadata and exports: for the history.
  struct Counts {
    int total = 0, cached = 0, completed = 0, warnings = 0;
  };
  Counts counts();

  std::string DigestOf(uint32_t vertex) const;

 private:
  class Tap;
  // Null: a later piece says it anew.
  using Piece = std::shared_ptr<const control::StatusResponse>;
  struct Running {
    control::Vertex vertex;
    size_t logged = 0;
    bool clipped = false;
  };
  struct State {
    std::vector<Piece> pieces;
    std::map<uint32_t, Running> vertices;
    std::map<std::pair<uint32_t, std::string>, size_t> items;  // the piece of an item's last state
    std::map<std::pair<uint32_t, std::string>, Timestamp> item_times;
    std::string file, text;
    std::string source_vertex;
    Counts counts;
    bool ended = false;
  };
  void Tell(State& state, control::StatusResponse response);
  void SetGroup(uint32_t vertex, control::Vertex& told) const;
  void TellWarning(State& state, control::VertexWarning warning);

  struct Identity {
    std::string digest;
    pb::ProgressGroup group;
  };
  const std::string ref_;
  Clock& clock_;
  mutable Guarded<std::map<uint32_t, Identity>> identities_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace varve::daemon

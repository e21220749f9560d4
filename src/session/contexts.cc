#include "session/contexts.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <optional>

#include "api/filesync.grpc.pb.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/metric.h"
#include "session/client_packets.h"
#include "session/rpc.h"
#include "sys/open.h"

namespace varve::session {
namespace {

constexpr char kMethod[] = "/moby.filesync.v1.FileSync/DiffCopy";
constexpr int kMaxSlots = 1000;

struct Slot {
  std::string path;
  sys::FlockGuard lock;
};

// The first directory of the key that nobody uses.
Result<Slot> TakeSlot(const std::string& directory) {
  // Not for other users: a context may hold what its owner shows to nobody, or files with set-user-id bits.
  TRY(sys::MkdirAll(directory, 0700));
  for (int n = 0; n < kMaxSlots; ++n) {
    const std::string path = fmt::format("{}/{}", directory, n);
    TRY_ASSIGN(auto lock, sys::FlockGuard::TryLock(path + ".lock", sys::LockMode::kExclusive));
    if (!lock) continue;
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoError(errno, "make " + path);
    return Slot{path, std::move(*lock)};
  }
  return Resource("{} builds of one context are running at once", kMaxSlots);
}

// Parts with their lengths, so that no two lists are the same text.
std::string Joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += fmt::format("{}:{}\n", part.size(), part);
  return text;
}

std::string QuestionKey(const Session& session, const ContextRequest& request) {
  return Joined({session.id(), request.name, request.shared_key_hint, Joined(request.include), Joined(request.exclude),
                 Joined(request.follow), request.always_ask ? "all" : ""});
}

}  // namespace

Result<std::shared_ptr<const SyncedContext>> Contexts::Sync(Session& session, const ContextRequest& request,
                                                            std::stop_token stop) {
  std::shared_ptr<Flight> flight;
  {
    auto flights = flights_.Lock();
    std::erase_if(*flights,
                  [](const auto& entry) { return entry.second.use_count() == 1 && entry.second->result.expired(); });
    auto& place = (*flights)[QuestionKey(session, request)];
    if (!place) place = std::make_shared<Flight>();
    flight = place;
  }
  std::unique_lock lock(flight->transferring, std::defer_lock);
  while (!lock.try_lock_for(std::chrono::milliseconds(50))) {
    if (stop.stop_requested()) return Cancelled("waiting for the files of the client was cancelled");
  }
  if (auto result = flight->result.lock()) return result;
  TRY_ASSIGN(auto result, Transfer(session, request, stop));
  flight->result = result;
  return result;
}

Result<std::shared_ptr<const SyncedContext>> Contexts::Transfer(Session& session, const ContextRequest& request,
                                                                std::stop_token stop) {
  METRIC("session.sync");
  // As a directory that the client does not have: there are builds that do without.
  if (!session.Supports(kMethod)) return NotFound("{}", session.Require(kMethod).error().message);
  const Digest key = Digest::Of(Joined({request.name, request.shared_key_hint, session.shared_key()}));
  TRY_ASSIGN(Slot slot, TakeSlot(fmt::format("{}/synced/{}", root_, key.Hex().substr(0, 32))));
  TRY_ASSIGN(const Fd directory, sys::OpenDir(slot.path));

  Call call(stop);
  call.AddList("dir-name", {request.name});
  if (!request.include.empty()) call.AddList("include-patterns", request.include);
  if (!request.exclude.empty()) call.AddList("exclude-patterns", request.exclude);
  if (!request.follow.empty()) call.AddList("followpaths", request.follow);
  const auto stub = moby::filesync::v1::FileSync::NewStub(session.channel());
  const auto stream = stub->DiffCopy(call.context());
  ClientPackets packets(call, *stream);
  const ReceiveOptions options{.max_entries = limits_.max_entries,
                               .max_bytes = limits_.max_bytes,
                               .always_ask = request.always_ask,
                               .on_progress = request.on_progress};
  auto received = ReceiveTree(packets, directory.get(), options, stop);
  if (received) {
    stream->WritesDone();
  } else if (received.error().code != Code::kUnavailable) {
    call.Cancel();  // it goes on sending otherwise
  }
  const grpc::Status status = stream->Finish();
  if (!received) {
    // When the client ended it, its status says why.
    if (received.error().code == Code::kUnavailable && !status.ok() &&
        status.error_code() != grpc::StatusCode::CANCELLED) {
      return call.ToError(status, fmt::format("cannot read {} of the client", request.name));
    }
    return std::move(received).error().With(fmt::format("transferring {}", request.name));
  }
  LOG_DEBUG("{}: {} entries, {} files asked for, {} removed, {} bytes", request.name, received->entries,
            received->files, received->removed, received->bytes);
  Counter("session.sync.entries").Add(static_cast<int64_t>(received->entries));
  Counter("session.sync.files").Add(static_cast<int64_t>(received->files));
  Counter("session.sync.bytes").Add(static_cast<int64_t>(received->bytes));
  return std::make_shared<const SyncedContext>(slot.path, *received, std::move(slot.lock));
}

}  // namespace varve::session
